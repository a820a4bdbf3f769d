package clickhouse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// decoder selects the columns that a need reads and makes batches of the blocks that come.
type decoder struct {
	*block
	layout layout
	need   store.Columns
	parts  []string // of SELECT
	result proto.Results

	out        *span.Batch
	strs       map[*words][]span.Str // words of this block's dictionaries that are in the arena already
	keys       map[*words][]uint32   // words of key dictionaries -> key of the batch + 1
	typedOf    []int8                // word of the span keys -> typed column, -1 for none
	resourceOf map[string]uint32     // content -> resource of the batch
	scopeOf    map[string]uint32
	scratch    []byte
	attrs      []span.Attr
}

// newDecoder makes one. rank adds the receipt of each row.
func newDecoder(l layout, n store.Need, rank bool) *decoder {
	d := &decoder{block: newBlock(), strs: make(map[*words][]span.Str), keys: make(map[*words][]uint32),
		resourceOf: make(map[string]uint32), scopeOf: make(map[string]uint32)}
	n = l.need(n)
	d.layout = l
	d.need = always | n.Columns
	if rank {
		d.need |= ofRank
	}
	fields := n.Fields
	if n.All {
		d.need = ^onlyWritten
	} else if n.Has(store.ColStatus) {
		fields = append(slices.Clone(fields), store.Field{In: store.InSpan, Key: "error"})
	}
	keys := make(map[store.FieldScope][]string)
	for _, f := range fields {
		for in := store.InSpan; in <= store.InLink; in++ {
			if (f.In == in || f.In == store.InAny) && !slices.Contains(keys[in], f.Key) {
				keys[in] = append(keys[in], f.Key)
			}
		}
	}
	of := map[store.FieldScope]store.Columns{store.InSpan: spanAttrs, store.InResource: resourceAttrs, store.InScope: scopeAttrs,
		store.InEvent: eventAttrs | store.ColEvents, store.InLink: linkAttrs | store.ColLinks}
	for in := range keys {
		d.need |= of[in]
	}
	for _, c := range d.columns {
		expr := l.column(c.name)
		switch {
		case expr == "": // the table has nothing of it
			continue
		case !l.typed() && strings.HasSuffix(c.name, "Types"):
			continue
		case c.of == typedAttrs:
			if !n.All && !slices.ContainsFunc(keys[store.InSpan], func(key string) bool { return typedColumns[d.typedAt(c.name)].key == key }) {
				continue
			}
		case c.of&d.need == 0:
			continue
		case n.All:
		case c.of == spanAttrs:
			expr = someOf(expr, l.column("SpanKeys"), c.data.Type(), keys[store.InSpan])
		case c.of == resourceAttrs:
			expr = someOf(expr, l.column("ResourceKeys"), c.data.Type(), keys[store.InResource])
		case c.of == scopeAttrs:
			expr = someOf(expr, l.column("ScopeKeys"), c.data.Type(), keys[store.InScope])
		}
		d.parts = append(d.parts, expr)
		d.result = append(d.result, proto.ResultColumn{Data: c.data})
	}
	return d
}

func (d *decoder) typedAt(column string) int {
	return slices.IndexFunc(typedColumns[:], func(c typedColumn) bool { return c.name == column })
}

// someOf keeps the entries of a list whose keys are asked for.
func someOf(column, keyColumn string, typ proto.ColumnType, keys []string) string {
	var w strings.Builder
	for i, k := range keys {
		if i > 0 {
			w.WriteString(", ")
		}
		w.WriteString(quote(k))
	}
	return fmt.Sprintf("CAST(arrayFilter((x, k) -> k IN (%s), %s, %s), '%s')", &w, column, keyColumn, typ)
}

// rows are what a block became.
type rows struct {
	*span.Batch
	received []int64 // per row; nil if it was not asked for
}

