package traceql

import (
	"math"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// plan is a condition for the engine. Every span that meets what was planned meets expr; where exact is set the reverse
// holds too. A nil expr holds always.
type plan struct {
	expr  store.Expr
	exact bool
}

var (
	always  = plan{nil, true}
	never   = plan{store.Or{}, true}
	unknown = plan{nil, false}
)

func exactly(e store.Expr) plan { return plan{e, true} }
func within(e store.Expr) plan  { return plan{e, false} }

// want is for which value of an expression a plan is made.
type want uint8

const (
	wantTrue want = iota
	wantFalse
	wantNotTrue // false or no bool at all
)

// planExpr makes the condition under which an expression has the wanted value.
func planExpr(e Expr, w want) plan {
	if v, ok, err := constant(e); ok && err == nil {
		isBool := v.Type == TypeBool
		if w == wantTrue && v.Bool() || w == wantFalse && isBool && !v.Bool() || w == wantNotTrue && !v.Bool() {
			return always
		}
		return never
	}
	switch e := e.(type) {
	case *Attribute:
		f, _ := refOf(e)
		return planBare(f, w)
	case *Unary:
		if e.Op != OpNot {
			return unknown
		}
		switch w {
		case wantTrue:
			return planExpr(e.X, wantFalse)
		case wantFalse:
			return planExpr(e.X, wantTrue)
		}
		return unknown
	case *Binary:
		switch {
		case e.Op == OpAnd && w == wantTrue:
			return both(planExpr(e.L, wantTrue), planExpr(e.R, wantTrue))
		case e.Op == OpAnd:
			return either(planExpr(e.L, wantNotTrue), planExpr(e.R, wantNotTrue))
		case e.Op == OpOr && w == wantTrue:
			return either(planExpr(e.L, wantTrue), planExpr(e.R, wantTrue))
		case e.Op == OpOr:
			return both(planExpr(e.L, wantNotTrue), planExpr(e.R, wantNotTrue))
		case e.Op.isComparison():
			p := planComparison(e)
			if w == wantTrue {
				return p
			}
			return not(p)
		}
	}
	return unknown
}

func not(p plan) plan {
	switch {
	case !p.exact:
		return unknown
	case p.expr == nil:
		return never
	}
	return exactly(store.Not{Expr: p.expr})
}

func both(a, b plan) plan {
	exact := a.exact && b.exact
	switch {
	case a.expr == nil:
		return plan{b.expr, exact}
	case b.expr == nil:
		return plan{a.expr, exact}
	}
	list, ok := a.expr.(store.And)
	if !ok {
		list = store.And{a.expr}
	}
	if more, ok := b.expr.(store.And); ok {
		return plan{append(list, more...), exact}
	}
	return plan{append(list, b.expr), exact}
}

func either(a, b plan) plan {
	exact := a.exact && b.exact
	if a.expr == nil || b.expr == nil {
		// One side holds always: so does the whole, exactly if that side is sure of it.
		return plan{nil, exact || a == always || b == always}
	}
	list, ok := a.expr.(store.Or)
	if !ok {
		list = store.Or{a.expr}
	}
	if more, ok := b.expr.(store.Or); ok {
		return plan{append(list, more...), exact}
	}
	return plan{append(list, b.expr), exact}
}

// planBare is for an attribute that stands alone as a condition.
func planBare(f fieldRef, w want) plan {
	if w == wantNotTrue {
		return unknown
	}
	if f.isService() {
		return never
	}
	return within(onField(f, store.Eq, store.Bool(w == wantTrue)))
}

// onField is a condition on an attribute that holds wherever the same comparison of its first owner holds.
func onField(f fieldRef, op store.Op, v store.Operand) store.Expr {
	c := store.Cond{Field: store.Field{In: storeScopes[f.scope], Key: f.name}, Op: op, Value: v}
	if f.name != serviceName {
		return c
	}
	service := store.Cond{Field: store.Field{In: store.Intrinsic, Key: store.FieldService}, Op: op, Value: v}
	switch f.scope {
	case ScopeResource:
		return service
	case ScopeNone:
		c.Field.In = store.InSpan
		if op != store.Exists && v.Type != span.TypeString {
			return c // the column holds text; engines refuse to compare it with anything else
		}
		return store.Or{c, service}
	}
	return c
}

var storeOps = map[Op]store.Op{OpEq: store.Eq, OpNe: store.Ne, OpLt: store.Lt, OpLe: store.Le, OpGt: store.Gt, OpGe: store.Ge,
	OpRegex: store.Regex, OpNotRegex: store.NotRegex}

func planComparison(b *Binary) plan {
	c, ok := comparisonOf(b)
	if !ok {
		// No answer is true where an attribute on either side is absent.
		return both(planPresent(b.L), planPresent(b.R))
	}
	switch {
	case c.value.IsNil() && c.field.attr:
		return planNil(c)
	case c.value.IsNil(): // an intrinsic, which nearly every span has
		return unknown
	case !c.field.attr:
		return planIntrinsic(c)
	case c.field.isService() && c.value.Type != TypeString:
		return never
	}
	v, ok := operand(c.op, c.value)
	if !ok {
		return never // statuses and kinds: no attribute is one
	}
	if v.Text == tooLong {
		return within(onField(c.field, store.Exists, store.Operand{}))
	}
	f := c.field
	switch {
	case f.isService():
		return exactly(onField(f, storeOps[c.op], v))
	case c.op == OpNe || c.op == OpNotRegex:
		return within(planUnequal(f, c.op, v))
	case f.scope == ScopeNone:
		return within(onField(f, storeOps[c.op], v))
	default:
		return exactly(onField(f, storeOps[c.op], v))
	}
}

// planPresent demands the attributes without which arithmetic has no result.
func planPresent(e Expr) plan {
	switch e := e.(type) {
	case *Attribute:
		f, _ := refOf(e)
		if f.name == serviceName && (f.scope == ScopeNone || f.scope == ScopeResource) {
			return unknown
		}
		return within(onField(f, store.Exists, store.Operand{}))
	case *Unary:
		if e.Op == OpSub {
			return planPresent(e.X)
		}
	case *Binary:
		if e.Op.isArithmetic() {
			return both(planPresent(e.L), planPresent(e.R))
		}
	}
	return unknown
}

// tooLong marks an expression that the engine would refuse once it is wrapped.
const tooLong = "\x00too long"

const maxPushedRegex = 4 << 10

// operand is a constant as engines compare it; not ok for types that no attribute has.
func operand(op Op, v Value) (store.Operand, bool) {
	switch v.Type {
	case TypeInt, TypeDuration:
		return store.Int(v.n), true
	case TypeFloat:
		return store.Num(v.f), true
	case TypeBool:
		return store.Bool(v.Bool()), true
	case TypeString:
		if op != OpRegex && op != OpNotRegex {
			return store.Text(v.s), true
		}
		if len(v.s)+len("(?s:)") > maxPushedRegex {
			return store.Text(tooLong), true
		}
		return store.Text("(?s:" + v.s + ")"), true
	}
	return store.Operand{}, false
}

// planUnequal holds wherever != or !~ holds. Engines say no to empty arrays, to which every element is unequal; and several
// owners or events are several lists there and one list here.
func planUnequal(f fieldRef, op Op, v store.Operand) store.Expr {
	switch f.scope {
	case ScopeNone:
		list := store.Or{}
		for scope := ScopeSpan; scope <= ScopeInstrumentation; scope++ {
			list = append(list, planUnequal(fieldRef{attr: true, scope: scope, name: f.name}, op, v))
		}
		return list
	case ScopeEvent, ScopeLink:
		opposite := store.Eq
		if op == OpNotRegex {
			opposite = store.Regex
		}
		return store.And{onField(f, store.Exists, store.Operand{}), store.Not{Expr: onField(f, opposite, v)}}
	}
	if f.isService() {
		if v.Type != span.TypeString {
			return store.Or{}
		}
		return onField(f, storeOps[op], v)
	}
	empty := store.And{
		onField(f, store.Exists, store.Operand{}),
		store.Not{Expr: onField(f, store.Ge, store.Text(""))},
		store.Not{Expr: onField(f, store.Ge, store.Num(math.Inf(-1)))},
		store.Not{Expr: onField(f, store.Eq, store.Bool(true))},
		store.Not{Expr: onField(f, store.Eq, store.Bool(false))},
	}
	return store.Or{onField(f, storeOps[op], v), empty}
}

func planNil(c comparison) plan {
	f := c.field
	present := always
	if f.name != serviceName || f.scope != ScopeNone && f.scope != ScopeResource {
		present = exactly(onField(f, store.Exists, store.Operand{}))
	}
	if c.op == OpEq {
		return not(present)
	}
	return present
}

func intrinsicCond(key string, op Op, v store.Operand) store.Cond {
	return store.Cond{Field: store.Field{In: store.Intrinsic, Key: key}, Op: storeOps[op], Value: v}
}

// textIntrinsics are those that the store keeps as text and compares as the language does.
var textIntrinsics = map[IntrinsicID]string{
	StatusMessage: store.FieldStatusMessage, EventName: store.FieldEventName, TraceID: store.FieldTraceID, SpanID: store.FieldSpanID,
	ParentID: store.FieldParentID, InstrumentationName: store.FieldScopeName, InstrumentationVersion: store.FieldScopeVersion,
}

func planIntrinsic(c comparison) plan {
	if root, other, ok := c.rootAnswers(); ok {
		if root == other {
			if root {
				return always
			}
			return never
		}
		return exactly(intrinsicCond(store.FieldRoot, OpEq, store.Bool(root)))
	}
	v, ok := operand(c.op, c.value)
	if v.Text == tooLong {
		return unknown
	}
	switch id := c.field.id; id {
	case Duration:
		return exactly(intrinsicCond(store.FieldDuration, c.op, v))
	case Status:
		return exactly(intrinsicCond(store.FieldStatus, c.op, store.Text(c.value.String())))
	case Kind:
		return exactly(intrinsicCond(store.FieldKind, c.op, store.Text(c.value.String())))
	case Name:
		return planName(c, v)
	default:
		key, known := textIntrinsics[id]
		if !known || !ok {
			return unknown
		}
		return planText(c, id, key, v)
	}
}

// planText is for texts and ids. Engines refuse to compare with what is no id: no span has such a one.
func planText(c comparison, id IntrinsicID, key string, v store.Operand) plan {
	if c.op == OpEq || c.op == OpNe {
		valid := true
		switch id {
		case TraceID:
			_, err := span.ParseTraceID(v.Text)
			valid = err == nil
		case SpanID, ParentID:
			_, err := span.ParseSpanID(v.Text)
			valid = err == nil || id == ParentID && v.Text == ""
		}
		if !valid {
			return unknown
		}
	}
	return exactly(intrinsicCond(key, c.op, v))
}

// planName looks for a name as it is shown: spans without one show their kind and service, which only the evaluator knows.
func planName(c comparison, v store.Operand) plan {
	stored := intrinsicCond(store.FieldName, c.op, v)
	nameless := intrinsicCond(store.FieldName, OpEq, store.Text(""))
	if c.op == OpEq && !couldBePlain(v.Text) {
		if v.Text == "" {
			return never
		}
		return exactly(stored)
	}
	return within(store.Or{stored, nameless})
}

// couldBePlain reports whether query.PlainName can make a name: it begins with the word of a kind.
func couldBePlain(name string) bool {
	word := name
	for i := range len(name) {
		if name[i] == ' ' {
			word = name[:i]
			break
		}
	}
	if word == "span" {
		return true
	}
	for k := span.KindUnspecified; k <= span.KindConsumer; k++ {
		if k.String() == word {
			return true
		}
	}
	return false
}
