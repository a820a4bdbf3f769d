package span

import (
	"encoding/binary"
	"math"
)

// Elements walks the elements of an array value. The zero Elements is empty.
type Elements struct {
	p   []byte // what is left of the OTLP ArrayValue
	off uint32 // where p begins in the arena
}

// Elements starts a walk over an array value of this batch (TypeStrings to TypeArray); any other value has no elements.
// Cost: constant; nothing is allocated on the way either.
func (b *Batch) Elements(v Value) Elements {
	if v.Type < TypeStrings || v.Type > TypeArray {
		return Elements{}
	}
	s := v.Str()
	return Elements{b.Bytes(s), s.Off}
}

// Next is the next element. Strings, bytes, arrays and lists are runs of the same arena. It ends at the array's end and at
// the first byte that is not OTLP: receivers check arrays when they take them in.
func (e *Elements) Next() (Value, bool) {
	for len(e.p) > 0 {
		tag, _, body, n := protoField(e.p)
		if n == 0 {
			break
		}
		at := e.off + uint32(n-len(body))
		e.p, e.off = e.p[n:], e.off+uint32(n)
		if tag == 1<<3|wireBytes {
			return anyValue(body, at)
		}
	}
	e.p = nil
	return Value{}, false
}

// anyValue reads an OTLP AnyValue that begins at off in the arena. Of several fields the last wins, as protobuf says.
func anyValue(p []byte, off uint32) (out Value, ok bool) {
	for len(p) > 0 {
		tag, v, body, n := protoField(p)
		if n == 0 {
			return Value{}, false
		}
		run := Str{off + uint32(n-len(body)), uint32(len(body))}
		switch tag {
		case 1<<3 | wireBytes:
			out = StrValue(TypeString, run)
		case 2<<3 | wireVarint:
			out = BoolValue(v != 0)
		case 3<<3 | wireVarint:
			out = IntValue(int64(v))
		case 4<<3 | wireFixed64:
			out = DoubleValue(math.Float64frombits(v))
		case 5<<3 | wireBytes:
			out = StrValue(TypeArray, run)
		case 6<<3 | wireBytes:
			out = StrValue(TypeKVList, run)
		case 7<<3 | wireBytes:
			out = StrValue(TypeBytes, run)
		}
		p, off = p[n:], off+uint32(n)
	}
	return out, true
}

// Protobuf's wire types.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// protoField reads one field: its tag, its number or its body, and the bytes it takes; 0 where p is not protobuf.
func protoField(p []byte) (tag, v uint64, body []byte, n int) {
	tag, n = binary.Uvarint(p)
	if n <= 0 {
		return 0, 0, nil, 0
	}
	rest := p[n:]
	switch tag & 7 {
	case wireVarint:
		v, k := binary.Uvarint(rest)
		if k <= 0 {
			return 0, 0, nil, 0
		}
		return tag, v, nil, n + k
	case wireFixed64:
		if len(rest) < 8 {
			return 0, 0, nil, 0
		}
		return tag, binary.LittleEndian.Uint64(rest), nil, n + 8
	case wireFixed32:
		if len(rest) < 4 {
			return 0, 0, nil, 0
		}
		return tag, uint64(binary.LittleEndian.Uint32(rest)), nil, n + 4
	case wireBytes:
		size, k := binary.Uvarint(rest)
		if k <= 0 || size > uint64(len(rest)-k) {
			return 0, 0, nil, 0
		}
		return tag, 0, rest[k : k+int(size)], n + k + int(size)
	default:
		return 0, 0, nil, 0
	}
}
