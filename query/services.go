package query

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
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
	Deviation     float64 // standard error of Weight from the size of the sample; 0 where every weight is 1
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

// Services answers rate, errors and durations per service in the window and in the hour before it: from rollups where the
// engine keeps them, else by one scan.
//
// A call is counted by its entry span: a span of kind server or consumer, for services that have none their root spans. Where
// a sidecar and the application report the same calls under one service name, the side that saw more of them counts, so
// that no call counts twice. Copies of a span that the store still holds twice are counted twice. Sparklines from rollups are
// made of whole minutes: one that lies across two buckets counts where it begins.
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
	counted, err := q.countCalls(ctx, s, &counts)
	if err != nil {
		return nil, err
	}
	a := &ServicesAnswer{Items: make([]ServiceFigures, 0, len(services)), Done: joinDone(counted, done)}
	for _, service := range services {
		a.Items = append(a.Items, counts.figures(service))
	}
	if a.Complete {
		q.recent.keep(s, sq, now, a)
	}
	return a, nil
}

// countCalls counts the window and the hour before it.
func (q *Query) countCalls(ctx context.Context, s store.Scope, counts *callCounts) (store.Done, error) {
	from, middle, to := counts.sq.Range.From-int64(compareWith), counts.sq.Range.From, counts.sq.Range.To
	before, window := wholeMinutes(store.TimeRange{From: from, To: middle}), wholeMinutes(store.TimeRange{From: middle, To: to})
	done := store.Done{Complete: true}
	scan := func(r store.TimeRange) error {
		if r.From >= r.To {
			return nil
		}
		d, err := q.scan(ctx, s, &store.Scan{Range: r, Mode: store.Start, Match: entrySpans,
			Need: store.Need{Columns: store.ColKind | store.ColStatus | store.ColMark | store.ColTime | store.ColWeight | store.ColService}}, counts.rows)
		d, err = without(ctx, d, err, len(counts.byName) > 0)
		done = joinDone(done, d)
		return err
	}
	tables := make([]*rollup.Table, 2)
	for i, r := range []store.TimeRange{before, window} {
		table, d, ok, err := q.rollups(ctx, s, r)
		if err != nil {
			return d, err
		}
		if !ok {
			return done, scan(store.TimeRange{From: from, To: to})
		}
		tables[i], done = table, joinDone(done, d)
	}
	for _, table := range tables {
		for k, cells := range table.Series() {
			counts.cells(k, cells)
		}
	}
	for _, r := range []store.TimeRange{{From: from, To: before.From}, {From: before.To, To: window.From}, {From: window.To, To: to}} {
		if err := scan(r); err != nil {
			return done, err
		}
	}
	return done, nil
}

var entrySpans = store.Or{
	intrinsicIs(store.FieldKind, span.KindServer.String()),
	intrinsicIs(store.FieldKind, span.KindConsumer.String()),
	store.Cond{Field: store.Field{In: store.Intrinsic, Key: store.FieldRoot}, Op: store.Eq, Value: store.Bool(true)},
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
	window, before     rollup.Counts
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
		c.add(&count[classOf(b.Kind[row], b.Mark[row]&span.MarkProxy != 0)], b, row, failed.row(row))
	}
}

func classOf(k span.Kind, proxy bool) entryClass {
	switch {
	case !serves(k):
		return rootEntry
	case proxy:
		return proxyEntry
	default:
		return appEntry
	}
}

// cells adds a series of a rollup.
func (c *callCounts) cells(k rollup.SeriesKey, cells []rollup.Cell) {
	if !serves(k.Kind) && k.Flags&rollup.Root == 0 {
		return
	}
	service, ok := c.byName[k.Service]
	if !ok {
		service = new(serviceCount)
		c.byName[k.Service] = service
	}
	count := &service[classOf(k.Kind, k.Flags&rollup.Proxy != 0)]
	for i := range cells {
		cell := &cells[i]
		if cell.Start < c.sq.Range.From {
			count.before.Merge(&cell.Counts)
			continue
		}
		count.window.Merge(&cell.Counts)
		c.spark(count, cell.Start, cell.Weight, cell.ErrorWeight)
	}
}

func (c *callCounts) add(count *callCount, b *span.Batch, row int, failed bool) {
	period := &count.window
	if b.Time[row] < c.sq.Range.From {
		period = &count.before
	}
	weight, failedWeight := b.Weight[row], 0.0
	if failed {
		failedWeight = weight
	}
	period.Add(b.TraceID[row], b.Duration(row), weight, failed)
	if period == &count.window {
		c.spark(count, b.Time[row], weight, failedWeight)
	}
}

func (c *callCounts) spark(count *callCount, at int64, weight, failed float64) {
	if c.sq.Buckets == 0 {
		return
	}
	if count.spark == nil {
		count.spark, count.sparkErrors = make([]float64, c.sq.Buckets), make([]float64, c.sq.Buckets)
	}
	i := int(float64(at-c.sq.Range.From) / float64(c.sq.Range.To-c.sq.Range.From) * float64(c.sq.Buckets))
	i = min(max(i, 0), c.sq.Buckets-1)
	count.spark[i] += weight
	count.sparkErrors[i] += failed
}

// choose takes the side that saw more of the calls, or the roots where nobody serves.
func (c *serviceCount) choose() *callCount {
	seen := func(e entryClass) float64 { return c[e].window.Weight + c[e].before.Weight }
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
	f.RED, f.Before = figuresOf(&count.window, window), figuresOf(&count.before, compareWith)
	bucket := window.Seconds() / float64(max(c.sq.Buckets, 1))
	for i := range count.spark {
		f.Spark[i], f.SparkErrors[i] = count.spark[i]/bucket, count.sparkErrors[i]/bucket
	}
	return f
}

func figuresOf(c *rollup.Counts, over time.Duration) RED {
	r := RED{N: c.N, Weight: c.Weight, Errors: c.ErrorWeight, Rate: c.Weight / over.Seconds()}
	if c.Weight > 0 {
		r.ErrorRate = c.ErrorWeight / c.Weight
		r.P50, r.P95, r.P99 = c.Durations.Quantile(0.50), c.Durations.Quantile(0.95), c.Durations.Quantile(0.99)
	}
	r.Deviation = math.Sqrt(c.Variance)
	r.Estimated = c.Weight != float64(c.N) || r.Deviation > 0
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
