package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime/debug"
	"sync"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/table"
)

// ErrNewer says that a newer version wrote the file. It is left alone.
var ErrNewer = errors.New("written by a newer version of spanloom")

// Reader reads a segment from its bytes, which usually are a mapped file: a page is read from the disk when it is looked at, and
// nothing but the list of blocks lies on the heap. Safe for concurrent use.
//
// A mapped file that is cut off while it is read gives a fault instead of an error; Guard makes an error of it.
//
// Where the bytes are elsewhere (OpenAt), each block and section is fetched from a Source when it is asked for.
type Reader struct {
	p        []byte // nil with a source
	source   Source
	size     int64
	info     Info
	blocks   []Block
	sections [sectionCount]struct {
		off    int64
		length int
		sum    uint32
	}
	verified [sectionCount]struct {
		once sync.Once
		err  error
	}
}

// Source fetches bytes of a segment that is elsewhere. Safe for concurrent use.
type Source interface {
	// Read gives the bytes [off, off+n), which meet a checksum (CRC32C); nobody changes them. An error that wraps ErrDamaged says that the
	// segment has other bytes there, any other one that they could not be fetched.
	Read(off int64, n int, sum uint32) ([]byte, error)
}

// Checksum is what a Source compares.
func Checksum(p []byte) uint32 { return checksum(p) }

// Damaged is the error of a Source for bytes that do not meet their checksum.
func Damaged(off int64, n int) error {
	return damaged("checksum of bytes %d to %d is wrong", off, off+int64(n))
}

// Guard runs fn, in which mapped bytes are read, and turns a memory fault (the file was cut off, its disk fails) into an
// ErrDamaged.
func Guard(fn func() error) (err error) {
	was := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(was)
		if r := recover(); r != nil {
			fault, ok := r.(interface{ Addr() uintptr })
			if !ok {
				panic(r)
			}
			err = damaged("the file cannot be read at %#x: was it cut off?", fault.Addr())
		}
	}()
	return fn()
}

// Open reads the footer of a segment. The bytes must stay as they are while the Reader is used.
func Open(p []byte) (*Reader, error) {
	if len(p) < headerSize+trailerSize || string(p[:8]) != magic {
		return nil, damaged("no segment file")
	}
	if v := binary.LittleEndian.Uint16(p[8:]); v > version {
		return nil, fmt.Errorf("%w: segment version %d, this one reads up to %d", ErrNewer, v, version)
	}
	r := &Reader{p: p, size: int64(len(p))}
	if _, err := r.footer(p); err != nil {
		return nil, err
	}
	return r, nil
}

// TailBytes is what OpenAt is to be given first: enough for the footer of a segment of some million rows.
const TailBytes = 64 << 10

// OpenAt reads the footer of a segment of a size whose bytes are elsewhere. tail is its last bytes; where they are too few, OpenAt answers how
// many it takes, and no Reader.
func OpenAt(source Source, size int64, tail []byte) (r *Reader, need int, err error) {
	if int64(len(tail)) > size || size < headerSize+trailerSize || len(tail) < trailerSize {
		return nil, 0, damaged("no segment file")
	}
	r = &Reader{source: source, size: size}
	if need, err = r.footer(tail); need > 0 || err != nil {
		return nil, need, err
	}
	return r, 0, nil
}

