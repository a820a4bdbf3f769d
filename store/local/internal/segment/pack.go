package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// How bytes are packed.
const (
	packRaw   = 0
	packConst = 1 // one byte stands for all
	packZstd  = 2
)

// maxUnpacked bounds what one run of bytes unpacks to: a block of long texts stays below, a damaged length does not get there.
const maxUnpacked = 1 << 30

// ErrDamaged is wrapped by every error that bytes of a file gave rise to.
var ErrDamaged = errors.New("damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// packer writes numbers, texts and bytes in small forms. It owns one compressor.
type packer struct {
	zstd  *zstd.Encoder
	plane []byte
	big   []byte
}

func newPacker() *packer {
	// Options are constants: New fails only for bad ones.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(1<<17), zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true))
	if err != nil {
		panic(err)
	}
	return &packer{zstd: e}
}

// bytes appends a run of bytes: its length, how it is packed, what it packs to.
func (p *packer) bytes(dst, raw []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(raw)))
	if len(raw) == 0 {
		return dst
	}
	if constant(raw) {
		return append(dst, packConst, raw[0])
	}
	if len(raw) >= 32 {
		p.big = p.zstd.EncodeAll(raw, p.big[:0])
		if len(p.big)+len(p.big)>>5 < len(raw) { // what hardly shrinks is read faster as it is
			dst = append(dst, packZstd)
			dst = binary.AppendUvarint(dst, uint64(len(p.big)))
			return append(dst, p.big...)
		}
	}
	return p.raw(dst, raw)
}

func (p *packer) raw(dst, raw []byte) []byte {
	dst = append(dst, packRaw)
	return append(dst, raw...)
}

func constant(p []byte) bool {
	for _, b := range p[1:] {
		if b != p[0] {
			return false
		}
	}
	return true
}

// thousand says in a width byte that numbers were divided by 1,000: Envoy's times are whole microseconds.
const thousand = 0x80

// numbers appends numbers whose count the reader knows: the width in bytes, then that many planes. Bytes of one weight stand
// together, so that the upper ones, which differ little, pack well.
func (p *packer) numbers(dst []byte, v []uint64) []byte {
	var all uint64
	whole := true
	for _, x := range v {
		all |= x
		whole = whole && x%1000 == 0
	}
	width := byte(0)
	if whole && all > 0 {
		all = 0
		for _, x := range v {
			all |= x / 1000
		}
	} else {
		whole = false
	}
	for x := all; x > 0; x >>= 8 {
		width++
	}
	if whole {
		dst = append(dst, width|thousand)
	} else {
		dst = append(dst, width)
	}
	for i := range width {
		p.plane = slices.Grow(p.plane[:0], len(v))[:len(v)]
		plane, shift := p.plane, 8*i
		if whole {
			for j, x := range v {
				plane[j] = byte(x / 1000 >> shift)
			}
		} else {
			for j, x := range v {
				plane[j] = byte(x >> shift)
			}
		}
		dst = p.bytes(dst, plane)
	}
	return dst
}

// zigzag folds differences so that small ones of either sign are small numbers.
func zigzag(d uint64) uint64   { return d<<1 ^ uint64(int64(d)>>63) }
func unzigzag(v uint64) uint64 { return v>>1 ^ -(v & 1) }

// signed appends differences, folded if one of them is negative.
func (p *packer) signed(dst []byte, v []uint64) []byte {
	fold := byte(0)
	for _, x := range v {
		if int64(x) < 0 {
			fold = 1
			break
		}
	}
	dst = append(dst, fold)
	if fold == 1 {
		for i, x := range v {
			v[i] = zigzag(x)
		}
	}
	return p.numbers(dst, v)
}

// unzstd is the one decompressor: it has no state between calls.
var unzstd = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxUnpacked))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
})

// unpacker reads what packer wrote. The first error stays, and everything after it reads as empty.
type unpacker struct {
	p   []byte
	err error
}

func (u *unpacker) fail(what string) {
	if u.err == nil {
		u.err = damaged("%s", what)
	}
	u.p = nil
}

func (u *unpacker) uvarint() uint64 {
	v, n := binary.Uvarint(u.p)
	if n <= 0 {
		u.fail("number cut off")
		return 0
	}
	u.p = u.p[n:]
	return v
}

