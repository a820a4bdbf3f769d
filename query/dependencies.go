package query

import (
	"cmp"
	"context"
	"slices"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// Dependency is the calls from one service to another, as Jaeger and Zipkin list them: by service name.
type Dependency struct {
	Parent, Child  string
	Calls, Errors  float64 // Σ weight
	ParentInferred bool    // a broker
	ChildInferred  bool    // it sent no span itself: a host, a database, a broker
}

// Dependencies answers calls between services, sorted by parent, then child. An application and its sidecar are one service,
// the sidecar's where both report. What callers say of callees without spans is left out unless inferred asks for it; a
// message goes through its broker, which counts as a service. Exports of telemetry are left out.
func (q *Query) Dependencies(ctx context.Context, s store.Scope, r store.TimeRange, inferred bool) ([]Dependency, store.Done, error) {
	table, done, err := q.Counts(ctx, s, r)
	if err != nil {
		return nil, done, err
	}
	type pair struct{ parent, child string }
	sums := make(map[pair]*Dependency)
	for k, cells := range table.Edges() {
		if k.Class == rollup.ClassTelemetry || k.View == rollup.ViewServer || k.From.Kind == rollup.KindClient || len(cells) == 0 {
			continue
		}
		parent, guessed := NodeName(k.From)
		child, childGuessed := NodeName(k.To)
		if parent == "" || child == "" || parent == child || childGuessed && !inferred && k.To.Kind != rollup.KindBroker {
			continue
		}
		d := sums[pair{parent, child}]
		if d == nil {
			d = &Dependency{Parent: parent, Child: child, ParentInferred: guessed, ChildInferred: childGuessed}
			sums[pair{parent, child}] = d
		}
		for i := range cells {
			d.Calls += cells[i].Weight
			d.Errors += cells[i].ErrorWeight
		}
	}
	list := make([]Dependency, 0, len(sums))
	for _, d := range sums {
		list = append(list, *d)
	}
	slices.SortFunc(list, func(x, y Dependency) int {
		return cmp.Or(cmp.Compare(x.Parent, y.Parent), cmp.Compare(x.Child, y.Child))
	})
	return list, done, nil
}

// NodeName is a node's service, or what stands for it where it sent no span.
func NodeName(n rollup.Node) (name string, inferred bool) {
	switch {
	case n.Service != "":
		return n.Service, false
	case n.Kind == rollup.KindService && n.Namespace != "":
		return n.Name + "." + n.Namespace, true
	default:
		return n.Name, true
	}
}