// footer reads the footer at the end of some last bytes of the file; where it begins before, it answers how many bytes there have to be.
func (r *Reader) footer(p []byte) (need int, err error) {
	tail := p[len(p)-trailerSize:]
	if string(tail[12:]) != magic {
		return 0, damaged("the end of the file is missing")
	}
	if v := binary.LittleEndian.Uint16(tail[8:]); v > version {
		return 0, fmt.Errorf("%w: segment version %d, this one reads up to %d", ErrNewer, v, version)
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	if n > r.size-headerSize-trailerSize {
		return 0, damaged("length of the footer")
	}
	if n+trailerSize > int64(len(p)) {
		return int(n) + trailerSize, nil
	}
	foot := p[int64(len(p)-trailerSize)-n : len(p)-trailerSize]
	sum := binary.LittleEndian.Uint32(tail[4:])
	if checksum(foot) != sum {
		return 0, damaged("checksum of the footer is wrong")
	}
	r.info.Bytes, r.info.Sum = r.size, sum
	u := &unpacker{p: foot}
	for i := range r.sections {
		s := &r.sections[i]
		s.off, s.length = int64(u.uvarint()), u.count(uint64(r.size))
		s.sum = u.uint32()
		if s.off < 0 || s.off > r.size-int64(s.length) {
			u.fail("section outside of the file")
		}
	}
	for _, t := range []*int64{&r.info.MinStart, &r.info.MaxStart, &r.info.MaxEnd, &r.info.MinReceived, &r.info.MaxReceived} {
		*t = int64(u.uint64())
	}
	r.info.FirstSeq, r.info.LastSeq = u.uvarint(), u.uvarint()
	r.readBlocks(u)
	if u.err != nil {
		return 0, fmt.Errorf("footer: %w", u.err)
	}
	if r.sections[sectionTraces].length != 16*r.info.Parts {
		return 0, damaged("footer: list of traces has another length than the blocks say")
	}
	return 0, nil
}

func (r *Reader) readBlocks(u *unpacker) {
	r.blocks = make([]Block, u.count(uint64(len(u.p))))
	for i := range r.blocks {
		b := &r.blocks[i]
		b.Rows, b.Parts = u.count(maxBlockRows), u.count(maxBlockRows)
		b.FirstPart = r.info.Parts
		for _, t := range []*int64{&b.MinStart, &b.MaxStart, &b.MaxEnd, &b.MaxDuration} {
			*t = int64(u.uint64())
		}
		b.Repeated = u.byte() != 0
		b.offset, b.length, b.sum = int64(u.uvarint()), u.count(uint64(r.size)), u.uint32()
		b.filter, b.filterLength = int64(u.uvarint()), u.count(uint64(r.sections[sectionFilters].length))
		if b.offset < 0 || b.offset > r.size-int64(b.length) || b.filter < 0 || b.filter > int64(r.sections[sectionFilters].length-b.filterLength) {
			u.fail("block outside of the file")
		}
		if b.Rows == 0 || b.Parts == 0 || b.Parts > b.Rows {
			u.fail("block without rows")
		}
		r.info.Rows += b.Rows
		r.info.Parts += b.Parts
		if r.info.Rows > maxRows {
			u.fail("too many rows")
		}
		if u.err != nil {
			return
		}
	}
}

func (u *unpacker) uint32() uint32 {
	if b := u.fixed(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (u *unpacker) uint64() uint64 {
	if b := u.fixed(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Info describes the segment.
func (r *Reader) Info() Info { return r.info }

// Blocks describes the blocks. Not to be changed.
func (r *Reader) Blocks() []Block { return r.blocks }

// section is the bytes of a section. Its checksum is compared once: what lookups touch again and again is not read as a whole each
// time.
func (r *Reader) section(i int) ([]byte, error) {
	s, v := &r.sections[i], &r.verified[i]
	if r.source != nil {
		return r.source.Read(s.off, s.length, s.sum)
	}
	p := r.p[s.off : s.off+int64(s.length) : s.off+int64(s.length)]
	v.once.Do(func() {
		if checksum(p) != s.sum {
			v.err = damaged("checksum of section %d is wrong", i)
		}
	})
	if v.err != nil {
		return nil, v.err
	}
	return p, nil
}

// Warm fetches what a look-up by id asks of every segment first.
func (r *Reader) Warm() error {
	_, err := r.section(sectionTraceFilter)
	return err
}

// block is the bytes of a block, which meet their checksum.
func (r *Reader) block(i int) ([]byte, error) {
	b := &r.blocks[i]
	if r.source != nil {
		return r.source.Read(b.offset, b.length, b.sum)
	}
	p := r.p[b.offset : b.offset+int64(b.length) : b.offset+int64(b.length)]
	if checksum(p) != b.sum {
		return nil, damaged("checksum of block %d is wrong", i)
	}
	return p, nil
}

// Verify compares all checksums of a mapped segment. Cost: reading it once, at the speed of the disk.
func (r *Reader) Verify() error {
	return Guard(func() error {
		for i := range r.sections {
			s := &r.sections[i]
			if checksum(r.p[s.off:s.off+int64(s.length)]) != s.sum {
				return damaged("checksum of section %d is wrong", i)
			}
		}
		for i := range r.blocks {
			if _, err := r.block(i); err != nil {
				return err
			}
		}
		return nil
	})
}

// MayHaveTrace reports whether a trace with a lower half may be here: false is certain. Cost: one cache line.
func (r *Reader) MayHaveTrace(low uint64) (bool, error) {
	f, err := r.section(sectionTraceFilter)
	return err == nil && mayHave(f, hashTrace(low)), err
}

// TextHash is the hash that MayHaveHash takes: who asks many blocks makes it once.
func TextHash(text string) uint64 { return hashText([]byte(text)) }

// FailedHash is what MayHaveHash takes to tell whether a service, given by its TextHash, has spans in the block with the status error or
// an attribute `error`.
func FailedHash(service uint64) uint64 { return bits.RotateLeft64(service, 32) ^ 0x9E3779B97F4A7C15 }

// MayHaveHash reports whether a block may have a text as a value, an element, a name or any other text. False is certain; true is wrong
// for one of 256 texts.
func (r *Reader) MayHaveHash(block int, hash uint64) (bool, error) {
	f, err := r.section(sectionFilters)
	if err != nil {
		return false, err
	}
	b := &r.blocks[block]
	return mayHaveText(f[b.filter:b.filter+int64(b.filterLength)], hash), nil
}

// Parts appends the places in the list of traces at which ids with a lower half stand. Cost: one pass over 8 bytes a trace.
func (r *Reader) Parts(dst []int, low uint64) ([]int, error) {
	p, err := r.section(sectionTraces)
	if err != nil {
		return dst, err
	}
	lows := p[:8*r.info.Parts]
	for i := 0; i < len(lows); {
		if rest := lows[i:]; len(rest) >= 32 && // four at once: nearly none is the one
			binary.LittleEndian.Uint64(rest) != low && binary.LittleEndian.Uint64(rest[8:]) != low &&
			binary.LittleEndian.Uint64(rest[16:]) != low && binary.LittleEndian.Uint64(rest[24:]) != low {
			i += 32
			continue
		}
		if binary.LittleEndian.Uint64(lows[i:]) == low {
			dst = append(dst, i/8)
		}
		i += 8
	}
	return dst, nil
}

// TraceID is the id at a place in the list of traces.
func (r *Reader) TraceID(part int) (span.TraceID, error) {
	p, err := r.section(sectionTraces)
	if err != nil {
		return span.TraceID{}, err
	}
	return span.TraceIDFromUint64s(binary.LittleEndian.Uint64(p[8*(r.info.Parts+part):]), binary.LittleEndian.Uint64(p[8*part:])), nil
}

// BlockOf is the block in which a part lies.
func (r *Reader) BlockOf(part int) int {
	lo, hi := 0, len(r.blocks)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; r.blocks[mid].FirstPart <= part {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// Rollups is the encoded rollups of the segment's rows.
func (r *Reader) Rollups() ([]byte, error) {
	p, err := r.section(sectionRollups)
	if err != nil {
		return nil, err
	}
	u := &unpacker{p: p}
	p = u.bytes(nil)
	return p, u.err
}

// Side is what the blocks of a segment refer to: a View without rows. Cost: some microseconds for each hundred resources; who reads
// many blocks keeps it.
func (r *Reader) Side() (*table.View, error) {
	p, err := r.section(sectionSide)
	if err != nil {
		return nil, err
	}
	u := &unpacker{p: p}
	m := memory{slab: new(slab)} // the tables outlive every block
	texts := readRawTexts(u, u.count(uint64(len(p))*256), &m)
	v := &table.View{Texts: table.MakeTexts(texts.arena, append(make([]uint32, 1, len(texts.ends)+1), texts.ends...))}
	body := &unpacker{p: u.bytes(nil), err: u.err}
	readSide(body, v)
	if body.err != nil {
		return nil, fmt.Errorf("side tables: %w", body.err)
	}
	return v, nil
}

func readSide(u *unpacker, v *table.View) {
	left := func() uint64 { return uint64(len(u.p)) }
	id := func() table.ID { return table.ID(u.count(uint64(v.Texts.Len() - 1))) }
	for range u.count(left() / 8) {
		v.Nums = append(v.Nums, u.uint64())
	}
	for range u.count(left() / 4) {
		f := table.Field{Owner: store.FieldScope(u.byte()), Type: span.Type(u.byte()), Nth: u.byte(), Key: id()}
		if f.Type >= span.NumTypes || f.Owner >= store.Intrinsic {
			u.fail("field of an unknown type")
		}
		v.Fields = append(v.Fields, f)
	}
	for range u.count(left()) {
		s := make([]uint32, u.count(left()))
		for i := range s {
			s[i] = uint32(u.count(uint64(max(len(v.Fields), 1) - 1)))
		}
		v.Shapes = append(v.Shapes, s)
	}
	if len(v.Shapes) == 0 || len(v.Shapes[0]) != 0 {
		u.fail("shapes")
		return
	}
	list := func() table.List {
		l := table.List{Shape: uint32(u.count(uint64(len(v.Shapes) - 1))), At: uint32(len(v.Codes))}
		for _, f := range v.Shapes[l.Shape] {
			most := uint64(1)
			switch t := v.Fields[f].Type; {
			case t == span.TypeInt || t == span.TypeDouble:
				if most = uint64(len(v.Nums)); most == 0 {
					u.fail("number of a list")
				} else {
					most--
				}
			case t.InArena():
				most = uint64(v.Texts.Len() - 1)
			}
			v.Codes = append(v.Codes, uint32(u.count(most)))
		}
		return l
	}
	for range u.count(left() / 3) {
		v.Idents = append(v.Idents, table.Ident{Service: id(), Group: id(), Namespace: id()})
	}
	number := func() uint32 { return uint32(u.count(math.MaxUint32)) }
	for range u.count(left() / 12) {
		v.Rares = append(v.Rares, table.Rare{Flags: number(), DroppedAttrs: number(), DroppedEvents: number(), DroppedLinks: number(),
			Weight: math.Float64frombits(u.uint64())})
	}
	for range u.count(left() / 3) {
		v.Resources = append(v.Resources, table.Resource{Attrs: list(), Dropped: number(), Schema: id()})
	}
	for range u.count(left() / 5) {
		s := table.Scope{Attrs: list(), Dropped: number()}
		s.Schema, s.Name, s.Version = id(), id(), id()
		v.Scopes = append(v.Scopes, s)
	}
	if len(u.p) > 0 {
		u.fail("side tables have a rest")
	}
}

// Stats is what a segment counted of its rows.
type Stats struct {
	Keys   []KeyCount
	Groups []Group
	// Grouped says that Groups is all rows; there were too many different ones else.
	Grouped bool
}

// Stats reads the counts of keys and groups.
func (r *Reader) Stats() (*Stats, error) {
	side, err := r.Side()
	if err != nil {
		return nil, err
	}
	p, err := r.section(sectionStats)
	if err != nil {
		return nil, err
	}
	outer := &unpacker{p: p}
	u := &unpacker{p: outer.bytes(nil), err: outer.err}
	var counts [5][]uint64
	for i, most := range []int{len(side.Shapes), len(side.Shapes), len(side.Shapes), len(side.Resources), len(side.Scopes)} {
		counts[i] = make([]uint64, u.count(uint64(most)))
		for j := range counts[i] {
			counts[i][j] = u.count64()
		}
	}
	s := &Stats{Keys: keyCounts(side, &counts)}
	if s.Grouped = u.byte() == 1; s.Grouped {
		for range u.count(uint64(len(u.p))) {
			ident, name := u.count(uint64(max(len(side.Idents), 1)-1)), u.count(uint64(side.Texts.Len()-1))
			kind, n, last := span.Kind(u.byte()), u.count64(), int64(u.uint64())
			if u.err != nil {
				break
			}
			i := side.Idents[ident]
			text := func(id table.ID) string { return string(side.Texts.Bytes(id)) }
			s.Groups = append(s.Groups, Group{text(i.Service), text(i.Group), text(i.Namespace), text(table.ID(name)), kind, int64(n), last})
		}
	}
	if u.err != nil {
		return nil, fmt.Errorf("counts: %w", u.err)
	}
	return s, nil
}

func (u *unpacker) count64() uint64 { return uint64(u.count(math.MaxInt64)) }

func keyCounts(side *table.View, counts *[5][]uint64) []KeyCount {
	byField := make([]uint64, len(side.Fields))
	for i := range 3 {
		for shape, n := range counts[i] {
			for _, f := range side.Shapes[shape] {
				byField[f] += n
			}
		}
	}
	for i, n := range counts[3] {
		for _, f := range side.Shapes[side.Resources[i].Attrs.Shape] {
			byField[f] += n
		}
	}
	for i, n := range counts[4] {
		for _, f := range side.Shapes[side.Scopes[i].Attrs.Shape] {
			byField[f] += n
		}
	}
	var list []KeyCount
	for i, n := range byField {
		if f := side.Fields[i]; n > 0 {
			list = append(list, KeyCount{string(side.Texts.Bytes(f.Key)), f.Owner, f.Type, int64(n)})
		}
	}
	return list
}

// PartsOf is Parts for many lower halves in one pass.
func (r *Reader) PartsOf(dst []int, lows map[uint64]bool) ([]int, error) {
	p, err := r.section(sectionTraces)
	if err != nil {
		return dst, err
	}
	for i := range r.info.Parts {
		if lows[binary.LittleEndian.Uint64(p[8*i:])] {
			dst = append(dst, i)
		}
	}
	return dst, nil
}
