package jaegerapi

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
)

// modelWriter writes spans as jaeger.api_v2.Span, each with its process: clients build the table of processes from that.
type modelWriter struct {
	reading
	buf       []byte
	processes map[processKey][]byte // of spans that lend their process nothing
}

func (w *modelWriter) begin(t *query.Trace) {
	w.reading.begin(t)
	if w.processes == nil {
		w.processes = make(map[processKey][]byte)
	}
	clear(w.processes)
}

// The types of a KeyValue.
const (
	modelString = iota
	modelBool
	modelInt64
	modelFloat64
	modelBinary
)

// span appends a row of the assembled trace as field 1 of a SpansResponseChunk.
func (w *modelWriter) span(i int) {
	r := &w.t.Rows[i]
	w.warnOf(r)
	w.write(int(r.Span), w.t.ID, w.idOf(int32(i)), w.parentOf(r), w.t.Names[r.Name], r.Start, r.Duration)
}

// storedSpan appends a row of the batch as it is stored.
func (w *modelWriter) storedSpan(row int) {
	b := w.b
	w.warnings = w.warnings[:0]
	w.write(row, b.TraceID[row], b.SpanID[row], b.Parent[row], w.storedName(row), b.Time[row], b.Duration(row))
}

func (w *modelWriter) write(row int, trace span.TraceID, id, parent span.SpanID, name string, start, duration int64) {
	dst, at := openField(w.buf, 1)
	dst = appendBytes(appendBytes(dst, 1, trace[:]), 2, id[:])
	dst = appendText(dst, 3, name)
	w.eachReference(row, trace, parent, func(typ string, trace span.TraceID, id span.SpanID) {
		var ref int
		dst, ref = openField(dst, 4)
		dst = appendBytes(appendBytes(dst, 1, trace[:]), 2, id[:])
		if typ == refFollowsFrom {
			dst = appendVarint(dst, 3, 1)
		}
		dst = closeField(dst, ref)
	})
	dst = appendVarint(dst, 5, uint64(w.flags(row)))
	dst = appendTime(dst, 6, start, false)
	dst = appendTime(dst, 7, duration, true)
	w.buf = dst
	w.eachTag(row, &modelTags{w, 8})
	w.logs(row)
	w.process(row)
	for _, warning := range w.warnings {
		w.buf = appendBytes(w.buf, 12, warning)
	}
	w.buf = closeField(w.buf, at)
}

func (w *modelWriter) logs(row int) {
	w.readEvents(row)
	for i := range w.events {
		e := &w.events[i]
		dst, at := openField(w.buf, 9)
		w.buf = appendTime(dst, 1, int64(min(e.Time, math.MaxInt64)), false)
		fields := modelTags{w, 2}
		if named := w.readEvent(e); e.Name.Len > 0 && !named {
			fields.text(fieldEvent, w.b.Bytes(e.Name))
		}
		fields.attrs(w.tidied(w.attrs))
		w.buf = closeField(w.buf, at)
	}
}

func (w *modelWriter) process(row int) {
	key := processKey{w.b.Service[row], w.b.Resource[row]}
	if text, ok := w.processes[key]; ok && len(w.moved) == 0 {
		w.buf = append(w.buf, text...)
		return
	}
	start := len(w.buf)
	dst, at := openField(w.buf, 10)
	w.buf = appendBytes(dst, 1, w.serviceOf(row))
	tags := modelTags{w, 2}
	tags.attrs(w.processAttrs(row))
	w.buf = closeField(w.buf, at)
	if len(w.moved) == 0 {
		w.processes[key] = append([]byte(nil), w.buf[start:]...)
	}
}

// modelTags appends KeyValues under a field's number.
type modelTags struct {
	w   *modelWriter
	num protowire.Number
}

func (l *modelTags) text(key string, value []byte) {
	dst, at := openField(l.w.buf, l.num)
	l.w.buf = closeField(appendText(appendText(dst, 1, key), 3, value), at)
}

func (l *modelTags) isTrue(key string) {
	dst, at := openField(l.w.buf, l.num)
	dst = appendVarint(appendText(dst, 1, key), 2, modelBool)
	l.w.buf = closeField(appendVarint(dst, 4, 1), at)
}

func (l *modelTags) attrs(attrs []span.Attr) {
	for _, a := range attrs {
		l.attr(a)
	}
}

func (l *modelTags) attr(a span.Attr) {
	w, v := l.w, a.Value()
	dst, at := openField(w.buf, l.num)
	dst = appendText(dst, 1, w.b.Key(a))
	switch ip, packed := packedAddress(v); {
	case packed && w.keys[a.Key].special == keyAddress && !w.raw:
		dst = appendText(dst, 3, ip.String())
	case v.Type == span.TypeString:
		dst = appendText(dst, 3, w.b.Bytes(v.Str()))
	case v.Type == span.TypeBool:
		dst = appendVarint(dst, 2, modelBool)
		if v.Bool() {
			dst = appendVarint(dst, 4, 1)
		}
	case v.Type == span.TypeInt:
		dst = appendVarint(appendVarint(dst, 2, modelInt64), 5, uint64(v.Int()))
	case v.Type == span.TypeDouble:
		dst = protowire.AppendTag(appendVarint(dst, 2, modelFloat64), 6, protowire.Fixed64Type)
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Double()))
	case v.Type == span.TypeBytes:
		dst = appendText(appendVarint(dst, 2, modelBinary), 7, w.b.Bytes(v.Str()))
	case v.Type == span.TypeNull:
	default:
		dst = appendText(dst, 3, validUTF8(otlpjson.AppendValue(nil, w.b, v)))
	}
	w.buf = closeField(dst, at)
}

// validUTF8 replaces what protobuf's decoders refuse in a string.
func validUTF8(p []byte) []byte {
	if utf8.Valid(p) {
		return p
	}
	return []byte(string([]rune(string(p))))
}
