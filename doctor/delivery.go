package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// flow is what became of the requests to one cluster, over all its endpoints.
type flow struct {
	known                                     bool
	hosts                                     int
	total, success, failed, connects, refused int64
}

func flowOf(hosts []envoy.Host) flow {
	f := flow{hosts: len(hosts)}
	for _, h := range hosts {
		if h.Total < 0 && h.Connects < 0 {
			continue
		}
		f.known = true
		f.total += max(0, h.Total)
		f.success += max(0, h.Success)
		f.failed += max(0, h.Error)
		f.connects += max(0, h.Connects)
		f.refused += max(0, h.ConnectFail)
	}
	return f
}

// works: requests are answered. Of Zipkin an answer may still be a 404.
func (f flow) works() bool { return f.success > 0 && f.success >= f.failed }

// fails: requests or connections were tried, and none succeeded.
func (f flow) fails() bool { return f.success == 0 && (f.failed > 0 || f.refused > 0 || f.total > 0) }

func (f flow) String() string {
	return fmt.Sprintf("cx_total %d, cx_connect_fail %d, rq_total %d, rq_success %d, rq_error %d", f.connects, f.refused, f.total, f.success, f.failed)
}

func (s *subject) flow() flow {
	if s.proxy == nil || s.tracer == nil {
		return flow{}
	}
	if f := flowOf(s.proxy.HostsOf(s.tracer.Cluster)); f.known || s.proxy.Has.Hosts {
		return f
	}
	return s.flowOfStats()
}

// flowOfStats is the same from the cluster's statistics, where host lines were not read and the proxy's filter lets them show.
func (s *subject) flowOfStats() flow {
	stat := func(name string) int64 {
		n, _ := s.proxy.ClusterStat(s.tracer.Cluster, name)
		return n
	}
	total, shown := s.proxy.ClusterStat(s.tracer.Cluster, "upstream_rq_total")
	if !shown {
		return flow{}
	}
	f := flow{known: true, total: total, refused: stat("upstream_cx_connect_fail")}
	f.success = stat("upstream_rq_2xx") + stat("upstream_rq_3xx") + stat("upstream_rq_4xx") // as host lines count it
	f.failed = stat("upstream_rq_5xx") + stat("upstream_rq_rx_reset") + stat("upstream_rq_pending_failure_eject")
	if total > 0 && f.success+f.failed+f.refused == 0 {
		return flow{} // what became of the requests is hidden
	}
	f.connects = f.refused
	if f.success > 0 {
		f.connects++
	}
	return f
}

func (s *subject) flowEvidence(f flow) Text {
	return say("%s: cluster %s: %s", s.name, s.tracer.Cluster, f)
}

// network: do connections come through?
func (x *exam) network(s *subject) bool {
	f := s.flow()
	host, port := x.destination(s)
	policy := x.blockedBy(s, host, port)
	if f.refused > 0 && f.success == 0 {
		dropped, known := x.dropped[s.tracer.Cluster]
		if n, ok := s.proxy.ClusterStat(s.tracer.Cluster, "upstream_cx_connect_timeout"); ok && !known {
			dropped, known = n > 0, true
		}
		if !known {
			// While one connection times out, the spans of ten seconds fail with it. A refusal is at once, and few wait for it: the
			// two spans of a gateway's request, which the second bound is for.
			dropped = f.failed >= 2*f.connects && (f.connects < 10 || f.failed >= 4*f.connects)
		}
		evidence := []Text{s.flowEvidence(f)}
		if n, ok := s.proxy.ClusterStat(s.tracer.Cluster, "upstream_cx_connect_timeout"); ok {
			evidence = append(evidence, say("%s: upstream_cx_connect_timeout %d", s.name, n))
		}
		switch {
		case policy != nil:
			policy.evidence = append(policy.evidence, evidence...)
			x.red(s, "network", policy)
		case dropped:
			x.red(s, "network", x.droppedDraft(s, host, port, evidence))
		default:
			x.red(s, "network", &draft{code: "T0309", object: istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0]}, detail: say("connections to %s:%d are refused: nothing listens there", host, port), evidence: evidence,
				fix: Fix{text: say("Let the collector's receiver listen on 0.0.0.0:%d (many bind to localhost), or correct the Service's targetPort.", port), Command: fmt.Sprintf("kubectl get service -n %s %s -o yaml", namespaceOf(host), strings.Split(host, ".")[0]), Diff: receiverYAML(s.tracer.Protocol(), port)}})
		}
		return false
	}
	if f.known && f.connects > 0 && f.total == 0 && f.refused == 0 && f.failed == 0 && policy == nil {
		x.red(s, "network", x.droppedDraft(s, host, port, []Text{s.flowEvidence(f), say("%s: connections are begun, and neither accepted nor refused", s.name)}))
		return false
	}
	switch {
	// Counters are of a proxy's whole life: where a policy blocks and nothing arrived, they speak of the time before it.
	case f.works() && (policy == nil || x.f.Received == nil || x.f.Received.of(s) > 0):
		s.green("network", "connections stand")
	case policy != nil:
		x.red(s, "network", policy)
		return false
	case f.connects > f.refused && f.total > 0:
		s.green("network", "connections stand")
	case !f.known:
		if d := x.targetUndeclared(host, port); d != nil {
			x.red(s, "network", d)
			break
		}
		s.unknown("network", "Envoy's counters were not read")
	default:
		s.unknown("network", "no connection was tried")
	}
	return true
}

