package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// policy: does anything ask this workload's proxy for spans, and at which rate? It finds the tracer on the way.
func (x *exam) policy(s *subject) bool {
	if !s.seen.any {
		return x.policyWritten(s)
	}
	needed := s.seen.needed()
	var off, bare, provided int
	for _, m := range needed {
		switch {
		case !m.Tracing:
			off++
		case m.Tracer == nil:
			bare++
		default:
			provided++
			s.tracer, s.source, s.sampling = m.Tracer, "provider", max(s.sampling, m.Sampling)
		}
	}
	switch {
	case off == len(needed):
		x.red(s, "policy", x.offCause(s))
		return false
	case provided == 0 && s.proxy.Bootstrap == nil && s.proxy.Has.Bootstrap:
		x.red(s, "policy", x.bareCause(s))
		return false
	case provided == 0 && s.proxy.Bootstrap == nil:
		s.unknown("policy", "the connection managers have no provider, and the bootstrap was not read")
		return false
	case provided == 0:
		s.tracer, s.source = s.proxy.Bootstrap, "bootstrap"
		for _, m := range needed {
			s.sampling = max(s.sampling, m.Sampling)
		}
	}
	x.nameSource(s)
	if d := x.rate(s); d != nil {
		x.red(s, "policy", d)
		return d.soft
	}
	if off > 0 {
		x.red(s, "policy", x.halfCause(s))
		return true
	}
	if d := x.stale(s); d != nil {
		x.red(s, "policy", d)
		return d.soft
	}
	s.green("policy", "%s, %s %%", x.tracerText(s), number(s.sampling))
	return true
}

func (x *exam) tracerText(s *subject) Text {
	to := s.tracer.Cluster
	switch s.source {
	case "bootstrap":
		return say("tracer of the bootstrap: %s to %s", s.tracer.Protocol(), to)
	case "envoyfilter":
		return say("tracer of an EnvoyFilter: %s to %s", s.tracer.Protocol(), to)
	}
	if s.provider != nil {
		return say("provider %s: %s to %s", s.provider.Name, s.tracer.Protocol(), to)
	}
	return say("%s to %s", s.tracer.Protocol(), to)
}

// nameSource finds out who put the tracer there: a provider of the mesh configuration, or an EnvoyFilter.
func (x *exam) nameSource(s *subject) {
	if s.source != "provider" {
		return
	}
	for _, d := range []istio.Direction{s.policy.Client, s.policy.Server} {
		if d.Decision == istio.Provided {
			s.provider = d.Provider
			return
		}
	}
	for _, e := range x.f.Objects.EnvoyFilters {
		if slices.ContainsFunc(e.Patches, func(p istio.Patch) bool { return p.Tracer != "" && p.Cluster == s.tracer.Cluster }) {
			s.source = "envoyfilter"
			return
		}
	}
	// The Telemetry was not read; a provider with that cluster tells as much.
	for _, p := range x.mesh.TracingProviders(x.f.Istio) {
		if envoy.ClusterName(istio.HostOf(p.Service), number(float64(p.Port))) == s.tracer.Cluster {
			s.provider = &p
		}
	}
}

