package segment

import (
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/table"
)

// fewRows is the share of a block's rows below which their texts are copied one by one instead of all the block's.
const fewRows = 8

// View makes a table of some rows of the block (nil: all), with the columns and attributes that a need names; the others are nil.
// Row i of the view is rows[i]. The view owns its memory but for the side tables of the segment.
// Cost with everything: about 0.2 µs a row where all are wanted.
func (b *Rows) View(need store.Need, rows []uint32) (*table.View, error) {
	w := viewer{b: b, need: need, rows: rows, n: len(rows)}
	if rows == nil {
		w.n = b.Len()
	}
	w.few = w.n*fewRows < b.Len()
	w.fill()
	if b.err != nil {
		return nil, b.err
	}
	return w.v, nil
}

// viewer builds one view.
type viewer struct {
	b       *Rows
	need    store.Need
	rows    []uint32
	n       int
	few     bool
	v       *table.View
	scratch []byte
}

// row is the row of the block that stands at i in the view.
func (w *viewer) row(i int) int {
	if w.rows == nil {
		return i
	}
	return int(w.rows[i])
}

func (w *viewer) fill() {
	b, side := w.b, w.b.Side
	w.v = &table.View{Fields: side.Fields, Idents: side.Idents, Resources: side.Resources, Scopes: side.Scopes}
	v := w.v
	room := 16
	if w.few && w.need.All { // texts are put in one by one
		room = 320
	}
	v.Texts = side.Texts.Clone(room * w.n)
	v.Nums = append(make([]uint64, 0, len(side.Nums)+64), side.Nums...)
	w.traces()
	w.times()
	all := w.need.All
	if all || w.need.Columns&store.ColName != 0 {
		v.Name = make([]table.ID, w.n)
		w.texts(b.Names(), v.Name)
	}
	v.Kind = make([]span.Kind, w.n)
	fillSmall(w, colKind, v.Kind)
	if all || w.need.Columns&store.ColStatus != 0 {
		v.Status = make([]span.Status, w.n)
		fillSmall(w, colStatus, v.Status)
	}
	if all || w.need.Columns&store.ColMark != 0 {
		v.Mark = make([]span.Mark, w.n)
		fillSmall(w, colMark, v.Mark)
	}
	if all || w.need.Columns&store.ColService != 0 {
		v.Ident = make([]uint32, w.n)
		fillSmall(w, colIdent, v.Ident)
	}
	if table.WantsSides(w.need) {
		v.Resource, v.Scope = make([]uint32, w.n), make([]uint32, w.n)
		fillSmall(w, colResource, v.Resource)
		fillSmall(w, colScope, v.Scope)
	}
	w.rares()
	w.attributes()
	if all || w.need.Columns&store.ColEvents != 0 {
		v.EventsEnd = make([]uint32, w.n)
		w.events()
	}
	if all || w.need.Columns&store.ColLinks != 0 {
		v.LinksEnd = make([]uint32, w.n)
		w.links()
	}
	v.Prev = nil // rows of a trace stand together
}

// traces sets the trace of each row. TraceIDs are those of all traces of the block.
func (w *viewer) traces() {
	b, v := w.b, w.v
	v.TraceIDs = make([]span.TraceID, b.meta.Parts)
	for i := range v.TraceIDs {
		id, err := b.r.TraceID(b.meta.FirstPart + i)
		if err != nil && b.err == nil {
			b.err = err
		}
		v.TraceIDs[i] = id
	}
	v.Trace = make([]uint32, w.n)
	if w.rows == nil {
		at := 0
		for part, n := range b.Parts() {
			for range n {
				v.Trace[at] = uint32(part)
				at++
			}
		}
		return
	}
	starts := b.Starts()
	for i, row := range w.rows {
		part, _ := slices.BinarySearch(starts, row+1)
		v.Trace[i] = uint32(part - 1)
	}
}

func pick[T any](column []T, rows []uint32) []T {
	out := make([]T, len(rows))
	for i, row := range rows {
		out[i] = column[row]
	}
	return out
}

