package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/spanloom/spanloom/span"
)

// Frame is one frame as replay gives it.
type Frame struct {
	Sequence uint64
	Received int64 // ns
	Spans    int
	Tenant   string
	packed   []byte
	whole    []byte // header and payload: a view, valid while each runs
}

// Decode unpacks the frame into b. scratch is memory for the unpacked bytes, returned for reuse.
func (f Frame) Decode(b *span.Batch, scratch []byte) ([]byte, error) {
	n, err := s2.DecodedLen(f.packed)
	if err != nil || n > MaxPayload {
		return scratch, fmt.Errorf("unpack: %w", errors.Join(err, errPayload))
	}
	raw, err := s2.Decode(scratch[:cap(scratch)], f.packed)
	if err != nil {
		return scratch, fmt.Errorf("unpack: %w", err)
	}
	if err := b.DecodeBinary(raw); err != nil {
		return raw, err
	}
	if b.Len() != f.Spans {
		return raw, fmt.Errorf("%d spans instead of %d", b.Len(), f.Spans)
	}
	b.Tenant, b.Received = f.Tenant, f.Received
	return raw, nil
}

var errPayload = errors.New("payload is no s2 block of this size")

// Damage is a part of a file that could not be read.
type Damage struct {
	File     string
	Offset   int64
	Bytes    int64
	Sequence uint64 // 0 if not known
	Spans    int    // lost; 0 if not known
	Reason   string
	Newer    bool // a newer version reads it
}

// String says it in one line, as Status and fsck show it.
func (d Damage) String() string {
	s := fmt.Sprintf("%s: %d bytes at %d: %s", d.File, d.Bytes, d.Offset, d.Reason)
	if d.Sequence != 0 {
		s += fmt.Sprintf(" (frame %d, %d spans lost)", d.Sequence, d.Spans)
	}
	return s
}

// scanned is what reading a whole file found out.
type scanned struct {
	header   fileHeader
	headerOK bool
	size     int64
	frames   int
	last     uint64 // highest sequence
	newest   int64  // latest receipt
	damage   []Damage
	// rest is where what can be read ends, or -1 if that is the end of the file. With cut set the file ends within a frame.
	// Else bytes stand there that begin no frame: damage, the last one in the list; in the newest file a torn write.
	rest int64
	cut  bool
}

// Scanning holds a window of the file; a frame longer than it makes it grow for as long as the frame is in it.
const windowSize = 256 << 10

// scanner walks over the frames of one file.
type scanner struct {
	name   string
	r      io.Reader
	window []byte // memory
	buf    []byte // the part of it that was read and not passed; reaches to its end
	at     int64  // offset of buf in the file
	end    bool   // r is exhausted
	got    scanned
	after  uint64 // frames up to this sequence are passed over
	salt   uint32
	any    bool // the salt is not known: the first whole frame gives it
}

// scan reads a file to its end. each is called for every frame whose checksums are right; its error means that the frame is
// not readable and becomes a Damage, unless it is an errStop. The returned error is one of reading, ErrNewer or what errStop holds.
func scan(name string, r io.Reader, each func(Frame) error) (scanned, error) {
	return scanAfter(name, r, 0, each)
}

// scanAfter is scan that passes over frames up to a sequence: their payloads are not looked at.
func scanAfter(name string, r io.Reader, after uint64, each func(Frame) error) (scanned, error) {
	s := &scanner{name: name, r: r, after: after}
	s.got.rest = -1
	err := s.run(each)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("%s at %d: %w", name, s.at, err)
	}
	return s.got, err
}

// errStop ends a scan from within.
type errStop struct{ error }

func (s *scanner) run(each func(Frame) error) error {
	if err := s.readHeader(); err != nil {
		return err
	}
	for {
		if err := s.need(frameHeaderSize); err != nil {
			return s.torn(err)
		}
		h, ok, err := s.header()
		if err != nil {
			return err
		}
		if !ok {
			if err := s.resync(); err != nil {
				return err
			}
			continue
		}
		if err := s.need(h.size()); err != nil {
			return s.torn(err)
		}
		if err := s.frame(h, each); err != nil {
			return err
		}
	}
}

// torn ends the scan where the file ends within a frame.
func (s *scanner) torn(err error) error {
	if errors.Is(err, io.EOF) && len(s.buf) > 0 {
		s.got.rest, s.got.cut = s.at, true
	}
	return err
}

