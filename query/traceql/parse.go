package traceql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/internal/nearest"
)

// Parse reads a query and checks it. The error is a *ParseError. Cost: linear in the text, which may have a megabyte; nesting
// is bounded.
func Parse(text string) (*Query, error) {
	p, err := newParser(text)
	if err != nil {
		return nil, err
	}
	q, err := p.query()
	if err != nil {
		return nil, err
	}
	if err := check(text, q); err != nil {
		return nil, err
	}
	return q, nil
}

type parser struct {
	text    string
	tokens  []token
	at      int
	closing []int32 // of an opening parenthesis: the token that closes it; 0 for none
	metrics []int32 // how many names of metrics functions stand before a token
	depth   int
	nodes   int
	lenient bool // unfinished text is mended: see SpanFilter
}

func newParser(text string) (*parser, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{text: text, tokens: tokens}
	p.findGroups()
	return p, nil
}

// findGroups matches parentheses and counts metrics functions, so that the parser knows at an opening parenthesis whether it
// holds metrics or span sets.
func (p *parser) findGroups() {
	p.closing = make([]int32, len(p.tokens))
	p.metrics = make([]int32, len(p.tokens)+1)
	var open []int32
	for i, t := range p.tokens {
		p.metrics[i+1] = p.metrics[i]
		switch {
		case t.kind == tokSymbol && t.text == "(":
			open = append(open, int32(i))
		case t.kind == tokSymbol && t.text == ")" && len(open) > 0:
			p.closing[open[len(open)-1]] = int32(i)
			open = open[:len(open)-1]
		case t.kind == tokWord:
			if _, ok := metricFuncs[t.text]; ok {
				p.metrics[i+1]++
			}
		}
	}
}

// metricGroup reports whether the token is a parenthesis around metrics.
func (p *parser) metricGroup(i int) bool {
	end := int(p.closing[i])
	if end == 0 {
		end = len(p.tokens)
	}
	return p.tokens[i].is("(") && p.metrics[end] > p.metrics[i]
}

func (t token) is(symbol string) bool { return t.kind == tokSymbol && t.text == symbol }

func (t token) isWord(word string) bool { return t.kind == tokWord && t.text == word }

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) take() token {
	t := p.tokens[p.at]
	if t.kind != tokEnd {
		p.at++
	}
	return t
}

func (p *parser) accept(symbol string) bool {
	if p.peek().is(symbol) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expect(symbol string, others ...string) error {
	if p.accept(symbol) {
		return nil
	}
	return p.unexpected(strings.Join(append([]string{symbol}, others...), " or "), "")
}

// unexpected blames the next token.
func (p *parser) unexpected(expected, hint string) error {
	t := p.peek()
	what := "end of the query"
	switch t.kind {
	case tokEnd:
	case tokWord:
		what = "word " + shorten(t.text)
	case tokLiteral:
		what = t.value.Type.String() + " " + shorten(t.text)
	case tokAttribute:
		what = "attribute " + shorten(t.text)
	default:
		what = shorten(t.text)
	}
	return errorAt(p.text, t.pos, true, "unexpected "+what, expected, hint)
}

func (p *parser) fail(pos int, hint, format string, args ...any) error {
	return errorAt(p.text, pos, false, fmt.Sprintf(format, args...), "", hint)
}

// enter bounds recursion and the size of the tree; leave undoes the first.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return p.fail(p.peek().pos, "use fewer parentheses", "the query is nested deeper than %d levels", maxDepth)
	}
	return p.node()
}

func (p *parser) leave() { p.depth-- }

func (p *parser) node() error {
	if p.nodes++; p.nodes > maxNodes {
		return p.fail(p.peek().pos, "ask in several queries", "the query has more than %d parts", maxNodes)
	}
	return nil
}

func (p *parser) query() (*Query, error) {
	q := &Query{}
	var err error
	if p.startsMath() {
		q.Metrics, err = p.metricMath(0, true)
	} else {
		q.Pipeline, q.Metrics, err = p.pipeline(true)
	}
	for err == nil && p.peek().isWord("with") {
		q.Hints, err = p.hints()
	}
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokEnd {
		return nil, p.unexpected(p.afterQuery(q), p.hintForEnd(t))
	}
	return q, nil
}

func (p *parser) afterQuery(q *Query) string {
	if q.IsMetrics() {
		return "topk(), bottomk() after |, a comparison or end of the query"
	}
	return "| or end of the query"
}

func (p *parser) hintForEnd(t token) string {
	if t.kind == tokWord {
		return nearestOf(t.text, pipelineWords)
	}
	return ""
}

