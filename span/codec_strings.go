package span

import "encoding/binary"

// Refs to strings. Anything above is refBase + the index of a string that was named before.
const (
	refEmpty = 0
	refNext  = 1
	refBase  = 2
)

// seenString is one slot of a direct-mapped cache of strings: cheap, and no input can make it slow. A string that lost
// its slot is written a second time.
type seenString struct {
	off, len uint32 // in b.Arena
	ref      uint32
	round    uint32
}

const (
	seenBits  = 12
	seenSlots = 1 << seenBits
)

// appendRef writes a ref to a string, which goes into the table if it is not known to be there.
func (e *encoder) appendRef(p []byte, s Str) []byte {
	if s.Len == 0 {
		return append(p, refEmpty)
	}
	arena := e.b.Arena
	text := arena[s.Off : s.Off+s.Len : s.Off+s.Len]
	slot := &e.seen[spot(text)]
	if slot.round == e.round && slot.len == s.Len && string(arena[slot.off:slot.off+slot.len]) == string(text) {
		return appendUvarint(p, slot.ref)
	}
	*slot = seenString{s.Off, s.Len, refBase + e.strings, e.round}
	e.strings++
	e.lens = appendUvarint(e.lens, s.Len)
	e.bytes = append(e.bytes, text...)
	return append(p, refNext)
}

// appendUvarint is binary.AppendUvarint with the short cases inlined.
func appendUvarint(p []byte, v uint32) []byte {
	if v < 1<<7 {
		return append(p, byte(v))
	}
	if v < 1<<14 {
		return append(p, byte(v)|0x80, byte(v>>7))
	}
	return binary.AppendUvarint(p, uint64(v))
}

// spot hashes a string to its slot: its length, its ends and two places between, where names built alike differ.
func spot(p []byte) uint32 {
	const m1, m2 = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
	n := len(p)
	x := uint64(n)
	switch {
	case n >= 16:
		x ^= binary.LittleEndian.Uint64(p)
		x = (x ^ binary.LittleEndian.Uint64(p[n-8:])) * m1
		x ^= binary.LittleEndian.Uint64(p[(n-8)/3:])
		x = (x ^ x>>29) * m2
		x ^= binary.LittleEndian.Uint64(p[(n-8)*2/3:])
	case n >= 8:
		x ^= binary.LittleEndian.Uint64(p) * m2
		x ^= binary.LittleEndian.Uint64(p[n-8:])
	case n >= 4:
		x ^= uint64(binary.LittleEndian.Uint32(p))<<32 ^ uint64(binary.LittleEndian.Uint32(p[n-4:]))<<8
	default:
		x ^= uint64(p[0])<<8 ^ uint64(p[n>>1])<<16 ^ uint64(p[n-1])<<24
	}
	x = (x ^ x>>32) * m1
	return uint32(x >> (64 - seenBits))
}
