package match

import (
	"bytes"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Bound is a program at one batch. It is not safe for concurrent use; bind once per goroutine.
type Bound struct {
	prog    *Program
	batch   *span.Batch
	keys    []int64      // per condition: index of its key in the batch, -1 where absent
	columns [][]span.Str // per condition on a text column of the batch: the column
	memos   []*memo      // per condition with a regular expression
	scratch []byte
}

// Bind makes the program ready for a batch. Cost: one pass over the batch's keys per condition.
func (p *Program) Bind(b *span.Batch) *Bound {
	bd := &Bound{prog: p, keys: make([]int64, len(p.conds)), columns: make([][]span.Str, len(p.conds))}
	bd.Rebind(b)
	return bd
}

// Rebind moves the program to another batch, or to the same one after rows were added, and keeps its memory.
func (bd *Bound) Rebind(b *span.Batch) {
	bd.batch = b
	for i, c := range bd.prog.conds {
		if c.field.In == store.Intrinsic {
			bd.columns[i] = c.intrinsic.textColumn(b)
		} else {
			bd.keys[i] = findKey(b, c.field.Key)
		}
		if c.re != nil {
			if bd.memos == nil {
				bd.memos = make([]*memo, len(bd.prog.conds))
			}
			if bd.memos[i] == nil {
				bd.memos[i] = new(memo)
			} else {
				*bd.memos[i] = memo{}
			}
		}
	}
}

func findKey(b *span.Batch, key string) int64 {
	for i, k := range b.Keys {
		if int(k.Len) == len(key) && string(b.Bytes(k)) == key {
			return int64(i)
		}
	}
	return -1
}

// Row reports whether the program holds on a row. It allocates nothing.
func (bd *Bound) Row(row int) bool { return bd.prog.root == nil || bd.eval(bd.prog.root, row) }

func (bd *Bound) eval(n *node, row int) bool {
	switch n.op {
	case opAnd:
		for _, kid := range n.kids {
			if !bd.eval(kid, row) {
				return false
			}
		}
		return true
	case opOr:
		for _, kid := range n.kids {
			if bd.eval(kid, row) {
				return true
			}
		}
		return false
	case opNot:
		return !bd.eval(n.kids[0], row)
	default:
		return bd.cond(n.cond, row)
	}
}

func (bd *Bound) cond(i, row int) bool {
	c, b := bd.prog.conds[i], bd.batch
	if c.field.In == store.Intrinsic {
		return bd.intrinsic(i, c, row)
	}
	if bd.keys[i] < 0 {
		return false
	}
	key := uint32(bd.keys[i])
	switch c.field.In {
	case store.InSpan:
		return bd.owner(i, c, b.SpanAttrs[row], key)
	case store.InResource:
		return bd.owner(i, c, b.Resources[b.Resource[row]].Attrs, key)
	case store.InScope:
		return bd.owner(i, c, b.Scopes[b.Scope[row]].Attrs, key)
	case store.InEvent:
		return bd.events(i, c, row, key)
	case store.InLink:
		return bd.links(i, c, row, key)
	default:
		return bd.owner(i, c, b.SpanAttrs[row], key) ||
			bd.owner(i, c, b.Resources[b.Resource[row]].Attrs, key) ||
			bd.owner(i, c, b.Scopes[b.Scope[row]].Attrs, key) ||
			bd.events(i, c, row, key) ||
			bd.links(i, c, row, key)
	}
}

// find is an owner's attribute with a key; of repeated ones the last.
func find(b *span.Batch, r span.Range, key uint32) (span.Value, bool) {
	attrs := b.AttrsOf(r)
	for i := len(attrs) - 1; i >= 0; i-- {
		if attrs[i].Key == key {
			return attrs[i].Value(), true
		}
	}
	return span.Value{}, false
}

func (bd *Bound) owner(i int, c *cond, r span.Range, key uint32) bool {
	v, ok := find(bd.batch, r, key)
	return ok && bd.value(i, c, v)
}

// list gathers the answers of several values of one field: one must hold, or for Ne and NotRegex all of them.
type list struct {
	all     bool
	some    bool // there was a value
	holds   bool // of all: none failed so far
	decided bool
}

func newList(op store.Op) list {
	all := op == store.Ne || op == store.NotRegex
	return list{all: all, holds: all}
}

// add takes one answer and reports whether the rest does not matter any more.
func (l *list) add(holds bool) bool {
	l.some = true
	if holds != l.all {
		l.holds, l.decided = holds, true
	}
	return l.decided
}

func (l *list) answer() bool { return l.some && l.holds }

func (bd *Bound) events(i int, c *cond, row int, key uint32) bool {
	l := newList(c.op)
	for _, e := range bd.batch.EventsOf(row) {
		if v, ok := find(bd.batch, e.Attrs, key); ok && l.add(bd.value(i, c, v)) {
			break
		}
	}
	return l.answer()
}

func (bd *Bound) links(i int, c *cond, row int, key uint32) bool {
	l := newList(c.op)
	for _, k := range bd.batch.LinksOf(row) {
		if v, ok := find(bd.batch, k.Attrs, key); ok && l.add(bd.value(i, c, v)) {
			break
		}
	}
	return l.answer()
}

// value compares one attribute value, an array by its elements.
func (bd *Bound) value(i int, c *cond, v span.Value) bool {
	if c.op == store.Exists {
		return true
	}
	if v.Type < span.TypeStrings {
		return bd.scalar(i, c, v)
	}
	if v.Type > span.TypeBools {
		return false
	}
	l := newList(c.op)
	for e := bd.batch.Elements(v); ; {
		v, ok := e.Next()
		if !ok || l.add(bd.scalar(i, c, v)) {
			return l.answer()
		}
	}
}

// scalar compares one scalar with the operand.
func (bd *Bound) scalar(i int, c *cond, v span.Value) bool {
	switch {
	case c.loose:
		return bd.looseScalar(i, c, v)
	case c.numeric:
		n, ok := numberOf(v)
		return ok && c.compareNumber(n)
	case c.typ == span.TypeBool:
		return v.Type == span.TypeBool && (v.Bool() == c.isBool) == (c.op == store.Eq)
	default:
		return v.Type == span.TypeString && bd.run(i, c, v.Str())
	}
}

func (bd *Bound) looseScalar(i int, c *cond, v span.Value) bool {
	if v.Type == span.TypeString && !c.numeric {
		return bd.run(i, c, v.Str())
	}
	if v.Type == span.TypeInt && (c.op == store.Eq || c.op == store.Ne) && !c.numeric {
		return (c.wantInt && v.Int() == c.num.i) == (c.op == store.Eq)
	}
	if c.numeric {
		n, ok := numberOf(v)
		if v.Type == span.TypeString {
			n, ok = parseNumber(bd.batch.Bytes(v.Str()))
		}
		return ok && c.compareNumber(n)
	}
	text, ok := AppendText(bd.scratch[:0], bd.batch, v)
	bd.scratch = text
	return ok && c.compareText(text)
}

// run compares a run of the arena: equal strings of an interned batch are equal runs, so a regular expression is tried
// once per distinct value.
func (bd *Bound) run(i int, c *cond, s span.Str) bool {
	switch c.op {
	case store.Eq:
		return int(s.Len) == len(c.text) && string(bd.batch.Bytes(s)) == c.text
	case store.Ne:
		return int(s.Len) != len(c.text) || string(bd.batch.Bytes(s)) != c.text
	case store.Regex, store.NotRegex:
		return bd.memos[i].match(c.re, bd.batch, s) == (c.op == store.Regex)
	default:
		return c.compareText(bd.batch.Bytes(s))
	}
}

func (c *cond) compareText(p []byte) bool {
	switch c.op {
	case store.Eq:
		return string(p) == c.text
	case store.Ne:
		return string(p) != c.text
	case store.Regex:
		return c.re.Match(p)
	case store.NotRegex:
		return !c.re.Match(p)
	default:
		return c.holds(bytes.Compare(p, c.raw))
	}
}

func (c *cond) compareNumber(n number) bool {
	order, ok := n.compare(c.num)
	if !ok {
		return c.op == store.Ne
	}
	return c.holds(order)
}

// holds judges an order of value and operand.
func (c *cond) holds(order int) bool {
	switch c.op {
	case store.Eq:
		return order == 0
	case store.Ne:
		return order != 0
	case store.Lt:
		return order < 0
	case store.Le:
		return order <= 0
	case store.Gt:
		return order > 0
	default:
		return order >= 0
	}
}

func (bd *Bound) intrinsic(i int, c *cond, row int) bool {
	b := bd.batch
	if column := bd.columns[i]; column != nil {
		return bd.text(i, c, column[row])
	}
	switch c.intrinsic {
	case inKind:
		return c.words[min(int(b.Kind[row]), len(c.words)-1)]
	case inStatus:
		return c.words[min(int(b.Status[row]), len(c.words)-1)]
	case inDuration:
		return c.op == store.Exists || bd.scalar(i, c, span.IntValue(b.Duration(row)))
	case inError:
		return c.op == store.Exists || bd.scalar(i, c, span.BoolValue(b.Failed(row)))
	case inRoot:
		return c.op == store.Exists || bd.scalar(i, c, span.BoolValue(b.Parent[row].IsZero()))
	case inEventName:
		l := newList(c.op)
		for _, e := range b.EventsOf(row) {
			if l.add(bd.text(i, c, e.Name)) {
				break
			}
		}
		return l.answer()
	}
	if s, ok := c.intrinsic.run(b, row); ok {
		return bd.text(i, c, s)
	}
	bd.scratch = c.intrinsic.appendText(bd.scratch[:0], b, row)
	if c.op == store.Exists {
		return len(bd.scratch) > 0
	}
	return c.textHolds(bd.scratch)
}

// text compares an intrinsic that stands in the arena.
func (bd *Bound) text(i int, c *cond, s span.Str) bool {
	switch {
	case c.op == store.Exists:
		return s.Len > 0
	case c.numeric: // loose order by numbers
		return c.textHolds(bd.batch.Bytes(s))
	default:
		return bd.run(i, c, s)
	}
}

// textHolds compares the text of an intrinsic.
func (c *cond) textHolds(p []byte) bool {
	if c.numeric {
		n, ok := parseNumber(p)
		return ok && c.compareNumber(n)
	}
	return c.compareText(p)
}
