package doctor_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
)

func write(t testing.TB, dir, name, data string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Plain YAML of a repository, without any state: the usual case of lint.
func TestRepositories(t *testing.T) {
	const telemetry = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: mesh-default, namespace: istio-system}\nspec:\n  tracing:\n  - providers: [{name: tempo}]\n    randomSamplingPercentage: 10\n"
	const mesh = "extensionProviders:\n- name: tempo\n  opentelemetry: {service: tempo.monitoring.svc.cluster.local, port: 4317}\n"
	service := func(port string) string {
		return "apiVersion: v1\nkind: Service\nmetadata: {name: tempo, namespace: monitoring}\nspec:\n  selector: {app: tempo}\n  ports: [" + port + "]\n"
	}
	const grpc = "{name: grpc-otlp, port: 4317}"
	deployment := func(extra string) string {
		return "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  template:\n    metadata:\n      labels: {app: web}\n" + extra + "    spec: {containers: [{name: web}]}\n"
	}
	for _, c := range []struct {
		name   string
		files  map[string]string
		state  doctor.State
		causes []string
		line   string // file:line of the first finding
	}{
		{"all is right", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": deployment("")}, doctor.Unknown, nil, ""},
		{"the collector's Service is in another repository", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "d.yaml": deployment("")}, doctor.Unknown, nil, ""},
		{"the provider is misspelt", map[string]string{"mesh.yaml": mesh, "t.yaml": "# head\n" + telemetry, "x.yaml": "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: n, namespace: shop}\nspec: {tracing: [{providers: [{name: tmepo}]}]}\n", "s.yaml": service(grpc), "d.yaml": deployment("")}, doctor.Broken, []string{"provider-undefined"}, "x.yaml:4"},
		{"a port without protocol", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service("{name: otlp, port: 4317}"), "d.yaml": deployment("")}, doctor.Broken, []string{"port-protocol"}, "s.yaml:6"},
		{"appProtocol mends the name", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service("{name: otlp, port: 4317, appProtocol: grpc}"), "d.yaml": deployment("")}, doctor.Unknown, nil, ""},
		{"a namespace's Sidecar", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": deployment(""), "sc.yaml": "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: shop}\nspec:\n  egress:\n  - hosts: [\"./*\", \"istio-system/*\"]\n"}, doctor.Broken, []string{"collector-hidden"}, "sc.yaml:6"},
		{"a short host", map[string]string{"mesh.yaml": "extensionProviders:\n- name: tempo\n  opentelemetry: {service: tempo.monitoring, port: 4317}\n", "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": deployment("")}, doctor.Broken, []string{"provider-host-unknown"}, "mesh.yaml:2"},
		{"OTLP over HTTP on 4317", map[string]string{"mesh.yaml": "extensionProviders:\n- name: tempo\n  opentelemetry: {service: tempo.monitoring.svc.cluster.local, port: 4317, http: {path: /v1/traces}}\n", "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": deployment("")}, doctor.Broken, []string{"otlp-protocol-mismatch"}, "mesh.yaml:2"},
		{"an opted-out workload", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": deployment("      annotations: {sidecar.istio.io/inject: \"false\"}\n")}, doctor.Broken, []string{"sidecar-missing"}, "d.yaml:5"},
		{"an annotation that replaces", map[string]string{"mesh.yaml": "defaultConfig: {tracing: {sampling: 100, zipkin: {address: tempo.monitoring:9411}}}\n", "s.yaml": service("{name: http-zipkin, port: 9411}"), "d.yaml": deployment("      annotations:\n        proxy.istio.io/config: |\n          tracing: {sampling: 10}\n")}, doctor.Broken, []string{"annotation-replaces"}, "d.yaml:14"},
		{"the collector's selector matches nothing", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service(grpc), "c.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: tempo, namespace: monitoring}\nspec: {template: {metadata: {labels: {app: tempo-v2}}, spec: {containers: [{name: t}]}}}\n", "d.yaml": deployment("")}, doctor.Broken, []string{"collector-no-endpoints"}, "s.yaml:1"},
		{"a template of Helm", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": deployment(""), "templates/x.yaml": "{{- if .Values.a }}\nkind: X\n{{- end }}\n"}, doctor.Unknown, nil, ""},
		{"a broken document", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": deployment(""), "x.yaml": "a: 1\n---\nb: [\n"}, doctor.Unknown, []string{"unreadable"}, "x.yaml:2"},
		{"a Service with mutual TLS forced, collector opted out", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": deployment(""), "c.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: tempo, namespace: monitoring}\nspec: {template: {metadata: {labels: {app: tempo, sidecar.istio.io/inject: \"false\"}}, spec: {containers: [{name: t}]}}}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: default, namespace: istio-system}\nspec: {host: \"*.local\", trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}\n"}, doctor.Broken, []string{"tls-mismatch"}, "c.yaml:9"},
		{"a headless collector", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "d.yaml": deployment(""), "s.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: tempo, namespace: monitoring}\nspec: {clusterIP: None, ports: [{name: grpc-otlp, port: 4317}]}\n"}, doctor.Unknown, []string{"collector-no-endpoints"}, "s.yaml:1"},
		{"an excluded port", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": deployment("      annotations: {traffic.sidecar.istio.io/excludeInboundPorts: \"9090, 8080\"}\n"), "w.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}\n"}, doctor.Unknown, []string{"port-excluded"}, "d.yaml:5"},
		{"a data source of another type", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": deployment(""), "g.yaml": "apiVersion: 1\ndatasources:\n- {name: T, type: tempo, url: \"http://jaeger.monitoring:16686\"}\n"}, doctor.Unknown, []string{"grafana-config"}, "g.yaml:3"},
		{"an SDK with the short form of the same host", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "d.yaml": deployment("") + "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, namespace: shop}\nspec: {template: {metadata: {labels: {app: api}}, spec: {containers: [{name: a, env: [{name: OTEL_EXPORTER_OTLP_ENDPOINT, value: \"http://tempo.monitoring:4317\"}]}]}}}\n"}, doctor.Unknown, nil, ""},
		{"two environments in one repository", map[string]string{"dev/mesh.yaml": mesh, "dev/t.yaml": telemetry, "prod/mesh.yaml": "extensionProviders:\n- name: jaeger\n  opentelemetry: {service: tempo.monitoring.svc.cluster.local, port: 4317}\n", "prod/t.yaml": telemetry, "prod/n.yaml": "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: n, namespace: shop}\nspec: {tracing: [{providers: [{name: jaeger}]}]}\n", "s.yaml": service(grpc), "d.yaml": deployment("")}, doctor.Unknown, nil, ""},
		{"a wrong type in the other environment", map[string]string{"dev/mesh.yaml": mesh, "t.yaml": telemetry, "prod/mesh.yaml": "enableTracing: \"on\"\n", "s.yaml": service(grpc), "d.yaml": deployment("")}, doctor.Partial, []string{"meshconfig-invalid"}, "prod/mesh.yaml:1"},
		{"pods of a cluster as JSON, native sidecar", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service(grpc), "pods.json": `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-1","namespace":"shop","labels":{"app":"web"}},"spec":{"containers":[{"name":"web"}],"initContainers":[{"name":"istio-proxy","restartPolicy":"Always","args":["proxy","sidecar"]}]}},{"apiVersion":"v1","kind":"Pod","metadata":{"name":"api-1","namespace":"shop","labels":{"app":"api"}},"spec":{"containers":[{"name":"api"}]}},{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop","labels":{"istio.io/rev":"stable"}}}]}`}, doctor.Partial, []string{"sidecar-missing"}, "pods.json:1"},
		{"a Telemetry of Argo CD, changed by hand", map[string]string{"mesh.yaml": mesh, "s.yaml": service(grpc), "d.yaml": deployment(""), "t.yaml": strings.Replace(telemetry, "metadata: {name: mesh-default, namespace: istio-system}", "metadata:\n  name: mesh-default\n  namespace: istio-system\n  labels: {argocd.argoproj.io/instance: istio}\n  managedFields: [{manager: argocd-controller}, {manager: kubectl-edit}]", 1)}, doctor.Unknown, []string{"gitops-reverts"}, "t.yaml:1"},
		{"another Service of the collector's namespace", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "d.yaml": deployment(""), "g.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: grafana, namespace: monitoring}\nspec: {selector: {app: grafana}, ports: [{name: http, port: 3000}]}\n"}, doctor.Unknown, nil, ""},
		{"a misspelt host", map[string]string{"mesh.yaml": "extensionProviders:\n- name: tempo\n  opentelemetry: {service: temp.monitoring.svc.cluster.local, port: 4317}\n", "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": deployment("")}, doctor.Broken, []string{"provider-host-unknown"}, "mesh.yaml:2"},
		{"a namespace without injection that routes lead to", map[string]string{"mesh.yaml": mesh, "t.yaml": telemetry, "s.yaml": service(grpc), "d.yaml": strings.ReplaceAll(deployment(""), "istio-injection: enabled", "a: b") + "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {selector: {app: web}, ports: [{name: http, port: 80}]}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web, namespace: shop}\nspec: {hosts: [web.example.com], http: [{route: [{destination: {host: web}}]}]}\n"}, doctor.Broken, []string{"sidecar-missing"}, "d.yaml:1"},
		{"nothing about tracing at all", map[string]string{"mesh.yaml": "{}\n", "d.yaml": deployment("")}, doctor.Broken, []string{"not-configured"}, "mesh.yaml:1"},
		{"only applications", map[string]string{"d.yaml": deployment("")}, doctor.Unknown, nil, ""},
		{"a later field", map[string]string{"mesh.yaml": "extensionProviders:\n- name: tempo\n  opentelemetry: {service: tempo.monitoring.svc.cluster.local, port: 4317}\n", "t.yaml": telemetry + "    samplingPercentage: 5\n", "s.yaml": service(grpc), "d.yaml": deployment("")}, doctor.Unknown, []string{"object-unknown-field"}, "t.yaml:8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range c.files {
				write(t, dir, name, data)
			}
			t.Chdir(dir)
			f, err := collect.Files(t.Context(), []string{"."}, collect.Options{})
			if err != nil {
				t.Fatal(err)
			}
			r := doctor.Diagnose(f, doctor.Options{})
			if r.State != c.state || !same(grave(r), c.causes) {
				t.Fatalf("%s %v, want %s %v\n%s", r.State, grave(r), c.state, c.causes, text(r))
			}
			if c.line != "" {
				if got := r.Findings[0].Object.File + ":" + strconv.Itoa(r.Findings[0].Object.Line); got != c.line {
					t.Errorf("at %s, want %s", got, c.line)
				}
			}
		})
	}
}
