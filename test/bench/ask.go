package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

var everyone = store.Scope{Tenant: store.DefaultTenant}

// asked are the figures about stored spans: questions in the process of the engine, warm page cache, each answer checked. The
// number of spans stands in the name, because most targets grow with it. With cpu the process's CPU time counts instead of the wall clock:
// on a machine that others use, waiting for a processor is most of the latter.
func asked(spans int64, cpu bool) []figure {
	on, unit := "on "+short(spans)+" spans", "ms"
	if cpu {
		unit = "ms CPU"
	}
	ms := func(name, target string, run func(context.Context, *bench) (float64, error)) figure {
		command := ofSpans(name, spans)
		if cpu {
			command += " -cpu"
		}
		return figure{name: name + ", " + on, target: target, unit: unit, timed: true, command: command, run: run}
	}
	return []figure{
		{name: "store, accept to close, " + on, target: "reported", unit: "µs CPU/span", timed: true, once: true, command: ofSpans("store, accept", spans), run: storing},
		{name: "disk, " + on, target: "<= 1.35 x floor", unit: "B/span", once: true, command: ofSpans("^disk,", spans), run: func(ctx context.Context, e *bench) (float64, error) {
			s, err := e.stored(ctx)
			if err != nil {
				return 0, err
			}
			return float64(s.bytes) / float64(s.spans), nil
		}},
		{name: "disk / entropy floor, " + on, target: "<= 1.35", unit: "x", once: true, command: ofSpans("disk / entropy", spans), run: func(ctx context.Context, e *bench) (float64, error) {
			s, err := e.stored(ctx)
			if err != nil {
				return 0, err
			}
			return float64(s.bytes) / float64(s.spans) / s.floor(), nil
		}},
		{name: "start to ready with data, " + on, target: "<= 2000 ms with 100M", unit: "ms", timed: true, command: ofSpans("start to ready with data", spans), run: startWithData},
		ms("trace by id, p50", "<= 0.5 ms", tracesByID(0.5, (*bench).open)),
		ms("trace by id, p99", "<= 3 ms", tracesByID(0.99, (*bench).open)),
		ms("trace by id over 4,000 segments, p50", "<= 0.5 ms", tracesByID(0.5, (*bench).openHours)),
		ms("trace by id over 4,000 segments, p99", "<= 3 ms", tracesByID(0.99, (*bench).openHours)),
		ms("trace by id, cold, p50", "reported", tracesByID(0.5, (*bench).openCold)),
		ms("trace by id, cold, p99", "reported", tracesByID(0.99, (*bench).openCold)),
		ms("trace by id and assembled, p50", "reported", assembled),
		ms("newest 20 of a service", "<= 3 ms", search(20, 12, func(s *stored, r *rand.Rand) store.Expr {
			return is(store.FieldService, s.span(r).service)
		}, fullPage)),
		ms("newest 20 of a service with status error", "<= 3 ms", search(20, 12, func(s *stored, r *rand.Rand) store.Expr {
			return store.And{is(store.FieldService, s.span(r).service), is(store.FieldStatus, span.StatusError.String())}
		}, func(n int) bool { return n == 20 || n > 0 && spans < 1_000_000 })), // a quick run has few errors of the least called services
		ms("rare attribute value, any key", "<= 1 ms per 2M", search(20, 50, func(s *stored, r *rand.Rand) store.Expr {
			return store.Cond{Field: store.Field{Key: "guid:x-request-id"}, Op: store.Eq, Value: store.Text(s.span(r).request)}
		}, func(n int) bool { return n == 1 })),
		ms("attribute value that is nowhere", "reported", search(20, 20, func(_ *stored, r *rand.Rand) store.Expr {
			return store.Cond{Field: store.Field{Key: "guid:x-request-id"}, Op: store.Eq, Value: store.Text(fmt.Sprintf("nowhere-%d", r.Uint64()))}
		}, func(n int) bool { return n == 0 })),
		ms("minimum duration over all", "<= 5 ms per 2M", search(20, 10, func(s *stored, r *rand.Rand) store.Expr {
			return store.Cond{Field: store.Field{In: store.Intrinsic, Key: store.FieldDuration}, Op: store.Ge, Value: store.Int(s.longest(10_000))}
		}, func(n int) bool { return n > 0 })),
		ms("RED over all", "<= 5 ms", rolled(rates)),
		ms("service graph", "<= 2 ms", rolled(graph)),
		ms("RED over all by scan", "<= 40 ms per 2M", scanned(rates)),
		ms("service graph of the newest 500K spans by scan", "<= 5 ms (20 ms per 2M)", scanned(func(ctx context.Context, e *bench, open opened) (float64, error) {
			return e.times(ctx, 3, 0.5, func(*rand.Rand) func() error { return func() error { return mapOf(ctx, open, open.newest(500_000)) } })
		})),
		ms("services and operations", "reported", lists),
	}
}

