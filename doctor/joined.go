package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// missingSidecars finds workloads that got requests and made no span, in a namespace of the mesh, where no proxy is.
func (x *exam) missingSidecars() {
	if x.f.Received == nil || x.f.Received.Spans == 0 || !x.recognised() {
		return
	}
	addresses, namespaces := make(map[string]bool), make(map[string]bool)
	for i := range x.f.Proxies {
		p := &x.f.Proxies[i]
		namespaces[p.Namespace] = true
		if parts := strings.Split(p.Node, "~"); len(parts) == 4 {
			addresses[parts[1]] = true
		}
	}
	known := make(map[string]bool, len(x.subjects))
	for _, s := range x.subjects {
		known[s.name] = true
	}
	for i := range x.f.Proxies {
		p := &x.f.Proxies[i]
		for _, h := range p.Hosts {
			dir, _, _, host, ok := envoy.SplitCluster(h.Cluster)
			addr, _ := hostPort(h.Address)
			ns := namespaceOf(host)
			if !ok || dir != "outbound" || h.Total <= 0 || addresses[addr] || !namespaces[ns] || h.TLSMode == "istio" || x.isTracerCluster(h.Cluster) {
				continue
			}
			name, _, _ := strings.Cut(host, ".")
			s := &subject{name: ns + "/" + name, namespace: ns, workload: name}
			for _, v := range x.f.Objects.FindHost(host) {
				for _, a := range v.Addresses {
					if a.Address == addr && a.App != "" {
						s.labels = map[string]string{"app": a.App}
					}
				}
			}
			if known[s.name] || x.f.Received.of(s) > 0 || x.outside(host, addr) {
				continue
			}
			known[s.name] = true
			s.policy = x.f.Objects.PolicyOf(x.mesh, x.env, s.target())
			x.subjects = append(x.subjects, s)
			x.red(s, "injected", &draft{code: "T0203", object: istio.Ref{Kind: "Workload", Namespace: ns, Name: name}, detail: say("%s has no sidecar: no proxy of it was found, and none of its spans arrived", s.name),
				evidence: []Text{say("%s sent %d requests to %s at %s, where no proxy reports", p.Name, h.Total, host, h.Address), say("no span of %s arrived, while its neighbours' did", s.name)}, fix: sidecarFix(ns, "deployment", name)})
			for _, station := range StationNames[1:] {
				if station != "joined" {
					s.unknown(station, "behind the broken link")
				}
			}
		}
	}
}

// outside: what was read of the service says that its endpoint is not one of the mesh, so it owes no spans.
func (x *exam) outside(host, addr string) bool {
	for _, v := range x.f.Objects.FindHost(host) {
		for _, a := range v.Addresses {
			if a.Address == addr {
				return !a.InMesh
			}
		}
		for i := range x.f.Objects.Workloads {
			w := &x.f.Objects.Workloads[i]
			if w.Namespace == v.Namespace && len(v.Selector) > 0 && istio.Matches(v.Selector, w.Labels) {
				_, in := x.injection(w)
				return in == no && !x.meant(w)
			}
		}
	}
	return false
}

// entered counts the requests that came into the mesh: what the sender counted or what gateways forwarded, whichever is
// more, since senders may count kinds of requests instead of requests.
func (x *exam) entered() int {
	var forwarded int64
	for i := range x.f.Proxies {
		p := &x.f.Proxies[i]
		if p.Type != "router" {
			continue
		}
		for _, h := range p.Hosts {
			if dir, _, _, _, ok := envoy.SplitCluster(h.Cluster); ok && dir == "outbound" && h.Total > 0 && !x.isTracerCluster(h.Cluster) {
				forwarded += h.Total
			}
		}
	}
	return max(x.f.Received.Traffic, int(forwarded))
}

