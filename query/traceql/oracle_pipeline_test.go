package traceql

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

func oPipeline(p *Pipeline, in []oSet) []oSet {
	for _, e := range p.Elements {
		in = oElement(e, in)
	}
	return in
}

func oElement(e Element, in []oSet) (out []oSet) {
	switch e := e.(type) {
	case *Filter:
		for _, set := range in {
			var kept []*oSpan
			for _, s := range set.spans {
				if e.Expr == nil || oTrue(e.Expr, s) {
					kept = append(kept, s)
				}
			}
			if len(kept) > 0 {
				out = append(out, oSet{kept, set.attrs})
			}
		}
	case *SpansetOp:
		for _, set := range in {
			l, r := oElement(e.L, []oSet{set}), oElement(e.R, []oSet{set})
			if spans := oJoin(e.Op, set, l, r); len(spans) > 0 {
				out = append(out, oSet{spans, set.attrs})
			}
		}
	case *Sub:
		for _, set := range in {
			out = append(out, oPipeline(e.Pipeline, []oSet{set})...)
		}
	case *GroupBy:
		for _, set := range in {
			index := make(map[string]int)
			base := len(out)
			for _, s := range set.spans {
				key := oText(oEval(e.Expr, s))
				i, ok := index[key]
				if !ok {
					i = len(out) - base
					index[key] = i
					out = append(out, oSet{attrs: append(slices.Clone(set.attrs), "by("+exprText(e.Expr)+")="+key)})
				}
				out[base+i].spans = append(out[base+i].spans, s)
			}
		}
	case *Coalesce:
		if len(in) == 0 {
			return nil
		}
		seen := make(map[*oSpan]bool)
		for _, set := range in {
			for _, s := range set.spans {
				seen[s] = true
			}
		}
		var all []*oSpan
		for _, s := range in[0].spans[0].of.spans {
			if seen[s] {
				all = append(all, s)
			}
		}
		out = []oSet{{spans: all}}
	case *Select:
		return in
	case *ScalarFilter:
		for _, set := range in {
			agg, ok := e.L.(*Aggregate)
			var v any
			var holds bool
			if ok {
				v = oAggregate(agg, set.spans)
				holds = v != nil && oScalar(e.Op, v, oConstant(e.R))
			} else {
				agg = e.R.(*Aggregate)
				v = oAggregate(agg, set.spans)
				holds = v != nil && oScalar(e.Op, oConstant(e.L), v)
			}
			if holds {
				out = append(out, oSet{set.spans, append(slices.Clone(set.attrs), agg.String()+"="+oText(v))})
			}
		}
	}
	return out
}

func oConstant(s Scalar) any {
	if c, ok := s.(*Constant); ok {
		return oLiteral(c.Value)
	}
	op := s.(*ScalarOp)
	return oArithmetic(op.Op, oConstant(op.L), oConstant(op.R))
}

func oAggregate(a *Aggregate, spans []*oSpan) any {
	if a.Func == "count" {
		return int64(len(spans))
	}
	var list []any
	for _, s := range spans {
		v := oEval(a.Expr, s)
		if l, ok := v.([]any); ok {
			list = append(list, l...)
		} else {
			list = append(list, v)
		}
	}
	list = slices.DeleteFunc(list, func(v any) bool { return oNumber(v) == nil })
	if len(list) == 0 {
		return nil
	}
	best, sum := list[0], 0.0
	types := make(map[string]bool)
	total := int64(0)
	for _, v := range list {
		c := oNumber(v).Cmp(oNumber(best))
		if a.Func == "min" && c < 0 || a.Func == "max" && c > 0 {
			best = v
		}
		f, _ := oNumber(v).Float64()
		sum += f
		types[fmt.Sprintf("%T", v)] = true
		switch v := v.(type) {
		case int64:
			total += v
		case oDuration:
			total += int64(v)
		}
	}
	durations, ints := types["traceql.oDuration"] && len(types) == 1, types["int64"] && len(types) == 1
	switch {
	case a.Func == "min" || a.Func == "max":
		return best
	case a.Func == "sum" && durations:
		return oDuration(total)
	case a.Func == "sum" && ints:
		return total
	case a.Func == "sum":
		return sum
	case durations:
		return oDuration(sum / float64(len(list)))
	}
	return sum / float64(len(list))
}

func oSpans(sets []oSet) (out []*oSpan) {
	for _, s := range sets {
		out = append(out, s.spans...)
	}
	return out
}

