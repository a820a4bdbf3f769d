package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/mesh/istio"
)

// sender is somebody who sends spans to a host.
type sender struct {
	what Text
	at   istio.Ref
	host string
}

// stores warns where spans of one mesh go to different collectors.
func (x *exam) stores() {
	var senders []sender
	seen := make(map[string]bool)
	add := func(what Text, at istio.Ref, host string) {
		if host == "" || seen[host] || host == "localhost" || strings.HasPrefix(host, "127.") {
			return
		}
		seen[host] = true
		senders = append(senders, sender{what, at, host})
	}
	for _, s := range x.subjects {
		if s.tracer == nil {
			continue
		}
		host, _ := x.destination(s)
		at := istio.Ref{Kind: "MeshConfig"}
		if x.mesh != nil {
			at = x.mesh.Ref
			if s.provider != nil {
				at = x.providerRef(s.provider, "service")
			}
		}
		add(say("proxies of %s", s.name), at, host)
	}
	for _, w := range x.distinct {
		if w.SDK == nil || w.SDK.Exporter == "none" || w.SDK.Host == "" {
			continue
		}
		host := istio.FullHost(w.SDK.Host, w.Namespace)
		path := "spec.template.spec.containers.env"
		if w.Kind == "SpringConfig" {
			path = "otel.exporter.otlp.endpoint"
		}
		add(say("the SDK of %s", strings.TrimPrefix(w.Namespace+"/"+w.Name, "/")), w.Ref.At(path, w.SDK.Line), x.fullHost(host))
	}
	for i := 1; i < len(senders); i++ {
		a, b := senders[0], senders[i]
		if x.sameStore(a.host, b.host) {
			continue
		}
		x.add(&draft{code: "T0405", object: b.at, detail: say("%s send to %s, %s sends to %s", a.what, a.host, b.what, b.host), evidence: []Text{quote(place(a.at) + ": " + a.host), quote(place(b.at) + ": " + b.host)},
			fix: Fix{text: say("Send both to one collector, or make sure that %s and %s write into one store.", a.host, b.host), Command: editCommand(b.at), Diff: diff(b.at, b.host, a.host)}}, "")
	}
}

// sameStore: two hosts in front of one set of pods, or two names in one namespace that cannot be told apart.
func (x *exam) sameStore(a, b string) bool {
	a, b = shortHost(a), shortHost(b)
	if a == b {
		return true
	}
	if strings.Count(a, ".") == 1 {
		a += ".svc." + istio.Domain
	}
	if strings.Count(b, ".") == 1 {
		b += ".svc." + istio.Domain
	}
	as, bs := x.f.Objects.FindHost(a), x.f.Objects.FindHost(b)
	for _, p := range as {
		for _, q := range bs {
			if p.Namespace == q.Namespace && len(p.Selector) > 0 && len(q.Selector) > 0 && (istio.Matches(p.Selector, q.Selector) || istio.Matches(q.Selector, p.Selector)) {
				return true
			}
			for _, e := range p.Addresses {
				if slices.ContainsFunc(q.Addresses, func(f istio.Endpoint) bool { return e.Address == f.Address }) {
					return true
				}
			}
		}
	}
	if len(as) > 0 && len(bs) > 0 {
		return false
	}
	return namespaceOf(a) == namespaceOf(b) && namespaceOf(a) != "*"
}

// shortHost is name.namespace of a service's host in any of its forms.
func shortHost(host string) string {
	return strings.TrimSuffix(strings.TrimSuffix(host, "."+istio.Domain), ".svc")
}

// tracePorts are the usual ports of what data sources of Grafana read from.
var tracePorts = map[int]string{3200: "tempo", 16686: "jaeger", 9411: "zipkin"}

// views judges what shows traces to people: Kiali.
func (x *exam) views() {
	for _, k := range x.f.Objects.Kialis {
		at := k.Ref.At(prefixed(k.Path, "external_services.tracing"), k.Line)
		right := "+  enabled: true\n+  provider: jaeger\n+  internal_url: http://spanloom.observability:16686\n+  external_url: https://traces.example.com\n"
		switch {
		case k.Misplaced != "":
			x.kiali(at, say("a tracing section stands at the top, where Kiali does not read it"), say("Move it under external_services."), "")
		case k.Enabled != nil && !*k.Enabled:
			x.kiali(at, say("tracing is switched off in Kiali"), say("Set enabled: true and the URLs of the store."), diff(at, "enabled: false", "enabled: true"))
		case k.Provider != "" && k.Provider != "jaeger" && k.Provider != "tempo":
			x.kiali(at, say("provider %s is none of Kiali's (jaeger, tempo)", k.Provider), say("Use provider jaeger or tempo with internal_url and external_url."), "--- "+place(at)+"\n-  provider: "+k.Provider+"\n"+right)
		case len(k.Unknown) > 0:
			x.kiali(at, say("Kiali has no key %s in its tracing section", k.Unknown[0].Name), say("Use internal_url and external_url."), "")
		}
	}
}

// dataSources judges Grafana's data sources: a type that does not fit the port it asks.
func (x *exam) dataSources() {
	for _, d := range x.f.Objects.DataSources {
		right := tracePorts[d.Port]
		if right == "" || right == d.Type {
			continue
		}
		at := d.Ref.At(prefixed(d.Path, "datasources"), d.Line)
		x.add(&draft{code: "T0413", object: at, detail: say("data source %s has type %s and asks %s:%d, which is a port of %s", d.Title, d.Type, d.Host, d.Port, right), evidence: []Text{quote(place(at))},
			fix: Fix{text: say("Use type %s, or the port of %s.", right, d.Type), Diff: diff(at, "type: "+d.Type, "type: "+right)}}, "")
	}
}

