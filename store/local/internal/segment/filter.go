package segment

import (
	"encoding/binary"

	"github.com/FastFilter/xorfilter"
	"github.com/cespare/xxhash/v2"
)

// The filter of trace ids is a split-block Bloom filter: buckets of 32 bytes, of which a key's hash chooses one and a bit in each of its
// eight words. A question touches one cache line, so thousands of segments are asked in a fraction of a millisecond.
const (
	bucketBytes   = 32
	bitsPerTrace  = 16 // one segment in a thousand is read for nothing
	minFilterKeys = 8
)

var salts = [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}

// hashText is the hash of filters of texts.
func hashText(p []byte) uint64 { return xxhash.Sum64(p) }

// hashTrace is the hash of filters of trace ids, by their lower halves.
func hashTrace(low uint64) uint64 {
	low = (low ^ low>>32) * 0x9E3779B97F4A7C15
	return low ^ low>>29
}

// appendFilter appends the filter of some hashes.
func appendFilter(dst []byte, hashes []uint64, bits int) []byte {
	buckets := (max(len(hashes), minFilterKeys)*bits + 8*bucketBytes - 1) / (8 * bucketBytes)
	from := len(dst)
	dst = append(dst, make([]byte, buckets*bucketBytes)...)
	f := dst[from:]
	for _, h := range hashes {
		b := f[bucket(h, len(f)):]
		for i, salt := range salts {
			word := b[4*i:]
			binary.LittleEndian.PutUint32(word, binary.LittleEndian.Uint32(word)|1<<(uint32(h)*salt>>27))
		}
	}
	return dst
}

// bucket is where the bucket of a hash begins.
func bucket(h uint64, size int) int {
	return int((h>>32)*uint64(size/bucketBytes)>>32) * bucketBytes
}

// mayHave reports whether a hash may be in a filter; one that is empty or of an odd size says yes.
func mayHave(f []byte, h uint64) bool {
	if len(f) < bucketBytes {
		return true
	}
	b := f[bucket(h, len(f)):]
	for i, salt := range salts {
		if binary.LittleEndian.Uint32(b[4*i:])&(1<<(uint32(h)*salt>>27)) == 0 {
			return false
		}
	}
	return true
}

// The filter of a block's texts is a binary fuse filter with fingerprints of 8 bits: of about 10 bits a text, one question in 256 is
// answered yes for nothing, where a Bloom filter of that size errs four times as often.
const fuseHead = 8 + 4 + 4 // seed, length of a segment, fingerprints that the first of three may be

// appendFuse appends the filter of different hashes.
func appendFuse(dst []byte, builder *xorfilter.BinaryFuseBuilder, hashes []uint64) []byte {
	f, err := xorfilter.BuildBinaryFuse[uint8](builder, hashes)
	if err != nil {
		return dst // an empty filter says yes to everything; the builder says less likely than a cosmic ray
	}
	dst = binary.LittleEndian.AppendUint64(dst, f.Seed)
	dst = binary.LittleEndian.AppendUint32(dst, f.SegmentLength)
	dst = binary.LittleEndian.AppendUint32(dst, f.SegmentCountLength)
	return append(dst, f.Fingerprints...)
}

// mayHaveText reports whether a hash may be in a filter of texts; one of an odd size says yes.
func mayHaveText(p []byte, h uint64) bool {
	if len(p) < fuseHead {
		return true
	}
	f := xorfilter.BinaryFuse[uint8]{
		Seed:               binary.LittleEndian.Uint64(p),
		SegmentLength:      binary.LittleEndian.Uint32(p[8:]),
		SegmentCountLength: binary.LittleEndian.Uint32(p[12:]),
		Fingerprints:       p[fuseHead:],
	}
	n := uint64(f.SegmentLength)
	if n == 0 || n&(n-1) != 0 || uint64(f.SegmentCountLength)%n != 0 || uint64(f.SegmentCountLength)+2*n != uint64(len(f.Fingerprints)) {
		return true
	}
	f.SegmentLengthMask = f.SegmentLength - 1
	return f.Contains(h)
}
