package query

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/queue/queuetest"
	"github.com/spanloom/spanloom/store/rollup"
	"github.com/spanloom/spanloom/store/storetest"
)

const awaySpans = `
1 a - front client "GET /" 1s 10ms @group=front @namespace=shop
1 b a back server "GET /" 1.001s 8ms @group=back @namespace=shop
2 c - front server "GET /b" 20m 1ms @group=front @namespace=shop
`

// questions are all that read rows. Each answers how much of it was read.
func questions(q *Query, id span.TraceID, r store.TimeRange) map[string]func(context.Context) (store.Done, error) {
	return map[string]func(context.Context) (store.Done, error){
		"trace": func(ctx context.Context) (store.Done, error) {
			t, err := q.Trace(ctx, scope, id, store.TimeRange{})
			if err != nil {
				return store.Done{}, err
			}
			return t.Done, nil
		},
		"map": func(ctx context.Context) (store.Done, error) {
			a, err := q.Map(ctx, scope, MapQuery{Range: r})
			if err != nil {
				return store.Done{}, err
			}
			return a.Done, nil
		},
		"services": func(ctx context.Context) (store.Done, error) {
			a, err := q.Services(ctx, scope, ServicesQuery{Range: r})
			if err != nil {
				return store.Done{}, err
			}
			return a.Done, nil
		},
		"heatmap": func(ctx context.Context) (store.Done, error) {
			h, err := q.Heatmap(ctx, scope, HeatmapQuery{Range: r})
			if err != nil {
				return store.Done{}, err
			}
			return h.Done, nil
		},
		"differences": func(ctx context.Context) (store.Done, error) {
			d, err := q.Differences(ctx, scope, DifferencesQuery{Range: r, Select: intrinsicIs(store.FieldService, "front")})
			if err != nil {
				return store.Done{}, err
			}
			return d.Done, nil
		},
		"breakdown": func(ctx context.Context) (store.Done, error) {
			_, d, err := q.Breakdown(ctx, scope, BreakdownQuery{Range: r, Field: store.Field{In: store.Intrinsic, Key: store.FieldService}})
			return d, err
		},
		"dependencies": func(ctx context.Context) (store.Done, error) {
			_, d, err := q.Dependencies(ctx, scope, r, false)
			return d, err
		},
		"metrics": func(ctx context.Context) (store.Done, error) {
			_, d, err := q.Metrics(ctx, scope, MetricsQuery{Range: r, Services: []string{"front", "back"}, Kinds: []span.Kind{span.KindServer}, Step: time.Minute, Per: time.Minute})
			return d, err
		},
		"propagation": func(ctx context.Context) (store.Done, error) {
			p, err := q.Propagation(ctx, scope, r)
			if err != nil {
				return store.Done{}, err
			}
			return p.Done, nil
		},
		"scan back": func(ctx context.Context) (store.Done, error) {
			return q.ScanBack(ctx, scope, store.Scan{Range: r, Need: store.Everything()}, 1000, func(store.Rows) {})
		},
	}
}

// TestAway: rows before an error that says that a part of the store is away are an answer; no row, or another error, is none.
func TestAway(t *testing.T) {
	e := mem.New(mem.Options{Now: storetestClock})
	t.Cleanup(func() { _ = e.Close() })
	if err := e.Accept(t.Context(), storetest.Batch(t, awaySpans)); err != nil {
		t.Fatal(err)
	}
	here, there := span.TraceID{15: 1}, span.TraceID{15: 9}
	hour, later := store.TimeRange{From: storetest.At(0), To: storetest.At(time.Hour)}, store.TimeRange{From: storetest.At(2 * time.Hour), To: storetest.At(3 * time.Hour)}
	shard := &problem.Problem{Kind: problem.Unavailable, Message: "1 of 3 shards\ndid not answer", Hint: "look at the cluster", RetryAfter: 7 * time.Second}
	for name, ask := range questions(New(Options{Reader: storetest.Behind{Engine: e, Err: shard}, Now: storetestClock}), here, hour) {
		if d, err := ask(t.Context()); err != nil || d.Complete || !d.Away || d.Reason != "some spans could not be read: 1 of 3 shards did not answer (look at the cluster)" {
			t.Errorf("%s with rows: %+v, %v", name, d, err)
		}
	}
	for name, ask := range questions(New(Options{Reader: storetest.Behind{Engine: e, Err: shard}, Now: storetestClock}), there, later) {
		if d, err := ask(t.Context()); problem.Of(err) != shard {
			t.Errorf("%s without a row: %+v, %v", name, d, err)
		}
	}
	broken := errors.New("a block is damaged")
	for name, ask := range questions(New(Options{Reader: storetest.Behind{Engine: e, Err: broken}, Now: storetestClock}), here, hour) {
		if d, err := ask(t.Context()); !errors.Is(err, broken) {
			t.Errorf("%s with a broken store: %+v, %v", name, d, err)
		}
	}
}

