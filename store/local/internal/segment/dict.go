package segment

import (
	"bytes"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
)

// How the texts of a dictionary are written.
const (
	textsRaw   = 0 // lengths, then all bytes
	textsUUID  = 1 // 16 bytes each for 36 characters
	textsHex   = 2 // half as many bytes as characters, all of one even length
	textsSplit = 3 // texts without their last number, and the numbers
)

// minSplit is how many texts a dictionary must have for the number in them to be looked at.
const minSplit = 24

// Dict is the different values of a column in one block: texts, or numbers. Texts that are not stored as such (UUIDs, texts with a
// number) are made when they are asked for: one by one, or all at once by All.
type Dict struct {
	Nums  []uint64
	arena []byte
	ends  []uint32 // of text i in arena, which begins where the one before ends
	lazy  *lazyTexts
}

// lazyTexts is texts as they are stored.
type lazyTexts struct {
	n    int
	form byte
	raw  []byte // of UUIDs and hexadecimal texts
	size int    // bytes of raw for a text
	// of split texts: the rest of each, where the number stands in it, and the numbers
	rest  Dict
	codes []uint32
	cut   []uint64
	nums  []uint64
	numAt []uint32 // where the number of a text stands in nums; nil where each text has one
}

// Len is the number of values.
func (d *Dict) Len() int {
	if d.lazy != nil {
		return d.lazy.n
	}
	return max(len(d.ends), len(d.Nums))
}

// All makes all texts: text i is the run in arena that ends at ends[i] and begins where the one before ends.
func (d *Dict) All() (arena []byte, ends []uint32) {
	if l := d.lazy; l != nil {
		d.arena, d.ends = make([]byte, 0, l.bytes()), make([]uint32, 0, l.n)
		for i := range l.n {
			d.arena = l.append(d.arena, uint32(i))
			d.ends = append(d.ends, uint32(len(d.arena)))
		}
		d.lazy = nil
	}
	return d.arena, d.ends
}

// Run is where text i lies in All's arena, after All.
func (d *Dict) Run(i uint32) (off, length uint32) {
	if i > 0 {
		off = d.ends[i-1]
	}
	return off, d.ends[i] - off
}

// Append appends text i.
func (d *Dict) Append(dst []byte, i uint32) []byte {
	if d.lazy != nil {
		return d.lazy.append(dst, i)
	}
	off, n := d.Run(i)
	return append(dst, d.arena[off:off+n]...)
}

// Find is the code of a text; texts that are stored in another form are not made for it.
func (d *Dict) Find(text []byte) (code uint32, ok bool) {
	if d.lazy != nil {
		return d.lazy.find(text)
	}
	from := uint32(0)
	for i, end := range d.ends {
		if bytes.Equal(d.arena[from:end], text) {
			return uint32(i), true
		}
		from = end
	}
	return 0, false
}

func (l *lazyTexts) find(text []byte) (code uint32, ok bool) {
	var packed []byte
	switch {
	case l.form == textsUUID && isUUID(text):
		packed = appendUUID(nil, text)
	case l.form == textsHex && len(text) == 2*l.size && isHex(text):
		packed = appendHex(nil, text)
	case l.form == textsSplit:
		return l.findSplit(text)
	default:
		return 0, false
	}
	for i, raw := 0, l.raw; len(raw) >= len(packed); i, raw = i+1, raw[len(packed):] {
		if bytes.Equal(raw[:len(packed)], packed) {
			return uint32(i), true
		}
	}
	return 0, false
}

func (l *lazyTexts) findSplit(text []byte) (code uint32, ok bool) {
	from, to := lastNumber(text)
	cut, number := uint64(0), uint64(0)
	if from < to {
		cut = uint64(len(text)-to) + 1
		number, _ = strconv.ParseUint(string(text[from:to]), 10, 64) // at most 18 digits
	}
	rest := slices.Concat(text[:from], text[to:])
	for i := range l.cut {
		off, n := l.rest.Run(uint32(i))
		if l.cut[i] != cut || !bytes.Equal(l.rest.arena[off:off+n], rest) {
			continue
		}
		for at, c := range l.codes {
			if int(c) == i && (cut == 0 || l.nums[l.number(uint32(at))] == number) {
				return uint32(at), true
			}
		}
	}
	return 0, false
}

// number is where the number of text i stands in nums.
func (l *lazyTexts) number(i uint32) uint32 {
	if l.numAt != nil {
		return l.numAt[i]
	}
	return i
}

// bytes is about the length of all texts.
func (l *lazyTexts) bytes() int {
	switch l.form {
	case textsUUID:
		return 36 * l.n
	case textsHex:
		return 2 * len(l.raw)
	}
	sum := 8 * len(l.nums)
	for _, c := range l.codes {
		_, n := l.rest.Run(c)
		sum += int(n)
	}
	return sum
}

