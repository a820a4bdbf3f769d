package segment

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/local/internal/table"
)

// blockWriter is the scratch memory of one block after the other.
type blockWriter struct {
	n      int
	out    []byte
	heads  []byte // chunk numbers, lengths
	chunks int
	hashes []uint64
	ctx    contexts
	// inContext has a bit for each side column that contexts are made of.
	inContext uint32
	columns   [numSideColumns][]uint32 // by row: indexes of the side tables, codes of names
	attrs     []attrColumn             // by field of the source
	used      []uint32                 // fields with rows in this block

	// Numbering of the values of one column: stamp says to which column the code belongs.
	textStamp, textCode []uint32 // by ID of the source
	numStamp, numCode   []uint32 // by index in Nums
	valueStamp          []uint32 // by value of a side column
	small               map[uint32]uint32
	serial              uint32
	codes               []uint32
	texts               [][]byte
	first               []uint32 // the row in which each value stands first
	nums                []uint64
	values              []uint64
	pairs               map[uint64]uint32
}

// attrColumn is the codes of a field in the rows of a block.
type attrColumn struct {
	codes []uint32 // of the source
	rows  []uint32 // in the block, or in its list of events or links
}

// The side columns, of which contexts are made.
const (
	colResource = iota
	colName
	colKind
	colIdent
	colScope
	colRare
	colShape
	colStatus
	colMark
	numSideColumns
)

func (b *blockWriter) begin(v *table.View) {
	b.textStamp, b.textCode = zeroed(b.textStamp, v.Texts.Len()), zeroed(b.textCode, v.Texts.Len())
	b.numStamp, b.numCode = zeroed(b.numStamp, len(v.Nums)), zeroed(b.numCode, len(v.Nums))
	b.attrs = slices.Grow(b.attrs[:0], len(v.Fields))[:len(v.Fields)]
	clear(b.valueStamp)
	b.serial = 0
	if b.small == nil {
		b.small, b.pairs = make(map[uint32]uint32), make(map[uint64]uint32)
	}
}

func zeroed(s []uint32, n int) []uint32 {
	if cap(s) < n {
		return make([]uint32, n, n+n/2)
	}
	s = s[:n]
	clear(s)
	return s
}

// encode makes the bytes of a block.
func (w *Writer) encode(rows []uint32, parts []Part, meta *Block) []byte {
	b := &w.block
	b.n = len(rows)
	b.out, b.heads, b.chunks, b.hashes = b.out[:0], b.heads[:0], 0, b.hashes[:0]
	w.sideColumns(rows)
	coarse := w.contexts()
	w.countGroups(rows)
	w.chunk(chunkContext, func(dst []byte) []byte {
		b.values = b.values[:0]
		for _, c := range b.ctx.fine {
			b.values = append(b.values, uint64(c))
		}
		dst = binary.AppendUvarint(appendCount(dst, b.ctx.n), uint64(b.inContext))
		return w.coder.p.numbers(dst, b.values)
	})
	w.sideColumn(chunkResource, colResource)
	w.nameColumn()
	w.sideColumn(chunkKind, colKind)
	coarse()
	w.sideColumn(chunkIdent, colIdent)
	w.sideColumn(chunkScope, colScope)
	w.sideColumn(chunkRare, colRare)
	w.sideColumn(chunkShape, colShape)
	w.sideColumn(chunkStatus, colStatus)
	w.sideColumn(chunkMark, colMark)
	w.parts(rows, parts)
	w.ids(rows, parts)
	w.rareTexts(rows)
	w.attributes(rows, meta)
	w.events(rows)
	w.links(rows)
	w.side.Sync() // their texts were copied since
	w.sideFilter(colResource, w.resourceHashes)
	w.sideFilter(colScope, w.scopeHashes)
	w.sideFilter(colIdent, w.identHashes)
	w.failedFilter()
	slices.Sort(b.hashes)
	w.filters = appendFuse(w.filters, &w.fuse, slices.Compact(b.hashes))

	head := binary.AppendUvarint(nil, uint64(b.chunks))
	head = append(head, b.heads...)
	return append(head, b.out...)
}

