package load

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/spanloom/spanloom/span"
)

// appendRequestJSON appends an ExportTraceServiceRequest in OTLP's JSON form: hex ids, integer enums, 64-bit integers as
// strings. Rows are grouped by resource and scope. Generated spans hold scalar attributes and no links; other values are
// written as null.
func appendRequestJSON(dst []byte, b *span.Batch) []byte {
	dst = append(dst, `{"resourceSpans":[`...)
	done := make([]bool, b.Len())
	first := true
	for row := range b.Len() {
		if done[row] {
			continue
		}
		dst = comma(dst, &first)
		dst = appendResourceSpans(dst, b, row, done)
	}
	return append(dst, `]}`...)
}

// appendResourceSpans writes the rows from row on that share its resource and scope, and marks them done.
func appendResourceSpans(dst []byte, b *span.Batch, row int, done []bool) []byte {
	r, s := b.Resources[b.Resource[row]], b.Scopes[b.Scope[row]]
	dst = append(dst, `{"resource":{"attributes":`...)
	dst = appendAttrs(dst, b, r.Attrs)
	dst = append(dst, `},"scopeSpans":[{"scope":{"name":`...)
	dst = appendText(dst, b.Bytes(s.Name))
	dst = append(dst, `,"version":`...)
	dst = appendText(dst, b.Bytes(s.Version))
	dst = append(dst, `},"spans":[`...)
	first := true
	for i := row; i < b.Len(); i++ {
		if b.Resource[i] != b.Resource[row] || b.Scope[i] != b.Scope[row] {
			continue
		}
		done[i] = true
		dst = comma(dst, &first)
		dst = appendSpan(dst, b, i)
	}
	return append(dst, `]}]}`...)
}

func appendSpan(dst []byte, b *span.Batch, i int) []byte {
	dst = append(dst, `{"traceId":"`...)
	dst = hex.AppendEncode(dst, b.TraceID[i][:])
	dst = append(dst, `","spanId":"`...)
	dst = hex.AppendEncode(dst, b.SpanID[i][:])
	if !b.Parent[i].IsZero() {
		dst = append(dst, `","parentSpanId":"`...)
		dst = hex.AppendEncode(dst, b.Parent[i][:])
	}
	dst = append(dst, `","flags":`...)
	dst = strconv.AppendUint(dst, uint64(b.Flags[i]), 10)
	dst = append(dst, `,"name":`...)
	dst = appendText(dst, b.Bytes(b.Name[i]))
	dst = append(dst, `,"kind":`...)
	dst = strconv.AppendUint(dst, uint64(b.Kind[i]), 10)
	dst = append(dst, `,"startTimeUnixNano":"`...)
	dst = strconv.AppendUint(dst, b.Start[i], 10)
	dst = append(dst, `","endTimeUnixNano":"`...)
	dst = strconv.AppendUint(dst, b.End[i], 10)
	dst = append(dst, `","attributes":`...)
	dst = appendAttrs(dst, b, b.SpanAttrs[i])
	if events := b.EventsOf(i); len(events) > 0 {
		dst = append(dst, `,"events":[`...)
		first := true
		for _, e := range events {
			dst = comma(dst, &first)
			dst = append(dst, `{"timeUnixNano":"`...)
			dst = strconv.AppendUint(dst, e.Time, 10)
			dst = append(dst, `","name":`...)
			dst = appendText(dst, b.Bytes(e.Name))
			dst = append(dst, `,"attributes":`...)
			dst = append(appendAttrs(dst, b, e.Attrs), '}')
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"status":{`...)
	if b.Status[i] != span.StatusUnset {
		dst = append(dst, `"code":`...)
		dst = strconv.AppendUint(dst, uint64(b.Status[i]), 10)
		if m := b.StatusMessage[i]; m.Len > 0 {
			dst = append(dst, `,"message":`...)
			dst = appendText(dst, b.Bytes(m))
		}
	}
	return append(dst, `}}`...)
}

func appendAttrs(dst []byte, b *span.Batch, r span.Range) []byte {
	dst = append(dst, '[')
	first := true
	for _, a := range b.AttrsOf(r) {
		dst = comma(dst, &first)
		dst = append(dst, `{"key":`...)
		dst = appendText(dst, b.Key(a))
		dst = append(dst, `,"value":{`...)
		dst = appendValue(dst, b, a.Value())
		dst = append(dst, `}}`...)
	}
	return append(dst, ']')
}

func appendValue(dst []byte, b *span.Batch, v span.Value) []byte {
	switch v.Type {
	case span.TypeString:
		return appendText(append(dst, `"stringValue":`...), b.Bytes(v.Str()))
	case span.TypeInt:
		dst = append(dst, `"intValue":"`...)
		return append(strconv.AppendInt(dst, v.Int(), 10), '"')
	case span.TypeBool:
		return strconv.AppendBool(append(dst, `"boolValue":`...), v.Bool())
	case span.TypeDouble:
		dst = append(dst, `"doubleValue":`...)
		switch f := v.Double(); {
		case math.IsNaN(f):
			return append(dst, `"NaN"`...)
		case math.IsInf(f, 1):
			return append(dst, `"Infinity"`...)
		case math.IsInf(f, -1):
			return append(dst, `"-Infinity"`...)
		default:
			return strconv.AppendFloat(dst, f, 'g', -1, 64)
		}
	case span.TypeBytes:
		dst = append(dst, `"bytesValue":"`...)
		return append(base64.StdEncoding.AppendEncode(dst, b.Bytes(v.Str())), '"')
	default:
		return dst
	}
}

func comma(dst []byte, first *bool) []byte {
	if *first {
		*first = false
		return dst
	}
	return append(dst, ',')
}

// appendText is a JSON string; what is not UTF-8 becomes the replacement character.
func appendText(dst, p []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for len(p) > 0 {
		c := p[0]
		switch {
		case c == '"' || c == '\\':
			dst, p = append(dst, '\\', c), p[1:]
		case c < ' ':
			dst, p = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15]), p[1:]
		case c < utf8.RuneSelf:
			dst, p = append(dst, c), p[1:]
		default:
			r, n := utf8.DecodeRune(p)
			dst, p = utf8.AppendRune(dst, r), p[n:]
		}
	}
	return append(dst, '"')
}
