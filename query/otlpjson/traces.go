// Package otlpjson writes spans as OTLP JSON (TracesData) and attribute values as plain JSON. It appends to the caller's
// bytes straight from a batch's columns: no reflection and no object per span.
//
// OTLP JSON is not protobuf's JSON: ids are hexadecimal, enums are numbers, 64-bit integers are strings, bytes are base64.
// Fields with zero values are left out. Text that is not UTF-8 is written with U+FFFD in place of the bad bytes.
package otlpjson

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/spanloom/spanloom/span"
)

// AppendTracesData appends rows of a batch, all if rows is nil, as an object {"resourceSpans":[…]}.
func AppendTracesData(dst []byte, b *span.Batch, rows []int32) []byte {
	dst = append(dst, `{"resourceSpans":`...)
	return append(AppendResourceSpans(dst, b, rows), '}')
}

// AppendResourceSpans appends the list of ResourceSpans alone. Rows of one resource and scope are put together; resources,
// the scopes of each and the spans of each stand in the order of their first row.
//
// Cost: one pass, and an index where the rows do not lie together yet.
func AppendResourceSpans(dst []byte, b *span.Batch, rows []int32) []byte {
	if rows == nil {
		rows = allRows(b)
	}
	rows = grouped(b, rows)
	dst = append(dst, '[')
	for i := 0; i < len(rows); {
		if i > 0 {
			dst = append(dst, ',')
		}
		resource := b.Resource[rows[i]]
		r := b.Resources[resource]
		dst = appendResource(append(dst, `{"resource":`...), b, r)
		dst = append(dst, `,"scopeSpans":[`...)
		for first := i; i < len(rows) && b.Resource[rows[i]] == resource; {
			if i > first {
				dst = append(dst, ',')
			}
			scope := b.Scope[rows[i]]
			s := b.Scopes[scope]
			dst = appendScope(append(dst, `{"scope":`...), b, s)
			dst = append(dst, `,"spans":[`...)
			for first := i; i < len(rows) && b.Resource[rows[i]] == resource && b.Scope[rows[i]] == scope; i++ {
				if i > first {
					dst = append(dst, ',')
				}
				dst = AppendSpan(dst, b, int(rows[i]))
			}
			dst = append(dst, ']')
			dst = append(appendText(dst, b, "schemaUrl", s.SchemaURL), '}')
		}
		dst = append(dst, ']')
		dst = append(appendText(dst, b, "schemaUrl", r.SchemaURL), '}')
	}
	return append(dst, ']')
}

func allRows(b *span.Batch) []int32 {
	rows := make([]int32, b.Len())
	for i := range rows {
		rows[i] = int32(i)
	}
	return rows
}

// grouped puts rows of one resource and scope together, groups by their first row.
func grouped(b *span.Batch, rows []int32) []int32 {
	resources, scopes := make([]int32, len(b.Resources)), make([]int32, len(b.Scopes)) // 1 + place of the first row
	compare := func(x, y int32) int {
		return cmp.Or(cmp.Compare(resources[b.Resource[x]], resources[b.Resource[y]]), cmp.Compare(scopes[b.Scope[x]], scopes[b.Scope[y]]))
	}
	sorted := true
	for i, row := range rows {
		if r := &resources[b.Resource[row]]; *r == 0 {
			*r = int32(i) + 1
		}
		if s := &scopes[b.Scope[row]]; *s == 0 {
			*s = int32(i) + 1
		}
		sorted = sorted && (i == 0 || compare(rows[i-1], row) <= 0)
	}
	if sorted {
		return rows
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, compare)
	return rows
}