// targetUndeclared warns of a Service whose target port none of the containers behind it declares. Containers need not declare
// their ports; one that declares others most likely does not listen there.
func (x *exam) targetUndeclared(host string, port int) *draft {
	for _, v := range x.f.Objects.FindHost(host) {
		p := v.Port(port)
		if p == nil || len(v.Selector) == 0 {
			continue
		}
		target := port
		if p.Target != "" && p.Target != "0" {
			var err error
			if target, err = strconv.Atoi(p.Target); err != nil {
				continue // by name
			}
		}
		var declared []int
		for _, w := range x.distinct {
			if w.Namespace == v.Namespace && istio.Matches(v.Selector, w.Labels) {
				declared = append(declared, w.Ports...)
			}
		}
		if len(declared) == 0 || slices.Contains(declared, target) {
			continue
		}
		slices.Sort(declared)
		at := v.Ref.At("spec.ports", p.Line)
		return &draft{code: "T0309", severity: Warning, soft: true, object: at, detail: say("port %d of %s leads to %d, which no container behind it declares", port, v.Ref, target),
			evidence: []Text{say("%s: targetPort %d", place(at), target), say("the containers declare %v", slices.Compact(declared))},
			fix:      Fix{text: say("Set targetPort to the port on which the collector's receiver listens, or let it listen on %d.", target), Command: editCommand(v.Ref)}}
	}
	return nil
}

func (x *exam) droppedDraft(s *subject, host string, port int, evidence []Text) *draft {
	return &draft{code: "T0310", object: istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0]}, detail: say("connections to %s:%d time out: packets are dropped", host, port), evidence: evidence,
		fix: Fix{text: say("Allow TCP %d from the workloads (egress) and at the collector (ingress) in the NetworkPolicies of both namespaces.", port), Command: "kubectl get networkpolicies -A", Diff: egressYAML(s.namespace, namespaceOf(host), port)}}
}

func receiverYAML(protocol string, port int) string {
	switch protocol {
	case "zipkin":
		return fmt.Sprintf("--- collector\n+receivers:\n+  zipkin:\n+    endpoint: 0.0.0.0:%d\n", port)
	case "otlp-http":
		return fmt.Sprintf("--- collector\n+receivers:\n+  otlp:\n+    protocols:\n+      http:\n+        endpoint: 0.0.0.0:%d\n", port)
	}
	return fmt.Sprintf("--- collector\n+receivers:\n+  otlp:\n+    protocols:\n+      grpc:\n+        endpoint: 0.0.0.0:%d\n", port)
}

