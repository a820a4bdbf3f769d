package otlp

import (
	"encoding/binary"
	"fmt"

	"github.com/spanloom/spanloom/internal/problem"
)

// Protobuf's wire types.
const (
	varint   = 0
	fixed64  = 1
	bytes_   = 2
	groupOn  = 3
	groupOff = 4
	fixed32  = 5
)

// maxGroups is how deep groups (a form that OTLP never uses, skipped as unknown) may nest.
const maxGroups = 32

// fault says what is wrong with the bytes, where, and inside which field. It is made on the error path only; each level
// on the way up adds its offset and its name.
type fault struct {
	at   int // noOffset in JSON
	path string
	what string
}

func (f *fault) in(at int, name string) *fault {
	if f.at != noOffset {
		f.at += at
	}
	if f.path == "" {
		f.path = name
	} else {
		f.path = name + "." + f.path
	}
	return f
}

const noOffset = -1

func (f *fault) problem() *problem.Problem {
	p := &problem.Problem{Kind: problem.Invalid, Field: f.path, Message: f.what, Hint: "see the JSON encoding of OTLP"}
	if f.at != noOffset {
		p.Message = fmt.Sprintf("byte %d: %s", f.at, f.what)
		p.Hint = "send an ExportTraceServiceRequest, whole and as it was encoded"
	}
	return p
}

// field is one field of a message.
type field struct {
	tag  uint64 // number<<3 | wire type
	num  uint64 // of a varint, fixed64 or fixed32
	body []byte // of a length-delimited field
	at   int    // where the value begins, in the message
}

// nextField reads the field at i and returns where the next one begins. Groups are passed over: their field has no body.
func nextField(m []byte, i int) (f field, next int, bad *fault) {
	if t := m[i]; t&0x87 == bytes_ && t != bytes_ { // the usual field: a number up to 15, length-delimited
		if n, at := size(m, i+1); at > 0 {
			return field{tag: uint64(t), body: m[at : at+n], at: at}, at + n, nil
		}
	}
	tag, at := uvarint(m, i)
	if at < 0 || tag>>3 == 0 || tag > 1<<32-1 {
		return f, 0, badTag(m, i, at)
	}
	f.tag, f.at = tag, at
	switch tag & 7 {
	case varint:
		f.num, next = uvarint(m, at)
		if next < 0 {
			return f, 0, badVarint(m, at)
		}
		return f, next, nil
	case bytes_:
		n, at := size(m, at)
		if at < 0 {
			return f, 0, badSize(m, f.at)
		}
		f.at, f.body = at, m[at:at+n]
		return f, at + n, nil
	case fixed64:
		if len(m)-at < 8 {
			return f, 0, &fault{at: at, what: "the message ends within a 64-bit number"}
		}
		f.num = binary.LittleEndian.Uint64(m[at:])
		return f, at + 8, nil
	case fixed32:
		if len(m)-at < 4 {
			return f, 0, &fault{at: at, what: "the message ends within a 32-bit number"}
		}
		f.num = uint64(binary.LittleEndian.Uint32(m[at:]))
		return f, at + 4, nil
	case groupOn:
		next, bad = skipGroup(m, at, tag>>3)
		return f, next, bad
	default:
		return f, 0, &fault{at: i, what: fmt.Sprintf("wire type %d of field %d makes no sense here", tag&7, tag>>3)}
	}
}

// skipGroup passes over a group whose start tag was read and returns where what follows begins.
func skipGroup(m []byte, i int, number uint64) (int, *fault) {
	var open [maxGroups]uint64
	open[0] = number
	for depth := 1; ; {
		tag, at := uvarint(m, i)
		if at < 0 || tag>>3 == 0 || tag > 1<<32-1 {
			return 0, badTag(m, i, at)
		}
		switch tag & 7 {
		case groupOn:
			if depth == maxGroups {
				return 0, &fault{at: i, what: fmt.Sprintf("groups nest deeper than %d", maxGroups)}
			}
			open[depth] = tag >> 3
			depth++
			i = at
		case groupOff:
			depth--
			if open[depth] != tag>>3 {
				return 0, &fault{at: i, what: fmt.Sprintf("group %d ends where group %d should", tag>>3, open[depth])}
			}
			if depth == 0 {
				return at, nil
			}
			i = at
		default:
			_, next, bad := nextField(m, i)
			if bad != nil {
				return 0, bad
			}
			i = next
		}
	}
}

// uvarint reads a varint at i; at is -1 if it ends early or does not fit 64 bits.
func uvarint(m []byte, i int) (v uint64, at int) {
	if i < len(m) && m[i] < 0x80 {
		return uint64(m[i]), i + 1
	}
	return longUvarint(m, i)
}

func longUvarint(m []byte, i int) (uint64, int) {
	v, n := binary.Uvarint(m[i:])
	if n <= 0 {
		return 0, -1
	}
	return v, i + n
}

// size reads the length at i of something that must lie in what is left of m; at is -1 if it does not.
func size(m []byte, i int) (n, at int) {
	if i+1 < len(m) {
		if n = int(m[i]); n < 0x80 {
			if n < len(m)-i {
				return n, i + 1
			}
		} else if m[i+1] < 0x80 {
			if n = n&0x7f | int(m[i+1])<<7; n < len(m)-i-1 {
				return n, i + 2
			}
		}
	}
	return longSize(m, i)
}

func longSize(m []byte, i int) (n, at int) {
	v, at := uvarint(m, i)
	if at < 0 || v > uint64(len(m)-at) {
		return 0, -1
	}
	return int(v), at
}

func badTag(m []byte, i, at int) *fault {
	if at < 0 {
		return badVarint(m, i)
	}
	return &fault{at: i, what: "a field number is 0 or beyond protobuf's range"}
}

func badVarint(m []byte, i int) *fault {
	if _, n := binary.Uvarint(m[i:]); n < 0 {
		return &fault{at: i, what: "a varint is longer than 64 bits"}
	}
	return &fault{at: i, what: "the message ends within a varint"}
}

func badSize(m []byte, i int) *fault {
	v, at := uvarint(m, i)
	if at < 0 {
		return badVarint(m, i)
	}
	return &fault{at: i, what: fmt.Sprintf("a length of %d where %d bytes are left", v, len(m)-at)}
}
