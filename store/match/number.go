package match

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/span"
)

// number is an int64 or a float64, compared without loss: 2^53+1 as an int is more than 2^53 as a double.
type number struct {
	float bool
	i     int64
	f     float64
}

// numberOf reads a numeric value.
func numberOf(v span.Value) (number, bool) {
	switch v.Type {
	case span.TypeInt:
		return number{i: v.Int()}, true
	case span.TypeDouble:
		return number{float: true, f: v.Double()}, true
	default:
		return number{}, false
	}
}

// parseNumber reads decimal text: an int64 where it is one, else a double. Hexadecimal, infinities, NaN and Go's digit
// separators are not what people write into a search field and stay text.
func parseNumber[T string | []byte](text T) (number, bool) {
	dots, float := 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '.':
			dots++
			float = true
		case c == 'e' || c == 'E':
			float = true
		case (c < '0' || c > '9') && c != '-' && c != '+':
			return number{}, false
		}
	}
	if len(text) == 0 || dots > 1 { // addresses are frequent; strconv would allocate an error for each
		return number{}, false
	}
	s := string(text)
	if !float {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return number{i: i}, true
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return number{}, false
	}
	return number{float: true, f: f}, true
}

// parseDuration reads nanoseconds or a Go duration such as 100ms.
func parseDuration(text string) (number, bool) {
	if n, ok := parseNumber(text); ok {
		return n, true
	}
	d, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	return number{i: int64(d)}, err == nil
}

// compare is -1, 0 or 1; not ok where one of them is NaN.
func (n number) compare(o number) (c int, ok bool) {
	switch {
	case !n.float && !o.float:
		return order(n.i, o.i), true
	case n.float && o.float:
		return order(n.f, o.f), n.f == n.f && o.f == o.f
	case n.float:
		c, ok = o.compare(n)
		return -c, ok
	}
	switch {
	case o.f != o.f:
		return 0, false
	case o.f >= math.MaxInt64: // the constant rounds up to 2^63
		return -1, true
	case o.f < math.MinInt64:
		return 1, true
	}
	whole := math.Trunc(o.f)
	if c = order(n.i, int64(whole)); c == 0 {
		c = order(0, o.f-whole)
	}
	return c, true
}

func order[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}
