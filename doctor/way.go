package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// accepted: did Envoy take what istiod sent? A Zipkin tracer with an unknown cluster is refused together with its
// listener, which is an outage.
func (x *exam) accepted(s *subject) bool {
	if s.proxy == nil || !s.proxy.Has.Listeners {
		s.unknown("accepted", "Envoy's listeners were not read")
		s.unknown("listener", "Envoy's listeners were not read")
		return true
	}
	rejected := len(s.proxy.Rejections) > 0
	for _, m := range s.seen.needed() {
		rejected = rejected || m.Rejected
	}
	if rejected {
		return x.rejected(s)
	}
	if n := s.proxy.Stats["listener_manager.lds.update_rejected"]; n > 0 {
		s.green("accepted", "now; %d updates were refused earlier", n)
	} else {
		s.green("accepted", "no listener is refused")
	}
	x.listener(s)
	return true
}

func (x *exam) rejected(s *subject) bool {
	var details Text
	for _, r := range s.proxy.Rejections {
		details = say("%s: Envoy refuses listener %s: %s", s.name, r.Resource, r.Details)
	}
	for _, w := range x.f.Warnings {
		if strings.Contains(w, "ACK ERROR") {
			if details.empty() {
				details = quote("istiod: " + w)
			} else {
				details = say("%s; istiod: %s", details, w)
			}
			break
		}
	}
	if s.tracer != nil && s.proxy.Has.Clusters && s.proxy.Cluster(s.tracer.Cluster) == nil {
		d := x.missingCluster(s)
		d.detail = say("%s; Envoy refuses its listeners for it, which is an outage", d.detail)
		if !details.empty() {
			d.evidence = append(d.evidence, details)
		}
		x.red(s, "accepted", d)
		return false
	}
	if s.policy.Client.Invalid || s.policy.Server.Invalid {
		d := &draft{code: "T0112", object: s.policy.Client.SamplingRef, detail: say("Envoy refuses a rate that is no percentage"), evidence: []Text{details}, fix: Fix{text: say("Write a percentage from 0 to 100.")}}
		x.red(s, "accepted", d)
		return false
	}
	x.red(s, "accepted", &draft{code: "T0201", object: istio.Ref{Kind: "Proxy", Namespace: s.namespace, Name: s.workload}, detail: say("Envoy refuses a listener"), evidence: []Text{details}, fix: Fix{text: say("Correct what Envoy names: the last change of an EnvoyFilter, Telemetry or provider."), Command: "istioctl proxy-status"}})
	return false
}

// listener: do requests pass a connection manager? An application's port that is TCP for Istio has none.
func (x *exam) listener(s *subject) {
	if s.gateway || len(s.proxy.TCPPorts) == 0 {
		s.green("listener", "connection managers with tracing")
		return
	}
	for _, port := range s.proxy.TCPPorts {
		why := x.speaksHTTP(s, port)
		if why.empty() {
			continue
		}
		at := istio.Ref{Kind: "Service", Namespace: s.namespace, Name: s.workload}
		name := ""
		for i := range x.f.Objects.Services {
			svc := &x.f.Objects.Services[i]
			if p := svc.Port(port); p != nil && svc.Namespace == s.namespace && (svc.Name == s.workload || len(svc.Selector) > 0 && istio.Matches(svc.Selector, s.labels)) && p.Protocol(svc.Entry) != "http" {
				at, name = svc.Ref.At("spec.ports", p.Line), p.Name
			}
		}
		now := "http-" + firstOf(strings.TrimPrefix(name, "tcp-"), "web")
		x.red(s, "listener", &draft{code: "T0202", object: at, soft: true, detail: say("port %d of %s is TCP for Istio: requests to it make no server spans", port, s.name),
			evidence: []Text{say("%s: the inbound filter chain of port %d has a TCP proxy and no connection manager", s.name, port), why},
			fix:      Fix{text: say("Name port %d of the Service http-… (or grpc-…), or set appProtocol: http.", port), Command: fmt.Sprintf("kubectl edit service -n %s %s", s.namespace, at.Name), Diff: diff(at, "name: "+firstOf(name, "tcp-web"), "name: "+now)}})
		return
	}
	s.green("listener", "connection managers with tracing; TCP ports %v make no spans", s.proxy.TCPPorts)
}

// httpPorts are numbers that people give to HTTP.
var httpPorts = []int{80, 3000, 5000, 8000, 8008, 8080, 8081, 8082, 8083, 8085, 8088, 8090, 8443, 8888, 9000, 9080, 9090}

