package span

import (
	"hash/maphash"
	"net/netip"
	"slices"
)

var noSender netip.Addr

// internTable is an open-addressing hash table from key bytes to their index in Batch.Keys. A Go map would need a string
// per key and batch; this one keeps its slots over Reset and allocates nothing once grown.
type internTable struct {
	slots []uint32 // index+1, 0 is free; length a power of two
}

const minSlots = 64

func (t *internTable) reset() { clear(t.slots) }

func (t *internTable) clone() internTable { return internTable{slices.Clone(t.slots)} }

func (t *internTable) intern(b *Batch, key []byte) uint32 {
	if 2*len(b.Keys) >= len(t.slots) {
		t.grow(b)
	}
	mask := uint32(len(t.slots) - 1)
	for at := hashBytes(key) & mask; ; at = (at + 1) & mask {
		slot := t.slots[at]
		if slot == 0 {
			b.Keys = append(b.Keys, b.AddString(key))
			t.slots[at] = uint32(len(b.Keys))
			return uint32(len(b.Keys)) - 1
		}
		k := b.Keys[slot-1]
		if int(k.Len) == len(key) && string(b.Arena[k.Off:k.Off+k.Len]) == string(key) {
			return slot - 1
		}
	}
}

// grow also rebuilds the table of a batch whose Keys were filled without it (cloned by columns).
func (t *internTable) grow(b *Batch) {
	t.fill(b, max(minSlots, 2*len(t.slots)))
}

// rebuild fits the table to Keys that were filled without it and reports whether they are all different.
func (t *internTable) rebuild(b *Batch) bool { return t.fill(b, minSlots) }

func (t *internTable) fill(b *Batch, n int) (distinct bool) {
	for n < 4*len(b.Keys) {
		n *= 2
	}
	if cap(t.slots) < n {
		t.slots = make([]uint32, n)
	} else {
		t.slots = t.slots[:n]
		clear(t.slots)
	}
	distinct = true
	mask := uint32(n - 1)
	for i, k := range b.Keys {
		key := b.Bytes(k)
		at := hashBytes(key) & mask
		for t.slots[at] != 0 {
			distinct = distinct && string(b.Bytes(b.Keys[t.slots[at]-1])) != string(key)
			at = (at + 1) & mask
		}
		t.slots[at] = uint32(i) + 1
	}
	return distinct
}

// hashSeed differs per process, so that nobody can send keys that all fall into one slot.
var hashSeed = maphash.MakeSeed()

func hashBytes(p []byte) uint32 { return uint32(maphash.Bytes(hashSeed, p)) }
