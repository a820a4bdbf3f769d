package traceql

import (
	"fmt"

	"github.com/spanloom/spanloom/store/match"
)

// staticType is what is known of an expression's value before there is a span.
type staticType uint8

const (
	isAttribute staticType = iota // only the data will tell
	isNumber                      // int or float
	isDuration
	isString
	isBool
	isStatus
	isKind
	isNil
)

var typeNames = [...]string{"attribute", "number", "duration", "string", "bool", "status", "kind", "nil"}

func (t staticType) String() string { return typeNames[t] }

func (t staticType) numeric() bool { return t == isNumber || t == isDuration }

// agrees reports whether values of two types can be operands of one operator.
func (t staticType) agrees(o staticType) bool {
	return t == o || t == isAttribute || o == isAttribute || t.numeric() && o.numeric()
}

func typeOf(v Value) staticType {
	switch v.Type {
	case TypeInt, TypeFloat:
		return isNumber
	case TypeDuration:
		return isDuration
	case TypeString:
		return isString
	case TypeBool:
		return isBool
	case TypeStatus:
		return isStatus
	case TypeKind:
		return isKind
	default:
		return isNil
	}
}

type checker struct{ text string }

func check(text string, q *Query) error {
	c := checker{text}
	if q.IsMetrics() {
		return c.metrics(q.Metrics)
	}
	return c.pipeline(q.Pipeline)
}

func (c checker) fail(pos int, hint, format string, args ...any) error {
	return errorAt(c.text, pos, false, fmt.Sprintf(format, args...), "", hint)
}

func (c checker) pipeline(p *Pipeline) error {
	for _, e := range p.Elements {
		if err := c.element(e); err != nil {
			return err
		}
	}
	return nil
}

func (c checker) element(e Element) error {
	switch e := e.(type) {
	case *Filter:
		return c.filter(e)
	case *SpansetOp:
		if err := c.element(e.L); err != nil {
			return err
		}
		return c.element(e.R)
	case *Sub:
		return c.pipeline(e.Pipeline)
	case *GroupBy:
		if !refersToSpan(e.Expr) {
			return c.fail(e.At, "name an attribute: by(resource.service.name)", "by() of a constant")
		}
		_, err := c.expr(e.Expr)
		return err
	case *Select:
		for _, a := range e.Attrs {
			if _, err := c.expr(a); err != nil {
				return err
			}
		}
	case *ScalarFilter:
		return c.scalarFilter(e)
	}
	return nil
}

func (c checker) filter(f *Filter) error {
	if f.Expr == nil {
		return nil
	}
	t, err := c.expr(f.Expr)
	if err == nil && t != isBool && t != isAttribute {
		err = c.fail(f.Expr.exprPos(), "compare it with a value", "a filter must be true or false, this is a %s", t)
	}
	return err
}

func (c checker) expr(e Expr) (staticType, error) {
	switch e := e.(type) {
	case *Literal:
		return typeOf(e.Value), nil
	case *Attribute:
		if e.Parent {
			return 0, c.fail(e.At, "relate span sets instead: {...} > {...}", "attributes of the parent are not supported")
		}
		return isAttribute, nil
	case *Intrinsic:
		if e.ID == Parent {
			return 0, c.fail(e.At, "use span:parentID, nestedSetParent, or relate span sets: {...} > {...}", "parent is not supported")
		}
		return intrinsics[e.ID].typ, nil
	case *Unary:
		return c.unary(e)
	case *Binary:
		return c.binary(e)
	default:
		return 0, c.fail(0, "", "unknown expression %T", e)
	}
}

func (c checker) unary(e *Unary) (staticType, error) {
	t, err := c.expr(e.X)
	if err != nil {
		return 0, err
	}
	if e.Op == OpNot {
		if t != isBool && t != isAttribute {
			return 0, c.fail(e.At, "write != for not equal, !~ for no match; !(a = b) negates a comparison", "! negates true and false, not a %s", t)
		}
		return isBool, nil
	}
	if !t.numeric() && t != isAttribute {
		return 0, c.fail(e.At, "", "a %s has no negative", t)
	}
	return max(t, isNumber), nil
}

func (c checker) binary(e *Binary) (staticType, error) {
	l, err := c.expr(e.L)
	if err != nil {
		return 0, err
	}
	r, err := c.expr(e.R)
	if err != nil {
		return 0, err
	}
	if l == isNil || r == isNil {
		return isBool, c.compareNil(e, l, r)
	}
	if !l.agrees(r) {
		hint := ""
		if l == isStatus || r == isStatus {
			hint = "a status is ok, error or unset, without quotes"
		} else if l == isKind || r == isKind {
			hint = "a kind is unspecified, internal, server, client, producer or consumer, without quotes"
		}
		return 0, c.fail(e.At, hint, "operator %s between a %s and a %s", e.Op, l, r)
	}
	known := l // the type that is not open
	if l == isAttribute {
		known = r
	}
	valid := true
	result := isBool
	switch {
	case e.Op == OpAnd || e.Op == OpOr:
		valid = boolean(l) && boolean(r)
	case e.Op.isArithmetic():
		valid = known.numeric() || known == isAttribute
		result = isNumber
	case e.Op.isOrder():
		valid = known.numeric() || known == isString || known == isAttribute
	case e.Op == OpRegex || e.Op == OpNotRegex:
		return isBool, c.regex(e, l)
	}
	if !valid {
		return 0, c.fail(e.At, "", "operator %s on a %s", e.Op, known)
	}
	return result, nil
}

