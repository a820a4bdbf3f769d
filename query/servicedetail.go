package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// ServiceQuery asks how one workload is doing.
type ServiceQuery struct {
	Node    string // id as the map lists it
	Range   store.TimeRange
	Buckets int // of RED over time, 1 to MaxBuckets
}

// ServiceDetail is one workload: its node with versions, its operations, who calls it, whom it calls, and RED over time.
type ServiceDetail struct {
	Node       MapNode
	Operations []OperationFigures
	Callers    []MapEdge
	Callees    []MapEdge
	Series     []SeriesPoint
	Missing    []Missing
	store.Done
}

// OperationFigures are the calls of one operation class.
type OperationFigures struct {
	Operation string
	Kind      span.Kind
	RED       RED
	Slowest   span.TraceID // examples
	Failed    span.TraceID // zero if none failed
}

// SeriesPoint is the calls of one bucket of time.
type SeriesPoint struct {
	Start, Duration int64 // ns
	RED             RED
	Slowest, Failed span.TraceID
}

// maxOperations is the most operations of an answer, most calls first.
const maxOperations = 500

// Service answers one workload in detail. Buckets of time are made of whole minutes, or what the engine's rollups are made
// of: one that lies across two buckets counts where it begins.
func (q *Query) Service(ctx context.Context, s store.Scope, sq ServiceQuery) (*ServiceDetail, error) {
	if sq.Range.To <= sq.Range.From {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "start", Message: "the window ends before it starts", Hint: "give a start before the end"}
	}
	if sq.Buckets < 1 || sq.Buckets > MaxBuckets {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "buckets", Message: fmt.Sprintf("buckets is %d", sq.Buckets), Hint: fmt.Sprintf("use 1 to %d", MaxBuckets)}
	}
	table, done, err := q.Counts(ctx, s, sq.Range)
	if err != nil {
		return nil, err
	}
	length := sq.Range.To - sq.Range.From
	g := newGraph(table, length)
	n := g.nodes[sq.Node]
	if n == nil && done.Away {
		return nil, unknown(done, "node", fmt.Sprintf("node %.200q", sq.Node))
	}
	if n == nil {
		return nil, &problem.Problem{Kind: problem.NotFound, Field: "node", Message: fmt.Sprintf("no node %.200q in this window", sq.Node),
			Hint: "a node's id is kind/namespace/name, as the map lists it"}
	}
	var all MapAnswer
	g.answer(&all, &MapQuery{Range: sq.Range, Focus: sq.Node, Depth: 1, Telemetry: true})
	d := &ServiceDetail{Node: n.answer(g, time.Duration(length), false), Done: done}
	var own MapAnswer
	own.Nodes = []MapNode{d.Node}
	for _, e := range all.Edges {
		if e.To == sq.Node {
			d.Callers = append(d.Callers, e)
		}
		if e.From == sq.Node {
			d.Callees = append(d.Callees, e)
		}
		if e.To == sq.Node || e.From == sq.Node {
			own.Edges = append(own.Edges, e)
		}
	}
	if !done.Away {
		d.Missing = g.missing(&own, table.Step())
	}
	d.operations(g, table, n, &sq)
	return d, nil
}

// operations sums the series of the side of the workload that counts.
func (d *ServiceDetail) operations(g *graph, table *rollup.Table, n *graphNode, sq *ServiceQuery) {
	class, ok := n.class()
	over := time.Duration(sq.Range.To - sq.Range.From)
	type operation struct {
		name string
		kind span.Kind
	}
	counts := make(map[operation]*rollup.Counts)
	buckets := make([]rollup.Counts, sq.Buckets)
	add := func(c *rollup.Cell) {
		at := int(float64(c.Start-sq.Range.From) / float64(over) * float64(sq.Buckets))
		buckets[min(max(at, 0), sq.Buckets-1)].Merge(&c.Counts)
	}
	for k, cells := range table.Series() {
		if !ok || len(cells) == 0 || !serves(k.Kind) && k.Flags&rollup.Root == 0 || classOf(k.Kind, k.Flags&rollup.Proxy != 0) != class || g.node(seriesNode(&k)) != n {
			continue
		}
		at := operation{k.Operation, k.Kind}
		if at.name == "" {
			at.name = PlainName(k.Kind, k.Service)
		}
		if counts[at] == nil {
			counts[at] = new(rollup.Counts)
		}
		for i := range cells {
			counts[at].Merge(&cells[i].Counts)
			add(&cells[i])
		}
	}
	if !ok { // nothing of its own: what its callers say
		for k, cells := range table.Edges() {
			if k.View == rollup.ViewServer || k.Class == rollup.ClassTelemetry || len(cells) == 0 || g.node(k.To) != n {
				continue
			}
			for i := range cells {
				add(&cells[i])
			}
		}
	}
	for at, c := range counts {
		d.Operations = append(d.Operations, OperationFigures{at.name, at.kind, figuresOf(c, over), c.Slowest, c.Failed})
	}
	slices.SortFunc(d.Operations, func(x, y OperationFigures) int {
		return cmp.Or(cmp.Compare(y.RED.Weight, x.RED.Weight), strings.Compare(x.Operation, y.Operation), cmp.Compare(x.Kind, y.Kind))
	})
	d.Operations = d.Operations[:min(len(d.Operations), maxOperations)]
	width := int64(over) / int64(sq.Buckets)
	for i := range buckets {
		c := &buckets[i]
		d.Series = append(d.Series, SeriesPoint{sq.Range.From + int64(i)*width, width, figuresOf(c, time.Duration(max(width, 1))), c.Slowest, c.Failed})
	}
}
