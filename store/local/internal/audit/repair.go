package audit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spanloom/spanloom/store/local/internal/compact"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/wal"
)

// repair sets aside what is bad. After a crash on the way the next repair goes on.
func (a *auditor) repair(ctx context.Context) error {
	work := a.o.Rollups || !a.whole && len(a.segments) > 0 || len(a.missing) > 0 || len(a.r.Damage) > 0
	if !work {
		return nil
	}
	m, _, err := manifest.Open(a.fs, a.dir, a.o.Now)
	if err != nil {
		return err
	}
	defer m.Close()
	for _, s := range a.segments {
		m.Seen(s.at.Number)
	}
	if !a.whole {
		if err := a.rebuild(m); err != nil {
			return err
		}
	}
	for _, e := range a.missing {
		if err := a.remove(m, e, "the file is missing"); err != nil {
			return err
		}
	}
	for i := range a.segments {
		s := &a.segments[i]
		var err error
		switch {
		case s.bad():
			err = a.mend(ctx, m, s)
		case a.o.Rollups && s.open && s.listed && !s.gone:
			err = a.roll(ctx, m, s)
		}
		if err != nil {
			return fmt.Errorf("repair %s: %w", s.at.Name(), err)
		}
	}
	return nil
}

// roll puts a segment with new rollups in the place of a good one.
func (a *auditor) roll(ctx context.Context, m *manifest.Manifest, s *checked) error {
	if err := a.rewrite(ctx, m, s); err != nil {
		return err
	}
	s.gone = true
	a.r.Rolled++
	if err := a.fs.Remove(s.Name); err != nil {
		return err
	}
	return a.fs.SyncDir(filepath.Dir(s.Name))
}

// rebuild writes the manifest again: every segment whose footer can be read counts. Where there are two of a number, which only a
// hand at work can have made, the first one does.
func (a *auditor) rebuild(m *manifest.Manifest) error {
	var entries []manifest.Entry
	taken := make(map[uint64]bool)
	for i := range a.segments {
		s := &a.segments[i]
		if s.listed = s.open && !s.gone && !taken[s.at.Number]; !s.listed {
			continue
		}
		taken[s.at.Number] = true
		entries = append(entries, s.entry)
		a.entries[s.at.Number] = s.entry
	}
	a.missing = nil
	return m.Rebuild(entries)
}

func (a *auditor) remove(m *manifest.Manifest, e manifest.Entry, why string) error {
	return m.Apply(manifest.Change{Remove: []manifest.Removal{{Number: e.Number, Reason: manifest.Damaged, Text: why}}})
}

// mend replaces a segment by one of its readable rows, or takes it out where there are none.
func (a *auditor) mend(ctx context.Context, m *manifest.Manifest, s *checked) (err error) {
	if s.listed && s.open && s.Rows > 0 {
		err := a.rewrite(ctx, m, s)
		if err == nil {
			return a.aside(s)
		}
		if !errors.Is(err, segment.ErrDamaged) {
			return err
		}
	}
	// Its name goes first: a bad file that nothing names would be removed by the next start.
	if err := a.aside(s); err != nil {
		return err
	}
	s.Rows = 0
	if !s.listed {
		return nil
	}
	return a.remove(m, a.entries[s.at.Number], s.reason)
}

// rewrite puts the rows of the good blocks into a new segment, which takes the place of the bad one.
func (a *auditor) rewrite(ctx context.Context, m *manifest.Manifest, s *checked) error {
	skip := make(map[int]bool)
	for _, f := range s.faults {
		if f.Block >= 0 {
			skip[f.Block] = true
		}
	}
	e, err := compact.Rewrite(ctx, a.fs, a.dir, s.entry, m.Take(), func(block int) bool { return skip[block] })
	if err != nil {
		return err
	}
	gone := manifest.Removal{Number: s.at.Number, Reason: manifest.Damaged, Text: s.reason, Lost: s.entry.Rows - e.Rows}
	if gone.Lost <= 0 { // only what is found again from the rows was damaged
		gone.Reason, gone.Lost, gone.Text = manifest.Compacted, 0, ""
	}
	if err := m.Apply(manifest.Change{Add: []manifest.Entry{e}, Remove: []manifest.Removal{gone}}); err != nil {
		return err
	}
	s.Mended = filepath.Join(a.dir, e.Name())
	return nil
}

// aside gives a bad file a name that nobody reads.
func (a *auditor) aside(s *checked) error {
	aside := wal.AsideName(a.fs, s.Name)
	if err := a.fs.Rename(s.Name, aside); err != nil {
		return err
	}
	s.Aside = aside
	return a.fs.SyncDir(filepath.Dir(s.Name))
}
