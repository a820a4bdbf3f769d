package traceql

import (
	"encoding/hex"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
)

// evaluator computes expressions on the rows of one batch. Keys are looked up once a batch; a row allocates nothing once
// the scratch has grown. Not safe for concurrent use.
type evaluator struct {
	fields  []fieldRef
	keys    []int64 // of attributes: index in the batch, -1 for absent
	batch   *span.Batch
	batches uint64 // that were bound: a batch may come again with other content
	frame   *frame // traces around the rows; nil where rows are looked at alone
	scratch []val
	text    []byte
	err     error // the first that ended the query: division by zero, arrays where none can be
	every   int   // rows between two looks at the context
}

// everyNode is how many nodes are computed between two looks at the context, some milliseconds. Matching one long text with an
// expression may take a hundred, so queries with expressions look at every row.
const everyNode = 50_000

func newEvaluator(c *compiler) *evaluator {
	ev := &evaluator{fields: c.fields, keys: make([]int64, len(c.fields)), every: everyNode/(c.nodes+10) + 1}
	if c.slow {
		ev.every = 1
	}
	return ev
}

// pause looks at the context now and then; n counts rows.
func (ev *evaluator) pause(n int, cancelled func() error) error {
	if n%ev.every != ev.every-1 {
		return nil
	}
	return cancelled()
}

// bind moves to a batch.
func (ev *evaluator) bind(b *span.Batch, f *frame) {
	ev.batch, ev.frame = b, f
	ev.batches++
	for i, f := range ev.fields {
		ev.keys[i] = -1
		if !f.attr {
			continue
		}
		for k, key := range b.Keys {
			if int(key.Len) == len(f.name) && string(b.Bytes(key)) == f.name {
				ev.keys[i] = int64(k)
				break
			}
		}
	}
}

// holds reports whether a condition is true on a row; nil holds.
func (ev *evaluator) holds(n *node, row int) bool {
	if n == nil {
		return true
	}
	ev.scratch, ev.text = ev.scratch[:0], ev.text[:0]
	return ev.isTrue(n, row)
}

// valueOf computes a value; valid until the next call.
func (ev *evaluator) valueOf(n *node, row int) val {
	ev.scratch, ev.text = ev.scratch[:0], ev.text[:0]
	return ev.eval(n, row)
}

func (ev *evaluator) isTrue(n *node, row int) bool {
	switch n.kind {
	case nodeAnd:
		return ev.isTrue(n.l, row) && ev.isTrue(n.r, row)
	case nodeOr:
		return ev.isTrue(n.l, row) || ev.isTrue(n.r, row)
	case nodeCompare:
		return ev.compare(n, ev.eval(n.l, row), ev.eval(n.r, row))
	case nodePresent:
		return ev.get(n.field, row).typ != TypeNil
	case nodeAbsent:
		return ev.get(n.field, row).typ == TypeNil
	case nodeRoot:
		if ev.batch.Parent[row].IsZero() {
			return n.root
		}
		return n.notRoot
	default:
		return ev.eval(n, row).isTrue()
	}
}

func (ev *evaluator) eval(n *node, row int) val {
	switch n.kind {
	case nodeLiteral:
		return n.literal
	case nodeField:
		return ev.get(n.field, row)
	case nodeNegative:
		return ev.negative(ev.eval(n.l, row))
	case nodeNot:
		if v := ev.eval(n.l, row); v.typ == TypeBool {
			return boolVal(v.n == 0)
		}
		return val{}
	case nodeArithmetic:
		return ev.arithmetic(n.op, ev.eval(n.l, row), ev.eval(n.r, row))
	default:
		return boolVal(ev.isTrue(n, row))
	}
}

func (ev *evaluator) fail(format string, args ...any) {
	if ev.err == nil {
		ev.err = invalid(format, args...)
	}
}

// compare compares two values. Of an array one element must hold, or for != and !~ all of them.
func (ev *evaluator) compare(n *node, l, r val) bool {
	if l.typ != TypeArray && r.typ != TypeArray {
		return compareScalars(n.op, l, r, n.regex)
	}
	if l.typ == TypeArray && r.typ == TypeArray {
		ev.fail("an array cannot be compared with an array")
		return false
	}
	if l.typ == TypeNil || r.typ == TypeNil {
		return false
	}
	all := n.op == OpNe || n.op == OpNotRegex
	for _, e := range l.list {
		if compareScalars(n.op, e, r, n.regex) != all {
			return !all
		}
	}
	for _, e := range r.list {
		if compareScalars(n.op, l, e, n.regex) != all {
			return !all
		}
	}
	return all
}

