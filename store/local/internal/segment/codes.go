package segment

import (
	"encoding/binary"
	"math"
	"slices"
)

// How a column of codes is written.
const (
	codesConst   = 0 // all 0
	codesDerived = 1 // a function of the row's context, but for listed exceptions
	codesPlain   = 2 // each
	codesBack    = 3 // each as the distance to the value's last place: 0 new, farBack by number
)

const farBack = 255

// noCode says that a context has no value.
const noCode = ^uint32(0)

// contexts are what the codes of columns are derived from: for each row of a column its finest context, and coarser ones as
// functions of it. Finer contexts explain more and cost a longer table.
type contexts struct {
	fine  []uint32   // by row of the block
	n     int        // of fine contexts
	parts [][]uint32 // by fine context: the coarse ones. The last is the identity
	sizes []int      // number of coarse contexts
}

// coder finds for a column of codes the form that takes the fewest bytes. Codes count from 0 in the order in which they come
// first: the reader relies on it in codesBack. It keeps its scratch memory.
type coder struct {
	p      *packer
	table  []uint32
	last   []int32
	syms   []byte
	far    []uint64
	num    []uint64
	out    []byte
	except []int32
}

// codes appends a column: codes of n different values, rows of it in at (nil: all rows of the block in order), ctx nil for none.
func (c *coder) codes(dst []byte, codes []uint32, n int, ctx *contexts, at []uint32) []byte {
	if n <= 1 {
		return append(dst, codesConst)
	}
	best, part, cost := codesPlain, 0, math.Inf(1)
	if ctx != nil {
		for i := range ctx.parts {
			if e := c.derive(codes, ctx, i, at); e >= 0 {
				if x := float64(ctx.sizes[i])*0.5 + 3*float64(e) + 2; x < cost {
					best, part, cost = codesDerived, i, x
				}
				if e == 0 {
					break // finer ones explain no more
				}
			}
		}
	}
	if cost > float64(len(codes))/32 {
		if n <= 256 {
			if x := c.plainCost(codes); x < cost {
				best, cost = codesPlain, x
			}
		} else if x := float64(len(codes)) * math.Log2(float64(n)) / 8; x < cost {
			best, cost = codesPlain, x
		}
		if x := c.back(codes, n); x < cost {
			best = codesBack
		}
	}
	dst = append(dst, byte(best))
	switch best {
	case codesDerived:
		c.derive(codes, ctx, part, at)
		dst = append(dst, byte(part))
		return c.appendDerived(dst, codes)
	case codesBack:
		dst = c.p.bytes(dst, c.syms)
		dst = binary.AppendUvarint(dst, uint64(len(c.far)))
		return c.p.numbers(dst, c.far)
	default:
		c.num = c.num[:0]
		for _, x := range codes {
			c.num = append(c.num, uint64(x))
		}
		return c.p.numbers(dst, c.num)
	}
}

// derive fills table and except for one part of the contexts; -1 if there are too many exceptions to be worth it.
func (c *coder) derive(codes []uint32, ctx *contexts, part int, at []uint32) int {
	c.table = slices.Grow(c.table[:0], ctx.sizes[part])[:ctx.sizes[part]]
	for i := range c.table {
		c.table[i] = noCode
	}
	c.except = c.except[:0]
	of, most := ctx.parts[part], len(codes)/24
	for i, x := range codes {
		row := uint32(i)
		if at != nil {
			row = at[i]
		}
		slot := &c.table[of[ctx.fine[row]]]
		if *slot == noCode {
			*slot = x
		} else if *slot != x {
			if c.except = append(c.except, int32(i)); len(c.except) > most {
				return -1
			}
		}
	}
	return len(c.except)
}

func (c *coder) appendDerived(dst []byte, codes []uint32) []byte {
	c.num = c.num[:0]
	for _, x := range c.table {
		c.num = append(c.num, uint64(x+1)) // noCode is 0
	}
	for i, x := range c.num {
		c.num[i] = x & math.MaxUint32
	}
	dst = c.p.numbers(dst, c.num)
	dst = binary.AppendUvarint(dst, uint64(len(c.except)))
	c.out = c.out[:0]
	last := int32(0)
	for _, i := range c.except {
		c.out = binary.AppendUvarint(c.out, uint64(i-last))
		c.out = binary.AppendUvarint(c.out, uint64(codes[i]))
		last = i
	}
	return c.p.bytes(dst, c.out)
}

func (c *coder) plainCost(codes []uint32) float64 {
	var counts [256]uint32
	for _, x := range codes {
		counts[byte(x)]++
	}
	return entropy(&counts, len(codes))
}