// TestQueueAnswersAlone: what waits in the queue is an answer of every question while the engine is away, not of the newest minute only.
func TestQueueAnswersAlone(t *testing.T) {
	queue := queuetest.Away(t, storetestClock)
	if err := queue.Accept(t.Context(), storetest.Batch(t, awaySpans)); err != nil {
		t.Fatal(err)
	}
	q := New(Options{Reader: queue, Now: storetestClock})
	r := store.TimeRange{From: storetest.At(0), To: storetest.At(time.Hour)}
	for name, ask := range questions(q, span.TraceID{15: 1}, r) {
		if d, err := ask(t.Context()); err != nil || d.Complete || !d.Away || !strings.Contains(d.Reason, "clickhouse") || !strings.Contains(d.Reason, "connection refused") {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	tr, err := q.Trace(t.Context(), scope, span.TraceID{15: 1}, store.TimeRange{})
	if err != nil || tr.Spans != 2 || len(tr.Warnings) != 1 || tr.Warnings[0].Kind != WarnAway {
		t.Errorf("trace: %+v, %v", tr, err)
	}
	rows := 0
	if _, err := q.ScanBack(t.Context(), scope, store.Scan{Range: r, Need: store.Everything()}, 1000, func(r store.Rows) { rows += len(r.Rows) }); err != nil || rows != 3 {
		t.Errorf("scanned %d rows, %v", rows, err)
	}
}

// slowly is an engine that is given up after a while at every question.
type slowly struct {
	store.Reader
	clock *time.Time
	scans int
}

func (s *slowly) Scan(ctx context.Context, sc store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	s.scans++
	*s.clock = s.clock.Add(5 * time.Second)
	return s.Reader.Scan(ctx, sc, q)
}

// TestSlowlyAway: a server that is away costs its time-out twice, and the rows of others are all there.
func TestSlowlyAway(t *testing.T) {
	now := storetestClock()
	queue := queuetest.Away(t, storetestClock)
	if err := queue.Accept(t.Context(), storetest.Batch(t, awaySpans)); err != nil {
		t.Fatal(err)
	}
	reader := &slowly{Reader: queue, clock: &now}
	rows := 0
	plan := store.Scan{Range: store.TimeRange{From: storetest.At(0), To: storetest.At(time.Hour)}, Need: store.Everything()}
	d, err := New(Options{Reader: reader, Now: func() time.Time { return now }}).ScanBack(t.Context(), scope, plan, 1000, func(r store.Rows) { rows += len(r.Rows) })
	if err != nil || !d.Away || rows != 3 || reader.scans != 2 {
		t.Errorf("%d rows by %d scans: %+v, %v", rows, reader.scans, d, err)
	}
}

// TestNothingFollowsFromUnreadSpans: a map that lacks spans says neither who fell silent nor who sends none, and what it does not show may
// be there.
func TestNothingFollowsFromUnreadSpans(t *testing.T) {
	queue := queuetest.Away(t, storetestClock)
	if err := queue.Accept(t.Context(), storetest.Batch(t, awaySpans)); err != nil {
		t.Fatal(err)
	}
	q := New(Options{Reader: queue, Now: storetestClock})
	r := store.TimeRange{From: storetest.At(10 * time.Minute), To: storetest.At(30 * time.Minute)}
	m, err := q.Map(t.Context(), scope, MapQuery{Range: r, Compare: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Nodes) == 0 || !m.Away || len(m.Missing) > 0 || len(m.Notes) > 0 {
		t.Errorf("%+v", m)
	}
	for _, n := range m.Nodes {
		if n.Before != nil || strings.Contains(fmt.Sprint(n.Badges), string(BadgeSilent)) {
			t.Errorf("%+v", n)
		}
	}
	for name, ask := range map[string]func() error{
		"focus": func() error {
			_, err := q.Map(t.Context(), scope, MapQuery{Range: r, Focus: "service/shop/x"})
			return err
		},
		"node": func() error {
			_, err := q.Service(t.Context(), scope, ServiceQuery{Range: r, Node: "service/shop/x", Buckets: 1})
			return err
		},
		"from": func() error {
			_, err := q.Edge(t.Context(), scope, EdgeQuery{Range: r, From: "service/shop/x", To: "service/shop/y", Buckets: 1})
			return err
		},
	} {
		if p := problem.Of(ask()); p == nil || p.Kind != problem.Unavailable || p.Field != name {
			t.Errorf("%s: %v", name, p)
		}
	}
}

// TestRollupsWithoutTheEnds: where the ends of a window, which rollups leave over, cannot be read, what the rollups count is an answer.
func TestRollupsWithoutTheEnds(t *testing.T) {
	e := mem.New(mem.Options{Now: storetestClock})
	t.Cleanup(func() { _ = e.Close() })
	b := rollup.NewBuilder()
	b.Add(storetest.Batch(t, "1 a - front client x 5m 10ms @group=front @namespace=shop\n1 b a back server y 5m 8ms @group=back @namespace=shop"))
	away := problem.New(problem.Unavailable, "3 spans wait on the disk", "")
	rolled := &rolled{Reader: storetest.Behind{Engine: e, Err: away}, segments: []*rollup.Table{b.Table()}}
	r := store.TimeRange{From: storetest.At(time.Second), To: storetest.At(10*time.Minute + time.Second)}
	for name, ask := range questions(New(Options{Reader: rolled, Now: storetestClock}), span.TraceID{}, r) {
		switch name {
		case "map", "services", "dependencies":
			if d, err := ask(t.Context()); err != nil || d.Complete || !d.Away || d.Reason != "some spans could not be read: 3 spans wait on the disk" {
				t.Errorf("%s: %+v, %v", name, d, err)
			}
		}
	}
	rolled.segments = nil
	for name, ask := range questions(New(Options{Reader: rolled, Now: storetestClock}), span.TraceID{}, r) {
		if d, err := ask(t.Context()); problem.Of(err) != away && name != "metrics" { // which are of whole minutes
			t.Errorf("%s without a count: %+v, %v", name, d, err)
		}
	}
}

// unrolled is an engine whose rollups cannot be read.
type unrolled struct{ store.Reader }

func (unrolled) Rollups(context.Context, store.Scope, store.TimeRange) (*rollup.Table, store.Done, error) {
	return rollup.New(), store.Done{Away: true, Reason: "1 of 3 shards did not answer"}, nil
}

// TestScanInPlaceOfRollups: rollups that cannot be read are no answer where rows can.
func TestScanInPlaceOfRollups(t *testing.T) {
	e := mem.New(mem.Options{Now: storetestClock})
	t.Cleanup(func() { _ = e.Close() })
	if err := e.Accept(t.Context(), storetest.Batch(t, awaySpans)); err != nil {
		t.Fatal(err)
	}
	q := New(Options{Reader: unrolled{e}, Now: storetestClock})
	r := store.TimeRange{From: storetest.At(0), To: storetest.At(10 * time.Minute)}
	if m, err := q.Map(t.Context(), scope, MapQuery{Range: r}); err != nil || len(m.Edges) == 0 || !m.Complete {
		t.Errorf("map: %+v, %v", m, err)
	}
	if a, err := q.Services(t.Context(), scope, ServicesQuery{Range: r}); err != nil || len(a.Items) != 2 || a.Items[0].RED.N == 0 {
		t.Errorf("services: %+v, %v", a, err)
	}
}