func ofSpans(name string, spans int64) string {
	return fmt.Sprintf("go run ./test/bench -only '%s' -spans %d", name, spans)
}

// short writes a number of spans as people say it: 200K, 2M.
func short(n int64) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 1000 && n%1000 == 0:
		return fmt.Sprintf("%dK", n/1000)
	default:
		return fmt.Sprint(n)
	}
}

func storing(ctx context.Context, e *bench) (float64, error) {
	s, err := e.stored(ctx)
	if err != nil {
		return 0, err
	}
	return s.accept.Seconds() * 1e6 / float64(s.spans), nil
}

// retryAfter is how long to wait before the same batch may be sent again; false where that is of no use.
func retryAfter(err error) (time.Duration, bool) {
	if err == nil {
		return 0, false
	}
	p := problem.Of(err)
	if p.Kind != problem.Overloaded && p.Kind != problem.Unavailable {
		return 0, false
	}
	return max(p.RetryAfter, 100*time.Millisecond), true
}

// startWithData starts the server on a copy of the folder.
func startWithData(ctx context.Context, e *bench) (float64, error) {
	s, err := e.stored(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.close(); err != nil { // its memory is needed
		return 0, err
	}
	dir, err := os.MkdirTemp(e.temp, "start-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(filepath.Join(dir, "data"), os.DirFS(s.dir)); err != nil {
		return 0, err
	}
	server, err := e.start(ctx, filepath.Join(dir, "data"))
	if err != nil {
		return 0, err
	}
	server.stop()
	return server.ready.Seconds() * 1e3, nil
}

// facts are what questions take from one span of the traffic.
type facts struct {
	service, request string
	trace            span.TraceID
	spans            int
}

// span picks a random trace's root.
func (s *stored) span(r *rand.Rand) facts {
	var t load.Trace
	s.data.Trace(r.Uint64N(s.traces), &t)
	b := &span.Batch{}
	row := s.data.Rows(b).Add(&t, r.IntN(len(t.Spans)))
	return facts{service: b.String(b.Service[row]), request: t.RequestID, trace: t.ID, spans: len(t.Spans)}
}

// longest is the duration that about one span in so many reaches, from a sample.
func (s *stored) longest(one int) int64 {
	var durations []int64
	var t load.Trace
	for no := range min(s.traces, 20_000) {
		s.data.Trace(no, &t)
		for i := range t.Spans {
			durations = append(durations, t.Spans[i].End-t.Spans[i].Start)
		}
	}
	slices.Sort(durations)
	return durations[len(durations)-1-len(durations)/one]
}

// all is the time of all spans in whole minutes, of which rollups are: where a window ends within one, its edges are scanned.
func (s *stored) all() store.TimeRange {
	const minute = int64(time.Minute)
	return store.TimeRange{From: s.data.Base / minute * minute, To: (s.last/minute + 1) * minute}
}

func is(field, value string) store.Cond {
	return store.Cond{Field: store.Field{In: store.Intrinsic, Key: field}, Op: store.Eq, Value: store.Text(value)}
}

func fullPage(n int) bool { return n == 20 }

// times runs one n times and answers the quantile of its duration in ms. one prepares a question and answers what asks it.
func (e *bench) times(ctx context.Context, n int, quantile float64, one func(r *rand.Rand) func() error) (float64, error) {
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1)) // other questions in each run
	took := make([]float64, n)
	for i := range took {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		ask := one(r)
		began, cpu := time.Now(), cpuTime()
		if err := ask(); err != nil {
			return 0, err
		}
		if took[i] = time.Since(began).Seconds() * 1e3; e.cpu {
			took[i] = (cpuTime() - cpu).Seconds() * 1e3
		}
	}
	slices.Sort(took)
	return took[min(int(quantile*float64(n)), n-1)], nil
}

// tracesByID looks up random traces of all there are, each once.
func tracesByID(quantile float64, open func(*bench, context.Context) (*stored, error)) func(context.Context, *bench) (float64, error) {
	return func(ctx context.Context, e *bench) (float64, error) {
		s, err := open(e, ctx)
		if err != nil {
			return 0, err
		}
		return e.times(ctx, 1000, quantile, func(r *rand.Rand) func() error {
			f := s.span(r)
			return func() error {
				n := 0
				for b, err := range s.engine.Trace(ctx, everyone, f.trace, store.TimeRange{}) {
					if err != nil {
						return err
					}
					n += b.Len()
				}
				return expect("spans of trace "+f.trace.String(), n, f.spans)
			}
		})
	}
}

