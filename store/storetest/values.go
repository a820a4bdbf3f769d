package storetest

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/span"
)

func (p *parser) attrs(list []attribute) (span.Range, error) {
	mark := p.b.AttrMark()
	for _, a := range list {
		v, err := p.value(a.value)
		if err != nil {
			return span.Range{}, fmt.Errorf("%s: %w", a.key, err)
		}
		p.b.AddAttr(p.b.InternKey([]byte(a.key)), v)
	}
	return p.b.AttrsSince(mark), nil
}

var arenaTypes = map[string]span.Type{
	"bytes": span.TypeBytes, "strings": span.TypeStrings, "ints": span.TypeInts, "doubles": span.TypeDoubles,
	"bools": span.TypeBools, "array": span.TypeArray, "kvlist": span.TypeKVList,
}

func (p *parser) value(s string) (span.Value, error) {
	if strings.HasPrefix(s, "[") {
		typ, raw, err := encodeArray(s)
		return span.StrValue(typ, p.b.AddString(raw)), err
	}
	if kind, digits, ok := strings.Cut(s, ":"); ok && arenaTypes[kind] != 0 {
		raw, err := hex.DecodeString(digits)
		return span.StrValue(arenaTypes[kind], p.b.AddString(raw)), err
	}
	v, ok := scalar(s)
	if !ok {
		text, err := unquote(s)
		return span.StrValue(span.TypeString, p.b.AddText(text)), err
	}
	return v, nil
}

// scalar reads a value that is not a string.
func scalar(s string) (span.Value, bool) {
	switch s {
	case "null":
		return span.Value{}, true
	case "true", "false":
		return span.BoolValue(s == "true"), true
	case "NaN":
		return span.DoubleValue(math.NaN()), true
	case "+Inf", "-Inf":
		f, _ := strconv.ParseFloat(s, 64)
		return span.DoubleValue(f), true
	}
	if s == "" || !strings.ContainsRune("+-.0123456789", rune(s[0])) {
		return span.Value{}, false
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return span.IntValue(i), true
	}
	f, err := strconv.ParseFloat(s, 64)
	return span.DoubleValue(f), err == nil
}
