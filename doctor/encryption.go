package doctor

import (
	"slices"
	"strconv"

	"github.com/spanloom/spanloom/mesh/istio"
)

// Secrecy is whether calls between two workloads are encrypted by the mesh.
type Secrecy string

// The answers. Where policies leave it open, or a workload was not read, it is unknown.
const (
	Encrypted      Secrecy = "on"
	Plain          Secrecy = "off"
	UnknownSecrecy Secrecy = "unknown"
)

// Encryption tells of calls whether policies make them mutual TLS. It is made of facts once and is not changed afterwards: safe
// for concurrent use.
type Encryption struct {
	objects *istio.Objects
	root    string
	auto    bool                        // enableAutoMtls
	inside  map[string][]*istio.Service // that select pods, by namespace
	parties map[party][]*istio.Workload
}

// party is a workload as spans name it.
type party struct{ namespace, name string }

// NewEncryption reads facts; nil facts, or nil, know nothing. Cost: a pass over workloads and Services.
func NewEncryption(f *Facts) *Encryption {
	if f == nil {
		return nil
	}
	x := &exam{f: f}
	x.chooseMesh()
	e := &Encryption{objects: &f.Objects, root: x.root(), auto: x.mesh == nil || x.mesh.AutoMTLS == nil || *x.mesh.AutoMTLS, parties: make(map[party][]*istio.Workload), inside: make(map[string][]*istio.Service)}
	for i := range f.Objects.Services {
		if s := &f.Objects.Services[i]; !s.Entry && len(s.Selector) > 0 && len(s.Hosts) > 0 {
			e.inside[s.Namespace] = append(e.inside[s.Namespace], s)
		}
	}
	for i := range f.Objects.Workloads {
		w := &f.Objects.Workloads[i]
		names := []string{w.Labels["service.istio.io/canonical-name"], w.Labels["app.kubernetes.io/name"], w.Labels["app"], w.Of, w.Name}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			if name != "" {
				e.parties[party{w.Namespace, name}] = append(e.parties[party{w.Namespace, name}], w)
			}
		}
	}
	return e
}

// Between tells of calls from one workload to another, each by namespace and the name that its spans have, and names the object
// or the fact that decides. Rules: https://istio.io/latest/docs/concepts/security/#mutual-tls-authentication. Cost: a look at
// the Services of the callee's namespace for each of its pods, and at each DestinationRule and PeerAuthentication for every port.
func (e *Encryption) Between(fromNamespace, from, toNamespace, to string) (Secrecy, Text) {
	if e == nil {
		return UnknownSecrecy, Text{}
	}
	callers, callees := e.parties[party{fromNamespace, from}], e.parties[party{toNamespace, to}]
	if len(callers) == 0 || len(callees) == 0 {
		return UnknownSecrecy, Text{}
	}
	for _, side := range [][]*istio.Workload{callees, callers} {
		with, without := sides(side)
		switch {
		case len(with) == 0:
			return Plain, say("%s/%s has no sidecar", side[0].Namespace, side[0].Name)
		case len(without) > 0:
			return UnknownSecrecy, say("%s/%s has a sidecar in some pods only", side[0].Namespace, without[0].Name)
		}
	}
	var answer Secrecy
	var why Text
	for _, callee := range callees {
		for _, target := range e.ports(callee) {
			secrecy, source := e.toPort(callers[0], callee, target)
			switch {
			case answer == "":
				answer, why = secrecy, source
			case answer != secrecy:
				return UnknownSecrecy, say("it differs by port: %s; %s", why, source)
			}
		}
	}
	return answer, why
}

// sides are the workloads with and without a proxy. A Deployment's template has none where one is injected: where there are
// pods, these count.
func sides(all []*istio.Workload) (with, without []*istio.Workload) {
	pods := slices.ContainsFunc(all, func(w *istio.Workload) bool { return w.Pod })
	for _, w := range all {
		switch {
		case pods && !w.Pod:
		case w.HasProxy || w.Gateway:
			with = append(with, w)
		default:
			without = append(without, w)
		}
	}
	return with, without
}

// port is one by which a workload is called: of a Service in front of it, or any.
type port struct {
	host          string
	number, inner int
}

func (e *Encryption) ports(w *istio.Workload) []port {
	var list []port
	for _, s := range e.inside[w.Namespace] {
		if !istio.Matches(s.Selector, w.Labels) {
			continue
		}
		for _, p := range s.Ports {
			inner := p.Number
			if n, err := strconv.Atoi(p.Target); err == nil { // one by name stays the Service's
				inner = n
			}
			list = append(list, port{s.Hosts[0], p.Number, inner})
		}
	}
	if len(list) == 0 {
		list = []port{{host: w.Name + "." + w.Namespace + ".svc.cluster.local"}}
	}
	return list
}

func (e *Encryption) toPort(caller, callee *istio.Workload, p port) (Secrecy, Text) {
	mode, rule := e.objects.ClientTLS(e.root, istio.Proxy{Namespace: caller.Namespace, Labels: caller.Labels, Gateway: caller.Gateway}, callee.Namespace, p.host, p.number)
	server, from := e.objects.ServerTLS(e.root, callee.Namespace, callee.Labels, p.inner)
	ruled := func(s Secrecy) (Secrecy, Text) { return s, say("%s sets TLS mode %s", place(rule.Ref), mode) }
	switch {
	case mode == "DISABLE":
		return ruled(Plain)
	case mode != "":
		return ruled(Encrypted)
	case !e.auto:
		return Plain, say("enableAutoMtls is false, and no DestinationRule sets TLS")
	case server == "DISABLE":
		return Plain, say("%s sets DISABLE", place(from.Ref))
	case from != nil:
		return Encrypted, say("automatic mutual TLS; %s sets %s", place(from.Ref), server)
	}
	return Encrypted, say("automatic mutual TLS between sidecars")
}
