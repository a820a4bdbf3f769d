package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// flow is what became of the requests to one cluster, over all its endpoints.
type flow struct {
	known                                              bool
	hosts                                              int
	total, success, failed, connects, refused, timeout int64
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
		f.timeout += h.Timeout
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
	return flowOf(s.proxy.HostsOf(s.tracer.Cluster))
}

func (s *subject) flowEvidence(f flow) string {
	return fmt.Sprintf("%s: cluster %s: %s", s.name, s.tracer.Cluster, f)
}

// endpoint: is there anything behind the cluster?
func (x *exam) endpoint(s *subject) bool {
	if s.proxy == nil || !s.proxy.Has.Hosts {
		return x.endpointWritten(s)
	}
	hosts := s.proxy.HostsOf(s.tracer.Cluster)
	if len(hosts) > 0 {
		s.green("endpoint", "%d endpoints, the first is %s", len(hosts), hosts[0].Address)
		return true
	}
	c := s.proxy.Cluster(s.tracer.Cluster)
	evidence := []string{fmt.Sprintf("%s: cluster %s has no host lines in /clusters", s.name, s.tracer.Cluster)}
	if n, ok := s.proxy.ClusterStat(s.tracer.Cluster, "upstream_cx_none_healthy"); ok && n > 0 {
		evidence = append(evidence, fmt.Sprintf("%s: upstream_cx_none_healthy %d", s.name, n))
	}
	if c != nil && strings.HasSuffix(c.Type, "_DNS") || s.source == "bootstrap" {
		x.red(s, "endpoint", x.unresolvable(s, c, evidence))
		return false
	}
	x.red(s, "endpoint", x.noEndpoints(s, evidence))
	return false
}

func (x *exam) unresolvable(s *subject, c *envoy.Cluster, evidence []string) *draft {
	address := ""
	if c != nil && c.Address != "" {
		address = fmt.Sprintf("%s:%d", c.Address, c.Port)
	} else if s.policy.Legacy != nil {
		address = s.policy.Legacy.Address
	}
	at := istio.Ref{Kind: "MeshConfig"}
	if x.mesh != nil {
		at = x.mesh.Ref
		if x.mesh.Config != nil && x.mesh.Config.Tracing != nil {
			at = at.At(prefixed(x.mesh.Path, "defaultConfig.tracing.zipkin.address"), x.mesh.Config.Tracing.AddressLine)
		}
	}
	if _, _, _, host, ok := envoy.SplitCluster(s.tracer.Cluster); ok {
		address = host
		for _, v := range x.f.Objects.FindHost(host) {
			at = v.Ref
		}
	}
	fix := Fix{Text: fmt.Sprintf("Correct the address %s: a Service is NAME.NAMESPACE:PORT.", address), Command: editCommand(at)}
	host, port := hostPort(address)
	if to := x.similarHost(host); to != "" {
		fix.Text = fmt.Sprintf("Write %s:%d, which exists.", to, port)
		fix.Diff = diff(at, "address: "+address, fmt.Sprintf("address: %s:%d", to, port))
	}
	return &draft{code: "T0307", object: at, detail: fmt.Sprintf("%s does not resolve", address), evidence: evidence, fix: fix}
}

func (x *exam) noEndpoints(s *subject, evidence []string) *draft {
	host, _ := x.destination(s)
	at := istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0]}
	fix := Fix{Text: "Correct the Service's selector, or bring the collector's pods up and ready."}
	for _, v := range x.f.Objects.FindHost(host) {
		at = v.Ref.At("spec.selector", 0)
		if len(v.Selector) > 0 {
			evidence = append(evidence, fmt.Sprintf("%s selects %s", place(v.Ref), labelText(v.Selector)))
			if l := x.similarLabels(v); l != "" {
				fix.Diff = diff(at, labelText(v.Selector), l)
			}
		}
	}
	fix.Command = fmt.Sprintf("kubectl get endpointslices -n %s -l kubernetes.io/service-name=%s", at.Namespace, at.Name)
	return &draft{code: "T0306", object: at, detail: host + " has no endpoints", evidence: evidence, fix: fix}
}

