package lab

import (
	"fmt"
	"strings"
	"time"
)

// The mesh: gateway → frontend → backend, and Spanloom in istio-system, where `spanloom mesh apply` expects it.
const objects = `
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: istiod, namespace: istio-system}, spec: {selector: {matchLabels: {app: istiod}}, template: {metadata: {labels: {app: istiod, sidecar.istio.io/inject: "false"}}, spec: {containers: [
  {name: discovery, image: "docker.io/istio/pilot:` + Version + `",
   args: [discovery, --registries=Kubernetes, "--httpAddr=:8080", "--grpcAddr=:15010", --httpsAddr=, --secureGRPCAddr=, "--monitoringAddr=:15014", --ctrlz_port=0],
   env: [{name: ENABLE_CA_SERVER, value: "false"}, {name: PILOT_CERT_PROVIDER, value: none}, {name: INJECT_ENABLED, value: "false"}, {name: PILOT_ENABLE_ALPN_FILTER, value: "false"}, {name: PILOT_ENABLE_METADATA_EXCHANGE, value: "false"}]}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: istiod, namespace: istio-system}, spec: {clusterIP: 10.96.0.10, selector: {app: istiod}, ports: [{name: grpc-xds, port: 15010}, {name: http-monitoring, port: 15014}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: istio-ingressgateway, namespace: istio-system}, spec: {selector: {matchLabels: {app: istio-ingressgateway}}, template: {metadata: {labels: {app: istio-ingressgateway, istio: ingressgateway, sidecar.istio.io/inject: "false"}}, spec: {containers: [
  {name: istio-proxy, image: "docker.io/istio/proxyv2:` + Version + `", args: [proxy, router, --domain, istio-system.svc.cluster.local, --concurrency, "1"]}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: istio-ingressgateway, namespace: istio-system}, spec: {clusterIP: 10.96.0.11, selector: {app: istio-ingressgateway}, ports: [{name: http2, port: 8080}]}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: shop, namespace: istio-system}, spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: shop, namespace: shop}, spec: {hosts: ["*"], gateways: [istio-system/shop], http: [{route: [{destination: {host: frontend.shop.svc.cluster.local, port: {number: 8080}}}]}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: frontend, namespace: shop}, spec: {selector: {matchLabels: {app: frontend}}, template: {metadata: {labels: {app: frontend}}, spec: {containers: [
  {name: app, image: lab/app, ports: [{containerPort: 8080}], env: [{name: LAB_APP, value: frontend}, {name: NEXT, value: "10.96.0.21:8080"}, {name: NEXT_HOST, value: "backend.shop.svc.cluster.local:8080"}]}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: frontend, namespace: shop}, spec: {clusterIP: 10.96.0.20, selector: {app: frontend}, ports: [{name: http, port: 8080}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: backend, namespace: shop}, spec: {selector: {matchLabels: {app: backend}}, template: {metadata: {labels: {app: backend}}, spec: {containers: [
  {name: app, image: lab/app, ports: [{containerPort: 8080}], env: [{name: LAB_APP, value: backend}]}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: backend, namespace: shop}, spec: {clusterIP: 10.96.0.21, selector: {app: backend}, ports: [{name: http, port: 8080}]}}
---
` + collectorService

// collectorService has the ports as Spanloom's chart names them.
const collectorService = `
{apiVersion: v1, kind: Service, metadata: {name: spanloom, namespace: istio-system}, spec: {clusterIP: 10.96.0.30, selector: {app: spanloom}, ports: [
  {name: http-ui, port: 16686}, {name: grpc-otlp, port: 4317}, {name: http-otlp, port: 4318}, {name: http-zipkin, port: 9411}]}}
`

// collector is Spanloom's Deployment; flags are further ones of serve.
func collector(flags ...string) string {
	return fmt.Sprintf(`
{apiVersion: apps/v1, kind: Deployment, metadata: {name: spanloom, namespace: istio-system}, spec: {selector: {matchLabels: {app: spanloom}}, template: {metadata: {labels: {app: spanloom, sidecar.istio.io/inject: "false"}}, spec: {containers: [
  {name: spanloom, image: spanloom/spanloom, ports: [{containerPort: 4317}, {containerPort: 4318}, {containerPort: 9411}, {containerPort: 16686}], args: [serve, --store, memory, --listen-host, 0.0.0.0, --kubeconfig, "off"%s]}]}}}}
`, strings.Join(append([]string{""}, flags...), ", "))
}

// quick makes proxies report each span at once instead of every five seconds; it is all that the lab's defaultConfig has by itself.
const quick = `
  runtimeValues: {tracing.opentelemetry.min_flush_spans: "1", tracing.zipkin.min_flush_spans: "1", tracing.opentelemetry.flush_interval_ms: "500", tracing.zipkin.flush_interval_ms: "500"}
`

// The protocols that spans take, as extension providers.
const (
	otlpGRPC = "opentelemetry: {service: spanloom.istio-system.svc.cluster.local, port: 4317}"
	otlpHTTP = "opentelemetry: {service: spanloom.istio-system.svc.cluster.local, port: 4318, http: {path: /v1/traces, timeout: 5s}}"
	zipkin   = "zipkin: {service: spanloom.istio-system.svc.cluster.local, port: 9411}"
)

// meshWith is a mesh configuration whose provider spanloom is one of these, or nothing.
func meshWith(provider string) string {
	text := "defaultConfig:" + quick
	if provider != "" {
		text += "extensionProviders:\n- name: spanloom\n  " + provider + "\n"
	}
	return text
}

// configMap is the mesh configuration as an object.
func configMap(mesh string) string {
	return "{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    " +
		strings.ReplaceAll(strings.TrimSpace(mesh), "\n", "\n    ") + "\n"
}

// telemetry selects a provider for the whole mesh.
const telemetry = `
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: mesh-default, namespace: istio-system}
spec:
  tracing:
  - providers: [{name: spanloom}]
    randomSamplingPercentage: 100
`

// StartMesh brings up a lab whose mesh has a configuration and these further objects, and waits until requests pass.
func StartMesh(l *Lab, mesh, further string) {
	l.t.Helper()
	// One at a time: the ConfigMap before istiod, istiod before proxies.
	l.kube.Apply("somebody", `{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}`)
	l.kube.Apply("somebody", configMap(mesh))
	l.Apply(objects + "\n---\n" + collector() + "\n---\n" + further)
	l.until(time.Minute, "a request through the mesh", func() bool {
		_, err := l.request("/warm-up")
		return err == nil
	})
}
