package traceql

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strings"
)

func oLiteral(v Value) any {
	switch v.Type {
	case TypeInt:
		return v.Int()
	case TypeFloat:
		return v.Float()
	case TypeString:
		return v.Text()
	case TypeBool:
		return v.Bool()
	case TypeDuration:
		return oDuration(v.Duration())
	case TypeStatus:
		return oStatus(v.Status().String())
	case TypeKind:
		return oKind(v.Kind().String())
	}
	return nil
}

func oNumber(v any) *big.Float {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetInt64(v)
	case oDuration:
		return new(big.Float).SetInt64(int64(v))
	case float64:
		if !math.IsNaN(v) {
			return new(big.Float).SetFloat64(v)
		}
	}
	return nil
}

func isNaN(v any) bool { f, ok := v.(float64); return ok && math.IsNaN(f) }

func oIsNumber(v any) bool { return oNumber(v) != nil || isNaN(v) }

func oEval(e Expr, s *oSpan) any {
	switch e := e.(type) {
	case *Literal:
		return oLiteral(e.Value)
	case *Attribute:
		return oAttribute(e, s)
	case *Intrinsic:
		return oIntrinsic(e.ID, s)
	case *Unary:
		x := oEval(e.X, s)
		if e.Op == OpNot {
			if b, ok := x.(bool); ok {
				return !b
			}
			return nil
		}
		switch x := x.(type) {
		case int64:
			return -x
		case float64:
			return -x
		case oDuration:
			return -x
		case []any:
			panic(oError("minus array"))
		}
		return nil
	}
	b := e.(*Binary)
	switch b.Op {
	case OpAnd:
		return oTrue(b.L, s) && oTrue(b.R, s)
	case OpOr:
		return oTrue(b.L, s) || oTrue(b.R, s)
	}
	for _, side := range [][2]Expr{{b.L, b.R}, {b.R, b.L}} {
		if l, ok := side[1].(*Literal); ok && l.Value.IsNil() {
			x := oEval(side[0], s)
			if other, ok := side[0].(*Literal); ok && other.Value.IsNil() {
				return false
			}
			return (x == nil) == (b.Op == OpEq)
		}
	}
	l, r := oEval(b.L, s), oEval(b.R, s)
	if b.Op >= OpAdd && b.Op <= OpPow {
		return oArithmetic(b.Op, l, r)
	}
	if b.Op == OpEq || b.Op == OpNe {
		l, r = oID(b.L, b.R, l, r)
	}
	return oCompare(b.Op, l, r)
}

func oTrue(e Expr, s *oSpan) bool { b, ok := oEval(e, s).(bool); return ok && b }

// oID: ids are compared without case and leading zeros.
func oID(le, re Expr, l, r any) (any, any) {
	for _, e := range []Expr{le, re} {
		in, ok := e.(*Intrinsic)
		if !ok {
			continue
		}
		switch in.ID {
		case TraceID, SpanID, ParentID, LinkTraceID, LinkSpanID:
			norm := func(v any) any {
				if t, ok := v.(string); ok && t != "" {
					return "0" + strings.TrimLeft(strings.ToLower(t), "0")
				}
				return v
			}
			list := func(v any) any {
				if l, ok := v.([]any); ok {
					out := []any{}
					for _, x := range l {
						out = append(out, norm(x))
					}
					return out
				}
				return norm(v)
			}
			return list(l), list(r)
		}
	}
	return l, r
}

func oArithmetic(op Op, l, r any) any {
	for _, v := range []any{l, r} {
		if _, ok := v.([]any); ok {
			panic(oError("array in arithmetic"))
		}
	}
	if !oIsNumber(l) || !oIsNumber(r) {
		return nil
	}
	whole := func(v any) (int64, bool) {
		switch v := v.(type) {
		case int64:
			return v, true
		case oDuration:
			return int64(v), true
		}
		return 0, false
	}
	real := func(v any) float64 {
		if n, ok := whole(v); ok {
			return float64(n)
		}
		return v.(float64)
	}
	x, xInt := whole(l)
	y, yInt := whole(r)
	a, b := real(l), real(r)
	if (op == OpDiv || op == OpMod) && b == 0 {
		panic(oError("division by zero"))
	}
	if xInt && yInt {
		switch op {
		case OpAdd:
			return x + y
		case OpSub:
			return x - y
		case OpMul:
			return x * y
		case OpDiv:
			return x / y
		case OpMod:
			return x % y
		}
		p := math.Pow(a, b)
		if y >= 0 && math.Abs(p) < 1<<53 {
			return int64(p)
		}
		return p
	}
	switch op {
	case OpAdd:
		return a + b
	case OpSub:
		return a - b
	case OpMul:
		return a * b
	case OpDiv:
		return a / b
	case OpMod:
		return math.Mod(a, b)
	}
	return math.Pow(a, b)
}

