package zipkin

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON in place, without building values. Strings come out as views of the text: escapes are undone where
// they stand, so the text is changed by reading it. Only a string with invalid UTF-8 is copied, because U+FFFD is longer
// than the byte it replaces.
//
// It is liberal in what it skips (an unknown field's value needs matching brackets and closed strings, nothing more), takes
// control characters inside strings and commas before a closing bracket, and never recurses.
type scanner struct {
	p       []byte
	at      int
	broken  string // why the text cannot be read on; empty while it can
	nest    []byte // closing brackets a skipped value still needs
	patched []byte // strings that did not fit their place; grows, so that views into it stay valid
}

// maxDepth is how deep a skipped value may nest.
const maxDepth = 512

const (
	ones    = 0x0101010101010101
	highs   = 0x8080808080808080
	quotes  = '"' * ones
	escapes = '\\' * ones
)

func (s *scanner) reset(p []byte) {
	s.p, s.at, s.broken = p, 0, ""
	s.nest, s.patched = s.nest[:0], s.patched[:0]
}

// fail notes the first fault and answers false.
func (s *scanner) fail(why string) bool {
	if s.broken == "" {
		s.broken = why
	}
	return false
}

// next skips white space and shows the next byte; 0 at the end.
func (s *scanner) next() byte {
	for s.at < len(s.p) {
		if c := s.p[s.at]; c > ' ' {
			return c
		}
		s.at++
	}
	return 0
}

// field reads the next field's name and stands before its value. False at the object's end, which it consumes, and on a
// fault; first says that no field was read yet.
func (s *scanner) field(first bool) (name []byte, ok bool) {
	c := s.next()
	if c == ',' && !first {
		s.at++
		c = s.next()
	} else if !first && c != '}' {
		return nil, s.fail("expected , or } after a field")
	}
	if c == '}' {
		s.at++
		return nil, false
	}
	if c != '"' {
		return nil, s.fail("expected a field name")
	}
	if name, ok = s.str(); !ok {
		return nil, false
	}
	if s.next() != ':' {
		return nil, s.fail("expected : after a field name")
	}
	s.at++
	return name, true
}

// element stands before an array's next element. False at the array's end, which it consumes, and on a fault.
func (s *scanner) element(first bool) bool {
	c := s.next()
	if c == ',' && !first {
		s.at++
		c = s.next()
	} else if !first && c != ']' {
		return s.fail("expected , or ] after an element")
	}
	if c == ']' {
		s.at++
		return false
	}
	if c == 0 {
		return s.fail("the text ends inside an array")
	}
	return true
}

// str reads a string whose opening quote is next. Eight bytes at a time: the lowest flagged byte of a word is a true hit,
// those above it may be borrow noise.
func (s *scanner) str() ([]byte, bool) {
	p, start := s.p, s.at+1
	var high uint64
	i := start
	for ; i+8 <= len(p); i += 8 {
		w := binary.LittleEndian.Uint64(p[i:])
		q, e := w^quotes, w^escapes
		hit := ((q-ones)&^q | (e-ones)&^e) & highs
		if hit != 0 {
			n := bits.TrailingZeros64(hit) & 56
			high |= w & (1<<n - 1)
			i += n >> 3
			if high&highs == 0 && uint(i) < uint(len(p)) && p[i] == '"' {
				s.at = i + 1
				return p[start:i:i], true
			}
			return s.endStr(start, i, high)
		}
		high |= w
	}
	for ; i < len(p); i++ {
		if p[i] == '"' || p[i] == '\\' {
			return s.endStr(start, i, high)
		}
		high |= uint64(p[i])
	}
	s.at = len(p)
	return nil, s.fail("the text ends inside a string")
}

func (s *scanner) endStr(start, i int, high uint64) ([]byte, bool) {
	if s.p[i] == '\\' {
		return s.unescape(start, i)
	}
	s.at = i + 1
	v := s.p[start:i:i]
	if high&highs != 0 && !utf8.Valid(v) {
		v = s.valid(v)
	}
	return v, true
}

// unescape moves the rest of a string over its escapes; i is the first backslash.
func (s *scanner) unescape(start, i int) ([]byte, bool) {
	p, to := s.p, i
	for i < len(p) {
		c := p[i]
		if c == '"' {
			s.at = i + 1
			v := p[start:to:to]
			if !utf8.Valid(v) {
				v = s.valid(v)
			}
			return v, true
		}
		if c != '\\' {
			p[to] = c
			to++
			i++
			continue
		}
		if i+1 >= len(p) {
			break
		}
		c = p[i+1]
		i += 2
		switch c {
		case '"', '\\', '/':
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, ok := hex4(p[i:])
			if !ok {
				s.at = min(i, len(p))
				return nil, s.fail(`expected four hexadecimal digits after \u`)
			}
			i += 4
			if utf16.IsSurrogate(r) {
				second := rune(-1)
				if i+6 <= len(p) && p[i] == '\\' && p[i+1] == 'u' {
					second, _ = hex4(p[i+2:])
				}
				if r = utf16.DecodeRune(r, second); r != utf8.RuneError {
					i += 6
				}
			}
			to += utf8.EncodeRune(p[to:i], r)
			continue
		default:
			s.at = i - 1
			return nil, s.fail("unknown escape in a string")
		}
		p[to] = c
		to++
	}
	s.at = len(p)
	return nil, s.fail("the text ends inside a string")
}