// policyWritten is the policy of a workload whose proxy was not seen: what istiod would make of the objects.
func (x *exam) policyWritten(s *subject) bool {
	if x.mesh == nil && len(x.f.Objects.Telemetries) == 0 && len(x.f.Objects.EnvoyFilters) == 0 {
		s.unknown("policy", "neither mesh configuration nor Telemetry nor Envoy's state was read")
		return false
	}
	p := s.policy
	directions := s.directions()
	best := directions[0]
	for _, d := range directions {
		if d.Decision == istio.Provided || d.Decision == istio.Legacy && best.Decision == istio.Off {
			best = d
		}
	}
	if best.Decision != istio.Provided {
		if f := x.effectiveFilter(s); f != nil {
			s.tracer, s.source = &envoy.Tracer{Name: f.Tracer, Cluster: f.Cluster, Path: f.Path}, "envoyfilter"
			s.sampling = best.Sampling
			if f.Sampling != nil {
				s.sampling = *f.Sampling
			}
			s.green("policy", "%s, %s %%", x.tracerText(s), number(s.sampling))
			return true
		}
	}
	if x.mesh == nil {
		s.unknown("policy", "no mesh configuration was read, so what the Telemetry names cannot be looked up")
		return false
	}
	switch {
	case best.Decision == istio.Off:
		x.red(s, "policy", x.offCause(s))
		return false
	case best.Decision == istio.Legacy && (p.Legacy == nil || p.Legacy.Backend == ""):
		x.red(s, "policy", x.bareCause(s))
		return false
	case best.Decision == istio.Legacy:
		s.source, s.sampling = "bootstrap", best.Sampling
		s.tracer = &envoy.Tracer{Name: "envoy.tracers." + p.Legacy.Backend, Cluster: p.Legacy.Backend, Path: "/api/v2/spans"}
		if b := x.override(s); b != nil && b.Endpoint != "" {
			s.tracer.Path = b.Endpoint
		}
	default:
		s.source, s.sampling, s.provider = "provider", best.Sampling, best.Provider
		s.tracer = writtenTracer(best.Provider)
		if best.Reason == istio.ReasonUnknownHost {
			if x.hostMissing(istio.HostOf(best.Provider.Service)) {
				x.red(s, "policy", x.hostUnknown(best.Provider))
				return false
			}
		}
	}
	if d := x.rate(s); d != nil {
		x.red(s, "policy", d)
		return d.soft
	}
	if d := x.stale(s); d != nil {
		x.red(s, "policy", d)
		return d.soft
	}
	for _, d := range directions {
		if d.Decision == istio.Off && best.Decision == istio.Provided {
			x.red(s, "policy", x.halfCause(s))
			return true
		}
	}
	s.green("policy", "as written: %s, %s %%", x.tracerText(s), number(s.sampling))
	return true
}

// override is the bootstrap override that a workload's annotation names.
func (x *exam) override(s *subject) *istio.Bootstrap {
	if s.written == nil {
		return nil
	}
	name := s.written.Annotations["sidecar.istio.io/bootstrapOverride"]
	for i := range x.f.Objects.Bootstraps {
		b := &x.f.Objects.Bootstraps[i]
		if name != "" && b.Name == name && (b.Namespace == s.namespace || b.Namespace == "") {
			return b
		}
	}
	return nil
}

func writtenTracer(p *istio.Provider) *envoy.Tracer {
	t := &envoy.Tracer{Name: "envoy.tracers." + p.Type, Cluster: envoy.ClusterName(istio.HostOf(p.Service), number(float64(p.Port))), HTTP: p.HTTP, Path: p.Path, TraceContext: p.TraceContext}
	if p.Type == "zipkin" && t.Path == "" {
		t.Path = "/api/v2/spans"
	}
	return t
}

// offCause explains why a proxy's connection managers have no tracing block.
func (x *exam) offCause(s *subject) *draft {
	d := s.directions()[0]
	if !s.gateway && d.Decision != istio.Off && s.policy.Server.Decision == istio.Off {
		d = s.policy.Server
	}
	if w := x.refused(s); w != nil {
		return w
	}
	if c := x.conflict(s); c != nil {
		return c
	}
	if host := x.warnedHost(); host != nil && (d.Decision != istio.Off || d.Reason == istio.ReasonUnknownHost) {
		return host
	}
	if s.seen.any && d.Decision == istio.Legacy {
		return x.unreadCause(s)
	}
	switch d.Reason {
	case istio.ReasonDisabled:
		return &draft{code: "T0108", object: d.DisabledRef, detail: say("%s sets disableSpanReporting: true", d.DisabledRef), evidence: x.hcmEvidence(s, say("disableSpanReporting: true in %s", place(d.DisabledRef))), fix: removeField(d.DisabledRef, "disableSpanReporting: true")}
	case istio.ReasonEnableTracing, istio.ReasonNothing:
		if d.Reason == istio.ReasonEnableTracing || s.proxy != nil && s.proxy.Bootstrap != nil {
			if d.DisabledRef.Path == "" {
				d.DisabledRef = x.mesh.Ref.At(prefixed(x.mesh.Path, "enableTracing"), 0)
			}
			return &draft{code: "T0109", object: d.DisabledRef, detail: say("enableTracing is false and no Telemetry selects a provider"), evidence: x.hcmEvidence(s, say("enableTracing: false in %s", place(d.DisabledRef))), fix: Fix{text: say("Set enableTracing: true in the mesh configuration, or select a provider with a Telemetry."), Command: editCommand(d.DisabledRef), Diff: diff(d.DisabledRef, "enableTracing: false", "enableTracing: true")}}
		}
		if d.Decision == istio.Off {
			return x.bareCause(s)
		}
	case istio.ReasonUndefined:
		return x.undefined(s, d)
	case istio.ReasonAmbiguous:
		return x.ambiguous(d.Provider)
	case istio.ReasonUnknownHost:
		return x.hostUnknown(d.Provider)
	case istio.ReasonNoProvider:
		return x.notSelected(s)
	case istio.ReasonMode:
		return x.halfCause(s)
	}
	if d.Provider != nil && d.Provider.Service != "" && x.hostMissing(istio.HostOf(d.Provider.Service)) {
		return x.hostUnknown(d.Provider)
	}
	return &draft{code: "T0410", detail: say("Envoy has no tracing block, and nothing that was read tells why"), evidence: x.hcmEvidence(s, say("the objects that were read ask for tracing or say nothing about it")),
		fix: Fix{text: say("Compare what istiod holds with the objects: istioctl proxy-status shows a proxy that does not get its configuration; add the mesh configuration and all Telemetries to the facts."), Command: "istioctl proxy-status"}}
}

