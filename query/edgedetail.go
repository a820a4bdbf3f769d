package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// EdgeQuery asks how the calls between two nodes are doing.
type EdgeQuery struct {
	From, To string // ids of nodes as the map lists them
	Class    rollup.Class
	Range    store.TimeRange
	Buckets  int // of RED over time, 1 to MaxBuckets
}

// EdgeDetail is one edge: its figures, RED over time as the map counts calls, and example traces.
type EdgeDetail struct {
	Edge     MapEdge
	From, To MapNode
	Series   []SeriesPoint
	Slow     []Example // the longest first, one of a minute and response flag, at most maxExamples
	Failed   []Example // the newest first, likewise
	store.Done
}

// Example is a trace that shows what an edge is like.
type Example struct {
	Trace    span.TraceID
	Start    int64  // ns; of the stretch of time it is from
	Duration int64  // ns of the longest call of that stretch; 0 where the trace is known to have failed only
	Flag     string // response flag that says most; empty for none
}

// maxExamples is how many slow and how many failed examples an edge has.
const maxExamples = 5

// Edge answers the calls between two nodes in detail, from what Map counts: see there for the cost.
func (q *Query) Edge(ctx context.Context, s store.Scope, eq EdgeQuery) (*EdgeDetail, error) {
	if eq.Range.To <= eq.Range.From {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "start", Message: "the window ends before it starts", Hint: "give a start before the end"}
	}
	if eq.Buckets < 1 || eq.Buckets > MaxBuckets {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "buckets", Message: fmt.Sprintf("buckets is %d", eq.Buckets), Hint: fmt.Sprintf("use 1 to %d", MaxBuckets)}
	}
	table, done, err := q.Counts(ctx, s, eq.Range)
	if err != nil {
		return nil, err
	}
	over := time.Duration(eq.Range.To - eq.Range.From)
	g := newGraph(table, int64(over))
	id := edgeID{eq.From, eq.To, eq.Class}
	e, from, to := g.edges[id], g.nodes[eq.From], g.nodes[eq.To]
	if e == nil && done.Away {
		return nil, unknown(done, "from", fmt.Sprintf("%s from %.200q to %.200q", eq.Class, eq.From, eq.To))
	}
	if e == nil {
		return nil, &problem.Problem{Kind: problem.NotFound, Field: "from", Message: fmt.Sprintf("no %s from %.200q to %.200q in this window", eq.Class, eq.From, eq.To),
			Hint: "ids are kind/namespace/name, as the map lists them"}
	}
	d := &EdgeDetail{Edge: e.answer(id, over, false), From: from.answer(g, over, false), To: to.answer(g, over, false), Done: done}
	buckets := make([]rollup.Counts, eq.Buckets)
	for k, cells := range table.Edges() {
		if k.Class != eq.Class || len(cells) == 0 || g.node(k.From) != from || g.node(k.To) != to {
			continue
		}
		for i := range cells {
			c := &cells[i]
			d.examples(&k, c)
			if k.View != rollup.ViewServer {
				at := int(float64(c.Start-eq.Range.From) / float64(over) * float64(eq.Buckets))
				buckets[min(max(at, 0), eq.Buckets-1)].Merge(&c.Counts)
			}
		}
	}
	d.Slow = bestExamples(d.Slow, func(a, b Example) int {
		return cmp.Or(cmp.Compare(b.Duration, a.Duration), cmp.Compare(b.Start, a.Start))
	})
	d.Failed = bestExamples(d.Failed, func(a, b Example) int { return cmp.Or(cmp.Compare(b.Start, a.Start), cmp.Compare(b.Flag, a.Flag)) })
	width := int64(over) / int64(eq.Buckets)
	for i := range buckets {
		c := &buckets[i]
		d.Series = append(d.Series, SeriesPoint{eq.Range.From + int64(i)*width, width, figuresOf(c, time.Duration(max(width, 1))), c.Slowest, c.Failed})
	}
	return d, nil
}

// examples notes the traces that a cell knows. A server's failed calls are examples too: the caller may have tried again and
// not noticed.
func (d *EdgeDetail) examples(k *rollup.EdgeKey, c *rollup.Cell) {
	flag := k.Flag
	if flag == "-" {
		flag = ""
	}
	if k.View != rollup.ViewServer && !c.Slowest.IsZero() {
		d.Slow = append(d.Slow, Example{c.Slowest, c.Start, c.Durations.Max(), flag})
	}
	if !c.Failed.IsZero() {
		x := Example{c.Failed, c.Start, 0, flag}
		if c.Failed == c.Slowest {
			x.Duration = c.Durations.Max()
		}
		d.Failed = append(d.Failed, x)
	}
}

// bestExamples sorts and keeps the first of each trace; ties go by trace id, so that the answer does not depend on the order of a map.
func bestExamples(list []Example, order func(a, b Example) int) []Example {
	slices.SortFunc(list, func(a, b Example) int { return cmp.Or(order(a, b), slices.Compare(a.Trace[:], b.Trace[:])) })
	kept := list[:0]
	for _, x := range list {
		if len(kept) < maxExamples && !slices.ContainsFunc(kept, func(o Example) bool { return o.Trace == x.Trace }) {
			kept = append(kept, x)
		}
	}
	return kept
}
