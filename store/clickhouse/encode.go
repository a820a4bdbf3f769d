package clickhouse

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// encoder turns batches into blocks. It keeps its memory from batch to batch.
type encoder struct {
	*block
	b *span.Batch

	typedOf []int8 // key of the batch -> typed column, -1 for none
	wordOf  map[*words][]uint32
	scratch []byte
	values  [len(typedColumns)][]byte // of one row, nil where the key is absent
	arena   []byte
}

func newEncoder() *encoder { return &encoder{block: newBlock(), wordOf: make(map[*words][]uint32)} }

// input is the columns by name.
func (e *encoder) input() proto.Input {
	in := make(proto.Input, len(e.columns))
	for i, c := range e.columns {
		in[i] = proto.InputColumn{Name: c.name, Data: c.data}
	}
	return in
}

func (e *encoder) rows() int { return e.traceLow.Rows() }

// encode adds rows of a batch to the block. Cost: no allocation per span but for new words of dictionaries.
func (e *encoder) encode(b *span.Batch, rows []uint32, writer, seq uint64) {
	e.b = b
	tenant := []byte(answer.Tenant(b.Tenant))
	e.typedOf = e.typedOf[:0]
	for _, k := range b.Keys {
		at := int8(-1)
		if i, ok := typedIndex[string(b.Bytes(k))]; ok {
			at = int8(i)
		}
		e.typedOf = append(e.typedOf, at)
	}
	for _, a := range []*attributes{e.spans, e.resources, e.scopes, e.events, e.links} {
		of := e.wordOf[a.keys][:0]
		for range b.Keys {
			of = append(of, math.MaxUint32)
		}
		e.wordOf[a.keys] = of
	}
	for _, at := range rows {
		row := int(at)
		e.tenant.add(tenant)
		e.writer = append(e.writer, writer)
		e.seq = append(e.seq, seq)
		e.row = append(e.row, uint32(len(e.row)))
		e.received.Data = append(e.received.Data, proto.DateTime64(b.Received))
		e.ids(row)
		e.times(row)
		e.facts(row)
		e.spanAttributes(row)
		e.resource(b.Resources[b.Resource[row]])
		e.scope(b.Scopes[b.Scope[row]])
		e.eventsOf(row)
		e.linksOf(row)
	}
	e.b = nil
}

func (e *encoder) ids(row int) {
	b := e.b
	e.traceHigh = append(e.traceHigh, b.TraceID[row].High())
	e.traceLow = append(e.traceLow, b.TraceID[row].Low())
	e.spanNumber = append(e.spanNumber, b.SpanID[row].Uint64())
	e.parentNumber = append(e.parentNumber, b.Parent[row].Uint64())
}

const minute = int64(60e9)

func (e *encoder) times(row int) {
	b := e.b
	at, d := b.Time[row], uint64(b.Duration(row))
	e.minute.Data = append(e.minute.Data, proto.DateTime(minuteOf(at)))
	e.timestamp.Data = append(e.timestamp.Data, proto.DateTime64(at))
	e.duration = append(e.duration, d)
	e.sentStart = append(e.sentStart, b.Start[row]-uint64(at))
	e.sentEnd = append(e.sentEnd, b.End[row]-b.Start[row]-d)
}

// minuteOf is the value of the Minute column of an instant: its minute in seconds since the epoch. Rows before the epoch and after
// 2105 are filed at the ends of what the column can hold, and are found there.
func minuteOf(at int64) uint32 {
	m := at / minute * 60
	return uint32(min(max(m, 0), math.MaxUint32/60*60))
}

func (e *encoder) facts(row int) {
	b := e.b
	e.service.add(b.Bytes(b.Service[row]))
	e.group.add(b.Bytes(b.Group[row]))
	e.namespace.add(b.Bytes(b.Namespace[row]))
	e.name.add(b.Bytes(b.Name[row]))
	e.message.add(b.Bytes(b.StatusMessage[row]))
	e.traceState.add(b.Bytes(b.TraceState[row]))
	e.kind = append(e.kind, uint8(b.Kind[row]))
	e.status = append(e.status, uint8(b.Status[row]))
	failed := uint8(0)
	if b.Failed(row) {
		failed = 1
	}
	e.failed = append(e.failed, failed)
	e.flags = append(e.flags, b.Flags[row])
	e.mark = append(e.mark, uint16(b.Mark[row]))
	e.weight = append(e.weight, b.Weight[row])
	e.droppedAttrs = append(e.droppedAttrs, b.DroppedAttrs[row])
	e.droppedEvents = append(e.droppedEvents, b.DroppedEvents[row])
	e.droppedLink = append(e.droppedLink, b.DroppedLinks[row])
}

// spanAttributes puts the last scalar value of each typed key into its column, everything else into the lists.
func (e *encoder) spanAttributes(row int) {
	attrs := e.b.AttrsOf(e.b.SpanAttrs[row])
	clear(e.values[:])
	e.arena = e.arena[:0]
	odd, seen := uint8(0), uint64(0)
	moved := e.scratch[:0] // 1 for each attribute that stands in a column, from the last to the first
	for i := len(attrs) - 1; i >= 0; i-- {
		a := attrs[i]
		at := e.typedOf[a.Key]
		in := byte(0)
		if at >= 0 {
			if t := typeOf(a.Value()); t >= uint8(span.TypeStrings) {
				odd = 1
			} else if seen&(1<<at) == 0 && scalar(t) {
				from := len(e.arena)
				e.arena = appendValue(e.arena, e.b, a.Value())
				e.values[at] = e.arena[from:len(e.arena):len(e.arena)]
				in = 1
			}
			seen |= 1 << at
		}
		moved = append(moved, in)
	}
	for i, a := range attrs {
		e.keyOf(e.spans, a.Key)
		*e.spans.types = append(*e.spans.types, typeOf(a.Value()))
		if moved[len(attrs)-1-i] == 1 {
			e.spans.addValue(nil)
		} else {
			e.value(e.spans, a.Value())
		}
	}
	e.scratch = moved
	e.spans.end()
	for i := range e.typed {
		e.typed[i].add(e.values[i])
	}
	e.attrLists = append(e.attrLists, odd)
}

