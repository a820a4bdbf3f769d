package doctor

import (
	"slices"

	"github.com/spanloom/spanloom/mesh/istio"
)

// directions are the policies that a workload's spans come from: a gateway is a client only, requests only come to a
// waypoint.
func (s *subject) directions() []istio.Direction {
	switch {
	case s.waypoint || s.via != nil:
		return []istio.Direction{s.policy.Server}
	case s.gateway:
		return []istio.Direction{s.policy.Client}
	}
	return []istio.Direction{s.policy.Client, s.policy.Server}
}

// findWaypoint tells of a workload whether it is in ambient mode, and which waypoint its requests pass.
func (x *exam) findWaypoint(s *subject) {
	s.ambient = x.f.Objects.Ambient(s.written) && !slices.ContainsFunc(s.pods, func(p *istio.Workload) bool { return p.HasProxy })
	if !s.ambient {
		return
	}
	for _, u := range x.f.Objects.Waypoints(s.written) {
		if s.use == nil || s.use.Gateway == nil {
			s.use = &u
		}
	}
	if s.use != nil && s.use.Gateway != nil {
		p := s.use.Proxy()
		s.via = &p
	}
}

// ambientStations: the workload has no sidecar and is to have none. It owes no spans; a waypoint makes those of its
// requests, and the policy that counts is the waypoint's. What lies behind that is the waypoint's own chain.
func (x *exam) ambientStations(s *subject) bool {
	s.outside = true
	if s.use == nil {
		s.unknown("injected", "in ambient mode without a waypoint: ztunnel carries its connections and makes no spans")
		s.rest(say("nothing makes spans here"))
		if s.policy.Telemetry && s.policy.Server.Decision == istio.Provided {
			x.add(x.withoutWaypoint(s), s.name)
		}
		return false
	}
	name := s.use.Namespace + "/" + s.use.Name
	if s.via == nil {
		s.unknown("injected", "in ambient mode: ztunnel makes no spans, waypoint %s would (%s names it), and no such Gateway is among what was read", name, s.use.By)
		s.rest(say("waypoint %s was not read", name))
		return false
	}
	s.green("injected", "in ambient mode: ztunnel makes no spans, waypoint %s makes them (%s names it)", name, s.use.By)
	if x.policyWritten(s) {
		s.rest(say("waypoint %s sends the spans, not this workload", name))
	}
	return false
}

// rest says of the stations to come, without what is made of traces, why they were not looked at.
func (s *subject) rest(why Text) {
	for _, name := range StationNames {
		if name != "joined" && !slices.ContainsFunc(s.chain, func(st Station) bool { return st.Name == name }) {
			s.unknown(name, "%s", why)
		}
	}
}

// withoutWaypoint is one finding for all ambient workloads of a namespace.
func (x *exam) withoutWaypoint(s *subject) *draft {
	at := istio.Ref{Kind: "Namespace", Name: s.namespace}
	if i := slices.IndexFunc(x.f.Objects.Namespaces, func(n istio.Namespace) bool { return n.Name == s.namespace }); i >= 0 {
		at = x.f.Objects.Namespaces[i].Ref
	}
	return &draft{code: "T0205", object: at, soft: true, detail: say("workloads of %s are in ambient mode, and no waypoint takes their requests", s.namespace),
		evidence: []Text{say("%s: no sidecar, ztunnel; no istio.io/use-waypoint of its Services or namespace leads to a waypoint", s.name)},
		fix: Fix{text: say("Add a waypoint to the namespace %s if its HTTP requests are to be traced. Do not inject sidecars beside ambient mode.", s.namespace),
			Command: "istioctl waypoint apply -n " + s.namespace + " --enroll-namespace"}}
}