func (l *lazyTexts) append(dst []byte, i uint32) []byte {
	switch l.form {
	case textsUUID:
		p := l.raw[16*i : 16*i+16]
		dst = append(unhex(dst, p[:4]), '-')
		dst = append(unhex(dst, p[4:6]), '-')
		dst = append(unhex(dst, p[6:8]), '-')
		dst = append(unhex(dst, p[8:10]), '-')
		return unhex(dst, p[10:])
	case textsHex:
		return unhex(dst, l.raw[l.size*int(i):l.size*int(i)+l.size])
	}
	code := l.codes[i]
	off, n := l.rest.Run(code)
	t := l.rest.arena[off : off+n]
	if l.cut[code] == 0 {
		return append(dst, t...)
	}
	at := l.number(i)
	cut := len(t) - int(l.cut[code]-1)
	dst = strconv.AppendUint(append(dst, t[:cut]...), l.nums[at], 10)
	return append(dst, t[cut:]...)
}

// texts appends a dictionary. ctx and at are the contexts of the rows in which each text stands first, nil for none: the part of a
// text beside its number often follows from them.
func (c *coder) texts(dst []byte, texts [][]byte, ctx *contexts, at []uint32) []byte {
	if all(texts, isUUID) {
		dst = append(dst, textsUUID)
		for _, t := range texts {
			dst = appendUUID(dst, t)
		}
		return dst
	}
	if n := len(texts[0]); n >= 16 && n%2 == 0 && n < 256 && all(texts, func(t []byte) bool { return len(t) == n && isHex(t) }) {
		dst = append(dst, textsHex, byte(n))
		for _, t := range texts {
			dst = appendHex(dst, t)
		}
		return dst
	}
	if len(texts) >= minSplit {
		if out, ok := c.split(dst, texts, ctx, at); ok {
			return out
		}
	}
	dst = append(dst, textsRaw)
	return c.rawTexts(dst, texts)
}

func (c *coder) rawTexts(dst []byte, texts [][]byte) []byte {
	c.num, c.out = c.num[:0], c.out[:0]
	for _, t := range texts {
		c.num = append(c.num, uint64(len(t)))
		c.out = append(c.out, t...)
	}
	dst = c.p.numbers(dst, c.num)
	return c.p.bytes(dst, c.out)
}

func all(texts [][]byte, is func([]byte) bool) bool {
	for _, t := range texts {
		if !is(t) {
			return false
		}
	}
	return true
}

func isUUID(t []byte) bool {
	return len(t) == 36 && t[8] == '-' && t[13] == '-' && t[18] == '-' && t[23] == '-' &&
		isHex(t[:8]) && isHex(t[9:13]) && isHex(t[14:18]) && isHex(t[19:23]) && isHex(t[24:])
}

// appendUUID appends the 16 bytes of a UUID.
func appendUUID(dst, t []byte) []byte {
	for _, run := range [...][]byte{t[:8], t[9:13], t[14:18], t[19:23], t[24:]} {
		dst = appendHex(dst, run)
	}
	return dst
}

func isHex(t []byte) bool {
	for _, b := range t {
		if (b < '0' || b > '9') && (b < 'a' || b > 'f') {
			return false
		}
	}
	return true
}

func nibble(b byte) byte {
	if b <= '9' {
		return b - '0'
	}
	return b - 'a' + 10
}

func appendHex(dst, t []byte) []byte {
	for i := 0; i < len(t); i += 2 {
		dst = append(dst, nibble(t[i])<<4|nibble(t[i+1]))
	}
	return dst
}

// maxDigits of a number that is taken out of a text: every such number fits into 64 bits.
const maxDigits = 18

// lastNumber is where the last run of digits of a text lies that can be written as a number and read back as it was. The run is cut
// at its front where it is too long or begins with zeros.
func lastNumber(t []byte) (from, to int) {
	to = len(t)
	for to > 0 && (t[to-1] < '0' || t[to-1] > '9') {
		to--
	}
	from = to
	for from > 0 && to-from < maxDigits && t[from-1] >= '0' && t[from-1] <= '9' {
		from--
	}
	for from < to-1 && t[from] == '0' {
		from++
	}
	return from, to
}

// splitter finds the texts that differ in their last number only.
type splitter struct {
	index map[string]uint32
	texts [][]byte
	ends  []uint64 // bytes after the number + 1; 0: no number
	key   []byte
}

