package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store/local/internal/compact"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/rollup"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/store/wal"
)

const (
	dir  = "/seg"
	rows = 8 // of each segment, in blocks of two
)

func now() time.Time { return time.Unix(1790000000, 0) }

// folder has four segments in two hours and their manifest.
func folder(t *testing.T) (*faultfs.Mem, []manifest.Entry) {
	t.Helper()
	fsys := faultfs.NewMem(1)
	if err := errors.Join(fsys.MkdirAll(dir), fsys.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	m, _, err := manifest.Open(fsys, dir, now)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var entries []manifest.Entry
	for n := range uint64(4) {
		e := create(t, fsys, manifest.Entry{Number: m.Take(), Hour: int64(5 + n/2), Level: uint8(n % 2)})
		if err := m.Apply(manifest.Change{Add: []manifest.Entry{e}, Through: e.Last}); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return fsys, entries
}

func create(t *testing.T, fsys faultfs.FS, at manifest.Entry) manifest.Entry {
	t.Helper()
	var text strings.Builder
	for i := range rows {
		fmt.Fprintf(&text, "%x %x - front server get 0s 1ms segment=%d row=\"%d\"\n", at.Number*100+uint64(i)+1, i+1, at.Number, i)
	}
	tab := table.New(0)
	tab.Append(storetest.Batch(t, text.String()))
	e, err := compact.Create(fsys, dir, at, func(w *segment.Writer) ([]byte, error) {
		w.Range(at.Number*10, at.Number*10+9)
		r := compact.NewRolling()
		err := segment.WriteTable(t.Context(), w, tab, 2, r.Add)
		return r.Encoded(), err
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func path(e manifest.Entry) string { return filepath.Join(dir, e.Name()) }

// blockOf is a bit inside of a block of a segment.
func blockOf(t *testing.T, fsys *faultfs.Mem, e manifest.Entry, block int) int64 {
	t.Helper()
	m, err := fsys.Map(path(e))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	r, err := segment.Open(m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for bit := int64(0); bit < int64(len(m.Bytes()))*8; bit += 8 { // the block whose checksum notices
		m.Bytes()[bit/8] ^= 1
		side, err := r.Side()
		if err == nil {
			_, err = r.Read(block, side)
		}
		m.Bytes()[bit/8] ^= 1
		if err != nil && strings.Contains(err.Error(), fmt.Sprintf("checksum of block %d", block)) {
			return bit
		}
	}
	t.Fatal("no such block")
	return 0
}

// rollupsOf is a bit inside of the rollups of a segment.
func rollupsOf(t *testing.T, fsys *faultfs.Mem, e manifest.Entry) int64 {
	t.Helper()
	m, err := fsys.Map(path(e))
	must(t, err)
	defer m.Close()
	r, err := segment.Open(m.Bytes())
	must(t, err)
	if p, err := r.Rollups(); err != nil || len(p) < 20 {
		t.Fatal("no rollups", err)
	}
	// They are the last section: the footer follows, whose length stands in the trailer of 20 bytes.
	p := m.Bytes()
	footer := int(binary.LittleEndian.Uint32(p[len(p)-20:]))
	return int64(len(p)-20-footer-10) * 8
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func said(r Report) string {
	var lines []string
	for _, d := range r.Damage {
		lines = append(lines, d.String())
	}
	return strings.Join(lines, "\n")
}

func TestSoundFolder(t *testing.T) {
	fsys, _ := folder(t)
	before := fsys.Files("/")
	for _, repair := range []bool{false, true} {
		r, err := Check(t.Context(), fsys, dir, Options{Repair: repair, Now: now})
		if err != nil || len(r.Damage) > 0 || len(r.Files) != 5 {
			t.Fatalf("%+v, %v", r, err)
		}
		for _, f := range r.Files {
			if f.Kind == "segment" && f.Rows != rows || f.Bytes == 0 || f.Stray || f.Aside != "" {
				t.Errorf("%+v", f)
			}
		}
	}
	if after := fsys.Files("/"); !slices.Equal(before, after) {
		t.Errorf("files %v", after)
	}
	if r, err := Check(t.Context(), fsys, "/nowhere", Options{}); err != nil || len(r.Files) > 0 {
		t.Errorf("a folder that is not there: %+v, %v", r, err)
	}
}

// TestRepair spoils a folder in one way after the other: Check names it and changes nothing, repair mends it and keeps what can be
// read, and then everything is sound.
func TestRepair(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(t *testing.T, fsys *faultfs.Mem, entries []manifest.Entry)
		want  []string
		rows  int // that are left in segments
		aside int // files
		lost  int // segments that the manifest remembers as set aside
	}{
		"a block": {func(t *testing.T, fsys *faultfs.Mem, entries []manifest.Entry) {
			must(t, fsys.Flip(path(entries[1]), blockOf(t, fsys, entries[1], 2)))
		}, []string{"000000000002.seg", "checksum of block 2 is wrong"}, 4*rows - 2, 1, 1},
		"all blocks": {func(t *testing.T, fsys *faultfs.Mem, entries []manifest.Entry) {
			for block := range rows / 2 {
				must(t, fsys.Flip(path(entries[1]), blockOf(t, fsys, entries[1], block)))
			}
		}, []string{"000000000002.seg", "checksum of block 3 is wrong"}, 3 * rows, 1, 1},
		"footer": {func(t *testing.T, fsys *faultfs.Mem, entries []manifest.Entry) {
			must(t, fsys.Flip(path(entries[0]), (entries[0].Bytes-30)*8))
		}, []string{"000000000001.seg", "checksum of the footer is wrong"}, 3 * rows, 1, 1},
		"what is found again from the rows": {func(t *testing.T, fsys *faultfs.Mem, entries []manifest.Entry) {
			must(t, fsys.Flip(path(entries[0]), 12*8))
		}, []string{"000000000001.seg", "version is not what this version writes"}, 4 * rows, 1, 0},
		"cut off": {func(t *testing.T, fsys *faultfs.Mem, entries []manifest.Entry) {
			f, err := fsys.Edit(path(entries[3]))
			must(t, err)
			must(t, f.Truncate(entries[3].Bytes/2))
		}, []string{"000000000004.seg", "the end of the file is missing"}, 3 * rows, 1, 1},
		"missing": {func(t *testing.T, fsys *faultfs.Mem, entries []manifest.Entry) {
			must(t, fsys.Remove(path(entries[2])))
		}, []string{"000000000003.seg", "the manifest names it, and it is missing"}, 3 * rows, 0, 1},
		"another file": {func(t *testing.T, fsys *faultfs.Mem, entries []manifest.Entry) {
			must(t, fsys.Rename(path(entries[3]), path(entries[2])))
		}, []string{"000000000003.seg", "it is another file than the manifest names", "000000000004.seg", "it is missing"}, 3 * rows, 1, 1},
		"rollups": {func(t *testing.T, fsys *faultfs.Mem, entries []manifest.Entry) {
			must(t, fsys.Flip(path(entries[1]), rollupsOf(t, fsys, entries[1])))
		}, []string{"000000000002.seg", "checksum of section"}, 4 * rows, 1, 0},
		"manifest": {func(t *testing.T, fsys *faultfs.Mem, _ []manifest.Entry) {
			name := fsys.Files(".manifest")[0]
			must(t, fsys.Flip(name, (32+32+5)*8))
		}, []string{".manifest", "checksum of the record is wrong"}, 4 * rows, 1, 0},
		"no manifest": {func(t *testing.T, fsys *faultfs.Mem, _ []manifest.Entry) {
			must(t, fsys.Remove(fsys.Files(".manifest")[0]))
		}, []string{"the manifest of the segments is missing"}, 4 * rows, 0, 0},
		"manifest and a block": {func(t *testing.T, fsys *faultfs.Mem, entries []manifest.Entry) {
			must(t, fsys.Flip(fsys.Files(".manifest")[0], (32+32+5)*8))
			must(t, fsys.Flip(path(entries[1]), blockOf(t, fsys, entries[1], 0)))
		}, []string{"checksum of the record is wrong", "checksum of block 0 is wrong"}, 4*rows - 2, 2, 1},
		"a bad file that is not in the manifest": {func(t *testing.T, fsys *faultfs.Mem, _ []manifest.Entry) {
			e := create(t, fsys, manifest.Entry{Number: 9, Hour: 6})
			must(t, fsys.Flip(path(e), (e.Bytes-30)*8))
		}, []string{"000000000009.seg", "checksum of the footer is wrong"}, 4 * rows, 1, 0},
	} {
		t.Run(what, func(t *testing.T) {
			fsys, entries := folder(t)
			c.spoil(t, fsys, entries)
			before := fsys.Files("/")
			r, err := Check(t.Context(), fsys, dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(said(r), want) {
					t.Errorf("%q is not in\n%s", want, said(r))
				}
			}
			if after := fsys.Files("/"); !slices.Equal(before, after) {
				t.Errorf("a check changed files: %v", after)
			}
			if r, err = Check(t.Context(), fsys, dir, Options{Repair: true, Now: now}); err != nil || len(r.Damage) == 0 {
				t.Fatalf("repair: %+v, %v", r, err)
			}
			for _, f := range r.Files {
				for _, name := range []string{f.Aside, f.Mended} {
					if name == "" {
						continue
					}
					if _, err := fsys.Stat(name); err != nil {
						t.Error(err)
					}
				}
			}
			r, err = Check(t.Context(), fsys, dir, Options{})
			if err != nil || len(r.Damage) > 0 {
				t.Errorf("after the repair: %s, %v", said(r), err)
			}
			got := 0
			for _, f := range r.Files {
				if !f.Stray {
					got += f.Rows
				}
			}
			m, _, err := manifest.Open(fsys, dir, now)
			must(t, err)
			lost := int64(0)
			for _, a := range m.State().Aside {
				lost += a.Rows
			}
			if s := m.State(); got != c.rows || len(s.Aside) != c.lost || c.lost > 0 && c.rows+int(lost) != 4*rows && what != "another file" {
				t.Errorf("%d rows are left, want %d; set aside %+v", got, c.rows, s.Aside)
			}
			if bad := fsys.Files(".bad"); len(bad) != c.aside {
				t.Errorf("set aside: %v", bad)
			}
		})
	}
}

// TestRollups: they are counted anew from the rows, whatever was there.
func TestRollups(t *testing.T) {
	fsys, old := folder(t)
	m, _, err := manifest.Open(fsys, dir, now)
	must(t, err)
	for n, e := range old { // segments with the rollups of others, and with what is none
		odd, err := compact.Create(fsys, dir, manifest.Entry{Number: m.Take(), Hour: e.Hour, Level: e.Level}, func(w *segment.Writer) ([]byte, error) {
			in, err := fsys.Map(path(e))
			must(t, err)
			defer in.Close()
			r, err := segment.Open(in.Bytes())
			must(t, err)
			_, err = compact.Merge(t.Context(), w, []*segment.Reader{r}, compact.Options{})
			if n == 0 {
				return []byte("no rollups"), err
			}
			return rollup.New().AppendBinary(nil), err
		})
		must(t, err)
		must(t, m.Apply(manifest.Change{Add: []manifest.Entry{odd}, Remove: []manifest.Removal{{Number: e.Number, Reason: manifest.Compacted}}}))
		must(t, fsys.Remove(path(e)))
	}
	must(t, m.Close())
	r, err := Check(t.Context(), fsys, dir, Options{})
	if err != nil || len(r.Damage) != 1 || !strings.Contains(said(r), "rollups: ") {
		t.Errorf("%s, %v", said(r), err)
	}
	r, err = Check(t.Context(), fsys, dir, Options{Repair: true, Rollups: true, Now: now})
	if err != nil || r.Rolled != 3 { // the fourth was bad, and mended
		t.Errorf("%d rolled, %v", r.Rolled, err)
	}
	if r, err := Check(t.Context(), fsys, dir, Options{}); err != nil || len(r.Damage) > 0 {
		t.Errorf("afterwards: %s, %v", said(r), err)
	}
	m, entries, err := manifest.Open(fsys, dir, now)
	must(t, err)
	defer m.Close()
	total := int64(0)
	for _, e := range entries {
		in, err := fsys.Map(path(e))
		must(t, err)
		s, err := segment.Open(in.Bytes())
		must(t, err)
		p, err := s.Rollups()
		must(t, err)
		counted, err := rollup.Decode(p)
		must(t, err)
		for _, cells := range counted.Series() {
			for _, c := range cells {
				total += c.N
			}
		}
		must(t, in.Close())
	}
	if len(entries) != 4 || total != 4*rows {
		t.Errorf("%d segments, %d spans counted", len(entries), total)
	}
}

func TestStrayFiles(t *testing.T) {
	fsys, _ := folder(t)
	create(t, fsys, manifest.Entry{Number: 9, Hour: 6})
	for _, name := range []string{"/seg/6/000000000010.seg.tmp", "/seg/6/notes.txt", "/seg/6/000000000002.seg.bad", "/seg/x.seg"} {
		_, err := fsys.Create(name)
		must(t, err)
	}
	r, err := Check(t.Context(), fsys, dir, Options{})
	if err != nil || len(r.Damage) > 0 || len(r.Files) != 6 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, f := range r.Files {
		if f.Stray != strings.HasSuffix(f.Name, "9.seg") {
			t.Errorf("%+v", f)
		}
	}
}

func TestNewerVersionsAreLeftAlone(t *testing.T) {
	for _, kind := range []string{"seg", "manifest"} {
		fsys, entries := folder(t)
		name := path(entries[1])
		if kind == "manifest" {
			name = fsys.Files(".manifest")[0]
			must(t, fsys.Flip(path(entries[1]), (entries[1].Bytes-30)*8)) // what a repair would want to mend
		}
		must(t, fsys.Flip(name, 8*8+1)) // version 1 becomes 3
		if kind == "manifest" {
			f, err := fsys.Edit(name)
			must(t, err)
			p, err := io.ReadAll(f)
			must(t, err)
			binary.LittleEndian.PutUint32(p[28:], crc32.Checksum(p[:28], crc32.MakeTable(crc32.Castagnoli)))
			must(t, f.Truncate(0))
			_, err = f.Write(p)
			must(t, err)
		}
		before := fsys.Files("/")
		r, err := Check(t.Context(), fsys, dir, Options{Repair: true, Now: now})
		if err != nil || !slices.ContainsFunc(r.Damage, func(d wal.Damage) bool { return d.Newer }) {
			t.Errorf("%s: %s, %v", kind, said(r), err)
		}
		if after := fsys.Files("/"); !slices.Equal(before, after) {
			t.Errorf("%s: files %v", kind, after)
		}
	}
}

// TestServerRuns: a compaction between the look at the manifest and the look at a file is no damage.
func TestServerRuns(t *testing.T) {
	mem, entries := folder(t)
	done := false
	fsys := faultfs.Inject(mem, nil)
	fsys.SetRule(func(c faultfs.Call) error {
		if c.Op != faultfs.OpMap || done {
			return nil
		}
		done = true
		m, _, err := manifest.Open(mem, dir, now)
		must(t, err)
		e := create(t, mem, manifest.Entry{Number: m.Take(), Hour: 5, Level: 1})
		must(t, m.Apply(manifest.Change{Add: []manifest.Entry{e}, Remove: []manifest.Removal{{Number: 1, Reason: manifest.Compacted}, {Number: 2, Reason: manifest.Compacted}}}))
		must(t, errors.Join(m.Close(), mem.Remove(path(entries[0])), mem.Remove(path(entries[1]))))
		return nil
	})
	r, err := Check(t.Context(), fsys, dir, Options{})
	if err != nil || len(r.Damage) > 0 || !done {
		t.Errorf("%s, %v", said(r), err)
	}
}

// TestFaultAtEveryCall fails the nth call of a repair for every n: the next repair goes on, and loses nothing that could be read.
func TestFaultAtEveryCall(t *testing.T) {
	for n := 1; ; n++ {
		mem, entries := folder(t)
		must(t, mem.Flip(mem.Files(".manifest")[0], (32+32+5)*8))
		must(t, mem.Flip(path(entries[1]), blockOf(t, mem, entries[1], 0)))
		must(t, mem.Flip(path(entries[2]), (entries[2].Bytes-30)*8))
		fsys := faultfs.Inject(mem, faultfs.Nth(n, syscall.EIO))
		_, err := Check(t.Context(), fsys, dir, Options{Repair: true, Now: now})
		hits, call := fsys.Hits()
		if hits > 0 && err != nil {
			if _, err := Check(t.Context(), mem, dir, Options{Repair: true, Now: now}); err != nil {
				t.Fatalf("%s: repaired again: %v", call, err)
			}
		}
		r, err := Check(t.Context(), mem, dir, Options{})
		if err != nil || len(r.Damage) > 0 {
			t.Fatalf("%s: %s, %v", call, said(r), err)
		}
		got := 0
		for _, f := range r.Files {
			if !f.Stray {
				got += f.Rows
			}
		}
		if got < 3*rows-2 {
			t.Fatalf("%s: %d rows are left", call, got)
		}
		if hits == 0 {
			break
		}
	}
}
