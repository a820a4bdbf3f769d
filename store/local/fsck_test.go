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
	if r, err := Fsck(t.Context(), fsys, "/data", false); err != nil || !r.Clean() || r.Spans != 6*rows+2*rows || len(r.Files) != 6 || r.Bytes != e.Stats().DiskBytes {
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
