// Package prometheus has a real Prometheus scrape a real run, in both forms of /metrics, and asks it everything that the
// dashboards and alerts in deploy/ ask. What Spanloom and Envoy do not expose (container_*, istio_*) comes from a small exporter
// of the test. It runs in the long lane.
package prometheus