func assembled(ctx context.Context, e *bench) (float64, error) {
	s, err := e.open(ctx)
	if err != nil {
		return 0, err
	}
	q := query.New(query.Options{Reader: s.engine})
	return e.times(ctx, 1000, 0.5, func(r *rand.Rand) func() error {
		f := s.span(r)
		return func() error {
			t, err := q.Trace(ctx, everyone, f.trace, store.TimeRange{})
			if err != nil {
				return err
			}
			return expect("rows of trace "+f.trace.String(), t.Spans, f.spans)
		}
	})
}

func expect(what string, got, want int) error {
	if got != want {
		return fmt.Errorf("%d %s, want %d", got, what, want)
	}
	return nil
}

// search is the median of n searches of one page, each with a condition of its own.
func search(limit, n int, condition func(*stored, *rand.Rand) store.Expr, right func(traces int) bool) func(context.Context, *bench) (float64, error) {
	return func(ctx context.Context, e *bench) (float64, error) {
		s, err := e.open(ctx)
		if err != nil {
			return 0, err
		}
		return e.times(ctx, n, 0.5, func(r *rand.Rand) func() error {
			plan := &store.Search{Match: condition(s, r), Limit: limit}
			return func() error {
				page, err := s.engine.Search(ctx, everyone, plan)
				if err == nil && (!page.Complete || !right(len(page.Traces))) {
					err = fmt.Errorf("%d traces (%s) for %#v", len(page.Traces), page.Reason, plan.Match)
				}
				return err
			}
		})
	}
}

// opened is the stored spans and what reads them: the engine, or one that has no rollups.
type opened struct {
	*stored
	reader store.Reader
}

// withoutRollups hides what an engine can do beyond the contract.
type withoutRollups struct{ store.Reader }

type asking func(ctx context.Context, e *bench, open opened) (float64, error)

func rolled(ask asking) func(context.Context, *bench) (float64, error) {
	return func(ctx context.Context, e *bench) (float64, error) {
		s, err := e.open(ctx)
		if err != nil {
			return 0, err
		}
		return ask(ctx, e, opened{s, s.engine})
	}
}

func scanned(ask asking) func(context.Context, *bench) (float64, error) {
	return func(ctx context.Context, e *bench) (float64, error) {
		s, err := e.open(ctx)
		if err != nil {
			return 0, err
		}
		return ask(ctx, e, opened{s, withoutRollups{s.engine}})
	}
}

// newest is the end of all time that holds about so many spans, for they came at an even rate.
func (s *stored) newest(spans int64) store.TimeRange {
	r := s.all()
	if spans < s.spans {
		r.From = s.last - int64(float64(s.last-s.data.Base)*float64(spans)/float64(s.spans))
	}
	return r
}

// rates is the overview of all services over all the time there is.
func rates(ctx context.Context, e *bench, open opened) (float64, error) {
	return e.times(ctx, 5, 0.5, func(*rand.Rand) func() error {
		q := query.New(query.Options{Reader: open.reader}) // the last one would answer from memory
		return func() error {
			a, err := q.Services(ctx, everyone, query.ServicesQuery{Range: open.all()})
			if err != nil {
				return err
			}
			if !a.Complete {
				return fmt.Errorf("rates are not complete: %s", a.Reason)
			}
			return expect("services", len(a.Items), load.Services)
		}
	})
}

// graph is who called whom over all the time there is.
func graph(ctx context.Context, e *bench, open opened) (float64, error) {
	return e.times(ctx, 5, 0.5, func(*rand.Rand) func() error { return func() error { return mapOf(ctx, open, open.all()) } })
}

func mapOf(ctx context.Context, open opened, r store.TimeRange) error {
	a, err := query.New(query.Options{Reader: open.reader}).Map(ctx, everyone, query.MapQuery{Range: r})
	if err != nil {
		return err
	}
	if !a.Complete || len(a.Nodes) < load.Services || len(a.Edges) < load.Services {
		return fmt.Errorf("%d nodes and %d edges: %s", len(a.Nodes), len(a.Edges), a.Reason)
	}
	return nil
}

// lists are the two lists that every UI asks for first.
func lists(ctx context.Context, e *bench) (float64, error) {
	s, err := e.open(ctx)
	if err != nil {
		return 0, err
	}
	return e.times(ctx, 5, 0.5, func(r *rand.Rand) func() error {
		f := s.span(r)
		return func() error {
			services, done, err := s.engine.Services(ctx, everyone, s.all())
			if err != nil {
				return err
			}
			operations, again, err := s.engine.Operations(ctx, everyone, f.service, s.all())
			if err != nil {
				return err
			}
			if !done.Complete || !again.Complete || len(operations) == 0 {
				return fmt.Errorf("%d operations of %s: %s %s", len(operations), f.service, done.Reason, again.Reason)
			}
			return expect("services", len(services), load.Services)
		}
	})
}
