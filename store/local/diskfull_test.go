package local

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
)

// noRoom fails every write, new file and cut on names that contain one of some parts, as a full volume does.
func noRoom(parts ...string) faultfs.Rule {
	return func(c faultfs.Call) error {
		for _, part := range parts {
			if (c.Op == faultfs.OpWrite || c.Op == faultfs.OpCreate) && strings.Contains(c.Name, part) {
				return syscall.ENOSPC
			}
		}
		return nil
	}
}

// mustHold checks that an engine holds batches 0 to n-1 as a whole, and nothing damaged.
func mustHold(t *testing.T, what string, e *Engine, acked map[int]bool) {
	t.Helper()
	got := found(t, e)
	for n := range acked {
		if got[n] != rows {
			t.Fatalf("%s: batch %d was acknowledged and has %d rows", what, n, got[n])
		}
	}
	for n, have := range got {
		if have != rows {
			t.Fatalf("%s: batch %d has %d rows", what, n, have)
		}
	}
	if s := e.Stats(); len(s.Damaged) != 0 {
		t.Errorf("%s: damaged: %v", what, s.Damaged)
	}
}

// TestFullDiskAtEveryStage fills the volume for one kind of file at a time, and for all. Senders are refused with a time to come again
// when memory is full, questions are answered all along and across a restart, and when there is room it goes on without one.
func TestFullDiskAtEveryStage(t *testing.T) {
	for what, parts := range map[string][]string{"log": {".log"}, "segment": {".seg"}, "manifest": {".manifest"}, "everything": {"/data"}} {
		for _, restart := range []bool{false, true} {
			name := what
			if restart {
				name += ", restarted"
			}
			t.Run(name, func(t *testing.T) {
				mem := faultfs.NewMem(1)
				fsys := faultfs.Inject(mem, nil)
				c := newClock()
				o := Options{FS: fsys, Now: c.Now, SegmentRows: 10 * rows, BlockRows: 4, MaxDisk: 1 << 40, Sync: time.Hour}
				e := open(t, o)
				acked, next := make(map[int]bool), 0
				accept := func() error {
					next++
					err := e.Accept(t.Context(), numbered(next-1, c.Now()))
					if err == nil {
						acked[next-1] = true
					}
					return err
				}
				for range 25 {
					if err := accept(); err != nil {
						t.Fatal(err)
					}
				}
				if err := e.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				for range 15 { // a memtable and a half in the log
					if err := accept(); err != nil {
						t.Fatal(err)
					}
				}
				fsys.SetRule(noRoom(parts...))
				var err error
				for range 100 {
					if err = accept(); err != nil {
						break
					}
				}
				if p := problem.Of(err); p.Kind != problem.Unavailable || p.RetryAfter == 0 || p.Hint == "" || !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("a full disk: %+v", err)
				}
				_ = e.tidy()
				mustHold(t, "full", e, acked)
				for range 3 {
					_ = e.flush(t.Context())
				}
				if files := mem.Files(".seg"); len(files) > e.Stats().Segments.Files+1 {
					t.Errorf("segments that could not be entered pile up: %v", files)
				}
				if restart {
					_ = e.Close()
					e = open(t, o)
					mustHold(t, "full, after a restart", e, acked)
					if page, err := e.Search(t.Context(), defaultScope(), searchAll()); err != nil || len(page.Traces) < len(acked) {
						t.Errorf("full, after a restart: a search finds %v, %v", page, err)
					}
				}
				fsys.SetRule(nil)
				c.Add(6 * time.Second)
				_ = e.wal.Tick()
				for range 45 {
					if err := accept(); err != nil {
						t.Fatalf("after space was freed: %v", err)
					}
				}
				if err := errors.Join(e.Flush(t.Context()), e.tidy()); err != nil {
					t.Fatal(err)
				}
				mustHold(t, "freed", e, acked)
				mustClose(t, e)
				if r, err := Fsck(t.Context(), mem, "/data", false); err != nil || !r.Clean() {
					t.Errorf("fsck: %+v, %v", r.Damage, err)
				}
				e = open(t, o)
				mustHold(t, "restarted", e, acked)
			})
		}
	}
}

// TestFullDiskAtCompaction: segments that cannot be joined stay, and are joined when there is room.
func TestFullDiskAtCompaction(t *testing.T) {
	for what, part := range map[string]string{"segment": ".seg", "manifest": ".manifest"} {
		t.Run(what, func(t *testing.T) {
			mem := faultfs.NewMem(1)
			fsys := faultfs.Inject(mem, nil)
			c := newClock()
			e := open(t, Options{FS: fsys, Now: c.Now, MaxDisk: 1 << 40})
			acked := make(map[int]bool)
			for n := range 5 {
				if err := errors.Join(e.Accept(t.Context(), numbered(n, c.Now())), e.Flush(t.Context())); err != nil {
					t.Fatal(err)
				}
				acked[n] = true
			}
			fsys.SetRule(noRoom(part))
			c.Add(2 * time.Hour) // the hour is over
			for range 3 {
				if err := e.tidy(); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("compaction on a full disk: %v", err)
				}
			}
			mustHold(t, "full", e, acked)
			if files := mem.Files(".seg"); len(files) > 6 {
				t.Errorf("failed compactions pile up: %v", files)
			}
			fsys.SetRule(nil)
			if err := e.tidy(); err != nil {
				t.Fatal(err)
			}
			mustHold(t, "freed", e, acked)
			if s := e.Stats(); s.Segments.Files != 1 || s.Segments.Joined != 1 || len(mem.Files(".seg")) != 1 {
				t.Errorf("%+v, files %v", s.Segments, mem.Files(".seg"))
			}
		})
	}
}

// TestFullDiskForSmallFiles: what cannot be kept or saved is refused and there is nothing of it; what was there stays.
func TestFullDiskForSmallFiles(t *testing.T) {
	fsys := faultfs.Inject(faultfs.NewMem(1), nil)
	o := Options{FS: fsys, MaxDisk: 1 << 40}
	e := open(t, o)
	if err := e.Accept(t.Context(), numbered(0, o.now())); err != nil {
		t.Fatal(err)
	}
	v, err := e.Save(t.Context(), defaultScope(), "doc", []byte("old"), 0)
	if err != nil {
		t.Fatal(err)
	}
	fsys.SetRule(noRoom(".kept", ".doc"))
	if err := e.Keep(t.Context(), defaultScope(), traceOf(0), 0); problem.Of(err).Kind != problem.Unavailable {
		t.Errorf("keep: %v", err)
	}
	if _, err := e.Save(t.Context(), defaultScope(), "doc", []byte("new"), v); problem.Of(err).Kind != problem.Unavailable {
		t.Errorf("save: %v", err)
	}
	if d, err := e.Load(t.Context(), defaultScope(), "doc"); err != nil || string(d.Data) != "old" {
		t.Errorf("load: %q, %v", d.Data, err)
	}
	fsys.SetRule(nil)
	if err := e.Keep(t.Context(), defaultScope(), traceOf(0), 0); err != nil {
		t.Error(err)
	}
	if _, err := e.Save(t.Context(), defaultScope(), "doc", []byte("new"), v); err != nil {
		t.Error(err)
	}
}