func (ev *evaluator) negative(v val) val {
	switch {
	case v.typ == TypeArray:
		ev.fail("an array has no negative")
	case v.numeric():
		v.n, v.f = -v.n, -v.f
		return v
	}
	return val{}
}

func (ev *evaluator) arithmetic(op Op, l, r val) val {
	if l.typ == TypeArray || r.typ == TypeArray {
		ev.fail("operator %s on an array", op)
		return val{}
	}
	if !l.numeric() || !r.numeric() {
		return val{}
	}
	v, err := arithmetic(op, Value{Type: l.typ, n: l.n, f: l.f}, Value{Type: r.typ, n: r.n, f: r.f})
	if err != nil {
		ev.fail("%s", err)
	}
	return val{typ: v.Type, n: v.n, f: v.f}
}

// get reads a field of a row.
func (ev *evaluator) get(i, row int) val {
	f := &ev.fields[i]
	if !f.attr {
		return ev.intrinsic(f.id, row)
	}
	b, key := ev.batch, ev.keys[i]
	service := f.name == serviceName
	switch f.scope {
	case ScopeSpan:
		return ev.owner(b.SpanAttrs[row], key)
	case ScopeResource:
		if service {
			return text(b.Bytes(b.Service[row]))
		}
		return ev.owner(b.Resources[b.Resource[row]].Attrs, key)
	case ScopeEvent:
		return ev.events(row, key)
	case ScopeLink:
		return ev.links(row, key)
	case ScopeInstrumentation:
		return ev.owner(b.Scopes[b.Scope[row]].Attrs, key)
	}
	if v := ev.owner(b.SpanAttrs[row], key); v.typ != TypeNil {
		return v
	}
	if service {
		return text(b.Bytes(b.Service[row]))
	}
	if v := ev.owner(b.Resources[b.Resource[row]].Attrs, key); v.typ != TypeNil {
		return v
	}
	if v := ev.events(row, key); v.typ != TypeNil {
		return v
	}
	if v := ev.links(row, key); v.typ != TypeNil {
		return v
	}
	return ev.owner(b.Scopes[b.Scope[row]].Attrs, key)
}

func text(p []byte) val { return val{typ: TypeString, s: p} }

func find(b *span.Batch, r span.Range, key int64) (span.Value, bool) {
	if key < 0 {
		return span.Value{}, false
	}
	attrs := b.AttrsOf(r)
	for i := len(attrs) - 1; i >= 0; i-- {
		if attrs[i].Key == uint32(key) {
			return attrs[i].Value(), true
		}
	}
	return span.Value{}, false
}

func (ev *evaluator) owner(r span.Range, key int64) val {
	v, ok := find(ev.batch, r, key)
	if !ok {
		return val{}
	}
	return ev.attrValue(v)
}

// attrValue is an attribute as a value: arrays of one scalar type by their elements, in scratch.
func (ev *evaluator) attrValue(v span.Value) val {
	if v.Type < span.TypeStrings || v.Type > span.TypeBools {
		return ev.scalar(v)
	}
	from := len(ev.scratch)
	ev.elements(v)
	return ev.listFrom(from)
}

func (ev *evaluator) scalar(v span.Value) val {
	switch v.Type {
	case span.TypeString:
		return text(ev.batch.Bytes(v.Str()))
	case span.TypeInt:
		return val{typ: TypeInt, n: v.Int()}
	case span.TypeDouble:
		return val{typ: TypeFloat, f: v.Double()}
	case span.TypeBool:
		return boolVal(v.Bool())
	case span.TypeBytes:
		return val{typ: typeOpaque, n: int64(v.Type), s: ev.batch.Bytes(v.Str())}
	default:
		return val{typ: typeOpaque, n: int64(v.Type)}
	}
}

func (ev *evaluator) elements(v span.Value) {
	for e := ev.batch.Elements(v); ; {
		v, ok := e.Next()
		if !ok {
			return
		}
		ev.scratch = append(ev.scratch, ev.scalar(v))
	}
}