func oCompare(op Op, l, r any) bool {
	ll, lok := l.([]any)
	rl, rok := r.([]any)
	switch {
	case lok && rok:
		panic(oError("array with array"))
	case !lok && !rok:
		return oScalar(op, l, r)
	case l == nil || r == nil:
		return false
	}
	n, hits := len(ll)+len(rl), 0
	for _, x := range ll {
		if oScalar(op, x, r) {
			hits++
		}
	}
	for _, x := range rl {
		if oScalar(op, l, x) {
			hits++
		}
	}
	if op == OpNe || op == OpNotRegex {
		return hits == n
	}
	return hits > 0
}

func oScalar(op Op, l, r any) bool {
	order := 0
	switch {
	case oIsNumber(l) && oIsNumber(r):
		if isNaN(l) || isNaN(r) {
			return op == OpNe
		}
		order = oNumber(l).Cmp(oNumber(r))
	default:
		switch x := l.(type) {
		case string:
			y, ok := r.(string)
			if !ok {
				return false
			}
			if op == OpRegex || op == OpNotRegex {
				re := regexp.MustCompile(`^(?s:` + y + `)$`)
				return re.MatchString(x) == (op == OpRegex)
			}
			order = strings.Compare(x, y)
		case bool, oStatus, oKind:
			if fmt.Sprintf("%T", l) != fmt.Sprintf("%T", r) {
				return false
			}
			if l != r {
				order = 1
			}
		default:
			return false
		}
	}
	return map[Op]bool{OpEq: order == 0, OpNe: order != 0, OpLt: order < 0, OpLe: order <= 0, OpGt: order > 0, OpGe: order >= 0}[op]
}

func oMany(children []oChild, name string) any {
	var out []any
	found := false
	for _, c := range children {
		v, ok := c.attrs[name]
		if !ok {
			continue
		}
		found = true
		if l, ok := v.([]any); ok {
			out = append(out, l...)
		} else {
			out = append(out, v)
		}
	}
	if !found {
		return nil
	}
	return append([]any{}, out...)
}

func oAttribute(a *Attribute, s *oSpan) any {
	resource := s.resource[a.Name]
	if a.Name == "service.name" {
		resource = s.service
	}
	switch a.Scope {
	case ScopeSpan:
		return s.attrs[a.Name]
	case ScopeResource:
		return resource
	case ScopeEvent:
		return oMany(s.events, a.Name)
	case ScopeLink:
		return oMany(s.links, a.Name)
	case ScopeInstrumentation:
		return s.scope[a.Name]
	}
	for _, v := range []any{s.attrs[a.Name], resource, oMany(s.events, a.Name), oMany(s.links, a.Name), s.scope[a.Name]} {
		if v != nil {
			return v
		}
	}
	return nil
}

func oIntrinsic(id IntrinsicID, s *oSpan) any {
	each := func(list []oChild, f func(c oChild) any) any {
		var out []any
		for _, c := range list {
			out = append(out, f(c))
		}
		if out == nil {
			return nil
		}
		return out
	}
	switch id {
	case Duration:
		return oDuration(s.duration)
	case Name:
		return s.name
	case Status:
		return s.status
	case StatusMessage:
		return s.message
	case Kind:
		return s.kind
	case TraceDuration:
		return oDuration(s.of.took)
	case RootName:
		if s.of.root != nil {
			return s.of.root.name
		}
		return nil
	case RootServiceName:
		if s.of.root != nil {
			return s.of.root.service
		}
		return nil
	case TraceID:
		return s.trace
	case SpanID:
		return s.id
	case ParentID:
		return s.parentID
	case ChildCount:
		return s.kids
	case EventName:
		return each(s.events, func(c oChild) any { return c.name })
	case EventTimeSinceStart:
		return each(s.events, func(c oChild) any { return oDuration(c.time - s.time) })
	case LinkTraceID:
		return each(s.links, func(c oChild) any { return c.trace })
	case LinkSpanID:
		return each(s.links, func(c oChild) any { return c.span })
	case InstrumentationName:
		return s.scopeName
	case InstrumentationVersion:
		return s.scopeVersion
	case NestedSetLeft:
		return s.left
	case NestedSetRight:
		return s.right
	case NestedSetParent:
		return s.up
	}
	return nil
}