// speaksHTTP finds what shows that HTTP goes to a TCP port: a route, requests of a gateway, or a workload that makes
// requests of its own while none come in.
func (x *exam) speaksHTTP(s *subject, port int) Text {
	for _, r := range x.f.Objects.Routes {
		host, rest, _ := strings.Cut(r.Host, ".")
		ns, _, _ := strings.Cut(rest, ".")
		if host == s.workload && ns == s.namespace && (r.Port == port || r.Port == 0) {
			return say("%s routes HTTP to it", place(r.Ref))
		}
	}
	for i := range x.f.Proxies {
		p := &x.f.Proxies[i]
		if p.Type != "router" {
			continue
		}
		for _, h := range p.Hosts {
			if _, _, _, host, ok := envoy.SplitCluster(h.Cluster); ok && h.Total > 0 && strings.HasPrefix(host, s.workload+"."+s.namespace+".") && strings.HasSuffix(h.Address, ":"+strconv.Itoa(port)) {
				return say("the gateway %s sent %d requests to %s", p.Name, h.Total, host)
			}
		}
	}
	if len(s.proxy.HTTPPorts) == 0 && slices.Contains(httpPorts, port) {
		if out, _ := s.proxy.SumStats("http.outbound", ".tracing.random_sampling"); out > 0 {
			return say("%s made %d traced requests, and none came in", s.name, out)
		}
	}
	return Text{}
}

// cluster: does the tracer's cluster exist, and does Envoy speak the right protocol to it?
func (x *exam) cluster(s *subject) bool {
	if s.tracer == nil {
		s.unknown("cluster", "no tracer is known")
		return false
	}
	if s.proxy == nil || !s.proxy.Has.Clusters && !s.proxy.Has.Hosts {
		return x.clusterWritten(s)
	}
	c := s.proxy.Cluster(s.tracer.Cluster)
	if c == nil && s.source == "bootstrap" && !s.proxy.Has.Clusters {
		return x.clusterWritten(s)
	}
	if c == nil {
		x.red(s, "cluster", x.missingCluster(s))
		return false
	}
	if d := x.protocol(s, c); d != nil {
		x.red(s, "cluster", d)
		return false
	}
	s.green("cluster", "%s exists", s.tracer.Cluster)
	return true
}

// missingCluster explains why the tracer's cluster is not there.
func (x *exam) missingCluster(s *subject) *draft {
	name := s.tracer.Cluster
	evidence := []Text{say("%s: the tracer names cluster %s, which is not among Envoy's %d clusters", s.name, name, max(s.proxy.ClusterCount, len(s.proxy.Clusters)))}
	_, port, _, host, ok := envoy.SplitCluster(name)
	known := len(x.seenPorts[host]) > 0 || len(x.f.Objects.FindHost(host)) > 0
	if !ok || !known && (s.source == "envoyfilter" || x.similarCluster(host) != "" && s.provider == nil) {
		return x.unknownCluster(s, host, port, evidence)
	}
	n, _ := strconv.Atoi(port)
	services := x.f.Objects.FindHost(host)
	elsewhere := x.seenPorts[host][port]
	inService := slices.ContainsFunc(services, func(v *istio.Service) bool { return v.Port(n) != nil })
	hereOther := slices.ContainsFunc(s.proxy.Clusters, func(c envoy.Cluster) bool {
		_, _, _, h, ok := envoy.SplitCluster(c.Name)
		return ok && h == host
	})
	if hidden := x.hidden(s, services, host); hidden != nil && !hereOther && (elsewhere || inService || len(services) == 0) {
		hidden.evidence = append(evidence, hidden.evidence...)
		return hidden
	}
	if elsewhere || inService || len(services) == 0 && !hereOther && len(x.seenPorts[host]) > 0 {
		return &draft{code: "T0302", object: istio.Ref{Kind: "Service", Name: host}, detail: say("%s port %s exists, and %s does not see it", host, port, s.name), evidence: append(evidence, say("other proxies or the Service have it")),
			fix: Fix{text: say("Look for a Sidecar that applies to %s and add %s to its egress hosts, or for exportTo on the Service.", s.namespace, namespaceOf(host)+"/"+host), Command: "kubectl get sidecars -A"}}
	}
	return x.portMissing(s, host, n, services, evidence)
}

func namespaceOf(host string) string {
	parts := strings.Split(host, ".")
	if len(parts) > 2 && parts[2] == "svc" {
		return parts[1]
	}
	return "*"
}

