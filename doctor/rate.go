package doctor

import (
	"strings"

	"github.com/spanloom/spanloom/mesh/istio"
)

// rate judges the sampling rate.
func (x *exam) rate(s *subject) *draft {
	d := s.policy.Client
	if s.policy.Server.Decision == istio.Provided && d.Decision == istio.Off {
		d = s.policy.Server
	}
	seen := s.seen.any
	written := s.source != "envoyfilter"
	evidence := x.hcmEvidence(s, say("sampling %s %% set by %s", number(d.Sampling), samplerText(d)))
	if !seen && d.SampledBy == "default" {
		evidence[0] = say("%s (PILOT_TRACE_SAMPLING of istiod was not read)", evidence[0])
	}
	switch {
	case s.sampling == 0 && d.Sampling >= 0:
		if c := x.conflict(s); c != nil && written {
			return c
		}
		if d.SampledBy == "omitted" {
			at := x.ruleRef(s)
			return &draft{code: "T0110", object: at, detail: say("no rate is set, which Istio %s takes for 0 %%", x.f.Istio), evidence: evidence,
				fix: Fix{text: say("Set randomSamplingPercentage to 100 while testing, 1 to 10 under load; or update Istio, where the rate of defaultConfig counts again since 1.17.6, 1.18.3 and 1.19.1."), Command: patchSampling(at)}}
		}
		return &draft{code: "T0110", object: d.SamplingRef, detail: say("every request is decided not to be traced"), evidence: evidence,
			fix: Fix{text: say("Set randomSamplingPercentage to 100 while testing, 1 to 10 under load."), Command: patchSampling(d.SamplingRef), Diff: diff(d.SamplingRef, "randomSamplingPercentage: 0", "randomSamplingPercentage: 100")}}
	case d.Invalid && written && (!seen || s.sampling <= 1 || s.sampling > 100):
		return &draft{code: "T0112", object: d.SamplingRef, soft: d.SampledBy != "telemetry" && d.Sampling > 0, detail: say("the rate in %s is no percentage", place(d.SamplingRef)), evidence: evidence,
			fix: Fix{text: say("Write a percentage from 0 to 100; 100 traces everything."), Command: editCommand(d.SamplingRef), Diff: diff(d.SamplingRef, "", rateField(d)+": 100")}}
	case x.annotationRate(s):
		return nil
	case x.staleRate(s):
		r := x.restart(s, say("the mesh configuration says %s %%, the running proxy samples %s %%", number(*x.mesh.Config.Tracing.Sampling), number(s.sampling)))
		r.soft = true
		return r
	case !seen && x.oftenSampled(s):
		return nil
	case written && s.sampling == istio.DefaultSampling && (d.SampledBy == "default" || d.SampledBy == "istiod" && d.Sampling != 1):
		if c := x.conflict(s); c != nil {
			return c
		}
		at := x.ruleRef(s)
		return &draft{code: "T0111", object: at, soft: true, detail: say("one request in 100 is traced: ten test requests most likely make no trace"), evidence: evidence,
			fix: Fix{text: say("Set randomSamplingPercentage: 100 in the Telemetry while testing."), Command: patchSampling(at)}}
	}
	return nil
}

// oftenSampled: what was counted shows a rate far above the default, whoever set it.
func (x *exam) oftenSampled(s *subject) bool {
	if r := x.f.Received; r != nil && r.Traffic >= 10 && r.Traces*5 > r.Traffic {
		return true
	}
	if s.proxy == nil {
		return false
	}
	sampled, _ := s.proxy.SumStats("http.", ".tracing.random_sampling")
	not, _ := s.proxy.SumStats("http.", ".tracing.not_traceable")
	return sampled+not >= 10 && sampled*5 > sampled+not
}