func (w *viewer) times() {
	b, v := w.b, w.v
	all := w.need.All
	if w.need.Has(store.ColSpanID) {
		v.Span = b.spansOf(w.rows)
	}
	if w.need.Has(store.ColParent) {
		v.Parent = b.parentsOf(w.rows)
	}
	if !all && w.need.Columns&store.ColTime == 0 {
		return
	}
	b.readTimes()
	v.Start, v.End, v.Time = b.ids.start, b.ids.end, b.ids.time
	if w.rows != nil {
		v.Start, v.End, v.Time = pick(v.Start, w.rows), pick(v.End, w.rows), pick(v.Time, w.rows)
	}
}

// fillSmall fills a column from a side column.
func fillSmall[T ~uint8 | ~uint16 | ~uint32](w *viewer, column int, dst []T) {
	s := w.b.sideColumn(column)
	if s.codes == nil { // once for each context
		values := make([]T, len(s.fine))
		for c, code := range s.fine {
			if code != noCode {
				values[c] = T(s.values[code])
			}
		}
		for i := range dst {
			dst[i] = values[w.b.ctx.fine[w.row(i)]]
		}
		return
	}
	for i := range dst {
		dst[i] = T(s.values[s.codes[w.row(i)]])
	}
}

// texts fills a column of IDs from a column that all rows have.
func (w *viewer) texts(c *Column, dst []table.ID) {
	if w.few {
		for i := range dst {
			dst[i] = w.text(c, w.b.CodeAt(c, w.row(i)))
		}
		return
	}
	codes := w.b.Codes(c)
	first := w.v.Texts.Join(c.Dict.All())
	for i := range dst {
		dst[i] = first + table.ID(codes[w.row(i)])
	}
}

// text puts one text into the view.
func (w *viewer) text(c *Column, code uint32) table.ID {
	w.scratch = c.Dict.Append(w.scratch[:0], code)
	return w.v.Texts.Append(w.scratch)
}

// rares joins the numbers of the side table with the texts, which are columns.
func (w *viewer) rares() {
	b, v, side := w.b, w.v, w.b.Side
	v.Rares = []table.Rare{{Weight: 1}}
	const columns = store.ColFlags | store.ColDropped | store.ColWeight | store.ColStatusMessage | store.ColTraceState
	if !w.need.All && w.need.Columns&columns == 0 {
		return
	}
	v.Rare = make([]uint32, w.n)
	messages, states := make([]table.ID, w.n), make([]table.ID, w.n)
	if c := b.Message(); c != nil {
		w.texts(c, messages)
	}
	if c := b.State(); c != nil {
		w.texts(c, states)
	}
	numbers := make([]uint32, w.n)
	fillSmall(w, colRare, numbers)
	index := make(map[[3]uint32]uint32)
	last, lastAt := [3]uint32{^uint32(0)}, uint32(0)
	for i, n := range numbers {
		key := [3]uint32{n, uint32(messages[i]), uint32(states[i])}
		if key == last {
			v.Rare[i] = lastAt
			continue
		}
		at, ok := index[key]
		if !ok {
			r := side.Rares[n]
			r.StatusMessage, r.TraceState = messages[i], states[i]
			if at = uint32(len(v.Rares)); r == v.Rares[0] {
				at = 0
			} else {
				v.Rares = append(v.Rares, r)
			}
			index[key] = at
		}
		v.Rare[i], last, lastAt = at, key, at
	}
}

// source is a column of a field with where its texts or numbers begin in the view.
type source struct {
	column *Column
	codes  []uint32
	first  uint32 // ID or index of the dictionary's first value
}

// wants reports whether the need asks for a field of an owner.
func (w *viewer) wants(field uint32) bool {
	f := w.v.Fields[field]
	return table.Wants(w.need, f.Owner, w.b.Side.Texts.Bytes(f.Key))
}

// value puts a value into the view and answers its code there.
func (w *viewer) value(s *source, code uint32) uint32 {
	c := s.column
	switch t := c.Type; {
	case t == span.TypeNull:
		return 0
	case t == span.TypeBool:
		return uint32(c.Dict.Nums[code])
	case w.few && (t == span.TypeInt || t == span.TypeDouble):
		w.v.Nums = append(w.v.Nums, c.Dict.Nums[code])
		return uint32(len(w.v.Nums) - 1)
	case w.few:
		return uint32(w.text(c, code))
	}
	return s.first + code
}

