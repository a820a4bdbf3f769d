package doctor_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

const (
	tempo  = "tempo.monitoring.svc.cluster.local"
	otlp   = "outbound|4317||" + tempo
	otlpH  = "outbound|4318||" + tempo
	zipkin = "outbound|9411||" + tempo
)

// mutation changes recorded facts into those of another mesh of the same kind.
type mutation func(f *doctor.Facts)

func all(ms ...mutation) mutation {
	return func(f *doctor.Facts) {
		for _, m := range ms {
			m(f)
		}
	}
}

// got sets what arrived.
func got(byService map[string]int, traces, traffic int) mutation {
	return func(f *doctor.Facts) {
		r := &doctor.Received{ByService: byService, Traces: traces, Roots: traces, Traffic: traffic}
		for _, n := range byService {
			r.Spans += n
		}
		f.Received = r
	}
}

var (
	nothing    = got(nil, 0, 10)
	everything = got(map[string]int{"istio-ingressgateway.istio-system": 20, "web.shop": 20, "api.shop": 10}, 10, 10)
)

func proxies(change func(p *envoy.Proxy), names ...string) mutation {
	return func(f *doctor.Facts) {
		for i := range f.Proxies {
			if len(names) == 0 || slices.Contains(names, f.Proxies[i].Name) {
				change(&f.Proxies[i])
			}
		}
	}
}

func without(cluster string) func(*envoy.Proxy) {
	return func(p *envoy.Proxy) {
		p.Clusters = slices.DeleteFunc(slices.Clone(p.Clusters), func(c envoy.Cluster) bool {
			return c.Name == cluster || cluster == tempo && strings.HasSuffix(c.Name, tempo)
		})
		p.Hosts = slices.DeleteFunc(slices.Clone(p.Hosts), func(h envoy.Host) bool {
			return h.Cluster == cluster || cluster == tempo && strings.HasSuffix(h.Cluster, tempo)
		})
	}
}

func refused(p *envoy.Proxy) {
	for i := range p.Managers {
		p.Managers[i].Rejected = true
	}
	p.Rejections = []envoy.Rejection{{Resource: "0.0.0.0_8080", Details: "unknown cluster"}}
}

// shaped changes the tracer's cluster.
func shaped(cluster string, change func(c *envoy.Cluster)) func(*envoy.Proxy) {
	return func(p *envoy.Proxy) {
		for i := range p.Clusters {
			if p.Clusters[i].Name == cluster {
				change(&p.Clusters[i])
			}
		}
	}
}

// counted sets the counters of a cluster's endpoints and drops its statistics.
func counted(cluster string, h envoy.Host) func(*envoy.Proxy) {
	return func(p *envoy.Proxy) {
		for i := range p.Hosts {
			if p.Hosts[i].Cluster == cluster {
				h.Cluster, h.Address, h.TLSMode = cluster, p.Hosts[i].Address, p.Hosts[i].TLSMode
				p.Hosts[i] = h
			}
		}
		for name := range p.Stats {
			if strings.HasPrefix(name, "cluster."+cluster) {
				delete(p.Stats, name)
			}
		}
	}
}

var (
	cutOff    = envoy.Host{Total: 4, Error: 4, Connects: 4}
	noConnect = envoy.Host{Error: 4, Connects: 4, ConnectFail: 4}
	answered  = envoy.Host{Total: 4, Success: 4, Connects: 1}
	nonsense  = envoy.Host{Total: 4, Connects: 1}
)

// traced gives every connection manager a tracer.
func traced(t envoy.Tracer, sampling float64) func(*envoy.Proxy) {
	return func(p *envoy.Proxy) {
		for i := range p.Managers {
			own := t
			p.Managers[i].Tracing, p.Managers[i].Tracer, p.Managers[i].Sampling = true, &own, sampling
			if t.Name == "" {
				p.Managers[i].Tracer = nil
			}
		}
	}
}

func bare(sampling float64) func(*envoy.Proxy) { return traced(envoy.Tracer{}, sampling) }

func off(p *envoy.Proxy) {
	for i := range p.Managers {
		p.Managers[i].Tracing, p.Managers[i].Tracer = false, nil
	}
}

func stats(values map[string]int64) func(*envoy.Proxy) {
	return func(p *envoy.Proxy) {
		if p.Type == "router" {
			return
		}
		p.Stats = values
	}
}

// yaml adds objects.
func yaml(t *testing.T, text string) mutation {
	return func(f *doctor.Facts) {
		r := istio.Reader{Objects: f.Objects}
		if err := r.File("more.yaml", []byte(text)); err != nil {
			t.Fatal(err)
		}
		f.Objects = r.Objects
	}
}

// ports replaces the ports of the collector's entry.
func ports(ps ...istio.Port) mutation {
	return func(f *doctor.Facts) {
		for i := range f.Objects.Services {
			if slices.Contains(f.Objects.Services[i].Hosts, tempo) {
				f.Objects.Services[i].Ports = ps
			}
		}
	}
}