// split takes the last number out of each text. Not ok if the rest is nearly as different as the whole.
func (c *coder) split(dst []byte, texts [][]byte, ctx *contexts, at []uint32) ([]byte, bool) {
	s := splitter{index: make(map[string]uint32)}
	codes, nums := make([]uint32, 0, len(texts)), make([]uint64, 0, len(texts))
	for _, t := range texts {
		code, from, to := s.add(t)
		if len(s.texts) > len(texts)/4 {
			return dst, false
		}
		codes = append(codes, code)
		if from < to {
			n, _ := strconv.ParseUint(string(t[from:to]), 10, 64) // at most 18 digits
			nums = append(nums, n)
		}
	}
	dst = append(dst, textsSplit)
	dst = c.p.numbers(appendCount(dst, len(s.texts)), s.ends)
	dst = c.rawTexts(dst, s.texts)
	dst = c.codes(dst, codes, len(s.texts), ctx, at)
	return c.p.numbers(dst, nums), true
}

func (s *splitter) add(t []byte) (code uint32, from, to int) {
	from, to = lastNumber(t)
	end := uint64(0)
	if from < to {
		end = uint64(len(t)-to) + 1
	}
	s.key = append(s.key[:0], t[:from]...)
	s.key = append(s.key, t[to:]...)
	rest := len(s.key)
	s.key = appendCount(s.key, int(end))
	code, ok := s.index[string(s.key)]
	if !ok {
		code = uint32(len(s.texts))
		s.index[string(s.key)] = code
		s.texts = append(s.texts, slices.Clone(s.key[:rest]))
		s.ends = append(s.ends, end)
	}
	return code, from, to
}

// unhex writes the characters of bytes.
func unhex(dst, p []byte) []byte { return hex.AppendEncode(dst, p) }

// readTexts reads a dictionary of n texts. ctx and at are as in coder.texts.
func readTexts(u *unpacker, n int, ctx *contexts, at []uint32, m *memory) Dict {
	switch u.byte() {
	case textsRaw:
		return readRawTexts(u, n, m)
	case textsUUID:
		l := &lazyTexts{n: n, form: textsUUID, raw: u.fixed(16 * n)}
		return l.dict(u)
	case textsHex:
		size := int(u.byte()) / 2
		l := &lazyTexts{n: n, form: textsHex, size: size, raw: u.fixed(size * n)}
		return l.dict(u)
	case textsSplit:
		return readSplit(u, n, ctx, at, m)
	}
	u.fail("unknown form of texts")
	return emptyTexts(n)
}

// dict is the texts as a Dict, n empty ones after an error, so that codes never lead beyond it.
func (l *lazyTexts) dict(u *unpacker) Dict {
	if u.err != nil {
		return emptyTexts(l.n)
	}
	return Dict{lazy: l}
}

func emptyTexts(n int) Dict { return Dict{ends: make([]uint32, n)} }

func readRawTexts(u *unpacker, n int, m *memory) Dict {
	lens := m.uint64s(n)
	u.numbers(lens, &m.scratch)
	d := Dict{ends: m.uint32s(n), arena: u.bytes(nil)}
	at := uint64(0)
	for i, l := range lens {
		if at += l; at > uint64(len(d.arena)) || l > math.MaxUint32 {
			u.fail("lengths of texts")
			return emptyTexts(n)
		}
		d.ends[i] = uint32(at)
	}
	return d
}

func readSplit(u *unpacker, n int, ctx *contexts, at []uint32, m *memory) Dict {
	rest := u.count(uint64(n))
	ends := m.uint64s(rest)
	u.numbers(ends, &m.scratch)
	texts := readRawTexts(u, rest, m)
	for i, e := range ends {
		if _, l := texts.Run(uint32(i)); e > uint64(l)+1 {
			u.fail("place of a number")
		}
	}
	col := uncode(u, n, rest, ctx, at, m)
	col.check(u, ctx, at, n)
	if u.err != nil || rest == 0 && n > 0 {
		u.fail("texts cut off")
		return emptyTexts(n)
	}
	l := &lazyTexts{n: n, form: textsSplit, rest: texts, cut: ends, codes: col.codes}
	if l.codes == nil {
		l.codes = m.uint32s(n)
		for i := range l.codes {
			row := uint32(i)
			if at != nil {
				row = at[i]
			}
			l.codes[i] = col.fine[ctx.fine[row]]
		}
	}
	numbers, size := 0, 0
	for _, x := range l.codes {
		_, length := texts.Run(x)
		if size += int(length); ends[x] > 0 {
			numbers++
			size += maxDigits
		}
	}
	if numbers < n {
		l.numAt = m.uint32s(n)
		next := uint32(0)
		for i, x := range l.codes {
			l.numAt[i] = next
			if ends[x] > 0 {
				next++
			}
		}
	}
	l.nums = m.uint64s(numbers)
	u.numbers(l.nums, &m.scratch)
	if size > maxUnpacked {
		u.fail("texts too long")
	}
	return l.dict(u)
}