// join puts a whole dictionary into the view.
func (w *viewer) join(s *source) {
	switch t := s.column.Type; {
	case w.few || t == span.TypeNull || t == span.TypeBool:
	case t == span.TypeInt || t == span.TypeDouble:
		s.first = uint32(len(w.v.Nums))
		w.v.Nums = append(w.v.Nums, s.column.Dict.Nums...)
	default:
		s.first = uint32(w.v.Texts.Join(s.column.Dict.All()))
	}
}

// shapes is the side's shapes, those of an owner cut down to the wanted fields.
func (w *viewer) shapes(owner store.FieldScope, sources []*source) {
	v := w.v
	if v.Shapes == nil {
		v.Shapes = append([][]uint32(nil), w.b.Side.Shapes...)
	}
	if w.need.All {
		return
	}
	for i, shape := range v.Shapes {
		if len(shape) == 0 || v.Fields[shape[0]].Owner != owner {
			continue
		}
		var left []uint32
		for _, f := range shape {
			if sources[f] != nil {
				left = append(left, f)
			}
		}
		v.Shapes[i] = left
	}
}

// attributes fills the attributes of the rows. Codes of the side tables stand before them.
func (w *viewer) attributes() {
	b, v := w.b, w.v
	sources := make([]*source, len(v.Fields))
	some, codes, arena, texts := false, len(b.Side.Codes), 0, 0
	for f := range v.Fields {
		if v.Fields[f].Owner == store.InSpan && b.HasField(uint32(f)) && w.wants(uint32(f)) {
			s := &source{column: b.Field(uint32(f))}
			if !w.few {
				s.codes = b.Codes(s.column)
			}
			sources[f] = s
			some = true
			codes += min(s.column.rows(b.Len()), w.n)
			if !w.few {
				a, ends := s.column.Dict.All()
				arena, texts = arena+len(a), texts+len(ends)
			}
		}
	}
	v.Codes = append(make([]uint32, 0, codes), b.Side.Codes...)
	v.Texts.Grow(arena, texts)
	for _, s := range sources {
		if s != nil {
			w.join(s)
		}
	}
	w.shapes(store.InSpan, sources)
	v.Attrs = make([]table.List, w.n)
	if !some {
		return
	}
	shapes := make([]uint32, w.n)
	fillSmall(w, colShape, shapes)
	for i, shape := range shapes {
		v.Attrs[i] = table.List{Shape: shape, At: uint32(len(v.Codes))}
		row := w.row(i)
		for _, f := range v.Shapes[shape] {
			s := sources[f]
			if s == nil {
				b.fail("attribute without a column")
				return
			}
			code := uint32(0)
			if w.few {
				code = b.CodeAt(s.column, row)
			} else {
				code = s.codes[row]
			}
			if code == noCode {
				b.fail("attribute without a value")
				return
			}
			v.Codes = append(v.Codes, w.value(s, code))
		}
	}
}

func (b *Rows) fail(what string) {
	if b.err == nil {
		b.err = damaged("%s", what)
	}
}

// children is what events and links have in common: their columns, one entry a child.
type children struct {
	ends    []uint32
	rowOf   []uint32
	shapes  *small
	dropped *small
	sources []*source
}

// readChildren reads the columns of events or links. ok is false where there are none.
func (w *viewer) readChildren(owner store.FieldScope, counts, shapes, dropped int) (c children, ok bool) {
	b := w.b
	c.ends, c.rowOf = b.childRows(counts)
	c.sources = make([]*source, len(w.v.Fields))
	if len(c.rowOf) == 0 {
		return c, false
	}
	n := len(c.rowOf)
	u := &unpacker{p: b.low[shapes]}
	c.shapes = b.small(u, n, c.rowOf, uint64(len(b.Side.Shapes)))
	b.done(u, "shapes of events or links")
	u = &unpacker{p: b.low[dropped]}
	c.dropped = b.small(u, n, c.rowOf, 1<<32)
	b.done(u, "dropped counts")
	for f := range w.v.Fields {
		if w.v.Fields[f].Owner != owner || !b.HasField(uint32(f)) || !w.wants(uint32(f)) {
			continue
		}
		var at, own []uint32 // rows of the block, and the children themselves, that have the field
		for i, row := range c.rowOf {
			if contains(b.Side.Shapes[c.shape(b, i)], uint32(f)) {
				at, own = append(at, row), append(own, uint32(i))
			}
		}
		s := &source{column: b.field(uint32(f), b.fields[uint32(f)], at, n)}
		if s.codes = make([]uint32, n); b.err != nil {
			return c, false
		}
		for i := range s.codes {
			s.codes[i] = noCode
		}
		for i, child := range own {
			s.codes[child] = s.column.code(&b.ctx, i)
		}
		w.join(s)
		c.sources[f] = s
	}
	w.shapes(owner, c.sources)
	return c, b.err == nil
}

