package segment

import (
	"fmt"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/local/internal/table"
)

// Rows reads one block. Columns are unpacked when they are first asked for and kept as long as the Rows. Not safe for concurrent
// use. The first error stays: it is what every later call answers.
type Rows struct {
	r     *Reader
	meta  *Block
	Side  *table.View
	first uint64 // number of the first chunk that is not in low

	low    [chunkFields][]byte
	fields map[uint32][]byte // by field

	ctx       contexts
	inContext uint64
	coarse    bool // ctx has the coarse contexts too
	side      [numSideColumns]*small
	names     *Column
	columns   map[uint32]*Column
	parts     *parts
	ids       ids
	// withShapes is the rows of the shapes that a key says: many fields are in the same ones.
	withShapes map[string][]uint32
	mem        memory
	err        error
}

// parts is the traces of a block.
type parts struct {
	counts   []uint64
	starts   []uint64
	received []uint64 // ms
}

// ids is what differs from row to row. A slice is nil until it is read.
type ids struct {
	start, end []uint64
	time       []int64
	distances  []uint32
	outside    []byte // ids of parents that are not here
}

// small is a column of small numbers: codes and what they mean.
type small struct {
	decoded
	values []uint64
}

func (s *small) at(ctx *contexts, row int) uint32 {
	code := uint32(0)
	if s.codes != nil {
		code = s.codes[row]
	} else {
		code = s.fine[ctx.fine[row]]
	}
	return uint32(s.values[code])
}

// Read checks a block's checksum and reads its directory. side is Reader.Side's.
func (r *Reader) Read(block int, side *table.View) (*Rows, error) {
	meta := &r.blocks[block]
	p, err := r.block(block)
	if err != nil {
		return nil, err
	}
	b := &Rows{r: r, meta: meta, Side: side, fields: make(map[uint32][]byte), columns: make(map[uint32]*Column), mem: newMemory()}
	u := &unpacker{p: p}
	type head struct {
		number uint64
		length int
	}
	heads := make([]head, u.count(uint64(len(p))))
	for i := range heads {
		heads[i] = head{u.uvarint(), u.count(uint64(len(p)))}
	}
	for _, h := range heads {
		body := u.fixed(h.length)
		switch {
		case h.number < chunkFields:
			b.low[h.number] = body
		case h.number-chunkFields < uint64(len(side.Fields)):
			b.fields[uint32(h.number-chunkFields)] = body
		default:
			u.fail("chunk of an unknown field")
		}
	}
	if u.err != nil {
		return nil, fmt.Errorf("block %d: %w", block, u.err)
	}
	b.readContexts()
	if b.err != nil {
		return nil, fmt.Errorf("block %d: %w", block, b.err)
	}
	return b, nil
}

// Len is the number of rows.
func (b *Rows) Len() int { return b.meta.Rows }

// Release gives the memory of the columns back. Nothing that came from the Rows may be used after it: columns, codes, times, views
// of all rows. Who keeps such things never calls it.
func (b *Rows) Release() {
	if b.mem.slab != nil {
		b.mem.release()
		b.mem.slab = nil
	}
}

// Err is the first error of reading.
func (b *Rows) Err() error { return b.err }

// done takes over what an unpacker met.
func (b *Rows) done(u *unpacker, what string) {
	if u.err != nil && b.err == nil {
		b.err = fmt.Errorf("%s: %w", what, u.err)
	}
}

func (b *Rows) readContexts() {
	u := &unpacker{p: b.low[chunkContext]}
	n := u.count(uint64(b.Len()))
	b.inContext = u.uvarint()
	b.ctx = contexts{fine: b.mem.uint32s(b.Len()), n: n}
	u.codes(b.ctx.fine, uint64(n), &b.mem.scratch)
	b.done(u, "contexts")
	b.ctx.self()
}