func (x *exam) unknownCluster(s *subject, host, port string, evidence []Text) *draft {
	at := istio.Ref{Kind: "EnvoyFilter"}
	for i := range x.f.Objects.EnvoyFilters {
		e := &x.f.Objects.EnvoyFilters[i]
		for _, p := range e.Patches {
			if p.Cluster == s.tracer.Cluster {
				at = e.Ref.At("spec.configPatches", p.Line)
			}
		}
	}
	if s.source == "bootstrap" {
		at = istio.Ref{Kind: "Bootstrap", Namespace: s.namespace, Name: s.workload}
	}
	fix := Fix{text: say("Write the full name of a cluster that exists: outbound|PORT||NAME.NAMESPACE.svc.cluster.local."), Command: editCommand(at)}
	if host != "" {
		if to := x.similarCluster(host); to != "" {
			fix.text = say("Write %s.", envoy.ClusterName(to, port))
			fix.Diff = diff(at, "cluster_name: "+s.tracer.Cluster, "cluster_name: "+envoy.ClusterName(to, port))
		}
	}
	return &draft{code: "T0303", object: at, detail: say("the tracer's cluster %s does not exist", s.tracer.Cluster), evidence: evidence, fix: fix}
}

func (x *exam) similarCluster(host string) string {
	for known := range x.seenPorts {
		if strings.HasPrefix(known, host+".") {
			return known
		}
	}
	return x.similarHost(host)
}

// hidden finds what keeps a service from a proxy: a Sidecar's egress hosts or the service's exportTo.
func (x *exam) hidden(s *subject, services []*istio.Service, host string) *draft {
	ns := namespaceOf(host)
	if len(services) > 0 {
		ns = services[0].Namespace
	}
	if sc := x.f.Objects.SidecarOf(x.root(), s.target()); sc != nil && sc.Limits && !sc.Sees(ns, host) {
		at := sc.Ref.At("spec.egress[0].hosts", sc.Line)
		return &draft{code: "T0302", object: at, detail: say("%s lets its proxies see %s only, not %s/%s", sc.Ref, strings.Join(sc.Egress, ", "), ns, host), evidence: []Text{quote(place(at) + ": hosts " + strings.Join(sc.Egress, ", "))},
			fix: Fix{text: say("Add %s/* to the egress hosts of %s.", ns, sc.Ref), Command: editCommand(sc.Ref), Diff: diff(at, "", "- \""+ns+"/*\"")}}
	}
	for _, v := range services {
		var fallback []string
		if x.mesh != nil {
			fallback = x.mesh.ExportTo
		}
		if !v.VisibleTo(s.namespace, fallback) {
			at := v.Ref.At("exportTo", 0)
			return &draft{code: "T0302", object: at, detail: say("%s is not exported to %s", v.Ref, s.namespace), evidence: []Text{quote(place(v.Ref) + ": exportTo " + strings.Join(append(slices.Clone(v.ExportTo), fallback...), ", "))},
				fix: Fix{text: say("Export %s to the namespaces that send spans: exportTo: [\"*\"].", v.Ref), Command: editCommand(v.Ref), Diff: diff(at, "exportTo: ["+strings.Join(v.ExportTo, ", ")+"]", "exportTo: [\"*\"]")}}
		}
	}
	return nil
}

func (x *exam) portMissing(s *subject, host string, port int, services []*istio.Service, evidence []Text) *draft {
	at := istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0], Path: "spec.ports"}
	var has []Text
	if len(services) > 0 {
		v := services[0]
		at = v.Ref.At("spec.ports", 0)
		if len(v.Ports) > 0 {
			at.Line = v.Ports[0].Line
		}
		for _, p := range v.Ports {
			name := quote(p.Name)
			if p.Name == "" {
				name = say("no name")
			}
			has = append(has, say("%d (%s)", p.Number, name))
		}
	} else {
		has = quotes(slices.Sorted(maps.Keys(x.seenPorts[host])))
	}
	name := portName(s.tracer.Protocol())
	if len(has) > 0 {
		evidence = append(evidence, say("%s has the ports %s", host, list(has)))
	}
	if s.provider != nil && x.mesh != nil {
		evidence = append(evidence, say("%s: provider %s sends to port %d", place(x.providerRef(s.provider, "port")), s.provider.Name, port))
	}
	fix := Fix{text: say("Add port %d named %s to the Service, or use a port it has.", port, name), Command: fmt.Sprintf(`kubectl patch service -n %s %s --type json -p '[{"op":"add","path":"/spec/ports/-","value":{"name":"%s","port":%d,"targetPort":%d}}]'`, at.Namespace, at.Name, name, port, port),
		Diff: diff(at, "", fmt.Sprintf("- name: %s\n  port: %d\n  targetPort: %d", name, port, port))}
	if at.Kind == "ServiceEntry" {
		protocol := map[string]string{"otlp-grpc": "GRPC"}[s.tracer.Protocol()]
		fix.Command = fmt.Sprintf(`kubectl patch serviceentry -n %s %s --type json -p '[{"op":"add","path":"/spec/ports/-","value":{"name":"%s","number":%d,"protocol":"%s"}}]'`, at.Namespace, at.Name, name, port, firstOf(protocol, "HTTP"))
		fix.Diff = diff(at, "", fmt.Sprintf("- name: %s\n  number: %d\n  protocol: %s", name, port, firstOf(protocol, "HTTP")))
	}
	return &draft{code: "T0301", object: at, detail: say("%s has no port %d", host, port), evidence: evidence, fix: fix}
}

