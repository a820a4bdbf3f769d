// Package manifest is the list of segments that count, and up to which sequence the log is in them: an append-only file of
// checksummed records, one record an atomic change. docs/format/manifest.md draws the bytes and states the rules of recovery.
//
// It knows nothing of what is in segments and touches no segment file. The order is the caller's: a segment is written,
// synced and named before Apply adds it; a file is deleted after Apply removed it.
package manifest

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/wal"
)

// SegmentSuffix ends the names of segment files.
const SegmentSuffix = ".seg"

// Entry is what is known of a segment without opening it. Times are nanoseconds since the epoch.
type Entry struct {
	Number uint64 // unique for ever; a higher one was written later
	Hour   int64  // of receipt, since the epoch
	Level  uint8  // 0 as flushed; 1, 2: compacted once, twice

	Rows   int64
	Traces int64
	Bytes  int64 // of the file

	MinStart, MaxStart       int64 // effective start (span.Batch.Time)
	MaxEnd                   int64 // effective end
	MinReceived, MaxReceived int64

	First, Last uint64 // sequences of the log: its rows come from frames within [First, Last]
	Sum         uint64 // checksum of the footer, so that no other file passes for this one
}

// Name is the segment's file below the manifest's folder.
func (e Entry) Name() string { return SegmentName(e.Hour, e.Number) }

// SegmentName is the file of a segment below the manifest's folder.
func SegmentName(hour int64, number uint64) string {
	return filepath.Join(strconv.FormatInt(hour, 10), fmt.Sprintf("%012d%s", number, SegmentSuffix))
}

// SegmentNumber reads the name of a segment's file, without folder. Names of another shape belong to somebody else.
func SegmentNumber(base string) (uint64, bool) { return number(base, SegmentSuffix) }

// Reason says why a segment was removed.
type Reason uint8

// The reasons. They are part of the format: never renumber.
const (
	Compacted Reason = iota + 1 // its rows are in a segment that was added
	Age                         // retention
	Size                        // limit of the disk
	Damaged                     // set aside
)

// String is the name in logs and metrics.
func (r Reason) String() string {
	if r < Compacted || r > Damaged {
		return "reason " + strconv.Itoa(int(r))
	}
	return [...]string{"compacted", "age", "size", "damaged"}[r-1]
}

// Removal takes a segment out.
type Removal struct {
	Number uint64
	Reason Reason
	Text   string // what is wrong with it, where Reason is Damaged
	// Lost is the rows that went with it where Reason is Damaged and a segment with the others was added; 0: all.
	Lost int64
}

// SetAside is a segment that was removed as Damaged.
type SetAside struct {
	Number uint64
	Hour   int64
	Rows   int64 // that were lost with it
	At     int64 // ns
	Text   string
}

// Change is what becomes true at once.
type Change struct {
	Add    []Entry
	Remove []Removal
	// Through, if not 0: every frame up to this sequence is in segments that hold after this change, or went with some that
	// were removed. It never falls.
	Through uint64
}

// State is all that a manifest says.
type State struct {
	Entries []Entry // by number
	Aside   []SetAside
	Through uint64 // replay the log behind it
	Next    uint64 // every number from here on is unused
}

// Manifest is an open manifest. Its methods are safe for concurrent use.
type Manifest struct {
	fs  faultfs.FS
	dir string
	now func() time.Time

	mu      sync.Mutex
	entries map[uint64]Entry
	aside   []SetAside
	through uint64
	next    uint64 // segment number
	found   found

	file   faultfs.File // what this process began; nil: the next change begins one
	name   string
	salt   uint32
	number uint64   // of the newest file, tried ones included
	record uint64   // number of the last record
	size   int64    // of the file
	fresh  int64    // its size when it was begun
	old    []string // files to be removed once a newer one is there
	broken error    // why nothing may be appended to the file
	closed bool
}