// coarsen makes the coarse contexts. It must come before any column is read but resource, name and kind, of which they are made: those
// are functions of the fine contexts, or not derived.
func (b *Rows) coarsen() {
	if b.coarse {
		return
	}
	b.coarse = true
	n, sample := b.ctx.n, b.samples()
	resource, name, kind := b.sideColumn(colResource), b.Names(), b.sideColumn(colKind)
	if b.err != nil {
		return
	}
	resources, names := make([]uint32, n), make([]uint64, n)
	for c, row := range sample {
		if b.inContext&(1<<colResource) != 0 {
			resources[c] = resource.at(&b.ctx, int(row))
		}
		if b.inContext&(1<<colName) != 0 {
			names[c] = uint64(name.code(&b.ctx, int(row))) << 8
		}
		if b.inContext&(1<<colKind) != 0 {
			names[c] |= uint64(kind.at(&b.ctx, int(row)))
		}
	}
	b.ctx.coarse(resources, names)
}

// samples is a row of each context.
func (b *Rows) samples() []uint32 {
	sample := make([]uint32, b.ctx.n)
	for row, c := range b.ctx.fine {
		sample[c] = uint32(row)
	}
	return sample
}

var sideChunks = [numSideColumns]int{
	colResource: chunkResource, colKind: chunkKind, colIdent: chunkIdent, colScope: chunkScope, colRare: chunkRare,
	colShape: chunkShape, colStatus: chunkStatus, colMark: chunkMark,
}

// sideColumn reads a side column; its values lie inside of their tables.
func (b *Rows) sideColumn(column int) *small {
	if b.side[column] != nil {
		return b.side[column]
	}
	if column != colResource && column != colKind {
		b.coarsen()
	}
	limit := uint64(0)
	switch column {
	case colResource:
		limit = uint64(len(b.Side.Resources))
	case colIdent:
		limit = uint64(len(b.Side.Idents))
	case colScope:
		limit = uint64(len(b.Side.Scopes))
	case colRare:
		limit = uint64(len(b.Side.Rares))
	case colShape:
		limit = uint64(len(b.Side.Shapes))
	case colMark:
		limit = 1 << 16
	default:
		limit = 1 << 8
	}
	u := &unpacker{p: b.low[sideChunks[column]]}
	s := b.small(u, b.Len(), nil, limit)
	b.done(u, "side column")
	b.side[column] = s
	return s
}

// small reads a column that smallColumn wrote, with values below a limit.
func (b *Rows) small(u *unpacker, rows int, at []uint32, limit uint64) *small {
	s := &small{values: make([]uint64, u.count(uint64(rows)))}
	if len(s.values) == 0 {
		u.fail("column without values")
	}
	s.decoded = uncode(u, rows, len(s.values), &b.ctx, at, &b.mem)
	u.numbers(s.values, &b.mem.scratch)
	for _, v := range s.values {
		if v >= limit {
			u.fail("value out of range")
		}
	}
	s.check(u, &b.ctx, at, rows)
	if u.err != nil {
		s.codes, s.fine, s.values = make([]uint32, rows), nil, []uint64{0}
	}
	return s
}

// check makes sure that every row of a derived column has a code.
func (d *decoded) check(u *unpacker, ctx *contexts, at []uint32, rows int) {
	if d.codes != nil {
		if !d.mayLack {
			return
		}
		for _, c := range d.codes {
			if c == noCode {
				u.fail("row without a code")
				return
			}
		}
		return
	}
	if !slices.Contains(d.fine, noCode) {
		return
	}
	if at == nil {
		for _, c := range ctx.fine {
			if d.fine[c] == noCode {
				u.fail("context without a code")
				return
			}
		}
		return
	}
	for _, row := range at {
		if d.fine[ctx.fine[row]] == noCode {
			u.fail("context without a code")
			return
		}
	}
}

// Column is a column of values in dictionary codes, for each row of the block or for each event or link of it.
type Column struct {
	Type span.Type
	Dict Dict
	decoded
	at []uint32 // rows of the block that have it; nil: all
	// byRow is the codes of all rows of the block, noCode where a row has none; made when it is first needed.
	byRow []uint32
}