// unreadCause: Envoy has no tracing block, and what was read would give one. Only a Telemetry, a default provider or
// enableTracing can take it away, so one of them was not read.
func (x *exam) unreadCause(s *subject) *draft {
	if slices.ContainsFunc(x.subjects, func(o *subject) bool {
		in, out := o.seen.in, o.seen.out
		return in != nil && out != nil && in.Tracing && !out.Tracing
	}) && s.gateway {
		return x.halfCause(s)
	}
	if x.mesh == nil && s.proxy.Bootstrap != nil {
		return &draft{code: "T0109", object: istio.Ref{Kind: "MeshConfig"}, detail: say("a tracer is in the bootstrap, and the connection managers have no tracing block: enableTracing is false, or a Telemetry failed"), evidence: x.hcmEvidence(s, say("no mesh configuration was read")), fix: Fix{text: say("Set enableTracing: true, or look for a Telemetry whose provider cannot be found.")}}
	}
	return &draft{code: "T0410", detail: say("Envoy has no tracing block: a Telemetry or default provider fails or is switched off, and it was not read"), evidence: x.hcmEvidence(s, say("nothing that was read takes tracing away")), severity: Error,
		fix: Fix{text: say("Add all Telemetries to the facts: one names a provider that cannot be found, or has disableSpanReporting."), Command: "kubectl get telemetries -A -o yaml"}}
}

// hcmEvidence is what the proxy shows, with what the objects say.
func (x *exam) hcmEvidence(s *subject, said Text) []Text {
	out := []Text{said}
	if !s.seen.any {
		return out
	}
	for _, m := range s.seen.needed() {
		switch {
		case !m.Tracing:
			out = append(out, say("%s %s: connection managers have no tracing block", s.name, m.Direction))
		case m.Tracer == nil:
			out = append(out, say("%s %s: a tracing block without provider, random_sampling %s", s.name, m.Direction, number(m.Sampling)))
		default:
			out = append(out, say("%s %s: %s to %s, random_sampling %s", s.name, m.Direction, m.Tracer.Protocol(), m.Tracer.Cluster, number(m.Sampling)))
		}
	}
	if s.proxy.Bootstrap == nil && s.proxy.Has.Bootstrap {
		out = append(out, say("%s: bootstrap.tracing is empty", s.name))
	}
	return out
}

// refused: the mesh configuration has a wrong type, and without that the workload would be traced.
func (x *exam) refused(s *subject) *draft {
	if x.raw == nil {
		for _, w := range x.f.Warnings {
			if strings.Contains(w, "invalid mesh config") {
				return &draft{code: "T0118", object: istio.Ref{Kind: "ConfigMap", Namespace: x.root(), Name: "istio", Path: "data.mesh"}, detail: say("istiod refuses the mesh configuration and runs on its last good state"), evidence: x.hcmEvidence(s, quote("istiod: "+w)), fix: Fix{text: say("Correct the value that istiod's log names."), Command: "kubectl edit configmap -n " + x.root() + " istio"}}
			}
		}
		return nil
	}
	if !x.raw.Invalid {
		return nil
	}
	p := x.f.Objects.PolicyOf(x.raw, x.env, s.target())
	good := p.Client.Decision == istio.Provided || p.Server.Decision == istio.Provided || p.Client.Decision == istio.Legacy && (p.Legacy != nil && p.Legacy.Backend != "" || x.raw.Config != nil && x.raw.Config.Tracing != nil && x.raw.Config.Tracing.Backend != "")
	if !good && x.f.Effective == nil {
		return nil
	}
	return x.invalidMesh()
}