func contains(shape []uint32, f uint32) bool {
	for _, x := range shape {
		if x == f {
			return true
		}
	}
	return false
}

// shape is the shape of a child.
func (c *children) shape(b *Rows, i int) uint32 { return c.entry(b, c.shapes, i) }

// entry is the value of a column of children.
func (c *children) entry(b *Rows, s *small, i int) uint32 {
	if s.codes != nil {
		return uint32(s.values[s.codes[i]])
	}
	return uint32(s.values[s.fine[b.ctx.fine[c.rowOf[i]]]])
}

// list puts the attributes of a child into the view.
func (w *viewer) list(c *children, i int) table.List {
	v := w.v
	l := table.List{Shape: c.shape(w.b, i), At: uint32(len(v.Codes))}
	for _, f := range v.Shapes[l.Shape] {
		s := c.sources[f]
		if s == nil || s.codes[i] == noCode {
			w.b.fail("attribute of an event or link without a value")
			return table.List{}
		}
		v.Codes = append(v.Codes, w.value(s, s.codes[i]))
	}
	return l
}

// of is the children of row i of the view: from, to.
func (c *children) of(row int) (from, to int) {
	if row > 0 {
		from = int(c.ends[row-1])
	}
	return from, int(c.ends[row])
}

func (w *viewer) events() {
	b, v := w.b, w.v
	if len(b.low[chunkEventCounts]) == 0 {
		return
	}
	c, ok := w.readChildren(store.InEvent, chunkEventCounts, chunkEventShapes, chunkEventDropped)
	if !ok {
		return
	}
	times := make([]uint64, len(c.rowOf))
	u := &unpacker{p: b.low[chunkEventTimes]}
	u.signed(times, &b.mem.scratch)
	b.done(u, "times of events")
	u = &unpacker{p: b.low[chunkEventNames]}
	names := &source{column: b.texts(u, len(c.rowOf), c.rowOf)}
	b.done(u, "names of events")
	if b.err != nil {
		return
	}
	w.join(names)
	_, start, _ := b.Times()
	if b.err != nil {
		return
	}
	for i := range w.n {
		row := w.row(i)
		for j, to := c.of(row); j < to; j++ {
			v.Events = append(v.Events, table.Event{Time: times[j] + start[row], Name: table.ID(w.value(names, names.column.code(&b.ctx, j))),
				Attrs: w.list(&c, j), Dropped: c.entry(b, c.dropped, j)})
		}
		v.EventsEnd[i] = uint32(len(v.Events))
	}
}

func (w *viewer) links() {
	b, v := w.b, w.v
	if len(b.low[chunkLinkCounts]) == 0 {
		return
	}
	c, ok := w.readChildren(store.InLink, chunkLinkCounts, chunkLinkShapes, chunkLinkDropped)
	if !ok {
		return
	}
	ids := b.low[chunkLinkIDs]
	if len(ids) != linkIDBytes*len(c.rowOf) {
		b.fail("ids of links")
		return
	}
	u := &unpacker{p: b.low[chunkLinkStates]}
	states := &source{column: b.texts(u, len(c.rowOf), c.rowOf)}
	b.done(u, "states of links")
	u = &unpacker{p: b.low[chunkLinkFlags]}
	flags := b.small(u, len(c.rowOf), c.rowOf, 1<<32)
	b.done(u, "flags of links")
	if b.err != nil {
		return
	}
	w.join(states)
	for i := range w.n {
		row := w.row(i)
		for j, to := c.of(row); j < to; j++ {
			l := table.Link{State: table.ID(w.value(states, states.column.code(&b.ctx, j))), Attrs: w.list(&c, j),
				Dropped: c.entry(b, c.dropped, j), Flags: c.entry(b, flags, j)}
			id := ids[linkIDBytes*j:]
			copy(l.Trace[:], id)
			copy(l.Span[:], id[16:])
			v.Links = append(v.Links, l)
		}
		v.LinksEnd[i] = uint32(len(v.Links))
	}
}
