package tempoapi

import (
	"encoding/base64"
	"strconv"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
)

// proto3's words of OTLP's enumerations, by number.
var (
	kindNames   = [...]string{"", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER"}
	statusNames = [...]string{"", "STATUS_CODE_OK", "STATUS_CODE_ERROR"}
)

// json writes the trace as a list of ResourceSpans in proto3's JSON. It differs from OTLP's own (otlpjson): ids are base64, which
// Kiali turns into hexadecimal, and enumerations are words.
func (w *traceWriter) json() {
	w.out.buf = append(w.out.buf, '[')
	for i := range w.groups {
		if i > 0 {
			w.out.buf = append(w.out.buf, ',')
		}
		w.out.buf = w.appendGroupJSON(w.out.buf, &w.groups[i])
		if !w.out.spill() {
			return
		}
	}
	w.out.buf = append(w.out.buf, ']')
}

// appendTraceStatusJSON appends metrics, status and message of a TraceByIDResponse.
func appendTraceStatusJSON(dst []byte, inspected uint64, t *query.Trace) []byte {
	dst = append(dst, `,"metrics":{`...)
	dst = append(appendInstant(dst, "inspectedBytes", inspected), '}')
	if !t.Complete {
		dst = otlpjson.AppendQuoted(append(dst, `,"status":"PARTIAL","message":`...), t.Reason)
	}
	return dst
}

func (w *traceWriter) appendGroupJSON(dst []byte, g *group) []byte {
	b := w.b
	r, s := &b.Resources[g.resource], &b.Scopes[g.scope]
	attrs, service := w.resource(g)
	dst = append(dst, `{"resource":{`...)
	dst = appendAttrsJSON(dst, b, attrs, service)
	dst = append(appendNumber(dst, "droppedAttributesCount", r.Dropped), `},"scopeSpans":[{"scope":{`...)
	dst = appendTextJSON(dst, b, "name", s.Name)
	dst = appendTextJSON(dst, b, "version", s.Version)
	dst = appendAttrsJSON(dst, b, b.AttrsOf(s.Attrs), nil)
	dst = append(appendNumber(dst, "droppedAttributesCount", s.Dropped), `},"spans":[`...)
	for i, row := range g.rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = w.appendSpanJSON(dst, row)
	}
	dst = append(dst, ']')
	dst = append(appendTextJSON(dst, b, "schemaUrl", s.SchemaURL), "}]"...)
	return append(appendTextJSON(dst, b, "schemaUrl", r.SchemaURL), '}')
}

