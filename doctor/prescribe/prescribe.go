// Package prescribe goes from what was read of a mesh to what is to be done: it completes an intent by facts, renders it, and
// plans it against the cluster that the facts are of. The command line and the server both plan here, so that both show what
// `spanloom mesh apply` writes. It writes nothing.
package prescribe

import (
	"context"
	"strconv"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/mesh/apply"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/plan"
	"github.com/spanloom/spanloom/mesh/render"
)

// Complete adds to an intent what was read of the mesh: version of Istio, its root namespace, the rate that somebody set.
func Complete(words *render.Words, facts *doctor.Facts) {
	if words.Istio == "" {
		words.Istio = facts.Istio
	}
	if words.RootNamespace == "" {
		words.RootNamespace = rootOf(facts)
	}
	if words.Sampling == "" {
		words.Sampling = rateOf(facts, words.RootNamespace)
	}
}

func rootOf(f *doctor.Facts) string {
	if f.Effective != nil {
		return f.Effective.RootNamespace()
	}
	for i := range f.Objects.Meshes {
		if !f.Objects.Meshes[i].Invalid {
			return f.Objects.Meshes[i].RootNamespace()
		}
	}
	return ""
}

// rateOf is the rate that somebody set for the whole mesh; empty if nobody did, or if it traces nothing.
func rateOf(f *doctor.Facts, root string) string {
	d := atGateway(f, root)
	if d.Invalid || d.SampledBy == "default" || d.Sampling < 0.01 || d.Sampling > 100 {
		return ""
	}
	return strconv.FormatFloat(d.Sampling, 'f', -1, 64)
}

// InForce is the percentage at which policies have gateways begin traces now, Istio's default included; false if they begin
// none, or if no mesh configuration was read that would tell.
func InForce(f *doctor.Facts) (float64, bool) {
	if f == nil || f.Effective == nil && len(f.Objects.Meshes) == 0 {
		return 0, false
	}
	d := atGateway(f, rootOf(f))
	traces := d.Decision == istio.Provided || d.Decision == istio.Legacy
	return d.Sampling, traces && !d.Invalid && d.Sampling > 0 && d.Sampling <= 100
}

func atGateway(f *doctor.Facts, root string) istio.Direction {
	if root == "" {
		root = "istio-system"
	}
	mesh := f.Effective
	if mesh == nil && len(f.Objects.Meshes) > 0 {
		mesh = &f.Objects.Meshes[0]
	}
	return f.Objects.PolicyOf(mesh, State(f).Sampling, istio.Proxy{Namespace: root, Gateway: true}).Client
}

// State is what a plan takes of facts.
func State(facts *doctor.Facts) plan.State {
	state := plan.State{Objects: &facts.Objects, Effective: facts.Effective, Proxies: facts.Proxies}
	for _, w := range facts.Objects.Workloads {
		if w.ControlsTrc != nil {
			state.Sampling = w.ControlsTrc
		}
	}
	return state
}

// Render completes and renders an intent. facts may be nil: nothing was read.
func Render(words render.Words, facts *doctor.Facts) (render.Intent, []render.Part, error) {
	var present *istio.Objects
	if facts != nil {
		Complete(&words, facts)
		present = &facts.Objects
	}
	in, err := render.Parse(words)
	if err != nil {
		return in, nil, err
	}
	parts, err := render.Render(in, present)
	return in, parts, err
}

// Look plans parts against the cluster that the facts are of. It reads the objects that would be written, and nothing else.
func Look(ctx context.Context, c *apply.Client, in render.Intent, parts []render.Part, facts *doctor.Facts) (*apply.Planned, error) {
	p, err := apply.Look(ctx, c, in, parts, State(facts))
	if err != nil {
		return nil, err
	}
	apply.Note(p.Plan, in, &facts.Objects)
	return p, nil
}
