package traceql

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
)

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
		Done: m.spent.complete(store.Done{Complete: m.complete, Reason: m.reason})}
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