// count reads a number of things of which each takes at least one bit in what follows, or none where max says so.
func (u *unpacker) count(max uint64) int {
	v := u.uvarint()
	if v > max {
		u.fail("count too large")
		return 0
	}
	return int(v)
}

func (u *unpacker) byte() byte {
	if len(u.p) == 0 {
		u.fail("byte cut off")
		return 0
	}
	b := u.p[0]
	u.p = u.p[1:]
	return b
}

func (u *unpacker) fixed(n int) []byte {
	if n < 0 || n > len(u.p) {
		u.fail("bytes cut off")
		return nil
	}
	b := u.p[:n:n]
	u.p = u.p[n:]
	return b
}

// bytes reads a run into dst's memory where it must be unpacked; else it is a view of the file.
func (u *unpacker) bytes(dst []byte) []byte {
	n := u.count(maxUnpacked)
	if n == 0 {
		return nil
	}
	switch u.byte() {
	case packRaw:
		return u.fixed(n)
	case packConst:
		b := u.byte()
		if u.err != nil {
			return nil
		}
		dst = slices.Grow(dst[:0], n)[:n]
		for i := range dst {
			dst[i] = b
		}
		return dst
	case packZstd:
		packed := u.fixed(u.count(uint64(len(u.p))))
		if u.err != nil {
			return nil
		}
		var head zstd.Header
		if err := head.Decode(packed); err != nil || !head.HasFCS || head.FrameContentSize != uint64(n) {
			u.fail("length of a packed run")
			return nil
		}
		out, err := unzstd().DecodeAll(packed, slices.Grow(dst[:0], n))
		if err != nil || len(out) != n {
			u.fail("packed run")
			return nil
		}
		return out
	}
	u.fail("unknown packing")
	return nil
}

// numbers reads len(dst) numbers.
func (u *unpacker) numbers(dst []uint64, scratch *[]byte) {
	head := u.byte()
	width, whole := head&^byte(thousand), head&thousand != 0
	if width > 8 {
		u.fail("width of numbers")
	}
	if width == 0 || width > 8 {
		clear(dst)
		return
	}
	for i := range width {
		plane := u.bytes(*scratch)
		if len(plane) != len(dst) {
			u.fail("plane of numbers")
			clear(dst)
			return
		}
		if cap(plane) > cap(*scratch) {
			*scratch = keep(plane, u.p)
		}
		if i == 0 {
			for j, b := range plane {
				dst[j] = uint64(b)
			}
			continue
		}
		shift := 8 * i & 63
		for j, b := range plane {
			dst[j] |= uint64(b) << shift
		}
	}
	if whole {
		for j := range dst {
			dst[j] *= 1000
		}
	}
}

// codes is numbers for numbers of 32 bits, all below a limit.
func (u *unpacker) codes(dst []uint32, limit uint64, scratch *[]byte) {
	head := u.byte()
	width, whole := head&^byte(thousand), head&thousand != 0
	if width > 4 {
		u.fail("width of codes")
	}
	if width == 0 {
		clear(dst)
	}
	for i := range width {
		plane := u.bytes(*scratch)
		if len(plane) != len(dst) {
			u.fail("plane of codes")
			clear(dst)
			return
		}
		if cap(plane) > cap(*scratch) {
			*scratch = keep(plane, u.p)
		}
		if i == 0 {
			for j, b := range plane {
				dst[j] = uint32(b)
			}
			continue
		}
		shift := 8 * i
		for j, b := range plane {
			dst[j] |= uint32(b) << shift
		}
	}
	if whole {
		for j := range dst {
			dst[j] *= 1000
		}
	}
	most := uint32(0)
	for _, x := range dst {
		most = max(most, x)
	}
	if len(dst) > 0 && uint64(most) >= limit {
		u.fail("code out of range")
		clear(dst)
	}
}

// keep is a run as scratch memory, if it is no view of the file: a view's memory ends where the file goes on.
func keep(run, rest []byte) []byte {
	if len(run) == 0 || cap(run) == len(run) { // views are cut to their length
		return nil
	}
	return run[:0]
}

func (u *unpacker) signed(dst []uint64, scratch *[]byte) {
	fold := u.byte()
	u.numbers(dst, scratch)
	if fold == 1 {
		for i, x := range dst {
			dst[i] = unzigzag(x)
		}
	}
}

func appendCount(dst []byte, n int) []byte { return binary.AppendUvarint(dst, uint64(n)) }