// sideFilter adds the texts of the entries that a side column names.
func (w *Writer) sideFilter(column int, of func(uint32) []uint64) {
	b := &w.block
	clear(b.small)
	last := ^uint32(0)
	for _, i := range b.columns[column] {
		if i == last {
			continue
		}
		last = i
		if _, ok := b.small[i]; !ok {
			b.small[i] = 0
			b.hashes = append(b.hashes, of(i)...)
		}
	}
}

// chunk appends a chunk.
func (w *Writer) chunk(number uint64, fill func(dst []byte) []byte) {
	b := &w.block
	from := len(b.out)
	b.out = fill(b.out)
	b.heads = binary.AppendUvarint(b.heads, number)
	b.heads = binary.AppendUvarint(b.heads, uint64(len(b.out)-from))
	b.chunks++
}

// sideColumns translates what rows say into indexes of the segment's side tables.
func (w *Writer) sideColumns(rows []uint32) {
	b, v, c := &w.block, w.view, w.copy
	for i := range b.columns {
		b.columns[i] = slices.Grow(b.columns[i][:0], len(rows))[:len(rows)]
	}
	b.serial++
	b.texts, b.first = b.texts[:0], b.first[:0]
	for i, row := range rows {
		b.columns[colResource][i] = c.Resource(v.Resource[row])
		b.columns[colName][i] = b.text(v, v.Name[row], i)
		b.columns[colKind][i] = uint32(v.Kind[row])
		b.columns[colIdent][i] = c.Ident(v.Ident[row])
		b.columns[colScope][i] = c.Scope(v.Scope[row])
		b.columns[colRare][i] = c.Rare(v.Rare[row])
		b.columns[colShape][i] = c.Shape(v.Attrs[row].Shape)
		b.columns[colStatus][i] = uint32(v.Status[row])
		b.columns[colMark][i] = uint32(v.Mark[row])
		count(&w.spanShapes, b.columns[colShape][i], 1)
		count(&w.resources, b.columns[colResource][i], 1)
		count(&w.scopes, b.columns[colScope][i], 1)
	}
}

// text numbers a text of the source in the column at hand.
func (b *blockWriter) text(v *table.View, id table.ID, row int) uint32 {
	if b.textStamp[id] == b.serial {
		return b.textCode[id]
	}
	code := uint32(len(b.texts))
	b.textStamp[id], b.textCode[id] = b.serial, code
	b.texts = append(b.texts, v.Texts.Bytes(id))
	b.first = append(b.first, uint32(row))
	return code
}

func (b *blockWriter) num(v *table.View, i uint32) uint32 {
	if b.numStamp[i] == b.serial {
		return b.numCode[i]
	}
	code := uint32(len(b.nums))
	b.numStamp[i], b.numCode[i] = b.serial, code
	b.nums = append(b.nums, v.Nums[i])
	return code
}

// maxPerContext is how many different values a side column may have to be part of the contexts: one that differs from row to
// row would make each row a context of its own.
const maxPerContext = 1024

// fewer reports whether a column has at most so many different values.
func (b *blockWriter) fewer(col []uint32, most int) bool {
	b.serial++
	n := 0
	for _, x := range col {
		if int(x) >= len(b.valueStamp) {
			b.valueStamp = append(b.valueStamp, make([]uint32, int(x)+1-len(b.valueStamp))...)
		}
		if b.valueStamp[x] == b.serial {
			continue
		}
		b.valueStamp[x] = b.serial
		if n++; n > most {
			return false
		}
	}
	return true
}