func (s *scanner) readHeader() error {
	if err := s.need(fileHeaderSize); err != nil {
		return s.torn(err)
	}
	h, err := parseFileHeader(s.buf)
	switch {
	case errors.Is(err, ErrNewer):
		return err
	case err != nil:
		s.any = true
		s.damage(Damage{Offset: 0, Bytes: fileHeaderSize, Reason: err.Error()})
	default:
		s.got.header, s.got.headerOK, s.salt = h, true, h.salt
	}
	s.skip(fileHeaderSize)
	return nil
}

// header looks at the front of the window. Not ok means that no whole frame header stands there.
func (s *scanner) header() (h frameHeader, ok bool, err error) {
	h, ok = parseFrameHeader(s.buf)
	if !ok || !s.any && h.salt != s.salt || h.tenant > maxTenant {
		return h, false, nil
	}
	if err := s.need(frameHeaderSize + h.tenant); err != nil {
		if errors.Is(err, io.EOF) {
			err = nil // nothing is known of the length yet: whole frames may follow
		}
		return h, false, err
	}
	return h, whole(s.buf, h.tenant), nil
}

// frame handles the whole frame at the front of the window.
func (s *scanner) frame(h frameHeader, each func(Frame) error) error {
	if h.version != frameVersion || h.form != payloadS2 {
		return fmt.Errorf("%w: frame version %d, payload %d", ErrNewer, h.version, h.form)
	}
	p := s.buf[:h.size()]
	tenant, payload := p[frameHeaderSize:frameHeaderSize+h.tenant], p[frameHeaderSize+h.tenant:]
	lost := Damage{Offset: s.at, Bytes: int64(len(p)), Sequence: h.sequence, Spans: int(h.spans)}
	switch {
	case h.sequence <= s.got.last || h.sequence < s.got.header.first:
		lost.Reason = fmt.Sprintf("sequence %d after %d", h.sequence, max(s.got.last, s.got.header.first))
		s.damage(lost)
	case h.sequence > s.after && checksum(payload) != h.sum:
		lost.Reason = "checksum of the payload is wrong"
		s.damage(lost)
	default:
		s.salt, s.any = h.salt, false
		s.got.last = h.sequence
		s.got.newest = max(s.got.newest, h.received)
		s.got.frames++
		if h.sequence <= s.after {
			break
		}
		err := each(Frame{Sequence: h.sequence, Received: h.received, Spans: int(h.spans), Tenant: string(tenant), packed: payload, whole: p})
		if stop, ok := err.(errStop); ok {
			return stop.error
		}
		if err != nil {
			lost.Reason = err.Error()
			s.damage(lost)
		}
	}
	s.skip(len(p))
	return nil
}

// resync searches for the next whole frame header and names what lies before it.
func (s *scanner) resync() error {
	start, reason := s.at, "no frame begins here"
	if binary.LittleEndian.Uint32(s.buf) == frameMarker {
		reason = "checksum of the frame header is wrong"
	}
	var marker [4]byte
	binary.LittleEndian.PutUint32(marker[:], frameMarker)
	s.skip(1)
	for {
		err := s.need(frameHeaderSize)
		if errors.Is(err, io.EOF) {
			s.got.rest = start
			s.damage(Damage{Offset: start, Bytes: s.got.size - start, Reason: reason})
			return err
		}
		if err != nil {
			return err
		}
		switch i := bytes.Index(s.buf, marker[:]); {
		case i < 0:
			s.skip(len(s.buf) - len(marker) + 1)
			continue
		case i > 0:
			s.skip(i)
			continue
		}
		h, ok, err := s.header()
		if err != nil {
			return err
		}
		if ok && h.sequence > s.got.last {
			s.damage(Damage{Offset: start, Bytes: s.at - start, Reason: reason})
			return nil
		}
		s.skip(1)
	}
}

func (s *scanner) damage(d Damage) {
	d.File = s.name
	s.got.damage = append(s.got.damage, d)
}

// need makes at least n bytes of the file lie in the window; io.EOF if there are fewer.
func (s *scanner) need(n int) error {
	for len(s.buf) < n {
		if s.end {
			return io.EOF
		}
		if cap(s.buf) == len(s.buf) || cap(s.buf) < n {
			window := s.window
			if len(window) < n || len(window) == 0 {
				window = make([]byte, max(n, windowSize))
			}
			s.buf = window[:copy(window, s.buf)]
			s.window = window
		}
		k, err := s.r.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+k]
		s.got.size = s.at + int64(len(s.buf))
		if err == io.EOF {
			s.end = true
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) skip(n int) {
	s.buf = s.buf[n:]
	s.at += int64(n)
}
