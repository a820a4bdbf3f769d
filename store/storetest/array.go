package storetest

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/span"
)

// encodeArray reads an array of scalars of one type and writes it as OTLP does.
func encodeArray(text string) (span.Type, []byte, error) {
	inner, ok := strings.CutSuffix(strings.TrimPrefix(text, "["), "]")
	if !ok {
		return 0, nil, fmt.Errorf("%q has no end", text)
	}
	var words []string
	for inner = strings.TrimSpace(inner); inner != ""; {
		var word string
		if q, err := strconv.QuotedPrefix(inner); err == nil {
			word, inner = q, inner[len(q):]
			inner = strings.TrimPrefix(strings.TrimSpace(inner), ",")
		} else {
			word, inner, _ = strings.Cut(inner, ",")
		}
		words = append(words, strings.TrimSpace(word))
		inner = strings.TrimSpace(inner)
	}
	typ := span.TypeStrings
	var raw []byte
	for i, w := range words {
		t, element, err := encodeElement(w)
		if err != nil {
			return 0, nil, err
		}
		if i > 0 && t != typ {
			return 0, nil, fmt.Errorf("%q has elements of different types", text)
		}
		typ = t
		raw = protowire.AppendTag(raw, 1, protowire.BytesType)
		raw = protowire.AppendBytes(raw, element)
	}
	return typ, raw, nil
}

// encodeElement writes an OTLP AnyValue and answers the type of an array of such.
func encodeElement(word string) (span.Type, []byte, error) {
	v, ok := scalar(word)
	switch {
	case !ok:
		s, err := unquote(word)
		return span.TypeStrings, protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), s), err
	case v.Type == span.TypeInt:
		return span.TypeInts, protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), v.Bits), nil
	case v.Type == span.TypeDouble:
		return span.TypeDoubles, protowire.AppendFixed64(protowire.AppendTag(nil, 4, protowire.Fixed64Type), v.Bits), nil
	case v.Type == span.TypeBool:
		return span.TypeBools, protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), v.Bits), nil
	default:
		return 0, nil, fmt.Errorf("%s cannot stand in an array", word)
	}
}

// elements reads an OTLP ArrayValue of scalars by an independent reader, as Go values; not ok if something else is in it.
func elements(raw []byte) (list []any, ok bool) {
	for len(raw) > 0 {
		num, typ, n := protowire.ConsumeTag(raw)
		if n < 0 || num != 1 || typ != protowire.BytesType {
			return nil, false
		}
		raw = raw[n:]
		element, n := protowire.ConsumeBytes(raw)
		if n < 0 {
			return nil, false
		}
		raw = raw[n:]
		num, _, n = protowire.ConsumeTag(element)
		if n < 0 {
			return nil, false
		}
		element = element[n:]
		switch num {
		case 1:
			s, _ := protowire.ConsumeBytes(element)
			list = append(list, string(s))
		case 2:
			v, _ := protowire.ConsumeVarint(element)
			list = append(list, v != 0)
		case 3:
			v, _ := protowire.ConsumeVarint(element)
			list = append(list, int64(v))
		case 4:
			v, _ := protowire.ConsumeFixed64(element)
			list = append(list, math.Float64frombits(v))
		default:
			return nil, false
		}
	}
	return list, true
}
