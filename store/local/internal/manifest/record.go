package manifest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/spanloom/spanloom/store/wal"
)

// The bytes of files and records are drawn in docs/format/manifest.md.
const (
	fileMagic      = "spanman\n"
	fileVersion    = 1
	fileHeaderSize = 32

	recordMarker     = 0x524D53F3 // F3 'S' 'M' 'R' on disk
	recordVersion    = 1
	recordHeaderSize = 32

	maxBody  = 64 << 20 // some 500,000 entries; without a bound a damaged length would be allocated
	maxAside = 256
)

type recordKind uint8

const (
	kindState  recordKind = 1
	kindChange recordKind = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

func appendFileHeader(p []byte, salt uint32, number uint64) []byte {
	start := len(p)
	p = append(p, fileMagic...)
	p = binary.LittleEndian.AppendUint16(p, fileVersion)
	p = binary.LittleEndian.AppendUint16(p, fileHeaderSize)
	p = binary.LittleEndian.AppendUint32(p, salt)
	p = binary.LittleEndian.AppendUint64(p, number)
	p = binary.LittleEndian.AppendUint32(p, 0)
	return binary.LittleEndian.AppendUint32(p, checksum(p[start:]))
}

// parseFileHeader reads the salt from a file's first fileHeaderSize bytes.
func parseFileHeader(p []byte) (salt uint32, err error) {
	if string(p[:8]) != fileMagic || checksum(p[:fileHeaderSize-4]) != binary.LittleEndian.Uint32(p[fileHeaderSize-4:]) {
		return 0, errors.New("file header is damaged")
	}
	if v := binary.LittleEndian.Uint16(p[8:]); v != fileVersion {
		return 0, fmt.Errorf("%w: manifest version %d, this one reads up to %d", wal.ErrNewer, v, fileVersion)
	}
	return binary.LittleEndian.Uint32(p[12:]), nil
}

// removed is a Removal with what people are told of it when the entry is gone.
type removed struct {
	Removal
	hour, rows, at int64
}

// body is what a record says.
type body struct {
	through, next uint64
	added         []Entry
	removed       []removed
}

// appendRecord writes a record. The body is bounded by the caller.
func appendRecord(p []byte, salt uint32, kind recordKind, number uint64, b body) []byte {
	start := len(p)
	p = append(p, make([]byte, recordHeaderSize)...)
	p = b.append(p)
	h, rest := p[start:start+recordHeaderSize], p[start+recordHeaderSize:]
	binary.LittleEndian.PutUint32(h, recordMarker)
	binary.LittleEndian.PutUint32(h[4:], salt)
	h[8], h[9] = recordVersion, byte(kind)
	binary.LittleEndian.PutUint32(h[12:], uint32(len(rest)))
	binary.LittleEndian.PutUint64(h[16:], number)
	binary.LittleEndian.PutUint32(h[24:], checksum(rest))
	binary.LittleEndian.PutUint32(h[28:], checksum(h[:28]))
	return p
}

// recordHeader is what precedes a body.
type recordHeader struct {
	salt    uint32
	version uint8
	kind    recordKind
	length  int
	number  uint64
	sum     uint32
}

// parseRecordHeader reads a record's first recordHeaderSize bytes; not ok means that no whole header stands there.
func parseRecordHeader(p []byte) (h recordHeader, ok bool) {
	if binary.LittleEndian.Uint32(p) != recordMarker || checksum(p[:28]) != binary.LittleEndian.Uint32(p[28:]) {
		return h, false
	}
	n := binary.LittleEndian.Uint32(p[12:])
	return recordHeader{
		salt:    binary.LittleEndian.Uint32(p[4:]),
		version: p[8],
		kind:    recordKind(p[9]),
		length:  int(n),
		number:  binary.LittleEndian.Uint64(p[16:]),
		sum:     binary.LittleEndian.Uint32(p[24:]),
	}, n <= maxBody
}

func (b body) append(p []byte) []byte {
	p = binary.AppendUvarint(p, b.through)
	p = binary.AppendUvarint(p, b.next)
	p = binary.AppendUvarint(p, uint64(len(b.added)))
	for _, e := range b.added {
		p = e.append(p)
	}
	p = binary.AppendUvarint(p, uint64(len(b.removed)))
	for _, r := range b.removed {
		p = binary.AppendUvarint(p, r.Number)
		p = append(p, byte(r.Reason))
		p = binary.AppendVarint(p, r.hour)
		p = binary.AppendUvarint(p, uint64(r.rows))
		p = binary.AppendVarint(p, r.at)
		p = binary.AppendUvarint(p, uint64(len(r.Text)))
		p = append(p, r.Text...)
	}
	return p
}

func (e Entry) append(p []byte) []byte {
	p = binary.AppendUvarint(p, e.Number)
	p = binary.AppendVarint(p, e.Hour)
	p = append(p, e.Level)
	for _, n := range [...]int64{e.Rows, e.Traces, e.Bytes} {
		p = binary.AppendUvarint(p, uint64(n))
	}
	for _, n := range [...]int64{e.MinStart, e.MaxStart, e.MaxEnd, e.MinReceived, e.MaxReceived} {
		p = binary.AppendVarint(p, n)
	}
	p = binary.AppendUvarint(p, e.First)
	p = binary.AppendUvarint(p, e.Last)
	return binary.LittleEndian.AppendUint64(p, e.Sum)
}

// The fewest bytes that an entry and a removal take: what bounds their numbers before anything is allocated.
const (
	minEntry   = 22
	minRemoved = 6
)

var errBody = errors.New("body of the record is no list of changes")

// decoder reads a body. The first thing that doesn't fit makes all that follow zero.
type decoder struct {
	p   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.p)
	return advance(d, v, n)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.p)
	return advance(d, v, n)
}