func boolean(t staticType) bool { return t == isBool || t == isAttribute }

// compareNil allows nil beside attributes, and beside itself. Beside what is never nil != holds always and = is a mistake.
func (c checker) compareNil(e *Binary, l, r staticType) error {
	if e.Op != OpEq && e.Op != OpNe {
		return c.fail(e.At, "an attribute is = nil or != nil", "operator %s on nil", e.Op)
	}
	other, t := e.L, l
	if l == isNil {
		other, t = e.R, r
	}
	if t == isNil {
		return nil
	}
	if _, field := refOf(other); field && e.Op == OpNe {
		return nil // Traces Drilldown asks so of whatever it groups by
	}
	if a, ok := other.(*Attribute); ok && a.Scope == ScopeResource && a.Name == serviceName {
		return c.fail(e.At, "", "every span has a resource.service.name: it is never nil")
	}
	if t == isAttribute {
		return nil
	}
	return c.fail(e.At, "only attributes can be absent", "a %s is never nil", t)
}

func (c checker) regex(e *Binary, left staticType) error {
	lit, ok := e.R.(*Literal)
	if !ok || lit.Value.Type != TypeString {
		return c.fail(e.R.exprPos(), "write the expression in quotes", "operator %s needs a string on its right", e.Op)
	}
	if left != isString && left != isAttribute {
		return c.fail(e.At, "", "operator %s on a %s", e.Op, left)
	}
	if err := match.CheckRegex(lit.Value.s); err != nil {
		return c.fail(lit.At, "expressions are RE2, anchored at both ends", "bad regular expression: %v", err)
	}
	return nil
}

// refersToSpan reports whether an expression depends on the span.
func refersToSpan(e Expr) bool {
	switch e := e.(type) {
	case *Attribute, *Intrinsic:
		return true
	case *Unary:
		return refersToSpan(e.X)
	case *Binary:
		return refersToSpan(e.L) || refersToSpan(e.R)
	default:
		return false
	}
}

func (c checker) scalarFilter(f *ScalarFilter) error {
	lv, lAgg, err := c.scalar(f.L)
	if err != nil {
		return err
	}
	rv, rAgg, err := c.scalar(f.R)
	if err != nil {
		return err
	}
	v := rv
	switch {
	case lAgg && rAgg:
		return c.fail(f.At, "compare the aggregate with a number", "comparing two aggregates is not supported")
	case rAgg:
		v = lv
	case !lAgg:
		return c.fail(f.At, "begin with an aggregate such as count()", "a comparison of two constants")
	}
	if !typeOf(v).numeric() {
		return c.fail(f.At, "", "an aggregate is a number, %s is a %s", shorten(v.Literal()), typeOf(v))
	}
	return nil
}

// scalar checks one side of a scalar filter: an aggregate, or a constant and its value.
func (c checker) scalar(s Scalar) (v Value, aggregate bool, err error) {
	switch s := s.(type) {
	case *Constant:
		return s.Value, false, nil
	case *Aggregate:
		return Value{}, true, c.aggregate(s)
	}
	op := s.(*ScalarOp)
	l, lAgg, err := c.scalar(op.L)
	if err != nil {
		return v, false, err
	}
	r, rAgg, err := c.scalar(op.R)
	if err != nil {
		return v, false, err
	}
	if lAgg || rAgg {
		return v, false, c.fail(op.At, "compare the aggregate with a number", "arithmetic of aggregates is not supported")
	}
	if !typeOf(l).numeric() || !typeOf(r).numeric() {
		return v, false, c.fail(op.At, "", "operator %s between a %s and a %s", op.Op, typeOf(l), typeOf(r))
	}
	if v, err = arithmetic(op.Op, l, r); err != nil {
		return v, false, c.fail(op.At, "", "%s", err)
	}
	return v, false, nil
}

func (c checker) aggregate(a *Aggregate) error {
	if a.Expr == nil {
		return nil
	}
	if !refersToSpan(a.Expr) {
		return c.fail(a.At, "name an attribute: "+a.Func+"(duration)", "%s() of a constant", a.Func)
	}
	t, err := c.expr(a.Expr)
	if err == nil && !t.numeric() && t != isAttribute {
		err = c.fail(a.At, "", "%s() of a %s", a.Func, t)
	}
	return err
}

func (c checker) metrics(m MetricExpr) error {
	switch m := m.(type) {
	case *MetricMath:
		if err := c.metrics(m.L); err != nil {
			return err
		}
		return c.metrics(m.R)
	case *MetricStages:
		return c.metrics(m.X)
	case *MetricNumber:
		if m.Value.Type != TypeInt && m.Value.Type != TypeFloat {
			return c.fail(m.At, "write seconds as a number", "a %s in arithmetic of metrics", typeOf(m.Value))
		}
	case *MetricPipeline:
		if err := c.pipeline(m.Pipeline); err != nil {
			return err
		}
		return c.metricFunc(m.Func)
	}
	return nil
}

func (c checker) metricFunc(f *MetricFunc) error {
	if f.Attr != nil {
		t, err := c.expr(f.Attr)
		if err != nil {
			return err
		}
		if !t.numeric() && t != isAttribute {
			return c.fail(f.Attr.exprPos(), "", "%s of a %s", f.Name, t)
		}
	}
	for _, e := range f.By {
		if _, err := c.expr(e); err != nil {
			return err
		}
	}
	if f.Filter != nil {
		return c.filter(f.Filter)
	}
	return nil
}
