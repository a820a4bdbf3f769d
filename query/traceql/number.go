package traceql

import (
	"errors"
	"math"
)

// serviceName is the attribute that the store keeps as a column: the service as people see it.
const serviceName = "service.name"

var errZeroDivision = errors.New("division by zero")

// arithmetic computes with numbers. Durations count as ints of nanoseconds. Two ints give an int, with a float the result is one.
func arithmetic(op Op, l, r Value) (Value, error) {
	if l.Type == TypeFloat || r.Type == TypeFloat {
		f, err := floatArithmetic(op, l.Float(), r.Float())
		return FloatValue(f), err
	}
	if op == OpPow {
		return intPower(l.n, r.n), nil
	}
	n, err := intArithmetic(op, l.n, r.n)
	return IntValue(n), err
}

func floatArithmetic(op Op, l, r float64) (float64, error) {
	switch op {
	case OpAdd:
		return l + r, nil
	case OpSub:
		return l - r, nil
	case OpMul:
		return l * r, nil
	case OpPow:
		return math.Pow(l, r), nil
	}
	if r == 0 {
		return 0, errZeroDivision
	}
	if op == OpDiv {
		return l / r, nil
	}
	return math.Mod(l, r), nil
}

func intArithmetic(op Op, l, r int64) (int64, error) {
	switch op {
	case OpAdd:
		return l + r, nil
	case OpSub:
		return l - r, nil
	case OpMul:
		return l * r, nil
	}
	if r == 0 {
		return 0, errZeroDivision
	}
	if r == -1 { // minInt / -1 does not fit
		if op == OpDiv {
			return -l, nil
		}
		return 0, nil
	}
	if op == OpDiv {
		return l / r, nil
	}
	return l % r, nil
}

// intPower is an int where the exact result is one, else a float.
func intPower(base, exponent int64) Value {
	f := math.Pow(float64(base), float64(exponent))
	if exponent < 0 || math.Abs(f) >= 1<<53 {
		return FloatValue(f)
	}
	return IntValue(int64(f))
}
