package otlpjson

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/span"
)

// maxNesting is how many arrays and lists may lie in one another; deeper ones are written as absent values. Receivers let no
// more through, but the bytes of a value may be of any origin.
const maxNesting = 64

// The members of AnyValue's oneof.
const (
	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
	anyArray  = 5
	anyKVList = 6
	anyBytes  = 7
)

// AppendAnyValue appends a value as an OTLP AnyValue: {"stringValue":"x"}, {"intValue":"200"}, {} for null.
func AppendAnyValue(dst []byte, b *span.Batch, v span.Value) []byte {
	return encoder{otlp: true}.value(dst, b, v)
}

// AppendValue appends a value as plain JSON: "x", 200, null, [1,2], {"k":"v"}. Bytes are base64 text; NaN and the infinities
// are the texts "NaN", "Infinity", "-Infinity". Of equal keys in a list all are written: JSON's readers take the last,
// as OpenTelemetry does.
func AppendValue(dst []byte, b *span.Batch, v span.Value) []byte {
	return encoder{}.value(dst, b, v)
}

// encoder writes values in one of the two forms.
type encoder struct{ otlp bool }

func (e encoder) value(dst []byte, b *span.Batch, v span.Value) []byte {
	switch v.Type {
	case span.TypeString:
		return e.text(dst, b.Bytes(v.Str()))
	case span.TypeInt:
		return e.int(dst, v.Int())
	case span.TypeDouble:
		return e.double(dst, v.Double())
	case span.TypeBool:
		return e.bool(dst, v.Bool())
	case span.TypeBytes:
		return e.bytes(dst, b.Bytes(v.Str()))
	case span.TypeStrings, span.TypeInts, span.TypeDoubles, span.TypeBools, span.TypeArray:
		return e.array(dst, b.Bytes(v.Str()), 1)
	case span.TypeKVList:
		return e.list(dst, b.Bytes(v.Str()), 1)
	default:
		return e.null(dst)
	}
}

func (e encoder) null(dst []byte) []byte {
	if e.otlp {
		return append(dst, "{}"...)
	}
	return append(dst, "null"...)
}

func (e encoder) text(dst, p []byte) []byte {
	if e.otlp {
		return append(AppendQuoted(append(dst, `{"stringValue":`...), p), '}')
	}
	return AppendQuoted(dst, p)
}

func (e encoder) int(dst []byte, v int64) []byte {
	if e.otlp {
		return append(strconv.AppendInt(append(dst, `{"intValue":"`...), v, 10), `"}`...)
	}
	return strconv.AppendInt(dst, v, 10)
}

func (e encoder) double(dst []byte, v float64) []byte {
	if e.otlp {
		return append(AppendDouble(append(dst, `{"doubleValue":`...), v), '}')
	}
	return AppendDouble(dst, v)
}

func (e encoder) bool(dst []byte, v bool) []byte {
	if e.otlp {
		return append(strconv.AppendBool(append(dst, `{"boolValue":`...), v), '}')
	}
	return strconv.AppendBool(dst, v)
}

func (e encoder) bytes(dst, p []byte) []byte {
	if e.otlp {
		dst = append(dst, `{"bytesValue":`...)
	}
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), p)
	dst = append(dst, '"')
	if e.otlp {
		dst = append(dst, '}')
	}
	return dst
}

// array writes an OTLP ArrayValue. It ends at the first byte that is not protobuf.
func (e encoder) array(dst, p []byte, depth int) []byte {
	if e.otlp {
		dst = append(dst, `{"arrayValue":{"values":`...)
	}
	dst = append(dst, '[')
	for first := true; ; first = false {
		element, rest, ok := nextMessage(p)
		if !ok {
			break
		}
		if p = rest; !first {
			dst = append(dst, ',')
		}
		dst = e.any(dst, element, depth)
	}
	dst = append(dst, ']')
	if e.otlp {
		dst = append(dst, "}}"...)
	}
	return dst
}