// receiver: does the collector answer well?
func (x *exam) receiver(s *subject) bool {
	f := s.flow()
	host, port := x.destination(s)
	protocol := s.tracer.Protocol()
	if !f.known {
		if d := x.pathWritten(s); d != nil {
			x.red(s, "receiver", d)
			return false
		}
		s.unknown("receiver", "Envoy's counters were not read")
		return true
	}
	if f.total == 0 {
		return x.nothingSent(s)
	}
	evidence := []Text{s.flowEvidence(f)}
	stat := func(name string) int64 {
		n, ok := s.proxy.ClusterStat(s.tracer.Cluster, name)
		if ok && n > 0 {
			evidence = append(evidence, say("%s: %s %d", s.name, name, n))
		}
		return n
	}
	denied := stat("upstream_rq_401") + stat("upstream_rq_403")
	bad := stat("upstream_rq_404") + stat("upstream_rq_4xx")
	dropped := s.proxy.Stats["tracing.zipkin.reports_dropped"]
	reset := stat("upstream_rq_rx_reset")
	switch {
	case denied > 0 && denied >= f.total:
		x.red(s, "receiver", &draft{code: "T0312", object: istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0]}, detail: say("%s:%d forbids the requests (401 or 403)", host, port), evidence: evidence,
			fix: Fix{text: say("Allow the workloads in the AuthorizationPolicies of the collector's namespace, or give the proxies the credentials that the collector asks for."), Command: "kubectl get authorizationpolicies -n " + namespaceOf(host)}})
		return false
	case strings.HasPrefix(protocol, "otlp") && f.success == 0 && (reset > 0 || f.failed == 0 || protocol == "otlp-http" && port == 4317):
		what := say("the collector's port does not speak OTLP over gRPC")
		if protocol == "otlp-http" {
			what = say("the collector's port does not speak OTLP over HTTP")
		}
		x.red(s, "receiver", x.mixed(s, host, port, evidence, what))
		return false
	case protocol != "otlp-grpc" && (bad > 0 && stat("upstream_rq_2xx") == 0 || protocol == "zipkin" && dropped > 0 && s.proxy.Stats["tracing.zipkin.reports_sent"] == 0 && f.success > 0):
		x.red(s, "receiver", x.pathDraft(s, evidence))
		return false
	case protocol == "zipkin" && port == 4317 && f.success == 0 && f.failed > 0:
		x.red(s, "receiver", x.mixed(s, host, port, evidence, say("Zipkin's spans are sent to the port of OTLP over gRPC")))
		return false
	case f.success == 0 && f.failed > 0:
		x.red(s, "receiver", &draft{code: "T0312", object: istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0]}, detail: say("%s:%d fails on every request", host, port), evidence: evidence, fix: Fix{text: say("Look at the collector's log: it refuses what it gets or dies on it."), Command: fmt.Sprintf("kubectl logs -n %s svc/%s", namespaceOf(host), strings.Split(host, ".")[0])}})
		return false
	case protocol != "otlp-grpc" && x.f.Received != nil && x.f.Received.of(s) == 0 && f.success > 0 && !x.pathProven(s) && (x.f.Received.Spans == 0 || x.recognised()):
		evidence = append(evidence, say("Envoy counts any answer as a success, a 404 too, and nothing of %s arrived", s.name))
		x.red(s, "receiver", x.pathDraft(s, evidence))
		return false
	}
	s.sent = protocol == "otlp-grpc" || bad == 0 && dropped == 0
	s.green("receiver", "%d of %d requests with spans were answered well", f.success, f.total)
	return true
}

// goodPaths are those that collectors serve.
var goodPaths = map[string][]string{"zipkin": {"/api/v2/spans", "/api/v1/spans"}, "otlp-http": {"/v1/traces"}}

// pathProven: spans of somebody else arrive over the same cluster and path.
func (x *exam) pathProven(s *subject) bool {
	return slices.ContainsFunc(x.subjects, func(o *subject) bool {
		t := o.tracer
		if t == nil {
			for _, m := range o.seen.needed() {
				if m.Tracer != nil {
					t = m.Tracer
				}
			}
			if t == nil && o.proxy != nil {
				t = o.proxy.Bootstrap
			}
		}
		return o != s && t != nil && t.Cluster == s.tracer.Cluster && t.Path == s.tracer.Path && x.f.Received.of(o) > 0
	})
}

