package segment

import (
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

// Dict is the different values of a column in one block: texts as runs of an arena, or numbers.
type Dict struct {
	Arena []byte
	Ends  []uint32 // of text i, which begins where the one before ends
	Nums  []uint64
}

// Len is the number of values.
func (d *Dict) Len() int { return max(len(d.Ends), len(d.Nums)) }

// Run is where text i lies in Arena.
func (d *Dict) Run(i uint32) (off, length uint32) {
	if i > 0 {
		off = d.Ends[i-1]
	}
	return off, d.Ends[i] - off
}

// Bytes is text i.
func (d *Dict) Bytes(i uint32) []byte {
	off, n := d.Run(i)
	return d.Arena[off : off+n : off+n]
}

// texts appends a dictionary. ctx and at are the contexts of the rows in which each text stands first, nil for none: the part of a
// text beside its number often follows from them.
func (c *coder) texts(dst []byte, texts [][]byte, ctx *contexts, at []uint32) []byte {
	if all(texts, isUUID) {
		dst = append(dst, textsUUID)
		for _, t := range texts {
			dst = appendHex(dst, t[:8])
			dst = appendHex(dst, t[9:13])
			dst = appendHex(dst, t[14:18])
			dst = appendHex(dst, t[19:23])
			dst = appendHex(dst, t[24:])
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
func readTexts(u *unpacker, n int, ctx *contexts, at []uint32, scratch *[]byte) Dict {
	switch u.byte() {
	case textsRaw:
		return readRawTexts(u, n, scratch)
	case textsUUID:
		p := u.fixed(16 * n)
		d := Dict{Arena: make([]byte, 0, 36*n), Ends: make([]uint32, 0, n)}
		for ; len(p) >= 16; p = p[16:] {
			a := unhex(d.Arena, p[:4])
			a = unhex(append(a, '-'), p[4:6])
			a = unhex(append(a, '-'), p[6:8])
			a = unhex(append(a, '-'), p[8:10])
			d.Arena = unhex(append(a, '-'), p[10:16])
			d.Ends = append(d.Ends, uint32(len(d.Arena)))
		}
		return d.orEmpty(n, u)
	case textsHex:
		size := int(u.byte()) / 2
		p := u.fixed(size * n)
		d := Dict{Arena: make([]byte, 0, 2*len(p)), Ends: make([]uint32, 0, n)}
		for ; size > 0 && len(p) >= size; p = p[size:] {
			d.Arena = unhex(d.Arena, p[:size])
			d.Ends = append(d.Ends, uint32(len(d.Arena)))
		}
		return d.orEmpty(n, u)
	case textsSplit:
		return readSplit(u, n, ctx, at, scratch)
	}
	u.fail("unknown form of texts")
	return Dict{}.orEmpty(n, u)
}

// orEmpty gives a dictionary that is not whole n empty texts, so that codes never lead beyond it.
func (d Dict) orEmpty(n int, u *unpacker) Dict {
	if u.err == nil && len(d.Ends) == n {
		return d
	}
	u.fail("texts cut off")
	return Dict{Ends: make([]uint32, n)}
}

func readRawTexts(u *unpacker, n int, scratch *[]byte) Dict {
	lens := make([]uint64, n)
	u.numbers(lens, scratch)
	d := Dict{Ends: make([]uint32, n), Arena: u.bytes(nil)}
	at := uint64(0)
	for i, l := range lens {
		if at += l; at > uint64(len(d.Arena)) || l > math.MaxUint32 {
			u.fail("lengths of texts")
			return Dict{Ends: make([]uint32, n)}
		}
		d.Ends[i] = uint32(at)
	}
	return d
}

func readSplit(u *unpacker, n int, ctx *contexts, at []uint32, scratch *[]byte) Dict {
	rest := u.count(uint64(n))
	ends := make([]uint64, rest)
	u.numbers(ends, scratch)
	texts := readRawTexts(u, rest, scratch)
	for i, e := range ends {
		if _, l := texts.Run(uint32(i)); e > uint64(l)+1 {
			u.fail("place of a number")
		}
	}
	col := uncode(u, n, rest, ctx, at, scratch)
	if u.err != nil || rest == 0 {
		return Dict{}.orEmpty(n, u)
	}
	code := func(i int) uint32 {
		if col.codes != nil {
			return col.codes[i]
		}
		row := uint32(i)
		if at != nil {
			row = at[i]
		}
		return col.fine[ctx.fine[row]]
	}
	numbers, size := 0, 0
	for i := range n {
		x := code(i)
		if x >= uint32(rest) {
			u.fail("text without a form")
			return Dict{}.orEmpty(n, u)
		}
		_, l := texts.Run(x)
		size += int(l)
		if ends[x] > 0 {
			numbers++
			size += maxDigits
		}
	}
	nums := make([]uint64, numbers)
	u.numbers(nums, scratch)
	if size > maxUnpacked {
		u.fail("texts too long")
		return Dict{}.orEmpty(n, u)
	}
	d := Dict{Arena: make([]byte, 0, size), Ends: make([]uint32, 0, n)}
	for i := range n {
		x := code(i)
		t := texts.Bytes(x)
		if ends[x] == 0 {
			d.Arena = append(d.Arena, t...)
		} else {
			cut := len(t) - int(ends[x]-1)
			d.Arena = append(d.Arena, t[:cut]...)
			d.Arena = strconv.AppendUint(d.Arena, nums[0], 10)
			d.Arena = append(d.Arena, t[cut:]...)
			nums = nums[1:]
		}
		d.Ends = append(d.Ends, uint32(len(d.Arena)))
	}
	return d.orEmpty(n, u)
}
