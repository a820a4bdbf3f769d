package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/local/internal/compact"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/policy"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/wal"
)

func (e *Engine) segDir() string { return filepath.Join(tenantDir(e.o.Dir), segDir) }

// snapshot is all rows of now; the caller releases it.
func (e *Engine) snapshot() (*snapshot, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, answer.Closed()
	}
	s := &snapshot{segments: slices.Clone(e.segments)}
	s.missing, s.away = e.missing.reason()
	s.hold()
	add := func(m *memtable) {
		if v := m.snapshot(); v.view.Rows() > 0 {
			s.mems = append(s.mems, v)
		}
	}
	add(e.kept.rows)
	if e.frozen != nil {
		add(e.frozen.m)
	}
	add(e.cur)
	return s, nil
}

// insert puts a segment into the list, which is in the order of receipt. mu is held. The list is shared with nobody: snapshots copy it.
func (e *Engine) insert(f *segmentFile) {
	at, _ := slices.BinarySearchFunc(e.segments, f, func(a, b *segmentFile) int { return policy.Less(a.entry, b.entry) })
	e.segments = slices.Insert(e.segments, at, f)
}

// take takes segments out of the list and gives back its references. mu is held. Files stay until they are removed.
func (e *Engine) take(gone func(manifest.Entry) bool) (taken []*segmentFile) {
	e.segments = slices.DeleteFunc(e.segments, func(f *segmentFile) bool {
		if !gone(f.entry) {
			return false
		}
		taken = append(taken, f)
		return true
	})
	for _, f := range taken {
		e.sides.drop(f)
		e.rolls.drop(f)
		f.release()
	}
	return taken
}

// entries is what is known of the open segments, in the order of receipt.
func (e *Engine) entries() []manifest.Entry {
	return e.entriesOf(func(*segmentFile) bool { return true })
}

// localEntries is entries of the segments on the disk: what the manifest of the folder names.
func (e *Engine) localEntries() []manifest.Entry {
	return e.entriesOf(func(f *segmentFile) bool { return !f.far })
}

func (e *Engine) entriesOf(want func(*segmentFile) bool) []manifest.Entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]manifest.Entry, 0, len(e.segments))
	for _, f := range e.segments {
		if want(f) {
			list = append(list, f.entry)
		}
	}
	return list
}

// openSegments reads the manifest and opens what it names. What cannot be read is set aside; files that it does not name were never
// entered or are replaced, and go.
func (e *Engine) openSegments() error {
	dir := e.segDir()
	man, entries, err := manifest.Open(e.fs, dir, e.now)
	if err != nil {
		return err
	}
	e.man = man
	for _, d := range man.Damage() {
		e.damaged = append(e.damaged, d.String())
	}
	files, err := listSegments(e.fs, dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		man.Seen(f.Number)
	}
	behind, err := e.manifestBehind(files, entries)
	if err != nil {
		return err
	}
	if behind || !man.Whole() && (len(files) > 0 || len(man.Damage()) > 0) {
		if entries, err = e.rebuild(files, entries); err != nil {
			return err
		}
	}
	if !man.Whole() && len(files) == 0 {
		// An empty manifest tells a first segment that a crash kept from being entered from segments whose manifest is lost.
		if err := man.Apply(manifest.Change{}); err != nil {
			e.log.Warn("the manifest of the segments could not be begun", "err", err)
		}
	}
	known := make(map[uint64]bool, len(entries))
	for _, entry := range entries {
		known[entry.Number] = true
		f, err := openSegment(e.fs, dir, entry, e.sides, e.setAside)
		switch {
		case errors.Is(err, segment.ErrNewer):
			return fmt.Errorf("%s: %w: %w", entry.Name(), wal.ErrNewer, err)
		case errors.Is(err, segment.ErrDamaged) || errors.Is(err, fs.ErrNotExist):
			if err := e.putAside(entry, err); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			e.insert(f)
		}
	}
	return e.removeOrphans(files, known)
}

// manifestBehind reports whether the end of the manifest is lost, as a file system may do that went back in time: a file is not named
// although nothing else has its rows any more. Removing it as left over would lose them.
func (e *Engine) manifestBehind(files, named []manifest.Entry) (bool, error) {
	first, err := wal.FirstIn(e.fs, filepath.Join(tenantDir(e.o.Dir), logDir))
	if err != nil {
		return false, err
	}
	var strays []manifest.Entry
	for _, f := range files {
		if slices.ContainsFunc(named, func(n manifest.Entry) bool { return n.Number == f.Number }) {
			continue
		}
		if entry, err := readEntry(e.fs, e.segDir(), f); err == nil {
			strays = append(strays, entry)
		}
	}
	missing := slices.DeleteFunc(slices.Clone(named), func(n manifest.Entry) bool {
		return slices.ContainsFunc(files, func(f manifest.Entry) bool { return n.Number == f.Number })
	})
	return manifest.Behind(strays, missing, e.man.Through(), first), nil
}