// mesh changes the mesh configuration, as written and in force.
func mesh(change func(m *istio.MeshConfig)) mutation {
	return func(f *doctor.Facts) {
		change(f.Effective)
		for i := range f.Objects.Meshes {
			change(&f.Objects.Meshes[i])
		}
	}
}

func noTelemetry(f *doctor.Facts) { f.Objects.Telemetries = nil }

func provider(change func(p *istio.Provider)) mutation {
	return mesh(func(m *istio.MeshConfig) {
		m.Providers = slices.Clone(m.Providers)
		for i := range m.Providers {
			if m.Providers[i].Name == "tempo" {
				change(&m.Providers[i])
			}
		}
	})
}

func rate(r float64) *float64 { return &r }

// refusing is Spanloom's own book of a window in which it took nothing: bodies of each proxy were refused for one reason.
func refusing(reason string) mutation {
	return func(f *doctor.Facts) {
		f.Book, f.Received = &doctor.Book{To: 1}, nil
		for i := range f.Proxies {
			f.Book.Receipts = append(f.Book.Receipts, doctor.Receipt{Protocol: "otlp_http", Sender: strings.Split(f.Proxies[i].Node, "~")[1], Refused: map[string]int64{reason: 9}})
		}
	}
}

// Meshes of the same kinds as the recorded ones, made from their facts.
func TestVariants(t *testing.T) {
	grpcPort, httpPort := istio.Port{Number: 4317, Name: "grpc-otlp", Declared: "GRPC"}, istio.Port{Number: 4318, Name: "http-otlp", Declared: "HTTP"}
	otel := envoy.Tracer{Name: "envoy.tracers.opentelemetry", Cluster: otlp}
	zip := envoy.Tracer{Name: "envoy.tracers.zipkin", Cluster: zipkin, Path: "/api/v2/spans"}
	halfGateway := got(map[string]int{"web.shop": 20, "api.shop": 10}, 10, 10)
	onlyGateway := got(map[string]int{"istio-ingressgateway.istio-system": 20}, 10, 10)
	const blockedAtTempo = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: in, namespace: monitoring}\nspec: {podSelector: {matchLabels: {app: tempo}}, policyTypes: [Ingress], ingress: [{ports: [{port: 9411}]}]}"
	httpTo := func(path string) mutation {
		return all(provider(func(p *istio.Provider) { p.Port, p.HTTP, p.Path = 4318, true, path }), proxies(traced(envoy.Tracer{Name: otel.Name, Cluster: otlpH, HTTP: true, Path: path}, 100)), proxies(counted(otlpH, answered)))
	}
	httpTo4317 := all(provider(func(p *istio.Provider) { p.Port, p.HTTP, p.Path = 4317, true, "/v1/traces" }), ports(istio.Port{Number: 4317, Name: "http-otlp", Declared: "HTTP"}), proxies(shaped(otlp, func(c *envoy.Cluster) { c.HTTP2 = false })),
		proxies(traced(envoy.Tracer{Name: otel.Name, Cluster: otlp, HTTP: true, Path: "/v1/traces"}, 100)), proxies(counted(otlp, answered)))
	twoCollectors := all(yaml(t, "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: x, namespace: shop}\nspec: {tracing: [{providers: [{name: other}]}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: jaeger, namespace: observability}\nspec: {selector: {app: jaeger}, ports: [{name: grpc-otlp, port: 4317}]}"),
		mesh(func(m *istio.MeshConfig) {
			m.Providers = append(slices.Clone(m.Providers), istio.Provider{Name: "other", Type: "opentelemetry", Service: "jaeger.observability.svc.cluster.local", Port: 4317})
		}),
		proxies(func(p *envoy.Proxy) {
			name := "outbound|4317||jaeger.observability.svc.cluster.local"
			traced(envoy.Tracer{Name: otel.Name, Cluster: name}, 100)(p)
			p.Clusters = append(p.Clusters, envoy.Cluster{Name: name, Type: "EDS", HTTP2: true, TLS: "matching"})
			p.Hosts = append(p.Hosts, envoy.Host{Cluster: name, Address: "10.77.0.9:4317", Total: 3, Success: 3, Connects: 1})
		}, "web", "api"))
	for _, c := range []struct {
		name, base string
		change     mutation
		state      doctor.State
		causes     []string
	}{
		{"Zipkin, port missing: Envoy refuses its listeners", "h03-zipkin-provider", all(ports(grpcPort, httpPort), proxies(without(zipkin)), proxies(refused), nothing), doctor.Broken, []string{"provider-port-missing"}},
		{"Zipkin, hidden by a Sidecar: an outage of one namespace", "h03-zipkin-provider", all(yaml(t, "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: shop}\nspec: {egress: [{hosts: [\"./*\"]}]}"),
			proxies(without(tempo), "web", "api"), proxies(refused, "web", "api"), onlyGateway), doctor.Partial, []string{"collector-hidden"}},
		{"exportTo keeps the collector in its namespace", "h01-otel-grpc", all(func(f *doctor.Facts) {
			for i := range f.Objects.Services {
				if f.Objects.Services[i].Name == "tempo" {
					f.Objects.Services[i].ExportTo = []string{"."}
				}
			}
		}, proxies(without(tempo)), nothing), doctor.Broken, []string{"collector-hidden"}},
		{"a port named tcp-otlp", "h01-otel-grpc", all(ports(istio.Port{Number: 4317, Name: "tcp-otlp", Declared: "TCP"}), proxies(shaped(otlp, func(c *envoy.Cluster) { c.HTTP2 = false })), proxies(counted(otlp, cutOff)), nothing), doctor.Broken, []string{"port-protocol"}},
		{"a port named http", "h01-otel-grpc", all(ports(istio.Port{Number: 4317, Name: "http", Declared: "HTTP"}), proxies(shaped(otlp, func(c *envoy.Cluster) { c.HTTP2 = false })), proxies(counted(otlp, cutOff)), nothing), doctor.Broken, []string{"port-protocol"}},
		{"mutual TLS forced to a collector without sidecar", "h01-otel-grpc", all(yaml(t, "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: tempo, namespace: monitoring}\nspec: {host: tempo.monitoring.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}"),
			proxies(shaped(otlp, func(c *envoy.Cluster) { c.TLS, c.SNI = "always", "outbound_.4317_._."+tempo })), proxies(counted(otlp, noConnect)), nothing), doctor.Broken, []string{"tls-mismatch"}},
		{"TLS to a plain port", "h01-otel-grpc", all(yaml(t, "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: all, namespace: istio-system}\nspec: {host: \"*.monitoring.svc.cluster.local\", trafficPolicy: {tls: {mode: SIMPLE}}}"),
			proxies(shaped(otlp, func(c *envoy.Cluster) { c.TLS, c.SNI = "always", "" })), proxies(counted(otlp, noConnect)), nothing), doctor.Broken, []string{"tls-mismatch"}},
		{"TLS to a collector that takes it", "h01-otel-grpc", all(yaml(t, "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: tempo, namespace: monitoring}\nspec: {host: tempo.monitoring.svc.cluster.local, trafficPolicy: {tls: {mode: SIMPLE}}}"),
			proxies(shaped(otlp, func(c *envoy.Cluster) { c.TLS = "always" })), everything), doctor.Healthy, nil},
		{"OTLP over gRPC to an HTTP port that is called gRPC", "h01-otel-grpc", all(provider(func(p *istio.Provider) { p.Port = 4318 }), ports(istio.Port{Number: 4318, Name: "grpc", Declared: "GRPC"}),
			proxies(traced(envoy.Tracer{Name: "envoy.tracers.opentelemetry", Cluster: otlpH}, 100)), proxies(shaped(otlpH, func(c *envoy.Cluster) { c.HTTP2 = true })), proxies(counted(otlpH, nonsense)), nothing), doctor.Broken, []string{"otlp-protocol-mismatch"}},
		{"OTLP over gRPC to the HTTP port", "h01-otel-grpc", all(provider(func(p *istio.Provider) { p.Port = 4318 }), proxies(traced(envoy.Tracer{Name: "envoy.tracers.opentelemetry", Cluster: otlpH}, 100)), proxies(counted(otlpH, cutOff)), nothing), doctor.Broken, []string{"otlp-protocol-mismatch"}},
		{"OTLP over HTTP, as it should be", "h01-otel-grpc", all(provider(func(p *istio.Provider) { p.Port, p.HTTP, p.Path = 4318, true, "/v1/traces" }), proxies(traced(envoy.Tracer{Name: "envoy.tracers.opentelemetry", Cluster: otlpH, HTTP: true, Path: "/v1/traces"}, 100)), proxies(counted(otlpH, answered)), everything), doctor.Healthy, nil},
		{"OTLP over HTTP with a wrong path", "h01-otel-grpc", all(provider(func(p *istio.Provider) { p.Port, p.HTTP, p.Path = 4318, true, "/v1/trace" }), proxies(traced(envoy.Tracer{Name: "envoy.tracers.opentelemetry", Cluster: otlpH, HTTP: true, Path: "/v1/trace"}, 100)), proxies(counted(otlpH, answered)), nothing), doctor.Broken, []string{"collector-path"}},
		{"Zipkin to a port that serves something else", "h03-zipkin-provider", all(provider(func(p *istio.Provider) { p.Port = 3200 }), proxies(traced(envoy.Tracer{Name: "envoy.tracers.zipkin", Cluster: "outbound|3200||" + tempo, Path: "/api/v2/spans"}, 100)), proxies(counted("outbound|3200||"+tempo, answered)),
			proxies(stats(map[string]int64{"tracing.zipkin.reports_dropped": 4, "tracing.zipkin.reports_sent": 0, "cluster.outbound|3200||" + tempo + ";.upstream_rq_404": 4})), nothing), doctor.Broken, []string{"collector-path"}},
		{"traceparent …-00 from the caller", "h01-otel-grpc", all(proxies(counted(otlp, envoy.Host{})), proxies(stats(map[string]int64{"http.inbound_0.0.0.0_8080;.tracing.random_sampling": 10, "tracing.opentelemetry.spans_sent": 0, "tracing.opentelemetry.timer_flushed": 4})), nothing), doctor.Broken, []string{"caller-not-sampled"}},
		{"request ids that are no UUIDs", "h01-otel-grpc", all(proxies(counted(otlp, envoy.Host{})), proxies(stats(map[string]int64{"http.inbound_0.0.0.0_8080;.tracing.not_traceable": 10, "http.inbound_0.0.0.0_8080;.tracing.random_sampling": 0, "tracing.opentelemetry.timer_flushed": 4})), nothing), doctor.Broken, []string{"caller-not-sampled"}},
		{"a default provider that is not defined", "h01-otel-grpc", all(noTelemetry, mesh(func(m *istio.MeshConfig) { m.Defaults = []string{"jaeger"} }), proxies(off), nothing), doctor.Broken, []string{"provider-undefined"}},
		{"a default provider, enableTracing false", "h01-otel-grpc", all(noTelemetry, mesh(func(m *istio.MeshConfig) { no := false; m.Defaults, m.Tracing = []string{"tempo"}, &no }), func(f *doctor.Facts) {
			f.Effective.Config = &istio.ProxyConfig{Tracing: &istio.Tracing{Sampling: rate(100)}}
		}, everything), doctor.Healthy, nil},
		{"a Telemetry in the application's namespace only", "h01-otel-grpc", all(func(f *doctor.Facts) { f.Objects.Telemetries[0].Namespace = "shop" }, proxies(bare(1), "gateway"), halfGateway), doctor.Partial, []string{"telemetry-scope"}},
		{"sampling: 0 in defaultConfig means not set", "h04-zipkin-bootstrap-legacy", all(mesh(func(m *istio.MeshConfig) { m.Config.Tracing.Sampling = rate(0) }), proxies(bare(1)), proxies(func(p *envoy.Proxy) { p.Config.Tracing.Sampling = nil }), got(map[string]int{"istio-ingressgateway.istio-system": 1, "web.shop": 2, "api.shop": 1}, 1, 10)), doctor.Partial, []string{"sampling-low"}},
		{"an explicit 1 %", "h01-otel-grpc", all(func(f *doctor.Facts) { f.Objects.Telemetries[0].Tracing[0].Sampling = rate(1) }, proxies(traced(otel, 1)), proxies(counted(otlp, envoy.Host{})), nothing), doctor.Healthy, nil},
		{"a Telemetry of a namespace sets 0 %", "h01-otel-grpc", all(yaml(t, "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: quiet, namespace: shop}\nspec: {tracing: [{randomSamplingPercentage: 0}]}"), proxies(traced(otel, 0), "web", "api"), onlyGateway), doctor.Partial, []string{"sampling-zero"}},
		{"a Telemetry of a workload switches it off", "h01-otel-grpc", all(yaml(t, "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: quiet, namespace: shop}\nspec: {selector: {matchLabels: {app: api}}, tracing: [{disableSpanReporting: true}]}"), proxies(off, "api"),
			got(map[string]int{"istio-ingressgateway.istio-system": 20, "web.shop": 20}, 10, 10)), doctor.Partial, []string{"reporting-disabled"}},
		{"two Telemetries select the workloads, and the newer sets 0 %", "h01-otel-grpc", all(yaml(t, "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: a-newer, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: web}}, tracing: [{randomSamplingPercentage: 0}]}\n---\n"+
			"apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: b-older, namespace: shop, creationTimestamp: '2026-01-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: web}}, tracing: [{providers: [{name: tempo}], randomSamplingPercentage: 100}]}"),
			proxies(traced(otel, 0), "web"), got(map[string]int{"istio-ingressgateway.istio-system": 20, "api.shop": 10}, 10, 10)), doctor.Partial, []string{"sampling-zero"}},
		{"before 1.20 the older of two that select a workload counts alone", "h01-otel-grpc", all(func(f *doctor.Facts) { f.Istio = "1.19.5" }, yaml(t, "apiVersion: telemetry.istio.io/v1alpha1\nkind: Telemetry\nmetadata: {name: a-newer, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: web}}, tracing: [{providers: [{name: tempo}], randomSamplingPercentage: 100}]}\n---\n"+
			"apiVersion: telemetry.istio.io/v1alpha1\nkind: Telemetry\nmetadata: {name: b-older, namespace: shop, creationTimestamp: '2026-01-01T00:00:00Z'}\nspec: {selector: {matchLabels: {app: web}}, tracing: [{randomSamplingPercentage: 0}]}"),
			proxies(traced(otel, 0), "web"), got(map[string]int{"istio-ingressgateway.istio-system": 20, "api.shop": 10}, 10, 10)), doctor.Partial, []string{"telemetry-conflict"}},
		{"a Telemetry without a rate, in a version that takes that for 0 %", "h01-otel-grpc", all(func(f *doctor.Facts) { f.Istio = "1.18.2"; f.Objects.Telemetries[0].Tracing[0].Sampling = nil }, proxies(traced(otel, 0)), nothing), doctor.Broken, []string{"sampling-zero"}},
		{"two Telemetries select the workloads and agree", "h01-otel-grpc", all(yaml(t, "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: a, namespace: shop}\nspec: {selector: {matchLabels: {app: web}}, tracing: [{customTags: {team: {literal: {value: a}}}}]}\n---\n"+
			"apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: b, namespace: shop}\nspec: {selector: {matchLabels: {app: web}}, tracing: [{randomSamplingPercentage: 100}]}"), everything), doctor.Healthy, nil},
		{"a provider of a kind that no longer traces", "h01-otel-grpc", all(provider(func(p *istio.Provider) { p.Type = "opencensus" }), proxies(off), nothing), doctor.Broken, []string{"provider-undefined"}},
		{"a provider whose sampler knows nobody to ask", "h01-otel-grpc", all(provider(func(p *istio.Provider) { p.Sampler = "dynatrace" }), proxies(off), nothing), doctor.Broken, []string{"provider-undefined"}},
		{"a rate below zero in defaultConfig", "h01-otel-grpc", all(func(f *doctor.Facts) {
			f.Objects.Telemetries[0].Tracing[0].Sampling = nil
			f.Effective.Config = &istio.ProxyConfig{Tracing: &istio.Tracing{Sampling: rate(-5)}}
		}, proxies(func(p *envoy.Proxy) { p.Config = &istio.ProxyConfig{Tracing: &istio.Tracing{Sampling: rate(-5)}} }), proxies(traced(otel, -5)), proxies(refused), nothing), doctor.Broken, []string{"sampling-invalid"}},
		{"a rate above 100 in a Telemetry", "h01-otel-grpc", all(func(f *doctor.Facts) { f.Objects.Telemetries[0].Tracing[0].Sampling = rate(1000) }, proxies(traced(otel, 1000)), proxies(refused), nothing), doctor.Broken, []string{"sampling-invalid"}},
		{"an EnvoyFilter that works", "f17-envoyfilter-unknown-cluster", all(func(f *doctor.Facts) {
			for i := range f.Objects.EnvoyFilters[0].Patches {
				f.Objects.EnvoyFilters[0].Patches[i].Cluster = otlp
			}
		}, proxies(traced(otel, 100)), proxies(counted(otlp, answered)), got(map[string]int{"istio-ingressgateway.istio-system": 10, "web.shop": 20, "api.shop": 10}, 10, 10)), doctor.Healthy, nil},
		{"an EnvoyFilter without a patch for the gateway", "f17-envoyfilter-unknown-cluster", all(func(f *doctor.Facts) {
			e := &f.Objects.EnvoyFilters[0]
			e.Patches = e.Patches[:2]
			for i := range e.Patches {
				e.Patches[i].Cluster = otlp
			}
		}, proxies(traced(otel, 100), "web", "api"), proxies(bare(1), "gateway"), proxies(counted(otlp, answered)), halfGateway), doctor.Partial, []string{"envoyfilter-scope"}},
		{"an EnvoyFilter with a selector that matches nothing", "f16-envoyfilter-wrong-namespace", all(func(f *doctor.Facts) {
			f.Objects.EnvoyFilters[0].Namespace, f.Objects.EnvoyFilters[0].Selector = "istio-system", map[string]string{"app": "httpbin"}
		}), doctor.Broken, []string{"envoyfilter-scope"}},
		{"an EnvoyFilter for another version", "f16-envoyfilter-wrong-namespace", all(func(f *doctor.Facts) {
			e := &f.Objects.EnvoyFilters[0]
			e.Namespace = "istio-system"
			for i := range e.Patches {
				e.Patches[i].Version = `^1\.17.*`
			}
		}), doctor.Broken, []string{"envoyfilter-scope"}},
		{"an EnvoyFilter that adds a filter", "f15a-envoyfilter-http-filter-hcm-value", func(f *doctor.Facts) {
			for i := range f.Objects.EnvoyFilters[0].Patches {
				p := &f.Objects.EnvoyFilters[0].Patches[i]
				p.ApplyTo, p.Operation = "NETWORK_FILTER", "INSERT_BEFORE"
			}
		}, doctor.Broken, []string{"envoyfilter-no-effect"}},
		{"a useless EnvoyFilter in a mesh that traces", "h01-otel-grpc", func(f *doctor.Facts) {
			f.Objects.EnvoyFilters = []istio.EnvoyFilter{{Ref: istio.Ref{Kind: "EnvoyFilter", Namespace: "istio-system", Name: "tracing-config"}, Patches: []istio.Patch{{ApplyTo: "HTTP_FILTER", Operation: "MERGE", HCM: true, Typed: true, Tracer: "envoy.tracers.zipkin", Cluster: "zipkin"}}}}
		}, doctor.Healthy, []string{"envoyfilter-no-effect"}},
		{"some pods are restarted, some are not", "f20-pods-not-restarted-after-zipkin-address", all(proxies(func(p *envoy.Proxy) {
			p.Config = &istio.ProxyConfig{Tracing: &istio.Tracing{Backend: "zipkin", Address: "zipkin.istio-system:9411", Sampling: rate(100)}}
			p.Bootstrap = &envoy.Tracer{Name: "envoy.tracers.zipkin", Cluster: "zipkin", Path: "/api/v2/spans"}
			p.Clusters = append(p.Clusters, envoy.Cluster{Name: "zipkin", Type: "STRICT_DNS", Address: "zipkin.istio-system", Port: 9411})
			p.Hosts = append(p.Hosts, envoy.Host{Cluster: "zipkin", Address: "10.77.0.5:9411", Total: 2, Success: 2, Connects: 1})
			bare(100)(p)
		}, "gateway", "api"), got(map[string]int{"istio-ingressgateway.istio-system": 10, "api.shop": 10}, 10, 10)), doctor.Partial, []string{"restart-needed"}},
		{"a rate that is not in the pods yet", "h04-zipkin-bootstrap-legacy", all(proxies(bare(1)), proxies(func(p *envoy.Proxy) { p.Config.Tracing.Sampling = nil }), got(map[string]int{"istio-ingressgateway.istio-system": 1, "web.shop": 2, "api.shop": 1}, 1, 10)), doctor.Partial, []string{"restart-needed"}},
		{"an address that is not in the pods yet", "h04-zipkin-bootstrap-legacy", all(mesh(func(m *istio.MeshConfig) { m.Config.Tracing.Address = "jaeger.observability:9411" }), proxies(func(p *envoy.Proxy) { p.Annotated = nil }), proxies(counted("zipkin", noConnect)), nothing), doctor.Broken, []string{"restart-needed"}},
		{"a Zipkin tracer of the bootstrap and a STRICT collector", "h04-zipkin-bootstrap-legacy", all(yaml(t, "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}"), proxies(counted("zipkin", cutOff)), nothing), doctor.Broken, []string{"tls-mismatch"}},
		{"a NetworkPolicy that forgets the port", "h03-zipkin-provider", all(yaml(t, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: out, namespace: shop}\nspec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}], ports: [{port: 4317}, {port: 4318}]}, {ports: [{port: 53, protocol: UDP}]}]}"),
			proxies(counted(zipkin, envoy.Host{Connects: 1, ConnectFail: 1, Error: 4}), "web", "api"), onlyGateway), doctor.Partial, []string{"network-blocked"}},
		{"a NetworkPolicy at the collector", "h01-otel-grpc", all(yaml(t, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: in, namespace: monitoring}\nspec: {podSelector: {matchLabels: {app: tempo}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}"),
			proxies(counted(otlp, envoy.Host{Connects: 1, ConnectFail: 1, Error: 4})), nothing), doctor.Broken, []string{"network-blocked"}},
		{"a NetworkPolicy at the collector since a while: Envoy's counters are of the time before it", "h01-otel-grpc", all(yaml(t, blockedAtTempo), proxies(counted(otlp, answered)), nothing), doctor.Broken, []string{"network-blocked"}},
		{"the same, and spans arrive: it is not enforced", "h01-otel-grpc", all(yaml(t, blockedAtTempo), proxies(counted(otlp, answered)), everything), doctor.Healthy, nil},
		{"refusals, for which some spans wait", "h01-otel-grpc", all(proxies(counted(otlp, envoy.Host{Error: 7, Connects: 4, ConnectFail: 4})), nothing), doctor.Broken, []string{"collector-port-closed"}},
		{"time-outs, with two spans for each", "h01-otel-grpc", all(proxies(counted(otlp, envoy.Host{Error: 8, Connects: 4, ConnectFail: 4})), nothing), doctor.Broken, []string{"network-blocked"}},
		{"many refusals, with a gateway's two spans for each", "h01-otel-grpc", all(proxies(counted(otlp, envoy.Host{Error: 20, Connects: 10, ConnectFail: 10})), nothing), doctor.Broken, []string{"collector-port-closed"}},
		{"many time-outs", "h01-otel-grpc", all(proxies(counted(otlp, envoy.Host{Error: 40, Connects: 10, ConnectFail: 10})), nothing), doctor.Broken, []string{"network-blocked"}},
		{"OTLP over HTTP to the gRPC port, which answers 404", "h01-otel-grpc", all(httpTo4317, nothing), doctor.Broken, []string{"otlp-protocol-mismatch"}},
		{"the same, and Spanloom tells of the bodies that it refused", "h01-otel-grpc", all(httpTo4317, refusing("wrong_protocol")), doctor.Broken, []string{"otlp-protocol-mismatch"}},
		{"a wrong path, and Spanloom tells of the bodies that it refused", "h01-otel-grpc", all(httpTo("/v1/trace"), refusing("wrong_path")), doctor.Broken, []string{"collector-path"}},
		{"a wrong path, and bodies that are refused for another reason", "h01-otel-grpc", all(httpTo("/v1/trace"), refusing("unauthenticated")), doctor.Broken, []string{"collector-path", "collector-auth"}},
		{"a wrong type, while the last good state traces", "h01-otel-grpc", func(f *doctor.Facts) {
			m := &f.Objects.Meshes[0]
			m.Invalid = true
			f.Objects.Notes = append(f.Objects.Notes, istio.Note{Ref: m.Ref.At("defaultConfig.tracing.sampling", 3), Reason: "type", Message: "defaultConfig.tracing.sampling: \"all\" is no number"})
		}, doctor.Healthy, []string{"meshconfig-invalid"}},
		{"two providers, two collectors", "h01-otel-grpc", all(twoCollectors, everything), doctor.Healthy, []string{"split-stores"}},
		{"the same, and this store has the gateway's spans only", "h01-otel-grpc", all(twoCollectors, onlyGateway), doctor.Partial, []string{"split-stores"}},
		{"a tag that records the bearer token", "h01-otel-grpc", yaml(t, "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: x, namespace: shop}\nspec: {tracing: [{customTags: {auth: {header: {name: authorization, defaultValue: \"[REDACTED]\"}}}}]}"), doctor.Healthy, []string{"secret-in-tag"}},
		{"an older Telemetry for access logs hides the one for traces", "h01-otel-grpc", all(func(f *doctor.Facts) { f.Objects.Telemetries[0].Created = "2025-01-01T00:00:00Z" }, yaml(t, "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: logs, namespace: istio-system, creationTimestamp: '2024-01-01T00:00:00Z'}\nspec: {accessLogging: [{providers: [{name: envoy}]}]}"), proxies(bare(1)), nothing), doctor.Broken, []string{"telemetry-conflict"}},
		{"a younger Telemetry for access logs", "h01-otel-grpc", all(func(f *doctor.Facts) { f.Objects.Telemetries[0].Created = "2023-01-01T00:00:00Z" }, yaml(t, "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: logs, namespace: istio-system, creationTimestamp: '2024-01-01T00:00:00Z'}\nspec: {accessLogging: [{providers: [{name: envoy}]}]}")), doctor.Healthy, []string{"telemetry-conflict"}},
		{"no endpoints for Zipkin", "h03-zipkin-provider", all(proxies(func(p *envoy.Proxy) {
			p.Hosts = slices.DeleteFunc(p.Hosts, func(h envoy.Host) bool { return h.Cluster == zipkin })
		}), nothing), doctor.Broken, []string{"collector-no-endpoints"}},
		{"a port closed for Zipkin", "h03-zipkin-provider", all(proxies(counted(zipkin, noConnect)), nothing), doctor.Broken, []string{"collector-port-closed"}},
		{"an endpoint that claims to take mutual TLS", "h01-otel-grpc", all(func(f *doctor.Facts) {
			for i := range f.Proxies {
				for j := range f.Proxies[i].Hosts {
					if h := &f.Proxies[i].Hosts[j]; h.Cluster == otlp {
						h.TLSMode = "istio"
					}
				}
			}
		}, proxies(counted(otlp, noConnect)), nothing), doctor.Broken, []string{"tls-mismatch"}},
		{"an AuthorizationPolicy at the collector", "h03-zipkin-provider", all(proxies(counted(zipkin, answered)), proxies(stats(map[string]int64{"tracing.zipkin.reports_dropped": 4, "cluster." + zipkin + ";.upstream_rq_403": 4}), "web", "api"), got(map[string]int{"istio-ingressgateway.istio-system": 20}, 10, 10)), doctor.Partial, []string{"collector-refuses"}},
		{"an EnvoyFilter that names all services alike", "f17-envoyfilter-unknown-cluster", all(func(f *doctor.Facts) {
			for i := range f.Objects.EnvoyFilters[0].Patches {
				f.Objects.EnvoyFilters[0].Patches[i].Cluster = otlp
			}
		}, proxies(traced(envoy.Tracer{Name: otel.Name, Cluster: otlp, Service: "istio-service"}, 100)), proxies(counted(otlp, answered)), got(map[string]int{"istio-service": 40}, 10, 10)), doctor.Healthy, nil},
		{"spans under names of another scheme", "h01-otel-grpc", got(map[string]int{"frontend": 30, "backend": 20}, 10, 10), doctor.Healthy, nil},
		{"Zipkin to the port of OTLP over gRPC", "h04-zipkin-bootstrap-legacy", all(mesh(func(m *istio.MeshConfig) { m.Config.Tracing.Address = "zipkin.istio-system:4317" }), proxies(func(p *envoy.Proxy) {
			p.Annotated = nil
			p.Config.Tracing.Address = "zipkin.istio-system:4317"
			for i := range p.Clusters {
				if p.Clusters[i].Name == "zipkin" {
					p.Clusters[i].Port = 4317
				}
			}
		}), proxies(counted("zipkin", cutOff)), nothing), doctor.Broken, []string{"otlp-protocol-mismatch"}},
		{"OTLP over HTTP to a port that is called gRPC", "h01-otel-grpc", all(provider(func(p *istio.Provider) { p.Port, p.HTTP, p.Path = 4318, true, "/v1/traces" }), ports(istio.Port{Number: 4318, Name: "grpc-otlp", Declared: "GRPC"}),
			proxies(traced(envoy.Tracer{Name: "envoy.tracers.opentelemetry", Cluster: otlpH, HTTP: true, Path: "/v1/traces"}, 100)), proxies(shaped(otlpH, func(c *envoy.Cluster) { c.HTTP2 = true })), proxies(counted(otlpH, cutOff)), nothing), doctor.Broken, []string{"port-protocol"}},
		{"a Telemetry without provider switches the legacy tracer off", "h04-zipkin-bootstrap-legacy", all(yaml(t, "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: rate, namespace: istio-system}\nspec: {tracing: [{randomSamplingPercentage: 50}]}"), proxies(off), nothing), doctor.Broken, []string{"provider-not-selected"}},
		{"connections that are never answered", "h01-otel-grpc", all(proxies(counted(otlp, envoy.Host{Connects: 1})), nothing), doctor.Broken, []string{"network-blocked"}},
		{"requests to a service outside the mesh", "h01-otel-grpc", proxies(func(p *envoy.Proxy) {
			p.Hosts = append(p.Hosts, envoy.Host{Cluster: "outbound|8080||plain.shop.svc.cluster.local", Address: "10.77.0.14:8080", Total: 10, Success: 10, Connects: 1})
		}, "web"), doctor.Healthy, nil},
		{"a sender that counts kinds of requests", "h01-otel-grpc", func(f *doctor.Facts) { f.Received.Traffic = 1 }, doctor.Healthy, nil},
		{"half of the requests are sampled", "h01-otel-grpc", all(func(f *doctor.Facts) { f.Objects.Telemetries[0].Tracing[0].Sampling = rate(50) }, proxies(traced(otel, 50)), got(map[string]int{"istio-ingressgateway.istio-system": 10, "web.shop": 10, "api.shop": 5}, 5, 10)), doctor.Healthy, nil},
		{"OTLP over gRPC to Zipkin's port", "h01-otel-grpc", all(provider(func(p *istio.Provider) { p.Port = 9411 }), proxies(traced(envoy.Tracer{Name: "envoy.tracers.opentelemetry", Cluster: zipkin}, 100)), proxies(counted(zipkin, cutOff)), nothing), doctor.Broken, []string{"otlp-protocol-mismatch"}},
		{"a Telemetry that stops the context", "h01-otel-grpc", all(func(f *doctor.Facts) { on := true; f.Objects.Telemetries[0].Tracing[0].NoPropagation = &on }, got(map[string]int{"istio-ingressgateway.istio-system": 20, "web.shop": 20, "api.shop": 10}, 30, 10)), doctor.Partial, []string{"propagation-none"}},
		{"B3 of an application, W3C of the proxies", "h01-otel-grpc", got(map[string]int{"istio-ingressgateway.istio-system": 20, "web.shop": 20, "api.shop": 10}, 20, 10), doctor.Partial, []string{"propagation-none"}},
		{"the same, and nobody counted the requests", "h01-otel-grpc", got(map[string]int{"istio-ingressgateway.istio-system": 20, "web.shop": 20, "api.shop": 10}, 20, 0), doctor.Partial, []string{"propagation-none"}},
		{"Zipkin with both families", "h03-zipkin-provider", all(provider(func(p *istio.Provider) { p.TraceContext = "USE_B3_WITH_W3C_PROPAGATION" }), proxies(traced(envoy.Tracer{Name: zip.Name, Cluster: zip.Cluster, Path: zip.Path, TraceContext: "USE_B3_WITH_W3C_PROPAGATION"}, 100))), doctor.Healthy, nil},
		{"match.mode CLIENT", "f45-match-mode-server-only", all(func(f *doctor.Facts) { f.Objects.Telemetries[0].Tracing[0].Mode = "CLIENT" }, proxies(func(p *envoy.Proxy) {
			for i := range p.Managers {
				m := &p.Managers[i]
				m.Tracing, m.Sampling = m.Direction == "OUTBOUND", 100
				m.Tracer = nil
				if m.Tracing {
					m.Tracer = &otel
				}
			}
		}), proxies(counted(otlp, answered)), got(map[string]int{"istio-ingressgateway.istio-system": 20, "web.shop": 10}, 10, 10)), doctor.Partial, []string{"match-mode"}},
		{"a legacy tracer beside a provider that nobody selects", "h04-zipkin-bootstrap-legacy", mesh(func(m *istio.MeshConfig) {
			m.Providers = append(slices.Clone(m.Providers), istio.Provider{Name: "later", Type: "opentelemetry", Service: tempo, Port: 4317})
		}), doctor.Healthy, nil},
		{"a workload with Zipkin's TCP port of its own", "h01-otel-grpc", proxies(func(p *envoy.Proxy) { p.TCPPorts = []int{5432} }, "api"), doctor.Healthy, nil},
		{"an odd path that the collector takes", "h04-zipkin-bootstrap-legacy", proxies(func(p *envoy.Proxy) { p.Bootstrap.Path = "/zipkin/api/v2/spans" }, "web"), doctor.Healthy, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := collect.Files(t.Context(), []string{filepath.Join("testdata/cases", c.base), "testdata/cases/common-services.yaml"}, collect.Options{})
			if err != nil {
				t.Fatal(err)
			}
			c.change(f)
			r := doctor.Diagnose(f, doctor.Options{})
			if r.State != c.state || !same(grave(r), c.causes) {
				t.Errorf("%s %v, want %s %v\n%s", r.State, grave(r), c.state, c.causes, text(r))
			}
		})
	}
}
