package otlp

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/spanloom/spanloom/span"
)

// maxNesting is how many arrays and lists may lie in one another. Deeper ones become empty, with span.MarkCut.
const maxNesting = 32

// The members of AnyValue's oneof.
const (
	anyNull   = 0
	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
	anyArray  = 5
	anyKVList = 6
	anyBytes  = 7
)

// attr appends one KeyValue to the attribute table.
func (d *Decoder) attr(m []byte) *fault {
	b := d.b
	if len(b.Attrs) >= d.attrs && d.full() {
		return noRoom
	}
	if keyEnd, at := stringAttr(m); at > 0 {
		key := d.key(m[2:keyEnd])
		off := len(b.Arena)
		b.Arena = append(b.Arena, m[at:]...)
		b.Attrs = append(b.Attrs, span.Attr{Key: key, Type: span.TypeString, Bits: uint64(off)<<32 | uint64(len(m)-at)})
		return nil
	}
	return d.attrInFull(m)
}

// stringAttr takes apart the shape of nearly every attribute: a short key at m[2:keyEnd], then a value that is one string,
// m[at:], and nothing else. at is 0 for any other shape, right or wrong.
func stringAttr(m []byte) (keyEnd, at int) {
	if len(m) < 6 || m[0] != 1<<3|bytes_ || m[1] >= 0x80 {
		return 0, 0
	}
	keyEnd = 2 + int(m[1])
	if keyEnd+4 > len(m) || m[keyEnd] != 2<<3|bytes_ {
		return 0, 0
	}
	i := keyEnd + 2
	n := int(m[i-1])
	if n >= 0x80 {
		n = n&0x7f | int(m[i])<<7
		i++
	}
	if m[i-1] >= 0x80 || n < 2 || i+n != len(m) || m[i] != anyString<<3|bytes_ {
		return 0, 0
	}
	i += 2
	n = int(m[i-1])
	if n >= 0x80 && i < len(m) {
		n = n&0x7f | int(m[i])<<7
		i++
	}
	if m[i-1] >= 0x80 || i+n != len(m) {
		return 0, 0
	}
	return keyEnd, i
}

func (d *Decoder) attrInFull(m []byte) *fault {
	key, value, bad := keyValue(m)
	if bad != nil {
		return bad
	}
	a, bad := oneOf(value.p)
	if bad != nil {
		return within(bad, value.at, "value")
	}
	k := d.key(key)
	v, bad := d.value(a)
	if bad != nil {
		return within(bad, value.at+a.body.at, "value")
	}
	d.b.AddAttr(k, v)
	return nil
}

// pieces is a message that may have come in several parts: protobuf joins them. It is a view until there are two.
type pieces struct {
	p     []byte
	at    int // where the first part begins
	met   bool
	owned bool
}

func (x *pieces) add(p []byte, at int) {
	switch {
	case !x.met:
		x.p, x.at, x.met = p, at, true
	case !x.owned:
		joined := make([]byte, 0, 2*(len(x.p)+len(p)))
		x.p, x.owned = append(append(joined, x.p...), p...), true
	default:
		x.p = append(x.p, p...)
	}
}

// keyValue takes a KeyValue apart.
func keyValue(m []byte) (key []byte, value pieces, bad *fault) {
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return nil, value, bad
		}
		switch f.tag {
		case 1<<3 | bytes_:
			key = f.body
		case 2<<3 | bytes_:
			value.add(f.body, f.at)
		}
		i = next
	}
	return key, value, nil
}

// anyField is the member that an AnyValue holds.
type anyField struct {
	member int
	num    uint64
	body   pieces
}

// oneOf finds which member an AnyValue holds: the last one sent; arrays and lists that come in parts are joined.
func oneOf(m []byte) (a anyField, bad *fault) {
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return a, bad
		}
		switch f.tag {
		case anyBool<<3 | varint, anyInt<<3 | varint, anyDouble<<3 | fixed64:
			a = anyField{member: int(f.tag >> 3), num: f.num}
		case anyString<<3 | bytes_, anyBytes<<3 | bytes_:
			a = anyField{member: int(f.tag >> 3)}
			a.body.add(f.body, f.at)
		case anyArray<<3 | bytes_, anyKVList<<3 | bytes_:
			if a.member != int(f.tag>>3) {
				a = anyField{member: int(f.tag >> 3)}
			}
			a.body.add(f.body, f.at)
		}
		i = next
	}
	return a, nil
}

// value puts a member into the arena where it does not fit 8 bytes.
func (d *Decoder) value(a anyField) (span.Value, *fault) {
	b := d.b
	switch a.member {
	case anyString:
		return span.StrValue(span.TypeString, b.AddString(a.body.p)), nil
	case anyBytes:
		return span.StrValue(span.TypeBytes, b.AddString(a.body.p)), nil
	case anyBool:
		return span.BoolValue(a.num != 0), nil
	case anyInt:
		return span.IntValue(int64(a.num)), nil
	case anyDouble:
		return span.DoubleValue(math.Float64frombits(a.num)), nil
	case anyArray:
		off := len(b.Arena)
		arena, t, bad := d.appendArray(b.Arena, a.body.p, 1)
		if bad != nil {
			return span.Value{}, bad
		}
		b.Arena = arena
		return d.arrayValue(t, off), nil
	case anyKVList:
		off := len(b.Arena)
		arena, bad := d.appendList(b.Arena, a.body.p, 1)
		if bad != nil {
			return span.Value{}, bad
		}
		b.Arena = arena
		return d.arrayValue(span.TypeKVList, off), nil
	default:
		return span.Value{}, nil
	}
}

