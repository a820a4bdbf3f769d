// Package traceql is the query language: lexer, parser, validation, printer, planner and evaluator, for searches and for
// metrics. It knows the contract of store and no engine, and neither HTTP nor gRPC: dialects parse their parameters, call
// an Engine and encode what it answers.
//
// A query goes three ways. Parse makes a typed tree and checks it. The planner turns what it can into a store.Expr that
// every answer must meet, so that the engine leaves out what cannot be one. The evaluator runs the query itself on the
// columns of the traces that remain. docs/traceql.md lists every construct and every difference from Tempo.
package traceql

import (
	"context"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Options are what an Engine stands on and the bounds of one query. A zero field takes its default.
type Options struct {
	Now       func() time.Time // the wall clock
	MaxBytes  int64            // memory of one query: rows held at once, series, results; 256 MiB
	MaxTime   time.Duration    // wall time of one query; 20 s
	MaxSeries int              // series of a metrics answer; 1,000
	MaxSpans  int64            // spans looked at; 50,000,000
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 20
	}
	if o.MaxTime <= 0 {
		o.MaxTime = 20 * time.Second
	}
	if o.MaxSeries <= 0 {
		o.MaxSeries = 1000
	}
	if o.MaxSpans <= 0 {
		o.MaxSpans = 50_000_000
	}
	return o
}

// room is how many spans the steps of a query may name in one trace: a quarter of the memory.
func (o Options) room() int { return int(o.MaxBytes / 16) }

// Engine answers queries from a store. It is safe for concurrent use. How many queries run at once is the caller's affair:
// see query.Query.Admit.
type Engine struct {
	reader  store.Reader
	options Options
}

// New makes an Engine.
func New(reader store.Reader, o Options) *Engine {
	return &Engine{reader: reader, options: o.withDefaults()}
}

// SearchRequest asks for traces.
type SearchRequest struct {
	Query       *Query
	Range       store.TimeRange // spans that overlap it are the input of the query
	Limit       int             // traces; 0 is 20
	SpansPerSet int             // spans listed of each set; 0 is 3, negative is all. SpanSet.Matched counts all
	// Bounds of the trace's duration, last end minus first start; MaxDuration 0 is open.
	MinDuration, MaxDuration time.Duration
}

// SearchResult is traces, newest first: by the start of the newest span that could be an answer (see store.Reader.Search),
// then by trace id. A query past its budgets has Complete false and says in Reason which; what was found stands.
type SearchResult struct {
	Traces []TraceResult
	store.Done
	InspectedTraces, InspectedSpans int64
}

// TraceResult is one trace of an answer with the span sets that the query left of it: at least one.
type TraceResult struct {
	TraceID               span.TraceID
	RootService, RootName string
	RootMissing           bool  // no span without parent is here; the earliest one stands in
	Start, End            int64 // ns, over all spans of the trace
	Received              int64 // receipt of its newest span, ns
	Spans, Errors         int   // of the trace
	Services              []store.ServiceInSummary
	Sets                  []SpanSet
}

// SpanSet is spans of one trace that belong together.
type SpanSet struct {
	Matched int           // spans of the set
	Spans   []MatchedSpan // the first of them
	Attrs   []Attr        // values of by() and of aggregates, in the order of the pipeline
}

// MatchedSpan is one span of a set.
type MatchedSpan struct {
	SpanID   span.SpanID
	Name     string // as shown: never empty
	Service  string
	Kind     span.Kind
	Start    int64 // effective start, ns
	Duration int64
	// Attrs are the attributes and intrinsics that the query names in filters, by() and select() and that the span has, each
	// once, in the order of the query. Name, service, kind, start and duration stand above and are here too where named.
	Attrs []Attr
}

// Attr is a named value. Name is what TraceQL writes: span.http.method, resource.service.name, .foo, status, by(name), count().
type Attr struct {
	Name  string
	Value Value
}

// Search runs a query over traces. progress may be nil; it is called now and then from the same goroutine with the traces found
// since its last call (each trace once) and the counts so far. The result holds all of them. Errors: Invalid where the
// query is a metrics query or cannot be computed on the data (division by zero); those of the store. A cancelled context
// ends the search between two batches with its error.
func (e *Engine) Search(ctx context.Context, s store.Scope, r SearchRequest, progress func(*SearchResult)) (*SearchResult, error) {
	return e.search(ctx, s, r, progress)
}

// MetricsRequest asks for series.
type MetricsRequest struct {
	Query *Query
	// Range and Step are cut into buckets: those borders are multiples of Step, so the first and the last may reach beyond
	// the range. A span counts in the bucket (t-step, t] of its effective start, t being the sample's time.
	Range store.TimeRange
	Step  time.Duration
	// Instant asks for one bucket of the whole range; its samples carry Range.To. Step is then without meaning.
	Instant   bool
	Exemplars int // at most so many over all series; 0 for none. The query's hint exemplars wins
}

// MetricsResult is series sorted by their labels.
type MetricsResult struct {
	Series []Series
	store.Done
	InspectedSpans int64
}

// Series is one line of a chart: Samples by time, without those that have no value.
type Series struct {
	Labels    []Attr
	Samples   []Sample
	Exemplars []Exemplar
}

// Sample is a value at an instant in ns.
type Sample struct {
	Time  int64
	Value float64
}

// Exemplar is a span that stands for a series. Value is NaN for functions that count.
type Exemplar struct {
	Time    int64
	Value   float64
	TraceID span.TraceID
	SpanID  span.SpanID
	Labels  []Attr
}

// Metrics runs a metrics query. progress may be nil; it is called now and then with the whole answer as it stands, which later
// calls replace. Counts are raw (not weighted). Errors as of Search.
func (e *Engine) Metrics(ctx context.Context, s store.Scope, r MetricsRequest, progress func(*MetricsResult)) (*MetricsResult, error) {
	return e.metrics(ctx, s, r, progress)
}