// similarLabels finds the labels of a workload of the service's namespace that was probably meant.
func (x *exam) similarLabels(v *istio.Service) string {
	for _, w := range x.f.Objects.Workloads {
		if w.Namespace != v.Namespace {
			continue
		}
		out := make(map[string]string)
		for k := range v.Selector {
			if w.Labels[k] != "" {
				out[k] = w.Labels[k]
			}
		}
		if len(out) == len(v.Selector) && (w.Name == v.Name || len(out) > 0) {
			return labelText(out)
		}
	}
	return ""
}

func (x *exam) endpointWritten(s *subject) bool {
	host, _ := x.destination(s)
	for _, v := range x.f.Objects.FindHost(host) {
		ready, known := 0, false
		for _, e := range x.f.Objects.Endpoints {
			if e.Namespace == v.Namespace && e.Service == v.Name {
				ready, known = ready+e.Ready, true
			}
		}
		switch {
		case known && ready == 0:
			x.red(s, "endpoint", x.noEndpoints(s, []string{"the EndpointSlices of " + v.Ref.String() + " have no ready address"}))
			return false
		case known:
			s.green("endpoint", "%d ready addresses", ready)
			return true
		case len(v.Addresses) > 0:
			s.green("endpoint", "as written: %d addresses", len(v.Addresses))
			return true
		}
		if len(v.Selector) > 0 {
			here := 0
			for _, w := range x.f.Objects.Workloads {
				if w.Namespace == v.Namespace && len(w.Labels) > 0 {
					here++
					if istio.Matches(v.Selector, w.Labels) {
						s.green("endpoint", "as written: %s is behind the Service", w.Ref)
						return true
					}
				}
			}
			if here > 0 && x.similarLabels(v) != "" {
				x.red(s, "endpoint", x.noEndpoints(s, []string{fmt.Sprintf("%d workloads of %s were read, none has the labels of the Service's selector", here, v.Namespace)}))
				return false
			}
		}
	}
	s.unknown("endpoint", "neither Envoy's endpoints nor EndpointSlices were read")
	return true
}