// entropy is the bytes that an order-0 coder needs.
func entropy(counts *[256]uint32, n int) float64 {
	bits := 0.0
	for _, k := range counts {
		if k > 0 {
			bits += float64(k) * math.Log2(float64(n)/float64(k))
		}
	}
	return bits / 8
}

// back fills syms and far and answers the bytes they need.
func (c *coder) back(codes []uint32, n int) float64 {
	c.last = slices.Grow(c.last[:0], n)[:n]
	clear(c.last)
	c.syms, c.far = c.syms[:0], c.far[:0]
	var counts [256]uint32
	for i, x := range codes {
		sym := byte(0)
		if last := c.last[x]; last != 0 {
			if d := i + 1 - int(last); d < farBack {
				sym = byte(d)
			} else {
				sym = farBack
				c.far = append(c.far, uint64(x))
			}
		}
		c.last[x] = int32(i) + 1
		c.syms = append(c.syms, sym)
		counts[sym]++
	}
	return entropy(&counts, len(codes)) + 2*float64(len(c.far))
}

// decoded is a column of codes as read: for each row of the column a code, or for each fine context one.
type decoded struct {
	codes []uint32 // nil: byFine says all
	fine  []uint32 // by fine context: code, or noCode; nil: codes says all
	// mayLack says that some of codes may be noCode: they were made of contexts that may have none.
	mayLack bool
	// first is the place of each value's first code; only of codesBack.
	first []uint32
}

// uncode reads a column of rows codes of at most n values. at and ctx are as in coder.codes. The result is m's memory.
func uncode(u *unpacker, rows, n int, ctx *contexts, at []uint32, m *memory) decoded {
	switch u.byte() {
	case codesConst:
		if n == 0 && rows > 0 {
			u.fail("code of no value")
		}
		if ctx != nil {
			return decoded{fine: m.zeros(ctx.n)}
		}
		return decoded{codes: m.zeros(rows)}
	case codesDerived:
		return underive(u, rows, n, ctx, at, m)
	case codesPlain:
		out := m.uint32s(rows)
		u.codes(out, uint64(n), &m.scratch)
		return decoded{codes: out}
	case codesBack:
		return unback(u, rows, n, m)
	}
	u.fail("unknown form of codes")
	return decoded{codes: m.zeros(rows)}
}

func underive(u *unpacker, rows, n int, ctx *contexts, at []uint32, m *memory) decoded {
	part := int(u.byte())
	if ctx == nil || part >= len(ctx.parts) {
		u.fail("codes derived from nothing")
		return decoded{codes: m.zeros(rows)}
	}
	table := m.uint32s(ctx.sizes[part])
	u.codes(table, uint64(n)+1, &m.scratch)
	fine := m.uint32s(ctx.n)
	for i := range fine {
		fine[i] = table[ctx.parts[part][i]] - 1 // 0 is noCode
	}
	exceptions := u.count(uint64(rows))
	body := unpacker{p: u.bytes(nil), err: u.err}
	if exceptions == 0 {
		return decoded{fine: fine}
	}
	codes := m.uint32s(rows)
	for i := range codes {
		row := uint32(i)
		if at != nil {
			row = at[i]
		}
		codes[i] = fine[ctx.fine[row]]
	}
	place := uint64(0)
	for range exceptions {
		place += body.uvarint()
		x := body.uvarint()
		if body.err != nil || place >= uint64(rows) || x >= uint64(n) {
			u.fail("exception out of range")
			break
		}
		codes[place] = uint32(x)
	}
	return decoded{codes: codes, mayLack: true}
}

func unback(u *unpacker, rows, n int, m *memory) decoded {
	out := m.uint32s(rows)
	syms := u.bytes(m.scratch)
	if len(syms) != rows {
		u.fail("codes cut off")
		clear(out)
		return decoded{codes: out}
	}
	far := m.uint32s(u.count(uint64(rows)))
	u.codes(far, uint64(n), &m.other) // scratch may hold syms
	next, f := uint32(0), 0
	first := m.uint32s(n)
	for i, s := range syms {
		switch {
		case s == 0:
			if next >= uint32(n) {
				u.fail("more new values than there are")
				clear(out)
				return decoded{codes: out}
			}
			out[i], first[next] = next, uint32(i)
			next++
		case s == farBack:
			if f >= len(far) {
				u.fail("far codes cut off")
				clear(out)
				return decoded{codes: out}
			}
			out[i] = far[f]
			f++
		case int(s) > i:
			u.fail("distance out of range")
			clear(out)
			return decoded{codes: out}
		default:
			out[i] = out[i-int(s)]
		}
	}
	return decoded{codes: out, first: first[:next]}
}