func (w *traceWriter) appendSpanJSON(dst []byte, row int32) []byte {
	b, r := w.b, &w.t.Rows[row]
	i := int(r.Span)
	id := w.idOf(row)
	dst = appendID(append(dst, '{'), "traceId", w.t.ID[:])
	dst = appendID(dst, "spanId", id[:])
	dst = appendTextJSON(dst, b, "traceState", b.TraceState[i])
	if p := w.parentOf(row); !p.IsZero() {
		dst = appendID(dst, "parentSpanId", p[:])
	}
	dst = appendNumber(dst, "flags", b.Flags[i])
	dst = otlpjson.AppendQuoted(appendKey(dst, "name"), w.t.Names[r.Name])
	if int(r.Kind) < len(kindNames) {
		dst = appendWord(dst, "kind", kindNames[r.Kind])
	}
	dst = appendInstant(dst, "startTimeUnixNano", uint64(r.Start))
	dst = appendInstant(dst, "endTimeUnixNano", uint64(r.End()))
	dst = appendAttrsJSON(dst, b, b.AttrsOf(b.SpanAttrs[i]), nil)
	dst = appendNumber(dst, "droppedAttributesCount", b.DroppedAttrs[i])
	for n, e := range b.EventsOf(i) {
		dst = openItem(dst, "events", n)
		dst = appendInstant(dst, "timeUnixNano", e.Time)
		dst = appendTextJSON(dst, b, "name", e.Name)
		dst = appendAttrsJSON(dst, b, b.AttrsOf(e.Attrs), nil)
		dst = append(appendNumber(dst, "droppedAttributesCount", e.Dropped), '}')
	}
	dst = closeList(dst, int(b.SpanEvents[i].Len))
	dst = appendNumber(dst, "droppedEventsCount", b.DroppedEvents[i])
	for n, l := range b.LinksOf(i) {
		dst = openItem(dst, "links", n)
		dst = appendID(dst, "traceId", l.TraceID[:])
		dst = appendID(dst, "spanId", l.SpanID[:])
		dst = appendTextJSON(dst, b, "traceState", l.TraceState)
		dst = appendAttrsJSON(dst, b, b.AttrsOf(l.Attrs), nil)
		dst = appendNumber(dst, "droppedAttributesCount", l.Dropped)
		dst = append(appendNumber(dst, "flags", l.Flags), '}')
	}
	dst = closeList(dst, int(b.SpanLinks[i].Len))
	dst = appendNumber(dst, "droppedLinksCount", b.DroppedLinks[i])
	dst = append(appendKey(dst, "status"), '{') // always there: Kiali reads its code
	dst = appendTextJSON(dst, b, "message", b.StatusMessage[i])
	if int(b.Status[i]) < len(statusNames) {
		dst = appendWord(dst, "code", statusNames[b.Status[i]])
	}
	return append(dst, "}}"...)
}

// appendAttrsJSON appends a list of attributes, before them the service where it is given.
func appendAttrsJSON(dst []byte, b *span.Batch, attrs []span.Attr, service []byte) []byte {
	n := 0
	if service != nil {
		dst = otlpjson.AppendQuoted(append(openItem(dst, "attributes", n), `"key":"`+serviceKey+`","value":{"stringValue":`...), service)
		dst = append(dst, "}}"...)
		n++
	}
	for _, a := range attrs {
		dst = openItem(dst, "attributes", n)
		dst = otlpjson.AppendQuoted(appendKey(dst, "key"), b.Key(a))
		dst = append(otlpjson.AppendAnyValue(appendKey(dst, "value"), b, a.Value()), '}')
		n++
	}
	return closeList(dst, n)
}

// openItem begins an object of a list, with the first one the list itself.
func openItem(dst []byte, name string, i int) []byte {
	if i == 0 {
		dst = append(appendKey(dst, name), '[')
	} else {
		dst = append(dst, ',')
	}
	return append(dst, '{')
}

// closeList ends what openItem began; a list of nothing was never begun.
func closeList(dst []byte, n int) []byte {
	if n == 0 {
		return dst
	}
	return append(dst, ']')
}

// appendKey appends a member's name, with a comma unless the object has just begun.
func appendKey(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(append(append(dst, '"'), name...), `":`...)
}

func appendID(dst []byte, name string, id []byte) []byte {
	dst = append(appendKey(dst, name), '"')
	return append(base64.StdEncoding.AppendEncode(dst, id), '"')
}

// The members below are left out where they are empty or zero.

func appendWord(dst []byte, name, word string) []byte {
	if word == "" {
		return dst
	}
	return append(append(append(appendKey(dst, name), '"'), word...), '"')
}

func appendTextJSON(dst []byte, b *span.Batch, name string, s span.Str) []byte {
	if s.Len == 0 {
		return dst
	}
	return otlpjson.AppendQuoted(appendKey(dst, name), b.Bytes(s))
}

func appendNumber(dst []byte, name string, v uint32) []byte {
	if v == 0 {
		return dst
	}
	return strconv.AppendUint(appendKey(dst, name), uint64(v), 10)
}

func appendInstant(dst []byte, name string, v uint64) []byte {
	if v == 0 {
		return dst
	}
	dst = append(appendKey(dst, name), '"')
	return append(strconv.AppendUint(dst, v, 10), '"')
}
