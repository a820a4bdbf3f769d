package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/wal"
)

// ErrGone says that a segment that was to be removed is not in the manifest: retention, say, took the input of a compaction while it
// ran. Nothing was changed.
var ErrGone = errors.New("segment is not in the manifest any more")

// minGrowth is how much a file may grow at least before it is begun anew.
const minGrowth = 256 << 10

// Apply makes a change durable, as a whole, and then true. On an error (a problem.Problem of kind Unavailable, but for a
// change that makes no sense, such as ErrGone: that one left no trace) it is not true now, and whether it will be after a crash is not known before the next good
// Apply or Mend: files that it adds must stay until then, files that it removes as well.
// Cost: one write and one fsync; two of a new file where it grew, or where the last one failed.
func (m *Manifest) Apply(c Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return problem.New(problem.Unavailable, "the manifest is closed", "")
	}
	if len(m.found.damage) > 0 { // a new file would be whole, and what the damaged one doesn't name any more would be lost for good
		return fmt.Errorf("manifest: %s is damaged: rebuild it first", m.found.damage[0].File)
	}
	b, err := m.bodyOf(c)
	if err != nil {
		return err
	}
	if m.file == nil || m.broken != nil {
		return m.begin(b)
	}
	if m.size-m.fresh > max(minGrowth, 2*m.fresh) {
		if err := m.begin(b); err == nil || m.broken != nil {
			return err
		}
		// The new file never came to be: the old one is as good as before.
	}
	return m.add(b)
}

// Mend settles a failed change, if there was one, by a new file without it.
func (m *Manifest) Mend() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == nil || m.closed {
		return nil
	}
	return m.begin(body{})
}

// Rebuild makes entries all that holds, in a new file: for a manifest that is not Whole. Every frame up to the last sequence in
// them counts as held by segments, since segments are written in the order of sequences.
func (m *Manifest) Rebuild(entries []Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.entries
	m.entries = make(map[uint64]Entry, len(entries))
	b := body{added: entries}
	for _, e := range entries {
		b.through = max(b.through, e.Last)
	}
	err := m.begin(b)
	if err != nil {
		m.entries = was
		return err
	}
	m.found.state, m.found.damage = true, nil
	return nil
}

// Close releases the file. All that Apply acknowledged is durable already.
func (m *Manifest) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return m.release()
}

func (m *Manifest) release() error {
	f := m.file
	if m.file = nil; f == nil {
		return nil
	}
	return f.Close()
}

// bodyOf checks a change against the state.
func (m *Manifest) bodyOf(c Change) (body, error) {
	b := body{through: c.Through, added: c.Add}
	if c.Through != 0 && c.Through < m.through {
		return b, fmt.Errorf("manifest: through %d after %d", c.Through, m.through)
	}
	gone := make(map[uint64]bool, len(c.Remove))
	for _, r := range c.Remove {
		e, ok := m.entries[r.Number]
		if !ok || gone[r.Number] {
			return b, fmt.Errorf("%w: %d", ErrGone, r.Number)
		}
		gone[r.Number] = true
		rows := e.Rows
		if r.Lost > 0 {
			rows = r.Lost
		}
		b.removed = append(b.removed, removed{Removal: r, hour: e.Hour, rows: rows, at: m.now().UnixNano()})
	}
	added := make(map[uint64]bool, len(c.Add))
	for _, e := range c.Add {
		if _, ok := m.entries[e.Number]; ok || gone[e.Number] || added[e.Number] || e.Number == 0 {
			return b, fmt.Errorf("manifest: segment %d is to be added and was there", e.Number)
		}
		added[e.Number] = true
	}
	return b, nil
}

// add appends a change to the file that this process began.
func (m *Manifest) add(b body) error {
	b.through, b.next = max(b.through, m.through), m.next
	p := appendRecord(nil, m.salt, kindChange, m.record+1, b)
	if len(p) > maxBody {
		return m.begin(b)
	}
	if _, err := m.file.Write(p); err != nil {
		err = fmt.Errorf("write %s: %w", filepath.Base(m.name), err)
		// Where only room was missing, and the part that was written is off again, the file is as good as before.
		if !errors.Is(err, syscall.ENOSPC) || m.file.Truncate(m.size) != nil {
			m.broken = err
		}
		return refused(err)
	}
	if err := m.file.Sync(); err != nil {
		m.broken = fmt.Errorf("sync %s: %w", filepath.Base(m.name), err)
		return refused(m.broken)
	}
	m.record++
	m.size += int64(len(p))
	m.apply(kindChange, b)
	return nil
}

// begin writes what holds after a change into a new file. On an error the state is as before; broken is set if the new file may
// be there after a crash, for then nothing that is appended to the old one would count.
func (m *Manifest) begin(b body) error {
	entries, aside, through := m.entries, m.aside, m.through
	m.entries, m.aside = maps.Clone(entries), slices.Clone(aside)
	m.apply(kindChange, b)
	number, salt := m.number+1, rand.Uint32()
	p, err := m.image(salt, number)
	if err == nil {
		err = m.write(p, salt, number)
	}
	if err == nil {
		return nil
	}
	m.entries, m.aside, m.through = entries, aside, through // numbers stay taken
	m.number = number
	if _, serr := m.fs.Stat(filepath.Join(m.dir, fileName(number))); m.file == nil || m.broken != nil || !errors.Is(serr, fs.ErrNotExist) {
		m.broken = err
	}
	return refused(err)
}

// image is a whole file that says what holds.
func (m *Manifest) image(salt uint32, number uint64) ([]byte, error) {
	b := body{through: m.through, next: m.next, added: m.sorted()}
	for _, a := range m.aside {
		b.removed = append(b.removed, removed{Removal{Number: a.Number, Reason: Damaged, Text: a.Text}, a.Hour, a.Rows, a.At})
	}
	p := appendRecord(appendFileHeader(nil, salt, number), salt, kindState, 1, b)
	if len(p) > maxBody {
		return nil, fmt.Errorf("%d segments do not fit into a manifest", len(b.added))
	}
	return p, nil
}

// write makes a file the manifest, and opens it for what follows.
func (m *Manifest) write(p []byte, salt uint32, number uint64) error {
	name := filepath.Join(m.dir, fileName(number))
	if err := wal.Replace(m.fs, name, p); err != nil {
		return fmt.Errorf("begin manifest %s: %w", filepath.Base(name), err)
	}
	_ = m.release() // its content is in the new file
	if m.name != "" && !slices.Contains(m.old, m.name) {
		m.old = append(m.old, m.name)
	}
	m.name, m.number, m.salt, m.record, m.broken = name, number, salt, 1, nil
	m.size, m.fresh = int64(len(p)), int64(len(p))
	m.file = m.edit(name)
	m.tidy()
	return nil
}

// edit opens the new file behind what it holds. Where that fails the next change begins another one.
func (m *Manifest) edit(name string) faultfs.File {
	f, err := m.fs.Edit(name)
	if err != nil {
		return nil
	}
	if err := f.Truncate(m.size); err != nil { // moves to the end
		_ = f.Close()
		return nil
	}
	return f
}

// tidy removes files that a newer one has replaced; one that was damaged is set aside. What can't be removed now is tried again
// with the next file: an old manifest does no harm beside a newer one.
func (m *Manifest) tidy() {
	left := m.old[:0]
	for _, name := range m.old {
		var err error
		if len(m.found.damage) > 0 && m.found.damage[0].File == name {
			err = m.fs.Rename(name, wal.AsideName(m.fs, name))
		} else {
			err = m.fs.Remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			left = append(left, name)
		}
	}
	m.old = left
}
