package traceql

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/spanloom/spanloom/span"
)

// The oracle answers queries on plain spans, the slow and obvious way. It shares the tree with the engine and nothing else: no
// plan, no columns, no masks. Values are Go values: nil, int64, float64, string, bool, oDuration, oStatus, oKind, oOpaque, []any.

type (
	oDuration int64
	oStatus   string
	oKind     string
	oOpaque   string // what answers show of it, empty for nothing
	oError    string // thrown where a query ends with an error
)

type oChild struct {
	name, trace, span string
	time              int64
	attrs             map[string]any
}

type oSpan struct {
	trace, id, parentID     string
	service, name, message  string
	kind                    oKind
	status                  oStatus
	start, end              uint64
	time, duration          int64
	attrs, resource, scope  map[string]any
	scopeName, scopeVersion string
	events, links           []oChild
	order                   int // of receipt
	parent                  *oSpan
	left, right, up, kids   int64
	of                      *oTrace
}

type oTrace struct {
	id    string
	spans []*oSpan
	root  *oSpan
	took  int64
}

type oSet struct {
	spans []*oSpan
	attrs []string
}

// oracleTraces reads batches into traces, sorted by id.
func oracleTraces(batches ...*span.Batch) []*oTrace {
	byIdentity := make(map[string]*oSpan)
	n := 0
	for _, b := range batches {
		for row := range b.Len() {
			s := oracleSpan(b, row)
			s.order = n
			n++
			key := fmt.Sprint(s.trace, s.id, s.kind, s.start, "/", s.service)
			if old := byIdentity[key]; old == nil || s.end >= old.end {
				byIdentity[key] = s
			}
		}
	}
	byTrace := make(map[string]*oTrace)
	for _, s := range byIdentity {
		t := byTrace[s.trace]
		if t == nil {
			t = &oTrace{id: s.trace}
			byTrace[s.trace] = t
		}
		s.of = t
		t.spans = append(t.spans, s)
	}
	var out []*oTrace
	for _, t := range byTrace {
		t.finish()
		out = append(out, t)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	return out
}

var oKinds = []oKind{"unspecified", "internal", "server", "client", "producer", "consumer"}

func oracleSpan(b *span.Batch, row int) *oSpan {
	s := &oSpan{
		trace: b.TraceID[row].String(), id: b.SpanID[row].String(), service: b.String(b.Service[row]), name: b.String(b.Name[row]),
		message: b.String(b.StatusMessage[row]), kind: "unspecified", status: "unset", start: b.Start[row], end: b.End[row], time: b.Time[row],
		duration: b.Duration(row), attrs: oracleAttrs(b, b.SpanAttrs[row]), resource: oracleAttrs(b, b.Resources[b.Resource[row]].Attrs),
		scope: oracleAttrs(b, b.Scopes[b.Scope[row]].Attrs), scopeName: b.String(b.Scopes[b.Scope[row]].Name), scopeVersion: b.String(b.Scopes[b.Scope[row]].Version),
	}
	if !b.Parent[row].IsZero() {
		s.parentID = b.Parent[row].String()
	}
	if int(b.Kind[row]) < len(oKinds) {
		s.kind = oKinds[b.Kind[row]]
	}
	switch b.Status[row] {
	case span.StatusOK:
		s.status = "ok"
	case span.StatusError:
		s.status = "error"
	}
	if s.name == "" {
		word := string(s.kind)
		if word == "unspecified" {
			word = "span"
		}
		s.name = strings.TrimSpace(word + " " + s.service)
	}
	for _, e := range b.EventsOf(row) {
		s.events = append(s.events, oChild{name: b.String(e.Name), time: int64(e.Time), attrs: oracleAttrs(b, e.Attrs)})
	}
	for _, l := range b.LinksOf(row) {
		s.links = append(s.links, oChild{trace: l.TraceID.String(), span: l.SpanID.String(), attrs: oracleAttrs(b, l.Attrs)})
	}
	return s
}

func oracleAttrs(b *span.Batch, r span.Range) map[string]any {
	m := make(map[string]any)
	for _, a := range b.AttrsOf(r) {
		m[string(b.Key(a))] = oracleValue(b, a.Value())
	}
	return m
}

func oracleValue(b *span.Batch, v span.Value) any {
	switch v.Type {
	case span.TypeString:
		return b.String(v.Str())
	case span.TypeInt:
		return v.Int()
	case span.TypeDouble:
		return v.Double()
	case span.TypeBool:
		return v.Bool()
	case span.TypeStrings, span.TypeInts, span.TypeDoubles, span.TypeBools:
		list := []any{}
		for e := b.Elements(v); ; {
			x, ok := e.Next()
			if !ok {
				return list
			}
			list = append(list, oracleValue(b, x))
		}
	case span.TypeBytes:
		return oOpaque(base64.StdEncoding.EncodeToString(b.Bytes(v.Str())))
	}
	return oOpaque("")
}

// finish orders the spans, links parents and numbers the trees.
func (t *oTrace) finish() {
	slices.SortFunc(t.spans, func(a, b *oSpan) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.id, b.id), cmp.Compare(slices.Index(oKinds, a.kind), slices.Index(oKinds, b.kind)),
			cmp.Compare(a.service, b.service), cmp.Compare(a.order, b.order))
	})
	first, last := t.spans[0].time, t.spans[0].time
	for _, s := range t.spans {
		last = max(last, s.time+s.duration)
		s.parent = t.parentOf(s)
		if s.parentID == "" && (t.root == nil || s.time == t.root.time && s.duration > t.root.duration) {
			t.root = s
		}
	}
	t.took = last - first
	for _, s := range t.spans { // in order: the first of a cycle loses its parent
		up := s.parent
		for range t.spans {
			if up == nil || up == s {
				break
			}
			up = up.parent
		}
		if up == s {
			s.parent = nil
		}
	}
	counter := int64(0)
	var walk func(s *oSpan, up int64)
	walk = func(s *oSpan, up int64) {
		counter++
		s.left, s.up = counter, up
		for _, k := range t.spans {
			if k.parent == s {
				walk(k, s.left)
			}
		}
		counter++
		s.right = counter
	}
	for _, s := range t.spans {
		for _, k := range t.spans {
			if k.parent == s {
				s.kids++
			}
		}
		if s.parentID == "" {
			walk(s, -1)
		}
	}
}

func (t *oTrace) parentOf(s *oSpan) *oSpan {
	serves := func(s *oSpan) bool { return s.kind == "server" || s.kind == "consumer" }
	if s.parentID == "" {
		return nil
	}
	if serves(s) {
		for _, c := range t.spans {
			if (c.kind == "client" || c.kind == "producer") && c.id == s.id && c.parentID == s.parentID {
				return c
			}
		}
	}
	for _, serving := range []bool{true, false} {
		for _, p := range t.spans {
			if p != s && p.id == s.parentID && serves(p) == serving {
				return p
			}
		}
	}
	return nil
}

// --- expressions

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
	for i, e := range []Expr{le, re} {
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
			_ = i
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

// --- pipelines

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
