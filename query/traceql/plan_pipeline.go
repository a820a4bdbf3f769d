package traceql

import (
	"math"

	"github.com/spanloom/spanloom/store"
)

// planPipeline is a condition that at least one span of every answer meets. It is exact where every trace with such a span is
// an answer.
func planPipeline(p *Pipeline) plan {
	out := always
	first := true
	for _, e := range p.Elements {
		var next plan
		switch e := e.(type) {
		case *Filter, *SpansetOp, *Sub:
			next = planElement(e)
		case *ScalarFilter:
			next = unknown
		default: // by, select, coalesce: as many spans as before
			continue
		}
		if first {
			out, first = next, false
		} else {
			out = narrower(out, next)
		}
	}
	return bounded(out)
}

func planElement(e Element) plan {
	switch e := e.(type) {
	case *Filter:
		if e.Expr == nil {
			return always
		}
		return planExpr(e.Expr, wantTrue)
	case *Sub:
		return planPipeline(e.Pipeline)
	case *SpansetOp:
		switch {
		case e.Op == OpOr:
			return either(planElement(e.L), planElement(e.R))
		case e.Op == OpAnd:
			l, r := planElement(e.L), planElement(e.R)
			if l == always && r.exact || r == always && l.exact {
				return plan{narrower(l, r).expr, true} // {x} && {}: the other side has all spans
			}
			return narrower(l, r)
		case e.Op >= OpNotChild && e.Op <= OpNotSibling:
			return within(planElement(e.R).expr)
		default:
			return narrower(planElement(e.L), planElement(e.R))
		}
	}
	return unknown
}

// narrower chooses between two conditions that both must be met, perhaps by different spans: the one that fewer spans meet, by
// guess.
func narrower(a, b plan) plan {
	if score(b.expr) > score(a.expr) {
		return within(b.expr)
	}
	return within(a.expr)
}

// score guesses how few spans meet a condition.
func score(e store.Expr) float64 {
	switch e := e.(type) {
	case store.And:
		sum := 0.0
		for _, part := range e {
			sum += score(part)
		}
		return sum
	case store.Or:
		least := math.Inf(1)
		for _, part := range e {
			least = min(least, score(part))
		}
		return least
	case store.Cond:
		switch e.Op {
		case store.Eq:
			if e.Field.In == store.Intrinsic {
				switch e.Field.Key {
				case store.FieldTraceID, store.FieldSpanID:
					return 30
				case store.FieldKind:
					return 1.5
				}
			}
			return 4
		case store.Regex:
			return 2
		case store.Exists, store.Ne, store.NotRegex:
			return 0.5
		}
		return 1.5
	case store.Not:
		return 0.5
	}
	return 0
}

// Engines refuse conditions past these sizes: then they are asked without one.
const (
	maxPushedConds = 5_000
	maxPushedDepth = 200
)

func bounded(p plan) plan {
	if conds, depth := sizeOf(p.expr); conds > maxPushedConds || depth > maxPushedDepth {
		return unknown
	}
	return p
}

func sizeOf(e store.Expr) (conds, depth int) {
	var parts []store.Expr
	switch e := e.(type) {
	case store.Cond:
		return 1, 1
	case store.Not:
		parts = []store.Expr{e.Expr}
	case store.And:
		parts = e
	case store.Or:
		parts = e
	}
	for _, part := range parts {
		c, d := sizeOf(part)
		conds, depth = conds+c, max(depth, d)
	}
	return conds, depth + 1
}

// traceBounds are the bounds of the trace's duration that the first filter demands: 0 and 0 if none.
func traceBounds(p *Pipeline) (lowest, highest int64) {
	f, ok := p.Elements[0].(*Filter)
	if !ok || f.Expr == nil {
		return 0, 0
	}
	var walk func(e Expr)
	walk = func(e Expr) {
		b, ok := e.(*Binary)
		if !ok {
			return
		}
		if b.Op == OpAnd {
			walk(b.L)
			walk(b.R)
			return
		}
		c, ok := comparisonOf(b)
		if !ok || c.field != (fieldRef{id: TraceDuration}) || c.value.Type == TypeFloat || c.value.n <= 0 {
			return
		}
		switch c.op {
		case OpGt, OpGe, OpEq:
			lowest = max(lowest, c.value.n)
		}
		switch c.op {
		case OpLt, OpLe, OpEq:
			if highest == 0 || c.value.n < highest {
				highest = c.value.n
			}
		}
	}
	walk(f.Expr)
	return lowest, highest
}