func (x *exam) invalidMesh() *draft {
	d := &draft{code: "T0118", object: x.raw.Ref}
	for _, n := range x.f.Objects.Notes {
		if n.Reason == "type" && n.File == x.raw.File && n.Kind == x.raw.Kind && n.Name == x.raw.Name {
			if len(d.evidence) == 0 {
				d.object = n.Ref
				d.detail = heard(n.Message)
				d.fix = Fix{text: say("Correct the value: %s.", heard(n.Message)), Command: editCommand(x.raw.Ref)}
			}
			d.evidence = append(d.evidence, say("%s: %s", place(n.Ref), heard(n.Message)))
		}
	}
	for _, w := range x.f.Warnings {
		if strings.Contains(w, "invalid mesh config") {
			d.evidence = append(d.evidence, quote("istiod: "+w))
			break
		}
	}
	return d
}

// conflict: an older Telemetry of the same place hides one that would have made this workload trace.
func (x *exam) conflict(s *subject) *draft {
	used, ignored := x.f.Objects.Applicable(x.root(), s.target())
	for _, other := range ignored {
		var winner *istio.Telemetry
		for _, u := range used {
			if u.Namespace == other.Namespace && (len(u.Selector)+len(u.Targets) == 0) == (len(other.Selector)+len(other.Targets) == 0) {
				winner = u
			}
		}
		if winner == nil || len(other.Tracing) == 0 {
			continue
		}
		without := x.f.Objects
		without.Telemetries = nil
		for _, t := range x.f.Objects.Telemetries {
			if t.Ref != winner.Ref {
				without.Telemetries = append(without.Telemetries, t)
			}
		}
		p := without.PolicyOf(x.mesh, x.env, s.target())
		if p.Client.Decision != istio.Provided && p.Server.Decision != istio.Provided || p.Client.Sampling == 0 {
			continue
		}
		return conflictDraft(winner, other)
	}
	return nil
}

func conflictDraft(winner, other *istio.Telemetry) *draft {
	order := say("%s (created %s) is older than %s (created %s)", winner.Ref, orUnknown(winner.Created), other.Ref, orUnknown(other.Created))
	return &draft{code: "T0107", object: winner.Ref, detail: say("%s is in force, %s is ignored", winner.Ref, other.Ref),
		evidence: []Text{order, quote(place(winner.Ref)), quote(place(other.Ref))},
		fix: Fix{text: say("Keep one Telemetry for this place: move what is needed of %s into %s, or delete %s.", other.Ref.Name, winner.Ref.Name, winner.Ref),
			Command: fmt.Sprintf("kubectl delete telemetry -n %s %s", winner.Namespace, winner.Name)}}
}

func orUnknown(s string) Text {
	if s == "" {
		return say("at a time not known")
	}
	return quote(s)
}

// warnedHost reads istiod's log: it says when a provider's host could not be turned into a cluster.
func (x *exam) warnedHost() *draft {
	for _, w := range x.f.Warnings {
		if !strings.Contains(w, "tracing provider") {
			continue
		}
		_, name, _ := strings.Cut(w, "tracing provider \"")
		name, _, _ = strings.Cut(name, `"`)
		p := x.mesh.Provider(name)
		if p == nil {
			continue
		}
		var d *draft
		switch {
		case strings.Contains(w, "multiple namespaces"):
			d = x.ambiguous(p)
		case strings.Contains(w, "could not find service"):
			d = x.hostUnknown(p)
		default:
			continue
		}
		d.evidence = append(d.evidence, quote("istiod: "+w))
		return d
	}
	return nil
}

// halfCause: one direction is not traced.
func (x *exam) halfCause(s *subject) *draft {
	for _, d := range []istio.Direction{s.policy.Client, s.policy.Server} {
		if d.ModeRef.Path != "" {
			return &draft{code: "T0113", object: d.ModeRef, soft: true, detail: say("%s traces one direction only", d.ModeRef), evidence: x.hcmEvidence(s, say("match.mode in %s", place(d.ModeRef))), fix: removeField(d.ModeRef, "match")}
		}
	}
	return &draft{code: "T0113", soft: true, detail: say("only one direction is traced"), evidence: x.hcmEvidence(s, say("the rule that does so was not read")), fix: Fix{text: say("Look for a Telemetry with match.mode, or an EnvoyFilter for one context, that reaches this workload.")}}
}