// rebuild makes a manifest of what the files' own footers say, where there is none or it is damaged.
func (e *Engine) rebuild(files, known []manifest.Entry) ([]manifest.Entry, error) {
	levels := make(map[uint64]uint8)
	for _, k := range known {
		levels[k.Number] = k.Level
	}
	var entries []manifest.Entry
	for _, f := range files {
		f.Level = levels[f.Number]
		entry, err := readEntry(e.fs, e.segDir(), f)
		switch {
		case errors.Is(err, segment.ErrNewer):
			return nil, fmt.Errorf("%s: %w: %w", f.Name(), wal.ErrNewer, err)
		case errors.Is(err, segment.ErrDamaged):
			if err := e.rename(f, fmt.Sprintf("segment %s is set aside: %v", f.Name(), err)); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		default:
			entries = append(entries, entry)
		}
	}
	entries = uncovered(entries)
	e.damaged = append(e.damaged, fmt.Sprintf("the manifest of the segments was missing or damaged: rebuilt from %d files", len(entries)))
	return entries, e.man.Rebuild(entries)
}

// uncovered leaves out segments whose log frames another one holds too: inputs of a compaction that were not removed before the
// manifest was lost.
func uncovered(entries []manifest.Entry) []manifest.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(a manifest.Entry) bool {
		return slices.ContainsFunc(entries, func(b manifest.Entry) bool {
			return b.Covers(a)
		})
	})
}

func readEntry(fsys faultfs.FS, dir string, at manifest.Entry) (manifest.Entry, error) {
	m, err := fsys.Map(filepath.Join(dir, at.Name()))
	if err != nil {
		return at, err
	}
	defer m.Close()
	var entry manifest.Entry
	err = segment.Guard(func() error {
		r, err := segment.Open(m.Bytes())
		if err != nil {
			return err
		}
		entry, err = compact.EntryOf(r, at)
		return err
	})
	return entry, err
}

// listSegments finds the segment files of a folder, by hour and number. Names of another shape belong to somebody else.
func listSegments(fsys faultfs.FS, dir string) (list []manifest.Entry, err error) {
	hours, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, h := range hours {
		hour, err := strconv.ParseInt(h.Name(), 10, 64)
		if err != nil || !h.IsDir() || strconv.FormatInt(hour, 10) != h.Name() {
			continue
		}
		files, err := fsys.ReadDir(filepath.Join(dir, h.Name()))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if n, ok := manifest.SegmentNumber(f.Name()); ok && !f.IsDir() {
				list = append(list, manifest.Entry{Number: n, Hour: hour})
			}
		}
	}
	return list, nil
}

// removeOrphans removes segment files that do not count, and what a crash left half written.
func (e *Engine) removeOrphans(files []manifest.Entry, known map[uint64]bool) error {
	for _, f := range files {
		if known[f.Number] {
			continue
		}
		if err := e.fs.Remove(filepath.Join(e.segDir(), f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	hours, err := e.fs.ReadDir(e.segDir())
	if err != nil {
		return err
	}
	for _, h := range hours {
		if _, err := strconv.ParseInt(h.Name(), 10, 64); err != nil || !h.IsDir() {
			continue
		}
		dir := filepath.Join(e.segDir(), h.Name())
		left, err := e.fs.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, f := range left {
			if base, ok := strings.CutSuffix(f.Name(), wal.TempSuffix); ok {
				if _, ours := manifest.SegmentNumber(base); ours {
					if err := e.fs.Remove(filepath.Join(dir, f.Name())); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// putAside takes a segment of which nothing can be read out of use. Its name goes first: a bad file that the manifest doesn't name would
// be removed by the next start, and one that is missing is taken out of the manifest again.
func (e *Engine) putAside(entry manifest.Entry, why error) error {
	if err := e.rename(entry, fmt.Sprintf("segment %s (%d spans) is set aside: %v", entry.Name(), entry.Rows, why)); err != nil {
		return err
	}
	return e.man.Apply(manifest.Change{Remove: []manifest.Removal{{Number: entry.Number, Reason: manifest.Damaged, Text: why.Error()}}})
}

// rename gives a bad segment a name that nobody reads, and says so.
func (e *Engine) rename(entry manifest.Entry, text string) error {
	path := filepath.Join(e.segDir(), entry.Name())
	aside := wal.AsideName(e.fs, path)
	err := e.fs.Rename(path, aside)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	e.log.Error("data folder is damaged", "what", text, "hint", "spanloom fsck tells more")
	e.mu.Lock()
	e.lost = append(e.lost, text)
	e.mu.Unlock()
	return nil
}