// batch makes a batch of the block that was read last. The batch is the caller's own.
func (d *decoder) batch(tenant string) (rows, error) {
	out := &span.Batch{Tenant: tenant}
	n := d.traceLow.Rows()
	out.AddRows(n)
	d.out = out
	clear(d.strs)
	clear(d.keys)
	clear(d.resourceOf)
	clear(d.scopeOf)
	if !d.layout.typed() {
		d.looks()
	}
	if err := d.check(n); err != nil {
		return rows{}, err
	}
	d.plain()
	if len(d.spans.lists[0].ColUInt64) > 0 {
		d.typedOf = d.typedOf[:0]
		for i := range d.spans.keys.dict.Pos {
			at := int8(-1)
			if t, ok := typedIndex[string(d.spans.keys.dict.RowBytes(i))]; ok && d.layout.typed() {
				at = int8(t)
			}
			d.typedOf = append(d.typedOf, at)
		}
	}
	for row := range n {
		d.spanAttributes(row)
		d.resource(row)
		d.scope(row)
		d.eventsOf(row)
		d.linksOf(row)
	}
	if d.need&(store.ColService|store.ColMark) != 0 {
		d.layout.settle(out)
	}
	r := rows{Batch: out}
	switch {
	case d.need&ofRank == 0:
	case d.received.Rows() == 0:
		r.received = make([]int64, n)
		for row := range n {
			r.received[row] = out.EndTime(row)
			out.Received = max(out.Received, r.received[row])
		}
	default:
		r.received = make([]int64, n)
		for i, at := range d.received.Data {
			r.received[i] = int64(at)
			out.Received = max(out.Received, int64(at))
		}
	}
	return r, nil
}

// looks gives the values types where the table holds none.
func (d *decoder) looks() {
	for _, a := range []*attributes{d.spans, d.resources, d.scopes, d.events, d.links} {
		a.lists[1].ColUInt64 = append(a.lists[1].ColUInt64[:0], a.lists[0].ColUInt64...)
		*a.types = (*a.types)[:0]
		for i := range a.keys.Rows() {
			t := span.TypeString
			if a != d.resources {
				t = looksLike(a.value(i))
			}
			*a.types = append(*a.types, uint8(t))
		}
	}
}

// check compares the lists that belong together: a table may have been written by somebody else.
func (d *decoder) check(n int) error {
	same := func(what string, lists ...*list) error {
		for _, l := range lists {
			if !slices.Equal(l.ColUInt64, lists[0].ColUInt64) {
				return fmt.Errorf("the lists of %s have different lengths", what)
			}
		}
		return nil
	}
	for _, a := range []*attributes{d.spans, d.resources, d.scopes, d.events, d.links} {
		if err := same(a.prefix, a.lists[:]...); err != nil {
			return err
		}
	}
	if err := same("events", d.eventLists[:]...); err != nil {
		return err
	}
	if err := same("links", d.linkLists[:]...); err != nil {
		return err
	}
	sum := func(what string, l *list, sizes proto.ColUInt32, attrs *list) error {
		if len(attrs.ColUInt64) == 0 {
			return nil
		}
		for row := range n {
			from, to := l.span(row)
			at, end := attrs.span(row)
			for _, size := range sizes[from:to] {
				at += int(size)
			}
			if at != end {
				return fmt.Errorf("the attributes of %s do not add up", what)
			}
		}
		return nil
	}
	if err := sum("events", d.eventLists[0], d.eventSizes, d.events.lists[0]); err != nil {
		return err
	}
	return sum("links", d.linkLists[0], d.linkSizes, d.links.lists[0])
}

