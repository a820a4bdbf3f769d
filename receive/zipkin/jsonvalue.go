package zipkin

import (
	"bytes"
	"net/netip"

	"github.com/spanloom/spanloom/receive"
)

// idText reads an id's text; empty for null and "".
func (d *Decoder) idText(s *scanner, r *rawSpan, field string) ([]byte, bool) {
	if s.next() == '"' {
		return s.str()
	}
	if s.isNull() {
		return nil, true
	}
	text, ok := s.skip()
	if ok {
		r.bad(receive.BadID, field, text, "is not a string", "send lower-case hexadecimal digits in quotes")
	}
	return nil, ok
}

// fastHex reads an id in its canonical form (all digits, lower case, not zero); anything else is left to the slow way.
func fastHex(dst, text []byte) bool {
	if len(text) != 2*len(dst) {
		return false
	}
	var or byte
	for i := range dst {
		hi, lo := lowerHex[text[2*i]], lowerHex[text[2*i+1]]
		if hi|lo > 15 {
			clear(dst)
			return false
		}
		dst[i] = hi<<4 | lo
		or |= dst[i]
	}
	return or != 0
}

// lowerHex is the value of a lower-case hexadecimal digit, 0xff for anything else.
var lowerHex = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for c := byte(0); c < 10; c++ {
		t['0'+c] = c
	}
	for c := byte(0); c < 6; c++ {
		t['a'+c] = 10 + c
	}
	return t
}()

// oddID notes capitals in an id; strictly taken, they and a leading 0x are refused.
func (d *Decoder) oddID(text []byte) bool {
	for _, c := range text {
		if lowerHex[c] > 15 {
			if 'A' <= c && c <= 'F' {
				d.upperCase = true
			}
			if d.Strict {
				return false
			}
		}
	}
	return true
}

func isZeroHex(text []byte) bool {
	text = bytes.TrimPrefix(text, []byte("0x"))
	for _, c := range text {
		if c != '0' {
			return false
		}
	}
	return len(text) > 0 && len(text) <= 16
}

// text reads a string; null leaves dst alone.
func (d *Decoder) text(s *scanner, r *rawSpan, field string, dst *[]byte) bool {
	if s.next() == '"' {
		v, ok := s.str()
		if ok {
			*dst = v
		}
		return ok
	}
	if s.isNull() {
		return true
	}
	text, ok := s.skip()
	if ok {
		r.bad(receive.BadSpan, field, text, "is not a string", "send it in quotes")
	}
	return ok
}

// numberText is the text of a number, in quotes or not; nil for null.
func (d *Decoder) numberText(s *scanner) ([]byte, bool) {
	switch s.next() {
	case '"':
		return s.str()
	case '{', '[':
		return s.skip()
	case 'n':
		if s.isNull() {
			return nil, true
		}
	}
	if text := s.literal(); len(text) > 0 {
		return text, true
	}
	return nil, s.fail("expected a value")
}

// micros reads a time or a duration: an integer or a float such as 1.58e15, as old Envoys wrote. A time before 1970 is
// unknown; a negative duration is nonsense.
func (d *Decoder) micros(s *scanner, r *rawSpan, field string, dst *uint64) bool {
	text, ok := d.numberText(s)
	if !ok || text == nil {
		return ok
	}
	v, neg, ok := number(text)
	switch {
	case !ok:
		r.bad(receive.BadSpan, field, text, "is not a number", "send microseconds as an integer")
	case neg && dst == &r.duration:
		r.bad(receive.BadSpan, field, text, "is negative", "send microseconds of at least 1, or no duration")
	default:
		*dst = v
	}
	return true
}

func (d *Decoder) flag(s *scanner, r *rawSpan, field string, dst *bool) bool {
	text, ok := d.numberText(s)
	if !ok || text == nil {
		return ok
	}
	switch string(text) {
	case "true", "1":
		*dst = true
	case "false", "0", "":
		*dst = false
	default:
		r.bad(receive.BadSpan, field, text, "is not a boolean", "send true or false")
	}
	return true
}

// looseText is any value as text; nil for null.
func (d *Decoder) looseText(s *scanner) ([]byte, bool) {
	if s.next() == '"' {
		return s.str()
	}
	if s.isNull() {
		return nil, true
	}
	text, ok := s.skip()
	if !ok {
		return nil, false
	}
	return d.utf8(text), true
}

// setIP files the text of an address under the family it has, whatever field it came in, IPv6 in its canonical spelling.
// What is no address is dropped, as Zipkin does. Cost: an allocation where an IPv6 address is not the one before.
func (d *Decoder) setIP(e *endpoint, text []byte) {
	if isIPv4(text) {
		e.ipv4 = text
		return
	}
	if !isIPv6(text) {
		return
	}
	if !bytes.Equal(text, d.ipBefore) {
		a, err := netip.ParseAddr(string(text))
		if err != nil {
			return
		}
		d.ipBefore, d.ip = text, a
	}
	d.setAddr(e, d.ip)
}

// setAddr files an address; one that is IPv4 in IPv6 is IPv4.
func (d *Decoder) setAddr(e *endpoint, a netip.Addr) {
	a = a.Unmap()
	start := len(d.extra)
	d.extra = a.AppendTo(d.extra)
	text := d.extra[start:len(d.extra):len(d.extra)]
	if a.Is4() {
		e.ipv4 = text
	} else {
		e.ipv6 = text
	}
}

// setIP files the text of an address under the family it has, if it looks like one.
func (e *endpoint) setIP(text []byte) {
	switch {
	case isIPv4(text):
		e.ipv4 = text
	case isIPv6(text):
		e.ipv6 = text
	}
}

func isIPv4(text []byte) bool {
	if len(text) > 15 {
		return false
	}
	dots, digits, v := 0, 0, 0
	for _, c := range text {
		switch {
		case c == '.':
			if digits == 0 {
				return false
			}
			dots++
			digits, v = 0, 0
		case '0' <= c && c <= '9':
			if digits++; digits > 1 && v == 0 { // no leading zeros
				return false
			}
			if v = v*10 + int(c-'0'); v > 255 {
				return false
			}
		default:
			return false
		}
	}
	return dots == 3 && digits > 0
}

// isIPv6 looks at the alphabet and the colons only.
func isIPv6(text []byte) bool {
	colons := 0
	for _, c := range text {
		switch {
		case c == ':':
			colons++
		case c == '.', hexDigit(c) <= 15:
		default:
			return false
		}
	}
	return colons >= 2 && colons <= 8 && len(text) <= 45
}