// otherCode404: the collector answered 404 to somebody.
func (x *exam) otherCode404() []string {
	var out []string
	if x.f.Received == nil {
		return nil
	}
	for r := range x.f.Received.Requests {
		if strings.Contains(r, "-> 404") || strings.Contains(r, "-> 405") || strings.Contains(r, "-> 400") {
			out = append(out, r)
		}
	}
	slices.Sort(out)
	return out
}

func (x *exam) pathDraft(s *subject, evidence []Text) *draft {
	good := firstOf(append(goodPaths[s.tracer.Protocol()], "/")...)
	for _, r := range x.otherCode404() {
		evidence = append(evidence, say("collector: %s", r))
	}
	at := istio.Ref{Kind: "Bootstrap", Namespace: s.namespace, Name: s.workload, Path: "tracing.http.typed_config.collector_endpoint"}
	field := "collectorEndpoint"
	switch {
	case s.source == "provider" && s.provider != nil && x.mesh != nil:
		at, field = x.providerRef(s.provider, "path"), "path"
	case s.source == "bootstrap":
		for _, b := range x.f.Objects.Bootstraps {
			if b.Endpoint == s.tracer.Path {
				at = b.Ref
			}
		}
	case s.source == "envoyfilter":
		field = "collector_endpoint"
		for _, e := range x.f.Objects.EnvoyFilters {
			if slices.ContainsFunc(e.Patches, func(p istio.Patch) bool { return p.Cluster == s.tracer.Cluster }) {
				at = e.Ref
			}
		}
	}
	d := &draft{code: "T0311", object: at, detail: say("the collector does not serve %s", s.tracer.Path), evidence: evidence}
	if s.tracer.Path == "" {
		d.detail = say("the collector does not serve the path")
	}
	if s.tracer.Path == good {
		host, port := x.destination(s)
		if s.tracer.Protocol() == "otlp-http" && port == 4317 {
			return x.mixed(s, host, port, evidence, say("the provider speaks OTLP over HTTP to the gRPC port"))
		}
		d.detail = say("%s:%d does not serve %s", host, port, good)
		d.fix = Fix{text: say("Send to the port of the %s receiver (9411 for Zipkin, 4318 for OTLP over HTTP); %s:%d answers 404 to %s.", s.tracer.Protocol(), host, port, good), Command: editCommand(at)}
		return d
	}
	d.fix = Fix{text: say("Set %s: %s.", field, good), Command: editCommand(at), Diff: diff(at, field+": "+s.tracer.Path, field+": "+good)}
	if s.source == "bootstrap" {
		d.fix.text = say("Set collectorEndpoint: %s in the bootstrap override, or drop the override; then restart the workload.", good)
		d.fix.Command = fmt.Sprintf("kubectl rollout restart -n %s deployment/%s", s.namespace, s.workload)
	}
	return d
}

// pathWritten: a path that no collector serves, of a tracer whose answers were not seen.
func (x *exam) pathWritten(s *subject) *draft {
	if s.provider == nil && s.source != "bootstrap" || x.f.Received != nil && x.f.Received.of(s) > 0 {
		return nil
	}
	if good := goodPaths[s.tracer.Protocol()]; good != nil && s.tracer.Path != "" && !slices.Contains(good, s.tracer.Path) {
		return x.pathDraft(s, []Text{say("%s: path %s", s.name, s.tracer.Path)})
	}
	return nil
}

