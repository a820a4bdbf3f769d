package rollup

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"
)

// Histogram counts durations in buckets whose width grows with the value: 32 to each doubling. What it answers is off by at
// most 1/64 (1.6 %), values below 64 ns not at all. Two histograms merge without losing anything. The zero Histogram is
// empty and ready.
//
// Most histograms of a rollup hold a handful of calls: up to sparseMost buckets are kept as sorted pairs, more as one run.
type Histogram struct {
	at       []uint16  // sparse: bucket of each count, ascending; nil in the dense form
	counts   []float64 // sparse: beside at; dense: buckets first, first+1 ...
	first    int
	total    float64
	min, max int64
	shared   bool // at and counts are another one's too: they are copied before they change
}

const (
	subBits    = 5
	subBuckets = 1 << subBits
	maxBucket  = subBuckets*(63-subBits-1) + 2*subBuckets - 1 // of the largest int64
	sparseMost = 32
)

// bucketOf is the index of a value's bucket: the value itself below 2*subBuckets, then subBuckets an octave.
func bucketOf(v int64) int {
	if v < 2*subBuckets {
		return int(v)
	}
	e := bits.Len64(uint64(v)) - subBits - 1
	return subBuckets*e + int(v>>e)
}

// bucketLow is the smallest value of a bucket.
func bucketLow(i int) int64 {
	if i < 2*subBuckets {
		return int64(i)
	}
	e := i/subBuckets - 1
	return int64(i-subBuckets*e) << e
}

// bucketMiddle is the value that stands for a bucket.
func bucketMiddle(i int) int64 {
	if i < 2*subBuckets {
		return int64(i)
	}
	return bucketLow(i) + (int64(1)<<(i/subBuckets-1)-1)/2
}

// Add counts a duration in ns (negative ones as 0) with a weight.
func (h *Histogram) Add(v int64, weight float64) {
	v = max(v, 0)
	if len(h.counts) == 0 {
		h.min, h.max = v, v
	}
	h.min, h.max = min(h.min, v), max(h.max, v)
	*h.bucket(bucketOf(v)) += weight
	h.total += weight
}

// bucket is the count of a bucket, made if it is not there.
func (h *Histogram) bucket(i int) *float64 {
	h.own()
	if h.at == nil && len(h.counts) > 0 {
		return h.dense(i)
	}
	lo, hi := 0, len(h.at)
	for lo < hi {
		if mid := (lo + hi) / 2; int(h.at[mid]) < i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(h.at) && int(h.at[lo]) == i {
		return &h.counts[lo]
	}
	if len(h.at) >= sparseMost {
		h.spread()
		return h.dense(i)
	}
	h.at = slices.Insert(h.at, lo, uint16(i))
	h.counts = slices.Insert(h.counts, lo, 0)
	return &h.counts[lo]
}

// spread turns pairs into a run.
func (h *Histogram) spread() {
	at, counts := h.at, h.counts
	h.first = int(at[0])
	h.counts = make([]float64, int(at[len(at)-1])-h.first+1)
	h.at = nil
	for i, n := range counts {
		h.counts[int(at[i])-h.first] = n
	}
}

func (h *Histogram) dense(i int) *float64 {
	switch {
	case i < h.first:
		// Room below as well, or a falling row of values would move everything each time.
		room := max(i-subBuckets, 0)
		grown := make([]float64, h.first-room+len(h.counts))
		copy(grown[h.first-room:], h.counts)
		h.first, h.counts = room, grown
	case i >= h.first+len(h.counts):
		h.counts = append(h.counts, make([]float64, i+subBuckets-h.first-len(h.counts))...) // room above too
	}
	return &h.counts[i-h.first]
}

// each calls f with every bucket that holds something, ascending, until it answers false.
func (h *Histogram) each(f func(bucket int, n float64) bool) {
	for i, n := range h.counts {
		b := h.first + i
		if h.at != nil {
			b = int(h.at[i])
		}
		if n != 0 && !f(b, n) {
			return
		}
	}
}

// Merge adds all of another histogram. An empty one shares the other's memory until it changes itself: the other one must not
// change after it. Cost: about a nanosecond a bucket of the other one, nothing for the first.
func (h *Histogram) Merge(o *Histogram) {
	if len(o.counts) == 0 {
		return
	}
	if len(h.counts) == 0 {
		*h = *o
		h.shared = true
		return
	}
	h.own()
	h.min, h.max = min(h.min, o.min), max(h.max, o.max)
	h.total += o.total
	if h.at != nil && o.at != nil && len(h.at)+len(o.at) <= sparseMost {
		for i, n := range o.counts {
			*h.bucket(int(o.at[i])) += n
		}
		return
	}
	if h.at != nil {
		h.spread()
	}
	if o.at == nil {
		h.dense(o.first)
		h.dense(o.first + len(o.counts) - 1)
		into := h.counts[o.first-h.first:][:len(o.counts)]
		for i, n := range o.counts {
			into[i] += n
		}
		return
	}
	h.dense(int(o.at[0]))
	h.dense(int(o.at[len(o.at)-1]))
	for i, n := range o.counts {
		h.counts[int(o.at[i])-h.first] += n
	}
}

// own copies what is shared.
func (h *Histogram) own() {
	if h.shared {
		h.at, h.counts, h.shared = slices.Clone(h.at), slices.Clone(h.counts), false
	}
}

// bytes is the memory that is its own.
func (h *Histogram) bytes() int64 {
	if h.shared {
		return 0
	}
	return int64(cap(h.counts))*8 + int64(cap(h.at))*2
}

// Total is the sum of the weights.
func (h *Histogram) Total() float64 { return h.total }

// Min and Max are the shortest and the longest duration, exactly.
func (h *Histogram) Min() int64 { return h.min }

// Max is the longest duration.
func (h *Histogram) Max() int64 { return h.max }

// Quantile is the value below or at which a share p (0 to 1) of the weight lies; 0 of an empty histogram.
func (h *Histogram) Quantile(p float64) int64 {
	if h.total <= 0 {
		return 0
	}
	if p >= 1 {
		return h.max
	}
	want, sum, value := p*h.total, 0.0, h.max
	h.each(func(b int, n float64) bool {
		if sum += n; sum >= want {
			value = min(max(bucketMiddle(b), h.min), h.max)
			return false
		}
		return true
	})
	return value
}

// AtMost is the weight of the durations that are not longer than v, off by the bucket in which v lies.
func (h *Histogram) AtMost(v int64) float64 {
	if len(h.counts) > 0 && v >= h.max {
		return h.total
	}
	last, sum := bucketOf(max(v, 0)), 0.0
	h.each(func(b int, n float64) bool {
		if b > last {
			return false
		}
		sum += n
		return true
	})
	return sum
}

// The forms in which the counts of a histogram stand: docs/format/rollups.md.
const (
	countsAreOne   = 0 // every bucket holds exactly 1: nothing is written
	countsAreWhole = 1 // uvarints
	countsAreFloat = 2 // 8 bytes each
)

func (h *Histogram) appendBinary(dst []byte) []byte {
	n, form := 0, byte(countsAreOne)
	h.each(func(_ int, c float64) bool {
		n++
		switch {
		case c == 1:
		case c >= 0 && c == math.Trunc(c) && c < 1<<53:
			form = max(form, countsAreWhole)
		default:
			form = countsAreFloat
		}
		return true
	})
	dst = binary.AppendUvarint(dst, uint64(n)<<2|uint64(form))
	if n == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(h.min))
	dst = binary.AppendUvarint(dst, uint64(h.max-h.min))
	last := 0
	h.each(func(b int, c float64) bool {
		dst = binary.AppendUvarint(dst, uint64(b-last))
		last = b
		switch form {
		case countsAreWhole:
			dst = binary.AppendUvarint(dst, uint64(c))
		case countsAreFloat:
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(c))
		}
		return true
	})
	return dst
}

