package traceql

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/spanloom/spanloom/span"
)

func (m *measure) newSink(c *compiler, f *MetricFunc) (sink, error) {
	if f.Filter != nil {
		s := &comparisonSink{measure: m, fn: f, counts: [2]map[string]*attrCounts{{}, {}}}
		return s, s.rebuild(c)
	}
	g := &groups{measure: m, fn: f, byKey: make(map[string]*group)}
	return g, g.rebuild(c)
}

// groups sums spans up by the values of by().
type groups struct {
	measure *measure
	fn      *MetricFunc
	attr    *node
	by      []*node
	byKey   map[string]*group
	list    []*group
	key     []byte
	placed  int // exemplars
	full    bool
}

// group is one series (several for quantiles and histograms).
type group struct {
	labels    []Attr
	sums      []float64 // counts, sums, minima or maxima
	ns        []float64 // of avg; of sum, min and max: whether there is a value
	powers    []*[powers]float64
	seconds   bool // histogram of durations
	exemplars []Exemplar
	slots     []bool
}

const powers = 64 // of two: up to 2^63

func (g *groups) rebuild(c *compiler) (err error) {
	if g.fn.Attr != nil {
		if g.attr, err = c.expr(g.fn.Attr); err != nil {
			return err
		}
	}
	g.by = g.by[:0]
	for _, e := range g.fn.By {
		n, err := c.expr(e)
		if err != nil {
			return err
		}
		g.by = append(g.by, n)
	}
	return nil
}

func (g *groups) observe(ev *evaluator, row, bucket int) {
	if g.attr == nil {
		if gr := g.find(ev, row); gr != nil {
			gr.sums[bucket]++
			g.exemplar(gr, ev, row, bucket, math.NaN())
		}
		return
	}
	v := ev.valueOf(g.attr, row)
	if v.typ != TypeArray {
		g.number(ev, row, bucket, v)
		return
	}
	for _, e := range slices.Clone(v.list) { // find below computes on the same scratch
		g.number(ev, row, bucket, e)
	}
}

func (g *groups) number(ev *evaluator, row, bucket int, v val) {
	if !v.numeric() || v.typ == TypeFloat && v.f != v.f {
		return
	}
	x := v.number()
	if g.fn.shape().bucketed && x < 2 {
		return
	}
	gr := g.find(ev, row)
	if gr == nil {
		return
	}
	seconds := x
	if v.typ == TypeDuration {
		seconds = x / 1e9
	}
	switch g.fn.Name {
	case "min_over_time":
		if gr.ns[bucket] == 0 || seconds < gr.sums[bucket] {
			gr.sums[bucket] = seconds
		}
	case "max_over_time":
		if gr.ns[bucket] == 0 || seconds > gr.sums[bucket] {
			gr.sums[bucket] = seconds
		}
	case "avg_over_time", "sum_over_time":
		gr.sums[bucket] += seconds
	default:
		if gr.powers[bucket] == nil {
			gr.powers[bucket] = new([powers]float64)
			g.measure.spent.held += 8 * powers
		}
		gr.powers[bucket][powerOf(x)]++
		gr.seconds = gr.seconds || v.typ == TypeDuration
	}
	gr.ns[bucket]++
	g.exemplar(gr, ev, row, bucket, seconds)
}

func (f *MetricFunc) shape() metricShape { return metricFuncs[f.Name] }

// powerOf is the exponent of the smallest power of two that is not less than x, which is at least 2.
func powerOf(x float64) int {
	if x > 1<<62 {
		return powers - 1
	}
	n := uint64(math.Ceil(x))
	return bits.Len64(n - 1)
}

// find is the group of a row, nil where there are too many already. Labels of absent values are left out; a row without
// any keeps the first one, with nil.
func (g *groups) find(ev *evaluator, row int) *group {
	g.key = g.key[:0]
	for _, n := range g.by {
		g.key = appendValKey(g.key, ev.valueOf(n, row))
	}
	if gr, ok := g.byKey[string(g.key)]; ok {
		return gr
	}
	m := g.measure
	if len(g.list) >= m.engine.options.MaxSeries {
		m.complete, m.reason = false, fmt.Sprintf("more than %d series: the others are left out", m.engine.options.MaxSeries)
		return nil
	}
	n := m.buckets.n
	gr := &group{sums: make([]float64, n), slots: make([]bool, n)}
	if g.fn.Attr != nil {
		gr.ns = make([]float64, n)
	}
	if g.fn.shape().bucketed {
		gr.powers = make([]*[powers]float64, n)
	}
	m.spent.held += int64(25*n + 500 + 3*len(g.key))
	for i, node := range g.by {
		if v := ev.valueOf(node, row).value(); !v.IsNil() {
			gr.labels = append(gr.labels, Attr{Name: exprText(g.fn.By[i]), Value: v})
		}
	}
	switch {
	case len(g.by) > 0 && len(gr.labels) == 0:
		gr.labels = []Attr{{Name: exprText(g.fn.By[0])}}
	case len(g.by) == 0 && !g.fn.shape().bucketed:
		gr.labels = []Attr{{Name: "__name__", Value: StringValue(g.fn.Name)}}
	}
	g.byKey[string(g.key)] = gr
	g.list = append(g.list, gr)
	return gr
}