// tls: do both sides agree on TLS?
func (x *exam) tls(s *subject) bool {
	host, port := x.destination(s)
	ns := namespaceOf(host)
	services := x.f.Objects.FindHost(host)
	var labels map[string]string
	if len(services) > 0 {
		ns, labels = services[0].Namespace, services[0].Selector
	}
	mode, rule := x.f.Objects.ClientTLS(x.root(), s.target(), ns, host, port)
	server, from := x.f.Objects.ServerTLS(x.root(), ns, labels, port)
	f := s.flow()
	if f.works() {
		s.green("tls", "requests are answered")
		return true
	}
	client := "plain"
	evidence := []string{}
	if s.proxy != nil && s.proxy.Has.Clusters {
		if c := s.proxy.Cluster(s.tracer.Cluster); c != nil {
			client = x.clientTLS(s, c)
			evidence = append(evidence, fmt.Sprintf("%s: cluster %s is %s", s.name, c.Name, client))
		}
	} else if s.source == "bootstrap" {
		client = "plain text"
	} else {
		client = map[string]string{"DISABLE": "plain text", "SIMPLE": "TLS", "MUTUAL": "TLS", "ISTIO_MUTUAL": "mutual TLS"}[mode]
	}
	if f.known {
		evidence = append(evidence, s.flowEvidence(f))
	}
	if rule != nil {
		evidence = append(evidence, fmt.Sprintf("%s sets TLS mode %s", place(rule.Ref), mode))
	}
	if from != nil {
		evidence = append(evidence, fmt.Sprintf("%s sets %s", place(from.Ref), server))
	}
	failing := f.fails() || !f.known
	seen := s.proxy != nil && s.proxy.Has.Clusters
	switch {
	case client == "plain text" && server == "STRICT" && failing && (f.fails() || rule != nil || s.source == "bootstrap" && x.inMesh(services)):
		x.red(s, "tls", x.tlsDraft(rule, from, fmt.Sprintf("proxies speak plain text to %s, which takes mutual TLS only", host), evidence, mode))
		return false
	case client == "plain text" && s.source != "bootstrap" && (mode == "DISABLE" || s.proxy.AutoTLS) && f.total > 0 && f.failed == f.total && f.refused == 0:
		x.red(s, "tls", x.tlsDraft(rule, from, fmt.Sprintf("proxies speak plain text to %s, and every request is cut", host), evidence, mode))
		return false
	case (client == "TLS" || client == "mutual TLS") && f.fails() && !x.takesTLS(s, services) || (client == "mutual TLS" && !seen && rule != nil && x.plainCollector(services, server)):
		x.red(s, "tls", x.tlsDraft(rule, from, fmt.Sprintf("proxies speak %s to %s, which speaks plain text", client, host), evidence, mode))
		return false
	case strings.HasPrefix(client, "mutual TLS where") && f.refused > 0 && f.total == 0 && !x.dropped[s.tracer.Cluster] && f.failed <= f.connects && !x.collectorSeen(s):
		x.red(s, "tls", x.falseLabel(s, services, host, evidence))
		return false
	case !f.known && !seen && client == "":
		s.unknown("tls", "Envoy's cluster was not read")
	default:
		s.green("tls", "%s", firstOf(client, "by the endpoint's metadata"))
	}
	return true
}

// clientTLS is what the cluster speaks to its endpoints.
func (x *exam) clientTLS(s *subject, c *envoy.Cluster) string {
	switch c.TLS {
	case "always":
		if strings.HasPrefix(c.SNI, "outbound_.") {
			return "mutual TLS"
		}
		return "TLS"
	case "matching":
		_, _, _, host, _ := envoy.SplitCluster(c.Name)
		hosts := s.proxy.HostsOf(c.Name)
		if slices.ContainsFunc(hosts, func(h envoy.Host) bool { return h.TLSMode == "istio" }) || !s.proxy.Has.Endpoints && x.inMesh(x.f.Objects.FindHost(host)) {
			return "mutual TLS where the endpoint takes it"
		}
		return "mutual TLS for endpoints of the mesh, plain text for others"
	}
	return "plain text"
}

// collectorSeen: the collector's own proxy was read, so it does take mutual TLS.
func (x *exam) collectorSeen(s *subject) bool {
	return slices.ContainsFunc(s.proxy.HostsOf(s.tracer.Cluster), func(h envoy.Host) bool {
		addr, _ := hostPort(h.Address)
		return slices.ContainsFunc(x.f.Proxies, func(p envoy.Proxy) bool { return strings.Contains(p.Node, "~"+addr+"~") })
	})
}

// falseLabel: the endpoint is labelled as one of the mesh, so proxies speak mutual TLS to it, and it has no sidecar.
func (x *exam) falseLabel(s *subject, services []*istio.Service, host string, evidence []string) *draft {
	at := istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0]}
	if len(services) > 0 {
		at = services[0].Ref
	}
	return &draft{code: "T0308", object: at, detail: fmt.Sprintf("the endpoint of %s says that it takes mutual TLS, and the handshake fails: there is no sidecar", host), evidence: append(evidence, s.name+": the endpoint's metadata has tlsMode istio"),
		fix: Fix{Text: fmt.Sprintf("Remove the label security.istio.io/tlsMode: istio from the collector's pods or endpoints, or inject a sidecar there, or switch TLS off for %s with a DestinationRule.", host), Command: editCommand(at),
			Diff: "--- DestinationRule for " + host + "\n+spec:\n+  host: " + host + "\n+  trafficPolicy: {tls: {mode: DISABLE}}\n"}}
}