var errHistogram = errors.New("histogram")

func (h *Histogram) decode(r *reader) {
	head := r.uvarint()
	n, form := int(head>>2), head&3
	if head>>2 > maxBucket+1 || form > countsAreFloat || n > len(r.p) {
		r.fail(errHistogram)
	}
	if n == 0 || r.err != nil {
		return
	}
	low, span := r.uvarint(), r.uvarint()
	if low > math.MaxInt64 || span > math.MaxInt64-low {
		r.fail(errHistogram)
		return
	}
	h.min, h.max = int64(low), int64(low+span)
	at, counts := resize(&r.at, n), resize(&r.counts, n)
	last := uint64(0)
	for i := range n {
		step := r.uvarint()
		if last += step; step > maxBucket || last > maxBucket || i > 0 && step == 0 {
			r.fail(errHistogram)
			return
		}
		at[i], counts[i] = uint16(last), 1
		switch form {
		case countsAreWhole:
			counts[i] = float64(r.uvarint())
		case countsAreFloat:
			counts[i] = r.float()
		}
		if !(counts[i] >= 0) || math.IsInf(counts[i], 1) {
			r.fail(errHistogram)
			return
		}
		h.total += counts[i]
	}
	first, width := int(at[0]), int(at[n-1]-at[0])+1
	if n <= sparseMost || width > 8*n { // a few bytes must not claim much memory
		h.at, h.counts = r.bucketSlab.take(n), r.countSlab.take(n)
		copy(h.at, at)
		copy(h.counts, counts)
		return
	}
	h.first, h.counts = first, r.countSlab.take(width)
	for i, c := range counts {
		h.counts[int(at[i])-first] = c
	}
}

// resize is a scratch slice of n entries.
func resize[T any](s *[]T, n int) []T {
	*s = slices.Grow((*s)[:0], n)[:n]
	return *s
}

// slab cuts small slices out of large ones.
type slab[T any] struct{ free []T }

const slabSize = 4096

func (s *slab[T]) take(n int) []T {
	if len(s.free) < n {
		s.free = make([]T, max(n, slabSize))
	}
	p := s.free[:n:n]
	s.free = s.free[n:]
	return p
}