// exemplar keeps a span now and then: one of a group in each part of the window, while there are any to give.
func (g *groups) exemplar(gr *group, ev *evaluator, row, bucket int, value float64) {
	most := g.measure.exemplars
	if g.placed >= most {
		return
	}
	slot := bucket / max(1, g.measure.buckets.n/most)
	if gr.slots[slot] {
		return
	}
	gr.slots[slot] = true
	g.placed++
	gr.exemplars = append(gr.exemplars, newExemplar(ev.batch, row, value))
}

func newExemplar(b *span.Batch, row int, value float64) Exemplar {
	return Exemplar{Time: b.Time[row], Value: value, TraceID: b.TraceID[row], SpanID: b.SpanID[row], Labels: []Attr{
		{Name: "trace:id", Value: StringValue(b.TraceID[row].String())}, {Name: "span:id", Value: StringValue(b.SpanID[row].String())},
	}}
}

func (g *groups) series() []series {
	var out []series
	m := g.measure
	most := min(m.engine.options.MaxSeries, int(m.engine.options.MaxBytes/int64(8*m.buckets.n))+1)
	for _, gr := range g.list {
		if len(out) >= most {
			m.complete, m.reason = false, fmt.Sprintf("more than %d series: the others are left out", most)
			return out[:most]
		}
		values := slices.Clone(gr.sums)
		switch g.fn.Name {
		case "rate":
			for i := range values {
				values[i] /= m.buckets.seconds
			}
		case "count_over_time":
		case "quantile_over_time":
			out = append(out, gr.quantiles(g.fn.Quantiles)...)
			continue
		case "histogram_over_time":
			out = append(out, gr.histogram()...)
			continue
		default:
			for i, n := range gr.ns {
				if n == 0 {
					values[i] = math.NaN()
				} else if g.fn.Name == "avg_over_time" {
					values[i] /= n
				}
			}
		}
		out = append(out, series{gr.labels, values, gr.exemplars})
	}
	return out
}

// unit is what a bound of the histogram is divided by.
func (gr *group) unit() float64 {
	if gr.seconds {
		return 1e9
	}
	return 1
}

// histogram makes a series of each power of two that has values. The exemplars go to the bound above them.
func (gr *group) histogram() []series {
	var out []series
	for p := range powers {
		var values []float64
		for i, h := range gr.powers {
			if h != nil && h[p] > 0 {
				if values == nil {
					values = make([]float64, len(gr.powers))
				}
				values[i] = h[p]
			}
		}
		if values == nil {
			continue
		}
		s := series{labels: append(slices.Clip(gr.labels), Attr{Name: "__bucket", Value: FloatValue(math.Ldexp(1, p) / gr.unit())}), values: values}
		for _, e := range gr.exemplars {
			if powerOf(math.Max(2, e.Value*gr.unit())) == p {
				s.exemplars = append(s.exemplars, e)
			}
		}
		out = append(out, s)
	}
	return out
}

func (gr *group) quantiles(list []float64) []series {
	var out []series
	for _, q := range list {
		values := make([]float64, len(gr.powers))
		for i, h := range gr.powers {
			values[i] = math.NaN()
			if h != nil {
				values[i] = quantile(h, q) / gr.unit()
			}
		}
		out = append(out, series{append(slices.Clip(gr.labels), Attr{Name: "p", Value: FloatValue(q)}), values, gr.exemplars})
	}
	return out
}

// quantile finds the value of a rank, at least the first: within a power of two values are taken to lie exponentially.
func quantile(h *[powers]float64, q float64) float64 {
	total := 0.0
	for _, n := range h {
		total += n
	}
	rank := max(1, math.Ceil(q*total))
	before := 0.0
	for p, n := range h {
		if n > 0 && before+n >= rank {
			return math.Exp2(float64(p-1) + (rank-before)/n)
		}
		before += n
	}
	return math.NaN()
}