// contexts numbers the different combinations of the side columns, the most frequent first. coarse adds the coarse contexts.
func (w *Writer) contexts() (coarse func()) {
	b := &w.block
	b.inContext = 0
	for i, col := range b.columns {
		if i == colName {
			if len(b.texts) <= maxPerContext {
				b.inContext |= 1 << i
			}
			continue
		}
		if b.fewer(col, maxPerContext) {
			b.inContext |= 1 << i
		}
	}
	type key [numSideColumns]uint32
	index := make(map[key]uint32, 1024)
	fine := slices.Grow(b.ctx.fine[:0], b.n)[:b.n]
	var keys []key
	var counts []uint32
	var last key
	for row := range fine {
		var k key
		for i := range k {
			if b.inContext&(1<<i) != 0 {
				k[i] = b.columns[i][row]
			}
		}
		if row > 0 && k == last {
			fine[row] = fine[row-1]
			counts[fine[row]]++
			continue
		}
		last = k
		c, ok := index[k]
		if !ok {
			c = uint32(len(keys))
			index[k] = c
			keys, counts = append(keys, k), append(counts, 0)
		}
		fine[row] = c
		counts[c]++
	}
	order := make([]uint32, len(keys)) // new number -> old
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortStableFunc(order, func(x, y uint32) int { return cmp.Compare(counts[y], counts[x]) })
	rename := make([]uint32, len(keys))
	for i, old := range order {
		rename[old] = uint32(i)
	}
	for row, c := range fine {
		fine[row] = rename[c]
	}
	b.ctx = contexts{fine: fine, n: len(keys)}
	resources, names := make([]uint32, len(keys)), make([]uint64, len(keys))
	for i, old := range order {
		resources[i] = keys[old][colResource]
		names[i] = uint64(keys[old][colName])<<8 | uint64(keys[old][colKind])
	}
	b.ctx.self()
	return func() { b.ctx.coarse(resources, names) }
}

// self makes the fine contexts the only ones: the columns that coarse ones are made of are written so.
func (c *contexts) self() {
	own := make([]uint32, c.n)
	for i := range own {
		own[i] = uint32(i)
	}
	c.parts, c.sizes = [][]uint32{own}, []int{c.n}
}

// coarse sets the coarse contexts: by resource, by name and kind. Reader and writer number them alike, in the order of the
// fine contexts.
func (c *contexts) coarse(resources []uint32, names []uint64) {
	byResource, byName := make([]uint32, c.n), make([]uint32, c.n)
	index := make(map[uint64]uint32, 64)
	for i, r := range resources {
		byResource[i] = number(index, uint64(r))
	}
	first := len(index)
	clear(index)
	for i, n := range names {
		byName[i] = number(index, n)
	}
	self := make([]uint32, c.n)
	for i := range self {
		self[i] = uint32(i)
	}
	c.parts, c.sizes = [][]uint32{byResource, byName, self}, []int{first, len(index), c.n}
}

func number(index map[uint64]uint32, key uint64) uint32 {
	x, ok := index[key]
	if !ok {
		x = uint32(len(index))
		index[key] = x
	}
	return x
}

// countGroups adds the block's rows to the segment's groups.
func (w *Writer) countGroups(rows []uint32) {
	if w.groups == nil {
		return
	}
	b, v := &w.block, w.view
	const columns = 1<<colIdent | 1<<colName | 1<<colKind
	if b.inContext&columns != columns { // one context's rows differ in them
		w.groups = nil
		return
	}
	counts := make([]groupCount, b.ctx.n)
	sample := make([]uint32, b.ctx.n)
	for i, row := range rows {
		c := b.ctx.fine[i]
		if counts[c].n == 0 || v.Time[row] > counts[c].last {
			counts[c].last = v.Time[row]
		}
		counts[c].n++
		sample[c] = uint32(i)
	}
	for c, g := range counts {
		i := sample[c]
		k := groupKey{b.columns[colIdent][i], w.side.InternText(b.texts[b.columns[colName][i]]), span.Kind(b.columns[colKind][i])}
		old, ok := w.groups[k]
		if !ok {
			old.last = g.last
		}
		w.groups[k] = groupCount{old.n + g.n, max(old.last, g.last)}
	}
	if len(w.groups) > MaxGroups {
		w.groups = nil
	}
}

