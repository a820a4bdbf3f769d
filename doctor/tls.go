package doctor

import (
	"slices"
	"strings"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

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
	client := quote("plain")
	evidence := []Text{}
	if s.proxy != nil && s.proxy.Has.Clusters {
		if c := s.proxy.Cluster(s.tracer.Cluster); c != nil {
			client = x.clientTLS(s, c)
			evidence = append(evidence, say("%s: cluster %s is %s", s.name, c.Name, client))
		}
	} else if s.source == "bootstrap" {
		client = plainText
	} else {
		client = map[string]Text{"DISABLE": plainText, "SIMPLE": onlyTLS, "MUTUAL": onlyTLS, "ISTIO_MUTUAL": mutualTLS}[mode]
	}
	if f.known {
		evidence = append(evidence, s.flowEvidence(f))
	}
	if rule != nil {
		evidence = append(evidence, say("%s sets TLS mode %s", place(rule.Ref), mode))
	}
	if from != nil {
		evidence = append(evidence, say("%s sets %s", place(from.Ref), server))
	}
	failing := f.fails() || !f.known
	seen := s.proxy != nil && s.proxy.Has.Clusters
	switch {
	case client.english == plainText.english && server == "STRICT" && failing && (f.fails() || rule != nil || s.source == "bootstrap" && x.inMesh(services)):
		x.red(s, "tls", x.tlsDraft(rule, from, say("proxies speak plain text to %s, which takes mutual TLS only", host), evidence, mode))
		return false
	case client.english == plainText.english && s.source != "bootstrap" && (mode == "DISABLE" || s.proxy.AutoTLS) && f.total > 0 && f.failed == f.total && f.refused == 0:
		x.red(s, "tls", x.tlsDraft(rule, from, say("proxies speak plain text to %s, and every request is cut", host), evidence, mode))
		return false
	case (client.english == onlyTLS.english || client.english == mutualTLS.english) && f.fails() && !x.takesTLS(s, services) || (client.english == mutualTLS.english && !seen && rule != nil && x.plainCollector(services, server)):
		x.red(s, "tls", x.tlsDraft(rule, from, say("proxies speak %s to %s, which speaks plain text", client, host), evidence, mode))
		return false
	case client.english == whereTaken.english && f.refused > 0 && f.total == 0 && !x.dropped[s.tracer.Cluster] && f.failed <= f.connects && !x.collectorSeen(s):
		x.red(s, "tls", x.falseLabel(s, services, host, evidence))
		return false
	case !f.known && !seen && client.empty():
		s.unknown("tls", "Envoy's cluster was not read")
	default:
		if client.empty() {
			client = say("by the endpoint's metadata")
		}
		s.green("tls", "%s", client)
	}
	return true
}

// What a client speaks.
var (
	plainText  = say("plain text")
	onlyTLS    = quote("TLS")
	mutualTLS  = say("mutual TLS")
	whereTaken = say("mutual TLS where the endpoint takes it")
)

// clientTLS is what the cluster speaks to its endpoints.
func (x *exam) clientTLS(s *subject, c *envoy.Cluster) Text {
	switch c.TLS {
	case "always":
		if strings.HasPrefix(c.SNI, "outbound_.") {
			return mutualTLS
		}
		return onlyTLS
	case "matching":
		_, _, _, host, _ := envoy.SplitCluster(c.Name)
		hosts := s.proxy.HostsOf(c.Name)
		if slices.ContainsFunc(hosts, func(h envoy.Host) bool { return h.TLSMode == "istio" }) || !s.proxy.Has.Endpoints && x.inMesh(x.f.Objects.FindHost(host)) {
			return whereTaken
		}
		return say("mutual TLS for endpoints of the mesh, plain text for others")
	}
	return plainText
}

// collectorSeen: the collector's own proxy was read, so it does take mutual TLS.
func (x *exam) collectorSeen(s *subject) bool {
	return slices.ContainsFunc(s.proxy.HostsOf(s.tracer.Cluster), func(h envoy.Host) bool {
		addr, _ := hostPort(h.Address)
		return slices.ContainsFunc(x.f.Proxies, func(p envoy.Proxy) bool { return strings.Contains(p.Node, "~"+addr+"~") })
	})
}

// falseLabel: the endpoint is labelled as one of the mesh, so proxies speak mutual TLS to it, and it has no sidecar.
func (x *exam) falseLabel(s *subject, services []*istio.Service, host string, evidence []Text) *draft {
	at := istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0]}
	if len(services) > 0 {
		at = services[0].Ref
	}
	return &draft{code: "T0308", object: at, detail: say("the endpoint of %s says that it takes mutual TLS, and the handshake fails: there is no sidecar", host), evidence: append(evidence, say("%s: the endpoint's metadata has tlsMode istio", s.name)),
		fix: Fix{text: say("Remove the label security.istio.io/tlsMode: istio from the collector's pods or endpoints, or inject a sidecar there, or switch TLS off for %s with a DestinationRule.", host), Command: editCommand(at),
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

func (x *exam) tlsDraft(rule *istio.DestinationRule, from *istio.PeerAuthentication, detail Text, evidence []Text, mode string) *draft {
	d := &draft{code: "T0308", detail: detail, evidence: evidence}
	switch {
	case rule != nil:
		d.object = rule.Ref.At("spec.trafficPolicy.tls.mode", rule.ModeLine)
		d.fix = Fix{text: say("Remove the TLS mode %s from %s: mutual TLS is then used where the endpoint takes it.", mode, rule.Ref), Command: editCommand(rule.Ref), Diff: diff(d.object, "tls: {mode: "+mode+"}", "")}
		if from != nil && mode == "DISABLE" {
			d.fix.text = say("%s Or make %s PERMISSIVE.", d.fix.text, from.Ref)
		}
	case from != nil:
		d.object = from.Ref.At("spec.mtls.mode", 0)
		d.fix = Fix{text: say("Make the collector PERMISSIVE: a PeerAuthentication for it beside %s, or use an extension provider instead of the bootstrap's tracer.", from.Ref), Command: editCommand(from.Ref), Diff: diff(d.object, "mode: STRICT", "mode: PERMISSIVE")}
	default:
		d.object = istio.Ref{Kind: "DestinationRule"}
		d.fix = Fix{text: say("Look for a DestinationRule with a TLS mode for the collector's host and remove it."), Command: "kubectl get destinationrules -A"}
	}
	return d
}
