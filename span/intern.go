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

// grow also rebuilds the table of a batch whose Keys were filled without it (decoded or cloned by columns).
func (t *internTable) grow(b *Batch) {
	n := max(minSlots, 2*len(t.slots))
	for n < 4*len(b.Keys) {
		n *= 2
	}
	t.slots = make([]uint32, n)
	mask := uint32(n - 1)
	for i, k := range b.Keys {
		at := hashBytes(b.Bytes(k)) & mask
		for t.slots[at] != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = uint32(i) + 1
	}
}

// hashSeed differs per process, so that nobody can send keys that all fall into one slot.
var hashSeed = maphash.MakeSeed()

func hashBytes(p []byte) uint32 { return uint32(maphash.Bytes(hashSeed, p)) }