func oJoin(op Op, in oSet, l, r []oSet) []*oSpan {
	left, right := oSpans(l), oSpans(r)
	switch op {
	case OpAnd, OpOr:
		if op == OpAnd && (len(left) == 0 || len(right) == 0) {
			return nil
		}
		small, large := right, left
		if len(left) < len(right) {
			small, large = left, right
		}
		var out []*oSpan
		for _, s := range append(slices.Clone(small), large...) {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return out
	}
	if len(right) == 0 {
		return nil
	}
	if len(r) > 1 || len(l) > 1 {
		panic(oError("groups"))
	}
	relation := (op - OpChild) % 5
	// b stands in the relation to a
	stands := func(a, b *oSpan) bool {
		above := func(a, b *oSpan) bool {
			for up := b.parent; up != nil; up = up.parent {
				if up == a {
					return true
				}
			}
			return false
		}
		switch relation {
		case 0:
			return b.parent == a
		case 1:
			return above(a, b)
		case 2:
			return a.parent == b
		case 3:
			return above(b, a)
		}
		return a != b && a.parent != nil && a.parent == b.parent
	}
	var out []*oSpan
	for _, b := range right {
		hit := slices.ContainsFunc(left, func(a *oSpan) bool { return stands(a, b) })
		if hit != (op >= OpNotChild && op <= OpNotSibling) {
			out = append(out, b)
		}
	}
	if op >= OpUnionChild {
		for _, a := range left {
			if slices.ContainsFunc(right, func(b *oSpan) bool { return stands(a, b) }) {
				out = append(out, a)
			}
		}
		var sorted []*oSpan
		for _, s := range in.spans[0].of.spans {
			if slices.Contains(out, s) {
				sorted = append(sorted, s)
			}
		}
		return sorted
	}
	return out
}

// oText is a value as Value.Literal writes it, with its type.
func oText(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case oOpaque:
		if v == "" {
			return "nil"
		}
		return StringValue(string(v)).Literal()
	case int64:
		return IntValue(v).Literal()
	case float64:
		return FloatValue(v).Literal()
	case string:
		return StringValue(v).Literal()
	case bool:
		return fmt.Sprint(v)
	case oDuration:
		return DurationValue(int64(v)).Literal()
	case oStatus:
		return string(v)
	case oKind:
		return string(v)
	}
	var words []string
	for _, x := range v.([]any) {
		if x != oOpaque("") {
			words = append(words, oText(x))
		}
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// oSearch answers a search: a line a trace, sorted by id.
func oSearch(q *Query, traces []*oTrace, from, to int64) (lines []string, err error) {
	defer func() {
		if e, ok := recover().(oError); ok {
			err = fmt.Errorf("%s", string(e))
		}
	}()
	fields := oNamed(q.Pipeline)
	for _, t := range traces {
		var in oSet
		for _, s := range t.spans {
			if s.time+s.duration >= from && s.time < to {
				in.spans = append(in.spans, s)
			}
		}
		if len(in.spans) == 0 {
			continue
		}
		sets := oPipeline(q.Pipeline, []oSet{in})
		if len(sets) == 0 {
			continue
		}
		var w bytes.Buffer
		fmt.Fprintf(&w, "%s", t.id)
		for _, set := range sets {
			fmt.Fprintf(&w, " |")
			for _, s := range set.spans {
				fmt.Fprintf(&w, " %s/%s/%d", s.id, s.kind, s.time)
				for _, f := range fields {
					if v := oText(oEval(f, s)); v != "nil" {
						fmt.Fprintf(&w, " %s=%s", exprText(f), v)
					}
				}
			}
			fmt.Fprintf(&w, " (%s)", strings.Join(set.attrs, ", "))
		}
		lines = append(lines, w.String())
	}
	return lines, nil
}

// oNamed lists the fields that answers show, in the order of the text.
func oNamed(p *Pipeline) (out []Expr) {
	seen := make(map[string]bool)
	var expr func(e Expr)
	expr = func(e Expr) {
		switch e := e.(type) {
		case *Attribute, *Intrinsic:
			if name := exprText(e); !seen[name] {
				seen[name] = true
				out = append(out, e)
			}
		case *Unary:
			expr(e.X)
		case *Binary:
			expr(e.L)
			expr(e.R)
		}
	}
	var walk func(e Element)
	walk = func(e Element) {
		switch e := e.(type) {
		case *Filter:
			expr(e.Expr)
		case *SpansetOp:
			walk(e.L)
			walk(e.R)
		case *Sub:
			for _, x := range e.Pipeline.Elements {
				walk(x)
			}
		case *GroupBy:
			expr(e.Expr)
		case *Select:
			for _, a := range e.Attrs {
				expr(a)
			}
		case *ScalarFilter:
			for _, s := range []Scalar{e.L, e.R} {
				if a, ok := s.(*Aggregate); ok && a.Expr != nil {
					expr(a.Expr)
				}
			}
		}
	}
	for _, e := range p.Elements {
		walk(e)
	}
	return out
}
