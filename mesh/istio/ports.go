package istio

import (
	"slices"
	"strings"
)

// Protocol is how istiod makes Envoy talk to a port: grpc, http2, http, tcp, tls, udp, or auto, where Envoy must guess.
// For spans, which no request of an application carries, auto is HTTP/1.1.
func (p Port) Protocol(entry bool) string {
	if entry {
		return declared(p.Declared)
	}
	if p.App != "" {
		switch a := strings.ToLower(p.App); a {
		case "kubernetes.io/h2c":
			return "http2"
		case "kubernetes.io/ws", "kubernetes.io/wss":
			return "http"
		default:
			return declared(strings.ToUpper(a))
		}
	}
	if p.Declared == "UDP" {
		return "udp"
	}
	name, _, _ := strings.Cut(strings.ToLower(p.Name), "-")
	if strings.HasPrefix(strings.ToLower(p.Name), "grpc-web") {
		return "grpc-web"
	}
	if got := declared(strings.ToUpper(name)); got != "auto" {
		return got
	}
	// istiod does not guess on ports of protocols where the server speaks first.
	if slices.Contains([]int{25, 53, 3306, 27017}, p.Number) {
		return "tcp"
	}
	return "auto"
}

func declared(text string) string {
	switch strings.ToUpper(text) {
	case "GRPC":
		return "grpc"
	case "GRPC-WEB":
		return "grpc-web"
	case "HTTP2":
		return "http2"
	case "HTTP", "HTTP_PROXY":
		return "http"
	case "HTTPS", "TLS":
		return "tls"
	case "TCP", "MONGO", "MYSQL", "REDIS":
		return "tcp"
	case "UDP":
		return "udp"
	}
	return "auto"
}

// HTTP2 tells whether Envoy speaks HTTP/2 to the port.
func HTTP2(protocol string) bool {
	return protocol == "grpc" || protocol == "http2" || protocol == "grpc-web"
}

// Port finds a port of a service; nil if it has none of that number.
func (s *Service) Port(number int) *Port {
	for i := range s.Ports {
		if s.Ports[i].Number == number {
			return &s.Ports[i]
		}
	}
	return nil
}

// VisibleTo tells whether exportTo lets a namespace see the service. fallback is the mesh's defaultServiceExportTo.
func (s *Service) VisibleTo(namespace string, fallback []string) bool {
	to := s.ExportTo
	if len(to) == 0 {
		to = fallback
	}
	if len(to) == 0 {
		return true
	}
	return slices.ContainsFunc(to, func(e string) bool {
		return e == "*" || e == namespace || e == "." && namespace == s.Namespace
	})
}

// SidecarOf finds the Sidecar object that applies to a proxy: of its namespace with a selector first, then without, then
// the root namespace's. Gateways have none.
func (o *Objects) SidecarOf(root string, p Proxy) *Sidecar {
	if p.Gateway {
		return nil
	}
	var wide, mesh *Sidecar
	for i := range o.Sidecars {
		s := &o.Sidecars[i]
		switch {
		case s.Namespace == p.Namespace && len(s.Selector) > 0 && Matches(s.Selector, p.Labels):
			return s
		case s.Namespace == p.Namespace && len(s.Selector) == 0 && wide == nil:
			wide = s
		case s.Namespace == root && len(s.Selector) == 0 && mesh == nil:
			mesh = s
		}
	}
	if wide != nil {
		return wide
	}
	return mesh
}

// Sees tells whether the egress hosts of a Sidecar include a service of a namespace.
func (s *Sidecar) Sees(namespace, host string) bool {
	if s == nil || !s.Limits {
		return true
	}
	return slices.ContainsFunc(s.Egress, func(e string) bool {
		ns, h, ok := strings.Cut(e, "/")
		if !ok {
			return false
		}
		inNamespace := ns == "*" || ns == namespace || ns == "." && namespace == s.Namespace
		inHost := h == "*" || h == host || strings.HasPrefix(h, "*.") && strings.HasSuffix(host, h[1:])
		return inNamespace && inHost
	})
}

// ClientTLS is the TLS mode that DestinationRules give a host and port for callers of a namespace, and the rule. Empty
// means that none says anything: mutual TLS is used where the endpoint takes it.
func (o *Objects) ClientTLS(root string, caller Proxy, serviceNamespace, host string, port int) (mode string, rule *DestinationRule) {
	best := -1
	for i := range o.DestinationRules {
		d := &o.DestinationRules[i]
		full := FullHost(d.Host, d.Namespace)
		score := 0
		switch {
		case full == host:
			score = 1000
		case strings.HasPrefix(full, "*") && strings.HasSuffix(host, full[1:]):
			score = len(full)
		default:
			continue
		}
		if len(d.Selector) > 0 && !(d.Namespace == caller.Namespace && Matches(d.Selector, caller.Labels)) {
			continue
		}
		// The client's namespace wins over the service's over the root's.
		switch d.Namespace {
		case caller.Namespace:
			score += 30_000
		case serviceNamespace:
			score += 20_000
		case root:
			score += 10_000
		default:
			continue
		}
		m := d.Mode
		if p, ok := d.Ports[port]; ok {
			m = p
		}
		if m != "" && score > best {
			best, mode, rule = score, m, d
		}
	}
	return mode, rule
}

// ServerTLS is the PeerAuthentication mode of a workload and port: STRICT, PERMISSIVE, DISABLE; PERMISSIVE if none says.
func (o *Objects) ServerTLS(root, namespace string, labels map[string]string, port int) (mode string, from *PeerAuthentication) {
	mode = "PERMISSIVE"
	rank := 0
	for i := range o.PeerAuthentications {
		p := &o.PeerAuthentications[i]
		r := 0
		switch {
		case p.Namespace == namespace && len(p.Selector) > 0:
			if labels == nil || !Matches(p.Selector, labels) {
				continue
			}
			r = 3
		case p.Namespace == namespace && len(p.Selector) == 0:
			r = 2
		case p.Namespace == root && len(p.Selector) == 0:
			r = 1
		default:
			continue
		}
		m := p.Mode
		if pm, ok := p.Ports[port]; ok && r == 3 {
			m = pm
		}
		if m == "" || m == "UNSET" || r <= rank {
			continue
		}
		rank, mode, from = r, m, p
	}
	return mode, from
}
