package lab

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spanloom/spanloom/doctor"
)

// liveCase is one way in which traces get lost: what is changed, what then arrives, what the doctor must say, what brings the traces
// back. Every case begins in a healthy mesh.
type liveCase struct {
	name   string
	begin  base
	broken []change
	lost   loss
	cause  string   // of the only error
	warns  bool     // it is a warning, and there is no error
	seen   string   // in every proxy's listeners when the change has taken effect, where nothing is lost
	fix    string   // what the doctor's own fix must contain: text, command or diff
	mended []change // that fix, done
}

// loss is what of ten requests' traces is missing.
type loss int

const (
	all  loss = iota // no span arrives
	part             // some do, and no trace is whole
	none             // every trace is whole
)

// base is a healthy mesh.
type base struct {
	mesh, telemetry string
	strict          bool // Spanloom refuses what the original receivers refuse
}

var (
	byGRPC       = base{meshWith(otlpGRPC), telemetry, false}
	byGRPCStrict = base{meshWith(otlpGRPC), telemetry, true}
	byHTTP       = base{meshWith(otlpHTTP), telemetry, false}
	byHTTPStrict = base{meshWith(otlpHTTP), telemetry, true}
	byZipkin     = base{meshWith(zipkin), telemetry, false}
)

// change is one step of breaking or mending.
type change struct {
	words string
	do    func(*Lab, *doctor.Finding)
}

func apply(words, text string) change {
	return change{words, func(l *Lab, _ *doctor.Finding) { l.Apply(text) }}
}

func remove(kind, namespace, name string) change {
	return change{fmt.Sprintf("no %s %s/%s", kind, namespace, name), func(l *Lab, _ *doctor.Finding) { l.Delete(kind, namespace, name) }}
}

func merge(words, kind, namespace, name, patch string) change {
	return change{words, func(l *Lab, _ *doctor.Finding) { l.Merge(kind, namespace, name, patch) }}
}

// spanloom runs a command that writes to the cluster.
func spanloom(args ...string) change {
	return change{"`spanloom " + strings.Join(args, " ") + "`", func(l *Lab, _ *doctor.Finding) {
		if code, out, errs := l.Spanloom(args...); code != 0 {
			l.t.Fatalf("spanloom %v: exit %d\n%s%s", args, code, out, errs)
		}
		l.reconcile()
	}}
}

// theDiff applies the object that the finding's diff adds.
var theDiff = change{"the finding's diff", func(l *Lab, f *doctor.Finding) {
	var text strings.Builder
	for line := range strings.SplitSeq(f.Fix.Diff, "\n") {
		if added, ok := strings.CutPrefix(line, "+"); ok {
			text.WriteString(added + "\n")
		}
	}
	l.Apply(text.String())
}}

// theCommand does what the finding's `kubectl patch … --type json` does.
var theCommand = change{"the finding's kubectl patch", func(l *Lab, f *doctor.Finding) {
	words := strings.Fields(f.Fix.Command)
	_, patch, ok := strings.Cut(f.Fix.Command, "-p '")
	if len(words) < 6 || words[0] != "kubectl" || words[1] != "patch" || words[3] != "-n" || !ok || !json.Valid([]byte(strings.TrimSuffix(patch, "'"))) {
		l.t.Fatalf("no JSON patch: %s", f.Fix.Command)
	}
	kind := map[string]string{"telemetry": "Telemetry"}[words[2]]
	l.kube.Do("PATCH", l.kube.Path(kind, words[4], words[5]), "application/json-patch+json", strings.TrimSuffix(patch, "'"))
	l.reconcile()
}}

// drop throws packets to a port of Spanloom away, as the plug-in of a NetworkPolicy does, or stops doing so.
func drop(port int, on bool) change {
	return change{"packets dropped as it says", func(l *Lab, _ *doctor.Finding) {
		how := map[bool]string{true: "-A", false: "-D"}[on]
		p := l.pod("istio-system", "spanloom")
		for _, match := range []string{"--dport", "--sport"} {
			chain := map[string]string{"--dport": "INPUT", "--sport": "OUTPUT"}[match]
			if out, err := p.Command(l.ctx, "iptables", "-w", how, chain, "-p", "tcp", match, fmt.Sprint(port), "-j", "DROP").CombinedOutput(); err != nil {
				l.t.Fatalf("iptables: %v: %s", err, out)
			}
		}
	}}
}

const telemetryHead = "{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: mesh-default, namespace: istio-system}, "

