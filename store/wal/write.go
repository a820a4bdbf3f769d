package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
)

// file is one file of the log. Its fields are guarded by Log.mu; size is only changed by who has the turn.
type file struct {
	name    string
	number  uint64
	h       faultfs.File // nil when closed
	created time.Time
	size    int64
	synced  int64  // up to here it is durable, if listed
	listed  bool   // so is its entry in the folder
	first   uint64 // sequences
	last    uint64
	newest  int64 // receipt
	pending int   // tickets that are not done
	damaged bool
	bad     bool // a sync failed: never again
	cut     bool // bytes beyond size must be cut off, which failed
	// tail is the frames from synced on, in Interval mode: what must be written again if the next sync fails.
	tail tail
}

// encode makes the frame, complete but for salt and sequence.
func (r *record) encode(b *span.Batch) error {
	if len(b.Tenant) > maxTenant {
		return &problem.Problem{Kind: problem.Invalid, Field: "tenant", Message: fmt.Sprintf("name of %d bytes", len(b.Tenant)),
			Hint: fmt.Sprintf("use at most %d bytes", maxTenant)}
	}
	r.raw = b.AppendBinary(r.raw[:0])
	head := frameHeaderSize + len(b.Tenant)
	most := s2.MaxEncodedLen(len(r.raw))
	if len(r.raw) > MaxPayload || most < 0 {
		return problem.New(problem.TooLarge, fmt.Sprintf("a batch of %d bytes does not fit into a frame of at most %d", len(r.raw), MaxPayload),
			"send fewer spans in a request")
	}
	r.frame = slices.Grow(r.frame[:0], head+most)[:head+most]
	copy(r.frame[frameHeaderSize:], b.Tenant)
	r.frame = r.frame[:head+len(s2.Encode(r.frame[head:], r.raw))]
	putFrameHeader(r.frame, len(b.Tenant), uint32(b.Len()), b.Received)
	r.received = b.Received
	return nil
}

// writeGroup writes the group and sets each record's ticket or error. The caller has the turn.
func (l *Log) writeGroup() {
	f, rolled, err := l.write()
	for _, r := range l.group {
		if r.err = err; err == nil {
			r.ticket.file, r.ticket.Rolled = f, rolled
		}
	}
}

func (l *Log) write() (f *file, rolled bool, err error) {
	size := 0
	for _, r := range l.group {
		size += len(r.frame)
	}
	if err := l.Refusing(); err != nil { // it may have begun to refuse while the group waited
		return nil, false, err
	}
	if err := l.room(int64(size)); err != nil {
		return nil, false, err
	}
	f, rolled, err = l.fileFor(int64(size))
	if err != nil {
		return nil, false, l.writeProblem(err)
	}
	buf := l.sealGroup(f, size)
	if _, err := f.h.Write(buf); err != nil {
		l.cutBack(f, err)
		return nil, false, l.writeProblem(fmt.Errorf("write %s: %w", f.name, bare(err)))
	}
	if l.o.Mode == Always {
		if err := l.syncNow(f); err != nil {
			l.cutBack(f, err)
			return nil, false, brokenProblem(err)
		}
	}
	l.mu.Lock()
	f.size += int64(size)
	l.written += int64(size)
	if l.o.Mode == Always {
		f.synced, f.listed = f.size, true
	} else {
		f.tail.add(buf)
	}
	f.first = min(f.first, l.group[0].ticket.Sequence)
	for _, r := range l.group {
		f.last = r.ticket.Sequence
		f.newest = max(f.newest, r.received)
		f.pending++
	}
	late := f.tail.size > maxTail
	l.mu.Unlock()
	if late {
		_ = l.Sync() // its failure makes the next Append refuse; these frames are written again from the tail
	}
	if cap(l.scratch) > maxPooled {
		l.scratch = nil
	}
	return f, rolled, nil
}

// sealGroup gives each frame its sequence and joins the frames. A sequence is used once, also if the write fails: what was
// refused may stand on the disk nevertheless.
func (l *Log) sealGroup(f *file, size int) []byte {
	l.mu.Lock()
	next := l.next
	l.next += uint64(len(l.group))
	l.mu.Unlock()
	for i, r := range l.group {
		r.ticket.Sequence = next + uint64(i)
		seal(r.frame, l.salt, r.ticket.Sequence)
	}
	if len(l.group) == 1 {
		return l.group[0].frame
	}
	l.scratch = slices.Grow(l.scratch[:0], size)
	for _, r := range l.group {
		l.scratch = append(l.scratch, r.frame...)
	}
	return l.scratch
}

// fileFor is the current file, or a new one if that is full, old or missing. The caller has the turn.
func (l *Log) fileFor(size int64) (f *file, rolled bool, err error) {
	l.mu.Lock()
	f = l.cur
	if f != nil && l.outgrown(f, size) {
		l.cur, f = nil, nil // Tick syncs and closes it
	}
	first := l.next
	l.mu.Unlock()
	if f != nil {
		return f, false, nil
	}
	f, err = l.create(first)
	if err != nil {
		return nil, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cur = f
	l.files = append(l.files, f)
	return f, true, nil
}

// outgrown reports whether a file is too large for size bytes more, or too old. mu is held.
func (l *Log) outgrown(f *file, size int64) bool {
	return f.last != 0 && (f.size+size > l.o.FileSize || l.o.Now().Sub(f.created) >= l.o.FileAge)
}

// create makes a file with its header. It is not in the list yet.
func (l *Log) create(first uint64) (*file, error) {
	l.mu.Lock()
	number := l.number
	l.number++
	l.mu.Unlock()
	now := l.o.Now()
	f := &file{name: filepath.Join(l.o.Dir, fileName(number)), number: number, created: now, size: fileHeaderSize, synced: fileHeaderSize,
		first: first, newest: now.UnixNano()}
	var err error
	if f.h, err = l.o.FS.Create(f.name); err != nil {
		return nil, fmt.Errorf("create log file: %w", err)
	}
	head := fileHeader{salt: l.salt, first: first, at: now.UnixNano()}.append(nil)
	if _, err := f.h.Write(head); err != nil {
		l.discard(f)
		return nil, fmt.Errorf("write header of %s: %w", f.name, err)
	}
	return f, nil
}

// discard undoes create. What can't be removed is at most a header: replay knows such files.
func (l *Log) discard(f *file) {
	_ = f.h.Close()
	_ = l.o.FS.Remove(f.name)
}

// cutBack takes back a write that failed. A file that may be damaged is not written again, one that only found no room is.
func (l *Log) cutBack(f *file, cause error) {
	err := f.h.Truncate(f.size)
	l.mu.Lock()
	defer l.mu.Unlock()
	f.cut = err != nil
	if l.cur == f && (f.cut || !errors.Is(cause, syscall.ENOSPC)) {
		l.cur = nil
	}
}

// syncNow makes a file and its entry durable. The caller has the turn.
func (l *Log) syncNow(f *file) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	return l.syncFile(f)
}

// syncFile is the one place where files are synced. syncing is held. After an error the file is bad and the log refuses.
func (l *Log) syncFile(f *file) error {
	err := f.h.Sync()
	if err == nil && !f.listed {
		err = l.o.FS.SyncDir(l.o.Dir)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.syncs++
	if err != nil {
		err = fmt.Errorf("sync %s: %w", f.name, err)
		f.bad = true
		l.broken = err
		if l.cur == f {
			l.cur = nil
		}
		l.o.Log.Error("log could not be synced; spans are refused until they are safe in a new file", "err", err)
	}
	return err
}