// ruleRef is the tracing rule that a rate belongs into: of the Telemetry that names the provider, else the mesh's.
func (x *exam) ruleRef(s *subject) istio.Ref {
	for _, d := range []istio.Direction{s.policy.Client, s.policy.Server} {
		if d.ProviderRef.Kind == "Telemetry" {
			at := d.ProviderRef
			at.Path, _, _ = strings.Cut(at.Path, ".providers")
			return at
		}
	}
	if x.mesh != nil && len(s.policy.Used) == 0 {
		return x.mesh.Ref.At(prefixed(x.mesh.Path, "defaultConfig.tracing"), tracingLine(x.mesh))
	}
	return firstRef(s.policy.Used, x.mesh)
}

func samplerText(d istio.Direction) Text {
	switch d.SampledBy {
	case "telemetry", "mesh":
		return quote(place(d.SamplingRef))
	case "proxy":
		return say("the pod's own configuration")
	case "istiod":
		return quote("PILOT_TRACE_SAMPLING")
	case "provider":
		return say("the provider's sampler")
	case "omitted":
		return say("nobody, which this version of Istio takes for 0 %%")
	}
	return say("nobody: istiod's default")
}

func rateField(d istio.Direction) string {
	if d.SampledBy == "telemetry" {
		return "randomSamplingPercentage"
	}
	return "sampling"
}

// annotationRate: the pod's annotation chose the rate on purpose.
func (x *exam) annotationRate(s *subject) bool {
	return s.proxy != nil && s.proxy.Annotated != nil && s.proxy.Annotated.Tracing != nil && s.proxy.Annotated.Tracing.Sampling != nil && s.policy.Client.SampledBy != "telemetry"
}

// staleRate: a rate of defaultConfig is ten times what the pod got when it was injected.
func (x *exam) staleRate(s *subject) bool {
	seen := s.proxy != nil && s.proxy.Has.Bootstrap || s.proxy == nil && s.running() != nil
	if !seen || s.policy.Client.SampledBy == "telemetry" || s.source == "envoyfilter" || x.mesh == nil || x.mesh.Config == nil || x.mesh.Config.Tracing == nil || x.mesh.Config.Tracing.Sampling == nil {
		return false
	}
	want := *x.mesh.Config.Tracing.Sampling
	return want > 0 && want <= 100 && s.sampling*10 <= want
}

func firstRef(used []istio.Ref, mesh *istio.MeshConfig) istio.Ref {
	if len(used) > 0 {
		return used[len(used)-1]
	}
	if mesh != nil {
		return mesh.Ref
	}
	return istio.Ref{}
}

// stale: the bootstrap's tracer is used, and it is not the one the mesh configuration names now.
func (x *exam) stale(s *subject) *draft {
	running := s.running()
	if s.source != "bootstrap" || running == nil || running.Tracing == nil || x.mesh == nil || x.mesh.Config == nil || x.mesh.Config.Tracing == nil {
		return nil
	}
	now, then := x.mesh.Config.Tracing.Address, running.Tracing.Address
	if a := annotated(s); now == "" || then == "" || now == then || a != nil && a.Tracing != nil {
		return nil
	}
	d := x.restart(s, say("the mesh configuration names %s, the running proxy sends to %s", now, then))
	if f := s.flow(); f.works() || x.f.Received != nil && x.f.Received.of(s) > 0 {
		d.soft, d.severity = true, Warning // spans arrive at the old address
	} else {
		d.soft = !f.fails()
	}
	return d
}

func (x *exam) restart(s *subject, what Text) *draft {
	return &draft{code: "T0117", object: x.mesh.Ref.At(prefixed(x.mesh.Path, "defaultConfig.tracing"), tracingLine(x.mesh)), detail: what, evidence: []Text{what, say("PROXY_CONFIG of the running proxy is from its injection")},
		fix: Fix{text: say("Restart the workloads, so that they are injected with the configuration in force."), Command: "kubectl rollout restart deployment -n " + s.namespace}}
}

func tracingLine(m *istio.MeshConfig) int {
	if m.Config != nil && m.Config.Tracing != nil {
		return m.Config.Tracing.Line
	}
	return 0
}

func prefixed(prefix, path string) string { return strings.TrimPrefix(prefix+"."+path, ".") }
