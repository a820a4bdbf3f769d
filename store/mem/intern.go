package mem

import (
	"hash/maphash"

	"github.com/spanloom/spanloom/span"
)

// interner puts equal strings of a chunk into one run of its arena. It is an open-addressing table that knows only runs:
// a Go map would hold a string header and a copy of each.
type interner struct {
	dst   *span.Batch
	seed  maphash.Seed
	slots []internSlot // length a power of two
	n     int
}

type internSlot struct {
	hash uint32
	run  span.Str // Len 0: free
}

const (
	minInternSlots = 256
	// longString is interned no more: a statement or stack trace that long rarely comes twice, and hashing it costs.
	longString = 1024
)

func (t *interner) intern(p []byte) span.Str {
	if len(p) > longString {
		return t.dst.AddString(p)
	}
	if 4*t.n >= 3*len(t.slots) {
		t.grow()
	}
	hash := uint32(maphash.Bytes(t.seed, p))
	mask := uint32(len(t.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		s := &t.slots[at]
		if s.run.Len == 0 {
			*s = internSlot{hash, t.dst.AddString(p)}
			t.n++
			return s.run
		}
		if s.hash == hash && int(s.run.Len) == len(p) && string(t.dst.Arena[s.run.Off:s.run.Off+s.run.Len]) == string(p) {
			return s.run
		}
	}
}

func (t *interner) grow() {
	old := t.slots
	t.slots = make([]internSlot, max(minInternSlots, 2*len(old)))
	mask := uint32(len(t.slots) - 1)
	for _, s := range old {
		if s.run.Len == 0 {
			continue
		}
		at := s.hash & mask
		for t.slots[at].run.Len != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = s
	}
}

// emptied is the table's memory for the next chunk; a smaller one where this chunk needed a quarter of it.
func (t *interner) emptied() []internSlot {
	if 8*t.n < len(t.slots) {
		return make([]internSlot, max(minInternSlots, len(t.slots)/4))
	}
	clear(t.slots)
	return t.slots
}

func (t *interner) bytes() int64 { return int64(cap(t.slots)) * 12 }
