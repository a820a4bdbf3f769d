package local

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store"
)

// TestDamagedBlock: a flipped bit costs the block it lies in, is named, and everything else is found, before and after it was mended and
// after the next start.
func TestDamagedBlock(t *testing.T) {
	const batches = 40
	received := time.Unix(1790000000, 0)
	fsys := faultfs.NewMem(1)
	e := open(t, Options{FS: fsys, BlockRows: 2 * rows})
	for n := range batches {
		if err := e.Accept(t.Context(), numbered(n, received)); err != nil {
			t.Fatal(err)
		}
		if n%10 == 9 {
			if err := e.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, e)
	bad := fsys.Files(".seg")[2]
	if err := fsys.Flip(bad, 300*8); err != nil {
		t.Fatal(err)
	}
	e = open(t, Options{FS: fsys, BlockRows: 2 * rows})
	for _, when := range []string{"when it is met", "mended"} {
		if got := found(t, e); len(got) != batches-2 {
			t.Errorf("%s: %d batches of %d", when, len(got), batches)
		}
		if err := e.tidy(); err != nil {
			t.Fatal(err)
		}
	}
	said := strings.Join(e.Stats().Damaged, "\n")
	if want := fmt.Sprintf("%d of %d spans are lost", 2*rows, 10*rows); !strings.Contains(said, want) {
		t.Errorf("%q is missing in %q", want, said)
	}
	if _, err := fsys.Stat(bad + ".bad"); err != nil {
		t.Error(err)
	}
	aside := e.man.State().Aside
	if len(aside) != 1 || aside[0].Number != 3 || aside[0].Rows != 2*rows {
		t.Errorf("the manifest remembers %+v", aside)
	}
	mustClose(t, e)
	e = open(t, Options{FS: fsys})
	if got := found(t, e); len(got) != batches-2 || len(e.Stats().Damaged) != 0 {
		t.Errorf("after the next start: %d batches, damaged %v", len(got), e.Stats().Damaged)
	}
}

// TestDamagedRollups costs nothing: they are counted anew.
func TestDamagedRollups(t *testing.T) {
	received := time.Unix(1790000000, 0)
	fsys := faultfs.NewMem(1)
	e := open(t, Options{FS: fsys})
	for n := range 5 {
		if err := e.Accept(t.Context(), numbered(n, received)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := e.segments[0].r.Rollups()
	if err != nil {
		t.Fatal(err)
	}
	name := fsys.Files(".seg")[0]
	at := strings.Index(bytesOf(t, fsys, name), string(p))
	mustClose(t, e)
	if err := fsys.Flip(name, int64(at+3)*8); err != nil {
		t.Fatal(err)
	}
	e = open(t, Options{FS: fsys})
	_, done, err := e.Rollups(t.Context(), defaultScope(), store.TimeRange{})
	if err != nil || done.Complete {
		t.Errorf("damaged rollups are complete: %+v, %v", done, err)
	}
	if err := e.tidy(); err != nil {
		t.Fatal(err)
	}
	if _, done, err := e.Rollups(t.Context(), defaultScope(), store.TimeRange{}); err != nil || !done.Complete {
		t.Errorf("after mending: %+v, %v", done, err)
	}
	if got := found(t, e); len(got) != 5 {
		t.Errorf("%d batches of 5", len(got))
	}
}