// arrayValue is a value of the arena's bytes from off on.
func (d *Decoder) arrayValue(t span.Type, off int) span.Value {
	if n := len(d.b.Arena) - off; n > 0 {
		return span.StrValue(t, span.Str{Off: uint32(off), Len: uint32(n)})
	}
	return span.StrValue(t, span.Str{})
}

// appendArray appends an ArrayValue's canonical bytes and finds its type.
func (d *Decoder) appendArray(dst, m []byte, depth int) ([]byte, span.Type, *fault) {
	var elems elemTypes
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return nil, 0, bad
		}
		if f.tag == 1<<3|bytes_ {
			var at int
			dst, at = openField(dst, 1<<3|bytes_)
			var member int
			if dst, member, bad = d.appendAny(dst, f.body, depth); bad != nil {
				return nil, 0, within(bad, f.at, "values")
			}
			dst = closeField(dst, at)
			elems.add(member)
		}
		i = next
	}
	return dst, elems.arrayType(), nil
}

// appendList appends a KeyValueList's canonical bytes. Repeated keys are kept.
func (d *Decoder) appendList(dst, m []byte, depth int) ([]byte, *fault) {
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return nil, bad
		}
		if f.tag == 1<<3|bytes_ {
			key, value, bad := keyValue(f.body)
			if bad != nil {
				return nil, within(bad, f.at, "values")
			}
			var entry, at int
			dst, entry = openField(dst, 1<<3|bytes_)
			if len(key) > 0 {
				dst, at = openField(dst, 1<<3|bytes_)
				dst = closeField(d.appendText(dst, key), at)
			}
			dst, at = openField(dst, 2<<3|bytes_)
			if dst, _, bad = d.appendAny(dst, value.p, depth); bad != nil {
				return nil, within(bad, f.at, "values")
			}
			dst = closeField(closeField(dst, at), entry)
		}
		i = next
	}
	return dst, nil
}

// appendAny appends an AnyValue's canonical bytes and says which member it holds.
func (d *Decoder) appendAny(dst, m []byte, depth int) (_ []byte, member int, bad *fault) {
	a, bad := oneOf(m)
	if bad != nil {
		return nil, 0, bad
	}
	var at int
	switch a.member {
	case anyString:
		dst, at = openField(dst, anyString<<3|bytes_)
		dst = closeField(d.appendText(dst, a.body.p), at)
	case anyBytes:
		dst, at = openField(dst, anyBytes<<3|bytes_)
		dst = closeField(append(dst, a.body.p...), at)
	case anyBool:
		dst = append(dst, anyBool<<3|varint, byte(min(a.num, 1)))
	case anyInt:
		dst = binary.AppendUvarint(append(dst, anyInt<<3|varint), a.num)
	case anyDouble:
		dst = binary.LittleEndian.AppendUint64(append(dst, anyDouble<<3|fixed64), a.num)
	case anyArray, anyKVList:
		dst, at = openField(dst, byte(a.member<<3|bytes_))
		if depth == maxNesting {
			d.mark |= span.MarkCut
		} else if a.member == anyArray {
			dst, _, bad = d.appendArray(dst, a.body.p, depth+1)
		} else {
			dst, bad = d.appendList(dst, a.body.p, depth+1)
		}
		if bad != nil {
			return nil, 0, within(bad, a.body.at, "value")
		}
		dst = closeField(dst, at)
	}
	return dst, a.member, nil
}

// elemTypes collects which members an array's elements hold.
type elemTypes uint16

func (e *elemTypes) add(member int) { *e |= 1 << member }

func (e elemTypes) arrayType() span.Type {
	switch e {
	case 0, 1 << anyString:
		return span.TypeStrings
	case 1 << anyInt:
		return span.TypeInts
	case 1 << anyDouble:
		return span.TypeDoubles
	case 1 << anyBool:
		return span.TypeBools
	default:
		return span.TypeArray
	}
}

// openField appends a tag and keeps a byte for the length; closeField fills it in when the content stands behind it, and
// moves the content where the length takes more. Contents lie in one another at most maxNesting deep, so bytes move a
// bounded number of times.
func openField(dst []byte, tag byte) ([]byte, int) { return append(dst, tag, 0), len(dst) + 2 }

func closeField(dst []byte, at int) []byte {
	n := len(dst) - at
	if n < 0x80 {
		dst[at-1] = byte(n)
		return dst
	}
	return widenField(dst, at, n)
}

func widenField(dst []byte, at, n int) []byte {
	var length [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(length[:], uint64(n))
	dst = append(dst, length[:k-1]...)
	copy(dst[at-1+k:], dst[at:at+n])
	copy(dst[at-1:], length[:k])
	return dst
}

// key interns an attribute's key.
func (d *Decoder) key(k []byte) uint32 {
	b := d.b
	if guess := d.follows[d.last]; int(guess) < len(b.Keys) {
		s := b.Keys[guess]
		if int(s.Len) == len(k) && string(b.Arena[s.Off:s.Off+s.Len]) == string(k) {
			d.last = guess % followers
			return guess
		}
	}
	i := d.intern(k)
	d.follows[d.last] = i
	d.last = i % followers
	return i
}

func (d *Decoder) intern(k []byte) uint32 {
	if !utf8.Valid(k) {
		k = d.appendText(nil, k)
	}
	known := len(d.b.Keys)
	i := d.b.InternKey(k)
	if int(i) == known {
		d.notice(i, k)
	}
	return i
}

// notice remembers the indexes of keys that tell a proxy.
func (d *Decoder) notice(i uint32, key []byte) {
	switch string(key) {
	case "component":
		d.component = i
	case "node_id":
		d.nodeID = i
	case "telemetry.sdk.name":
		d.sdkName = i
	}
}
