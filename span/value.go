package span

import "math"

// Type is the type of an attribute value.
type Type uint8

// The value types. Arrays of one scalar type have a type of their own because search gives them any/all semantics;
// all other arrays and key-value lists are opaque and kept as the bytes in which OTLP encodes them.
const (
	TypeNull    Type = iota // an empty AnyValue
	TypeString              // UTF-8
	TypeInt                 // int64
	TypeDouble              // float64
	TypeBool                //
	TypeBytes               //
	TypeStrings             // OTLP ArrayValue bytes whose elements are all strings (the empty array too)
	TypeInts                // OTLP ArrayValue bytes, all int
	TypeDoubles             // OTLP ArrayValue bytes, all double
	TypeBools               // OTLP ArrayValue bytes, all bool
	TypeArray               // OTLP ArrayValue bytes, mixed or nested
	TypeKVList              // OTLP KeyValueList bytes
	NumTypes
)

// InArena reports whether values of the type hold their bytes in the batch's arena.
func (t Type) InArena() bool { return t == TypeString || t >= TypeBytes }

// Str is a run of bytes in a Batch's arena. The zero Str is the empty string.
type Str struct{ Off, Len uint32 }

// Range is a run of entries in one of a Batch's tables.
type Range struct{ Off, Len uint32 }

// End is the index after the last entry.
func (r Range) End() uint32 { return r.Off + r.Len }

// Value is one attribute value in 16 bytes with its key: scalars stand in Bits, everything else in the arena.
type Value struct {
	Type Type
	Bits uint64 // int64, float64 bits, 0/1, or Off<<32 | Len
}

// StrValue makes a value of an arena type.
func StrValue(t Type, s Str) Value { return Value{t, uint64(s.Off)<<32 | uint64(s.Len)} }

// IntValue makes an int value.
func IntValue(v int64) Value { return Value{TypeInt, uint64(v)} }

// DoubleValue makes a double value.
func DoubleValue(v float64) Value { return Value{TypeDouble, math.Float64bits(v)} }

// BoolValue makes a bool value.
func BoolValue(v bool) Value {
	if v {
		return Value{TypeBool, 1}
	}
	return Value{TypeBool, 0}
}

// Str is the arena run of a value for which Type.InArena holds.
func (v Value) Str() Str { return Str{uint32(v.Bits >> 32), uint32(v.Bits)} }

// Int is the value of a TypeInt.
func (v Value) Int() int64 { return int64(v.Bits) }

// Double is the value of a TypeDouble.
func (v Value) Double() float64 { return math.Float64frombits(v.Bits) }

// Bool is the value of a TypeBool.
func (v Value) Bool() bool { return v.Bits != 0 }

// Attr is one attribute: Key indexes Batch.Keys.
type Attr struct {
	Key  uint32
	Type Type
	Bits uint64
}

// Value is the attribute's value without its key.
func (a Attr) Value() Value { return Value{a.Type, a.Bits} }
