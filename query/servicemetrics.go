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

// MetricsQuery asks for figures of services over time.
type MetricsQuery struct {
	Services    []string
	Kinds       []span.Kind // of the spans that count; empty: server
	ByOperation bool
	Range       store.TimeRange // the first and the last point
	Step        time.Duration   // between points, at least a second
	Per         time.Duration   // each point sums the stretch of this length that ends there; at least a minute
}

// maxPoints bounds the points of one line.
const maxPoints = 2_000

// MetricsLine is the figures of one service or operation.
type MetricsLine struct {
	Service, Operation string
	Points             []MetricsPoint
}

// MetricsPoint sums what came in a stretch of time that ends at Time.
type MetricsPoint struct {
	Time   int64
	Counts rollup.Counts
}

// Metrics answers figures of services over time, lines by service, then operation. Points are made of whole minutes: one
// within a minute says what its beginning says. Where an application and its sidecar report one service, the side that saw
// more counts.
func (q *Query) Metrics(ctx context.Context, s store.Scope, mq MetricsQuery) ([]MetricsLine, store.Done, error) {
	if mq.Range.To < mq.Range.From {
		return nil, store.Done{}, &problem.Problem{Kind: problem.Invalid, Field: "start", Message: "the window ends before it starts", Hint: "give a start before the end"}
	}
	if mq.Step < time.Second || int64(mq.Range.To-mq.Range.From)/int64(mq.Step) > maxPoints {
		return nil, store.Done{}, &problem.Problem{Kind: problem.Invalid, Field: "step", Message: fmt.Sprintf("a step of %s is too short for this window", mq.Step),
			Hint: fmt.Sprintf("use at least a second, and at most %d points", maxPoints)}
	}
	mq.Per = max(mq.Per, time.Minute).Truncate(time.Minute)
	if len(mq.Kinds) == 0 {
		mq.Kinds = []span.Kind{span.KindServer}
	}
	table, done, err := q.countSeries(ctx, s, store.TimeRange{From: floorMinute(mq.Range.From) - int64(mq.Per), To: floorMinute(mq.Range.To)})
	if err != nil {
		return nil, done, err
	}
	type key struct{ service, operation string }
	sides := make(map[string]*[2]float64) // service -> weight by application and proxy
	for k, cells := range table.Series() {
		if !mq.wants(&k) {
			continue
		}
		w := sides[k.Service]
		if w == nil {
			w = new([2]float64)
			sides[k.Service] = w
		}
		for i := range cells {
			w[k.Flags&rollup.Proxy] += cells[i].Weight
		}
	}
	minutes := make(map[key][]rollup.Cell)
	for k, cells := range table.Series() {
		if !mq.wants(&k) {
			continue
		}
		w := sides[k.Service]
		if side := k.Flags & rollup.Proxy; w[side] < w[1-side] || w[side] == w[1-side] && side == 0 && w[1] > 0 {
			continue
		}
		at := key{service: k.Service}
		if mq.ByOperation {
			at.operation = k.Operation
		}
		minutes[at] = append(minutes[at], cells...)
	}
	lines := make([]MetricsLine, 0, len(minutes))
	for at, cells := range minutes {
		lines = append(lines, MetricsLine{at.service, at.operation, mq.points(cells)})
	}
	slices.SortFunc(lines, func(x, y MetricsLine) int {
		return cmp.Or(cmp.Compare(x.Service, y.Service), cmp.Compare(x.Operation, y.Operation))
	})
	return lines, done, nil
}

func (mq *MetricsQuery) wants(k *rollup.SeriesKey) bool {
	return slices.Contains(mq.Services, k.Service) && slices.Contains(mq.Kinds, k.Kind)
}

// points sums cells into the stretches that end at each point.
func (mq *MetricsQuery) points(cells []rollup.Cell) []MetricsPoint {
	slices.SortFunc(cells, func(x, y rollup.Cell) int { return cmp.Compare(x.Start, y.Start) })
	var points []MetricsPoint
	for t := mq.Range.From; t <= mq.Range.To; t += int64(mq.Step) {
		to := floorMinute(t)
		p := MetricsPoint{Time: t}
		from, _ := slices.BinarySearchFunc(cells, to-int64(mq.Per), func(c rollup.Cell, at int64) int { return cmp.Compare(c.Start, at) })
		for i := from; i < len(cells) && cells[i].Start < to; i++ {
			p.Counts.Merge(&cells[i].Counts)
		}
		points = append(points, p)
	}
	return points
}

// countSeries is Counts for series alone: cheaper where it scans.
func (q *Query) countSeries(ctx context.Context, s store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	r = possible(r)
	whole := wholeMinutes(r)
	table, done, ok, err := q.rollups(ctx, s, whole)
	if err != nil {
		return nil, done, err
	}
	ends := []store.TimeRange{{From: r.From, To: whole.From}, {From: whole.To, To: r.To}}
	if !ok {
		table, done, ends = rollup.New(), store.Done{Complete: true}, []store.TimeRange{r}
	}
	for _, end := range ends {
		if end.From >= end.To {
			continue
		}
		b := rollup.NewBuilder()
		d, err := q.scan(ctx, s, &store.Scan{Range: end, Mode: store.Start, Need: rollup.SeriesNeed()}, b.Count)
		if d, err = without(ctx, d, err, table.Keys() > 0); err != nil {
			return nil, done, err
		}
		table.Merge(b.Table())
		done = joinDone(done, d)
	}
	return table, done, nil
}
