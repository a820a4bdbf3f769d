// Package wal is the log of the embedded engine and of the queue before remote ones: append-only files of checksummed frames, one frame a batch, which hold
// every accepted span until its memtable is gone. docs/format/log.md draws the bytes and states the rules of recovery.
//
// Append encodes and compresses in the caller's goroutine. Frames then queue up; the first caller that finds nobody writing
// takes all that is queued, writes it with one write and passes its turn on: no timer, and one system call for many
// senders under load. A caller is answered after write(2), so that a killed process loses nothing; Mode decides whether
// fsync comes before the answer (Always) or once per interval behind it (Interval).
//
// A frame is either in the log as a whole or refused; a refused frame is cut off again. When an fsync fails, the file is
// never synced again, and the log refuses until the frames since the last good fsync, which it keeps in memory for this,
// are written and synced in a new file.
package wal

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
)

// Mode says when Append answers.
type Mode uint8

// The modes.
const (
	Interval Mode = iota // after write(2); Tick makes it durable
	Always               // after fsync
)

// Options are the settings of a log. FS, Dir, Now and Log are needed.
type Options struct {
	FS  faultfs.FS
	Dir string // exists
	Now func() time.Time
	Log *slog.Logger

	Mode     Mode
	FileSize int64         // a file is closed before it would grow beyond; 0: 64 MiB
	FileAge  time.Duration // or when it gets this old, so that retention finds small files too; 0: an hour
	MaxBytes int64         // of all files; 0 for no limit. SetMaxBytes changes it
	Reserve  int64         // of the volume, that stays free
	FullHint string        // what helps when the volume is full; empty: what helps an engine
	Since    int64         // frames received before are not replayed, ns
	// After is the sequence up to which every frame is safe elsewhere: those frames are not replayed, what is damaged in their
	// payloads is nobody's loss, and no new frame gets such a sequence, also where no file is left that tells.
	After uint64
}

// The defaults of Options.
const (
	defaultFileSize = 64 << 20
	defaultFileAge  = time.Hour
)

// maxGroup bounds what is written at once, so that those who wait for it don't wait for ever.
const maxGroup = 8 << 20

// maxTail is how many bytes may await their fsync in Interval mode before a writer does it itself: they are held in memory.
const maxTail = 32 << 20

// Log is an open log. Its methods are safe for concurrent use.
//
// Locks are taken in this order: the turn to write (writing), syncing, mu.
type Log struct {
	o        Options
	salt     uint32
	maxBytes atomic.Int64

	syncing sync.Mutex // one fsync, cut or close of a file at a time

	mu      sync.Mutex
	turn    sync.Cond // signalled when writing ends with nothing queued
	writing bool      // somebody has the turn
	queue   []*record
	files   []*file // in the order of their numbers; the last may be current
	cur     *file   // nil: the next write begins a new file
	next    uint64  // sequence
	number  uint64  // of the next file
	broken  error   // a failed sync that was not made good yet
	full    error   // why there was no room at the last look
	free    int64   // of the volume, less what was written since looked
	looked  time.Time
	wanted  int64 // the bytes there was no room for
	closed  bool
	damage  []Damage
	written int64
	syncs   int64

	group   []*record // of whoever has the turn
	scratch []byte    // of whoever has the turn
}

// Ticket is what Append gives for a frame that is in the log. The file stays until Done says that the rows are where
// DropBefore's caller sees them.
type Ticket struct {
	Sequence uint64
	Rolled   bool // the frame began a new file
	file     *file
}

// Stats is the state of a log.
type Stats struct {
	Files    int
	Bytes    int64 // of all files
	Written  int64 // bytes since Open
	Syncs    int64
	Refusing string // empty if it does not
	Damage   []Damage
}

// record is a frame on its way. Records are pooled with their buffers.
type record struct {
	raw      []byte // the batch, unpacked
	frame    []byte
	received int64
	wake     chan struct{} // capacity 1
	leads    bool          // woken to write, not to return
	ticket   Ticket
	err      error
}

var records = sync.Pool{New: func() any { return &record{wake: make(chan struct{}, 1)} }}

// maxPooled is the most memory a record keeps for the next batch.
const maxPooled = 4 << 20

func (r *record) release() {
	r.leads, r.ticket, r.err = false, Ticket{}, nil
	if cap(r.raw)+cap(r.frame) <= maxPooled {
		records.Put(r)
	}
}