// rows is how many of the block's rows have the column.
func (c *Column) rows(all int) int {
	if c.at == nil {
		return all
	}
	return len(c.at)
}

// code is the code of entry i of the column.
func (c *Column) code(ctx *contexts, i int) uint32 {
	if c.codes != nil {
		return c.codes[i]
	}
	if c.at != nil {
		i = int(c.at[i])
	}
	return c.fine[ctx.fine[i]]
}

// CodeAt is the code of one row of the block, NoCode where it does not have the column.
func (b *Rows) CodeAt(c *Column, row int) uint32 {
	if c.byRow != nil {
		return c.byRow[row]
	}
	if c.at == nil {
		return c.code(&b.ctx, row)
	}
	i, ok := slices.BinarySearch(c.at, uint32(row))
	if !ok {
		return noCode
	}
	return c.code(&b.ctx, i)
}

// ByContext is the codes of a column that follow from the rows' contexts; ok only where every row has the column.
func (c *Column) ByContext() (codes []uint32, ok bool) { return c.fine, c.codes == nil && c.at == nil }

// Codes is the codes of all rows of the block, NoCode where a row does not have the column.
func (b *Rows) Codes(c *Column) []uint32 {
	if c.byRow != nil {
		return c.byRow
	}
	if c.at == nil && c.codes != nil {
		c.byRow = c.codes
		return c.byRow
	}
	c.byRow = b.mem.uint32s(b.Len())
	if c.at == nil {
		for row, f := range b.ctx.fine {
			c.byRow[row] = c.fine[f]
		}
		return c.byRow
	}
	for row := range c.byRow {
		c.byRow[row] = noCode
	}
	for i, row := range c.at {
		c.byRow[row] = c.code(&b.ctx, i)
	}
	return c.byRow
}

// NoCode is the code of an absent value.
const NoCode = noCode

// Names is the column of span names.
func (b *Rows) Names() *Column {
	if b.names == nil {
		u := &unpacker{p: b.low[chunkName]}
		b.names = b.texts(u, b.Len(), nil)
		b.done(u, "names")
	}
	return b.names
}

// Message and State are the columns of status messages and trace states; nil where all are empty.
func (b *Rows) Message() *Column { return b.rareTexts(chunkMessage) }

// State is the column of trace states.
func (b *Rows) State() *Column { return b.rareTexts(chunkState) }

func (b *Rows) rareTexts(chunk int) *Column {
	if len(b.low[chunk]) == 0 {
		return nil
	}
	b.coarsen()
	key := ^uint32(chunk)
	if c := b.columns[key]; c != nil {
		return c
	}
	u := &unpacker{p: b.low[chunk]}
	c := b.texts(u, b.Len(), nil)
	b.done(u, "texts")
	b.columns[key] = c
	return c
}

// texts reads a column that textChunk wrote.
func (b *Rows) texts(u *unpacker, rows int, at []uint32) *Column {
	c := &Column{Type: span.TypeString, at: at}
	n := u.count(uint64(rows))
	back := len(u.p) > 0 && u.p[0] == codesBack
	c.decoded = uncode(u, rows, n, &b.ctx, at, &b.mem)
	c.check(u, &b.ctx, at, rows)
	if u.err != nil {
		return c.empty(rows)
	}
	if !back {
		c.Dict = readTexts(u, n, nil, nil, &b.mem)
	} else {
		first := c.first
		if at != nil {
			for i, row := range first {
				first[i] = at[row]
			}
		}
		if len(first) != n {
			u.fail("texts that no row has")
			return c.empty(rows)
		}
		c.Dict = readTexts(u, n, &b.ctx, first, &b.mem)
	}
	if u.err != nil {
		return c.empty(rows)
	}
	return c
}

// empty is a column of empty texts, after an error.
func (c *Column) empty(rows int) *Column {
	c.codes, c.fine = make([]uint32, rows), nil
	c.Dict = Dict{ends: make([]uint32, 1), Nums: make([]uint64, 1)}
	return c
}

// HasField reports whether some row of the block has a field of the side tables.
func (b *Rows) HasField(field uint32) bool { return b.fields[field] != nil }