func hex4(p []byte) (r rune, ok bool) {
	if len(p) < 4 {
		return -1, false
	}
	for _, c := range p[:4] {
		n := hexDigit(c)
		if n > 15 {
			return -1, false
		}
		r = r<<4 | rune(n)
	}
	return r, true
}

func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// valid copies a string with each byte that is not UTF-8 replaced by U+FFFD.
func (s *scanner) valid(v []byte) []byte {
	start := len(s.patched)
	s.patched = appendValid(s.patched, v)
	return s.patched[start:len(s.patched):len(s.patched)]
}

func appendValid(dst, v []byte) []byte {
	for len(v) > 0 {
		r, n := utf8.DecodeRune(v)
		dst = utf8.AppendRune(dst, r)
		v = v[n:]
	}
	return dst
}

// skip passes over the next value, whatever it is, and returns its text unchanged.
func (s *scanner) skip() ([]byte, bool) {
	s.nest = s.nest[:0]
	c := s.next()
	start := s.at
	for {
		switch c {
		case '"':
			if !s.skipString() {
				return nil, false
			}
		case '{', '[':
			if len(s.nest) == maxDepth {
				return nil, s.fail("nested deeper than " + strconv.Itoa(maxDepth) + " levels")
			}
			s.nest = append(s.nest, c+2) // both closing brackets stand two after their opening ones in ASCII
			s.at++
		case '}', ']':
			if len(s.nest) == 0 || s.nest[len(s.nest)-1] != c {
				return nil, s.fail("a closing bracket that does not match")
			}
			s.nest = s.nest[:len(s.nest)-1]
			s.at++
		case ',', ':':
			if len(s.nest) == 0 {
				return nil, s.fail("expected a value")
			}
			s.at++
		case 0:
			return nil, s.fail("the text ends inside a value")
		default:
			s.literal()
		}
		if len(s.nest) == 0 {
			return s.p[start:s.at:s.at], true
		}
		c = s.next()
	}
}

func (s *scanner) skipString() bool {
	p := s.p
	for i := s.at + 1; i < len(p); i++ {
		switch p[i] {
		case '"':
			s.at = i + 1
			return true
		case '\\':
			i++
		}
	}
	s.at = len(p)
	return s.fail("the text ends inside a string")
}

// literal passes over a number, true, false, null or whatever stands there up to the next delimiter.
func (s *scanner) literal() []byte {
	start := s.at
	for s.at < len(s.p) {
		switch c := s.p[s.at]; {
		case c <= ' ', c == ',', c == ':', c == '}', c == ']', c == '"', c == '{', c == '[':
			return s.p[start:s.at:s.at]
		}
		s.at++
	}
	return s.p[start:s.at:s.at]
}

// isNull consumes a null.
func (s *scanner) isNull() bool {
	if s.next() == 'n' && len(s.p)-s.at >= 4 && string(s.p[s.at:s.at+4]) == "null" {
		s.at += 4
		return true
	}
	return false
}

// number is a whole number out of JSON text. Fractions are cut off, but what lies between 0 and 1 counts as 1, as Zipkin's
// reporters round durations; what exceeds 64 bits is the largest number. neg reports a number below 0.
func number(text []byte) (v uint64, neg, ok bool) {
	if len(text) > 0 && len(text) < 20 {
		for _, c := range text {
			if c < '0' || c > '9' {
				return floatNumber(text)
			}
			v = v*10 + uint64(c-'0')
		}
		return v, false, true
	}
	return floatNumber(text)
}

func floatNumber(text []byte) (v uint64, neg, ok bool) {
	if !isNumeric(text) {
		return 0, false, false
	}
	if u, err := strconv.ParseUint(string(text), 10, 64); err == nil {
		return u, false, true
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false, false
	}
	switch {
	case f < 0:
		return 0, true, true
	case f == 0:
		return 0, false, true
	case f < 1:
		return 1, false, true
	case f >= 1<<64:
		return math.MaxUint64, false, true
	}
	return uint64(f), false, true
}

// isNumeric looks at the alphabet only, which leaves out what strconv reads and JSON does not: Inf, NaN, 0x1p3.
func isNumeric(text []byte) bool {
	for _, c := range text {
		switch {
		case '0' <= c && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
		default:
			return false
		}
	}
	return len(text) > 0 && len(text) <= 400
}
