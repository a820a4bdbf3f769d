package traceql

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
)

// oSeries is a series of the oracle: values by the time of the sample.
type oSeries struct {
	labels []string // name=value as printAttrs writes them
	values map[int64]float64
}

func (s *oSeries) key() string { return "{" + strings.Join(s.labels, ", ") + "}" }

// oMetrics answers a metrics query: a line a series.
func oMetrics(q *Query, traces []*oTrace, r MetricsRequest) (lines []string, err error) {
	defer func() {
		if e, ok := recover().(oError); ok {
			err = fmt.Errorf("%s", string(e))
		}
	}()
	m := &oMetric{traces: traces}
	from, to := r.Range.From, r.Range.To
	if r.Instant {
		m.times = []int64{to}
		m.bucket = func(t int64) (int64, bool) { return to, t >= from && t <= to }
		m.seconds = float64(to-from) / 1e9
	} else {
		step := int64(r.Step)
		m.seconds = r.Step.Seconds()
		for t := from / step * step; ; t += step {
			m.times = append(m.times, t)
			if t >= to {
				break
			}
		}
		m.bucket = func(t int64) (int64, bool) {
			for _, at := range m.times {
				if t > at-step && t <= at {
					return at, true
				}
			}
			return 0, false
		}
	}
	series, _, _ := m.eval(q.Metrics)
	for _, s := range series {
		line := s.key()
		for _, t := range m.times {
			if v, ok := s.values[t]; ok && !math.IsInf(v, 0) {
				line += fmt.Sprintf(" %d:%.15g", t/1e9, v)
			}
		}
		lines = append(lines, line)
	}
	return lines, nil
}

type oMetric struct {
	traces  []*oTrace
	times   []int64
	bucket  func(t int64) (int64, bool)
	seconds float64
}

func (m *oMetric) eval(e MetricExpr) (series []*oSeries, number float64, isNumber bool) {
	switch e := e.(type) {
	case *MetricNumber:
		return nil, e.Value.Float(), true
	case *MetricStages:
		series, number, isNumber = m.eval(e.X)
		return m.stages(series, e.Stages), number, isNumber
	case *MetricMath:
		l, ln, lIs := m.eval(e.L)
		r, rn, rIs := m.eval(e.R)
		return m.math(e.Op, l, r, ln, rn, lIs, rIs)
	}
	p := e.(*MetricPipeline)
	var spans []*oSpan
	for _, t := range m.traces {
		var in oSet
		for _, s := range t.spans {
			if _, ok := m.bucket(s.time); ok {
				in.spans = append(in.spans, s)
			}
		}
		if len(in.spans) > 0 {
			spans = append(spans, oSpans(oPipeline(p.Pipeline, []oSet{in}))...)
		}
	}
	if p.Func.Name == "compare" {
		return m.stages(m.compare(p.Func, spans), p.Stages), 0, false
	}
	return m.stages(m.function(p.Func, spans), p.Stages), 0, false
}