// takesTLS: an endpoint of the tracer's cluster, or the service, is in the mesh and takes TLS.
func (x *exam) takesTLS(s *subject, services []*istio.Service) bool {
	if s.proxy != nil && slices.ContainsFunc(s.proxy.HostsOf(s.tracer.Cluster), func(h envoy.Host) bool { return h.TLSMode == "istio" }) {
		return true
	}
	return x.inMesh(services)
}

func (x *exam) inMesh(services []*istio.Service) bool {
	for _, v := range services {
		if slices.ContainsFunc(v.Addresses, func(e istio.Endpoint) bool { return e.InMesh }) {
			return true
		}
		for _, w := range x.f.Objects.Workloads {
			if w.Namespace == v.Namespace && w.HasProxy && len(v.Selector) > 0 && istio.Matches(v.Selector, w.Labels) {
				return true
			}
		}
	}
	return false
}

// plainCollector: what is written shows that the collector has no sidecar.
func (x *exam) plainCollector(services []*istio.Service, server string) bool {
	if server == "STRICT" || len(services) == 0 || x.inMesh(services) {
		return false
	}
	for _, v := range services {
		if len(v.Addresses) > 0 {
			return true
		}
		for _, w := range x.f.Objects.Workloads {
			if w.Namespace == v.Namespace && len(v.Selector) > 0 && istio.Matches(v.Selector, w.Labels) {
				_, in := x.injection(&w)
				return in == no
			}
		}
	}
	return false
}

func (x *exam) tlsDraft(rule *istio.DestinationRule, from *istio.PeerAuthentication, detail string, evidence []string, mode string) *draft {
	d := &draft{code: "T0308", detail: detail, evidence: evidence}
	switch {
	case rule != nil:
		d.object = rule.Ref.At("spec.trafficPolicy.tls.mode", rule.ModeLine)
		d.fix = Fix{Text: fmt.Sprintf("Remove the TLS mode %s from %s: mutual TLS is then used where the endpoint takes it.", mode, rule.Ref), Command: editCommand(rule.Ref), Diff: diff(d.object, "tls: {mode: "+mode+"}", "")}
		if from != nil && mode == "DISABLE" {
			d.fix.Text += fmt.Sprintf(" Or make %s PERMISSIVE.", from.Ref)
		}
	case from != nil:
		d.object = from.Ref.At("spec.mtls.mode", 0)
		d.fix = Fix{Text: fmt.Sprintf("Make the collector PERMISSIVE: a PeerAuthentication for it beside %s, or use an extension provider instead of the bootstrap's tracer.", from.Ref), Command: editCommand(from.Ref), Diff: diff(d.object, "mode: STRICT", "mode: PERMISSIVE")}
	default:
		d.object = istio.Ref{Kind: "DestinationRule"}
		d.fix = Fix{Text: "Look for a DestinationRule with a TLS mode for the collector's host and remove it.", Command: "kubectl get destinationrules -A"}
	}
	return d
}