func (ev *evaluator) listFrom(from int) val {
	return val{typ: TypeArray, list: ev.scratch[from:len(ev.scratch):len(ev.scratch)]}
}

// several gathers a field of several owners: arrays by their elements.
func (ev *evaluator) several(r span.Range, key int64) bool {
	v, ok := find(ev.batch, r, key)
	switch {
	case !ok:
	case v.Type < span.TypeStrings || v.Type > span.TypeBools:
		ev.scratch = append(ev.scratch, ev.scalar(v))
	default:
		ev.elements(v)
	}
	return ok
}

func (ev *evaluator) events(row int, key int64) val {
	from, found := len(ev.scratch), false
	if key >= 0 {
		for _, e := range ev.batch.EventsOf(row) {
			found = ev.several(e.Attrs, key) || found
		}
	}
	if !found {
		return val{}
	}
	return ev.listFrom(from)
}

func (ev *evaluator) links(row int, key int64) val {
	from, found := len(ev.scratch), false
	if key >= 0 {
		for _, l := range ev.batch.LinksOf(row) {
			found = ev.several(l.Attrs, key) || found
		}
	}
	if !found {
		return val{}
	}
	return ev.listFrom(from)
}

// hexText is an id in scratch memory.
func (ev *evaluator) hexText(p []byte) val {
	from := len(ev.text)
	ev.text = hex.AppendEncode(ev.text, p)
	return text(ev.text[from:len(ev.text):len(ev.text)])
}

func (ev *evaluator) intrinsic(id IntrinsicID, row int) val {
	b := ev.batch
	switch id {
	case Duration:
		return val{typ: TypeDuration, n: b.Duration(row)}
	case Name:
		return ev.name(row)
	case Status:
		if s := b.Status[row]; s <= span.StatusError {
			return val{typ: TypeStatus, n: int64(s)}
		}
		return val{typ: TypeStatus}
	case StatusMessage:
		return text(b.Bytes(b.StatusMessage[row]))
	case Kind:
		if k := b.Kind[row]; k <= span.KindConsumer {
			return val{typ: TypeKind, n: int64(k)}
		}
		return val{typ: TypeKind}
	case TraceID:
		return ev.hexText(b.TraceID[row][:])
	case SpanID:
		return ev.hexText(b.SpanID[row][:])
	case ParentID:
		if b.Parent[row].IsZero() {
			return text(nil)
		}
		return ev.hexText(b.Parent[row][:])
	case InstrumentationName:
		return text(b.Bytes(b.Scopes[b.Scope[row]].Name))
	case InstrumentationVersion:
		return text(b.Bytes(b.Scopes[b.Scope[row]].Version))
	case EventName, EventTimeSinceStart, LinkTraceID, LinkSpanID:
		return ev.perEvent(id, row)
	}
	if ev.frame == nil {
		return val{}
	}
	return ev.frame.intrinsic(ev, id, row)
}

// name is the name as people see it: spans without one show their kind and service.
func (ev *evaluator) name(row int) val {
	b := ev.batch
	if b.Name[row].Len > 0 {
		return text(b.Bytes(b.Name[row]))
	}
	return text([]byte(query.PlainName(b.Kind[row], b.String(b.Service[row]))))
}

// perEvent reads an intrinsic that every event or link has.
func (ev *evaluator) perEvent(id IntrinsicID, row int) val {
	b, from := ev.batch, len(ev.scratch)
	switch id {
	case EventName:
		for _, e := range b.EventsOf(row) {
			ev.scratch = append(ev.scratch, text(b.Bytes(e.Name)))
		}
	case EventTimeSinceStart:
		for _, e := range b.EventsOf(row) {
			ev.scratch = append(ev.scratch, val{typ: TypeDuration, n: int64(e.Time) - b.Time[row]})
		}
	case LinkTraceID:
		for _, l := range b.LinksOf(row) {
			ev.scratch = append(ev.scratch, ev.hexText(l.TraceID[:]))
		}
	case LinkSpanID:
		for _, l := range b.LinksOf(row) {
			ev.scratch = append(ev.scratch, ev.hexText(l.SpanID[:]))
		}
	}
	if len(ev.scratch) == from {
		return val{}
	}
	return ev.listFrom(from)
}
