package segment

import "sync"

// slab is the memory of one block's columns, handed out in pieces and taken back as a whole: reading a block costs no allocation
// for each column, and no clearing of what is overwritten anyway.
type slab struct {
	words []uint32
	longs []uint64
	times []int64
	wordN int // handed out
	longN int
	timeN int
}

// slabs keeps the slabs of blocks that were released.
var slabs = sync.Pool{New: func() any { return new(slab) }}

// maxSlab is the most that is kept, in words of each kind: a block of a trace with thousands of attributes needs more once.
const maxSlab = 1 << 20

// uint32s hands out n numbers of any value.
func (s *slab) uint32s(n int) []uint32 {
	if s.wordN+n > len(s.words) {
		s.words, s.wordN = make([]uint32, max(n, 1<<18)), 0 // what was handed out stays with its users
	}
	s.wordN += n
	return s.words[s.wordN-n : s.wordN : s.wordN]
}

func (s *slab) uint64s(n int) []uint64 {
	if s.longN+n > len(s.longs) {
		s.longs, s.longN = make([]uint64, max(n, 1<<16)), 0
	}
	s.longN += n
	return s.longs[s.longN-n : s.longN : s.longN]
}

func (s *slab) int64s(n int) []int64 {
	if s.timeN+n > len(s.times) {
		s.times, s.timeN = make([]int64, max(n, BlockRows)), 0
	}
	s.timeN += n
	return s.times[s.timeN-n : s.timeN : s.timeN]
}

// release takes everything back.
func (s *slab) release() {
	s.wordN, s.longN, s.timeN = 0, 0, 0
	if len(s.words) <= maxSlab && len(s.longs) <= maxSlab && len(s.times) <= maxSlab {
		slabs.Put(s)
	}
}

// memory is what reading needs: a slab for results and scratch memory for what is unpacked on the way.
type memory struct {
	*slab
	scratch, other []byte
}

func newMemory() memory { return memory{slab: slabs.Get().(*slab)} }

// zeros hands out n zeros.
func (m *memory) zeros(n int) []uint32 {
	s := m.uint32s(n)
	clear(s)
	return s
}
