package observe

import (
	"bytes"
	"fmt"
	"strings"
)

// Alerts are on by default: each names what to look at.
func Alerts() []Alert {
	return []Alert{
		{
			Name: "SpanloomAbsent", Expr: `absent(spanloom_store_spans)`, For: "5m", Severity: "critical",
			Summary:     "Spanloom is not scraped",
			Description: "No Spanloom answers on its admin port (8888, /metrics): sidecars drop their spans while it is away.",
		},
		{
			// Regular: in at least 8 of the 12 five-minute stretches before. The last term keeps a restart from firing it for everyone.
			Name: "SpanloomWorkloadStoppedSending",
			Expr: `(
  count_over_time((sum by (service) (rate(traces_spanmetrics_calls_total{service!="(other)"}[5m])) > 0)[1h:5m] offset 20m) >= 8
)
unless on (service) (sum by (service) (rate(traces_spanmetrics_calls_total[15m])) > 0)
and on () (max(spanloom_trace_metrics_counted_until_seconds) - max(process_start_time_seconds * on (job, instance) group_left () (spanloom_store_spans * 0 + 1)) > 1500)`,
			For: "5m", Severity: "warning",
			Summary: "{{ $labels.service }} stopped sending spans",
			Description: "{{ $labels.service }} sent spans regularly an hour ago and has sent none for 15 minutes: it is gone, has no traffic, or its spans do " +
				"not arrive. `spanloom why NAMESPACE/WORKLOAD` says which.",
		},
		{
			Name: "SpanloomRefusesSpans", Expr: `sum by (protocol, reason) (rate(spanloom_refused_total[10m])) > 0`, For: "10m", Severity: "warning",
			Summary:     "Spans over {{ $labels.protocol }} are refused: {{ $labels.reason }}",
			Description: "{{ $value | humanize }} a second. The Status page names the senders; `spanloom doctor` says what to change.",
		},
		{
			Name: "SpanloomRefusesAll", Expr: `spanloom_store_refusing == 1`, For: "1m", Severity: "critical",
			Summary:     "Spanloom takes no spans",
			Description: "Its store refuses everything: the disk is full or cannot be written. The Status page and the log say which.",
		},
		{
			// 0 would be a limit that is reached: then the store works as configured, and the next alert says whether it holds enough.
			Name: "SpanloomDiskFullSoon", Expr: `spanloom_store_full_seconds > 0 < 86400`, For: "30m", Severity: "warning",
			Summary: "In {{ $value | humanizeDuration }} the oldest spans go for want of disk",
			Description: "At the present rate --max-disk is reached before --retention. Raise --max-disk, lower --retention to what is wanted, or sample less: " +
				"`spanloom mesh sampling`.",
		},
		{
			Name: "SpanloomHoldsTooLittle", Expr: `spanloom_store_holds_seconds < 86400`, For: "1h", Severity: "warning",
			Summary:     "Spans are held for {{ $value | humanizeDuration }} only",
			Description: "At the present rate the disk limit holds less than a day of spans: yesterday's traces are gone.",
		},
		{
			Name: "SpanloomFilesDamaged", Expr: `spanloom_store_damaged > 0`, For: "1m", Severity: "warning",
			Summary:     "{{ $value }} files or frames of spans cannot be read",
			Description: "Serving goes on without them. `spanloom fsck` names them and says what was lost.",
		},
		{
			Name: "SpanloomErrorRate",
			Expr: `sum by (server) (rate(traces_service_graph_request_failed_total[10m]))
  / sum by (server) (rate(traces_service_graph_request_total[10m])) > 0.05
and sum by (server) (rate(traces_service_graph_request_total[10m])) > 0.1`,
			For: "10m", Severity: "warning",
			Summary:     "{{ $value | humanizePercentage }} of the calls to {{ $labels.server }} fail",
			Description: "Counted from traces, as its callers saw them. The map shows who they are, with failed traces as examples.",
		},
		{
			Name: "EnvoyDropsSpans", Expr: `sum by (namespace, pod) (rate(envoy_tracing_zipkin_reports_dropped[10m])) > 0`, For: "10m", Severity: "warning",
			Summary: "The sidecar of {{ $labels.namespace }}/{{ $labels.pod }} loses its spans",
			Description: "Its reports to the Zipkin port are answered other than with 202, or it cannot connect. `spanloom doctor` says why. Needs the sidecar's " +
				"tracing statistics: proxyStatsMatcher.inclusionRegexps: [\".*tracing.*\"].",
		},
	}
}

// Recordings are off by default: they keep dashboards alive that ask for names which no Envoy has.
func Recordings() []Recording {
	const help = "Envoy's name is "
	sent := "envoy_tracing_zipkin_reports_sent"
	list := []Recording{}
	for _, part := range []string{"sent", "dropped", "failed", "skipped_no_cluster"} {
		real := "envoy_tracing_zipkin_reports_" + part
		list = append(list, Recording{"envoy_zipkin_reports_" + part, real, help + real + "."})
	}
	list = append(list,
		Recording{"envoy_zipkin_reports_total", sent + "\n  + envoy_tracing_zipkin_reports_dropped\n  + envoy_tracing_zipkin_reports_failed\n  + envoy_tracing_zipkin_reports_skipped_no_cluster",
			"No Envoy counts this: it is the sum of what became of reports."},
		Recording{"envoy_zipkin_spans_sent", "envoy_tracing_zipkin_spans_sent", help + "envoy_tracing_zipkin_spans_sent."},
		Recording{"envoy_zipkin_timer_flushed", "envoy_tracing_zipkin_timer_flushed", help + "envoy_tracing_zipkin_timer_flushed."},
	)
	return list
}

const madeBy = "# Made by deploy/observe: change it there, then run go test ./deploy/observe -update.\n"

func alertsYAML(alerts []Alert) []byte {
	var w bytes.Buffer
	w.WriteString(madeBy + "# Prometheus: name this file under rule_files. Thresholds are a start: change them to what is usual with you.\n" +
		"groups:\n  - name: spanloom\n    rules:\n")
	for _, a := range alerts {
		fmt.Fprintf(&w, "      - alert: %s\n        expr: |-\n%s        for: %s\n        labels: {severity: %s}\n        annotations:\n          summary: %s\n          description: %s\n",
			a.Name, indent(a.Expr), a.For, a.Severity, quoted(a.Summary), quoted(a.Description))
	}
	return w.Bytes()
}

func recordingYAML(list []Recording) []byte {
	var w bytes.Buffer
	w.WriteString(madeBy + "# Off unless you name this file under rule_files: it gives names that dashboards of many ask for, and that no Envoy exposes,\n" +
		"# the values they were meant to have. Better is to correct the dashboards.\n" +
		"groups:\n  - name: spanloom-envoy-names\n    rules:\n")
	for _, r := range list {
		fmt.Fprintf(&w, "      # %s\n      - record: %s\n        expr: |-\n%s", r.Help, r.Name, indent(r.Expr))
	}
	return w.Bytes()
}

func indent(expr string) string {
	return "          " + strings.ReplaceAll(expr, "\n", "\n          ") + "\n"
}

// quoted is a YAML string in single quotes.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
