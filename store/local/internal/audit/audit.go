// Package audit reads every segment of a folder and its manifest, compares them, and mends what can be mended: bad segments are set
// aside, their readable rows are written again. It is the part of fsck that knows segments.
package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store/local/internal/compact"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/rollup"
	"github.com/spanloom/spanloom/store/wal"
)

// File is a manifest or a segment.
type File struct {
	Name   string // path
	Kind   string // manifest or segment
	Bytes  int64
	Rows   int   // that could be read
	Torn   int64 // where a manifest ends within a record; that is no damage
	Stray  bool  // a segment that the manifest doesn't name: it counts for nothing, and the next start removes it. No damage
	Aside  string
	Mended string // the segment that its readable rows were written to
}

// Report is what Check found.
type Report struct {
	Files  []File
	Damage []wal.Damage
	Rolled int // segments that got new rollups, and a new name with them
}

// Options are the settings of Check.
type Options struct {
	Repair bool // nobody else may use the folder
	// Rollups, with Repair, counts the rollups of every segment anew, also those that can be read: they may have been counted by an
	// older version's rules.
	Rollups bool
	// LogFirst is the lowest sequence that the log may hold: a segment of later ones that the manifest does not name is left over, one of earlier
	// ones is not. 0 is not known.
	LogFirst uint64
	Now      func() time.Time // for what the manifest remembers of a repair
}

// Check reads the segments below a manifest's folder. A folder that is not there is empty. Without Repair it writes nothing, and a
// server may run on the folder.
//
// With Repair a bad segment gets a name ending in wal.BadSuffix and is taken out of the manifest; before that the rows of its
// good blocks are written into a new one. A damaged or missing manifest is written again from the footers of the segments. Nothing is
// deleted.
func Check(ctx context.Context, fsys faultfs.FS, dir string, o Options) (Report, error) {
	a := &auditor{fs: fsys, dir: dir, o: o, entries: make(map[uint64]manifest.Entry)}
	found, state, err := manifest.CheckDir(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Report{}, nil
	}
	if err != nil {
		return Report{}, err
	}
	a.manifest(found, state)
	if err := a.list(); err != nil {
		return a.r, err
	}
	if found.File == "" && len(a.segments) > 0 {
		a.damage(wal.Damage{File: dir, Reason: "the manifest of the segments is missing"})
	}
	for i := range a.segments {
		if err := a.segment(ctx, &a.segments[i]); err != nil {
			return a.r, err
		}
	}
	if err := a.compare(); err != nil {
		return a.r, err
	}
	if o.Repair && !a.newer {
		err = a.repair(ctx)
	}
	for _, s := range a.segments {
		if !s.gone {
			a.r.Files = append(a.r.Files, s.File)
		}
	}
	return a.r, err
}

type auditor struct {
	fs  faultfs.FS
	dir string
	o   Options
	r   Report

	whole    bool // the manifest
	through  uint64
	newer    bool // a newer version wrote it
	entries  map[uint64]manifest.Entry
	segments []checked
	missing  []manifest.Entry
}

// checked is a segment's file.
type checked struct {
	File
	at     manifest.Entry // hour and number, as its name says
	entry  manifest.Entry // as its content says; only if open
	open   bool           // its footer could be read
	newer  bool
	gone   bool // a running server removed it
	listed bool
	faults []segment.Fault
	reason string // the first thing that is wrong
}

func (a *auditor) damage(d wal.Damage) { a.r.Damage = append(a.r.Damage, d) }

func (a *auditor) manifest(c manifest.Check, s manifest.State) {
	a.whole = c.File != "" && len(c.Damage) == 0
	for _, d := range c.Damage {
		a.damage(d)
		a.newer = a.newer || d.Newer
	}
	a.through = s.Through
	for _, e := range s.Entries {
		a.entries[e.Number] = e
	}
	if c.File != "" {
		a.r.Files = append(a.r.Files, File{Name: c.File, Kind: "manifest", Bytes: c.Bytes, Torn: c.Torn})
	}
}