// Field is the column of an attribute of spans; nil if no row has it.
func (b *Rows) Field(field uint32) *Column {
	body := b.fields[field]
	if body == nil {
		return nil
	}
	if c := b.columns[field]; c != nil {
		return c
	}
	b.coarsen()
	at := b.rowsWith(field)
	c := b.field(field, body, at, b.Len())
	b.columns[field] = c
	return c
}

// rowsWith is the rows whose shape has a field; nil for all rows.
func (b *Rows) rowsWith(field uint32) []uint32 {
	has := make([]bool, len(b.Side.Shapes))
	for i, s := range b.Side.Shapes {
		for _, f := range s {
			has[i] = has[i] || f == field
		}
	}
	shapes := b.sideColumn(colShape)
	byCode := make([]bool, len(shapes.values))
	every := true
	for i, v := range shapes.values {
		byCode[i] = has[v]
		every = every && has[v]
	}
	if every {
		return nil
	}
	key := string(bools(byCode))
	if rows, ok := b.withShapes[key]; ok {
		return rows
	}
	rows := b.mem.uint32s(b.Len())[:0]
	for row := range b.Len() {
		code := uint32(0)
		if shapes.codes != nil {
			code = shapes.codes[row]
		} else {
			code = shapes.fine[b.ctx.fine[row]]
		}
		if byCode[code] {
			rows = append(rows, uint32(row))
		}
	}
	if b.withShapes == nil {
		b.withShapes = make(map[string][]uint32)
	}
	b.withShapes[key] = rows
	return rows
}

func bools(list []bool) []byte {
	p := make([]byte, len(list))
	for i, b := range list {
		if b {
			p[i] = 1
		}
	}
	return p
}

// field reads a column that fieldChunk wrote: of the rows in at, of which there are all if it is nil.
func (b *Rows) field(field uint32, body []byte, at []uint32, all int) *Column {
	rows := all
	if at != nil {
		rows = len(at)
	}
	t := b.Side.Fields[field].Type
	u := &unpacker{p: body}
	c := &Column{Type: t, at: at}
	if n := u.count(1 << 31); n != rows {
		u.fail("column of another length than its shapes say")
	}
	switch {
	case u.err != nil:
		c.empty(rows)
	case t == span.TypeNull:
		c.codes, c.Dict.Nums = make([]uint32, rows), make([]uint64, 1)
	case t == span.TypeBool:
		s := b.small(u, rows, at, 1<<32)
		c.decoded, c.Dict.Nums = s.decoded, s.values
	case t == span.TypeInt || t == span.TypeDouble:
		n := u.count(uint64(rows))
		c.decoded = uncode(u, rows, n, &b.ctx, at, &b.mem)
		c.check(u, &b.ctx, at, rows)
		c.Dict.Nums = make([]uint64, n)
		if t == span.TypeInt {
			u.signed(c.Dict.Nums, &b.mem.scratch)
		} else {
			u.numbers(c.Dict.Nums, &b.mem.scratch)
		}
		if u.err != nil || n == 0 {
			u.fail("column without values")
			c.empty(rows)
		}
	default:
		c = b.texts(u, rows, at)
		c.Type = t
	}
	b.done(u, "attribute")
	return c
}

// Parts is how many rows of the block each of its traces has.
func (b *Rows) Parts() []uint64 { return b.readParts().counts }

// Received is the receipt of the newest rows of each trace, in ns, whole milliseconds.
func (b *Rows) Received(part int) int64 { return int64(b.readParts().received[part]) * 1e6 }

