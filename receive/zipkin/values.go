package zipkin

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/spanloom/spanloom/span"
)

// appendValueText writes an attribute's value as the text of a tag: strings as they are, lists and maps as JSON.
func appendValueText(dst []byte, b *span.Batch, v span.Value) []byte {
	switch v.Type {
	case span.TypeString:
		return append(dst, b.Bytes(v.Str())...)
	case span.TypeBytes:
		return base64.StdEncoding.AppendEncode(dst, b.Bytes(v.Str()))
	case span.TypeDouble:
		return strconv.AppendFloat(dst, v.Double(), 'g', -1, 64)
	case span.TypeNull:
		return dst
	}
	return appendValueJSON(dst, b, v)
}

// appendValueJSON writes a value as JSON: bytes as base64, numbers that JSON has no form for as strings.
func appendValueJSON(dst []byte, b *span.Batch, v span.Value) []byte {
	switch v.Type {
	case span.TypeString:
		return appendQuoted(dst, b.Bytes(v.Str()))
	case span.TypeInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case span.TypeDouble:
		return appendFloatJSON(dst, v.Double())
	case span.TypeBool:
		return strconv.AppendBool(dst, v.Bool())
	case span.TypeBytes:
		return appendBytesJSON(dst, b.Bytes(v.Str()))
	case span.TypeStrings, span.TypeInts, span.TypeDoubles, span.TypeBools, span.TypeArray:
		return appendArrayJSON(dst, b.Bytes(v.Str()), 0)
	case span.TypeKVList:
		return appendMapJSON(dst, b.Bytes(v.Str()), 0)
	}
	return append(dst, "null"...)
}

// appendAttrsJSON writes attributes as an object.
func appendAttrsJSON(dst []byte, b *span.Batch, r span.Range) []byte {
	dst = append(dst, '{')
	for i, a := range b.AttrsOf(r) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, b.Key(a)), ':')
		dst = appendValueJSON(dst, b, a.Value())
	}
	return append(dst, '}')
}

func appendFloatJSON(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		dst = append(dst, '"')
		dst = strconv.AppendFloat(dst, f, 'g', -1, 64)
		return append(dst, '"')
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'g', -1, 64)
	for _, c := range dst[start:] {
		if c == '.' || c == 'e' {
			return dst
		}
	}
	return append(dst, ".0"...) // a double reads back as one
}

func appendBytesJSON(dst, p []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, p)
	return append(dst, '"')
}

// maxValueDepth is how deep a list or map is followed; what is below reads null.
const maxValueDepth = 32

// appendArrayJSON writes an OTLP ArrayValue.
func appendArrayJSON(dst, p []byte, depth int) []byte {
	dst = append(dst, '[')
	m, first := protoMessage{p: p}, true
	for m.next() {
		if m.field != 1 || m.wire != wireBytes {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		dst, first = appendAnyJSON(dst, m.bytes, depth+1), false
	}
	return append(dst, ']')
}

// appendMapJSON writes an OTLP KeyValueList.
func appendMapJSON(dst, p []byte, depth int) []byte {
	dst = append(dst, '{')
	m, first := protoMessage{p: p}, true
	for m.next() {
		if m.field != 1 || m.wire != wireBytes {
			continue
		}
		var key, value []byte
		for kv := (protoMessage{p: m.bytes}); kv.next(); {
			switch {
			case kv.field == 1 && kv.wire == wireBytes:
				key = kv.bytes
			case kv.field == 2 && kv.wire == wireBytes:
				value = kv.bytes
			}
		}
		if !first {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, key), ':')
		dst, first = appendAnyJSON(dst, value, depth+1), false
	}
	return append(dst, '}')
}

// appendAnyJSON writes an OTLP AnyValue; an empty one is null.
func appendAnyJSON(dst, p []byte, depth int) []byte {
	m := protoMessage{p: p}
	if depth > maxValueDepth || !m.next() {
		return append(dst, "null"...)
	}
	switch {
	case m.field == 1 && m.wire == wireBytes:
		return appendQuoted(dst, m.bytes)
	case m.field == 2 && m.wire == wireVarint:
		return strconv.AppendBool(dst, m.number != 0)
	case m.field == 3 && m.wire == wireVarint:
		return strconv.AppendInt(dst, int64(m.number), 10)
	case m.field == 4 && m.wire == wireFixed8:
		return appendFloatJSON(dst, math.Float64frombits(m.number))
	case m.field == 5 && m.wire == wireBytes:
		return appendArrayJSON(dst, m.bytes, depth)
	case m.field == 6 && m.wire == wireBytes:
		return appendMapJSON(dst, m.bytes, depth)
	case m.field == 7 && m.wire == wireBytes:
		return appendBytesJSON(dst, m.bytes)
	}
	return append(dst, "null"...)
}

func appendHex(dst, p []byte) []byte { return hex.AppendEncode(dst, p) }

// appendQuoted writes a JSON string: control characters and the two line separators escaped, what is not UTF-8 replaced.
func appendQuoted(dst, p []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(p); {
		c := p[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(p[i:])
			if r == utf8.RuneError && n == 1 || r == '\u2028' || r == '\u2029' {
				dst = append(dst, p[from:i]...)
				dst = append(dst, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
				from = i + n
			}
			i += n
			continue
		}
		dst = append(dst, p[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, p[from:]...), '"')
}
