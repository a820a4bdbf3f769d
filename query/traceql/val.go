package traceql

import (
	"bytes"
	"encoding/base64"
	"math"

	"github.com/spanloom/spanloom/span"
)

// typeOpaque is the type of values that are there and equal nothing: null, bytes, mixed arrays and key-value lists.
const typeOpaque ValueType = 100

// val is a value on its way through a program. Its text is a view into the batch, its elements into the evaluator's scratch.
type val struct {
	typ  ValueType
	n    int64
	f    float64
	s    []byte
	list []val
}

func valOf(v Value) val {
	return val{typ: v.Type, n: v.n, f: v.f, s: []byte(v.s)}
}

// value copies a val out of the batch.
func (v val) value() Value {
	out := Value{Type: v.typ, n: v.n, f: v.f, s: string(v.s)}
	switch v.typ {
	case TypeArray:
		out.list = make([]Value, 0, len(v.list))
		for _, e := range v.list {
			if e = e.shown(); e.typ != TypeNil {
				out.list = append(out.list, e.value())
			}
		}
	case typeOpaque:
		return v.shown().value()
	}
	return out
}

// shown is what answers show of an opaque value: bytes in base64, nothing of the others.
func (v val) shown() val {
	if v.typ != typeOpaque {
		return v
	}
	if v.n == int64(span.TypeBytes) {
		return val{typ: TypeString, s: base64.StdEncoding.AppendEncode(nil, v.s)}
	}
	return val{}
}

func (v val) numeric() bool { return v.typ == TypeInt || v.typ == TypeFloat || v.typ == TypeDuration }

func (v val) number() float64 {
	if v.typ == TypeFloat {
		return v.f
	}
	return float64(v.n)
}

func boolVal(b bool) val {
	if b {
		return val{typ: TypeBool, n: 1}
	}
	return val{typ: TypeBool}
}

func (v val) isTrue() bool { return v.typ == TypeBool && v.n != 0 }

// compareScalars compares two values that are no arrays. Values whose types do not agree answer false, whatever the operator.
func compareScalars(op Op, l, r val, m *matcher) bool {
	switch {
	case l.numeric() && r.numeric():
		return holdsNumbers(op, l, r)
	case l.typ != r.typ:
		return false
	}
	switch l.typ {
	case TypeString:
		if op == OpRegex || op == OpNotRegex {
			return m.match(l.s) == (op == OpRegex)
		}
		if op == OpEq || op == OpNe {
			return bytes.Equal(l.s, r.s) == (op == OpEq)
		}
		return holdsOrder(op, bytes.Compare(l.s, r.s))
	case TypeBool, TypeStatus, TypeKind:
		return op == OpEq && l.n == r.n || op == OpNe && l.n != r.n
	default:
		return false
	}
}

func holdsNumbers(op Op, l, r val) bool {
	order, ok := compareNumbers(l, r)
	if !ok {
		return op == OpNe
	}
	return holdsOrder(op, order)
}

func holdsOrder(op Op, order int) bool {
	switch op {
	case OpEq:
		return order == 0
	case OpNe:
		return order != 0
	case OpLt:
		return order < 0
	case OpLe:
		return order <= 0
	case OpGt:
		return order > 0
	case OpGe:
		return order >= 0
	default:
		return false
	}
}

// compareNumbers orders ints and floats without loss; not ok where one is NaN.
func compareNumbers(l, r val) (int, bool) {
	switch {
	case l.typ != TypeFloat && r.typ != TypeFloat:
		return compare(l.n, r.n), true
	case l.typ == TypeFloat && r.typ == TypeFloat:
		return compare(l.f, r.f), l.f == l.f && r.f == r.f
	case l.typ == TypeFloat:
		c, ok := compareNumbers(r, l)
		return -c, ok
	case r.f != r.f:
		return 0, false
	case r.f >= math.MaxInt64: // the constant rounds up to 2^63
		return -1, true
	case r.f < math.MinInt64:
		return 1, true
	}
	whole := math.Trunc(r.f)
	if c := compare(l.n, int64(whole)); c != 0 {
		return c, true
	}
	return compare(0, r.f-whole), true
}

func compare[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}
