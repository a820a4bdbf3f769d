package traceql

import "strings"

// maxQuantiles bounds the series that one quantile_over_time makes of a group.
const maxQuantiles = 20

// startsMath reports whether the query is arithmetic of metrics: it begins with a parenthesis around metrics, or with a number
// and such a parenthesis follows.
func (p *parser) startsMath() bool {
	if p.metricGroup(0) {
		return true
	}
	t := p.tokens[0]
	if t.kind != tokLiteral && !t.is("-") {
		return false
	}
	for i := 1; i < len(p.tokens); i++ {
		t := p.tokens[i]
		switch {
		case p.metricGroup(i):
			return true
		case t.kind != tokLiteral && !strings.Contains("+-*/", t.text):
			return false
		}
	}
	return false
}

// metricMath reads arithmetic of metrics whose operators bind at least as tight as a level. The stages that may follow belong
// to the whole of it.
func (p *parser) metricMath(level int, whole bool) (MetricExpr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	left, err := p.metricOperand()
	if err != nil {
		return nil, err
	}
	for {
		t := p.peek()
		op := fieldOps[t.text]
		if t.kind != tokSymbol || !op.isArithmetic() || op.precedence() < level {
			break
		}
		if op == OpMod || op == OpPow {
			return nil, p.fail(t.pos, "metrics are joined by + - * /", "%s between metrics is not supported", op)
		}
		p.take()
		right, err := p.metricMath(op.precedence()+1, false)
		if err != nil {
			return nil, err
		}
		left = &MetricMath{At: t.pos, Op: op, L: left, R: right}
	}
	if !whole {
		return left, nil
	}
	stages, err := p.stages()
	if err != nil || len(stages) == 0 {
		return left, err
	}
	if m, ok := left.(*MetricPipeline); ok {
		m.Stages = append(m.Stages, stages...)
		return m, nil
	}
	return &MetricStages{X: left, Stages: stages}, nil
}

func (p *parser) metricOperand() (MetricExpr, error) {
	t := p.peek()
	if t.kind == tokLiteral || t.is("-") {
		v, err := p.value()
		return &MetricNumber{At: t.pos, Value: v}, err
	}
	if !t.is("(") {
		return nil, p.unexpected("a metrics query in parentheses or a number", "")
	}
	inner := p.at + 1
	p.take()
	var m MetricExpr
	var err error
	if p.metricGroup(inner) || p.tokens[inner].kind == tokLiteral || p.tokens[inner].is("-") {
		m, err = p.metricMath(0, true)
	} else {
		_, m, err = p.pipeline(true)
		if err == nil && m == nil {
			err = p.unexpected("| and a metrics function", "")
		}
	}
	if err != nil {
		return nil, err
	}
	return m, p.expect(")")
}

// metricPipeline reads the metrics function that ends a pipeline, and its stages.
func (p *parser) metricPipeline(pipe *Pipeline) (MetricExpr, error) {
	t := p.take()
	f := &MetricFunc{At: t.pos, Name: t.text}
	shape := metricFuncs[t.text]
	if err := p.expect("("); err != nil {
		return nil, err
	}
	if err := p.arguments(f, shape); err != nil {
		return nil, err
	}
	if by := p.peek(); by.isWord("by") && !shape.compare {
		p.take()
		err := p.list(func() error {
			e, err := p.field()
			f.By = append(f.By, e)
			return err
		})
		if err != nil {
			return nil, err
		}
		most := 5
		if shape.bucketed {
			most = 4
		}
		if len(f.By) > most {
			return nil, p.fail(by.pos, "", "%s groups by at most %d attributes, not %d", f.Name, most, len(f.By))
		}
	}
	stages, err := p.stages()
	return &MetricPipeline{Pipeline: pipe, Func: f, Stages: stages}, err
}

