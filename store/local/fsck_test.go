package local

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
)

func bytesOf(t *testing.T, fsys faultfs.FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// TestFsck damages one file of each kind: fsck names it and changes nothing; repair sets it aside and loses only what was
// damaged, and the next start finds everything in order.
func TestFsck(t *testing.T) {
	fsys := faultfs.NewMem(1)
	e := open(t, Options{FS: fsys})
	received := time.Unix(1790000000, 0)
	for n := range 5 {
		if err := e.Accept(t.Context(), numbered(n, received)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"good", "bad"} {
		if _, err := e.Save(t.Context(), defaultScope(), name, []byte("data"), 0); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 2 {
		if err := e.Keep(t.Context(), defaultScope(), traceOf(n), 0); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, e)
	e = open(t, Options{FS: fsys}) // a second log file: the first one's end is no torn write
	if err := e.Accept(t.Context(), numbered(5, received)); err != nil {
		t.Fatal(err)
	}
	if _, err := Fsck(t.Context(), fsys, "/data", true); problem.Of(err).Field != "--data-dir" {
		t.Errorf("repair while a server runs: %v", err)
	}
	if r, err := Fsck(t.Context(), fsys, "/data", false); err != nil || !r.Clean() || r.Spans != 6*rows+2*rows || len(r.Files) != 7 || r.Bytes != e.Stats().DiskBytes {
		t.Errorf("while a server runs: %+v, %v", r, err)
	}
	mustClose(t, e)

	log, kept := fsys.Files(".log")[0], fsys.Files(".kept")[0]
	size := int64(len(bytesOf(t, fsys, log)))
	for name, at := range map[string]int64{
		log:                          40 + (size-40)/5*2, // in the third of five frames of about equal length
		kept:                         60,
		"/data/default/meta/bad.doc": 30,
	} {
		if err := fsys.Flip(name, at*8); err != nil {
			t.Fatal(err)
		}
	}
	before := bytesOf(t, fsys, log)
	r, err := Fsck(t.Context(), fsys, "/data", false)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, d := range r.Damage {
		said = append(said, d.String())
	}
	text := strings.Join(said, "\n")
	for _, want := range []string{"default/log/000000000001.log: ", "default/kept/" + traceOf(0).String() + ".kept: ", "default/meta/bad.doc: ", "checksum"} {
		if !strings.Contains(text, filepath.FromSlash(want)) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if len(r.Damage) != 3 || r.Repaired || bytesOf(t, fsys, log) != before {
		t.Errorf("report %+v", r)
	}

	r, err = Fsck(t.Context(), fsys, "/data", true)
	if err != nil || !r.Repaired || len(r.Damage) != 3 {
		t.Fatalf("repair: %+v, %v", r, err)
	}
	for _, f := range r.Files {
		if f.Aside != "" {
			if _, err := fsys.Stat(filepath.Join("/data", f.Aside)); err != nil {
				t.Error(err)
			}
		}
	}
	if got := bytesOf(t, fsys, log+".bad"); got != before {
		t.Error("what was set aside is not what was there")
	}
	if r, err := Fsck(t.Context(), fsys, "/data", false); err != nil || !r.Clean() {
		t.Errorf("after the repair: %+v, %v", r, err)
	}
	e = open(t, Options{FS: fsys})
	if s := e.Stats(); len(s.Damaged) != 0 {
		t.Errorf("damaged after the repair: %v", s.Damaged)
	}
	if got := found(t, e); len(got) != 5 {
		t.Errorf("batches after the repair: %v", got)
	}
	if d, err := e.Load(t.Context(), defaultScope(), "good"); err != nil || string(d.Data) != "data" {
		t.Errorf("the good document: %q, %v", d.Data, err)
	}
}

func TestFsckOfOddFolders(t *testing.T) {
	fsys := faultfs.NewMem(1)
	if _, err := Fsck(t.Context(), fsys, "/nowhere", false); problem.Of(err).Kind != problem.NotFound {
		t.Errorf("missing folder: %v", err)
	}
	if err := fsys.MkdirAll("/empty"); err != nil {
		t.Fatal(err)
	}
	if r, err := Fsck(t.Context(), fsys, "/empty", false); err != nil || !r.Clean() {
		t.Errorf("empty folder: %+v, %v", r, err)
	}
	broken := faultfs.Inject(fsys, faultfs.On(faultfs.OpReadDir, "", fs.ErrPermission))
	if _, err := Fsck(t.Context(), broken, "/empty", false); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("unreadable folder: %v", err)
	}
}

// TestFsckOfSegments damages what the engine wrote as segments: repair keeps what can be read, and the next start has all of that.
func TestFsckOfSegments(t *testing.T) {
	const batches = 40
	received := time.Unix(1790000000, 0)
	build := func() *faultfs.Mem {
		fsys := faultfs.NewMem(1)
		e := open(t, Options{FS: fsys, BlockRows: 2 * rows})
		for n := range batches {
			if err := e.Accept(t.Context(), numbered(n, received)); err != nil {
				t.Fatal(err)
			}
			if n%10 == 9 && n < batches-1 {
				if err := e.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if r, err := Fsck(t.Context(), fsys, "/data", false); err != nil || !r.Clean() || r.Segments != 3 || r.Spans != batches*rows {
			t.Fatalf("while a server runs: %+v, %v", r, err)
		}
		mustClose(t, e)
		return fsys
	}
	for what, c := range map[string]struct {
		spoil func(fsys *faultfs.Mem) error
		said  string
		lost  int // batches
	}{
		"nothing": {func(*faultfs.Mem) error { return nil }, "", 0},
		"a block": {func(fsys *faultfs.Mem) error { return fsys.Flip(fsys.Files(".seg")[1], 300*8) }, "000000000002.seg: ", 2},
		"a footer": {func(fsys *faultfs.Mem) error {
			p := fsys.Files(".seg")[0]
			return fsys.Flip(p, sizeOf(t, fsys, p)*8-300)
		}, "000000000001.seg: ", 10},
		"manifest": {func(fsys *faultfs.Mem) error { return fsys.Flip(fsys.Files(".manifest")[0], 70*8) }, ".manifest: ", 0},
		"no manifest": {func(fsys *faultfs.Mem) error {
			return fsys.Remove(fsys.Files(".manifest")[0])
		}, "the manifest of the segments is missing", 0},
	} {
		t.Run(what, func(t *testing.T) {
			fsys := build()
			if err := c.spoil(fsys); err != nil {
				t.Fatal(err)
			}
			r, err := Fsck(t.Context(), fsys, "/data", false)
			if err != nil || r.Clean() != (c.said == "") {
				t.Fatalf("%+v, %v", r, err)
			}
			if !r.Clean() && !strings.Contains(r.Damage[0].String(), c.said) {
				t.Errorf("%q is missing in %q", c.said, r.Damage[0])
			}
			if r, err = FsckRollups(t.Context(), fsys, "/data"); err != nil || !r.Repaired {
				t.Fatalf("repair: %+v, %v", r, err)
			}
			if c.said == "" && r.Rolled != 3 {
				t.Errorf("rollups of %d segments were counted anew", r.Rolled)
			}
			for _, f := range r.Files {
				for _, name := range []string{f.Aside, f.Mended} {
					if _, err := fsys.Stat(filepath.Join("/data", name)); name != "" && err != nil {
						t.Error(err)
					}
				}
			}
			if r, err := Fsck(t.Context(), fsys, "/data", false); err != nil || !r.Clean() {
				t.Errorf("after the repair: %+v, %v", r, err)
			}
			e := open(t, Options{FS: fsys})
			if s := e.Stats(); len(s.Damaged) != 0 {
				t.Errorf("damaged after the repair: %v", s.Damaged)
			}
			if got := found(t, e); len(got) != batches-c.lost {
				t.Errorf("%d batches after the repair, want %d", len(got), batches-c.lost)
			}
			table, _, err := e.Rollups(t.Context(), defaultScope(), store.TimeRange{})
			if err != nil {
				t.Fatal(err)
			}
			counted := int64(0)
			for _, cells := range table.Series() {
				for _, cell := range cells {
					counted += cell.N
				}
			}
			if counted != int64(batches-c.lost)*rows {
				t.Errorf("rollups count %d spans of %d", counted, (batches-c.lost)*rows)
			}
		})
	}
}

func sizeOf(t *testing.T, fsys faultfs.FS, name string) int64 {
	t.Helper()
	info, err := fsys.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
