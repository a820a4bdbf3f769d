package tempoapi

import (
	"bytes"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
)

// The field numbers of OTLP that are used below; those of a message stand together.
const (
	traceResourceSpans = 1

	resourceSpansResource = 1
	resourceSpansScopes   = 2
	resourceSpansSchema   = 3

	resourceAttributes = 1
	resourceDropped    = 2

	scopeSpansScope  = 1
	scopeSpansSpans  = 2
	scopeSpansSchema = 3

	scopeName       = 1
	scopeVersion    = 2
	scopeAttributes = 3
	scopeDropped    = 4

	spanTraceID       = 1
	spanSpanID        = 2
	spanTraceState    = 3
	spanParent        = 4
	spanName          = 5
	spanKind          = 6
	spanStart         = 7
	spanEnd           = 8
	spanAttributes    = 9
	spanDropped       = 10
	spanEvents        = 11
	spanDroppedEvents = 12
	spanLinks         = 13
	spanDroppedLinks  = 14
	spanStatus        = 15
	spanFlags         = 16

	eventTime       = 1
	eventName       = 2
	eventAttributes = 3
	eventDropped    = 4

	linkTraceID    = 1
	linkSpanID     = 2
	linkTraceState = 3
	linkAttributes = 4
	linkDropped    = 5
	linkFlags      = 6

	statusMessage = 2
	statusCode    = 3

	attrKey   = 1
	attrValue = 2

	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
	anyArray  = 5
	anyKVList = 6
	anyBytes  = 7
)

// protobuf writes the trace as an OTLP TracesData, which is Tempo's Trace.
func (w *traceWriter) protobuf() {
	for i := range w.groups {
		w.out.buf = w.appendGroup(w.out.buf, &w.groups[i])
		if !w.out.spill() {
			return
		}
	}
}

// protobufSize is the bytes that protobuf will write. It costs as much as writing them.
func (w *traceWriter) protobufSize() (size int) {
	var buf []byte
	for i := range w.groups {
		buf = w.appendGroup(buf[:0], &w.groups[i])
		size += len(buf)
	}
	return size
}

// appendTraceStatus appends metrics, status and message of a TraceByIDResponse.
func appendTraceStatus(dst []byte, inspected uint64, t *query.Trace) []byte {
	dst, at := openMessage(dst, 2)
	dst = closeMessage(appendUint(dst, 1, inspected), at)
	if !t.Complete {
		dst = appendText(appendUint(dst, 3, 1), 4, []byte(t.Reason))
	}
	return dst
}

func (w *traceWriter) appendGroup(dst []byte, g *group) []byte {
	b := w.b
	dst, outer := openMessage(dst, traceResourceSpans)

	dst, at := openMessage(dst, resourceSpansResource)
	attrs, service := w.resource(g)
	if service != nil {
		dst = appendTextAttr(dst, resourceAttributes, serviceKey, service)
	}
	dst = appendAttrs(dst, resourceAttributes, b, attrs)
	dst = appendUint(dst, resourceDropped, uint64(b.Resources[g.resource].Dropped))
	dst = closeMessage(dst, at)

	dst, inner := openMessage(dst, resourceSpansScopes)
	s := &b.Scopes[g.scope]
	dst, at = openMessage(dst, scopeSpansScope)
	dst = appendText(dst, scopeName, b.Bytes(s.Name))
	dst = appendText(dst, scopeVersion, b.Bytes(s.Version))
	dst = appendAttrs(dst, scopeAttributes, b, b.AttrsOf(s.Attrs))
	dst = appendUint(dst, scopeDropped, uint64(s.Dropped))
	dst = closeMessage(dst, at)
	for _, row := range g.rows {
		dst, at = openMessage(dst, scopeSpansSpans)
		dst = closeMessage(w.appendSpan(dst, row), at)
	}
	dst = appendText(dst, scopeSpansSchema, b.Bytes(s.SchemaURL))
	dst = closeMessage(dst, inner)

	dst = appendText(dst, resourceSpansSchema, b.Bytes(b.Resources[g.resource].SchemaURL))
	return closeMessage(dst, outer)
}