// Append puts a batch into the log. On an error, a problem.Problem, the batch is not in it.
// Cost: encoding, compression and a share of one write.
func (l *Log) Append(b *span.Batch) (Ticket, error) {
	if err := l.Refusing(); err != nil {
		return Ticket{}, err
	}
	r := records.Get().(*record)
	defer r.release()
	if err := r.encode(b); err != nil {
		return Ticket{}, err
	}
	l.mu.Lock()
	l.queue = append(l.queue, r)
	if l.writing {
		l.mu.Unlock()
		if <-r.wake; !r.leads {
			return r.ticket, r.err
		}
		l.mu.Lock()
	}
	l.writing = true
	l.takeGroup()
	l.mu.Unlock()

	l.writeGroup()
	for _, other := range l.group[1:] { // the first is r
		other.wake <- struct{}{}
	}
	l.passTurn()
	return r.ticket, r.err
}

// takeGroup takes what is queued, from the front. mu is held.
func (l *Log) takeGroup() {
	n, size := 1, len(l.queue[0].frame)
	for n < len(l.queue) && size+len(l.queue[n].frame) <= maxGroup {
		size += len(l.queue[n].frame)
		n++
	}
	l.group = append(l.group[:0], l.queue[:n]...)
	rest := copy(l.queue, l.queue[n:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
}

// takeTurn waits until nobody writes.
func (l *Log) takeTurn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.writing {
		l.turn.Wait()
	}
	l.writing = true
}

// passTurn lets the next in the queue write.
func (l *Log) passTurn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		l.queue[0].leads = true
		l.queue[0].wake <- struct{}{}
		return
	}
	l.writing = false
	l.turn.Signal()
}

// Done says that the rows of a ticket are in the memtable.
func (l *Log) Done(t Ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.file.pending--
}

// Refusing is the problem that Append answers now, or nil.
func (l *Log) Refusing() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return problem.New(problem.Unavailable, "the store is closed", "the server is stopping; send again after its restart")
	case l.broken != nil:
		return brokenProblem(l.broken)
	case l.full != nil && l.o.Now().Sub(l.looked) < lookAgain/5:
		return l.full
	}
	return nil
}

// SetMaxBytes changes Options.MaxBytes.
func (l *Log) SetMaxBytes(n int64) { l.maxBytes.Store(n) }

// Stats is cheap.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Stats{Files: len(l.files), Bytes: l.bytes(), Written: l.written, Syncs: l.syncs, Damage: l.damage}
	switch {
	case l.closed:
		s.Refusing = "closed"
	case l.broken != nil:
		s.Refusing = brokenProblem(l.broken).Error()
	case l.full != nil:
		s.Refusing = l.full.Error()
	}
	return s
}

// bytes is the size of all files. mu is held.
func (l *Log) bytes() (n int64) {
	for _, f := range l.files {
		n += f.size
	}
	return n
}

// Roll ends the file that is being written, so that it can go as soon as its rows are in a segment, and gives the highest
// sequence used so far. With no Append under way that is a border: every frame up to it is in files that end here, every
// later one in files that begin behind it (and perhaps, after a failed sync, some of the earlier ones again).
// Cost: waits for a write that is under way.
func (l *Log) Roll() uint64 {
	l.takeTurn()
	defer l.passTurn()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur != nil && l.cur.last != 0 { // else it is empty, and as good as a new one
		l.cur = nil // Tick syncs and closes it
	}
	return l.next - 1
}

// DropBefore removes files of which no row is needed: all sequences are below lowest, or all rows were received before the
// given time. It reports how many it removed. The file that is being written stays.
func (l *Log) DropBefore(lowest uint64, received int64) (int, error) {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	var drop []*file
	for i, f := range l.files {
		if f.pending > 0 { // also a newer file may hold its frames, written again after a failed sync
			break
		}
		last := f.last
		if f.damaged && i+1 < len(l.files) { // it may have held anything up to the next one
			last = max(last, l.files[i+1].first-1)
		}
		if f.bad && f.h != nil { // its tail is not safe yet
			continue
		}
		if f != l.cur && (last < lowest || f.newest < received) {
			drop = append(drop, f)
		}
	}
	l.mu.Unlock()
	for n, f := range drop {
		if err := l.remove(f); err != nil {
			return n, err
		}
	}
	return len(drop), nil
}

// Oldest is the receipt time of the newest row in the oldest file, and its size: what dropping it would let go. ok is false
// if the only file is the one being written.
func (l *Log) Oldest() (newest, bytes int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.files) == 0 || l.files[0] == l.cur {
		return 0, 0, false
	}
	return l.files[0].newest, l.files[0].size, true
}