func portName(protocol string) string {
	switch protocol {
	case "otlp-grpc":
		return "grpc-otlp"
	case "otlp-http":
		return "http-otlp"
	}
	return "http-zipkin"
}

// protocol compares the cluster's shape with what the tracer speaks. A cluster only known by its host lines has none.
func (x *exam) protocol(s *subject, c *envoy.Cluster) *draft {
	f := flowOf(s.proxy.HostsOf(c.Name))
	if f.works() {
		return nil
	}
	if !s.proxy.Has.Clusters {
		return x.protocolByName(s, f)
	}
	shape := "http"
	if c.HTTP2 {
		shape = "http2"
	} else if c.Follows {
		shape = "auto"
	}
	_, port, _, host, ok := envoy.SplitCluster(c.Name)
	n, _ := strconv.Atoi(port)
	if !ok {
		n, host = c.Port, c.Address
	}
	return x.protocolDraft(s, host, n, shape, []Text{clusterShape(s, c.Name, shape)})
}

// clusterShape is what Envoy speaks to a cluster, as its options show.
func clusterShape(s *subject, name, shape string) Text {
	switch shape {
	case "http2":
		return say("%s: cluster %s has HTTP/2 options", s.name, name)
	case "auto":
		return say("%s: cluster %s follows the caller's protocol", s.name, name)
	}
	return say("%s: cluster %s has no HTTP/2 options", s.name, name)
}

// protocolByName judges by the port's name where the cluster's shape was not read and requests fail.
func (x *exam) protocolByName(s *subject, f flow) *draft {
	host, port := x.destination(s)
	services := x.f.Objects.FindHost(host)
	_, p := x.portRef(host, port)
	if p == nil || !f.fails() || s.source == "bootstrap" {
		return nil
	}
	return x.protocolDraft(s, host, port, p.Protocol(services[0].Entry), []Text{s.flowEvidence(f)})
}

// protocolDraft judges protocol against port: shape is what Envoy speaks to it.
func (x *exam) protocolDraft(s *subject, host string, port int, shape string, evidence []Text) *draft {
	at, p := x.portRef(host, port)
	name := ""
	if p != nil {
		name = p.Name
		evidence = append(evidence, say("%s: port %d is called %q", place(at), port, firstOf(p.Name, "")+appProtocol(p)))
	}
	h2 := istio.HTTP2(shape)
	if s.tracer.Protocol() == "otlp-grpc" && !h2 {
		if port == 9411 || strings.Contains(name, "zipkin") {
			return x.mixed(s, host, port, evidence, say("the provider speaks OTLP over gRPC to Zipkin's port"))
		}
		if port == 4318 || strings.Contains(name, "http-otlp") || strings.Contains(name, "otlp-http") {
			return x.mixed(s, host, port, evidence, say("the provider speaks OTLP over gRPC to the HTTP port"))
		}
		return &draft{code: "T0304", object: at, detail: say("port %d of %s is not gRPC for Istio, so Envoy speaks HTTP/1.1 to it", port, host), evidence: evidence,
			fix: Fix{text: say("Name port %d grpc-otlp, or set appProtocol: grpc.", port), Command: editCommand(at), Diff: diff(at, "name: "+name, "name: grpc-otlp")}}
	}
	if s.tracer.Protocol() == "otlp-http" && port == 4317 {
		return x.mixed(s, host, port, evidence, say("the provider speaks OTLP over HTTP to the gRPC port"))
	}
	if s.tracer.Protocol() == "otlp-http" && h2 {
		return &draft{code: "T0304", object: at, detail: say("port %d of %s is %s for Istio, and OTLP over HTTP is HTTP/1.1", port, host, shape), evidence: evidence,
			fix: Fix{text: say("Name port %d http-otlp, or set appProtocol: http.", port), Command: editCommand(at), Diff: diff(at, "name: "+name, "name: http-otlp")}}
	}
	if s.tracer.Protocol() == "zipkin" && (h2 || shape == "tls") {
		return &draft{code: "T0304", object: at, detail: say("port %d of %s is %s for Istio, and Zipkin's receiver speaks HTTP/1.1", port, host, shape), evidence: evidence,
			fix: Fix{text: say("Name port %d http-zipkin, or set appProtocol: http.", port), Command: editCommand(at), Diff: diff(at, "name: "+name, "name: http-zipkin")}}
	}
	return nil
}