// Open reads the manifest of a folder and gives its entries, by number. It writes nothing: a folder without manifest is empty, and
// becomes one with the first change. Damage is named in Damage and ends Open only if a newer version wrote it (wal.ErrNewer).
//
// Unless Whole, segment files that no entry names may count all the same, and entries may name files that are gone: read the
// footers of the files that are there and give all of them to Rebuild. If Whole, such a file counts for nothing: it was never
// entered (its rows are in the log behind Through), or was removed.
func Open(fsys faultfs.FS, dir string, now func() time.Time) (*Manifest, []Entry, error) {
	m := &Manifest{fs: fsys, dir: dir, now: now, entries: make(map[uint64]Entry), next: 1}
	files, err := list(fsys, dir)
	if err != nil {
		return nil, nil, err
	}
	m.old = append(m.old, files.temps...)
	for i, f := range files.manifests {
		m.number = max(m.number, f.number)
		if i < len(files.manifests)-1 { // a crash came between a new file and the removal of this one
			m.old = append(m.old, f.name)
			continue
		}
		if m.found, err = readFile(fsys, f.name, m.apply); err != nil {
			return nil, nil, fmt.Errorf("read manifest: %w", err)
		}
		m.old = append(m.old, f.name)
		m.name, m.size = f.name, m.found.size
	}
	return m, m.sorted(), nil
}

// apply takes over a record that was read or written.
func (m *Manifest) apply(kind recordKind, b body) {
	if kind == kindState {
		clear(m.entries)
		m.aside = m.aside[:0]
	}
	for _, r := range b.removed {
		delete(m.entries, r.Number)
		if r.Reason == Damaged {
			m.aside = append(m.aside, SetAside{Number: r.Number, Hour: r.hour, Rows: r.rows, At: r.at, Text: r.Text})
		}
	}
	if extra := len(m.aside) - maxAside; extra > 0 {
		m.aside = slices.Delete(m.aside, 0, extra)
	}
	for _, e := range b.added {
		m.entries[e.Number] = e
		m.next = max(m.next, e.Number+1)
	}
	m.through = max(m.through, b.through)
	m.next = max(m.next, b.next)
}

func (m *Manifest) sorted() []Entry {
	return slices.SortedFunc(maps.Values(m.entries), func(a, b Entry) int { return cmp.Compare(a.Number, b.Number) })
}

// State is what holds now: a copy.
func (m *Manifest) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return State{Entries: m.sorted(), Aside: slices.Clone(m.aside), Through: m.through, Next: m.next}
}

// Through is the sequence up to which the log is in segments: the first frame to replay is the one behind it.
func (m *Manifest) Through() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.through
}

// Whole reports whether there was a manifest and all of it could be read.
func (m *Manifest) Whole() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.found.state && len(m.found.damage) == 0
}

// Damage is what could not be read at Open. Sequence is the number of the record in its file.
func (m *Manifest) Damage() []wal.Damage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.found.damage)
}

// Bytes is the size of the manifest's file.
func (m *Manifest) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.size
}

// Take gives the number for a segment that is to be written. Each is given once in the life of a folder, if Seen is told of files
// that were never entered.
func (m *Manifest) Take() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	return m.next - 1
}

// Seen says that a number stands on a file.
func (m *Manifest) Seen(number uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = max(m.next, number+1)
}

// Refusing is why the last change was refused, nil if the manifest takes changes.
func (m *Manifest) Refusing() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == nil {
		return nil
	}
	return refused(m.broken)
}

func refused(err error) error {
	return &problem.Problem{Kind: problem.Unavailable, Message: "the manifest of the segments could not be written", Err: err,
		RetryAfter: refusedFor, Hint: "look at the disk under --data-dir (space, permissions, kernel log)"}
}

// refusedFor is what senders are told to wait where a manifest is what refuses.
const refusedFor = 5 * time.Second

// files is what a folder holds of ours.
type files struct {
	manifests []numbered // by number
	temps     []string
}

type numbered struct {
	name   string
	number uint64
}

const suffix = ".manifest"

func fileName(number uint64) string { return fmt.Sprintf("%012d%s", number, suffix) }

// number reads names of digits and a suffix.
func number(base, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(base, suffix)
	if !ok || len(digits) < 12 || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

func list(fsys faultfs.FS, dir string) (files, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return files{}, fmt.Errorf("list manifests: %w", err)
	}
	var f files
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if n, ok := number(e.Name(), suffix); ok && !e.IsDir() {
			f.manifests = append(f.manifests, numbered{name, n})
		} else if _, ok := number(e.Name(), suffix+wal.TempSuffix); ok && !e.IsDir() {
			f.temps = append(f.temps, name)
		}
	}
	slices.SortFunc(f.manifests, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	return f, nil
}