// joined: do spans of one request form one trace? More traces than requests mean that somebody drops the context.
func (x *exam) joined() {
	r := x.f.Received
	if x.byBook && r.Spans > 0 {
		x.joinedByBook()
		return
	}
	if r == nil || r.Spans == 0 {
		for _, s := range x.subjects {
			s.unknown("joined", "no traces were read")
		}
		x.propagators()
		return
	}
	extra, evidence := x.extraTraces()
	if extra <= 0 {
		for _, s := range x.subjects {
			if r.of(s) > 0 {
				s.green("joined", "%d traces of %d spans", r.Traces, r.Spans)
			} else {
				s.unknown("joined", "no span of it")
			}
		}
		return
	}
	code := "T0403"
	protocol := ""
	var droppers []*subject
	for _, s := range x.subjects {
		if s.tracer != nil {
			protocol = firstOf(protocol, s.tracer.Protocol())
		}
		if s.gateway || s.proxy == nil {
			continue
		}
		for _, h := range s.proxy.Hosts {
			if dir, _, _, _, ok := envoy.SplitCluster(h.Cluster); ok && dir == "outbound" && h.Total > 0 && !x.isTracerCluster(h.Cluster) {
				droppers = append(droppers, s)
				break
			}
		}
	}
	family, forward := "W3C (traceparent, tracestate)", say("traceparent and tracestate")
	if protocol == "zipkin" && !x.bothFamilies() {
		code, family, forward = "T0404", "B3 (x-b3-*)", quote("x-b3-traceid, x-b3-spanid, x-b3-parentspanid, x-b3-sampled")
	}
	if x.sdkMismatch(protocol) {
		code = "T0404"
	}
	if t := x.muted(); t != nil {
		x.mutedTrace(t, evidence)
		return
	}
	d := &draft{code: code, object: istio.Ref{Kind: "Application"}, evidence: append(evidence, say("the proxies' tracer speaks %s", family)),
		fix: Fix{text: say("Forward %s (and x-request-id) from each incoming request to the requests it causes, or use an OpenTelemetry SDK with OTEL_PROPAGATORS=tracecontext,baggage,b3.", forward)}}
	d.detail = say("an application does not forward the headers that the proxies' tracer speaks")
	if code == "T0404" {
		d.fix.text = x.familyFix(protocol)
		d.fix.Diff = x.familyDiff(protocol)
	}
	if len(droppers) > 0 {
		d.object = istio.Ref{Kind: "Workload", Namespace: droppers[0].namespace, Name: droppers[0].workload}
		d.detail = say("%s does not forward the headers that the proxies' tracer speaks", droppers[0].name)
	}
	for _, s := range x.subjects {
		if slices.Contains(droppers, s) || len(droppers) == 0 && !s.gateway {
			if s.broken != nil && !s.broken.soft {
				continue
			}
			x.red(s, "joined", d)
		} else {
			s.unknown("joined", "its callers or callees drop the context")
		}
	}
}

// muted finds the Telemetry that tells proxies not to pass the context on (Istio 1.30).
func (x *exam) muted() *istio.Telemetry {
	for i := range x.f.Objects.Telemetries {
		t := &x.f.Objects.Telemetries[i]
		used := slices.ContainsFunc(x.subjects, func(s *subject) bool { return slices.Contains(s.policy.Used, t.Ref) })
		if used && slices.ContainsFunc(t.Tracing, func(r istio.TracingRule) bool { return r.NoPropagation != nil && *r.NoPropagation }) {
			return t
		}
	}
	return nil
}

func (x *exam) mutedTrace(t *istio.Telemetry, evidence []Text) {
	d := &draft{code: "T0403", object: t.Ref.At("spec.tracing.disableContextPropagation", 0), detail: say("%s tells proxies not to pass the trace context on", t.Ref), evidence: append(evidence, quote(place(t.Ref)+": disableContextPropagation: true")), fix: removeField(t.Ref.At("spec.tracing", 0), "disableContextPropagation: true")}
	for _, s := range x.subjects {
		if slices.Contains(s.policy.Used, t.Ref) {
			x.red(s, "joined", d)
		} else {
			s.unknown("joined", "its callers or callees drop the context")
		}
	}
}

func (x *exam) bothFamilies() bool {
	return slices.ContainsFunc(x.subjects, func(s *subject) bool {
		return s.tracer != nil && s.tracer.TraceContext == "USE_B3_WITH_W3C_PROPAGATION"
	})
}

func (x *exam) familyFix(protocol string) Text {
	if protocol != "zipkin" {
		return say("Let the SDKs speak W3C: OTEL_PROPAGATORS=tracecontext,baggage (b3 beside it where others need it).")
	}
	if m := x.minor(); m != "" && !minorAtLeast(m, 28) {
		return say("Let applications forward x-b3-* headers too (OTEL_PROPAGATORS=tracecontext,baggage,b3), or use an OpenTelemetry provider, which speaks W3C.")
	}
	return say("Set traceContextOption: USE_B3_WITH_W3C_PROPAGATION on the Zipkin provider (Istio 1.28 and later), or use an OpenTelemetry provider, or let applications forward x-b3-* too (OTEL_PROPAGATORS=tracecontext,baggage,b3).")
}