func (m *oMetric) function(f *MetricFunc, spans []*oSpan) (out []*oSeries) {
	bucketed := f.Name == "histogram_over_time" || f.Name == "quantile_over_time"
	type group struct {
		labels  []string
		numbers map[int64][]float64
		unit    float64
	}
	groups := make(map[string]*group)
	var order []string
	for _, s := range spans {
		numbers := []any{int64(0)}
		if f.Attr != nil {
			v := oEval(f.Attr, s)
			if l, ok := v.([]any); ok {
				numbers = l
			} else {
				numbers = []any{v}
			}
		}
		for _, v := range numbers {
			big := oNumber(v)
			if big == nil {
				continue
			}
			x, _ := big.Float64()
			if bucketed && x < 2 {
				continue
			}
			_, isDuration := v.(oDuration)
			var labels, key []string
			for _, e := range f.By {
				w := oEval(e, s)
				key = append(key, oText(w))
				if text := oText(w); text != "nil" {
					labels = append(labels, exprText(e)+"="+text)
				}
			}
			if len(f.By) > 0 && len(labels) == 0 {
				labels = []string{exprText(f.By[0]) + "=nil"}
			} else if len(f.By) == 0 && !bucketed {
				labels = []string{`__name__="` + f.Name + `"`}
			}
			k := strings.Join(key, "\x00")
			g := groups[k]
			if g == nil {
				g = &group{labels, make(map[int64][]float64), 1}
				groups[k] = g
				order = append(order, k)
			}
			if isDuration {
				g.unit = 1e9
			}
			at, _ := m.bucket(s.time)
			if isDuration && !bucketed {
				x /= 1e9
			}
			g.numbers[at] = append(g.numbers[at], x)
		}
	}
	for _, k := range order {
		g := groups[k]
		switch f.Name {
		case "histogram_over_time":
			for p := 1; p < 64; p++ {
				s := &oSeries{append(slices.Clone(g.labels), "__bucket="+oText(math.Exp2(float64(p))/g.unit)), make(map[int64]float64)}
				any := false
				for _, t := range m.times {
					s.values[t] = 0
					for _, x := range g.numbers[t] {
						if x > math.Exp2(float64(p-1)) && x <= math.Exp2(float64(p)) {
							s.values[t]++
							any = true
						}
					}
				}
				if any {
					out = append(out, s)
				}
			}
		case "quantile_over_time":
			for _, q := range f.Quantiles {
				s := &oSeries{append(slices.Clone(g.labels), "p="+oText(q)), make(map[int64]float64)}
				for t, list := range g.numbers {
					s.values[t] = oQuantile(list, q) / g.unit
				}
				out = append(out, s)
			}
		default:
			s := &oSeries{g.labels, make(map[int64]float64)}
			for _, t := range m.times {
				list := g.numbers[t]
				sum := 0.0
				for _, x := range list {
					sum += x
				}
				switch {
				case f.Name == "rate":
					s.values[t] = float64(len(list)) / m.seconds
				case f.Name == "count_over_time":
					s.values[t] = float64(len(list))
				case len(list) == 0:
				case f.Name == "min_over_time":
					s.values[t] = slices.Min(list)
				case f.Name == "max_over_time":
					s.values[t] = slices.Max(list)
				case f.Name == "sum_over_time":
					s.values[t] = sum
				case f.Name == "avg_over_time":
					s.values[t] = sum / float64(len(list))
				}
			}
			out = append(out, s)
		}
	}
	return out
}

// oQuantile puts the values of each power of two evenly on its logarithm and takes the one of the rank.
func oQuantile(list []float64, q float64) float64 {
	var powers []int
	for _, x := range list {
		p := 1
		for math.Exp2(float64(p)) < x {
			p++
		}
		powers = append(powers, p)
	}
	sort.Ints(powers)
	rank := max(1, int(math.Ceil(q*float64(len(list)))))
	p := powers[rank-1]
	below, inside := 0, 0
	for _, x := range powers {
		if x < p {
			below++
		} else if x == p {
			inside++
		}
	}
	return math.Exp2(float64(p-1) + float64(rank-below)/float64(inside))
}

func (m *oMetric) stages(list []*oSeries, stages []MetricStage) []*oSeries {
	for _, st := range stages {
		var out []*oSeries
		sort.Slice(list, func(i, j int) bool { return oLabelsLess(list[i], list[j]) })
		for _, s := range list {
			out = append(out, &oSeries{s.labels, make(map[int64]float64)})
		}
		for _, t := range m.times {
			var have []int
			for i, s := range list {
				if _, ok := s.values[t]; ok {
					have = append(have, i)
				}
			}
			if st.Name != "" {
				sort.SliceStable(have, func(i, j int) bool {
					a, b := list[have[i]].values[t], list[have[j]].values[t]
					if st.Name == "topk" {
						return a > b
					}
					return a < b
				})
				have = have[:min(len(have), int(st.N))]
			}
			for _, i := range have {
				v := list[i].values[t]
				limit := st.Value.Float()
				if st.Value.Type == TypeDuration {
					limit /= 1e9
				}
				if st.Name != "" || oScalar(st.Op, v, limit) {
					out[i].values[t] = v
				}
			}
		}
		list = slices.DeleteFunc(out, func(s *oSeries) bool { return len(s.values) == 0 })
	}
	return list
}

// oLabelsLess: ties of topk go by labels; the oracle asks the engine for their order, which is a matter of taste.
func oLabelsLess(a, b *oSeries) bool { return compareLabels(oAttrs(a.labels), oAttrs(b.labels)) < 0 }

// oAttrs reads labels back as attributes.
func oAttrs(labels []string) (out []Attr) {
	for _, l := range labels {
		out = append(out, Attr{Name: l[:labelCut(l)], Value: oReadBack(l[labelCut(l)+1:])})
	}
	return out
}

func oReadBack(text string) Value {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		list := []Value{}
		if inner = strings.TrimSuffix(inner, "]"); inner != "" {
			for _, word := range strings.Split(inner, ", ") {
				list = append(list, oReadBack(word))
			}
		}
		return ArrayValue(list)
	}
	q, err := Parse("{} with(x=" + text + ")")
	if err != nil { // NaN
		return FloatValue(math.NaN())
	}
	v, _ := q.Hint("x")
	return v
}

