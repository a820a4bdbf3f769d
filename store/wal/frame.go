package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The bytes of files and frames are drawn in docs/format/log.md.
const (
	fileMagic      = "spanlog\n"
	fileVersion    = 1
	fileHeaderSize = 40

	frameMarker     = 0x464C53F3 // F3 'S' 'L' 'F' on disk
	frameVersion    = 1
	payloadS2       = 1
	frameHeaderSize = 44

	// MaxPayload bounds a frame's payload, packed and unpacked. Receivers limit requests far below it; without a bound a
	// damaged length would make replay allocate it.
	MaxPayload = 256 << 20

	maxTenant = 255 // bytes of a tenant's name
)

// ErrNewer says that a file was written by a newer version. It is neither read nor changed.
var ErrNewer = errors.New("written by a newer version of spanloom")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// fileHeader is the first bytes of a file.
type fileHeader struct {
	salt  uint32
	first uint64 // no frame has a lower sequence
	at    int64  // time of creation; of a kept trace: until when
}

func (h fileHeader) append(p []byte) []byte {
	start := len(p)
	p = append(p, fileMagic...)
	p = binary.LittleEndian.AppendUint16(p, fileVersion)
	p = binary.LittleEndian.AppendUint16(p, fileHeaderSize)
	p = binary.LittleEndian.AppendUint32(p, h.salt)
	p = binary.LittleEndian.AppendUint64(p, h.first)
	p = binary.LittleEndian.AppendUint64(p, uint64(h.at))
	p = binary.LittleEndian.AppendUint32(p, 0)
	return binary.LittleEndian.AppendUint32(p, checksum(p[start:]))
}

// parseFileHeader reads a file's first fileHeaderSize bytes.
func parseFileHeader(p []byte) (fileHeader, error) {
	if string(p[:8]) != fileMagic || checksum(p[:fileHeaderSize-4]) != binary.LittleEndian.Uint32(p[fileHeaderSize-4:]) {
		return fileHeader{}, errors.New("file header is damaged")
	}
	if v := binary.LittleEndian.Uint16(p[8:]); v != fileVersion {
		return fileHeader{}, fmt.Errorf("%w: file version %d, this one reads up to %d", ErrNewer, v, fileVersion)
	}
	return fileHeader{
		salt:  binary.LittleEndian.Uint32(p[12:]),
		first: binary.LittleEndian.Uint64(p[16:]),
		at:    int64(binary.LittleEndian.Uint64(p[24:])),
	}, nil
}

// frameHeader is what precedes a payload, the tenant excepted.
type frameHeader struct {
	salt     uint32
	version  uint8
	form     uint8
	tenant   int // length
	spans    uint32
	sequence uint64
	received int64
	payload  int // length
	sum      uint32
}

// size is the length of the whole frame.
func (h frameHeader) size() int { return frameHeaderSize + h.tenant + h.payload }

// putFrameHeader fills in everything but the checksum of the header, which seal adds when the sequence is known. p is a whole
// frame whose tenant and payload stand in their places.
func putFrameHeader(p []byte, tenant int, spans uint32, received int64) {
	binary.LittleEndian.PutUint32(p, frameMarker)
	p[8], p[9] = frameVersion, payloadS2
	binary.LittleEndian.PutUint16(p[10:], uint16(tenant))
	binary.LittleEndian.PutUint32(p[12:], spans)
	binary.LittleEndian.PutUint64(p[24:], uint64(received))
	payload := p[frameHeaderSize+tenant:]
	binary.LittleEndian.PutUint32(p[32:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(p[36:], checksum(payload))
}

// seal sets what is only known when a frame is written.
func seal(p []byte, salt uint32, sequence uint64) {
	binary.LittleEndian.PutUint32(p[4:], salt)
	binary.LittleEndian.PutUint64(p[16:], sequence)
	tenant := int(binary.LittleEndian.Uint16(p[10:]))
	sum := crc32.Update(checksum(p[:40]), castagnoli, p[frameHeaderSize:frameHeaderSize+tenant])
	binary.LittleEndian.PutUint32(p[40:], sum)
}

// parseFrameHeader reads a frame's first frameHeaderSize bytes, unchecked but for the marker; whole verifies the checksum.
func parseFrameHeader(p []byte) (h frameHeader, ok bool) {
	if binary.LittleEndian.Uint32(p) != frameMarker {
		return h, false
	}
	n := binary.LittleEndian.Uint32(p[32:])
	return frameHeader{
		salt:     binary.LittleEndian.Uint32(p[4:]),
		version:  p[8],
		form:     p[9],
		tenant:   int(binary.LittleEndian.Uint16(p[10:])),
		spans:    binary.LittleEndian.Uint32(p[12:]),
		sequence: binary.LittleEndian.Uint64(p[16:]),
		received: int64(binary.LittleEndian.Uint64(p[24:])),
		payload:  int(n),
		sum:      binary.LittleEndian.Uint32(p[36:]),
	}, n <= MaxPayload
}

// whole reports whether the header's checksum, which covers the tenant, is right.
func whole(p []byte, tenant int) bool {
	sum := crc32.Update(checksum(p[:40]), castagnoli, p[frameHeaderSize:frameHeaderSize+tenant])
	return sum == binary.LittleEndian.Uint32(p[40:])
}
