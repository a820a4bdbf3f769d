package app

import (
	"context"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/doctor/live"
	"github.com/spanloom/spanloom/doctor/prescribe"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/apply"
	"github.com/spanloom/spanloom/mesh/plan"
	"github.com/spanloom/spanloom/mesh/render"
	"github.com/spanloom/spanloom/query/uiapi"
)

// meshReader gives the mesh screen the cluster: its client cannot write.
type meshReader struct {
	doctor *live.Doctor
	client *apply.Client
}

// newMesh gives nil where no cluster is read.
func newMesh(d *live.Doctor, c *collect.Client) (uiapi.Mesh, error) {
	if c == nil {
		return nil, nil
	}
	client, err := apply.NewReader(c.Config())
	if err != nil {
		return nil, err
	}
	return &meshReader{d, client}, nil
}

func (m *meshReader) Facts() (*doctor.Facts, error) {
	f, failure := m.doctor.ClusterFacts()
	switch {
	case f != nil:
		return f, nil
	case failure != "":
		return nil, problem.New(problem.Unavailable, "the cluster could not be read: "+failure, "this server needs the rights that `spanloom doctor roles` prints")
	}
	return nil, problem.New(problem.Unavailable, "nothing was read of the cluster yet", "try again in a moment")
}

func (m *meshReader) Plan(ctx context.Context, in render.Intent, parts []render.Part, f *doctor.Facts) (*plan.Plan, error) {
	p, err := prescribe.Look(ctx, m.client, in, parts, f)
	if err != nil {
		if problem.Of(err).Kind == problem.Internal && ctx.Err() == nil {
			err = &problem.Problem{Kind: problem.Unavailable, Message: "the cluster could not be compared: " + err.Error(), Hint: "this server needs the rights that `spanloom doctor roles` prints", Err: err}
		}
		return nil, err
	}
	return p.Plan, nil
}
