package mem

import (
	"hash/maphash"
	"math"
	"sync/atomic"

	"github.com/spanloom/spanloom/span"
)

// ref names a row: chunk number and row number. Later rows have higher refs. The zero ref is none: rows are counted from 1 in it.
type ref uint64

func makeRef(chunk uint32, row int) ref { return ref(chunk)<<32 | ref(row+1) }

func (r ref) chunk() uint32 { return uint32(r >> 32) }
func (r ref) row() int      { return int(uint32(r)) - 1 }

// run is consecutive rows that came with one Accept.
type run struct {
	first    int    // row
	received int64  // ns
	seq      uint64 // of the log frame, 0 if none
}

// chunk is rows in arrival order. It never changes but for the marks of dead rows.
type chunk struct {
	number uint32
	batch  span.Batch // without key table; never to be appended to
	prev   []ref      // per row: the row of the same trace before it
	runs   []run
	bounds
	lowest  uint64 // sequence of runs, 0 if none has one
	dead    *deaths
	bytes   int64 // in memory
	texts   filter
	summary atomic.Pointer[summary]
}

// bounds of effective times; minStart is above maxStart where there are no rows.
type bounds struct{ minStart, maxStart, maxEnd int64 }

func noBounds() bounds { return bounds{math.MaxInt64, math.MinInt64, math.MinInt64} }

// deaths are the rows of a chunk whose trace was evicted.
type deaths struct {
	bits atomic.Pointer[bitmap] // nil: none; a published bitmap does not change
	n    int                    // under the engine's lock
}

type bitmap [chunkRows / 64]uint64

func (m *bitmap) set(row int)      { m[row>>6] |= 1 << (row & 63) }
func (m *bitmap) has(row int) bool { return m != nil && m[row>>6]&(1<<(row&63)) != 0 }

// received is the receipt time of a row.
func (c *chunk) received(row int) int64 {
	lo, hi := 0, len(c.runs)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; c.runs[mid].first <= row {
			lo = mid
		} else {
			hi = mid
		}
	}
	return c.runs[lo].received
}

// builder is the open chunk.
type builder struct {
	number  uint32
	batch   *span.Batch
	copier  *span.Copier
	strings interner
	src     *span.Batch // of the rows that are being added
	prev    []ref
	runs    []run
	bounds
	lowest uint64
	dead   *deaths
	last   *chunk // view of all rows so far; nil after a change
}

// newBuilder opens a chunk with room for what the one before it had.
func newBuilder(number uint32, seed maphash.Seed, before *builder) *builder {
	b := &builder{number: number, batch: new(span.Batch), bounds: noBounds(), dead: new(deaths)}
	b.strings = interner{dst: b.batch, seed: seed}
	if before != nil {
		s := shapeOf(before.batch).roomier()
		s.resize(b.batch)
		b.prev = make([]ref, 0, s.rows)
		b.strings.slots = before.strings.emptied()
	}
	b.copier = span.NewCopier(b.batch)
	b.copier.Intern = b.strings.intern
	return b
}

func (b *builder) rows() int { return b.batch.Len() }

func (b *builder) begin(src *span.Batch, received int64, seq uint64) {
	b.src = src
	b.copier.Begin(src)
	b.runs = append(b.runs, run{b.rows(), received, seq})
	if seq != 0 && (b.lowest == 0 || seq < b.lowest) {
		b.lowest = seq
	}
}

// add copies a row of the source; prev is the row of the same trace before it.
func (b *builder) add(row int, prev ref) {
	at := b.copier.Row(row)
	b.prev = append(b.prev, prev)
	start, end := b.batch.Time[at], b.batch.EndTime(at)
	b.minStart = min(b.minStart, start)
	b.maxStart = max(b.maxStart, start)
	b.maxEnd = max(b.maxEnd, end)
	b.last = nil
}

// view is the rows so far as a chunk that shares memory with the builder and does not change.
func (b *builder) view() *chunk {
	if b.last == nil {
		b.last = &chunk{number: b.number, batch: frozen(b.batch), prev: b.prev[:len(b.prev):len(b.prev)],
			runs: b.runs[:len(b.runs):len(b.runs)], bounds: b.bounds, lowest: b.lowest, dead: b.dead, bytes: int64(b.batch.Size())}
	}
	return b.last
}

// seal ends the chunk. Memory beyond its rows is given back where it is worth a copy.
func (b *builder) seal() *chunk {
	s := shapeOf(b.batch)
	s.resize(b.batch)
	fit(&b.prev, len(b.prev))
	fit(&b.runs, len(b.runs))
	b.last = nil
	c := b.view()
	c.texts = b.strings.filter(b.batch)
	c.bytes = batchBytes(b.batch) + int64(cap(b.prev))*8 + int64(cap(b.runs))*24 + int64(len(c.texts.bits))*8 +
		int64(b.rows())*summaryShare + chunkOverhead
	return c
}

const (
	chunkOverhead = 2048 // a chunk's own struct and its dead rows' bitmap
	summaryShare  = 4    // per row: what a reader may remember of a chunk (maxGroups)
)

// bytes is what the open chunk holds, its tables for interning included.
func (b *builder) bytes() int64 {
	const perKnown = 400 // a resource's or scope's key in the copier
	return batchBytes(b.batch) + b.strings.bytes() + int64(cap(b.prev))*8 + int64(cap(b.runs))*24 + chunkOverhead +
		int64(len(b.batch.Keys))*16 + int64(len(b.batch.Resources)+len(b.batch.Scopes))*perKnown
}