// plain fills the columns that are one value a row.
func (d *decoder) plain() {
	b := d.out
	for i, low := range d.traceLow {
		b.TraceID[i] = span.TraceIDFromUint64s(d.traceHigh[i], low)
	}
	for i, v := range d.spanNumber {
		b.SpanID[i] = spanID(v)
	}
	for i, v := range d.parentNumber {
		b.Parent[i] = spanID(v)
	}
	for i, at := range d.timestamp.Data {
		b.Time[i], b.Start[i] = int64(at), uint64(at)
		b.End[i] = b.Start[i] + d.duration[i]
	}
	for i, off := range d.sentStart {
		b.Start[i] += off
		b.End[i] += off + d.sentEnd[i]
	}
	for i, v := range d.kind {
		b.Kind[i] = span.Kind(v)
	}
	for i, v := range d.status {
		b.Status[i] = span.Status(v)
	}
	for i, v := range d.mark {
		b.Mark[i] = span.Mark(v)
	}
	copy(b.Flags, d.flags)
	copy(b.Weight, d.weight)
	copy(b.DroppedAttrs, d.droppedAttrs)
	copy(b.DroppedEvents, d.droppedEvents)
	copy(b.DroppedLinks, d.droppedLink)
	for _, c := range []struct {
		from *words
		to   []span.Str
	}{{d.service, b.Service}, {d.group, b.Group}, {d.namespace, b.Namespace}, {d.name, b.Name}, {d.message, b.StatusMessage}, {d.traceState, b.TraceState}} {
		if c.from.Rows() == 0 {
			continue
		}
		for i := range c.to {
			c.to[i] = d.str(c.from, i)
		}
	}
}

// str is the text of a row in the arena, once per word of the dictionary.
func (d *decoder) str(w *words, row int) span.Str {
	known := d.strs[w]
	if known == nil {
		known = make([]span.Str, len(w.dict.Pos))
		d.strs[w] = known
	}
	at := w.at(row)
	if known[at].Len == 0 {
		known[at] = d.out.AddString(w.dict.RowBytes(int(at)))
	}
	return known[at]
}

// key is the key of the batch for an element of a key column.
func (d *decoder) key(w *words, at int) uint32 {
	known := d.keys[w]
	if known == nil {
		known = make([]uint32, len(w.dict.Pos))
		d.keys[w] = known
	}
	word := w.at(at)
	if known[word] == 0 {
		known[word] = d.out.InternKey(w.dict.RowBytes(int(word))) + 1
	}
	return known[word] - 1
}

func (d *decoder) spanAttributes(row int) {
	a := d.spans
	if len(a.lists[0].ColUInt64) == 0 {
		return
	}
	from, to := a.lists[0].span(row)
	d.attrs = d.attrs[:0]
	seen := uint64(0)
	for i := to - 1; i >= from; i-- { // of a repeated key the last one may stand in a column
		t := (*a.types)[i]
		p := a.value(i)
		if at := d.typedOf[a.keys.at(i)]; at >= 0 {
			if seen&(1<<at) == 0 && scalar(t) {
				p = d.typed[at].bytes(row)
			}
			seen |= 1 << at
		}
		v := parseValue(d.out, t, p)
		d.attrs = append(d.attrs, span.Attr{Key: d.key(a.keys, i), Type: v.Type, Bits: v.Bits})
	}
	slices.Reverse(d.attrs)
	mark := d.out.AttrMark()
	d.out.Attrs = append(d.out.Attrs, d.attrs...)
	d.out.SpanAttrs[row] = d.out.AttrsSince(mark)
}

// owner adds the attributes from one element to another.
func (d *decoder) owner(a *attributes, from, to int) span.Range {
	mark := d.out.AttrMark()
	for i := from; i < to; i++ {
		v := parseValue(d.out, (*a.types)[i], a.value(i))
		d.out.AddAttr(d.key(a.keys, i), v)
	}
	return d.out.AttrsSince(mark)
}

// content appends what tells one resource or scope of a block from another: words of its dictionaries.
func (d *decoder) content(row int, a *attributes, columns ...*words) {
	p := d.scratch[:0]
	for _, w := range columns {
		if w.Rows() > 0 {
			p = append4(p, w.at(row))
		}
	}
	if len(a.lists[0].ColUInt64) > 0 {
		from, to := a.lists[0].span(row)
		for i := from; i < to; i++ {
			p = append4(p, a.keys.at(i))
			p = append4(p, a.words.at(i))
			p = append(p, (*a.types)[i])
		}
	}
	d.scratch = p
}