func (p *parser) arguments(f *MetricFunc, shape metricShape) (err error) {
	switch {
	case shape.compare:
		err = p.compareArguments(f)
	case shape.attr:
		if f.Attr, err = p.field(); err != nil {
			return err
		}
		for shape.quantiles && err == nil && p.accept(",") {
			err = p.quantile(f)
		}
		if err == nil && shape.quantiles && len(f.Quantiles) == 0 {
			err = p.unexpected(", and a quantile such as 0.95", "")
		}
	}
	if err != nil {
		return err
	}
	return p.expect(")")
}

func (p *parser) quantile(f *MetricFunc) error {
	at := p.peek().pos
	v, err := p.value()
	if err != nil {
		return err
	}
	q := v.Float()
	if v.Type != TypeFloat && v.Type != TypeInt || q < 0 || q > 1 {
		return p.fail(at, "quantiles are numbers from 0 to 1", "%s is not a quantile", v.Literal())
	}
	if f.Quantiles = append(f.Quantiles, q); len(f.Quantiles) > maxQuantiles {
		return p.fail(at, "", "more than %d quantiles", maxQuantiles)
	}
	return nil
}

func (p *parser) compareArguments(f *MetricFunc) (err error) {
	if !p.peek().is("{") {
		return p.unexpected("{", "compare({ the selection }, 10)")
	}
	if f.Filter, err = p.filter(); err != nil {
		return err
	}
	f.Top = 10
	var numbers []int64
	for p.accept(",") {
		t := p.peek()
		v, err := p.value()
		if err != nil {
			return err
		}
		if v.Type != TypeInt || v.n <= 0 {
			return p.fail(t.pos, "compare({...}, top, start, end): whole numbers above 0, start and end in ns", "%s is not such a number", shorten(v.Literal()))
		}
		numbers = append(numbers, v.n)
	}
	if len(numbers) > 0 {
		f.Top, f.HasTop = numbers[0], true
	}
	switch {
	case len(numbers) == 3:
		f.Start, f.End = numbers[1], numbers[2]
		if f.End <= f.Start {
			return p.fail(f.At, "", "compare() ends at %d, before its start at %d", f.End, f.Start)
		}
	case len(numbers) > 1:
		return p.fail(f.At, "compare({...}, top, start, end)", "compare() takes both a start and an end, or none")
	}
	return nil
}

// stages reads | topk(n), | bottomk(n) and comparisons.
func (p *parser) stages() (stages []MetricStage, err error) {
	for {
		t := p.peek()
		op := fieldOps[t.text]
		switch {
		case t.is("|"):
			p.take()
			s, err := p.rank()
			if err != nil {
				return nil, err
			}
			stages = append(stages, s)
		case t.kind == tokSymbol && op.isComparison() && op != OpRegex && op != OpNotRegex:
			p.take()
			v, err := p.value()
			if err != nil {
				return nil, err
			}
			if v.Type != TypeInt && v.Type != TypeFloat && v.Type != TypeDuration {
				return nil, p.fail(t.pos, "", "metrics are compared with numbers and durations, not with %s", shorten(v.Literal()))
			}
			stages = append(stages, MetricStage{At: t.pos, Op: op, Value: v})
		default:
			return stages, nil
		}
		if err := p.node(); err != nil {
			return nil, err
		}
	}
}

func (p *parser) rank() (s MetricStage, err error) {
	t := p.peek()
	if !t.isWord("topk") && !t.isWord("bottomk") {
		hint := ""
		if t.kind == tokWord {
			hint = nearestOf(t.text, []string{"topk", "bottomk"})
		}
		return s, p.unexpected("topk() or bottomk()", hint)
	}
	p.take()
	if err := p.expect("("); err != nil {
		return s, err
	}
	v, err := p.value()
	if err != nil {
		return s, err
	}
	if v.Type != TypeInt || v.n < 1 {
		return s, p.fail(t.pos, "", "%s takes a whole number of at least 1, not %s", t.text, shorten(v.Literal()))
	}
	return MetricStage{At: t.pos, Name: t.text, N: v.n}, p.expect(")")
}
