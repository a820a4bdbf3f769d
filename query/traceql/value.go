package traceql

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/span"
)

// ValueType is the type of a Value.
type ValueType uint8

// The value types.
const (
	TypeNil ValueType = iota
	TypeInt
	TypeFloat
	TypeString
	TypeBool
	TypeDuration
	TypeStatus
	TypeKind
	TypeArray // of scalars, mostly of one type: attributes that are arrays, attributes and intrinsics of events and links
)

// String is the word of error messages.
func (t ValueType) String() string {
	return [...]string{"nil", "int", "float", "string", "bool", "duration", "status", "kind", "array"}[t]
}

// Value is a TraceQL value: a literal of a query or what a span says. It shares no memory with any batch. The zero Value
// is nil.
type Value struct {
	Type ValueType
	n    int64 // int, bool, duration (ns), status, kind
	f    float64
	s    string
	list []Value
}

// IntValue makes an int.
func IntValue(v int64) Value { return Value{Type: TypeInt, n: v} }

// FloatValue makes a float.
func FloatValue(v float64) Value { return Value{Type: TypeFloat, f: v} }

// StringValue makes a string.
func StringValue(s string) Value { return Value{Type: TypeString, s: s} }

// BoolValue makes a bool.
func BoolValue(v bool) Value {
	if v {
		return Value{Type: TypeBool, n: 1}
	}
	return Value{Type: TypeBool}
}

// DurationValue makes a duration of nanoseconds.
func DurationValue(ns int64) Value { return Value{Type: TypeDuration, n: ns} }

// StatusValue makes a status.
func StatusValue(s span.Status) Value { return Value{Type: TypeStatus, n: int64(s)} }

// KindValue makes a kind.
func KindValue(k span.Kind) Value { return Value{Type: TypeKind, n: int64(k)} }

// ArrayValue makes an array; it keeps the slice.
func ArrayValue(list []Value) Value { return Value{Type: TypeArray, list: list} }

// Int is the value of an int, the nanoseconds of a duration.
func (v Value) Int() int64 { return v.n }

// Float is the value of a float; an int or a duration (ns) as one; NaN for all else.
func (v Value) Float() float64 {
	switch v.Type {
	case TypeFloat:
		return v.f
	case TypeInt, TypeDuration:
		return float64(v.n)
	default:
		return math.NaN()
	}
}

// Text is the value of a string.
func (v Value) Text() string { return v.s }

// Bool is the value of a bool.
func (v Value) Bool() bool { return v.Type == TypeBool && v.n != 0 }

// Duration is the value of a duration.
func (v Value) Duration() time.Duration { return time.Duration(v.n) }

// Status is the value of a status.
func (v Value) Status() span.Status { return span.Status(v.n) }

// Kind is the value of a kind.
func (v Value) Kind() span.Kind { return span.Kind(v.n) }

// List is the elements of an array.
func (v Value) List() []Value { return v.list }

// IsNil reports the absent value.
func (v Value) IsNil() bool { return v.Type == TypeNil }

// String is the text that people read: strings as they are, words for status and kind, 1.5ms for durations, [a, b] for
// arrays, nil for the absent value.
func (v Value) String() string {
	switch v.Type {
	case TypeInt:
		return strconv.FormatInt(v.n, 10)
	case TypeFloat:
		return strconv.FormatFloat(v.f, 'g', -1, 64)
	case TypeString:
		return v.s
	case TypeBool:
		return strconv.FormatBool(v.n != 0)
	case TypeDuration:
		return time.Duration(v.n).String()
	case TypeStatus:
		return span.Status(v.n).String()
	case TypeKind:
		return span.Kind(v.n).String()
	case TypeArray:
		words := make([]string, len(v.list))
		for i, e := range v.list {
			words[i] = e.String()
		}
		return "[" + strings.Join(words, ", ") + "]"
	default:
		return "nil"
	}
}

// Literal is the value as a query writes it. Arrays, which queries cannot write, are literals in brackets.
func (v Value) Literal() string {
	switch v.Type {
	case TypeArray:
		words := make([]string, len(v.list))
		for i, e := range v.list {
			words[i] = e.Literal()
		}
		return "[" + strings.Join(words, ", ") + "]"
	case TypeString:
		return strconv.Quote(v.s)
	case TypeFloat:
		s := strconv.FormatFloat(v.f, 'g', -1, 64)
		if !strings.ContainsAny(s, ".eIN") {
			s += ".0"
		}
		return strings.Replace(s, "e+", "e", 1)
	default:
		return v.String()
	}
}

// appendKey appends a form in which two values are equal if and only if they are the same: what series and groups go by.
func (v Value) appendKey(dst []byte) []byte {
	dst = append(dst, byte(v.Type))
	switch v.Type {
	case TypeFloat:
		return appendUint64(dst, math.Float64bits(v.f))
	case TypeString:
		return append(appendUint64(dst, uint64(len(v.s))), v.s...)
	case TypeArray:
		dst = appendUint64(dst, uint64(len(v.list)))
		for _, e := range v.list {
			dst = e.appendKey(dst)
		}
		return dst
	default:
		return appendUint64(dst, uint64(v.n))
	}
}

// size is about the bytes a value holds beside itself.
func (v Value) size() int {
	n := len(v.s)
	for _, e := range v.list {
		n += 80 + len(e.s)
	}
	return n
}

func appendUint64(dst []byte, v uint64) []byte {
	return append(dst, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}