// network: do connections come through?
func (x *exam) network(s *subject) bool {
	f := s.flow()
	host, port := x.destination(s)
	policy := x.blockedBy(s, host, port)
	if f.refused > 0 && f.success == 0 {
		dropped, known := x.dropped[s.tracer.Cluster]
		if !known {
			dropped = f.failed > f.connects
		}
		evidence := []string{s.flowEvidence(f)}
		if n, ok := s.proxy.ClusterStat(s.tracer.Cluster, "upstream_cx_connect_timeout"); ok {
			evidence = append(evidence, fmt.Sprintf("%s: upstream_cx_connect_timeout %d", s.name, n))
		}
		switch {
		case policy != nil:
			policy.evidence = append(policy.evidence, evidence...)
			x.red(s, "network", policy)
		case dropped:
			x.red(s, "network", x.droppedDraft(s, host, port, evidence))
		default:
			x.red(s, "network", &draft{code: "T0309", object: istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0]}, detail: fmt.Sprintf("connections to %s:%d are refused: nothing listens there", host, port), evidence: evidence,
				fix: Fix{Text: fmt.Sprintf("Let the collector's receiver listen on 0.0.0.0:%d (many bind to localhost), or correct the Service's targetPort.", port), Command: fmt.Sprintf("kubectl get service -n %s %s -o yaml", namespaceOf(host), strings.Split(host, ".")[0]), Diff: receiverYAML(s.tracer.Protocol(), port)}})
		}
		return false
	}
	if f.known && f.connects > 0 && f.total == 0 && f.refused == 0 && f.failed == 0 && policy == nil {
		x.red(s, "network", x.droppedDraft(s, host, port, []string{s.flowEvidence(f), s.name + ": connections are begun, and neither accepted nor refused"}))
		return false
	}
	switch {
	case f.works():
		s.green("network", "connections stand")
	case policy != nil:
		x.red(s, "network", policy)
		return false
	case f.connects > f.refused && f.total > 0:
		s.green("network", "connections stand")
	case !f.known:
		s.unknown("network", "Envoy's counters were not read")
	default:
		s.unknown("network", "no connection was tried")
	}
	return true
}

func (x *exam) droppedDraft(s *subject, host string, port int, evidence []string) *draft {
	return &draft{code: "T0310", object: istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0]}, detail: fmt.Sprintf("connections to %s:%d time out: packets are dropped", host, port), evidence: evidence,
		fix: Fix{Text: fmt.Sprintf("Allow TCP %d from the workloads (egress) and at the collector (ingress) in the NetworkPolicies of both namespaces.", port), Command: "kubectl get networkpolicies -A", Diff: egressYAML(s.namespace, namespaceOf(host), port)}}
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
	evidence := []string{s.flowEvidence(f)}
	stat := func(name string) int64 {
		n, ok := s.proxy.ClusterStat(s.tracer.Cluster, name)
		if ok && n > 0 {
			evidence = append(evidence, fmt.Sprintf("%s: %s %d", s.name, name, n))
		}
		return n
	}
	bad := stat("upstream_rq_404") + stat("upstream_rq_4xx")
	dropped := s.proxy.Stats["tracing.zipkin.reports_dropped"]
	reset := stat("upstream_rq_rx_reset")
	switch {
	case strings.HasPrefix(protocol, "otlp") && f.success == 0 && (reset > 0 || f.failed == 0 || protocol == "otlp-http" && port == 4317):
		what := "the collector's port does not speak OTLP over gRPC"
		if protocol == "otlp-http" {
			what = "the collector's port does not speak OTLP over HTTP"
		}
		x.red(s, "receiver", x.mixed(s, host, port, evidence, what))
		return false
	case protocol != "otlp-grpc" && (bad > 0 && stat("upstream_rq_2xx") == 0 || protocol == "zipkin" && dropped > 0 && s.proxy.Stats["tracing.zipkin.reports_sent"] == 0 && f.success > 0):
		x.red(s, "receiver", x.pathDraft(s, evidence))
		return false
	case f.success == 0 && f.failed > 0:
		x.red(s, "receiver", &draft{code: "T0312", object: istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0]}, detail: fmt.Sprintf("%s:%d fails on every request", host, port), evidence: evidence, fix: Fix{Text: "Look at the collector's log: it refuses what it gets or dies on it.", Command: fmt.Sprintf("kubectl logs -n %s svc/%s", namespaceOf(host), strings.Split(host, ".")[0])}})
		return false
	case protocol != "otlp-grpc" && x.f.Received != nil && x.f.Received.of(s) == 0 && f.success > 0 && !x.pathProven(s):
		evidence = append(evidence, "Envoy counts any answer as a success, a 404 too, and nothing of "+s.name+" arrived")
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

