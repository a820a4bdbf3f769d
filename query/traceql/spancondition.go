package traceql

import "github.com/spanloom/spanloom/store"

// SpanCondition is a query as a condition on single spans, met by exactly the spans that meet the query; nil is every span. It is
// not ok for queries that are more than one `{ ... }`, and for those of which the engine cannot decide all on one span
// (parent and child intrinsics, arithmetic, comparisons of two attributes).
func SpanCondition(q *Query) (cond store.Expr, ok bool) {
	if q.IsMetrics() || len(q.Pipeline.Elements) != 1 {
		return nil, false
	}
	f, ok := q.Pipeline.Elements[0].(*Filter)
	if !ok {
		return nil, false
	}
	if f.Expr == nil {
		return nil, true
	}
	p := bounded(planExpr(f.Expr, wantTrue))
	return p.expr, p.exact
}
