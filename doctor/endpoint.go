package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

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
	evidence := []Text{say("%s: cluster %s has no host lines in /clusters", s.name, s.tracer.Cluster)}
	if n, ok := s.proxy.ClusterStat(s.tracer.Cluster, "upstream_cx_none_healthy"); ok && n > 0 {
		evidence = append(evidence, say("%s: upstream_cx_none_healthy %d", s.name, n))
	}
	if c != nil && strings.HasSuffix(c.Type, "_DNS") || s.source == "bootstrap" {
		x.red(s, "endpoint", x.unresolvable(s, c, evidence))
		return false
	}
	if c != nil && c.Type == "ORIGINAL_DST" {
		x.red(s, "endpoint", x.headless(s, evidence))
		return false
	}
	x.red(s, "endpoint", x.noEndpoints(s, evidence))
	return false
}

// headless: for a sidecar the cluster of a headless Service sends to the address that a caller asked for, and spans have
// no caller. Gateways use the endpoints.
func (x *exam) headless(s *subject, evidence []Text) *draft {
	d := x.noEndpoints(s, evidence)
	host, _ := x.destination(s)
	d.detail = say("%s is headless: sidecars have no endpoints for it", host)
	d.fix = Fix{text: say("Send to a Service with a cluster IP in front of the same pods."), Command: fmt.Sprintf("kubectl get service -n %s %s -o yaml", d.object.Namespace, d.object.Name), Diff: diff(d.object.At("spec.clusterIP", 0), "clusterIP: None", "")}
	return d
}

func (x *exam) unresolvable(s *subject, c *envoy.Cluster, evidence []Text) *draft {
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
	fix := Fix{text: say("Correct the address %s: a Service is NAME.NAMESPACE:PORT.", address), Command: editCommand(at)}
	host, port := hostPort(address)
	if to := x.similarHost(host); to != "" {
		fix.text = say("Write %s:%d, which exists.", to, port)
		fix.Diff = diff(at, "address: "+address, fmt.Sprintf("address: %s:%d", to, port))
	}
	return &draft{code: "T0307", object: at, detail: say("%s does not resolve", address), evidence: evidence, fix: fix}
}

func (x *exam) noEndpoints(s *subject, evidence []Text) *draft {
	host, _ := x.destination(s)
	at := istio.Ref{Kind: "Service", Namespace: namespaceOf(host), Name: strings.Split(host, ".")[0]}
	fix := Fix{text: say("Correct the Service's selector, or bring the collector's pods up and ready.")}
	for _, v := range x.f.Objects.FindHost(host) {
		at = v.Ref.At("spec.selector", 0)
		if len(v.Selector) > 0 {
			evidence = append(evidence, say("%s selects %s", place(v.Ref), labelText(v.Selector)))
			if l := x.similarLabels(v); l != "" {
				fix.Diff = diff(at, labelText(v.Selector), l)
			}
		}
	}
	fix.Command = fmt.Sprintf("kubectl get endpointslices -n %s -l kubernetes.io/service-name=%s", at.Namespace, at.Name)
	return &draft{code: "T0306", object: at, detail: say("%s has no endpoints", host), evidence: evidence, fix: fix}
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

// noSuchService: the legacy tracer's address names a Service of this cluster, and there is none. Envoy asks DNS, so that a host
// elsewhere is none of the doctor's business.
func (x *exam) noSuchService(host string) bool {
	parts := strings.Split(host, ".")
	if len(parts) < 2 || len(parts) > 2 && parts[2] != "svc" {
		return false
	}
	known := slices.ContainsFunc(x.f.Objects.Namespaces, func(n istio.Namespace) bool { return n.Name == parts[1] }) ||
		slices.ContainsFunc(x.f.Objects.Services, func(v istio.Service) bool { return v.Namespace == parts[1] })
	return known && x.hostMissing(istio.FullHost(parts[0], parts[1]))
}

func (x *exam) endpointWritten(s *subject) bool {
	host, _ := x.destination(s)
	if s.source == "bootstrap" && x.noSuchService(host) {
		x.red(s, "endpoint", x.unresolvable(s, nil, []Text{say("%d Services were read, none is %s", len(x.f.Objects.Services), host)}))
		return false
	}
	for _, v := range x.f.Objects.FindHost(host) {
		if v.Headless && s.source != "bootstrap" && !s.gateway {
			d := x.headless(s, []Text{quote(place(v.Ref) + ": clusterIP: None")})
			d.severity, d.soft = Warning, true
			x.red(s, "endpoint", d)
			return true
		}
		ready, known := 0, false
		for _, e := range x.f.Objects.Endpoints {
			if e.Namespace == v.Namespace && e.Service == v.Name {
				ready, known = ready+e.Ready, true
			}
		}
		switch {
		case known && ready == 0:
			x.red(s, "endpoint", x.noEndpoints(s, []Text{say("the EndpointSlices of %s have no ready address", v.Ref)}))
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
				x.red(s, "endpoint", x.noEndpoints(s, []Text{say("%d workloads of %s were read, none has the labels of the Service's selector", here, v.Namespace)}))
				return false
			}
		}
	}
	s.unknown("endpoint", "neither Envoy's endpoints nor EndpointSlices were read")
	return true
}
