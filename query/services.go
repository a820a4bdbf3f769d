package query

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// ServicesQuery asks for the services of a window with their figures.
type ServicesQuery struct {
	Range   store.TimeRange // both ends set
	Buckets int             // of the sparklines, 0 to MaxBuckets
}

// MaxBuckets is the most buckets of a sparkline.
const MaxBuckets = 120

// compareWith is the stretch of time before the window that it is compared with.
const compareWith = time.Hour

// RED is rate, errors and duration of the calls to a service.
type RED struct {
	N             int64   // calls counted raw
	Weight        float64 // Σ weight: the calls there were before sampling
	Errors        float64 // Σ weight of those that failed
	Rate          float64 // Weight per second
	ErrorRate     float64 // Errors / Weight, 0 to 1
	P50, P95, P99 int64   // ns, off by at most 1.6 %
	Estimated     bool    // a weight was not 1
}

// ServiceFigures is a service with its figures.
type ServiceFigures struct {
	store.Service
	RED         RED       // of the window
	Before      RED       // of the hour before the window's start
	Spark       []float64 // calls per second in equal parts of the window
	SparkErrors []float64
}

// ServicesAnswer lists services by name.
type ServicesAnswer struct {
	Items []ServiceFigures
	store.Done
}

// Services answers rate, errors and durations per service, by one scan over the window and the hour before it.
//
// A call is counted by its entry span: a span of kind server or consumer, for services that have none their root spans. Where
// a sidecar and the application report the same calls under one service name, the side that saw more of them counts, so
// that no call counts twice. Copies of a span that the store still holds twice are counted twice.
//
// An answer cut by Limits, or of an engine that could not read everything, has Complete false and figures that are too low.
// Answers are up to two seconds old, because overviews poll.
func (q *Query) Services(ctx context.Context, s store.Scope, sq ServicesQuery) (*ServicesAnswer, error) {
	if sq.Range.To <= sq.Range.From {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "start", Message: "the window ends before it starts", Hint: "give a start before the end"}
	}
	if sq.Buckets < 0 || sq.Buckets > MaxBuckets {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "buckets", Message: fmt.Sprintf("buckets is %d", sq.Buckets), Hint: fmt.Sprintf("use 0 to %d", MaxBuckets)}
	}
	now := q.now()
	if a := q.recent.find(s, sq, now); a != nil {
		return a, nil
	}
	services, done, err := q.store.Services(ctx, s, sq.Range)
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	counts := callCounts{sq: sq, byName: make(map[string]*serviceCount)}
	scanned, err := q.scan(ctx, s, &store.Scan{
		Range: store.TimeRange{From: sq.Range.From - int64(compareWith), To: sq.Range.To}, Mode: store.Start, Match: entrySpans,
		Need: store.Need{Columns: store.ColKind | store.ColStatus | store.ColMark | store.ColTime | store.ColWeight | store.ColService},
	}, counts.rows)
	if err != nil {
		return nil, err
	}
	a := &ServicesAnswer{Items: make([]ServiceFigures, 0, len(services)), Done: scanned}
	if !done.Complete && a.Complete {
		a.Complete, a.Reason = false, done.Reason
	}
	a.Read.Blocks += done.Read.Blocks
	a.Read.Of += done.Read.Of
	a.Read.Bytes += done.Read.Bytes
	for _, service := range services {
		a.Items = append(a.Items, counts.figures(service))
	}
	if a.Complete {
		q.recent.keep(s, sq, now, a)
	}
	return a, nil
}

var entrySpans = store.Or{
	intrinsicIs(store.FieldKind, span.KindServer.String()),
	intrinsicIs(store.FieldKind, span.KindConsumer.String()),
	store.Cond{Field: store.Field{In: store.Intrinsic, Key: store.FieldRoot}, Op: store.Eq, Value: store.Bool(true)},
}

// scan runs a plan inside of the limits. It answers an error only where nothing can be said; a limit or a cut answer is Done.
func (q *Query) scan(ctx context.Context, s store.Scope, plan *store.Scan, each func(store.Rows)) (store.Done, error) {
	leave, err := q.Admit(ctx, Sweep)
	if err != nil {
		return store.Done{}, err
	}
	defer leave()
	limited, cancel := context.WithTimeout(ctx, q.limits.ScanTime)
	defer cancel()
	done := store.Done{Complete: true}
	rows := int64(0)
	for r, err := range q.store.Scan(limited, s, plan) {
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				done.Complete, done.Reason = false, fmt.Sprintf("stopped after %s", q.limits.ScanTime)
				return done, nil
			}
			return done, fmt.Errorf("scan: %w", err)
		}
		done.Read.Blocks += r.Read.Blocks
		done.Read.Of = max(done.Read.Of, r.Read.Of)
		done.Read.Bytes += r.Read.Bytes
		each(r)
		if rows += int64(len(r.Rows)); rows >= q.limits.ScanRows {
			done.Complete, done.Reason = false, fmt.Sprintf("stopped after %d spans", rows)
			return done, nil
		}
		if limited.Err() != nil && ctx.Err() == nil {
			done.Complete, done.Reason = false, fmt.Sprintf("stopped after %s", q.limits.ScanTime)
			return done, nil
		}
	}
	return done, ctx.Err()
}

// entryClass is by what a call is counted.
type entryClass uint8

