package traceql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
)

// metricsPage is how many candidates are asked for at once: all are wanted, and a page costs a walk over the blocks.
const metricsPage = 20_000

// maxBuckets bounds the points of a series.
const maxBuckets = 20_000

// buckets are the instants of the samples: bucket i is (first+(i-1)*step, first+i*step]; an instant query has one, [from, to].
type buckets struct {
	first, step int64
	n           int
	window      store.TimeRange // starts of the spans that count
	seconds     float64         // of one bucket, what rate divides by
}

func newBuckets(r MetricsRequest) (buckets, error) {
	if r.Range.To <= r.Range.From || r.Range.From < 0 {
		return buckets{}, &problem.Problem{Kind: problem.Invalid, Field: "start", Message: "the window ends before it starts", Hint: "give a start before the end"}
	}
	if r.Instant {
		length := r.Range.To - r.Range.From
		return buckets{first: r.Range.To, step: length, n: 1, window: store.TimeRange{From: r.Range.From, To: r.Range.To + 1},
			seconds: float64(length) / 1e9}, nil
	}
	step := int64(r.Step)
	if step <= 0 {
		return buckets{}, &problem.Problem{Kind: problem.Invalid, Field: "step", Message: fmt.Sprintf("step is %s", r.Step), Hint: "give a positive duration such as 15s"}
	}
	first := r.Range.From - r.Range.From%step
	last := r.Range.To
	if over := last % step; over != 0 {
		last += step - over
	}
	n := (last-first)/step + 1
	if n > maxBuckets {
		return buckets{}, &problem.Problem{Kind: problem.Invalid, Field: "step", Message: fmt.Sprintf("a step of %s cuts the window into %d parts", r.Step, n),
			Hint: fmt.Sprintf("use a longer step: at most %d parts", maxBuckets)}
	}
	return buckets{first: first, step: step, n: int(n), window: store.TimeRange{From: first - step + 1, To: last + 1}, seconds: float64(step) / 1e9}, nil
}

// of is the bucket of a start inside of the window.
func (b buckets) of(start int64) int {
	if b.n == 1 {
		return 0
	}
	return int((start - b.window.From) / b.step)
}

func (b buckets) time(i int) int64 { return b.first + int64(i)*b.step }

// series is a line on its way: NaN where there is no value.
type series struct {
	labels    []Attr
	values    []float64
	exemplars []Exemplar
}

// measure is one metrics query on its way.
type measure struct {
	engine    *Engine
	scope     store.Scope
	buckets   buckets
	exemplars int
	spent     cost
	complete  bool
	reason    string
	progress  func([]series) // of the whole query; nil where it has several parts
	told      time.Time
}

func (e *Engine) metrics(ctx context.Context, s store.Scope, r MetricsRequest, progress func(*MetricsResult)) (*MetricsResult, error) {
	if r.Query == nil || !r.Query.IsMetrics() {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "q", Message: "not a metrics query", Hint: "end it with a metrics function: { ... } | rate()"}
	}
	b, err := newBuckets(r)
	if err != nil {
		return nil, err
	}
	m := &measure{engine: e, scope: s, buckets: b, exemplars: exemplarsOf(r), spent: cost{options: e.options}, complete: true}
	limited, cancel := context.WithTimeout(ctx, e.options.MaxTime)
	defer cancel()
	if p, ok := r.Query.Metrics.(*MetricPipeline); ok && progress != nil {
		m.told = e.options.Now()
		m.progress = func(now []series) { progress(m.result(applyStages(now, p.Stages))) }
	}
	out, err := m.eval(limited, r.Query.Metrics)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return m.result(out.series), nil
}

// exemplarsOf is how many exemplars are wanted; the hint wins.
func exemplarsOf(r MetricsRequest) int {
	const most = 1000
	n := r.Exemplars
	if v, ok := r.Query.Hint("exemplars"); ok {
		switch v.Type {
		case TypeBool:
			if !v.Bool() {
				return 0
			}
			if n == 0 {
				n = 100
			}
		case TypeInt:
			n = int(min(v.n, most))
		}
	}
	return max(0, min(n, most))
}

