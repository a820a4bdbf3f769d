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
	Parent, Child string
	Calls, Errors float64 // Σ weight
	N, Failed     int64   // as they were received
	ChildInferred bool    // it sent no span itself: a host, a database, a broker
}

// Dependencies answers calls between services, sorted by parent, then child. An application and its sidecar are one service,
// the sidecar's where both report. What callers say of callees without spans is left out unless inferred asks for it; a
// message goes through its broker, which counts as a service. Exports of telemetry are left out, and calls to oneself.
func (q *Query) Dependencies(ctx context.Context, s store.Scope, r store.TimeRange, inferred bool) ([]Dependency, store.Done, error) {
	table, done, err := q.sums(ctx, s, r)
	if err != nil {
		return nil, done, err
	}
	names := NewNames(table)
	type pair struct{ parent, child string }
	sums := make(map[pair]*Dependency)
	for k, cells := range table.Edges() {
		if k.Class == rollup.ClassTelemetry || k.View == rollup.ViewServer || k.From.Kind == rollup.KindClient || len(cells) == 0 {
			continue
		}
		parent, _ := names.Of(k.From)
		child, guessed := names.Of(k.To)
		if parent == "" || child == "" || parent == child || guessed && !inferred && k.To.Kind != rollup.KindBroker {
			continue
		}
		d := sums[pair{parent, child}]
		if d == nil {
			d = &Dependency{Parent: parent, Child: child, ChildInferred: guessed}
			sums[pair{parent, child}] = d
		}
		for i := range cells {
			d.Calls += cells[i].Weight
			d.Errors += cells[i].ErrorWeight
			d.N += cells[i].N
			d.Failed += cells[i].Errors
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

// SpansCounted is about how many spans start in a range, as rollups count them; ok is false where the engine keeps none.
func (q *Query) SpansCounted(ctx context.Context, s store.Scope, r store.TimeRange) (n int64, ok bool, err error) {
	summer, ok := q.store.(rollup.Summer)
	if !ok {
		return 0, false, nil
	}
	table, _, ok, err := answered(summer.Sums)(ctx, s, wholeMinutes(possible(r)))
	if !ok || err != nil {
		return 0, false, err
	}
	for _, cells := range table.Series() {
		for i := range cells {
			n += cells[i].N
		}
	}
	return n, true, nil
}

// Names gives the ends of edges one service name each, for lists that know services and no groups.
type Names struct{ g *graph }

// NewNames makes the names for one table.
func NewNames(t *rollup.Table) *Names { return &Names{newGraph(t, 0)} }

// Of is a node's service: of a workload the one that its sidecars, gateways and waypoints report, else the first of its
// applications'. inferred: it sent no span; the name is then what its callers say of it, empty if nothing.
func (n *Names) Of(node rollup.Node) (name string, inferred bool) {
	x := n.g.node(node)
	switch {
	case x.proxied != "":
		return x.proxied, false
	case x.own && len(x.services) > 0:
		return sortedKeys(x.services)[0], false
	case x.Kind == rollup.KindService && x.Namespace != "":
		return x.Name + "." + x.Namespace, true
	default:
		return x.Name, true
	}
}
