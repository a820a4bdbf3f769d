package match

import (
	"math"
	"strconv"

	"github.com/spanloom/spanloom/span"
)

// AppendText appends the text form of a scalar, the form in which loose operands are compared and values are listed:
// strings as they are, 200, true, 72.5. Doubles are written as JSON does: without an exponent from 1e-6 to 1e21. It
// reports false for everything that is no scalar (null, bytes, arrays, lists).
func AppendText(dst []byte, b *span.Batch, v span.Value) ([]byte, bool) {
	switch v.Type {
	case span.TypeString:
		return append(dst, b.Bytes(v.Str())...), true
	case span.TypeInt:
		return strconv.AppendInt(dst, v.Int(), 10), true
	case span.TypeDouble:
		return appendDouble(dst, v.Double()), true
	case span.TypeBool:
		return strconv.AppendBool(dst, v.Bool()), true
	default:
		return dst, false
	}
}

func appendDouble(dst []byte, f float64) []byte {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}