// list writes an OTLP KeyValueList.
func (e encoder) list(dst, p []byte, depth int) []byte {
	if e.otlp {
		dst = append(dst, `{"kvlistValue":{"values":[`...)
	} else {
		dst = append(dst, '{')
	}
	for first := true; ; first = false {
		pair, rest, ok := nextMessage(p)
		if !ok {
			break
		}
		if p = rest; !first {
			dst = append(dst, ',')
		}
		key, value := keyValue(pair)
		if e.otlp {
			dst = AppendQuoted(append(dst, `{"key":`...), key)
			dst = append(e.any(append(dst, `,"value":`...), value, depth), '}')
		} else {
			dst = e.any(append(AppendQuoted(dst, key), ':'), value, depth)
		}
	}
	if e.otlp {
		return append(dst, "]}}"...)
	}
	return append(dst, '}')
}

// any writes an OTLP AnyValue; of several members the last one counts.
func (e encoder) any(dst, p []byte, depth int) []byte {
	var member protowire.Number
	var number uint64
	var body []byte
	for len(p) > 0 {
		num, typ, n := protowire.ConsumeTag(p)
		if n < 0 {
			break
		}
		p = p[n:]
		switch {
		case typ == protowire.BytesType && (num == anyString || num >= anyArray && num <= anyBytes):
			if body, n = protowire.ConsumeBytes(p); n >= 0 {
				member = num
			}
		case typ == protowire.VarintType && (num == anyBool || num == anyInt):
			if number, n = protowire.ConsumeVarint(p); n >= 0 {
				member = num
			}
		case typ == protowire.Fixed64Type && num == anyDouble:
			if number, n = protowire.ConsumeFixed64(p); n >= 0 {
				member = num
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, p)
		}
		if n < 0 {
			return e.null(dst)
		}
		p = p[n:]
	}
	switch {
	case member == anyString:
		return e.text(dst, body)
	case member == anyBool:
		return e.bool(dst, number != 0)
	case member == anyInt:
		return e.int(dst, int64(number))
	case member == anyDouble:
		return e.double(dst, math.Float64frombits(number))
	case member == anyBytes:
		return e.bytes(dst, body)
	case member == anyArray && depth < maxNesting:
		return e.array(dst, body, depth+1)
	case member == anyKVList && depth < maxNesting:
		return e.list(dst, body, depth+1)
	default:
		return e.null(dst)
	}
}

// nextMessage is the next entry of a repeated message with field number 1; others are skipped.
func nextMessage(p []byte) (m, rest []byte, ok bool) {
	for len(p) > 0 {
		num, typ, n := protowire.ConsumeTag(p)
		if n < 0 {
			break
		}
		p = p[n:]
		if num == 1 && typ == protowire.BytesType {
			m, n := protowire.ConsumeBytes(p)
			if n < 0 {
				break
			}
			return m, p[n:], true
		}
		if n = protowire.ConsumeFieldValue(num, typ, p); n < 0 {
			break
		}
		p = p[n:]
	}
	return nil, nil, false
}

func keyValue(p []byte) (key, value []byte) {
	for len(p) > 0 {
		num, typ, n := protowire.ConsumeTag(p)
		if n < 0 {
			break
		}
		p = p[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, p); n < 0 {
				break
			}
			p = p[n:]
			continue
		}
		body, n := protowire.ConsumeBytes(p)
		if n < 0 {
			break
		}
		switch num {
		case 1:
			key = body
		case 2:
			value = body
		}
		p = p[n:]
	}
	return key, value
}

// AppendDouble appends a number as JSON, shortest form; NaN and the infinities as texts.
func AppendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

// AppendQuoted appends text as a JSON string.
func AppendQuoted[T string | []byte](dst []byte, p T) []byte {
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
			r, n := utf8.DecodeRuneInString(string(p[i:min(i+utf8.UTFMax, len(p))]))
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, p[from:i]...), `\ufffd`...)
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
