package zipkin

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/netip"
	"strconv"
	"unicode/utf8"

	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// Types of TBinaryProtocol.
const (
	thriftStop   = 0
	thriftBool   = 2
	thriftByte   = 3
	thriftDouble = 4
	thriftI16    = 6
	thriftI32    = 8
	thriftI64    = 10
	thriftString = 11
	thriftStruct = 12
	thriftMap    = 13
	thriftSet    = 14
	thriftList   = 15
)

// isThriftField tells the types a field of Span can have.
func isThriftField(t byte) bool {
	return t == thriftI64 || t == thriftString || t == thriftList || t == thriftBool || t == thriftI32
}

// thriftReader reads TBinaryProtocol. After a fault it stays broken and answers zeros.
type thriftReader struct {
	p      []byte
	at     int
	broken string
}

func (t *thriftReader) fail(why string) {
	if t.broken == "" {
		t.broken = why
	}
}

// take is the next n bytes, a view; nil where there are fewer.
func (t *thriftReader) take(n int) []byte {
	if t.broken != "" || n < 0 || n > len(t.p)-t.at {
		t.fail("the thrift text breaks off")
		return nil
	}
	v := t.p[t.at : t.at+n : t.at+n]
	t.at += n
	return v
}

func (t *thriftReader) u8() byte {
	if p := t.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (t *thriftReader) i16() int16 {
	if p := t.take(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (t *thriftReader) i32() int32 {
	if p := t.take(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

func (t *thriftReader) i64() int64 {
	if p := t.take(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

func (t *thriftReader) str() []byte { return t.take(int(t.i32())) }

// field reads a field's head; false at the struct's end.
func (t *thriftReader) field() (id int16, kind byte, ok bool) {
	kind = t.u8()
	if kind == thriftStop || t.broken != "" {
		return 0, 0, false
	}
	id = t.i16()
	return id, kind, t.broken == ""
}

// list reads a list's head and answers the count of its elements, 0 if they are not structs (they are skipped).
func (t *thriftReader) list() int32 {
	elem, n := t.u8(), t.i32()
	if n < 0 {
		t.fail("a list of negative length")
		return 0
	}
	if elem == thriftStruct {
		return n
	}
	t.skipMany(elem, n, 0)
	return 0
}

const maxThriftDepth = 64

func (t *thriftReader) skip(kind byte, depth int) {
	if depth > maxThriftDepth {
		t.fail("nested deeper than " + strconv.Itoa(maxThriftDepth) + " levels")
	}
	if t.broken != "" {
		return
	}
	switch kind {
	case thriftBool, thriftByte:
		t.take(1)
	case thriftI16:
		t.take(2)
	case thriftI32:
		t.take(4)
	case thriftI64, thriftDouble:
		t.take(8)
	case thriftString:
		t.str()
	case thriftStruct:
		for {
			_, k, ok := t.field()
			if !ok {
				return
			}
			t.skip(k, depth+1)
		}
	case thriftMap:
		k, v, n := t.u8(), t.u8(), t.i32()
		for ; n > 0 && t.broken == ""; n-- {
			t.skip(k, depth+1)
			t.skip(v, depth+1)
		}
	case thriftSet, thriftList:
		elem, n := t.u8(), t.i32()
		t.skipMany(elem, n, depth)
	default:
		t.fail("unknown thrift type " + strconv.Itoa(int(kind)))
	}
}

func (t *thriftReader) skipMany(kind byte, n int32, depth int) {
	for ; n > 0 && t.broken == ""; n-- {
		t.skip(kind, depth+1)
	}
}

// decodeThrift reads a list of v1 spans without a struct around it, or a single span. Nothing delimits a span, so what
// follows a broken one is lost.
func (d *Decoder) decodeThrift(body []byte) {
	d.format = Thrift
	t := &thriftReader{p: body}
	if body[0] == thriftStruct {
		for n := t.list(); n > 0 && t.broken == ""; n-- {
			d.thriftSpan(t)
		}
	} else {
		d.thriftSpan(t)
	}
	if t.broken == "" && t.at < len(body) {
		t.fail("bytes after the end")
	}
	if t.broken != "" {
		d.malformedAt(t.broken, t.at)
	}
}

const thriftFix = "send Span as zipkinCore.thrift defines it"

func (d *Decoder) thriftSpan(t *thriftReader) {
	r := &d.raw
	r.reset()
	r.isV1 = true
	for {
		id, kind, ok := t.field()
		if !ok {
			break
		}
		switch {
		case id == 1 && kind == thriftI64:
			binary.BigEndian.PutUint64(r.trace[8:], uint64(t.i64()))
		case id == 12 && kind == thriftI64:
			binary.BigEndian.PutUint64(r.trace[:8], uint64(t.i64()))
		case id == 3 && kind == thriftString:
			r.name = d.utf8(t.str())
		case id == 4 && kind == thriftI64:
			r.id = span.SpanIDFromUint64(uint64(t.i64()))
		case id == 5 && kind == thriftI64:
			r.parent = span.SpanIDFromUint64(uint64(t.i64()))
		case id == 6 && kind == thriftList:
			for n := t.list(); n > 0 && t.broken == ""; n-- {
				d.thriftAnnotation(t, r)
			}
		case id == 8 && kind == thriftList:
			for n := t.list(); n > 0 && t.broken == ""; n-- {
				d.thriftBinary(t, r)
			}
		case id == 9 && kind == thriftBool:
			r.debug = t.u8() != 0
		case id == 10 && kind == thriftI64:
			r.timestamp = notNegative(uint64(t.i64()))
		case id == 11 && kind == thriftI64:
			v := t.i64()
			if v < 0 {
				r.bad(receive.BadSpan, "duration", strconv.AppendInt(nil, v, 10), "is negative", thriftFix)
			}
			r.duration = uint64(v)
		default:
			t.skip(kind, 0)
		}
	}
	if t.broken == "" {
		d.finish(r)
	}
}

func (d *Decoder) thriftAnnotation(t *thriftReader, r *rawSpan) {
	var a annotation
	for {
		id, kind, ok := t.field()
		if !ok {
			break
		}
		switch {
		case id == 1 && kind == thriftI64:
			a.timestamp = notNegative(uint64(t.i64()))
		case id == 2 && kind == thriftString:
			a.value = d.utf8(t.str())
		case id == 3 && kind == thriftStruct:
			d.thriftEndpoint(t, &a.host)
			a.hasHost = !a.host.isEmpty()
		default:
			t.skip(kind, 0)
		}
	}
	if a.timestamp != 0 || len(a.value) > 0 {
		r.annotations = append(r.annotations, a)
	}
}

// Types of a binary annotation's value.
const (
	binaryBool = iota
	binaryBytes
	binaryI16
	binaryI32
	binaryI64
	binaryDouble
	binaryString
)

func (d *Decoder) thriftBinary(t *thriftReader, r *rawSpan) {
	var a binaryAnnotation
	var value []byte
	valueType := int32(binaryString)
	for {
		id, kind, ok := t.field()
		if !ok {
			break
		}
		switch {
		case id == 1 && kind == thriftString:
			a.key = d.utf8(t.str())
		case id == 2 && kind == thriftString:
			value = t.str()
		case id == 3 && kind == thriftI32:
			valueType = t.i32()
		case id == 4 && kind == thriftStruct:
			d.thriftEndpoint(t, &a.host)
			a.hasHost = !a.host.isEmpty()
		default:
			t.skip(kind, 0)
		}
	}
	a.value = d.binaryText(valueType, value)
	if len(a.key) > 0 {
		r.binary = append(r.binary, a)
	}
}

// binaryText writes a typed value as the text that v1 JSON has for it. A value that does not have its type's length is
// taken as bytes.
func (d *Decoder) binaryText(valueType int32, v []byte) []byte {
	start := len(d.extra)
	switch {
	case valueType == binaryBool && len(v) == 1:
		d.extra = strconv.AppendBool(d.extra, v[0] != 0)
	case valueType == binaryI16 && len(v) == 2:
		d.extra = strconv.AppendInt(d.extra, int64(int16(binary.BigEndian.Uint16(v))), 10)
	case valueType == binaryI32 && len(v) == 4:
		d.extra = strconv.AppendInt(d.extra, int64(int32(binary.BigEndian.Uint32(v))), 10)
	case valueType == binaryI64 && len(v) == 8:
		d.extra = strconv.AppendInt(d.extra, int64(binary.BigEndian.Uint64(v)), 10)
	case valueType == binaryDouble && len(v) == 8:
		d.extra = strconv.AppendFloat(d.extra, math.Float64frombits(binary.BigEndian.Uint64(v)), 'g', -1, 64)
	case valueType == binaryString || valueType != binaryBytes && utf8.Valid(v):
		return d.utf8(v)
	default:
		d.extra = base64.StdEncoding.AppendEncode(d.extra, v)
	}
	return d.extra[start:len(d.extra):len(d.extra)]
}

func (d *Decoder) thriftEndpoint(t *thriftReader, e *endpoint) {
	for {
		id, kind, ok := t.field()
		if !ok {
			return
		}
		switch {
		case id == 1 && kind == thriftI32:
			var ip [4]byte
			binary.BigEndian.PutUint32(ip[:], uint32(t.i32()))
			if ip != [4]byte{} { // 0 is absent
				d.setAddr(e, netip.AddrFrom4(ip))
			}
		case id == 2 && kind == thriftI16:
			e.port = uint16(t.i16())
		case id == 3 && kind == thriftString:
			e.service = d.utf8(t.str())
		case id == 4 && kind == thriftString:
			if ip := t.str(); len(ip) == 16 {
				d.setAddr(e, netip.AddrFrom16([16]byte(ip)))
			}
		default:
			t.skip(kind, 0)
		}
	}
}
