package manifest

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/store/wal"
)

// Generation is the manifest of a bucket: one object says all that holds. docs/format/bucket.md draws the bytes.
type Generation struct {
	Number  uint64
	Owner   Owner
	Entries []Entry // by number
	Through uint64  // the highest sequence of the owner's log that is in segments
	Next    uint64  // every segment number from here on is unused
	Retired []Retired
}

// Owner is the identity of the data folder that writes to a bucket.
type Owner [16]byte

// String is hexadecimal.
func (o Owner) String() string { return hex.EncodeToString(o[:]) }

// ParseOwner reads what String wrote.
func ParseOwner(text string) (o Owner, err error) {
	if len(text) != 2*len(o) {
		return o, errors.New("an owner has 32 hexadecimal digits")
	}
	_, err = hex.Decode(o[:], []byte(text))
	return o, err
}

// Retired is an object that counts no more and is to be removed some time after At.
type Retired struct {
	Number uint64
	Hour   int64
	Sum    uint64
	Reason Reason
	At     int64 // ns, by the owner's clock
}

// Object is the name of the object, which Entry.Object had.
func (r Retired) Object() string { return Entry{Number: r.Number, Hour: r.Hour, Sum: r.Sum}.Object() }

// Object is the segment's object in a bucket. The checksum is part of the name: whoever writes it again writes the same bytes.
func (e Entry) Object() string {
	return fmt.Sprintf("%s%d/%012d-%08x%s", SegmentPrefix, e.Hour, e.Number, uint32(e.Sum), SegmentSuffix)
}

// SegmentPrefix begins the names of segments in a bucket.
const SegmentPrefix = "seg/"

// The objects that hold generations. Twenty digits sort as numbers do.
const (
	GenerationPrefix = "manifest/"
	generationDigits = 20
)

// GenerationName is the object of a generation.
func GenerationName(number uint64) string {
	return fmt.Sprintf("%s%0*d", GenerationPrefix, generationDigits, number)
}

// GenerationNumber reads the name of a generation's object. Names of another shape belong to somebody else.
func GenerationNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, GenerationPrefix)
	if !ok || len(digits) != generationDigits || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

const (
	generationMagic   = "spanbkt\n"
	generationVersion = 1
	generationHeader  = 48
	// MaxGeneration is the largest object of a generation.
	MaxGeneration = generationHeader + maxBody
)

// Append writes the object.
func (g *Generation) Append(p []byte) ([]byte, error) {
	b := body{through: g.Through, next: g.Next, added: g.Entries}
	for _, r := range g.Retired {
		b.removed = append(b.removed, removed{Removal: Removal{Number: r.Number, Reason: r.Reason, Text: fmt.Sprintf("%08x", uint32(r.Sum))}, hour: r.Hour, at: r.At})
	}
	start := len(p)
	p = append(p, make([]byte, generationHeader)...)
	p = b.append(p)
	h, rest := p[start:start+generationHeader], p[start+generationHeader:]
	if len(rest) > maxBody {
		return nil, fmt.Errorf("%d segments do not fit into a manifest", len(g.Entries))
	}
	copy(h, generationMagic)
	binary.LittleEndian.PutUint16(h[8:], generationVersion)
	binary.LittleEndian.PutUint32(h[12:], uint32(len(rest)))
	binary.LittleEndian.PutUint64(h[16:], g.Number)
	copy(h[24:40], g.Owner[:])
	binary.LittleEndian.PutUint32(h[40:], checksum(rest))
	binary.LittleEndian.PutUint32(h[44:], checksum(h[:44]))
	return p, nil
}

// ParseGeneration reads the object of a generation. What a newer version wrote is wal.ErrNewer.
func ParseGeneration(p []byte) (*Generation, error) {
	if len(p) < generationHeader || string(p[:8]) != generationMagic || checksum(p[:44]) != binary.LittleEndian.Uint32(p[44:]) {
		return nil, errors.New("this is no manifest of a bucket, or it is damaged")
	}
	if v := binary.LittleEndian.Uint16(p[8:]); v != generationVersion {
		return nil, fmt.Errorf("%w: version %d of the bucket's manifest, this one reads up to %d", wal.ErrNewer, v, generationVersion)
	}
	rest := p[generationHeader:]
	if uint64(binary.LittleEndian.Uint32(p[12:])) != uint64(len(rest)) || binary.LittleEndian.Uint32(p[40:]) != checksum(rest) {
		return nil, errors.New("the manifest of the bucket is damaged")
	}
	b, err := parseBody(rest)
	if err != nil {
		return nil, err
	}
	g := &Generation{Number: binary.LittleEndian.Uint64(p[16:]), Entries: b.added, Through: b.through, Next: b.next}
	copy(g.Owner[:], p[24:40])
	for i, e := range g.Entries {
		if i > 0 && e.Number <= g.Entries[i-1].Number || e.Bytes <= 0 {
			return nil, errBody
		}
	}
	for _, r := range b.removed {
		sum, err := strconv.ParseUint(r.Text, 16, 32)
		if err != nil || len(r.Text) != 8 {
			return nil, errBody
		}
		g.Retired = append(g.Retired, Retired{Number: r.Number, Hour: r.hour, Sum: sum, Reason: r.Reason, At: r.at})
	}
	return g, nil
}

// Covers reports whether a segment holds all that another one does, by the log's sequences: a compaction that had it as an input, say.
func (e Entry) Covers(other Entry) bool {
	return other.Number < e.Number && other.Hour == e.Hour && e.First <= other.First && other.Last <= e.Last && other.First != 0
}
