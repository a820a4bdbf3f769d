package table

import (
	"hash/maphash"
	"slices"
)

// ID names a string of a Strings: 0 is the empty string.
type ID uint32

// Texts are strings under numbers, without the means to add one: what readers hold of a Strings. It never changes but at its
// end, so a copy of the header stays true.
type Texts struct {
	arena []byte
	ends  []uint32 // of string i in arena; ends[0] is 0
}

// Bytes reads a string. The result is a view of the arena.
func (t *Texts) Bytes(id ID) []byte {
	if id == 0 {
		return nil
	}
	from, to := t.ends[id-1], t.ends[id]
	return t.arena[from:to:to]
}

// Run is where a string lies in Arena.
func (t *Texts) Run(id ID) (off, length uint32) {
	if id == 0 {
		return 0, 0
	}
	from := t.ends[id-1]
	return from, t.ends[id] - from
}

// Arena is the memory in which all strings lie, not to be changed.
func (t *Texts) Arena() []byte { return t.arena[:len(t.arena):len(t.arena)] }

// Len is one more than the highest ID.
func (t *Texts) Len() int { return len(t.ends) }

// Strings puts equal strings under one number. It is an open-addressing table over one arena: a Go map would hold a header and a
// copy of each string, and take three times the memory.
type Strings struct {
	Texts
	seed  maphash.Seed
	slots []slot
}

type slot struct {
	hash uint32
	id   ID // 0: free
}

const minStringSlots = 1 << 10

// newStrings makes room for about n strings of size bytes in all.
func newStrings(n, size int) Strings {
	s := Strings{seed: maphash.MakeSeed()}
	s.arena = make([]byte, 0, size)
	s.ends = make([]uint32, 1, n+1)
	slots := minStringSlots
	for slots < n*3/2 {
		slots *= 2
	}
	s.slots = make([]slot, slots)
	return s
}

// Intern finds or adds a string. Cost: a hash of it, and a comparison where it is known.
func (s *Strings) Intern(p []byte) ID {
	if len(p) == 0 {
		return 0
	}
	if 4*len(s.ends) >= 3*len(s.slots) {
		s.grow()
	}
	hash := uint32(maphash.Bytes(s.seed, p))
	mask := uint32(len(s.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		x := &s.slots[at]
		if x.id == 0 {
			s.arena = append(s.arena, p...)
			s.ends = append(s.ends, uint32(len(s.arena)))
			*x = slot{hash, ID(len(s.ends) - 1)}
			return x.id
		}
		if x.hash == hash && string(s.Bytes(x.id)) == string(p) {
			return x.id
		}
	}
}

// Find is the number of a string, 0 if it is empty or not here.
func (s *Strings) Find(text string) ID {
	if text == "" {
		return 0
	}
	hash := uint32(maphash.String(s.seed, text))
	mask := uint32(len(s.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		x := s.slots[at]
		if x.id == 0 {
			return 0
		}
		if x.hash == hash && string(s.Bytes(x.id)) == text {
			return x.id
		}
	}
}

func (s *Strings) grow() {
	old := s.slots
	s.slots = make([]slot, 2*len(old))
	mask := uint32(len(s.slots) - 1)
	for _, x := range old {
		if x.id == 0 {
			continue
		}
		at := x.hash & mask
		for s.slots[at].id != 0 {
			at = (at + 1) & mask
		}
		s.slots[at] = x
	}
}

// reset forgets all strings and keeps the memory.
func (s *Strings) reset() {
	s.arena, s.ends = s.arena[:0], s.ends[:1]
	clear(s.slots)
}

// bytes is the memory held, by capacity.
func (s *Strings) bytes() int64 {
	return int64(cap(s.arena)) + 4*int64(cap(s.ends)) + 8*int64(len(s.slots))
}

// numbers puts equal 64-bit numbers under one index.
type numbers struct {
	list  []uint64
	slots []uint32 // index + 1
}

func newNumbers() numbers { return numbers{slots: make([]uint32, 64)} }

func (n *numbers) intern(v uint64) uint32 {
	if 2*len(n.list) >= len(n.slots) {
		n.slots = make([]uint32, 2*len(n.slots))
		for i, v := range n.list {
			n.slots[n.free(v)] = uint32(i) + 1
		}
	}
	at := n.free(v)
	if i := n.slots[at]; i != 0 {
		return i - 1
	}
	n.list = append(n.list, v)
	n.slots[at] = uint32(len(n.list))
	return uint32(len(n.list)) - 1
}

// free is the slot of a number: its own, or the one it would take.
func (n *numbers) free(v uint64) uint32 {
	mask := uint32(len(n.slots) - 1)
	for at := uint32(v*0x9E3779B97F4A7C15>>32) & mask; ; at = (at + 1) & mask {
		if i := n.slots[at]; i == 0 || n.list[i-1] == v {
			return at
		}
	}
}

func (n *numbers) reset() {
	n.list = n.list[:0]
	clear(n.slots)
}

func (n *numbers) bytes() int64 { return 8*int64(cap(n.list)) + 4*int64(len(n.slots)) }

// MakeTexts makes Texts of an arena in which string i, counted from 1, ends at ends[i]; ends[0] must be 0.
func MakeTexts(arena []byte, ends []uint32) Texts { return Texts{arena, ends} }

// Append adds a string without looking whether it is there.
func (t *Texts) Append(p []byte) ID {
	if len(p) == 0 {
		return 0
	}
	t.arena = append(t.arena, p...)
	t.ends = append(t.ends, uint32(len(t.arena)))
	return ID(len(t.ends) - 1)
}

// Grow makes room for so many bytes and strings.
func (t *Texts) Grow(bytes, n int) {
	t.arena, t.ends = slices.Grow(t.arena, bytes), slices.Grow(t.ends, n)
}

// Join adds strings that lie one behind the other, ends relative to the first one, and answers the ID of the first.
func (t *Texts) Join(arena []byte, ends []uint32) ID {
	first, base := ID(len(t.ends)), uint32(len(t.arena))
	t.arena = append(t.arena, arena...)
	for _, e := range ends {
		t.ends = append(t.ends, base+e)
	}
	return first
}

// Clone copies Texts, so that strings can be added without a trace in the original.
func (t *Texts) Clone(room int) Texts {
	c := Texts{make([]byte, len(t.arena), len(t.arena)+room), make([]uint32, len(t.ends), len(t.ends)+room/16)}
	copy(c.arena, t.arena)
	copy(c.ends, t.ends)
	return c
}