func advance[T any](d *decoder, v T, n int) T {
	if n <= 0 {
		d.bad, d.p = true, nil
		var zero T
		return zero
	}
	d.p = d.p[n:]
	return v
}

// size is a number that counts things: none is beyond what an int64 holds.
func (d *decoder) size() int64 {
	v := d.uvarint()
	if v > 1<<62 {
		d.bad = true
		return 0
	}
	return int64(v)
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.p)) {
		d.bad, d.p = true, nil
		return make([]byte, min(n, 8))
	}
	p := d.p[:n]
	d.p = d.p[n:]
	return p
}

// count is how many things of at least a size follow.
func (d *decoder) count(least int) int {
	n := d.uvarint()
	if n > uint64(len(d.p)/least) {
		d.bad, d.p = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) entry() (e Entry) {
	e.Number, e.Hour, e.Level = d.uvarint(), d.varint(), d.bytes(1)[0]
	e.Rows, e.Traces, e.Bytes = d.size(), d.size(), d.size()
	e.MinStart, e.MaxStart, e.MaxEnd = d.varint(), d.varint(), d.varint()
	e.MinReceived, e.MaxReceived = d.varint(), d.varint()
	e.First, e.Last = d.uvarint(), d.uvarint()
	e.Sum = binary.LittleEndian.Uint64(d.bytes(8))
	return e
}

func (d *decoder) removed() (r removed) {
	r.Number, r.Reason = d.uvarint(), Reason(d.bytes(1)[0])
	r.hour, r.rows, r.at = d.varint(), d.size(), d.varint()
	r.Text = string(d.bytes(d.uvarint()))
	return r
}

func parseBody(p []byte) (b body, err error) {
	d := &decoder{p: p}
	b.through, b.next = d.uvarint(), d.uvarint()
	n := d.count(minEntry)
	b.added = make([]Entry, n)
	for i := range b.added {
		b.added[i] = d.entry()
	}
	n = d.count(minRemoved)
	b.removed = make([]removed, n)
	for i := range b.removed {
		b.removed[i] = d.removed()
	}
	if d.bad || len(d.p) > 0 {
		return body{}, errBody
	}
	return b, nil
}
