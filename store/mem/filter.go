package mem

import (
	"hash/maphash"

	"github.com/spanloom/spanloom/span"
)

// filter is a Bloom filter over the strings of a sealed chunk: a search for one value, a request id above all, passes over
// the chunks that cannot have it. 10 bits a string let one chunk in a hundred through for nothing.
type filter struct {
	seed maphash.Seed
	bits []uint64
}

const (
	filterBitsPerString = 10
	filterProbes        = 5
)

func newFilter(seed maphash.Seed, strings int) filter {
	return filter{seed, make([]uint64, strings*filterBitsPerString/64+1)}
}

// at is the bit of the n-th probe: the high half of a product spreads a hash over any number of bits.
func (f *filter) at(hash uint32, n uint32) (word, bit uint32) {
	h := (uint64(hash) + uint64(n)<<32) * 0x9E3779B97F4A7C15
	h ^= h >> 29
	pos := uint32((h & 0xffffffff) * uint64(len(f.bits)*64) >> 32)
	return pos >> 6, pos & 63
}

func (f *filter) add(hash uint32) {
	for n := range uint32(filterProbes) {
		word, bit := f.at(hash, n)
		f.bits[word] |= 1 << bit
	}
}

// has reports whether a string may be in the chunk. A filter that was never made says yes.
func (f *filter) has(text string) bool {
	if len(f.bits) == 0 || text == "" || len(text) > longString {
		return true
	}
	hash := uint32(maphash.String(f.seed, text))
	for n := range uint32(filterProbes) {
		word, bit := f.at(hash, n)
		if f.bits[word]&(1<<bit) == 0 {
			return false
		}
	}
	return true
}

// filter makes the filter of everything that was interned, and of the elements of string arrays, which were not.
func (t *interner) filter(b *span.Batch) filter {
	arrays := 0
	for _, a := range b.Attrs {
		if a.Type == span.TypeStrings {
			arrays++
		}
	}
	f := newFilter(t.seed, t.n+3*arrays)
	for _, s := range t.slots {
		if s.run.Len > 0 {
			f.add(s.hash)
		}
	}
	if arrays == 0 {
		return f
	}
	for _, a := range b.Attrs {
		if a.Type != span.TypeStrings {
			continue
		}
		for e := b.Elements(a.Value()); ; {
			v, ok := e.Next()
			if !ok {
				break
			}
			f.add(uint32(maphash.Bytes(t.seed, b.Bytes(v.Str()))))
		}
	}
	return f
}
