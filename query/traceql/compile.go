package traceql

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
)

// fieldRef names what a program reads from a span.
type fieldRef struct {
	attr  bool
	scope AttrScope // of an attribute
	name  string
	id    IntrinsicID // else
}

func refOf(e Expr) (fieldRef, bool) {
	switch e := e.(type) {
	case *Attribute:
		return fieldRef{attr: true, scope: e.Scope, name: e.Name}, true
	case *Intrinsic:
		return fieldRef{id: e.ID}, true
	default:
		return fieldRef{}, false
	}
}

func (f fieldRef) String() string {
	if f.attr {
		return (&Attribute{Scope: f.scope, Name: f.name}).String()
	}
	return f.id.String()
}

// isService reports the attribute that the store keeps as a column.
func (f fieldRef) isService() bool {
	return f.attr && f.scope == ScopeResource && f.name == serviceName
}

// ofTrace reports whether the field says something of the whole trace, so that a single span does not do.
func (f fieldRef) ofTrace() bool {
	if f.attr {
		return false
	}
	switch f.id {
	case TraceDuration, RootName, RootServiceName, ChildCount, NestedSetLeft, NestedSetRight, NestedSetParent:
		return true
	}
	return false
}

type nodeKind uint8

const (
	nodeLiteral nodeKind = iota
	nodeField
	nodeNegative
	nodeNot
	nodeAnd
	nodeOr
	nodeCompare
	nodeArithmetic
	nodePresent // field != nil
	nodeAbsent  // field = nil
	nodeRoot    // one answer for roots, another for all other spans
)

// node is an expression made ready: fields are numbers, constants are computed, expressions are compiled.
type node struct {
	kind          nodeKind
	op            Op
	l, r          *node
	literal       val
	field         int
	regex         *matcher
	root, notRoot bool // of nodeRoot
}

// matcher remembers what an expression said of the last texts.
type matcher struct {
	re   *regexp.Regexp
	seen map[string]bool
}

// What a matcher remembers: long texts are seldom the same.
const (
	maxSeen     = 4096
	maxSeenText = 256
)

func (m *matcher) match(p []byte) bool {
	if len(p) > maxSeenText {
		return m.re.Match(p)
	}
	if hit, ok := m.seen[string(p)]; ok {
		return hit
	}
	hit := m.re.Match(p)
	if len(m.seen) >= maxSeen {
		clear(m.seen)
	}
	m.seen[string(p)] = hit
	return hit
}

// compiler gathers what the expressions of one query read.
type compiler struct {
	fields  []fieldRef
	index   map[fieldRef]int
	parents bool  // the ids of parents are read
	tree    bool  // the tree of the trace is needed
	slow    bool  // texts are matched with expressions
	nodes   int   // of all expressions
	order   []int // fields that an answer shows, as the query names them
	named   map[int]bool
}

func newCompiler() *compiler {
	return &compiler{index: make(map[fieldRef]int), named: make(map[int]bool)}
}

func (c *compiler) field(f fieldRef) int {
	i, ok := c.index[f]
	if !ok {
		switch f.id {
		case ChildCount, NestedSetLeft, NestedSetRight, NestedSetParent:
			c.tree = c.tree || !f.attr
		}
		i = len(c.fields)
		c.fields = append(c.fields, f)
		c.index[f] = i
	}
	return i
}

// name notes that answers show the fields of an expression.
func (c *compiler) name(e Expr) {
	switch e := e.(type) {
	case *Attribute, *Intrinsic:
		f, _ := refOf(e)
		if i := c.field(f); !c.named[i] {
			c.named[i] = true
			c.order = append(c.order, i)
		}
	case *Unary:
		c.name(e.X)
	case *Binary:
		c.name(e.L)
		c.name(e.R)
	}
}

func invalid(format string, args ...any) error {
	return &problem.Problem{Kind: problem.Invalid, Field: "q", Message: fmt.Sprintf(format, args...)}
}