// sideColumn writes a column of small numbers.
func (w *Writer) sideColumn(number uint64, column int) {
	w.chunk(number, func(dst []byte) []byte { return w.smallColumn(dst, w.block.columns[column], nil) })
}

// smallColumn writes numbers as codes and the numbers that the codes mean.
func (w *Writer) smallColumn(dst []byte, column, at []uint32) []byte {
	b := &w.block
	clear(b.small)
	b.codes, b.values = b.codes[:0], b.values[:0]
	last, lastCode := uint32(0), uint32(0)
	for i, x := range column {
		if i == 0 || x != last {
			code, ok := b.small[x]
			if !ok {
				code = uint32(len(b.small))
				b.small[x] = code
				b.values = append(b.values, uint64(x))
			}
			last, lastCode = x, code
		}
		b.codes = append(b.codes, lastCode)
	}
	dst = appendCount(dst, len(b.values))
	dst = w.coder.codes(dst, b.codes, len(b.values), &b.ctx, at)
	return w.coder.p.numbers(dst, b.values)
}

func (w *Writer) nameColumn() {
	b := &w.block
	w.chunk(chunkName, func(dst []byte) []byte { return w.textChunk(dst, b.columns[colName], nil) })
}

// textChunk writes the codes of a column with the texts of b.texts.
func (w *Writer) textChunk(dst []byte, codes, at []uint32) []byte {
	b := &w.block
	for _, t := range b.texts {
		if len(t) > 0 {
			b.hashes = append(b.hashes, hashText(t))
		}
	}
	dst = appendCount(dst, len(b.texts))
	from := len(dst)
	dst = w.coder.codes(dst, codes, len(b.texts), &b.ctx, at)
	if dst[from] == codesBack { // the reader knows then in which row each text stands first
		return w.coder.texts(dst, b.texts, &b.ctx, b.first)
	}
	return w.coder.texts(dst, b.texts, nil, nil)
}

// textColumn writes a column of texts of the source, of all rows or of some.
func (w *Writer) textColumn(dst []byte, ids []table.ID, at []uint32) []byte {
	b := &w.block
	b.serial++
	b.texts, b.first, b.codes = b.texts[:0], b.first[:0], b.codes[:0]
	for i, id := range ids {
		row := i
		if at != nil {
			row = int(at[i])
		}
		b.codes = append(b.codes, b.text(w.view, id, row))
	}
	return w.textChunk(dst, b.codes, at)
}

// parts writes how many rows each trace has, the first starts and the receipts.
func (w *Writer) parts(rows []uint32, parts []Part) {
	v := w.view
	w.chunk(chunkParts, func(dst []byte) []byte {
		counts, starts, received := make([]uint64, 0, len(parts)), make([]uint64, 0, len(parts)), make([]uint64, 0, len(parts))
		at, lastStart, lastReceived := 0, uint64(0), int64(0)
		for _, p := range parts {
			counts = append(counts, uint64(p.Rows))
			start := v.Start[rows[at]]
			starts = append(starts, start-lastStart)
			ms := p.Received / 1e6
			received = append(received, uint64(ms-lastReceived))
			lastStart, lastReceived = start, ms
			at += p.Rows
		}
		// The first difference is an instant: it would widen all others.
		dst = binary.LittleEndian.AppendUint64(dst, starts[0])
		dst = binary.LittleEndian.AppendUint64(dst, received[0])
		starts[0], received[0] = 0, 0
		dst = w.coder.p.numbers(dst, counts)
		dst = w.coder.p.signed(dst, starts)
		return w.coder.p.signed(dst, received)
	})
}