func (x *exam) pathDraft(s *subject, evidence []string) *draft {
	good := firstOf(append(goodPaths[s.tracer.Protocol()], "/")...)
	for _, r := range x.otherCode404() {
		evidence = append(evidence, "collector: "+r)
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
	d := &draft{code: "T0311", object: at, detail: fmt.Sprintf("the collector does not serve %s", firstOf(s.tracer.Path, "the path")), evidence: evidence}
	if s.tracer.Path == good {
		host, port := x.destination(s)
		d.detail = fmt.Sprintf("%s:%d does not serve %s", host, port, good)
		d.fix = Fix{Text: fmt.Sprintf("Send to the port of the %s receiver (9411 for Zipkin, 4318 for OTLP over HTTP); %s:%d answers 404 to %s.", s.tracer.Protocol(), host, port, good), Command: editCommand(at)}
		return d
	}
	d.fix = Fix{Text: fmt.Sprintf("Set %s: %s.", field, good), Command: editCommand(at), Diff: diff(at, field+": "+s.tracer.Path, field+": "+good)}
	if s.source == "bootstrap" {
		d.fix.Text = fmt.Sprintf("Set collectorEndpoint: %s in the bootstrap override, or drop the override; then restart the workload.", good)
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
		d := x.pathDraft(s, []string{fmt.Sprintf("%s: path %s", s.name, s.tracer.Path)})
		return d
	}
	if s.tracer.Protocol() == "otlp-http" && s.tracer.Path == "" {
		return nil
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
		x.red(s, "receiver", &draft{code: "T0402", object: firstRef(s.policy.Used, x.mesh), detail: "request ids of callers keep requests from being traced", evidence: []string{fmt.Sprintf("%s: tracing.not_traceable %d, tracing.random_sampling 0 at a rate of %s %%", s.name, hidden, number(s.sampling))},
			fix: Fix{Text: "Set useRequestIdForTraceSampling: false in the Telemetry, or let the edge write x-request-id as a UUID.", Command: editCommand(firstRef(s.policy.Used, x.mesh)), Diff: "--- Telemetry\n   tracing:\n+  - useRequestIdForTraceSampling: false\n"}})
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
	return &draft{code: "T0401", object: at, detail: "callers send a decision not to sample, and proxies follow it", evidence: []string{fmt.Sprintf("%s: tracing.random_sampling %d at a rate of %s %%, and no span was made", s.name, sampled, number(s.sampling))},
		fix: Fix{Text: "Remove x-b3-sampled: 0, b3: 0 and traceparent …-00 at the edge, or sample at the caller (a gateway, a test tool, an SDK).", Diff: "--- VirtualService of the edge\n   headers:\n     request:\n+      remove: [x-b3-sampled, b3, traceparent]\n"}}
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
	case s.sent && s.broken == nil:
		x.red(s, "stored", &draft{code: "T0410", object: istio.Ref{Kind: "Collector"}, detail: fmt.Sprintf("the proxy's requests are answered well, and no span of %s is there", s.name), evidence: []string{s.flowEvidence(s.flow())}, fix: Fix{Text: "Look whether the collector drops, samples or forwards elsewhere; whether this is the collector that was asked."}})
	default:
		s.unknown("stored", "no span of it")
	}
	return true
}

// of counts the spans that arrived of a workload, by the names that Envoy and SDKs give.
func (r *Received) of(s *subject) int {
	n := 0
	names := []string{s.workload, s.labels["service.istio.io/canonical-name"], s.labels["app"], s.labels["app.kubernetes.io/name"]}
	for name, count := range r.ByService {
		app, ns, dotted := strings.Cut(name, ".")
		if slices.Contains(names, app) && app != "" && (!dotted || ns == s.namespace) {
			n += count
		}
	}
	return n
}
