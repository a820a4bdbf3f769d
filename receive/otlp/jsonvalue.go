package otlp

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"

	"github.com/go-faster/jx"

	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// The names of the enums, by number. Older senders write them instead of the numbers.
var (
	kindNames   = [...]string{"SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER"}
	statusNames = [...]string{"STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"}
)

// jsonText puts a string into the arena.
func (d *Decoder) jsonText(name string, s *span.Str) error {
	*s = span.Str{}
	switch d.json.Next() {
	case jx.String:
		off := len(d.b.Arena)
		arena, err := d.json.StrAppend(d.b.Arena)
		if err != nil {
			return err
		}
		d.b.Arena = arena
		if n := len(arena) - off; n > 0 {
			*s = span.Str{Off: uint32(off), Len: uint32(n)}
		}
		return nil
	case jx.Null:
		return d.json.Null()
	default:
		return d.json.wrong(name, "a string")
	}
}

// jsonID reads hexadecimal digits into id, filled up with zeros from the left. Empty and null are zero.
func (d *Decoder) jsonID(name string, id []byte) error {
	clear(id)
	switch d.json.Next() {
	case jx.String:
		s, err := d.json.StrBytes()
		if err != nil {
			return err
		}
		if !hexID(id, s) {
			d.json.note(receive.BadID, name, "is "+strconv.Quote(string(s[:min(len(s), 40)]))+", must be "+strconv.Itoa(2*len(id))+" hexadecimal digits")
		}
		return nil
	case jx.Null:
		return d.json.Null()
	default:
		return d.json.wrong(name, "a string of hexadecimal digits")
	}
}

// hexID reads what span.ParseTraceID and ParseSpanID read, and besides zero and nothing.
func hexID(id, s []byte) bool {
	if len(s) == 0 {
		return true
	}
	var err error
	if len(id) == len(span.TraceID{}) {
		var t span.TraceID
		t, err = span.ParseTraceID(s)
		copy(id, t[:])
	} else {
		var t span.SpanID
		t, err = span.ParseSpanID(s)
		copy(id, t[:])
	}
	if err == nil {
		return true
	}
	zeros := len(s) <= 2*len(id)
	for _, c := range s {
		zeros = zeros && c == '0'
	}
	return zeros
}

// jsonDigits is the text of a number that may stand in quotes: a view until the next read. Not ok means null or a wrong type.
func (d *Decoder) jsonDigits(name string) (s []byte, ok bool, err error) {
	switch d.json.Next() {
	case jx.Number:
		n, err := d.json.Num()
		return n, err == nil, err
	case jx.String:
		s, err = d.json.StrBytes()
		return s, err == nil, err
	case jx.Null:
		return nil, false, d.json.Null()
	default:
		return nil, false, d.json.wrong(name, "a number or a number in quotes")
	}
}

func (d *Decoder) jsonUint(name string) (uint64, error) {
	s, ok, err := d.jsonDigits(name)
	if !ok {
		return 0, err
	}
	v, negative, ok := parseInteger(s)
	if !ok || negative {
		d.badNumber(name, s, "an unsigned 64-bit integer")
	}
	return v, nil
}

func (d *Decoder) jsonInt(name string) (int64, error) {
	s, ok, err := d.jsonDigits(name)
	if !ok {
		return 0, err
	}
	v, negative, ok := parseInteger(s)
	if !ok || negative && v > 1<<63 || !negative && v >= 1<<63 {
		d.badNumber(name, s, "a signed 64-bit integer")
	}
	if negative {
		return -int64(v), nil
	}
	return int64(v), nil
}

func (d *Decoder) jsonCount(name string, v *uint32) error {
	*v = 0
	s, ok, err := d.jsonDigits(name)
	if !ok {
		return err
	}
	n, negative, ok := parseInteger(s)
	if !ok || negative || n > math.MaxUint32 {
		d.badNumber(name, s, "an unsigned 32-bit integer")
		return nil
	}
	*v = uint32(n)
	return nil
}

func (d *Decoder) badNumber(name string, s []byte, want string) {
	d.json.note(receive.Malformed, name, "is "+strconv.Quote(string(s[:min(len(s), 40)]))+", must be "+want)
}

// parseInteger reads an integer's sign and absolute value. Floats are taken if they are integers: some senders know no others.
func parseInteger(s []byte) (v uint64, negative, ok bool) {
	digits := s
	if len(digits) > 0 && digits[0] == '-' {
		negative, digits = true, digits[1:]
	}
	if len(digits) == 0 {
		return 0, false, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' || v > (math.MaxUint64-9)/10 && v > (math.MaxUint64-uint64(c-'0'))/10 {
			return parseFloatInteger(digits, negative)
		}
		v = 10*v + uint64(c-'0')
	}
	return v, negative, true
}

func parseFloatInteger(digits []byte, negative bool) (uint64, bool, bool) {
	if !(digits[0] >= '0' && digits[0] <= '9') || strings.ContainsAny(string(digits), "xXpP_") {
		return 0, false, false
	}
	f, err := strconv.ParseFloat(string(digits), 64)
	if err != nil || f != math.Trunc(f) || f >= 1<<64 {
		return 0, false, false
	}
	return uint64(f), negative, true
}