// hasGap reports whether a row's end is written as the gap to its parent's: a server that answered its caller, so that the gap is
// the way back and shorter than the whole.
func hasGap(kind span.Kind, distance int) bool {
	return distance > 0 && (kind == span.KindServer || kind == span.KindConsumer)
}

// ids writes span ids, parents and times.
func (w *Writer) ids(rows []uint32, parts []Part) {
	v := w.view
	spans := make([]byte, 0, 8*len(rows))
	var parents, starts, durations, gaps, moved []uint64
	var outside []byte
	far := make(map[span.SpanID]int)
	first := 0
	for _, p := range parts {
		trace := rows[first : first+p.Rows]
		large := len(trace) > 64
		if large {
			clear(far)
			for i, row := range trace {
				far[v.Span[row]] = i
			}
		}
		last := v.Start[trace[0]]
		for i, row := range trace {
			spans = append(spans, v.Span[row][:]...)
			distance, ok := 0, false
			if parent := v.Parent[row]; !parent.IsZero() {
				distance, ok = w.distance(trace, i, parent, large, far)
				switch {
				case !ok:
					parents = append(parents, 1)
					outside = append(outside, parent[:]...)
				case distance > 0:
					parents = append(parents, 2*uint64(distance))
				default:
					parents = append(parents, 2*uint64(-distance)+1)
				}
			} else {
				parents = append(parents, 0)
			}
			starts = append(starts, v.Start[row]-last)
			last = v.Start[row]
			if ok && hasGap(v.Kind[row], distance) {
				gaps = append(gaps, v.End[trace[i-distance]]-v.End[row])
			} else {
				durations = append(durations, v.End[row]-v.Start[row])
			}
			if uint64(v.Time[row]) != v.Start[row] {
				moved = append(moved, uint64(first+i), zigzag(uint64(v.Time[row])-v.Start[row]))
			}
		}
		first += p.Rows
	}
	p := w.coder.p
	w.chunk(chunkSpanIDs, func(dst []byte) []byte { return append(dst, spans...) })
	w.chunk(chunkParents, func(dst []byte) []byte {
		dst = p.numbers(dst, parents)
		return append(appendCount(dst, len(outside)/8), outside...)
	})
	w.chunk(chunkTimes, func(dst []byte) []byte {
		dst = p.signed(dst, starts)
		dst = p.signed(appendCount(dst, len(gaps)), gaps)
		dst = p.signed(dst, durations)
		return p.numbers(appendCount(dst, len(moved)/2), moved)
	})
}

// distance finds a span of a trace by id: how many rows before row i it stands, negative for behind it.
func (w *Writer) distance(trace []uint32, i int, id span.SpanID, large bool, far map[span.SpanID]int) (int, bool) {
	v := w.view
	for d := 1; d <= min(i, 64); d++ {
		if v.Span[trace[i-d]] == id {
			return d, true
		}
	}
	if large {
		at, ok := far[id]
		if ok && at != i {
			return i - at, true
		}
		return 0, false
	}
	for at := i + 1; at < len(trace); at++ {
		if v.Span[trace[at]] == id {
			return i - at, true
		}
	}
	return 0, false
}

// rareTexts writes status messages and trace states.
func (w *Writer) rareTexts(rows []uint32) {
	v := w.view
	ids := make([]table.ID, len(rows))
	for _, c := range []struct {
		chunk uint64
		of    func(*table.Rare) table.ID
	}{
		{chunkMessage, func(r *table.Rare) table.ID { return r.StatusMessage }},
		{chunkState, func(r *table.Rare) table.ID { return r.TraceState }},
	} {
		some := false
		for i, row := range rows {
			ids[i] = c.of(&v.Rares[v.Rare[row]])
			some = some || ids[i] != 0
		}
		if some {
			w.chunk(c.chunk, func(dst []byte) []byte { return w.textColumn(dst, ids, nil) })
		}
	}
}