func (m *measure) result(list []series) *MetricsResult {
	slices.SortFunc(list, func(a, b series) int { return compareLabels(a.labels, b.labels) })
	r := &MetricsResult{InspectedSpans: m.spent.spans, Series: make([]Series, 0, len(list)),
		Done: store.Done{Complete: m.complete, Reason: m.reason, Read: m.spent.read}}
	for _, s := range list {
		out := Series{Labels: s.labels, Exemplars: s.exemplars}
		for i, v := range s.values {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				out.Samples = append(out.Samples, Sample{Time: m.buckets.time(i), Value: v})
			}
		}
		r.Series = append(r.Series, out)
	}
	return r
}

// eval computes an expression: series, or a number.
func (m *measure) eval(ctx context.Context, e MetricExpr) (operandOfMath, error) {
	switch e := e.(type) {
	case *MetricNumber:
		return operandOfMath{number: e.Value.Float(), isNumber: true}, nil
	case *MetricStages:
		x, err := m.eval(ctx, e.X)
		x.series = applyStages(x.series, e.Stages)
		return x, err
	case *MetricMath:
		l, err := m.eval(ctx, e.L)
		if err != nil {
			return l, err
		}
		r, err := m.eval(ctx, e.R)
		if err != nil {
			return r, err
		}
		return combine(e.Op, l, r), nil
	}
	p := e.(*MetricPipeline)
	list, err := m.pipeline(ctx, p)
	return operandOfMath{series: applyStages(list, p.Stages)}, err
}

// sink takes the spans that a pipeline leaves.
type sink interface {
	// rebuild compiles the expressions of the function for the evaluator that observe will get.
	rebuild(c *compiler) error
	observe(ev *evaluator, row, bucket int)
	series() []series
}

func (m *measure) pipeline(ctx context.Context, p *MetricPipeline) ([]series, error) {
	c := newCompiler()
	sink, err := m.newSink(c, p.Func)
	if err != nil {
		return nil, err
	}
	local, isLocal := localCondition(p.Pipeline)
	var cond *node
	if isLocal {
		if local != nil {
			if cond, err = c.expr(local); err != nil {
				return nil, err
			}
		}
		isLocal = c.local()
	}
	if isLocal {
		err = m.scan(ctx, c, local, cond, p.Func, sink)
	} else {
		err = m.traces(ctx, p, sink)
	}
	if reason, ok := m.spent.partial(err); ok {
		m.complete, m.reason = false, reason
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return sink.series(), nil
}

// localCondition is the condition of a pipeline that asks every span alone: filters, joined by ||.
func localCondition(p *Pipeline) (Expr, bool) {
	var all Expr
	for _, e := range p.Elements {
		var next Expr
		switch e := e.(type) {
		case *Filter, *SpansetOp:
			var ok bool
			if next, ok = localElement(e); !ok {
				return nil, false
			}
		case *Select, *Coalesce:
		default:
			return nil, false
		}
		switch {
		case all == nil:
			all = next
		case next != nil:
			all = &Binary{Op: OpAnd, L: all, R: next}
		}
	}
	return all, true
}

// localElement is nil for {}.
func localElement(e Element) (Expr, bool) {
	switch e := e.(type) {
	case *Filter:
		return e.Expr, true
	case *SpansetOp:
		l, lok := localElement(e.L)
		r, rok := localElement(e.R)
		if e.Op != OpOr || !lok || !rok {
			return nil, false
		}
		if l == nil || r == nil {
			return nil, true
		}
		return &Binary{Op: OpOr, L: l, R: r}, true
	default:
		return nil, false
	}
}

// scan feeds the sink with rows of a scan. Copies of a span that the store still holds twice count twice.
func (m *measure) scan(ctx context.Context, c *compiler, local Expr, cond *node, f *MetricFunc, to sink) error {
	p := always
	if local != nil {
		p = bounded(planExpr(local, wantTrue))
	}
	if p.exact {
		cond = nil
	}
	q := &store.Scan{Range: m.buckets.window, Mode: store.Start, Match: p.expr, Need: m.need(c, f)}
	ev := newEvaluator(c)
	for r, err := range m.engine.reader.Scan(ctx, m.scope, q) {
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		m.spent.add(r.Read)
		m.spent.spans += int64(len(r.Rows))
		ev.bind(r.Batch, nil)
		for n, i := range r.Rows {
			if err := ev.pause(n, ctx.Err); err != nil {
				return err
			}
			row := int(i)
			if ev.holds(cond, row) {
				to.observe(ev, row, m.buckets.of(r.Batch.Time[row]))
			}
		}
		if ev.err != nil {
			return ev.err
		}
		if err := m.step(ctx, to); err != nil {
			return err
		}
	}
	return nil
}

func (m *measure) need(c *compiler, f *MetricFunc) store.Need {
	if f.Filter != nil {
		return store.Everything()
	}
	n := c.need()
	if m.exemplars == 0 && !c.tree {
		n.Columns = store.ColTime
		if c.parents {
			n.Columns |= store.ColParent
		}
		for _, f := range c.fields {
			n.Columns |= columnsOf(f)
		}
	}
	return n
}

// step looks at the bounds between two batches.
func (m *measure) step(ctx context.Context, to sink) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.spent.check(0); err != nil {
		return err
	}
	if m.progress != nil {
		if now := m.engine.options.Now(); now.Sub(m.told) >= time.Second {
			m.told = now
			m.progress(to.series())
		}
	}
	return nil
}