// list finds the segments' files, by number.
func (a *auditor) list() error {
	hours, err := a.fs.ReadDir(a.dir)
	if err != nil {
		return err
	}
	for _, h := range hours {
		hour, err := strconv.ParseInt(h.Name(), 10, 64)
		if err != nil || !h.IsDir() || strconv.FormatInt(hour, 10) != h.Name() {
			continue
		}
		files, err := a.fs.ReadDir(filepath.Join(a.dir, h.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, f := range files {
			number, ok := manifest.SegmentNumber(f.Name())
			if !ok || f.IsDir() {
				continue
			}
			at := manifest.Entry{Number: number, Hour: hour}
			a.segments = append(a.segments, checked{File: File{Name: filepath.Join(a.dir, at.Name()), Kind: "segment"}, at: at})
		}
	}
	slices.SortFunc(a.segments, func(x, y checked) int {
		return cmp.Or(cmp.Compare(x.at.Number, y.at.Number), cmp.Compare(x.at.Hour, y.at.Hour))
	})
	return nil
}

// segment checks one file.
func (a *auditor) segment(ctx context.Context, s *checked) error {
	m, err := a.fs.Map(s.Name)
	if errors.Is(err, fs.ErrNotExist) {
		s.gone = true
		return nil
	}
	if err != nil {
		return err
	}
	defer m.Close()
	s.Bytes = int64(len(m.Bytes()))
	var r *segment.Reader
	err = segment.Guard(func() (err error) {
		r, err = segment.Open(m.Bytes())
		return err
	})
	if err == nil {
		s.entry, err = compact.EntryOf(r, s.at)
	}
	if err != nil {
		s.newer = errors.Is(err, segment.ErrNewer)
		a.fault(s, segment.Fault{Bytes: s.Bytes, Reason: err.Error()})
		return nil
	}
	s.open = true
	if s.faults, err = r.Check(ctx, nil); err != nil {
		return err
	}
	if f, bad := rollups(r); bad {
		s.faults = append(s.faults, f)
	}
	s.Rows = r.Info().Rows
	for _, f := range s.faults {
		s.Rows -= f.Rows
		a.fault(s, f)
	}
	s.Rows = max(s.Rows, 0)
	return nil
}

// rollups looks whether a segment's rollups can be read. Their checksum was compared already.
func rollups(r *segment.Reader) (f segment.Fault, bad bool) {
	_ = segment.Guard(func() error {
		p, err := r.Rollups()
		if err != nil {
			return nil // named
		}
		if _, err := rollup.Decode(p); err != nil {
			f, bad = segment.Fault{Bytes: int64(len(p)), Block: -1, Reason: fmt.Sprintf("rollups: %v", err)}, true
		}
		return nil
	})
	return f, bad
}

func (a *auditor) fault(s *checked, f segment.Fault) {
	if s.reason == "" {
		s.reason = f.Reason
	}
	a.damage(wal.Damage{File: s.Name, Offset: f.Offset, Bytes: f.Bytes, Spans: f.Rows, Reason: f.Reason, Newer: s.newer})
}

// compare holds the files to the manifest. A running server may have changed both meanwhile, so what doesn't fit is looked at
// again.
func (a *auditor) compare() error {
	for again := range 2 {
		fits := true
		a.missing = nil
		there := make(map[string]bool)
		for i := range a.segments {
			s := &a.segments[i]
			e, ok := a.entries[s.at.Number]
			s.listed = ok && e.Hour == s.at.Hour
			s.Stray = !s.listed && a.whole
			there[s.at.Name()] = !s.gone
			fits = fits && !s.Stray
		}
		for _, e := range a.entries {
			if !there[e.Name()] {
				a.missing = append(a.missing, e)
			}
		}
		if fits && len(a.missing) == 0 || again > 0 {
			break
		}
		_, state, err := manifest.CheckDir(a.fs, a.dir)
		if err != nil {
			return err
		}
		a.through = state.Through
		now := make(map[uint64]manifest.Entry)
		for _, e := range state.Entries {
			if _, ok := a.entries[e.Number]; ok || a.onList(e) {
				now[e.Number] = e
			}
		}
		a.entries = now
	}
	slices.SortFunc(a.missing, func(x, y manifest.Entry) int { return cmp.Compare(x.Number, y.Number) })
	for _, e := range a.missing {
		a.damage(wal.Damage{File: filepath.Join(a.dir, e.Name()), Bytes: e.Bytes, Spans: int(e.Rows), Reason: "the manifest names it, and it is missing"})
	}
	for i := range a.segments {
		a.compareEntry(&a.segments[i])
	}
	a.behind()
	return nil
}

// behind looks whether the manifest's end is lost. Repair writes it again then, of all files.
func (a *auditor) behind() {
	var strays []manifest.Entry
	for _, s := range a.segments {
		if s.Stray && s.open && !s.gone {
			strays = append(strays, s.entry)
		}
	}
	if a.whole && manifest.Behind(strays, a.missing, a.through, a.o.LogFirst) {
		a.whole = false
		a.damage(wal.Damage{File: a.r.Files[0].Name, Reason: "its end is lost: there are segments that it does not name, and nothing else has their spans"})
		for i := range a.segments {
			a.segments[i].Stray = false
		}
	}
}

// onList reports whether a segment's file was listed: one that came later is none of this check's.
func (a *auditor) onList(e manifest.Entry) bool {
	return slices.ContainsFunc(a.segments, func(s checked) bool { return s.at.Name() == e.Name() })
}

// compareEntry holds what the manifest says of a segment to what it says itself.
func (a *auditor) compareEntry(s *checked) {
	if !s.listed || !s.open {
		return
	}
	e := a.entries[s.at.Number]
	s.entry.Level, s.at.Level = e.Level, e.Level
	e.Traces = s.entry.Traces // counted by whoever wrote it; nothing depends on it
	if e == s.entry {
		return
	}
	reason := "the manifest says other things of it than its footer"
	if e.Sum != s.entry.Sum {
		reason = "it is another file than the manifest names"
	}
	s.faults = append(s.faults, segment.Fault{Block: -1, Reason: reason})
	a.fault(s, segment.Fault{Bytes: s.Bytes, Reason: reason})
}

// bad reports whether something is wrong with a segment that repair may touch.
func (s *checked) bad() bool { return s.reason != "" && !s.newer && !s.gone }