// appendSpan appends the fields of a span. Its times are the effective ones: an end before the start makes viewers draw
// centuries.
func (w *traceWriter) appendSpan(dst []byte, row int32) []byte {
	b, r := w.b, &w.t.Rows[row]
	i := int(r.Span)
	id := w.idOf(row)
	dst = appendBytes(dst, spanTraceID, w.t.ID[:])
	dst = appendBytes(dst, spanSpanID, id[:])
	dst = appendText(dst, spanTraceState, b.Bytes(b.TraceState[i]))
	if p := w.parentOf(row); !p.IsZero() {
		dst = appendBytes(dst, spanParent, p[:])
	}
	dst = appendText(dst, spanName, []byte(w.t.Names[r.Name]))
	if r.Kind <= span.KindConsumer {
		dst = appendUint(dst, spanKind, uint64(r.Kind))
	}
	dst = appendFixed(dst, spanStart, uint64(r.Start))
	dst = appendFixed(dst, spanEnd, uint64(r.End()))
	dst = appendAttrs(dst, spanAttributes, b, b.AttrsOf(b.SpanAttrs[i]))
	dst = appendUint(dst, spanDropped, uint64(b.DroppedAttrs[i]))
	for _, e := range b.EventsOf(i) {
		var at int
		dst, at = openMessage(dst, spanEvents)
		dst = appendFixed(dst, eventTime, e.Time)
		dst = appendText(dst, eventName, b.Bytes(e.Name))
		dst = appendAttrs(dst, eventAttributes, b, b.AttrsOf(e.Attrs))
		dst = closeMessage(appendUint(dst, eventDropped, uint64(e.Dropped)), at)
	}
	dst = appendUint(dst, spanDroppedEvents, uint64(b.DroppedEvents[i]))
	for _, l := range b.LinksOf(i) {
		var at int
		dst, at = openMessage(dst, spanLinks)
		dst = appendBytes(dst, linkTraceID, l.TraceID[:])
		dst = appendBytes(dst, linkSpanID, l.SpanID[:])
		dst = appendText(dst, linkTraceState, b.Bytes(l.TraceState))
		dst = appendAttrs(dst, linkAttributes, b, b.AttrsOf(l.Attrs))
		dst = appendUint(dst, linkDropped, uint64(l.Dropped))
		dst = closeMessage(appendFixed32(dst, linkFlags, l.Flags), at)
	}
	dst = appendUint(dst, spanDroppedLinks, uint64(b.DroppedLinks[i]))
	dst, at := openMessage(dst, spanStatus)
	dst = appendText(dst, statusMessage, b.Bytes(b.StatusMessage[i]))
	dst = closeMessage(appendUint(dst, statusCode, uint64(b.Status[i])), at)
	return appendFixed32(dst, spanFlags, b.Flags[i])
}

func appendAttrs(dst []byte, field protowire.Number, b *span.Batch, attrs []span.Attr) []byte {
	for _, a := range attrs {
		var at, value int
		dst, at = openMessage(dst, field)
		dst = appendText(dst, attrKey, b.Key(a))
		dst, value = openMessage(dst, attrValue)
		dst = appendAny(dst, b, a.Value())
		dst = closeMessage(closeMessage(dst, value), at)
	}
	return dst
}

func appendTextAttr(dst []byte, field protowire.Number, key string, value []byte) []byte {
	dst, at := openMessage(dst, field)
	dst = appendText(dst, attrKey, []byte(key))
	dst, inner := openMessage(dst, attrValue)
	dst = appendText(dst, anyString, value)
	return closeMessage(closeMessage(dst, inner), at)
}

// appendAny appends the one member of an AnyValue, zero or not: an empty text is not an absent one.
func appendAny(dst []byte, b *span.Batch, v span.Value) []byte {
	switch v.Type {
	case span.TypeString:
		return protowire.AppendBytes(protowire.AppendTag(dst, anyString, protowire.BytesType), valid(b.Bytes(v.Str())))
	case span.TypeBool:
		return protowire.AppendVarint(protowire.AppendTag(dst, anyBool, protowire.VarintType), v.Bits)
	case span.TypeInt:
		return protowire.AppendVarint(protowire.AppendTag(dst, anyInt, protowire.VarintType), v.Bits)
	case span.TypeDouble:
		return protowire.AppendFixed64(protowire.AppendTag(dst, anyDouble, protowire.Fixed64Type), v.Bits)
	case span.TypeBytes:
		return protowire.AppendBytes(protowire.AppendTag(dst, anyBytes, protowire.BytesType), b.Bytes(v.Str()))
	case span.TypeStrings, span.TypeInts, span.TypeDoubles, span.TypeBools, span.TypeArray:
		return protowire.AppendBytes(protowire.AppendTag(dst, anyArray, protowire.BytesType), b.Bytes(v.Str()))
	case span.TypeKVList:
		return protowire.AppendBytes(protowire.AppendTag(dst, anyKVList, protowire.BytesType), b.Bytes(v.Str()))
	default:
		return dst
	}
}

// openMessage begins an embedded message of unknown length; closeMessage ends it.
func openMessage(dst []byte, field protowire.Number) ([]byte, int) {
	dst = append(protowire.AppendTag(dst, field, protowire.BytesType), 0)
	return dst, len(dst)
}

// closeMessage writes the length before what was appended since at, moving it where one byte is too little.
func closeMessage(dst []byte, at int) []byte {
	n := len(dst) - at
	more := protowire.SizeVarint(uint64(n)) - 1
	if more > 0 {
		dst = append(dst, make([]byte, more)...)
		copy(dst[at+more:], dst[at:at+n])
	}
	protowire.AppendVarint(dst[:at-1], uint64(n))
	return dst
}

// The fields below are left out where they are zero.

func appendUint(dst []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), v)
}

func appendFixed(dst []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendFixed64(protowire.AppendTag(dst, field, protowire.Fixed64Type), v)
}

func appendFixed32(dst []byte, field protowire.Number, v uint32) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendFixed32(protowire.AppendTag(dst, field, protowire.Fixed32Type), v)
}

func appendBytes(dst []byte, field protowire.Number, p []byte) []byte {
	if len(p) == 0 {
		return dst
	}
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), p)
}

func appendText(dst []byte, field protowire.Number, p []byte) []byte {
	return appendBytes(dst, field, valid(p))
}

// valid is text as protobuf allows it: bytes that are not UTF-8 become U+FFFD.
func valid(p []byte) []byte {
	if utf8.Valid(p) {
		return p
	}
	return bytes.ToValidUTF8(p, []byte("\uFFFD"))
}
