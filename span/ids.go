// Package span is the vocabulary of Spanloom: ids, kinds, values and the columnar Batch in which every span travels
// from a receiver to a segment and back to a reader. It imports none of the other rooms and does no I/O.
//
// OpenTelemetry's trace model is the inner truth: what comes in by OTLP goes out by OTLP field by field.
package span

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// TraceID is a 128-bit trace id, big-endian. Ids of 64 bits are left-padded with zeros.
type TraceID [16]byte

// SpanID is a 64-bit span id, big-endian. The zero id means "none" and is never stored as an own id.
type SpanID [8]byte

// ErrBadID comes for ids that are empty, zero, too long or not hexadecimal. Receivers refuse such a span with the
// reason bad_id; look-ups answer 400.
var ErrBadID = errors.New("id is not 1 to 32 (span: 16) hexadecimal digits other than zero")

// IsZero reports the absent id.
func (id TraceID) IsZero() bool { return id == TraceID{} }

// Low is the lower 64 bits: the key of every id filter, bloom and map, so that a 64-bit hop and its 128-bit twin are
// found by one look-up.
func (id TraceID) Low() uint64 { return binary.BigEndian.Uint64(id[8:]) }

// High is the upper 64 bits; 0 for ids that were sent with 64.
func (id TraceID) High() uint64 { return binary.BigEndian.Uint64(id[:8]) }

// IsTwin reports whether two ids differ only in that the upper half of one of them is zero.
func (id TraceID) IsTwin(o TraceID) bool {
	return id != o && id.Low() == o.Low() && (id.High() == 0 || o.High() == 0)
}

// String is the canonical form: 32 lower-case hexadecimal digits.
func (id TraceID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports the absent id.
func (id SpanID) IsZero() bool { return id == SpanID{} }

// Uint64 is the id as a number.
func (id SpanID) Uint64() uint64 { return binary.BigEndian.Uint64(id[:]) }

// String is the canonical form: 16 lower-case hexadecimal digits.
func (id SpanID) String() string { return hex.EncodeToString(id[:]) }

// TraceIDFromUint64s builds an id from its halves.
func TraceIDFromUint64s(high, low uint64) (id TraceID) {
	binary.BigEndian.PutUint64(id[:8], high)
	binary.BigEndian.PutUint64(id[8:], low)
	return id
}

// SpanIDFromUint64 builds an id from a number.
func SpanIDFromUint64(v uint64) (id SpanID) {
	binary.BigEndian.PutUint64(id[:], v)
	return id
}

// ParseTraceID reads a textual id: an optional 0x is stripped, any case is taken, fewer than 32 digits are
// left-padded. Zero, empty, longer or other text is ErrBadID. It allocates nothing.
func ParseTraceID[T string | []byte](s T) (id TraceID, err error) {
	if !parseHex(id[:], s) || id.IsZero() {
		return TraceID{}, ErrBadID
	}
	return id, nil
}

// ParseSpanID is ParseTraceID for span ids of at most 16 digits.
func ParseSpanID[T string | []byte](s T) (id SpanID, err error) {
	if !parseHex(id[:], s) || id.IsZero() {
		return SpanID{}, ErrBadID
	}
	return id, nil
}

// parseHex fills dst from the right.
func parseHex[T string | []byte](dst []byte, s T) bool {
	if len(s) >= 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		s = s[2:]
	}
	if len(s) == 0 || len(s) > 2*len(dst) {
		return false
	}
	at := 2*len(dst) - len(s) // nibble position
	for i := 0; i < len(s); i++ {
		n := hexDigit[s[i]]
		if n > 15 {
			return false
		}
		if at&1 == 0 {
			dst[at>>1] = n << 4
		} else {
			dst[at>>1] |= n
		}
		at++
	}
	return true
}

var hexDigit = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] = c - '0'
	}
	for c := byte(0); c < 6; c++ {
		t['a'+c], t['A'+c] = 10+c, 10+c
	}
	return t
}()

// Kind is OpenTelemetry's span kind, with OTLP's numbers.
type Kind uint8

// The kinds in OTLP's numbering. Zipkin and TraceQL number them otherwise; only their dialects know.
const (
	KindUnspecified Kind = iota
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
	numKinds
)

var kindNames = [numKinds]string{"unspecified", "internal", "server", "client", "producer", "consumer"}

// String is the lower-case word; numbers outside the specification read "unspecified".
func (k Kind) String() string {
	if k >= numKinds {
		return kindNames[0]
	}
	return kindNames[k]
}

// Status is OpenTelemetry's status code, with OTLP's numbers.
type Status uint8

// The status codes.
const (
	StatusUnset Status = iota
	StatusOK
	StatusError
)

// String is the lower-case word.
func (s Status) String() string {
	switch s {
	case StatusOK:
		return "ok"
	case StatusError:
		return "error"
	default:
		return "unset"
	}
}