// excluded names ports that are taken out of the proxy: requests to them make no spans.
func (x *exam) excluded() {
	look := func(ref istio.Ref, labels, annotations map[string]string) {
		list := annotations["traffic.sidecar.istio.io/excludeInboundPorts"]
		if list == "" {
			return
		}
		for _, svc := range x.f.Objects.Services {
			if svc.Namespace != ref.Namespace || len(svc.Selector) == 0 || !istio.Matches(svc.Selector, labels) {
				continue
			}
			for _, p := range svc.Ports {
				target := firstOf(p.Target, fmt.Sprint(p.Number))
				protocol := p.Protocol(svc.Entry)
				if !slices.Contains(strings.Split(strings.ReplaceAll(list, " ", ""), ","), target) || protocol != "http" && protocol != "http2" && protocol != "grpc" {
					continue
				}
				x.add(&draft{code: "T0204", object: ref, detail: say("port %s of %s/%s is excluded from the proxy: requests to it make no server spans", target, ref.Namespace, ref.Name), evidence: []Text{quote(place(ref) + ": excludeInboundPorts " + list)},
					fix: Fix{text: say("Take %s out of traffic.sidecar.istio.io/excludeInboundPorts.", target), Command: editCommand(ref)}}, ref.Namespace+"/"+ref.Name)
			}
		}
	}
	for _, w := range x.distinct {
		look(w.Ref, w.Labels, w.Annotations)
	}
	for i := range x.f.Proxies {
		p := &x.f.Proxies[i]
		look(istio.Ref{Kind: "Pod", Namespace: p.Namespace, Name: firstOf(p.Pod, p.Name)}, p.Labels, p.Annotations)
	}
}

func (x *exam) kiali(at istio.Ref, detail, text Text, change string) {
	x.add(&draft{code: "T0407", object: at, detail: detail, evidence: []Text{say("%s: %s", place(at), detail)}, fix: Fix{text: text, Command: "kubectl rollout restart -n " + firstOf(at.Namespace, "istio-system") + " deployment/kiali", Diff: change}}, "")
}

// cost names what costs money or misleads without losing spans.
func (x *exam) cost() {
	full, tiny := false, false
	for _, s := range x.subjects {
		if s.tracer == nil {
			continue
		}
		d := s.policy.Client
		if s.sampling >= 100 && !full && !d.Invalid {
			full = true
			x.add(&draft{code: "T0409", object: d.SamplingRef, detail: say("every request is traced"), evidence: []Text{say("%s samples %s %%", s.name, number(s.sampling))}, fix: Fix{text: say("Lower the rate under load: 1 to 10 %%."), Diff: diff(d.SamplingRef, "randomSamplingPercentage: 100", "randomSamplingPercentage: 10")}}, "")
		}
		if s.sampling > 0 && s.sampling < 0.1 && !tiny {
			tiny = true
			x.add(&draft{code: "T0122", object: d.SamplingRef, detail: say("%s %% is one request in %.0f", number(s.sampling), 100/s.sampling), evidence: []Text{say("%s samples %s %%", s.name, number(s.sampling))}, fix: Fix{text: say("The number is a percentage: write %s if one in %.0f was meant.", number(s.sampling*100), 1/s.sampling)}}, "")
		}
	}
	if r := x.f.Received; r != nil && r.Spans >= 20 {
		requests := 0
		for _, n := range r.Requests {
			requests += n
		}
		if requests > 0 && float64(r.Spans)/float64(requests) <= 6 {
			x.add(&draft{code: "T0408", object: istio.Ref{Kind: "MeshConfig"}, detail: say("%.1f spans a request", float64(r.Spans)/float64(requests)), evidence: []Text{say("%d spans in %d requests", r.Spans, requests)},
				fix: Fix{text: say("Raise the proxies' batch in defaultConfig."), Diff: "--- MeshConfig\n defaultConfig:\n+  runtimeValues:\n+    tracing.zipkin.min_flush_spans: \"100\"\n+    tracing.opentelemetry.min_flush_spans: \"100\"\n"}}, "")
		}
	}
	for _, p := range x.f.Objects.ProxyConfigs {
		if strings.Contains(p.Name, "trac") {
			x.add(&draft{code: "T0127", object: p.Ref, detail: say("objects of kind ProxyConfig have no part in tracing"), evidence: []Text{quote(place(p.Ref))}, fix: Fix{text: say("Use a Telemetry for tracing; keep this one for concurrency, image and environment variables.")}}, "")
		}
	}
	for _, w := range x.distinct {
		if w.SDK != nil && w.SDK.Sampler == "traceidratio" {
			x.add(&draft{code: "T0411", object: w.Ref, detail: say("the SDK samples without regard to its caller"), evidence: []Text{quote(place(w.Ref) + ": OTEL_TRACES_SAMPLER traceidratio")}, fix: Fix{text: say("Use parentbased_traceidratio or parentbased_always_on."), Command: fmt.Sprintf("kubectl set env -n %s deployment/%s OTEL_TRACES_SAMPLER=parentbased_always_on", w.Namespace, w.Name)}}, "")
		}
	}
}