// AppendSpan appends one row as a Span object, without its resource and scope.
func AppendSpan(dst []byte, b *span.Batch, row int) []byte {
	dst = hex.AppendEncode(append(dst, `{"traceId":"`...), b.TraceID[row][:])
	dst = hex.AppendEncode(append(dst, `","spanId":"`...), b.SpanID[row][:])
	dst = append(dst, '"')
	dst = appendText(dst, b, "traceState", b.TraceState[row])
	if p := b.Parent[row]; !p.IsZero() {
		dst = hex.AppendEncode(append(dst, `,"parentSpanId":"`...), p[:])
		dst = append(dst, '"')
	}
	dst = appendNumber(dst, "flags", b.Flags[row])
	dst = appendText(dst, b, "name", b.Name[row])
	dst = appendNumber(dst, "kind", uint32(b.Kind[row]))
	dst = appendInstant(dst, "startTimeUnixNano", b.Start[row])
	dst = appendInstant(dst, "endTimeUnixNano", b.End[row])
	dst = appendAttrs(dst, b, b.SpanAttrs[row])
	dst = appendNumber(dst, "droppedAttributesCount", b.DroppedAttrs[row])
	for i, e := range b.EventsOf(row) {
		dst = openItem(dst, "events", i)
		dst = appendInstant(dst, "timeUnixNano", e.Time)
		dst = appendText(dst, b, "name", e.Name)
		dst = appendAttrs(dst, b, e.Attrs)
		dst = append(appendNumber(dst, "droppedAttributesCount", e.Dropped), '}')
	}
	dst = closeList(dst, b.SpanEvents[row])
	dst = appendNumber(dst, "droppedEventsCount", b.DroppedEvents[row])
	for i, l := range b.LinksOf(row) {
		dst = openItem(dst, "links", i)
		if !l.TraceID.IsZero() {
			dst = hex.AppendEncode(appendName(dst, "traceId"), l.TraceID[:])
			dst = append(dst, '"')
		}
		if !l.SpanID.IsZero() {
			dst = hex.AppendEncode(appendName(dst, "spanId"), l.SpanID[:])
			dst = append(dst, '"')
		}
		dst = appendText(dst, b, "traceState", l.TraceState)
		dst = appendAttrs(dst, b, l.Attrs)
		dst = appendNumber(dst, "droppedAttributesCount", l.Dropped)
		dst = append(appendNumber(dst, "flags", l.Flags), '}')
	}
	dst = closeList(dst, b.SpanLinks[row])
	dst = appendNumber(dst, "droppedLinksCount", b.DroppedLinks[row])
	if b.Status[row] != span.StatusUnset || b.StatusMessage[row].Len > 0 {
		dst = append(appendKey(dst, "status"), '{')
		dst = appendText(dst, b, "message", b.StatusMessage[row])
		dst = append(appendNumber(dst, "code", uint32(b.Status[row])), '}')
	}
	return append(dst, '}')
}

func appendResource(dst []byte, b *span.Batch, r span.Resource) []byte {
	dst = appendAttrs(append(dst, '{'), b, r.Attrs)
	return append(appendNumber(dst, "droppedAttributesCount", r.Dropped), '}')
}

func appendScope(dst []byte, b *span.Batch, s span.Scope) []byte {
	dst = appendText(append(dst, '{'), b, "name", s.Name)
	dst = appendText(dst, b, "version", s.Version)
	dst = appendAttrs(dst, b, s.Attrs)
	return append(appendNumber(dst, "droppedAttributesCount", s.Dropped), '}')
}

func appendAttrs(dst []byte, b *span.Batch, r span.Range) []byte {
	for i, a := range b.AttrsOf(r) {
		dst = openItem(dst, "attributes", i)
		dst = AppendQuoted(appendKey(dst, "key"), b.Key(a))
		dst = append(AppendAnyValue(appendKey(dst, "value"), b, a.Value()), '}')
	}
	return closeList(dst, r)
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

// closeList ends what openItem began; an empty list was never begun.
func closeList(dst []byte, r span.Range) []byte {
	if r.Len == 0 {
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

// appendName is appendKey with the quote of a text that follows.
func appendName(dst []byte, name string) []byte { return append(appendKey(dst, name), '"') }

func appendText(dst []byte, b *span.Batch, name string, s span.Str) []byte {
	if s.Len == 0 {
		return dst
	}
	return AppendQuoted(appendKey(dst, name), b.Bytes(s))
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
	return append(strconv.AppendUint(appendName(dst, name), v, 10), '"')
}
