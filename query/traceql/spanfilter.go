package traceql

import "github.com/spanloom/spanloom/store"

// SpanFilter is the span-local condition of a query that filters tags and values: of `{ ... }` what the engine can decide on one
// span, met by all spans that meet the filter and, where the engine cannot tell, by others. Unfinished text, as people type it,
// is mended: a comparison without a value holds always, open braces and parentheses are closed. All other text (that does not
// parse even so, several span sets, pipelines) is no condition: nil without an error. The error is for conditions that are
// refused; today there are none.
func SpanFilter(text string) (store.Expr, error) {
	p, err := newParser(text)
	if err != nil || !p.peek().is("{") {
		return nil, nil
	}
	p.lenient = true
	f, err := p.filter()
	if err != nil || p.peek().kind != tokEnd || f.Expr == nil {
		return nil, nil
	}
	if err := (checker{text}).filter(f); err != nil {
		return nil, nil
	}
	return bounded(planExpr(f.Expr, wantTrue)).expr, nil
}

// unfinished reports whether the value of a comparison is missing.
func (p *parser) unfinished() bool {
	t := p.peek()
	return t.kind == tokEnd || t.is("}") || t.is(")") || t.is("&&") || t.is("||")
}
