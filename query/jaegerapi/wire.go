package jaegerapi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/internal/problem"
)

// openField begins a nested message whose length is not known yet; closeField ends it.
func openField(dst []byte, num protowire.Number) (opened []byte, at int) {
	dst = append(protowire.AppendTag(dst, num, protowire.BytesType), 0)
	return dst, len(dst)
}

// closeField writes the length before what was appended since. One byte was left for it; longer ones make room.
func closeField(dst []byte, at int) []byte {
	n := len(dst) - at
	size := protowire.SizeVarint(uint64(n))
	for range size - 1 {
		dst = append(dst, 0)
	}
	if size > 1 {
		copy(dst[at+size-1:], dst[at:at+n])
	}
	binary.PutUvarint(dst[at-1:at-1+size], uint64(n))
	return dst
}

func appendBytes[T string | []byte](dst []byte, num protowire.Number, v T) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return append(protowire.AppendVarint(dst, uint64(len(v))), v...)
}

// appendText leaves out what is empty.
func appendText[T string | []byte](dst []byte, num protowire.Number, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	return appendBytes(dst, num, v)
}

func appendVarint(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
}

// appendTime writes a google.protobuf.Timestamp or Duration of nanoseconds. Those of a duration have its sign.
func appendTime(dst []byte, num protowire.Number, ns int64, duration bool) []byte {
	seconds, rest := ns/1e9, ns%1e9
	if rest < 0 && !duration {
		seconds, rest = seconds-1, rest+1e9
	}
	dst, at := openField(dst, num)
	dst = appendVarint(dst, 1, uint64(seconds))
	dst = appendVarint(dst, 2, uint64(rest))
	return closeField(dst, at)
}

// field is one field of a message: number is of varints and fixed values, bytes of the rest.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	number uint64
	bytes  []byte
}

var errWire = errors.New("not a message of this type")

// eachField calls f with the fields of a message; groups are skipped.
func eachField(p []byte, f func(field) error) error {
	for len(p) > 0 {
		num, typ, n := protowire.ConsumeTag(p)
		if n < 0 {
			return errWire
		}
		p = p[n:]
		v := field{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(p)
		case protowire.Fixed64Type:
			v.number, n = protowire.ConsumeFixed64(p)
		case protowire.Fixed32Type:
			var v32 uint32
			v32, n = protowire.ConsumeFixed32(p)
			v.number = uint64(v32)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(p)
		default:
			n = protowire.ConsumeFieldValue(num, typ, p)
		}
		if n < 0 {
			return errWire
		}
		p = p[n:]
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

// want checks a field's type.
func (f field) want(typ protowire.Type) error {
	if f.typ != typ {
		return fmt.Errorf("%w: field %d has wire type %d", errWire, f.num, f.typ)
	}
	return nil
}

// readTime reads a Timestamp or Duration. A present but empty message is 0; what does not fit becomes the nearest that does.
func (f field) readTime() (ns int64, err error) {
	if err := f.want(protowire.BytesType); err != nil {
		return 0, err
	}
	var seconds, nanos int64
	err = eachField(f.bytes, func(f field) error {
		if err := f.want(protowire.VarintType); err != nil {
			return err
		}
		switch f.num {
		case 1:
			seconds = int64(f.number)
		case 2:
			nanos = int64(int32(f.number))
		}
		return nil
	})
	const most = math.MaxInt64 / int64(time.Second)
	switch {
	case seconds > most-2:
		return math.MaxInt64, err
	case seconds < -most+2:
		return math.MinInt64, err
	}
	return seconds*int64(time.Second) + nanos, err
}

// badMessage is what a client is told about a message that cannot be read.
func badMessage(err error) error {
	if !errors.Is(err, errWire) {
		return err
	}
	return &problem.Problem{Kind: problem.Invalid, Message: "malformed request object", Err: err}
}

func appendFixed64(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendFixed64(protowire.AppendTag(dst, num, protowire.Fixed64Type), v)
}