// nothingSent: the collector's cluster is fine, and no request was tried.
func (x *exam) nothingSent(s *subject) bool {
	sampled, visible := s.proxy.SumStats("http.", ".tracing.random_sampling")
	hidden, _ := s.proxy.SumStats("http.", ".tracing.not_traceable")
	made := s.proxy.Stats["tracing.zipkin.spans_sent"] + s.proxy.Stats["tracing.opentelemetry.spans_sent"]
	flushed := s.proxy.Stats["tracing.zipkin.timer_flushed"] + s.proxy.Stats["tracing.opentelemetry.timer_flushed"]
	switch {
	case visible && sampled > 0 && made == 0 && flushed > 0:
		x.red(s, "receiver", x.callerDraft(s, sampled))
		return false
	case visible && sampled == 0 && hidden > 0 && s.sampling >= 50:
		x.red(s, "receiver", &draft{code: "T0402", object: firstRef(s.policy.Used, x.mesh), detail: say("request ids of callers keep requests from being traced"), evidence: []Text{say("%s: tracing.not_traceable %d, tracing.random_sampling 0 at a rate of %s %%", s.name, hidden, number(s.sampling))},
			fix: Fix{text: say("Set useRequestIdForTraceSampling: false in the Telemetry, or let the edge write x-request-id as a UUID."), Command: editCommand(firstRef(s.policy.Used, x.mesh)), Diff: "--- Telemetry\n   tracing:\n+  - useRequestIdForTraceSampling: false\n"}})
		return false
	}
	if !visible {
		s.unknown("receiver", "nothing was sent: no request was sampled yet, or its statistics are hidden by the proxy's stats filter")
	} else {
		s.unknown("receiver", "nothing was sent: %d requests sampled, %d spans made", sampled, made)
	}
	return true
}

func (x *exam) callerDraft(s *subject, sampled int64) *draft {
	at := istio.Ref{Kind: "Gateway", Name: "the edge in front of the mesh"}
	return &draft{code: "T0401", object: at, detail: say("callers send a decision not to sample, and proxies follow it"), evidence: []Text{say("%s: tracing.random_sampling %d at a rate of %s %%, and no span was made", s.name, sampled, number(s.sampling))},
		fix: Fix{text: say("Remove x-b3-sampled: 0, b3: 0 and traceparent …-00 at the edge, or sample at the caller (a gateway, a test tool, an SDK)."), Diff: "--- VirtualService of the edge\n   headers:\n     request:\n+      remove: [x-b3-sampled, b3, traceparent]\n"}}
}

// stored: did the workload's spans arrive?
func (x *exam) stored(s *subject) bool {
	if x.f.Received == nil {
		s.unknown("stored", "what the collector got was not read")
		return true
	}
	n := x.f.Received.of(s)
	switch {
	case n > 0:
		s.green("stored", "%d spans", n)
	case x.f.Received.Spans > 0 && !x.recognised():
		s.unknown("stored", "%d spans arrived, under names that are those of no workload", x.f.Received.Spans)
	case s.sent && s.broken == nil:
		x.red(s, "stored", &draft{code: "T0410", object: istio.Ref{Kind: "Workload", Namespace: s.namespace, Name: s.workload}, detail: say("the proxy's requests are answered well, and no span of %s is there", s.name), evidence: []Text{s.flowEvidence(s.flow())}, fix: Fix{text: say("Look whether the collector drops, samples or forwards elsewhere; whether this is the collector that was asked.")}})
	default:
		s.unknown("stored", "no span of it")
	}
	return true
}

// of counts the spans that arrived of a workload, by the names that Envoy and SDKs give.
func (r *Received) of(s *subject) int {
	n := 0
	names := []string{s.workload, s.labels["service.istio.io/canonical-name"], s.labels["app"], s.labels["app.kubernetes.io/name"]}
	own := s.reportsAs()
	for name, count := range r.ByService {
		app, ns, dotted := strings.Cut(name, ".")
		if slices.Contains(own, name) || name != "" && name == s.workload || slices.Contains(names, app) && app != "" && (!dotted || ns == s.namespace) {
			n += count
		}
	}
	return n
}

// reportsAs are the names that the workload's proxy gives its spans.
func (s *subject) reportsAs() []string {
	if s.proxy == nil {
		return nil
	}
	var out []string
	if s.proxy.Service != "" {
		out = append(out, s.proxy.Service)
	}
	for _, m := range s.proxy.Managers {
		if m.Tracer != nil && m.Tracer.Service != "" {
			out = append(out, m.Tracer.Service)
		}
	}
	return out
}

// recognised tells whether any span that arrived can be told to be of a workload. Where names are of another scheme,
// none of a workload means nothing.
func (x *exam) recognised() bool {
	if x.named == nil {
		some := x.f.Received != nil && slices.ContainsFunc(x.subjects, func(s *subject) bool { return x.f.Received.of(s) > 0 })
		x.named = &some
	}
	return *x.named
}