func (e *encoder) keyOf(a *attributes, key uint32) {
	of := e.wordOf[a.keys]
	if of[key] == math.MaxUint32 {
		of[key] = a.keys.word(e.b.Bytes(e.b.Keys[key]))
	}
	a.keys.Keys32 = append(a.keys.Keys32, of[key])
}

func (e *encoder) value(a *attributes, v span.Value) {
	if v.Type.InArena() {
		a.addValue(e.b.Bytes(v.Str()))
		return
	}
	var text [32]byte
	a.addValue(appendValue(text[:0], e.b, v))
}

// attrs adds one owner's attributes; the caller ends the row.
func (e *encoder) attrs(a *attributes, r span.Range) {
	for _, attr := range e.b.AttrsOf(r) {
		e.keyOf(a, attr.Key)
		*a.types = append(*a.types, typeOf(attr.Value()))
		e.value(a, attr.Value())
	}
}

func (e *encoder) resource(r span.Resource) {
	e.attrs(e.resources, r.Attrs)
	e.resources.end()
	e.resourceSchema.add(e.b.Bytes(r.SchemaURL))
	e.resourceDropped = append(e.resourceDropped, r.Dropped)
}

func (e *encoder) scope(s span.Scope) {
	e.scopeName.add(e.b.Bytes(s.Name))
	e.scopeVersion.add(e.b.Bytes(s.Version))
	e.attrs(e.scopes, s.Attrs)
	e.scopes.end()
	e.scopeSchema.add(e.b.Bytes(s.SchemaURL))
	e.scopeDropped = append(e.scopeDropped, s.Dropped)
}

func (e *encoder) eventsOf(row int) {
	for _, v := range e.b.EventsOf(row) {
		e.eventTimes = append(e.eventTimes, v.Time)
		e.eventNames.add(e.b.Bytes(v.Name))
		e.eventDropped = append(e.eventDropped, v.Dropped)
		e.eventSizes = append(e.eventSizes, v.Attrs.Len)
		e.attrs(e.events, v.Attrs)
	}
	for _, l := range e.eventLists {
		l.end()
	}
	e.events.end()
}

func (e *encoder) linksOf(row int) {
	for _, l := range e.b.LinksOf(row) {
		e.linkHighs = append(e.linkHighs, l.TraceID.High())
		e.linkLows = append(e.linkLows, l.TraceID.Low())
		e.linkSpans = append(e.linkSpans, l.SpanID.Uint64())
		e.linkStates.add(e.b.Bytes(l.TraceState))
		e.linkFlags = append(e.linkFlags, l.Flags)
		e.linkDropped = append(e.linkDropped, l.Dropped)
		e.linkSizes = append(e.linkSizes, l.Attrs.Len)
		e.attrs(e.links, l.Attrs)
	}
	for _, l := range e.linkLists {
		l.end()
	}
	e.links.end()
}

// oddNaN is the type of a double that is a NaN with bits of its own: its value is the bits, so that no text is lost.
const oddNaN = uint8(span.NumTypes)

// typeOf is the number a value's type has in the schema.
func typeOf(v span.Value) uint8 {
	if d := v.Double(); v.Type == span.TypeDouble && d != d && v.Bits != canonicalNaN {
		return oddNaN
	}
	return uint8(v.Type)
}

func scalar(t uint8) bool { return t >= uint8(span.TypeString) && t <= uint8(span.TypeBool) }

// canonicalNaN is the NaN that is written as text.
var canonicalNaN = math.Float64bits(math.NaN())

// appendValue appends a value as the schema keeps it: the text of a scalar, the bytes of everything else, nothing for null.
func appendValue(dst []byte, b *span.Batch, v span.Value) []byte {
	switch {
	case v.Type.InArena():
		return append(dst, b.Bytes(v.Str())...)
	case typeOf(v) == oddNaN:
		return strconv.AppendUint(dst, v.Bits, 16)
	}
	dst, _ = match.AppendText(dst, b, v)
	return dst
}

// parseValue reads what appendValue wrote. Text that is none of its type, which only a foreign writer leaves, is a string.
func parseValue(b *span.Batch, t uint8, p []byte) span.Value {
	switch span.Type(t) {
	case span.TypeNull:
		return span.Value{}
	case span.TypeInt:
		if v, err := strconv.ParseInt(string(p), 10, 64); err == nil {
			return span.IntValue(v)
		}
	case span.TypeDouble:
		if v, err := strconv.ParseFloat(string(p), 64); err == nil {
			return span.DoubleValue(v)
		}
	case span.TypeBool:
		if text := string(p); text == "true" || text == "false" {
			return span.BoolValue(text == "true")
		}
	case span.Type(oddNaN):
		if bits, err := strconv.ParseUint(string(p), 16, 64); err == nil {
			return span.Value{Type: span.TypeDouble, Bits: bits}
		}
	default:
		if t < uint8(span.NumTypes) {
			return span.StrValue(span.Type(t), b.AddString(p))
		}
	}
	return span.StrValue(span.TypeString, b.AddString(p))
}

func spanID(n uint64) (id span.SpanID) {
	binary.BigEndian.PutUint64(id[:], n)
	return id
}