// attributes writes a chunk for each field of the rows.
func (w *Writer) attributes(rows []uint32, meta *Block) {
	for i, row := range rows {
		w.collect(w.view.Attrs[row], uint32(i))
		meta.Repeated = meta.Repeated || w.repeats(w.block.columns[colShape][i])
	}
	w.fieldChunks(nil)
}

// repeats reports whether a shape of the side tables has a key twice.
func (w *Writer) repeats(shape uint32) bool { return w.shape(shape).repeats }

// shapeFacts is what is known of a shape of the side tables.
type shapeFacts struct {
	repeats bool // it has a key twice
	failed  bool // it has an attribute `error`
}

func (w *Writer) shape(i uint32) shapeFacts {
	for len(w.shapes) <= int(i) {
		w.side.Sync()
		seen, facts := make(map[table.ID]bool), shapeFacts{}
		for _, f := range w.side.Shapes[len(w.shapes)] {
			key := w.side.Fields[f].Key
			facts.repeats = facts.repeats || seen[key]
			seen[key] = true
			facts.failed = facts.failed || string(w.side.View.Texts.Bytes(key)) == "error"
		}
		w.shapes = append(w.shapes, facts)
	}
	return w.shapes[i]
}

// failedFilter adds the services that have spans with the status error or an attribute `error`.
func (w *Writer) failedFilter() {
	b := &w.block
	clear(b.small)
	for i, status := range b.columns[colStatus] {
		if span.Status(status) != span.StatusError && !w.shape(b.columns[colShape][i]).failed {
			continue
		}
		ident := b.columns[colIdent][i]
		if _, ok := b.small[ident]; ok {
			continue
		}
		b.small[ident] = 0
		service := w.side.View.Texts.Bytes(w.side.Idents[ident].Service)
		b.hashes = append(b.hashes, FailedHash(hashText(service)))
	}
}

// collect adds the attributes of one owner to the columns of their fields.
func (w *Writer) collect(l table.List, row uint32) {
	b, v := &w.block, w.view
	codes := v.CodesOf(l)
	for i, f := range v.Shapes[l.Shape] {
		col := &b.attrs[f]
		if len(col.codes) == 0 {
			b.used = append(b.used, f)
		}
		col.codes = append(col.codes, codes[i])
		col.rows = append(col.rows, row)
	}
}

// fieldChunks writes the collected columns and empties them. rowOf gives the row of the block for an event or a link.
func (w *Writer) fieldChunks(rowOf []uint32) {
	b, v := &w.block, w.view
	slices.Sort(b.used)
	for _, f := range b.used {
		col := &b.attrs[f]
		field := v.Fields[f]
		if rowOf != nil {
			for i, r := range col.rows {
				col.rows[i] = rowOf[r]
			}
		}
		at := col.rows
		if len(at) == b.n && rowOf == nil {
			at = nil // every row has it
		}
		w.chunk(chunkFields+uint64(w.copy.Field(f)), func(dst []byte) []byte { return w.fieldChunk(dst, field.Type, col.codes, at) })
		col.codes, col.rows = col.codes[:0], col.rows[:0]
	}
	b.used = b.used[:0]
}

func (w *Writer) fieldChunk(dst []byte, t span.Type, codes, at []uint32) []byte {
	b, v := &w.block, w.view
	dst = appendCount(dst, len(codes))
	switch t {
	case span.TypeNull:
		return dst
	case span.TypeBool:
		return w.smallColumn(dst, codes, at)
	case span.TypeInt, span.TypeDouble:
		b.serial++
		b.nums, b.codes = b.nums[:0], b.codes[:0]
		for _, c := range codes {
			b.codes = append(b.codes, b.num(v, c))
		}
		dst = appendCount(dst, len(b.nums))
		dst = w.coder.codes(dst, b.codes, len(b.nums), &b.ctx, at)
		if t == span.TypeDouble {
			return w.coder.p.numbers(dst, b.nums)
		}
		return w.coder.p.signed(dst, b.nums)
	}
	b.serial++
	b.texts, b.first, b.codes = b.texts[:0], b.first[:0], b.codes[:0]
	for i, id := range codes {
		row := i
		if at != nil {
			row = int(at[i])
		}
		b.codes = append(b.codes, b.text(v, table.ID(id), row))
	}
	if t == span.TypeStrings {
		for _, text := range b.texts {
			b.hashes = appendValueHashes(b.hashes, t, text)
		}
	}
	return w.textChunk(dst, b.codes, at)
}