func (b *Rows) readParts() *parts {
	if b.parts != nil {
		return b.parts
	}
	n := b.meta.Parts
	p := &parts{b.mem.uint64s(n), b.mem.uint64s(n), b.mem.uint64s(n)}
	u := &unpacker{p: b.low[chunkParts]}
	start, ms := u.uint64(), u.uint64()
	u.numbers(p.counts, &b.mem.scratch)
	u.signed(p.starts, &b.mem.scratch)
	u.signed(p.received, &b.mem.scratch)
	sum := uint64(0)
	for i := range n {
		start += p.starts[i]
		ms += p.received[i]
		p.starts[i], p.received[i] = start, ms
		if p.counts[i] == 0 || p.counts[i] > uint64(b.Len()) {
			u.fail("trace without rows")
		}
		sum += p.counts[i]
	}
	if sum != uint64(b.Len()) {
		u.fail("traces have another number of rows than the block")
	}
	b.done(u, "traces")
	if u.err != nil { // one trace of all rows, so that nobody reads beyond them
		clear(p.counts)
		p.counts[0] = uint64(b.Len())
	}
	b.parts = p
	return p
}

// rawSpans is the span ids as they are stored: 8 bytes a row.
func (b *Rows) rawSpans() []byte {
	p := b.low[chunkSpanIDs]
	if len(p) != 8*b.Len() {
		b.fail("span ids cut off")
		return nil
	}
	return p
}

// spansOf is the span ids of some rows (nil: all).
func (b *Rows) spansOf(rows []uint32) []span.SpanID {
	p := b.rawSpans()
	if rows == nil {
		out := make([]span.SpanID, b.Len())
		for i := 0; i < len(p)/8; i++ {
			out[i] = span.SpanID(p[8*i : 8*i+8])
		}
		return out
	}
	out := make([]span.SpanID, len(rows))
	if p == nil {
		return out
	}
	for i, row := range rows {
		out[i] = span.SpanID(p[8*row : 8*row+8])
	}
	return out
}

// readDistances reads where parents stand: 0 none, 1 outside of the trace's rows here, else as parentRow says.
func (b *Rows) readDistances() []uint32 {
	x := &b.ids
	if x.distances != nil {
		return x.distances
	}
	n := b.Len()
	x.distances = b.mem.uint32s(n)
	u := &unpacker{p: b.low[chunkParents]}
	u.codes(x.distances, 2*maxBlockRows+2, &b.mem.scratch)
	x.outside = u.fixed(8 * u.count(uint64(n)))
	for i, d := range x.distances {
		if d > 1 {
			if at := parentRow(i, d); at < 0 || at >= n {
				u.fail("parent outside of the block")
				break
			}
		}
	}
	b.done(u, "parents")
	if u.err != nil {
		clear(x.distances)
	}
	return x.distances
}

// parentsOf is the parents of some rows in their order (nil: all), zero for roots.
func (b *Rows) parentsOf(rows []uint32) []span.SpanID {
	n := len(rows)
	if rows == nil {
		n = b.Len()
	}
	out := make([]span.SpanID, n)
	spans, distances, outside := b.rawSpans(), b.readDistances(), b.ids.outside
	if spans == nil {
		return out
	}
	next := 0 // of the distances whose ids outside are behind us
	for i := range out {
		row := i
		if rows != nil {
			row = int(rows[i])
		}
		for ; next < row; next++ {
			if distances[next] == 1 && len(outside) >= 8 {
				outside = outside[8:]
			}
		}
		switch d := distances[row]; {
		case d == 0:
		case d > 1:
			at := 8 * parentRow(row, d)
			out[i] = span.SpanID(spans[at : at+8])
		case len(outside) < 8:
			b.fail("parents cut off")
			return out
		default:
			out[i] = span.SpanID(outside[:8])
		}
	}
	return out
}

// parentRow is where the parent of row i stands; d is at least 2.
func parentRow(i int, d uint32) int {
	if d&1 == 0 {
		return i - int(d/2)
	}
	return i + int(d/2)
}