func (c *compiler) expr(e Expr) (*node, error) {
	c.nodes++
	if v, ok, err := constant(e); ok || err != nil {
		return &node{kind: nodeLiteral, literal: valOf(v)}, err
	}
	switch e := e.(type) {
	case *Attribute, *Intrinsic:
		f, _ := refOf(e)
		return &node{kind: nodeField, field: c.field(f)}, nil
	case *Unary:
		x, err := c.expr(e.X)
		kind := nodeNegative
		if e.Op == OpNot {
			kind = nodeNot
		}
		return &node{kind: kind, l: x}, err
	}
	b := e.(*Binary)
	if cmp, ok := comparisonOf(b); ok {
		return c.comparison(cmp)
	}
	l, err := c.expr(b.L)
	if err != nil {
		return nil, err
	}
	r, err := c.expr(b.R)
	n := &node{kind: nodeCompare, op: b.Op, l: l, r: r}
	switch {
	case b.Op == OpAnd:
		n.kind = nodeAnd
	case b.Op == OpOr:
		n.kind = nodeOr
	case b.Op.isArithmetic():
		n.kind = nodeArithmetic
	case b.Op == OpRegex || b.Op == OpNotRegex:
		c.slow = true
		n.regex, err = newMatcher(r.literal)
	}
	return n, err
}

func newMatcher(v val) (*matcher, error) {
	re, err := regexp.Compile(`\A(?s:` + string(v.s) + `)\z`)
	if err != nil {
		return nil, invalid("bad regular expression: %v", err)
	}
	return &matcher{re: re, seen: make(map[string]bool)}, nil
}

// comparison is a comparison of a field with a constant: the constant on the right, ids in the form in which they are compared.
type comparison struct {
	field fieldRef
	op    Op
	value Value
}

var mirrored = map[Op]Op{OpEq: OpEq, OpNe: OpNe, OpLt: OpGt, OpLe: OpGe, OpGt: OpLt, OpGe: OpLe}

func comparisonOf(b *Binary) (comparison, bool) {
	if !b.Op.isComparison() {
		return comparison{}, false
	}
	f, ok := refOf(b.L)
	other, op := b.R, b.Op
	if !ok {
		if f, ok = refOf(b.R); !ok {
			return comparison{}, false
		}
		if other, op = b.L, mirrored[b.Op]; op == OpNone {
			return comparison{}, false
		}
	}
	v, ok, err := constant(other)
	if !ok || err != nil {
		return comparison{}, false
	}
	c := comparison{f, op, v}
	if op == OpEq || op == OpNe {
		c.value = canonicalID(f, v)
	}
	return c, true
}

// canonicalID brings an id that a query compares with into the form that ids have: lower case, with leading zeros.
func canonicalID(f fieldRef, v Value) Value {
	if f.attr || v.Type != TypeString || v.s == "" {
		return v
	}
	digits := 0
	switch f.id {
	case TraceID, LinkTraceID:
		digits = 32
	case SpanID, ParentID, LinkSpanID:
		digits = 16
	}
	if len(v.s) < digits {
		v.s = strings.Repeat("0", digits-len(v.s)) + v.s
	}
	if digits > 0 {
		v.s = strings.ToLower(v.s)
	}
	return v
}

// rootAnswers reports what a comparison of nestedSetParent answers for roots (-1) and for all other spans (0 or more), where
// those all have one answer: such a condition needs no numbering.
func (c comparison) rootAnswers() (root, other, ok bool) {
	if c.field.attr || c.field.id != NestedSetParent {
		return false, false, false
	}
	v := valOf(c.value)
	switch c.op {
	case OpLt, OpGe:
		ok = holdsNumbers(OpLe, v, val{typ: TypeInt})
	case OpLe, OpGt, OpEq, OpNe:
		ok = holdsNumbers(OpLt, v, val{typ: TypeInt})
	}
	return holdsNumbers(c.op, val{typ: TypeInt, n: -1}, v), holdsNumbers(c.op, val{typ: TypeInt, n: 1}, v), ok
}

