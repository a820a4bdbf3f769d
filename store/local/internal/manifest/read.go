package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store/wal"
)

// found is what reading a file told.
type found struct {
	state   bool // the state at its beginning was read
	size    int64
	records uint64
	torn    int64 // where the file ends within a record; 0 if it doesn't
	damage  []wal.Damage
}

// Check is what reading a manifest told, without changing it.
type Check struct {
	File    string // empty: there is none
	Bytes   int64
	Records uint64
	Damage  []wal.Damage // its Sequence is the number of the record
	Torn    int64        // where the file ends within a record, as after a crash; 0 if it doesn't
}

// CheckDir reads the manifest of a folder as Open does, and gives what it says too. What a newer version wrote is damage here.
func CheckDir(fsys faultfs.FS, dir string) (Check, State, error) {
	m, entries, err := Open(fsys, dir, nil)
	if errors.Is(err, wal.ErrNewer) {
		files, lerr := list(fsys, dir)
		if lerr != nil || len(files.manifests) == 0 {
			return Check{}, State{}, errors.Join(err, lerr)
		}
		name := files.manifests[len(files.manifests)-1].name
		return Check{File: name, Damage: []wal.Damage{{File: name, Reason: err.Error(), Newer: true}}}, State{}, nil
	}
	if err != nil {
		return Check{}, State{}, err
	}
	f := m.found
	return Check{File: m.name, Bytes: f.size, Records: f.records, Damage: f.damage, Torn: f.torn},
		State{Entries: entries, Aside: m.aside, Through: m.through, Next: m.next}, nil
}

// maxFile bounds what is read: a file is rewritten long before.
const maxFile = 4 * maxBody

func readFile(fsys faultfs.FS, name string, apply func(recordKind, body)) (found, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return found{}, err
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return found{}, fmt.Errorf("%s: %w", name, err)
	}
	got, err := scan(name, p, apply)
	if err != nil {
		return found{}, fmt.Errorf("%s: %w", name, err)
	}
	return got, nil
}

// scanner walks over the records of a file.
type scanner struct {
	name string
	p    []byte // all of the file
	at   int
	salt uint32
	any  bool   // the salt is not known: the first whole record gives it
	last uint64 // number of the last record
	got  found
}

// scan gives every readable record to apply, in order. Its error is wal.ErrNewer.
func scan(name string, p []byte, apply func(recordKind, body)) (found, error) {
	s := &scanner{name: name, p: p}
	s.got.size = int64(len(p))
	if len(p) > maxFile {
		s.damage(maxFile, len(p), 0, fmt.Sprintf("the file is larger than %d bytes", maxFile))
		s.p = p[:maxFile]
	}
	err := s.run(apply)
	return s.got, err
}

func (s *scanner) run(apply func(recordKind, body)) error {
	if len(s.p) < fileHeaderSize { // it was renamed after its sync, so it was whole once
		s.damage(0, len(s.p), 0, "the file ends within its header")
		return nil
	}
	salt, err := parseFileHeader(s.p)
	if errors.Is(err, wal.ErrNewer) {
		return err
	}
	if s.salt = salt; err != nil {
		s.any = true
		s.damage(0, fileHeaderSize, 0, err.Error())
	}
	for s.at = fileHeaderSize; s.at < len(s.p); {
		h, ok := s.header(s.at)
		if !ok {
			if len(s.p)-s.at < recordHeaderSize {
				s.torn()
				return nil
			}
			s.resync()
			continue
		}
		end := s.at + recordHeaderSize + h.length
		if end > len(s.p) {
			s.torn()
			return nil
		}
		if err := s.record(h, s.p[s.at+recordHeaderSize:end], apply); err != nil {
			return err
		}
		s.at = end
	}
	return nil
}

// header looks for a whole header of this file with a number that may come next.
func (s *scanner) header(at int) (recordHeader, bool) {
	if len(s.p)-at < recordHeaderSize {
		return recordHeader{}, false
	}
	h, ok := parseRecordHeader(s.p[at:])
	return h, ok && (s.any || h.salt == s.salt) && h.number > s.last
}

func (s *scanner) record(h recordHeader, p []byte, apply func(recordKind, body)) error {
	if h.version != recordVersion || h.kind != kindState && h.kind != kindChange {
		return fmt.Errorf("%w: record version %d, kind %d at %d", wal.ErrNewer, h.version, h.kind, s.at)
	}
	s.salt, s.any = h.salt, false
	if h.number != s.last+1 {
		s.damage(s.at, s.at, h.number, fmt.Sprintf("records %d to %d are missing", s.last+1, h.number-1))
	}
	s.last = h.number
	end := s.at + recordHeaderSize + len(p)
	if checksum(p) != h.sum {
		s.damage(s.at, end, h.number, "checksum of the record is wrong")
		return nil
	}
	b, err := parseBody(p)
	if err != nil {
		s.damage(s.at, end, h.number, err.Error())
		return nil
	}
	s.got.records++
	if h.kind == kindState {
		s.got.state = true
	}
	apply(h.kind, b)
	return nil
}

// torn ends reading where the file ends within a record.
func (s *scanner) torn() {
	s.got.torn = int64(s.at)
}

// resync goes to the next whole record and names what lies before it.
func (s *scanner) resync() {
	start := s.at
	var marker [4]byte
	binary.LittleEndian.PutUint32(marker[:], recordMarker)
	for s.at++; s.at < len(s.p); s.at++ {
		i := bytes.Index(s.p[s.at:], marker[:])
		if i < 0 {
			s.at = len(s.p)
			break
		}
		s.at += i
		if _, ok := s.header(s.at); ok {
			break
		}
	}
	s.damage(start, s.at, 0, "no record begins here")
}

func (s *scanner) damage(from, to int, record uint64, reason string) {
	s.got.damage = append(s.got.damage, wal.Damage{File: s.name, Offset: int64(from), Bytes: int64(to - from), Sequence: record, Reason: reason})
}