// jsonEnum reads a number or one of the names; what it does not know reads as a number beyond all.
func (d *Decoder) jsonEnum(name string, names []string) (uint64, error) {
	s, ok, err := d.jsonDigits(name)
	if !ok {
		return 0, err
	}
	for i, n := range names {
		if string(s) == n {
			return uint64(i), nil
		}
	}
	v, negative, ok := parseInteger(s)
	if !ok || negative {
		return math.MaxUint64, nil
	}
	return v, nil
}

// jsonAttrs reads an array of KeyValues.
func (d *Decoder) jsonAttrs() (span.Range, error) {
	b := d.b
	mark := b.AttrMark()
	d.last = followers
	it, ok, err := d.json.array("attributes")
	for ok && err == nil && it.Next() {
		if len(b.Attrs) >= d.attrs && d.full() {
			return span.Range{}, errNoRoom
		}
		err = d.jsonAttr()
	}
	if err == nil && ok {
		err = it.Err()
	}
	return b.AttrsSince(mark), err
}

func (d *Decoder) jsonAttr() error {
	j := d.json
	it, ok, err := j.object("attributes")
	key, keyed := uint32(0), false
	var v span.Value
	for ok && err == nil && it.Next() {
		switch string(it.Key()) {
		case "key":
			switch j.Next() {
			case jx.String:
				var k []byte
				if k, err = j.StrBytes(); err == nil {
					key, keyed = d.key(k), true
				}
			case jx.Null:
				err = j.Null()
			default:
				err = j.wrong("attributes.key", "a string")
			}
		case "value":
			v, err = d.jsonValue()
		default:
			err = j.Skip()
		}
	}
	if err == nil && ok {
		err = it.Err()
	}
	if err != nil {
		return err
	}
	if !keyed {
		key = d.key(nil)
	}
	d.b.AddAttr(key, v)
	return nil
}

// jsonValue reads an AnyValue. Of several members the last counts; null ones are absent.
func (d *Decoder) jsonValue() (v span.Value, err error) {
	j, b := d.json, d.b
	it, ok, err := j.object("attributes.value")
	for ok && err == nil && it.Next() {
		member := anyMember(it.Key())
		if j.Next() == jx.Null || member == anyNull {
			err = j.Skip()
			continue
		}
		switch member {
		case anyString:
			var s span.Str
			err = d.jsonText("attributes.value.stringValue", &s)
			v = span.StrValue(span.TypeString, s)
		case anyBool:
			var yes bool
			yes, err = d.jsonBool()
			v = span.BoolValue(yes)
		case anyInt:
			var n int64
			n, err = d.jsonInt("attributes.value.intValue")
			v = span.IntValue(n)
		case anyDouble:
			var f float64
			f, err = d.jsonDouble()
			v = span.DoubleValue(f)
		case anyBytes:
			off := len(b.Arena)
			b.Arena, err = d.jsonBase64(b.Arena)
			v = d.arrayValue(span.TypeBytes, off)
		case anyArray:
			off := len(b.Arena)
			var t span.Type
			b.Arena, t, err = d.jsonArray(b.Arena, 1)
			v = d.arrayValue(t, off)
		case anyKVList:
			off := len(b.Arena)
			b.Arena, err = d.jsonKVList(b.Arena, 1)
			v = d.arrayValue(span.TypeKVList, off)
		}
	}
	if err == nil && ok {
		err = it.Err()
	}
	return v, err
}

func anyMember(key []byte) int {
	switch string(key) {
	case "stringValue":
		return anyString
	case "boolValue":
		return anyBool
	case "intValue":
		return anyInt
	case "doubleValue":
		return anyDouble
	case "arrayValue":
		return anyArray
	case "kvlistValue":
		return anyKVList
	case "bytesValue":
		return anyBytes
	default:
		return anyNull
	}
}

func (d *Decoder) jsonBool() (bool, error) {
	if d.json.Next() != jx.Bool {
		return false, d.json.wrong("attributes.value.boolValue", "true or false")
	}
	return d.json.Bool()
}

func (d *Decoder) jsonDouble() (float64, error) {
	s, ok, err := d.jsonDigits("attributes.value.doubleValue")
	if !ok {
		return 0, err
	}
	switch string(s) {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	f, err := strconv.ParseFloat(string(s), 64)
	if err != nil && !math.IsInf(f, 0) || !numeric(s) {
		d.badNumber("attributes.value.doubleValue", s, "a number, NaN, Infinity or -Infinity")
		return 0, nil
	}
	return f, nil
}

// numeric rejects what ParseFloat takes beyond decimal numbers.
func numeric(s []byte) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' && c != 'e' && c != 'E' {
			return false
		}
	}
	return true
}

// jsonBase64 appends decoded bytes; both alphabets are taken, with and without padding.
func (d *Decoder) jsonBase64(dst []byte) ([]byte, error) {
	const name = "attributes.value.bytesValue"
	if d.json.Next() != jx.String {
		return dst, d.json.wrong(name, "a string of base64")
	}
	s, err := d.json.StrBytes()
	if err != nil {
		return dst, err
	}
	enc := base64.RawStdEncoding
	for len(s) > 0 && s[len(s)-1] == '=' {
		s = s[:len(s)-1]
	}
	for _, c := range s {
		if c == '-' || c == '_' {
			enc = base64.RawURLEncoding
		}
	}
	out, err := enc.AppendDecode(dst, s)
	if err != nil {
		d.json.note(receive.Malformed, name, "is not base64: "+err.Error())
		return dst, nil
	}
	return out, nil
}