func keysOf[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// nearestOf is a hint: the nearest of the known words, or nothing.
func nearestOf(word string, known []string) string {
	slices.Sort(known)
	if len(word) > 100 {
		return ""
	}
	if n := nearest.Word(word, known); n != "" && n != word {
		return "did you mean " + n + "?"
	}
	return ""
}

// pipeline reads elements joined by |; a metrics function ends it where metrics are allowed. Inside of parentheses a bare
// aggregate may end it: the caller finds it as the last element.
func (p *parser) pipeline(metrics bool) (*Pipeline, MetricExpr, error) {
	if err := p.enter(); err != nil {
		return nil, nil, err
	}
	defer p.leave()
	pipe := &Pipeline{}
	for {
		t := p.peek()
		if _, ok := metricFuncs[t.text]; ok && t.kind == tokWord && len(pipe.Elements) > 0 {
			if !metrics {
				return nil, nil, p.unexpected("", "metrics functions end a query or a pipeline in parentheses that is part of arithmetic")
			}
			m, err := p.metricPipeline(pipe)
			return nil, m, err
		}
		e, err := p.element(len(pipe.Elements) == 0, !metrics)
		if err != nil {
			return nil, nil, err
		}
		pipe.Elements = append(pipe.Elements, e)
		if !p.accept("|") {
			return pipe, nil, nil
		}
	}
}

const elementWords = "{, (, by(), select(), coalesce(), an aggregate such as count() or a metrics function such as rate()"

func (p *parser) element(first, bareAggregate bool) (Element, error) {
	t := p.peek()
	switch {
	case t.is("{"), t.is("("):
		return p.spansets(0)
	case t.kind == tokLiteral || t.is("-"):
		return p.scalarFilter(false)
	case t.kind != tokWord:
		return nil, p.unexpected(elementWords, "")
	}
	switch {
	case aggregates[t.text]:
		return p.scalarFilter(bareAggregate && !first)
	case t.text == "by":
		p.take()
		return p.groupBy(t.pos)
	case t.text == "select":
		p.take()
		return p.selection(t.pos)
	case t.text == "coalesce" && !first:
		p.take()
		if err := p.expect("("); err != nil {
			return nil, err
		}
		return &Coalesce{At: t.pos}, p.expect(")")
	}
	if first {
		if _, ok := plainIntrinsics[t.text]; ok {
			return nil, p.unexpected("{", "conditions stand in braces: { "+t.text+" = ... }")
		}
	}
	return nil, p.unexpected(elementWords, nearestOf(t.text, slices.Clone(pipelineWords)))
}

func (p *parser) groupBy(at int) (Element, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	e, err := p.expr(0)
	if err != nil {
		return nil, err
	}
	hint := ""
	if p.peek().is(",") {
		hint = "a pipeline groups by one expression; chain by() | by()"
	}
	if !p.accept(")") {
		return nil, p.unexpected(")", hint)
	}
	return &GroupBy{At: at, Expr: e}, nil
}

func (p *parser) selection(at int) (Element, error) {
	s := &Select{At: at}
	err := p.list(func() error {
		e, err := p.field()
		s.Attrs = append(s.Attrs, e)
		return err
	})
	return s, err
}

// list reads a parenthesised list of at least one.
func (p *parser) list(item func() error) error {
	if err := p.expect("("); err != nil {
		return err
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if err := p.node(); err != nil {
			return err
		}
		if p.accept(")") {
			return nil
		}
		if err := p.expect(",", ")"); err != nil {
			return err
		}
	}
}

// spansetOps are the operators between span sets.
var spansetOps = map[string]Op{
	"&&": OpAnd, "||": OpOr, ">": OpChild, ">>": OpDescendant, "<": OpParent, "<<": OpAncestor, "~": OpSibling,
	"!>": OpNotChild, "!>>": OpNotDescendant, "!<": OpNotParent, "!<<": OpNotAncestor, "!~": OpNotSibling,
	"&>": OpUnionChild, "&>>": OpUnionDescendant, "&<": OpUnionParent, "&<<": OpUnionAncestor, "&~": OpUnionSibling,
}

// spansets reads a spanset expression whose operators bind at least as tight as a level.
func (p *parser) spansets(level int) (Element, error) {
	left, err := p.spanset()
	if err != nil {
		return nil, err
	}
	for {
		t := p.peek()
		op, ok := spansetOps[t.text]
		if t.kind != tokSymbol || !ok || op.precedence() < level {
			return left, nil
		}
		p.take()
		if err := p.node(); err != nil {
			return nil, err
		}
		right, err := p.spansets(op.precedence() + 1)
		if err != nil {
			return nil, err
		}
		left = &SpansetOp{At: t.pos, Op: op, L: left, R: right}
	}
}

// spanset reads {...} or something in parentheses.
func (p *parser) spanset() (Element, error) {
	t := p.peek()
	switch {
	case t.is("{"):
		return p.filter()
	case t.is("("):
		p.take()
		pipe, _, err := p.pipeline(false)
		if err != nil {
			return nil, err
		}
		last := len(pipe.Elements) - 1
		bare, isBare := pipe.Elements[last].(*ScalarFilter)
		isBare = isBare && bare.Op == OpNone
		if !p.accept(")") {
			return nil, p.unexpected("| or )", "")
		}
		if isBare {
			if err := p.compareScalar(bare); err != nil {
				return nil, err
			}
		}
		if len(pipe.Elements) == 1 {
			switch pipe.Elements[0].(type) {
			case *Filter, *SpansetOp, *Sub:
				return pipe.Elements[0], nil
			}
		}
		return &Sub{At: t.pos, Pipeline: pipe}, nil
	default:
		hint := ""
		if t.kind == tokWord {
			hint = "conditions stand in braces"
		}
		return nil, p.unexpected("{ or (", hint)
	}
}

func (p *parser) filter() (*Filter, error) {
	f := &Filter{At: p.take().pos}
	if p.accept("}") || p.lenient && p.peek().kind == tokEnd {
		return f, nil
	}
	var err error
	if f.Expr, err = p.expr(0); err != nil {
		return nil, err
	}
	if p.accept("}") || p.lenient && p.peek().kind == tokEnd {
		return f, nil
	}
	hint := ""
	if t := p.peek(); t.is("=") && p.at > 0 && p.tokens[p.at-1].is("=") {
		hint = "equality is written ="
	}
	return nil, p.unexpected("} or an operator", hint)
}