func minorAtLeast(minor string, n int) bool {
	var major, m int
	if _, err := fmt.Sscanf(minor, "%d.%d", &major, &m); err != nil {
		return true
	}
	return major > 1 || m >= n
}

func (x *exam) familyDiff(protocol string) string {
	if protocol != "zipkin" || x.mesh == nil {
		return ""
	}
	for _, p := range x.mesh.TracingProviders(x.f.Istio) {
		if p.Type == "zipkin" {
			return diff(x.providerRef(&p, "traceContextOption"), "", "traceContextOption: USE_B3_WITH_W3C_PROPAGATION")
		}
	}
	return ""
}

// extraTraces counts the traces beyond one for each request that entered the mesh.
func (x *exam) extraTraces() (int, []Text) {
	r := x.f.Received
	if r.Traffic > 0 {
		n := x.entered()
		return r.Traces - n, []Text{say("%d traces (%d roots) for %d requests", r.Traces, r.Roots, n)}
	}
	// Without a count of requests: every trace should pass the gateway, if nobody else begins any.
	through, gateways := 0, 0
	var in, out int64
	for _, s := range x.subjects {
		if s.proxy == nil {
			continue
		}
		for _, h := range s.proxy.Hosts {
			dir, _, _, _, ok := envoy.SplitCluster(h.Cluster)
			switch {
			case !ok || h.Total <= 0 || x.isTracerCluster(h.Cluster):
			case dir == "inbound":
				in += h.Total
			default:
				out += h.Total
			}
		}
		if s.gateway && r.of(s) > 0 {
			gateways++
			per := 1
			if s.source == "provider" {
				per = 2 // the server's span and one for each try
			}
			through += r.of(s) / per
		}
	}
	if gateways == 0 || in > out {
		return 0, nil
	}
	extra := r.Traces - through
	if extra*5 < r.Traces {
		return 0, nil
	}
	return extra, []Text{say("%d traces, of which %d pass the gateway, and no other workload begins requests", r.Traces, through)}
}

// sdkMismatch: an SDK's propagators lack the family that the proxies' tracer speaks.
func (x *exam) sdkMismatch(protocol string) bool {
	return slices.ContainsFunc(x.distinct, func(w *istio.Workload) bool { return x.lacksFamily(w, protocol) })
}

func (x *exam) lacksFamily(w *istio.Workload, protocol string) bool {
	if w.SDK == nil || w.SDK.Exporter == "none" {
		return false
	}
	p := w.SDK.Propagators
	if len(p) == 0 {
		p = []string{"tracecontext", "baggage"} // the default of every SDK
	}
	switch protocol {
	case "zipkin":
		return !slices.Contains(p, "b3") && !slices.Contains(p, "b3multi") && !x.bothFamilies()
	case "otlp-grpc", "otlp-http":
		return !slices.Contains(p, "tracecontext")
	}
	return false
}

// propagators warns of SDKs whose headers the proxies do not speak, where no traces were read that would show it.
func (x *exam) propagators() {
	for _, w := range x.distinct {
		for _, s := range x.subjects {
			if s.namespace != w.Namespace || s.workload != w.Name || s.tracer == nil || !x.lacksFamily(w, s.tracer.Protocol()) {
				continue
			}
			have := quote(strings.Join(w.SDK.Propagators, ","))
			if have.empty() {
				have = say("tracecontext,baggage (the default)")
			}
			now := "tracecontext,baggage,b3" // the last one that is there counts
			if s.tracer.Protocol() != "zipkin" {
				now = "tracecontext,baggage"
			}
			at := w.Ref.At("spec.template.spec.containers.env.OTEL_PROPAGATORS", firstLine(w.SDK.PropLine, w.SDK.Line))
			x.add(&draft{code: "T0404", object: at, severity: Warning, detail: say("the SDK of %s speaks %s, the proxies' %s tracer does not", s.name, have, s.tracer.Protocol()), evidence: []Text{say("%s: %s", place(at), have), say("tracer of the proxies: %s", s.tracer.Protocol())},
				fix: Fix{text: say("Set OTEL_PROPAGATORS=%s.", now), Command: fmt.Sprintf("kubectl set env -n %s deployment/%s OTEL_PROPAGATORS=%s", w.Namespace, w.Name, now), Diff: diff(at, "OTEL_PROPAGATORS: "+strings.Join(w.SDK.Propagators, ","), "OTEL_PROPAGATORS: "+now)}}, s.name)
		}
	}
}

func firstLine(lines ...int) int {
	for _, l := range lines {
		if l > 0 {
			return l
		}
	}
	return 0
}
