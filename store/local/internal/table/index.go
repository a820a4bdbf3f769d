package table

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/spanloom/spanloom/span"
)

// traceIndex finds traces by the lower half of their ids, under which 64-bit ids and their 128-bit twins meet.
type traceIndex struct {
	slots []uint32 // index in TraceIDs + 1
	n     int
	salt  uint64 // senders choose ids: without it they could choose ones that fall into one slot
}

func newTraceIndex(n int) traceIndex {
	slots := 64
	for slots < 2*n {
		slots *= 2
	}
	var p [8]byte
	binary.LittleEndian.PutUint64(p[:], maphash.Bytes(maphash.MakeSeed(), p[:]))
	return traceIndex{slots: make([]uint32, slots), salt: binary.LittleEndian.Uint64(p[:])}
}

func (x *traceIndex) at(low uint64) uint32 {
	h := (low ^ x.salt) * 0x9E3779B97F4A7C15
	h ^= h >> 32
	return uint32(h*0xD6E8FEB86659FD93>>32) & uint32(len(x.slots)-1)
}

// add finds a trace or adds it at the end of ids.
func (x *traceIndex) add(id span.TraceID, ids *[]span.TraceID) (index uint32, known bool) {
	if 2*x.n >= len(x.slots) {
		x.slots = make([]uint32, 2*len(x.slots))
		for i := range *ids {
			at := x.at((*ids)[i].Low())
			for x.slots[at] != 0 {
				at = (at + 1) & uint32(len(x.slots)-1)
			}
			x.slots[at] = uint32(i) + 1
		}
	}
	for at := x.at(id.Low()); ; at = (at + 1) & uint32(len(x.slots)-1) {
		i := x.slots[at]
		if i == 0 {
			*ids = append(*ids, id)
			x.slots[at] = uint32(len(*ids))
			x.n++
			return uint32(len(*ids)) - 1, false
		}
		if (*ids)[i-1] == id {
			return i - 1, true
		}
	}
}

// find appends the indexes of all ids with a lower half.
func (x *traceIndex) find(dst []uint32, low uint64, ids []span.TraceID) []uint32 {
	for at := x.at(low); ; at = (at + 1) & uint32(len(x.slots)-1) {
		i := x.slots[at]
		if i == 0 {
			return dst
		}
		if ids[i-1].Low() == low {
			dst = append(dst, i-1)
		}
	}
}

func (x *traceIndex) reset() {
	clear(x.slots)
	x.n = 0
}

func (x *traceIndex) bytes() int64 { return 4 * int64(len(x.slots)) }
