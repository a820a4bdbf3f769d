package istio

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/mesh/schema"
)

// The minor of Istio since which a rule holds. How 1.31 has them was run (test/istio). When they came is read: from
// Istio's release notes, from the fields each minor published (mesh/schema), and for the first from the source, in which
// 1.17 stops at the first Telemetry that selects a proxy and the loop that came with targetRef does not.
const (
	sinceMerge      = "1.20" // all Telemetries that select a proxy count, and targetRef can name a Gateway
	sinceTargetRefs = "1.22" // several targets, as a list
	sinceServices   = "1.24" // a waypoint takes Telemetries of Services and ServiceEntries
	sinceClass      = "1.25" // a GatewayClass in the root namespace is a target of all its waypoints
	sinceNamespace  = "1.31" // a waypoint takes Telemetries of the namespace of each Service it serves
	sinceIstioTags  = "1.25" // enableIstioTags
	sinceFormatter  = "1.29" // tags made by a format
	sinceSilence    = "1.30" // disableContextPropagation
)

// lastTraced is the last minor in which istiod makes a tracer of a provider of the type. Afterwards such a provider is as
// good as none; lightstep stops istiod itself (docs/findings/T0103.md).
var lastTraced = map[string]string{"opencensus": "1.22", "stackdriver": "1.22", "lightstep": "1.26"}

// TracesIn tells whether istiod of that version makes a tracer of the provider. Empty is the newest version known.
func (p *Provider) TracesIn(version string) bool {
	last := lastTraced[p.Type]
	return p.Traces() && (last == "" || version != "" && !schema.Less(last, version))
}

// ratelessIsNothing tells of versions in which a Telemetry or default provider without a rate of its own meant 0 %,
// whatever defaultConfig said: those before 1.19.1 (its release notes), and before the next patches of 1.17 and 1.18 that
// followed the repair of August 2023 (istio/istio#46711, #46736, #46737). Without a patch number a version counts as repaired.
func ratelessIsNothing(version string) bool {
	fixed, ok := map[string]int{"1.17": 6, "1.18": 3, "1.19": 1}[schema.Minor(version)]
	rest, has := strings.CutPrefix(version, schema.Minor(version)+".")
	digits := strings.IndexFunc(rest+"-", func(r rune) bool { return r < '0' || r > '9' })
	patch, err := strconv.Atoi(rest[:digits])
	return ok && has && err == nil && patch < fixed
}

// from tells whether a version is that minor or a later one. An empty or unreadable one is the newest known.
func from(version, minor string) bool { return !schema.Less(version, minor) }

func (o *Objects) from(minor string) bool { return from(o.Istio, minor) }

const (
	gatewayNameLabel = "gateway.networking.k8s.io/gateway-name"
	gatewayGroup     = "gateway.networking.k8s.io"
	waypointClass    = "istio-waypoint"
)

// Applicable are the Telemetries that apply to a proxy, in the order in which they are merged (what comes later wins,
// field by field), and those which istiod passes over because another one of the same place is older: of several
// without selector in one namespace always, of several that select a proxy before 1.20.
func (o *Objects) Applicable(root string, p Proxy) (used, ignored []*Telemetry) {
	sorted := make([]*Telemetry, 0, len(o.Telemetries))
	for i := range o.Telemetries {
		sorted = append(sorted, &o.Telemetries[i])
	}
	sort.SliceStable(sorted, func(i, j int) bool { return older(sorted[i], sorted[j]) })
	wide := func(namespace string) {
		taken := false
		for _, t := range sorted {
			if t.Namespace != namespace || !o.wide(t) {
				continue
			}
			switch {
			case !taken:
				used, taken = append(used, t), true
			case used[len(used)-1].Name != t.Name: // one name in two files is one object in two environments
				ignored = append(ignored, t)
			}
		}
	}
	wide(root)
	if p.Namespace != root {
		wide(p.Namespace)
	}
	place := p.Namespace
	if p.Waypoint && p.Service != nil && p.Service.Namespace != place && o.from(sinceNamespace) {
		// What selects the waypoint itself in its own namespace does not count then.
		place = p.Service.Namespace
		wide(place)
	}
	var merged []*Telemetry
	for _, t := range sorted {
		if t.Namespace != place || o.wide(t) || !o.attaches(t, root, p) {
			continue
		}
		switch {
		case slices.ContainsFunc(merged, func(m *Telemetry) bool { return m.Name == t.Name }):
		case len(merged) > 0 && !o.from(sinceMerge):
			ignored = append(ignored, t)
		default:
			merged = append(merged, t)
		}
	}
	return append(used, merged...), ignored
}

// older orders as istiod does: by creation, then by name and namespace. An object from a file has no time; the order of
// such objects is a guess.
func older(a, b *Telemetry) bool {
	if a.Created != b.Created && a.Created != "" && b.Created != "" {
		return a.Created < b.Created
	}
	if a.Name != b.Name {
		return a.Name < b.Name
	}
	return a.Namespace < b.Namespace
}

// wide tells whether a Telemetry is for a whole namespace.
func (o *Objects) wide(t *Telemetry) bool { return len(t.Selector) == 0 && len(o.targets(t)) == 0 }

// targets are those that istiod of the mesh's version knows of: an API server drops a field that its schema lacks.
func (o *Objects) targets(t *Telemetry) []Target {
	if t.TargetList && !o.from(sinceTargetRefs) || !o.from(sinceMerge) {
		return nil
	}
	return t.Targets
}

// attaches tells whether a Telemetry with a selector or targets, of the place that counts, is for a proxy. A proxy of a
// Gateway API gateway has a label with the gateway's name; only those look at targets, and waypoints at nothing else.
func (o *Objects) attaches(t *Telemetry, root string, p Proxy) bool {
	targets := o.targets(t)
	gateway, isGateway := p.Labels[gatewayNameLabel]
	if len(targets) == 0 {
		return !(isGateway && p.Waypoint) && Matches(t.Selector, p.Labels)
	}
	if !isGateway {
		return false
	}
	return slices.ContainsFunc(targets, func(x Target) bool {
		service := p.Waypoint && p.Service != nil && x.Name == p.Service.Name && t.Namespace == p.Service.Namespace && o.from(sinceServices)
		switch {
		case x.is("", "Service"):
			return service && !p.Service.Entry
		case x.is("networking.istio.io", "ServiceEntry"):
			return service && p.Service.Entry
		case x.is(gatewayGroup, "GatewayClass"):
			return p.Waypoint && t.Namespace == root && x.Name == waypointClass && o.from(sinceClass)
		case x.is(gatewayGroup, "Gateway"):
			return x.Name == gateway && t.Namespace == p.Namespace && (x.Namespace == "" || x.Namespace == p.Namespace)
		}
		return false
	})
}

func (x Target) is(group, kind string) bool {
	return x.Kind == kind && (x.Group == group || x.Group == "core" && group == "")
}

// Matches tells whether labels have all of a selector's; the empty selector matches.
func Matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}