// ports of Spanloom's Service, with another 4317.
func ports(otlp string) string {
	return "{apiVersion: v1, kind: Service, metadata: {name: spanloom, namespace: istio-system}, spec: {ports: [{name: http-ui, port: 16686}, " + otlp + "{name: http-otlp, port: 4318}, {name: http-zipkin, port: 9411}]}}"
}

const blocked = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: spanloom, namespace: istio-system}
spec:
  podSelector: {matchLabels: {app: spanloom}}
  policyTypes: [Ingress]
  ingress:
  - ports: [{port: 16686}, {port: 4318}, {port: 9411}]
`

const uselessFilter = `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: tracing, namespace: istio-system}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: ANY, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}}
    patch:
      operation: MERGE
      value:
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          tracing:
            random_sampling: {value: 100}
            provider:
              name: envoy.tracers.opentelemetry
              typed_config:
                "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig
                grpc_service: {envoy_grpc: {cluster_name: "outbound|4317||spanloom.istio-system.svc.cluster.local"}}
`

// secondStore is another Spanloom, and a provider for it that only the namespace shop uses.
const secondStore = `
{apiVersion: apps/v1, kind: Deployment, metadata: {name: other, namespace: istio-system}, spec: {selector: {matchLabels: {app: other}}, template: {metadata: {labels: {app: other, sidecar.istio.io/inject: "false"}}, spec: {containers: [
  {name: spanloom, image: spanloom/spanloom, ports: [{containerPort: 4317}], args: [serve, --store, memory, --listen-host, 0.0.0.0, --kubeconfig, "off"]}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: other, namespace: istio-system}, spec: {selector: {app: other}, ports: [{name: grpc-otlp, port: 4317}]}}
---
{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: tracing, namespace: shop}, spec: {tracing: [{providers: [{name: other}], randomSamplingPercentage: 100}]}}
---
`

func env(workload, name, value string) change {
	return change{fmt.Sprintf("Deployment %s: %s=%s", workload, name, value), func(l *Lab, _ *doctor.Finding) {
		var d deployment
		l.kube.Get(l.kube.Path("Deployment", "shop", workload), &d)
		c := d.Spec.Template.Spec.Containers
		kept := c[0].Env[:0]
		for _, v := range c[0].Env {
			if v.Name != name {
				kept = append(kept, v)
			}
		}
		c[0].Env = append(kept, variable{name, value})
		text, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": c}}}})
		if err != nil {
			l.t.Fatal(err)
		}
		l.Merge("Deployment", "shop", workload, string(text))
	}}
}

var cases = []liveCase{
	{name: "a provider that nobody selects", begin: byGRPC,
		broken: []change{remove("Telemetry", "istio-system", "mesh-default")},
		cause:  "provider-not-selected", fix: "kind: Telemetry", mended: []change{theDiff}},
	{name: "the selected provider is not defined", begin: byGRPC,
		broken: []change{apply("Telemetry selects spanlom", telemetryHead+"spec: {tracing: [{providers: [{name: spanlom}], randomSamplingPercentage: 100}]}}")},
		cause:  "provider-undefined", fix: "spanloom", mended: []change{apply("name: spanloom", telemetry)}},
	{name: "the provider's host is not in the registry", begin: byGRPC,
		broken: []change{apply("service: spanloom.tracing.svc.cluster.local", configMap(meshWith("opentelemetry: {service: spanloom.tracing.svc.cluster.local, port: 4317}")))},
		cause:  "provider-host-unknown", fix: "spanloom.istio-system.svc.cluster.local", mended: []change{spanloom("mesh", "apply", "--yes", "--sampling", "100")}},
	{name: "the Service lacks the port", begin: byGRPC,
		broken: []change{merge("Service without 4317", "Service", "istio-system", "spanloom", ports(""))},
		cause:  "provider-port-missing", fix: "grpc-otlp", mended: []change{apply("port 4317, name grpc-otlp", collectorService)}},
	{name: "a port name that makes gRPC into TCP, strict", begin: byGRPCStrict,
		broken: []change{merge("4317 is called tcp-otlp", "Service", "istio-system", "spanloom", ports("{name: tcp-otlp, port: 4317}, "))},
		cause:  "port-protocol", fix: "grpc-otlp", mended: []change{merge("name: grpc-otlp", "Service", "istio-system", "spanloom", ports("{name: grpc-otlp, port: 4317}, "))}},
	{name: "OTLP over HTTP to the gRPC port, strict", begin: byHTTPStrict,
		broken: []change{apply("http provider on 4317", configMap(meshWith(strings.Replace(otlpHTTP, "4318", "4317", 1))))},
		cause:  "otlp-protocol-mismatch", fix: "4318", mended: []change{apply("port: 4318", configMap(meshWith(otlpHTTP)))}},
	{name: "OTLP over gRPC to the HTTP port, strict", begin: byGRPCStrict,
		broken: []change{apply("grpc provider on 4318", configMap(meshWith(strings.Replace(otlpGRPC, "4317", "4318", 1))))},
		cause:  "otlp-protocol-mismatch", fix: "4317", mended: []change{apply("port: 4317", configMap(meshWith(otlpGRPC)))}},
	{name: "a wrong path, strict", begin: byHTTPStrict,
		broken: []change{apply("path: /otlp/traces", configMap(meshWith(strings.Replace(otlpHTTP, "/v1/traces", "/otlp/traces", 1))))},
		cause:  "collector-path", fix: "/v1/traces", mended: []change{apply("path: /v1/traces", configMap(meshWith(otlpHTTP)))}},
	{name: "a path with a prefix, which Spanloom takes", begin: byHTTP, lost: none,
		broken: []change{apply("path: /otlp/v1/traces", configMap(meshWith(strings.Replace(otlpHTTP, "/v1/traces", "/otlp/v1/traces", 1))))},
		cause:  "collector-path", warns: true, seen: "/otlp/v1/traces", fix: "/v1/traces", mended: []change{apply("path: /v1/traces", configMap(meshWith(otlpHTTP)))}},
	{name: "sampling is 0 %", begin: byGRPC,
		broken: []change{merge("randomSamplingPercentage: 0", "Telemetry", "istio-system", "mesh-default", "spec: {tracing: [{providers: [{name: spanloom}], randomSamplingPercentage: 0}]}")},
		cause:  "sampling-zero", fix: "kubectl patch telemetry", mended: []change{theCommand}},
	{name: "a Telemetry switches reporting off", begin: byGRPC,
		broken: []change{merge("disableSpanReporting: true", "Telemetry", "istio-system", "mesh-default", "spec: {tracing: [{providers: [{name: spanloom}], randomSamplingPercentage: 100, disableSpanReporting: true}]}")},
		cause:  "reporting-disabled", fix: "disableSpanReporting", mended: []change{merge("without it", "Telemetry", "istio-system", "mesh-default", "spec: {tracing: [{providers: [{name: spanloom}], randomSamplingPercentage: 100}]}")}},
	{name: "the Telemetry is in the wrong namespace", begin: byGRPC,
		broken: []change{apply("Telemetry in default", strings.Replace(telemetry, "istio-system", "default", 1)), remove("Telemetry", "istio-system", "mesh-default")},
		cause:  "telemetry-scope", fix: "istio-system", mended: []change{apply("Telemetry in istio-system", telemetry), remove("Telemetry", "default", "mesh-default")}},
	{name: "the Telemetry's selector matches nothing", begin: byGRPC,
		broken: []change{merge("selector app: web", "Telemetry", "istio-system", "mesh-default", "spec: {selector: {matchLabels: {app: web}}}")},
		cause:  "telemetry-scope", fix: "selector", mended: []change{merge("no selector", "Telemetry", "istio-system", "mesh-default", "spec: {selector: null}")}},
	{name: "a Sidecar hides the collector", begin: byGRPC, lost: part,
		broken: []change{apply("Sidecar shop/default: egress ./*", `{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: default, namespace: shop}, spec: {egress: [{hosts: ["./*"]}]}}`)},
		cause:  "collector-hidden", fix: "istio-system/", mended: []change{apply("egress istio-system/*", `{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: default, namespace: shop}, spec: {egress: [{hosts: ["./*", "istio-system/*"]}]}}`)}},
	{name: "the Service has no endpoints", begin: byGRPC,
		broken: []change{merge("selector app: spanlom", "Service", "istio-system", "spanloom", "spec: {selector: {app: spanlom}}")},
		cause:  "collector-no-endpoints", fix: "selector", mended: []change{merge("selector app: spanloom", "Service", "istio-system", "spanloom", "spec: {selector: {app: spanloom}}")}},
	{name: "nothing listens on the port", begin: byGRPC,
		broken: []change{merge("targetPort: 4319", "Service", "istio-system", "spanloom", ports("{name: grpc-otlp, port: 4317, targetPort: 4319}, "))},
		cause:  "collector-port-closed", fix: "targetPort", mended: []change{merge("targetPort: 4317", "Service", "istio-system", "spanloom", ports("{name: grpc-otlp, port: 4317, targetPort: 4317}, "))}},
	{name: "a NetworkPolicy leaves the port out", begin: byGRPC,
		broken: []change{apply("NetworkPolicy without 4317", blocked), drop(4317, true)},
		cause:  "network-blocked", fix: "4317", mended: []change{apply("port 4317 in it", strings.Replace(blocked, "[{port: 16686}", "[{port: 4317}, {port: 16686}", 1)), drop(4317, false)}},
	{name: "a DestinationRule asks for mutual TLS of a collector without sidecar", begin: byGRPC,
		broken: []change{apply("ISTIO_MUTUAL", `{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: spanloom, namespace: istio-system}, spec: {host: spanloom.istio-system.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}}`)},
		cause:  "tls-mismatch", fix: "ISTIO_MUTUAL", mended: []change{remove("DestinationRule", "istio-system", "spanloom")}},
	{name: "an EnvoyFilter that cannot work", begin: byGRPC,
		broken: []change{apply("EnvoyFilter of HTTP_FILTER", uselessFilter), remove("Telemetry", "istio-system", "mesh-default"), apply("no provider", configMap(meshWith("")))},
		cause:  "envoyfilter-no-effect", fix: "Telemetry", mended: []change{remove("EnvoyFilter", "istio-system", "tracing"), spanloom("mesh", "apply", "--yes", "--sampling", "100")}},
	{name: "an application drops the headers", begin: byGRPC, lost: part,
		broken: []change{env("frontend", "FORWARD", "no")},
		cause:  "propagation-none", fix: "traceparent", mended: []change{env("frontend", "FORWARD", "yes")}},
	{name: "a workload without sidecar", begin: byGRPC, lost: part,
		broken: []change{merge("backend: sidecar.istio.io/inject: \"false\"", "Deployment", "shop", "backend", `spec: {template: {metadata: {labels: {sidecar.istio.io/inject: "false"}}}}`)},
		cause:  "sidecar-missing", fix: "inject", mended: []change{merge("without that label", "Deployment", "shop", "backend", `spec: {template: {metadata: {labels: {sidecar.istio.io/inject: null}}}}`)}},
	{name: "a wrong type in the mesh configuration", begin: byGRPC,
		broken: []change{apply("enableTracing: yes please", configMap("enableTracing: yes please\n"+strings.Replace(meshWith(otlpGRPC), "name: spanloom", "name: spanloom-new", 1))), apply("Telemetry selects spanloom-new", telemetryHead+"spec: {tracing: [{providers: [{name: spanloom-new}], randomSamplingPercentage: 100}]}}")},
		cause:  "meshconfig-invalid", fix: "enableTracing", mended: []change{apply("without that line", configMap(strings.Replace(meshWith(otlpGRPC), "name: spanloom", "name: spanloom-new", 1)))}},
	{name: "an unknown field", begin: byGRPC, lost: none,
		broken: []change{apply("defaultConfig.tracing.provider", configMap(strings.Replace(meshWith(otlpGRPC), "defaultConfig:", "defaultConfig:\n  tracing: {provider: {name: spanloom}}", 1)))},
		cause:  "meshconfig-unknown-field", warns: true, fix: "provider", mended: []change{apply("without it", configMap(meshWith(otlpGRPC)))}},
	{name: "a mesh whose chart asks for nothing", begin: byZipkin,
		broken: []change{remove("Telemetry", "istio-system", "mesh-default"), apply("no provider", configMap(meshWith("")))},
		cause:  "not-configured", fix: "kind: Telemetry", mended: []change{spanloom("mesh", "apply", "--yes", "--sampling", "100", "--protocol", "zipkin")}},
	{name: "two stores share the traces", begin: byGRPC, lost: part,
		broken: []change{apply("namespace shop reports to another Spanloom", secondStore+configMap(meshWith(otlpGRPC)+"- name: other\n  opentelemetry: {service: other.istio-system.svc.cluster.local, port: 4317}\n"))},
		cause:  "split-stores", warns: true, fix: "", mended: []change{remove("Telemetry", "shop", "tracing"), remove("Deployment", "istio-system", "other"), remove("Service", "istio-system", "other"), apply("one provider", configMap(meshWith(otlpGRPC)))}},
}