// traces feeds the sink with what the pipeline leaves of every trace that has a span in the window.
func (m *measure) traces(ctx context.Context, p *MetricPipeline, to sink) error {
	c := newCompiler()
	steps, err := c.pipeline(p.Pipeline)
	if err != nil {
		return err
	}
	if err := to.rebuild(c); err != nil {
		return err
	}
	need := m.need(c, p.Func)
	need.Columns |= store.ColIdentity
	run := runner{ev: newEvaluator(c), cancelled: ctx.Err, room: m.engine.options.room()}
	window := match.Window{TimeRange: m.buckets.window, Mode: store.Start}
	q := &store.Search{Range: window.TimeRange, Mode: store.Start, Match: planPipeline(p.Pipeline).expr, Limit: metricsPage}
	for {
		page, err := m.engine.reader.Search(ctx, m.scope, q)
		if err != nil {
			return fmt.Errorf("search: %w", err)
		}
		m.spent.add(page.Read)
		for list := page.Traces; len(list) > 0; {
			n := together(list)
			if err := m.some(ctx, list[:n], c, need, &run, steps, window, to); err != nil {
				return err
			}
			list = list[n:]
			if err := m.step(ctx, to); err != nil {
				return err
			}
		}
		if !page.Complete {
			if page.Reason == outOfTime || ctx.Err() != nil {
				return errors.Join(context.DeadlineExceeded, ctx.Err())
			}
			m.complete, m.reason = false, page.Reason
		}
		if page.Next == "" {
			return nil
		}
		q.Page = page.Next
	}
}

func (m *measure) some(ctx context.Context, list []store.Summary, c *compiler, need store.Need, run *runner, steps pipeline, window match.Window, to sink) error {
	ids, hint := idsOf(list)
	f, err := m.engine.gather(ctx, m.scope, ids, hint, c, need, &m.spent)
	if err != nil {
		return err
	}
	run.frame = f
	run.ev.bind(f.batch, f)
	for i := range f.traces {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.spent.traces++
		input := run.begin(&f.traces[i], func(row int) bool { return window.Row(f.batch, row) })
		if len(input.spans) == 0 {
			continue
		}
		run.sets = append(run.sets[:0], input)
		for _, set := range steps.run(run, run.sets) {
			for _, local := range set.spans {
				row := int(run.rows[local])
				to.observe(run.ev, row, m.buckets.of(f.batch.Time[row]))
			}
		}
		if run.ev.err != nil {
			return run.ev.err
		}
	}
	return nil
}

// idsOf lists the ids of traces and the range that holds all their spans.
func idsOf(list []store.Summary) ([]span.TraceID, store.TimeRange) {
	ids := make([]span.TraceID, len(list))
	hint := store.TimeRange{From: list[0].Start, To: list[0].End}
	for i, c := range list {
		ids[i] = c.TraceID
		hint.From, hint.To = min(hint.From, c.Start), max(hint.To, c.End)
	}
	hint.To++
	return ids, hint
}

// together is how many of a list of traces are read at once.
func together(list []store.Summary) int {
	n, spans := 0, 0
	for n < len(list) && (n == 0 || spans+list[n].Spans <= spansAtOnce) {
		spans += list[n].Spans
		n++
	}
	return n
}