const (
	proxyEntry entryClass = iota
	appEntry
	rootEntry
	numEntries
)

// callCount is the calls of one class.
type callCount struct {
	window, before struct {
		n              int64
		weight, errors float64
		durations      Histogram
	}
	estimated          bool
	spark, sparkErrors []float64 // weights
}

type serviceCount [numEntries]callCount

// callCounts sums the rows of a scan by service.
type callCounts struct {
	sq     ServicesQuery
	byName map[string]*serviceCount
}

func (c *callCounts) rows(r store.Rows) {
	b, failed := r.Batch, failuresIn(r.Batch)
	var last span.Str // rows of one service come in runs
	var count *serviceCount
	for _, i := range r.Rows {
		row := int(i)
		if s := b.Service[row]; count == nil || s != last {
			name := b.Bytes(s)
			var ok bool
			if count, ok = c.byName[string(name)]; !ok {
				count = new(serviceCount)
				c.byName[string(name)] = count
			}
			last = s
		}
		class := rootEntry
		if serves(b.Kind[row]) {
			class = appEntry
			if b.Mark[row]&span.MarkProxy != 0 {
				class = proxyEntry
			}
		}
		c.add(&count[class], b, row, failed.row(row))
	}
}

func (c *callCounts) add(count *callCount, b *span.Batch, row int, failed bool) {
	weight := b.Weight[row]
	period := &count.window
	if b.Time[row] < c.sq.Range.From {
		period = &count.before
	}
	period.n++
	period.weight += weight
	period.durations.Add(b.Duration(row), weight)
	if failed {
		period.errors += weight
	}
	count.estimated = count.estimated || weight != 1
	if c.sq.Buckets == 0 || period == &count.before {
		return
	}
	if count.spark == nil {
		count.spark, count.sparkErrors = make([]float64, c.sq.Buckets), make([]float64, c.sq.Buckets)
	}
	at := int(float64(b.Time[row]-c.sq.Range.From) / float64(c.sq.Range.To-c.sq.Range.From) * float64(c.sq.Buckets))
	at = min(max(at, 0), c.sq.Buckets-1)
	count.spark[at] += weight
	if failed {
		count.sparkErrors[at] += weight
	}
}

// choose takes the side that saw more of the calls, or the roots where nobody serves.
func (c *serviceCount) choose() *callCount {
	seen := func(e entryClass) float64 { return c[e].window.weight + c[e].before.weight }
	switch {
	case seen(appEntry) > seen(proxyEntry):
		return &c[appEntry]
	case seen(proxyEntry) > 0:
		return &c[proxyEntry]
	default:
		return &c[rootEntry]
	}
}

func (c *callCounts) figures(s store.Service) ServiceFigures {
	f := ServiceFigures{Service: s, Spark: make([]float64, c.sq.Buckets), SparkErrors: make([]float64, c.sq.Buckets)}
	counts, ok := c.byName[s.Name]
	if !ok {
		return f
	}
	count := counts.choose()
	window := time.Duration(c.sq.Range.To - c.sq.Range.From)
	f.RED = figuresOf(count.window.n, count.window.weight, count.window.errors, &count.window.durations, window)
	f.Before = figuresOf(count.before.n, count.before.weight, count.before.errors, &count.before.durations, compareWith)
	f.RED.Estimated, f.Before.Estimated = count.estimated, count.estimated
	bucket := window.Seconds() / float64(max(c.sq.Buckets, 1))
	for i := range count.spark {
		f.Spark[i], f.SparkErrors[i] = count.spark[i]/bucket, count.sparkErrors[i]/bucket
	}
	return f
}

func figuresOf(n int64, weight, failed float64, h *Histogram, over time.Duration) RED {
	r := RED{N: n, Weight: weight, Errors: failed, Rate: weight / over.Seconds()}
	if weight > 0 {
		r.ErrorRate = failed / weight
		r.P50, r.P95, r.P99 = h.Quantile(0.50), h.Quantile(0.95), h.Quantile(0.99)
	}
	return r
}

// recentServices holds the last few answers: several viewers of one overview ask for nearly the same window.
type recentServices struct {
	mu   sync.Mutex
	list []recentAnswer // oldest first
}

type recentAnswer struct {
	tenant string
	sq     ServicesQuery
	at     time.Time
	answer *ServicesAnswer
}

const (
	recentFor  = 2 * time.Second
	recentKept = 8
)

// find answers what was computed for the same question, its window moved by no more than the time since.
func (c *recentServices) find(s store.Scope, sq ServicesQuery, now time.Time) *ServicesAnswer {
	if s.MustMatch != nil {
		return nil // no key for a predicate
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.list) - 1; i >= 0; i-- {
		r := &c.list[i]
		age := now.Sub(r.at)
		moved := sq.Range.From - r.sq.Range.From
		if age >= 0 && age < recentFor && r.tenant == s.Tenant && r.sq.Buckets == sq.Buckets &&
			sq.Range.To-r.sq.Range.To == moved && moved >= 0 && moved <= int64(age) {
			return r.answer
		}
	}
	return nil
}

func (c *recentServices) keep(s store.Scope, sq ServicesQuery, now time.Time, a *ServicesAnswer) {
	if s.MustMatch != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) == recentKept {
		c.list = append(c.list[:0], c.list[1:]...)
	}
	c.list = append(c.list, recentAnswer{s.Tenant, sq, now, a})
}