// events writes the events of all rows as a table of their own.
func (w *Writer) events(rows []uint32) {
	v := w.view
	counts, rowOf, total := make([]uint32, len(rows)), []uint32(nil), 0
	for i, row := range rows {
		counts[i] = uint32(len(v.EventsOf(int(row))))
		total += int(counts[i])
	}
	if total == 0 {
		return
	}
	var times []uint64
	var names []table.ID
	var shapes, dropped []uint32
	for i, row := range rows {
		for _, e := range v.EventsOf(int(row)) {
			w.collect(e.Attrs, uint32(len(rowOf)))
			times = append(times, e.Time-v.Start[row])
			names = append(names, e.Name)
			shape := w.copy.Shape(e.Attrs.Shape)
			count(&w.eventShapes, shape, 1)
			shapes, dropped = append(shapes, shape), append(dropped, e.Dropped)
			rowOf = append(rowOf, uint32(i))
		}
	}
	w.chunk(chunkEventCounts, func(dst []byte) []byte { return w.smallColumn(dst, counts, nil) })
	w.chunk(chunkEventTimes, func(dst []byte) []byte { return w.coder.p.signed(dst, times) })
	w.chunk(chunkEventNames, func(dst []byte) []byte { return w.textColumn(dst, names, rowOf) })
	w.chunk(chunkEventShapes, func(dst []byte) []byte { return w.smallColumn(dst, shapes, rowOf) })
	w.chunk(chunkEventDropped, func(dst []byte) []byte { return w.smallColumn(dst, dropped, rowOf) })
	w.fieldChunks(rowOf)
}

// links writes the links of all rows.
func (w *Writer) links(rows []uint32) {
	v := w.view
	counts, rowOf, total := make([]uint32, len(rows)), []uint32(nil), 0
	for i, row := range rows {
		counts[i] = uint32(len(v.LinksOf(int(row))))
		total += int(counts[i])
	}
	if total == 0 {
		return
	}
	var ids []byte
	var states []table.ID
	var shapes, dropped, flags []uint32
	for i, row := range rows {
		for _, l := range v.LinksOf(int(row)) {
			w.collect(l.Attrs, uint32(len(rowOf)))
			ids = append(append(ids, l.Trace[:]...), l.Span[:]...)
			states = append(states, l.State)
			shape := w.copy.Shape(l.Attrs.Shape)
			count(&w.linkShapes, shape, 1)
			shapes, dropped, flags = append(shapes, shape), append(dropped, l.Dropped), append(flags, l.Flags)
			rowOf = append(rowOf, uint32(i))
		}
	}
	w.chunk(chunkLinkCounts, func(dst []byte) []byte { return w.smallColumn(dst, counts, nil) })
	w.chunk(chunkLinkIDs, func(dst []byte) []byte { return append(dst, ids...) })
	w.chunk(chunkLinkStates, func(dst []byte) []byte { return w.textColumn(dst, states, rowOf) })
	w.chunk(chunkLinkShapes, func(dst []byte) []byte { return w.smallColumn(dst, shapes, rowOf) })
	w.chunk(chunkLinkDropped, func(dst []byte) []byte { return w.smallColumn(dst, dropped, rowOf) })
	w.chunk(chunkLinkFlags, func(dst []byte) []byte { return w.smallColumn(dst, flags, rowOf) })
	w.fieldChunks(rowOf)
}