func appProtocol(p *istio.Port) string {
	if p.App != "" {
		return ", appProtocol " + p.App
	}
	return ""
}

func (x *exam) portRef(host string, port int) (istio.Ref, *istio.Port) {
	for _, v := range x.f.Objects.FindHost(host) {
		if p := v.Port(port); p != nil {
			return v.Ref.At("spec.ports", p.Line), p
		}
	}
	return istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0], Path: "spec.ports"}, nil
}

// mixed: OTLP's two forms.
func (x *exam) mixed(s *subject, host string, port int, evidence []Text, what Text) *draft {
	at := istio.Ref{Kind: "MeshConfig"}
	if s.provider != nil && x.mesh != nil {
		at = x.providerRef(s.provider, "port")
	}
	fix := Fix{text: say("Use port 4317 without http, or port 4318 with http (path /v1/traces)."), Command: editCommand(at)}
	switch s.tracer.Protocol() {
	case "zipkin":
		fix.text = say("Send Zipkin's spans to the port of the Zipkin receiver, 9411, or use an OpenTelemetry provider.")
		fix.Diff = diff(at, fmt.Sprint(port), "9411")
	case "otlp-http":
		fix.text = say("Use port 4318 for OTLP over HTTP, or drop http to speak gRPC on 4317.")
		fix.Diff = diff(at, fmt.Sprintf("port: %d", port), "port: 4318")
	default:
		fix.Diff = diff(at, fmt.Sprintf("port: %d", port), "port: 4317")
	}
	return &draft{code: "T0305", object: at, detail: say("%s: %s:%d", what, host, port), evidence: evidence, fix: fix}
}

// clusterWritten judges the collector's Service where no proxy was seen.
func (x *exam) clusterWritten(s *subject) bool {
	host, port := x.destination(s)
	services := x.f.Objects.FindHost(host)
	if len(services) == 0 && s.source == "envoyfilter" && x.similarCluster(host) != "" {
		_, p, _, _, _ := envoy.SplitCluster(s.tracer.Cluster)
		x.red(s, "cluster", x.unknownCluster(s, host, p, []Text{say("no Service or ServiceEntry has the host %s", host)}))
		return false
	}
	if len(services) == 0 {
		s.unknown("cluster", "no Service of %s was read", firstOf(host, s.tracer.Cluster))
		return true
	}
	if s.source != "bootstrap" {
		if d := x.hidden(s, services, host); d != nil && !s.gateway && !s.assumedAnywhere() {
			x.red(s, "cluster", d)
			return false
		}
	}
	if !slices.ContainsFunc(services, func(v *istio.Service) bool { return v.Port(port) != nil }) {
		x.red(s, "cluster", x.portMissing(s, host, port, services, nil))
		return false
	}
	if s.source != "bootstrap" { // the legacy tracer's cluster is plain HTTP/1.1 whatever the port is called
		_, p := x.portRef(host, port)
		if d := x.protocolDraft(s, host, port, p.Protocol(services[0].Entry), nil); d != nil {
			x.red(s, "cluster", d)
			return false
		}
	}
	s.green("cluster", "as written: %s has port %d", host, port)
	return true
}

func (s *subject) assumedAnywhere() bool { return s.assumed && s.namespace == "(any)" }

// destination is where the tracer sends to, as far as its cluster's name or the configuration tells.
func (x *exam) destination(s *subject) (host string, port int) {
	if s.tracer == nil {
		return "", 0
	}
	if _, p, _, h, ok := envoy.SplitCluster(s.tracer.Cluster); ok {
		port, _ = strconv.Atoi(p)
		return h, port
	}
	if s.proxy != nil {
		if c := s.proxy.Cluster(s.tracer.Cluster); c != nil && c.Address != "" {
			return x.fullHost(c.Address), c.Port
		}
	}
	if s.policy.Legacy != nil {
		h, p := hostPort(s.policy.Legacy.Address)
		return x.fullHost(h), p
	}
	return "", 0
}