func (c *compiler) comparison(cmp comparison) (*node, error) {
	if cmp.value.IsNil() {
		kind := nodePresent
		if cmp.op == OpEq {
			kind = nodeAbsent
		}
		return &node{kind: kind, field: c.field(cmp.field)}, nil
	}
	if root, other, ok := cmp.rootAnswers(); ok {
		c.parents = true
		return &node{kind: nodeRoot, root: root, notRoot: other}, nil
	}
	n := &node{kind: nodeCompare, op: cmp.op, l: &node{kind: nodeField, field: c.field(cmp.field)}, r: &node{kind: nodeLiteral, literal: valOf(cmp.value)}}
	var err error
	if cmp.op == OpRegex || cmp.op == OpNotRegex {
		c.slow = true
		n.regex, err = newMatcher(n.r.literal)
	}
	return n, err
}

// constant computes an expression that does not look at the span.
func constant(e Expr) (v Value, ok bool, err error) {
	switch e := e.(type) {
	case *Literal:
		return e.Value, true, nil
	case *Unary:
		v, ok, err = constant(e.X)
		if !ok || err != nil {
			return v, ok, err
		}
		if e.Op == OpNot {
			return BoolValue(!v.Bool()), true, nil
		}
		v.n, v.f = -v.n, -v.f
		return v, true, nil
	case *Binary:
		// The right side first: chains of && and || hang to the left, and every link of one is asked.
		r, rok, err := constant(e.R)
		if !rok || err != nil {
			return v, false, err
		}
		l, lok, err := constant(e.L)
		if !lok || err != nil {
			return v, false, err
		}
		return constantBinary(e.Op, l, r)
	}
	return v, false, nil
}

func constantBinary(op Op, l, r Value) (Value, bool, error) {
	switch {
	case op.isArithmetic():
		v, err := arithmetic(op, l, r)
		if err != nil {
			err = invalid("%s", err)
		}
		return v, true, err
	case op == OpAnd:
		return BoolValue(l.Bool() && r.Bool()), true, nil
	case op == OpOr:
		return BoolValue(l.Bool() || r.Bool()), true, nil
	case l.IsNil() || r.IsNil():
		return BoolValue(false), true, nil
	}
	var m *matcher
	if op == OpRegex || op == OpNotRegex {
		var err error
		if m, err = newMatcher(valOf(r)); err != nil {
			return Value{}, false, err
		}
	}
	return BoolValue(compareScalars(op, valOf(l), valOf(r), m)), true, nil
}

// need is what of the rows the program reads, beside what every answer shows.
func (c *compiler) need() store.Need {
	n := store.Need{Columns: store.ColIdentity}
	if c.tree || c.parents {
		n.Columns |= store.ColParent
	}
	for _, f := range c.fields {
		n.Columns |= columnsOf(f)
		if f.attr && !f.isService() {
			n.Fields = append(n.Fields, store.Field{In: storeScopes[f.scope], Key: f.name})
		}
	}
	return n
}

var storeScopes = [...]store.FieldScope{ScopeNone: store.InAny, ScopeSpan: store.InSpan, ScopeResource: store.InResource,
	ScopeEvent: store.InEvent, ScopeLink: store.InLink, ScopeInstrumentation: store.InScope}

func columnsOf(f fieldRef) store.Columns {
	if f.attr {
		switch f.scope {
		case ScopeNone:
			return store.ColEvents | store.ColLinks | store.ColScope | store.ColService
		case ScopeResource:
			return store.ColService
		case ScopeEvent:
			return store.ColEvents
		case ScopeLink:
			return store.ColLinks
		case ScopeInstrumentation:
			return store.ColScope
		}
		return 0
	}
	switch f.id {
	case Name, RootName:
		return store.ColName | store.ColKind | store.ColService | store.ColParent
	case Status:
		return store.ColStatus
	case StatusMessage:
		return store.ColStatusMessage
	case RootServiceName:
		return store.ColService | store.ColParent
	case SpanID:
		return store.ColSpanID
	case ParentID, ChildCount, NestedSetLeft, NestedSetRight, NestedSetParent:
		return store.ColParent
	case EventName, EventTimeSinceStart:
		return store.ColEvents
	case LinkTraceID, LinkSpanID:
		return store.ColLinks
	case InstrumentationName, InstrumentationVersion:
		return store.ColScope
	}
	return store.ColTime | store.ColKind
}

// local reports whether every field can be read from a span alone.
func (c *compiler) local() bool {
	for _, f := range c.fields {
		if f.ofTrace() {
			return false
		}
	}
	return true
}