// readTimes reads starts and ends.
func (b *Rows) readTimes() {
	x := &b.ids
	if x.time != nil {
		return
	}
	n := b.Len()
	x.start, x.end, x.time = b.mem.uint64s(n), b.mem.uint64s(n), b.mem.int64s(n)
	u := &unpacker{p: b.low[chunkTimes]}
	u.signed(x.start, &b.mem.scratch)
	gaps := b.mem.uint64s(u.count(uint64(n)))
	u.signed(gaps, &b.mem.scratch)
	durations := b.mem.uint64s(n - len(gaps))
	u.signed(durations, &b.mem.scratch)
	p := b.readParts()
	row := 0
	for i, count := range p.counts {
		last := p.starts[i]
		for range count {
			last += x.start[row]
			x.start[row], x.time[row] = last, int64(last)
			row++
		}
	}
	gap := b.gapKinds()
	for i, d := range b.readDistances() {
		switch {
		case d >= 2 && d&1 == 0 && gap[b.ctx.fine[i]]:
			if len(gaps) == 0 {
				u.fail("ends cut off")
				break
			}
			x.end[i] = x.end[parentRow(i, d)] - gaps[0]
			gaps = gaps[1:]
		case len(durations) == 0:
			u.fail("ends cut off")
		default:
			x.end[i] = x.start[i] + durations[0]
			durations = durations[1:]
		}
	}
	moved := make([]uint64, 2*u.count(uint64(n)))
	u.numbers(moved, &b.mem.scratch)
	for i := 0; i+1 < len(moved); i += 2 {
		if moved[i] >= uint64(n) {
			u.fail("row of a replaced time")
			break
		}
		x.time[moved[i]] = int64(x.start[moved[i]] + unzigzag(moved[i+1]))
	}
	b.done(u, "times")
}

// gapKinds says for each context whether rows with a parent before them have their end written as a gap: see hasGap. Kinds are part of
// every context.
func (b *Rows) gapKinds() []bool {
	kinds := b.sideColumn(colKind)
	gap := make([]bool, b.ctx.n)
	for c, row := range b.samples() {
		gap[c] = hasGap(span.Kind(kinds.at(&b.ctx, int(row))), 1)
	}
	return gap
}

// Times is the effective start, and start and end as sent, of all rows.
func (b *Rows) Times() (time []int64, start, end []uint64) {
	b.readTimes()
	return b.ids.time, b.ids.start, b.ids.end
}

// linkIDBytes is the bytes of a link's trace and span id.
const linkIDBytes = 24

// childRows expands how many events or links each row has: ends of each row's, and the row of each child.
func (b *Rows) childRows(chunk int) (ends, rowOf []uint32) {
	b.coarsen()
	n := b.Len()
	ends = make([]uint32, n)
	u := &unpacker{p: b.low[chunk]}
	s := b.small(u, n, nil, 1<<32)
	total := uint64(0)
	for row := range n {
		total += uint64(s.at(&b.ctx, row))
		if total > 1<<28 {
			u.fail("number of events or links")
			break
		}
	}
	b.done(u, "events or links")
	if u.err != nil {
		return ends, nil
	}
	rowOf = make([]uint32, 0, total)
	for row := range n {
		for range s.at(&b.ctx, row) {
			rowOf = append(rowOf, uint32(row))
		}
		ends[row] = uint32(len(rowOf))
	}
	return ends, rowOf
}

// Spans and Parents are the span ids and parents of all rows.
func (b *Rows) Spans() []span.SpanID { return b.spansOf(nil) }

// Parents is the parents of all rows, zero for roots.
func (b *Rows) Parents() []span.SpanID { return b.parentsOf(nil) }

// Value is a value of the column, texts as runs of Dict.All's arena.
func (c *Column) Value(code uint32) span.Value {
	switch {
	case c.Type == span.TypeNull:
		return span.Value{}
	case c.Type.InArena():
		off, n := c.Dict.Run(code)
		return span.StrValue(c.Type, span.Str{Off: off, Len: n})
	}
	return span.Value{Type: c.Type, Bits: c.Dict.Nums[code]}
}

// Starts is the first row of each trace of the block, and the number of rows behind them.
func (b *Rows) Starts() []uint32 {
	p := b.readParts()
	starts, at := make([]uint32, 0, len(p.counts)+1), uint32(0)
	for _, n := range p.counts {
		starts = append(starts, at)
		at += uint32(n)
	}
	return append(starts, at)
}