func labelCut(l string) int { return strings.IndexByte(l, '=') }

func (m *oMetric) math(op Op, l, r []*oSeries, ln, rn float64, lIs, rIs bool) ([]*oSeries, float64, bool) {
	calc := func(a, b float64) (float64, bool) {
		switch op {
		case OpAdd:
			return a + b, true
		case OpSub:
			return a - b, true
		case OpMul:
			return a * b, true
		}
		return a / b, b != 0
	}
	if lIs && rIs {
		v, ok := calc(ln, rn)
		if !ok {
			v = math.NaN()
		}
		return nil, v, true
	}
	strip := func(list []*oSeries) (out []*oSeries) {
		for _, s := range list {
			labels := slices.DeleteFunc(slices.Clone(s.labels), func(l string) bool { return strings.HasPrefix(l, "__name__=") })
			out = append(out, &oSeries{labels, s.values})
		}
		return out
	}
	fill := func(n float64) *oSeries {
		s := &oSeries{nil, make(map[int64]float64)}
		for _, t := range m.times {
			s.values[t] = n
		}
		return s
	}
	l, r = strip(l), strip(r)
	if lIs {
		l = []*oSeries{fill(ln)}
	}
	if rIs {
		r = []*oSeries{fill(rn)}
	}
	var out []*oSeries
	pair := func(a, b *oSeries, labels []string) {
		s := &oSeries{labels, make(map[int64]float64)}
		for _, t := range m.times {
			x, xok := a.values[t]
			y, yok := b.values[t]
			if v, ok := calc(x, y); ok && xok && yok {
				s.values[t] = v
			}
		}
		if len(s.values) > 0 {
			out = append(out, s)
		}
	}
	sorted := func(s *oSeries) string {
		labels := slices.Clone(s.labels)
		slices.Sort(labels)
		return strings.Join(labels, "\x00")
	}
	for _, a := range l {
		for _, b := range r {
			switch {
			case len(r) == 1 && len(b.labels) == 0:
				pair(a, b, a.labels)
			case len(l) == 1 && len(a.labels) == 0:
				pair(a, b, b.labels)
			case sorted(a) == sorted(b):
				pair(a, b, a.labels)
			}
		}
	}
	return out, 0, false
}

func (m *oMetric) compare(f *MetricFunc, spans []*oSpan) (out []*oSeries) {
	type cell struct {
		half       string
		attr, text string
	}
	counts := make(map[cell]map[int64]float64)
	totals := make(map[cell]float64)
	add := func(c cell, t int64) {
		if counts[c] == nil {
			counts[c] = make(map[int64]float64)
			for _, at := range m.times {
				counts[c][at] = 0
			}
		}
		counts[c][t]++
		totals[c]++
	}
	for _, s := range spans {
		t, _ := m.bucket(s.time)
		half := "baseline"
		if f.Filter.Expr == nil || oTrue(f.Filter.Expr, s) {
			half = "selection"
		}
		attrs := map[string]any{"name": s.name, "status": s.status, "kind": s.kind, "resource.service.name": s.service}
		if s.message != "" {
			attrs["statusMessage"] = s.message
		}
		for prefix, list := range map[string]map[string]any{"span.": s.attrs, "resource.": s.resource, "instrumentation.": s.scope} {
			for key, v := range list {
				if prefix+key != "resource.service.name" {
					attrs[prefix+key] = v
				}
			}
		}
		for name, v := range attrs {
			if text := oText(v); text != "nil" {
				add(cell{half, name, text}, t)
				add(cell{half + "_total", name, "nil"}, t)
			}
		}
	}
	values := make(map[[2]string][]cell)
	for c := range counts {
		values[[2]string{c.half, c.attr}] = append(values[[2]string{c.half, c.attr}], c)
	}
	many := make(map[string]bool)
	for key, list := range values {
		sort.Slice(list, func(i, j int) bool {
			if totals[list[i]] != totals[list[j]] {
				return totals[list[i]] > totals[list[j]]
			}
			return list[i].text < list[j].text
		})
		if !strings.HasSuffix(key[0], "_total") && int64(len(list)) > f.Top {
			many[key[1]] = true
			list = list[:f.Top]
		}
		for _, c := range list {
			out = append(out, &oSeries{[]string{`__meta_type="` + c.half + `"`, c.attr + "=" + c.text}, counts[c]})
		}
	}
	for name := range many {
		out = append(out, &oSeries{[]string{`__meta_error="__too_many_values__"`, name + "=nil"}, nil})
	}
	return out
}
