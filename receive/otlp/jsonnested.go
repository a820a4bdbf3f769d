package otlp

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/go-faster/jx"

	"github.com/spanloom/spanloom/span"
)

// jsonArray appends an ArrayValue's canonical protobuf bytes.
func (d *Decoder) jsonArray(dst []byte, depth int) ([]byte, span.Type, error) {
	var elems elemTypes
	dst, err := d.jsonValues(dst, func(dst []byte) ([]byte, error) {
		dst, at := openField(dst, 1<<3|bytes_)
		dst, member, err := d.jsonAny(dst, depth)
		if err != nil {
			return dst, err
		}
		elems.add(member)
		return closeField(dst, at), nil
	})
	return dst, elems.arrayType(), err
}

// jsonValues reads the object {"values":[...]} of arrays and lists.
func (d *Decoder) jsonValues(dst []byte, element func([]byte) ([]byte, error)) ([]byte, error) {
	j := d.json
	start := len(dst)
	it, ok, err := j.object("attributes.value")
	for ok && err == nil && it.Next() {
		if string(it.Key()) != "values" {
			err = j.Skip()
			continue
		}
		dst = dst[:start]
		var elems jx.ArrIter
		var list bool
		elems, list, err = j.array("attributes.value.values")
		for list && err == nil && elems.Next() {
			dst, err = element(dst)
		}
		if list && err == nil {
			err = elems.Err()
		}
	}
	if err == nil && ok {
		err = it.Err()
	}
	return dst, err
}

// jsonKVList appends a KeyValueList's canonical protobuf bytes.
func (d *Decoder) jsonKVList(dst []byte, depth int) ([]byte, error) {
	return d.jsonValues(dst, func(dst []byte) ([]byte, error) { return d.jsonEntry(dst, depth) })
}

// jsonEntry appends one KeyValue. Its key may stand behind its value, so it is put before it in the end.
func (d *Decoder) jsonEntry(dst []byte, depth int) ([]byte, error) {
	j := d.json
	dst, entry := openField(dst, 1<<3|bytes_)
	keyAt := len(j.scratch)
	it, ok, err := j.object("attributes.value.values")
	valued := false
	for ok && err == nil && it.Next() {
		switch string(it.Key()) {
		case "key":
			if j.Next() != jx.String {
				err = j.wrong("attributes.value.values.key", "a string")
				continue
			}
			j.scratch, err = j.StrAppend(j.scratch[:keyAt])
		case "value":
			var at int
			dst, at = openField(dst[:entry], 2<<3|bytes_)
			if dst, _, err = d.jsonAny(dst, depth); err == nil {
				dst = closeField(dst, at)
			}
			valued = true
		default:
			err = j.Skip()
		}
	}
	if err == nil && ok {
		err = it.Err()
	}
	if err != nil {
		return dst, err
	}
	if !valued {
		dst = append(dst, 2<<3|bytes_, 0)
	}
	if len(j.scratch) > keyAt {
		value := len(dst)
		dst, at := openField(dst, 1<<3|bytes_)
		dst = closeField(d.appendText(dst, j.scratch[keyAt:]), at)
		rotate(dst[entry:], value-entry)
		j.scratch = j.scratch[:keyAt]
		return closeField(dst, entry), nil
	}
	return closeField(dst, entry), nil
}

// rotate swaps p[:n] and p[n:].
func rotate(p []byte, n int) {
	reverse(p[:n])
	reverse(p[n:])
	reverse(p)
}

func reverse(p []byte) {
	for i, j := 0, len(p)-1; i < j; i, j = i+1, j-1 {
		p[i], p[j] = p[j], p[i]
	}
}

// jsonAny appends an AnyValue's canonical protobuf bytes and says which member it holds.
func (d *Decoder) jsonAny(dst []byte, depth int) (_ []byte, member int, err error) {
	j := d.json
	start := len(dst)
	it, ok, err := j.object("attributes.value.values")
	for ok && err == nil && it.Next() {
		m := anyMember(it.Key())
		if j.Next() == jx.Null || m == anyNull {
			err = j.Skip()
			continue
		}
		member = m
		dst, err = d.jsonMember(dst[:start], m, depth)
	}
	if err == nil && ok {
		err = it.Err()
	}
	return dst, member, err
}

func (d *Decoder) jsonMember(dst []byte, member, depth int) ([]byte, error) {
	j := d.json
	var at int
	switch member {
	case anyString:
		if j.Next() != jx.String {
			return dst, j.wrong("attributes.value.values.stringValue", "a string")
		}
		dst, at = openField(dst, anyString<<3|bytes_)
		dst, err := j.StrAppend(dst)
		if err != nil {
			return dst, err
		}
		if text := dst[at:]; !utf8.Valid(text) {
			dst = append(dst[:at], d.appendText(nil, text)...)
		}
		return closeField(dst, at), nil
	case anyBool:
		yes, err := d.jsonBool()
		return append(dst, anyBool<<3|varint, byte(span.BoolValue(yes).Bits)), err
	case anyInt:
		n, err := d.jsonInt("attributes.value.values.intValue")
		return binary.AppendUvarint(append(dst, anyInt<<3|varint), uint64(n)), err
	case anyDouble:
		f, err := d.jsonDouble()
		return binary.LittleEndian.AppendUint64(append(dst, anyDouble<<3|fixed64), math.Float64bits(f)), err
	case anyBytes:
		dst, at = openField(dst, anyBytes<<3|bytes_)
		dst, err := d.jsonBase64(dst)
		return closeField(dst, at), err
	}
	dst, at = openField(dst, byte(member<<3|bytes_))
	var err error
	switch {
	case depth == maxNesting:
		d.mark |= span.MarkCut
		err = j.Skip()
	case member == anyArray:
		dst, _, err = d.jsonArray(dst, depth+1)
	default:
		dst, err = d.jsonKVList(dst, depth+1)
	}
	return closeField(dst, at), err
}
