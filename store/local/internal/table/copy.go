package table

import (
	"github.com/spanloom/spanloom/span"
)

// Copier appends rows of other tables to a table, translating each string, field and side entry once for each source.
type Copier struct {
	dst *Table
	src *View

	ids, nums, fields, shapes, idents, rares, resources, scopes []uint32 // of the source -> of the destination + 1
}

// NewCopier makes a copier into dst.
func NewCopier(dst *Table) *Copier { return &Copier{dst: dst} }

// Begin sets the table that the next rows come from. It must be called again when the source grew or the destination was reset.
func (c *Copier) Begin(src *View) {
	c.src = src
	c.ids, c.nums = zeroed(c.ids, src.Texts.Len()), zeroed(c.nums, len(src.Nums))
	c.fields, c.shapes = zeroed(c.fields, len(src.Fields)), zeroed(c.shapes, len(src.Shapes))
	c.idents, c.rares = zeroed(c.idents, len(src.Idents)), zeroed(c.rares, len(src.Rares))
	c.resources, c.scopes = zeroed(c.resources, len(src.Resources)), zeroed(c.scopes, len(src.Scopes))
}

// Row appends a row, received at an instant. Done must follow the last one before the destination is read.
// Cost: about 0.1 µs for a row with 22 attributes.
func (c *Copier) Row(row int, received int64) {
	t, s := c.dst, c.src
	at := uint32(len(t.View.Trace))
	trace, known := t.traces.add(s.TraceIDs[s.Trace[row]], &t.TraceIDs)
	if !known {
		t.Heads = append(t.Heads, Trace{})
	}
	head := &t.Heads[trace]
	t.View.Trace = append(t.View.Trace, trace)
	t.Prev = append(t.Prev, head.Last)
	head.Last = at + 1
	head.Rows++
	head.Received = max(head.Received, received)

	t.Span, t.Parent = append(t.Span, s.Span[row]), append(t.Parent, s.Parent[row])
	t.Start, t.End, t.Time = append(t.Start, s.Start[row]), append(t.End, s.End[row]), append(t.Time, s.Time[row])
	t.Name = append(t.Name, c.id(s.Name[row]))
	t.Kind, t.Status, t.Mark = append(t.Kind, s.Kind[row]), append(t.Status, s.Status[row]), append(t.Mark, s.Mark[row])
	t.Ident = append(t.Ident, once(c.idents, s.Ident[row], c.ident))
	t.Rare = append(t.Rare, once(c.rares, s.Rare[row], c.rare))
	t.Resource = append(t.Resource, once(c.resources, s.Resource[row], c.resource))
	t.Scope = append(t.Scope, once(c.scopes, s.Scope[row], c.scope))
	t.Attrs = append(t.Attrs, c.attrs(s.Attrs[row]))
	for _, e := range s.EventsOf(row) {
		e.Name, e.Attrs = c.id(e.Name), c.attrs(e.Attrs)
		t.Events = append(t.Events, e)
	}
	for _, l := range s.LinksOf(row) {
		l.State, l.Attrs = c.id(l.State), c.attrs(l.Attrs)
		t.Links = append(t.Links, l)
	}
	t.EventsEnd, t.LinksEnd = append(t.EventsEnd, uint32(len(t.Events))), append(t.LinksEnd, uint32(len(t.Links)))
}

// Done shows the copied rows to readers of the destination.
func (c *Copier) Done() { c.dst.sync() }

// once translates an index, calling make for the first row that has it.
func once(known []uint32, i uint32, make func(uint32) uint32) uint32 {
	if to := known[i]; to != 0 {
		return to - 1
	}
	to := make(i)
	known[i] = to + 1
	return to
}

func (c *Copier) id(id ID) ID {
	if id == 0 {
		return 0
	}
	if to := c.ids[id]; to != 0 {
		return ID(to)
	}
	to := c.dst.strings.Intern(c.src.Texts.Bytes(id))
	c.ids[id] = uint32(to)
	return to
}

func (c *Copier) ident(i uint32) uint32 {
	s := c.src.Idents[i]
	return c.dst.addIdent(Ident{c.id(s.Service), c.id(s.Group), c.id(s.Namespace)})
}

func (c *Copier) rare(i uint32) uint32 {
	r := c.src.Rares[i]
	r.StatusMessage, r.TraceState = c.id(r.StatusMessage), c.id(r.TraceState)
	return c.dst.rare(r)
}

func (c *Copier) resource(i uint32) uint32 {
	r := c.src.Resources[i]
	r.Schema, r.Attrs = c.id(r.Schema), c.attrs(r.Attrs)
	return c.dst.addResource(r)
}

func (c *Copier) scope(i uint32) uint32 {
	s := c.src.Scopes[i]
	s.Name, s.Version, s.Schema, s.Attrs = c.id(s.Name), c.id(s.Version), c.id(s.Schema), c.attrs(s.Attrs)
	return c.dst.addScope(s)
}

func (c *Copier) shape(i uint32) uint32 {
	k := &c.dst.known
	k.list = k.list[:0]
	for _, f := range c.src.Shapes[i] {
		k.list = append(k.list, once(c.fields, f, c.field))
	}
	return c.dst.shape(k.list)
}

func (c *Copier) field(i uint32) uint32 {
	f := c.src.Fields[i]
	f.Key = c.id(f.Key)
	return c.dst.field(f)
}

func (c *Copier) attrs(l List) List {
	at := uint32(len(c.dst.Codes))
	fields := c.src.Shapes[l.Shape]
	for i, code := range c.src.CodesOf(l) {
		switch c.src.Fields[fields[i]].Type {
		case span.TypeNull, span.TypeBool:
		case span.TypeInt, span.TypeDouble:
			code = once(c.nums, code, func(i uint32) uint32 { return c.dst.nums.intern(c.src.Nums[i]) })
		default:
			code = uint32(c.id(ID(code)))
		}
		c.dst.Codes = append(c.dst.Codes, code)
	}
	return List{once(c.shapes, l.Shape, c.shape), at}
}