func append4(p []byte, v uint32) []byte {
	return append(p, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func (d *decoder) resource(row int) {
	a := d.resources
	d.content(row, a, d.resourceSchema)
	if d.resourceDropped.Rows() > 0 {
		d.scratch = append4(d.scratch, d.resourceDropped[row])
	}
	at, ok := d.resourceOf[string(d.scratch)]
	if !ok {
		at = uint32(len(d.out.Resources))
		d.resourceOf[string(d.scratch)] = at
		var r span.Resource
		if len(a.lists[0].ColUInt64) > 0 {
			from, to := a.lists[0].span(row)
			r.Attrs = d.owner(a, from, to)
		}
		if d.resourceSchema.Rows() > 0 {
			r.SchemaURL, r.Dropped = d.str(d.resourceSchema, row), d.resourceDropped[row]
		}
		d.out.Resources = append(d.out.Resources, r)
	}
	d.out.Resource[row] = at
}

func (d *decoder) scope(row int) {
	a := d.scopes
	d.content(row, a, d.scopeSchema, d.scopeName, d.scopeVersion)
	if d.scopeDropped.Rows() > 0 {
		d.scratch = append4(d.scratch, d.scopeDropped[row])
	}
	at, ok := d.scopeOf[string(d.scratch)]
	if !ok {
		at = uint32(len(d.out.Scopes))
		d.scopeOf[string(d.scratch)] = at
		var s span.Scope
		if len(a.lists[0].ColUInt64) > 0 {
			from, to := a.lists[0].span(row)
			s.Attrs = d.owner(a, from, to)
		}
		if d.scopeSchema.Rows() > 0 {
			s.SchemaURL, s.Dropped = d.str(d.scopeSchema, row), d.scopeDropped[row]
		}
		if d.scopeName.Rows() > 0 {
			s.Name, s.Version = d.str(d.scopeName, row), d.str(d.scopeVersion, row)
		}
		d.out.Scopes = append(d.out.Scopes, s)
	}
	d.out.Scope[row] = at
}

func (d *decoder) eventsOf(row int) {
	if len(d.eventLists[0].ColUInt64) == 0 {
		return
	}
	from, to := d.eventLists[0].span(row)
	first := uint32(len(d.out.Events))
	at := 0
	withAttrs := len(d.events.lists[0].ColUInt64) > 0
	if withAttrs {
		at, _ = d.events.lists[0].span(row)
	}
	for i := from; i < to; i++ {
		v := span.Event{Time: d.eventTimes[i], Name: d.str(d.eventNames, i), Dropped: d.eventDropped[i]}
		if withAttrs {
			v.Attrs = d.owner(d.events, at, at+int(d.eventSizes[i]))
			at += int(d.eventSizes[i])
		}
		d.out.Events = append(d.out.Events, v)
	}
	d.out.SpanEvents[row] = span.Range{Off: first, Len: uint32(to - from)}
}

func (d *decoder) linksOf(row int) {
	if len(d.linkLists[0].ColUInt64) == 0 {
		return
	}
	from, to := d.linkLists[0].span(row)
	first := uint32(len(d.out.Links))
	at := 0
	withAttrs := len(d.links.lists[0].ColUInt64) > 0
	if withAttrs {
		at, _ = d.links.lists[0].span(row)
	}
	for i := from; i < to; i++ {
		l := span.Link{TraceID: span.TraceIDFromUint64s(d.linkHighs[i], d.linkLows[i]), SpanID: spanID(d.linkSpans[i]),
			TraceState: d.str(d.linkStates, i), Flags: d.linkFlags[i], Dropped: d.linkDropped[i]}
		if withAttrs {
			l.Attrs = d.owner(d.links, at, at+int(d.linkSizes[i]))
			at += int(d.linkSizes[i])
		}
		d.out.Links = append(d.out.Links, l)
	}
	d.out.SpanLinks[row] = span.Range{Off: first, Len: uint32(to - from)}
}
