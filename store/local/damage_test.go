package local

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
)

const damagedBatches = 30

// everyFile makes a folder with a file of each kind: two segments, an old and a new log file, the manifest, a kept trace, documents.
func everyFile(t *testing.T) *faultfs.Mem {
	t.Helper()
	fsys := faultfs.NewMem(1)
	o := Options{FS: fsys, BlockRows: 2 * rows}
	e := open(t, o)
	accept := func(from, to int) {
		for n := from; n < to; n++ {
			if err := e.Accept(t.Context(), numbered(n, o.now())); err != nil {
				t.Fatal(err)
			}
		}
	}
	flush := func() {
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	accept(0, 10)
	flush()
	accept(10, 20)
	flush()
	if err := e.Keep(t.Context(), defaultScope(), traceOf(3), 0); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := e.Save(t.Context(), defaultScope(), name, []byte("data of "+name), 0); err != nil {
			t.Fatal(err)
		}
	}
	accept(20, 25)
	mustClose(t, e)
	e = open(t, o)
	accept(25, damagedBatches)
	mustClose(t, e)
	return fsys
}

func cut(t *testing.T, fsys faultfs.FS, name string, size int64) {
	t.Helper()
	f, err := fsys.Edit(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

// TestDamageOfEveryFile flips bits of and cuts each kind of file at many places. The engine starts, answers with what is left and nothing
// else, takes spans, and what is lost was named by fsck before; after its repair nothing more is gone and nothing is damaged.
func TestDamageOfEveryFile(t *testing.T) {
	tries := 1
	if long() {
		tries = 40
	}
	files := everyFile(t)
	logs := files.Files(".log")
	kinds := map[string]string{"segment": files.Files(".seg")[0], "manifest": files.Files(".manifest")[0], "kept": files.Files(".kept")[0],
		"document": files.Files("a.doc")[0], "old log": logs[0], "new log": logs[len(logs)-1]}
	for kind, name := range kinds {
		t.Run(kind, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, uint64(len(name))))
			size := sizeOf(t, files, name)
			harmless, named, torn := 0, 0, 0
			for try := range tries {
				flip, cutAt := r.Int64N(size*8), r.Int64N(size)
				for what, spoil := range map[string]func(fsys *faultfs.Mem) error{
					fmt.Sprint("bit ", flip): func(fsys *faultfs.Mem) error { return fsys.Flip(name, flip) },
					fmt.Sprint("cut at ", cutAt): func(fsys *faultfs.Mem) error {
						cut(t, fsys, name, cutAt)
						return nil
					},
					"gone": func(fsys *faultfs.Mem) error { return fsys.Remove(name) },
				} {
					if what == "gone" && try > 0 {
						continue
					}
					what = fmt.Sprintf("%s, %s", name, what)
					for _, repair := range []bool{false, true} {
						fsys := everyFile(t)
						if err := spoil(fsys); err != nil {
							t.Fatal(err)
						}
						report, err := Fsck(t.Context(), fsys, "/data", false)
						if err != nil {
							t.Fatalf("%s: fsck: %v", what, err)
						}
						if repair {
							if _, err := Fsck(t.Context(), fsys, "/data", true); err != nil {
								t.Fatalf("%s: repair: %v", what, err)
							}
							if again, err := Fsck(t.Context(), fsys, "/data", false); err != nil || !again.Clean() {
								t.Fatalf("%s: after the repair: %v, %v", what, again.Damage, err)
							}
						}
						e, err := Open(t.Context(), Options{Dir: "/data", FS: fsys, LockWait: -1, Now: newClock().Now})
						if err != nil {
							t.Fatalf("%s: open: %v", what, err)
						}
						lost := lostBatches(t, what, e)
						isGone := strings.HasSuffix(what, ", gone")
						unseen := kind == "new log" || isGone // ends like a write that never came
						// An older one that is cut looks like one whose last write failed: within a frame it is shown as torn, between two frames
						// or before the first one nothing tells it from a whole one.
						if kind == "old log" && strings.Contains(what, ", cut") {
							unseen = true
							if slices.ContainsFunc(report.Files, func(f CheckedFile) bool { return f.Torn != 0 && strings.HasSuffix(name, f.Name) }) {
								torn++
							}
						}
						if report.Clean() && !isGone && (kind == "segment" || kind == "kept" || kind == "document") {
							t.Errorf("%s: fsck says nothing", what)
						}
						if lost > 0 && report.Clean() && !unseen {
							t.Errorf("%s: %d batches are lost and fsck says nothing", what, lost)
						}
						if most := map[string]int{"segment": 10, "old log": 5, "new log": 5}[kind]; lost > most {
							t.Errorf("%s: %d batches are lost, the file held %d", what, lost, most)
						}
						if err := e.Accept(t.Context(), numbered(100, time.Unix(1790000000, 0))); err != nil {
							t.Errorf("%s: accept: %v", what, err)
						}
						if err := e.tidy(); err != nil {
							t.Errorf("%s: housework: %v", what, err)
						}
						if lost > 0 && !repair && !unseen && len(e.Stats().Damaged) == 0 {
							t.Errorf("%s: %d batches are lost and the engine says nothing", what, lost)
						}
						if again := lostBatches(t, what, e); again != lost {
							t.Errorf("%s: %d batches lost, after the housework %d", what, lost, again)
						}
						if d, err := e.Load(t.Context(), defaultScope(), "b"); err != nil || string(d.Data) != "data of b" {
							t.Errorf("%s: document b: %q, %v", what, d.Data, err)
						}
						mustClose(t, e)
						if lost == 0 {
							harmless++
						} else {
							named++
						}
					}
				}
			}
			if kind == "old log" && tries > 10 && torn == 0 {
				t.Error("no cut of an old log file was shown as torn")
			}
			t.Logf("%d times nothing was lost, %d times something", harmless, named)
		})
	}
}

// lostBatches counts the batches that are not there, and checks that the others are whole and say what was sent.
func lostBatches(t *testing.T, what string, e *Engine) (lost int) {
	t.Helper()
	got := found(t, e)
	for n := range damagedBatches {
		switch got[n] {
		case rows:
		case 0:
			lost++
		default:
			t.Errorf("%s: batch %d has %d rows", what, n, got[n])
		}
	}
	return lost
}

// TestDamageUnderARunningEngine flips bits of a segment that is in use: answers have what the good blocks hold and say what is missing,
// spans are taken, and the next housework sets it aside.
func TestDamageUnderARunningEngine(t *testing.T) {
	fsys := everyFile(t)
	e := open(t, Options{FS: fsys, BlockRows: 2 * rows})
	if lost := lostBatches(t, "whole", e); lost != 0 {
		t.Fatalf("%d batches lost", lost)
	}
	name := fsys.Files(".seg")[0]
	for at := int64(100); at < sizeOf(t, fsys, name)-400; at += 97 {
		if err := fsys.Flip(name, at*8); err != nil {
			t.Fatal(err)
		}
	}
	for _, when := range []string{"met", "mended"} {
		if lost := lostBatches(t, when, e); lost > 10 {
			t.Errorf("%s: %d batches are lost, the segment held 10", when, lost)
		}
		if _, err := e.Search(t.Context(), defaultScope(), searchAll()); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if _, _, err := e.Rollups(t.Context(), defaultScope(), searchAll().Range); err != nil {
			t.Errorf("%s: rollups: %v", when, err)
		}
		if err := e.Accept(t.Context(), numbered(100, time.Unix(1790000000, 0))); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if err := e.tidy(); err != nil {
			t.Fatal(err)
		}
	}
}

// slowSync calls before ahead of each sync of files whose name contains part, once it is on.
type slowSync struct {
	faultfs.FS
	part   string
	on     atomic.Bool
	before func()
}

type slowSyncFile struct {
	faultfs.File
	s *slowSync
}

func (s *slowSync) Create(name string) (faultfs.File, error) { return s.wrap(name, s.FS.Create) }
func (s *slowSync) Edit(name string) (faultfs.File, error)   { return s.wrap(name, s.FS.Edit) }

func (s *slowSync) wrap(name string, open func(string) (faultfs.File, error)) (faultfs.File, error) {
	f, err := open(name)
	if err != nil || !strings.Contains(name, s.part) {
		return f, err
	}
	return slowSyncFile{f, s}, nil
}

func (f slowSyncFile) Sync() error {
	if f.s.on.Load() {
		f.s.before()
	}
	return f.File.Sync()
}

// TestSlowSync holds a sync of the log, of a segment and of the manifest back: senders that wait for no sync go on, and so do questions.
func TestSlowSync(t *testing.T) {
	for _, part := range []string{".log", ".seg", ".manifest"} {
		t.Run(part, func(t *testing.T) {
			held, release := make(chan struct{}), make(chan struct{})
			first := make(chan struct{}, 1)
			first <- struct{}{}
			fsys := &slowSync{FS: faultfs.NewMem(1), part: part, before: func() {
				select {
				case <-first:
					close(held)
					<-release
				default:
				}
			}}
			e := open(t, Options{FS: fsys, Sync: time.Hour})
			if err := e.Accept(t.Context(), numbered(0, time.Unix(1790000000, 0))); err != nil {
				t.Fatal(err)
			}
			fsys.on.Store(true)
			done := make(chan error, 1)
			go func() {
				if part == ".log" {
					done <- e.wal.Tick()
				} else {
					done <- e.Flush(t.Context())
				}
			}()
			<-held
			for n := 1; n < 20; n++ {
				if err := e.Accept(t.Context(), numbered(n, time.Unix(1790000000, 0))); err != nil {
					t.Error(err)
				}
			}
			if got := found(t, e); len(got) != 20 {
				t.Errorf("%d batches while a sync takes its time", len(got))
			}
			close(release)
			if err := <-done; err != nil {
				t.Error(err)
			}
			if got := found(t, e); len(got) != 20 {
				t.Errorf("%d batches afterwards", len(got))
			}
		})
	}
}

// TestFailedSyncs fails every sync of one kind of file for a while. Nothing that was acknowledged is lost by a power cut after
// it, and the engine works on.
func TestFailedSyncs(t *testing.T) {
	for _, part := range []string{".log", ".seg", ".manifest"} {
		t.Run(part, func(t *testing.T) {
			mem := faultfs.NewMem(3)
			fsys := faultfs.Inject(mem, nil)
			c := newClock()
			e := open(t, Options{FS: fsys, Now: c.Now})
			acked := make(map[int]bool)
			accept := func(from, to int) {
				for n := from; n < to; n++ {
					if e.Accept(t.Context(), numbered(n, c.Now())) == nil {
						acked[n] = true
					}
				}
			}
			accept(0, 5)
			fsys.SetRule(faultfs.On(faultfs.OpSync, part, syscall.EIO))
			accept(5, 10)
			if err := e.Flush(t.Context()); err == nil && part != ".log" {
				t.Error("a segment was written without a sync")
			}
			mustHold(t, "failing", e, acked)
			fsys.SetRule(nil)
			_ = e.wal.Tick()
			accept(10, 15)
			if !acked[14] {
				t.Error("spans are refused after the fault")
			}
			mustHold(t, "over", e, acked)
			after := mem.PowerCut()
			_ = e.Close()
			mustHold(t, "after a power cut", open(t, Options{FS: after, Now: c.Now}), acked)
		})
	}
}

// TestTwoProcesses: a second process on a folder says who has it, and changes nothing.
func TestTwoProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	e := open(t, Options{Dir: dir})
	if err := e.Accept(t.Context(), numbered(0, time.Now())); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Env = append(os.Environ(), victimDir+"="+dir, victimSync+"=0s", victimFirst+"=0", victimWait+"=-1ns")
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("in use by process %d", os.Getpid())) {
		t.Errorf("the second process: %v: %s", err, out)
	}
	if _, err := Fsck(t.Context(), nil, dir, true); problem.Of(err).Kind != problem.Unavailable {
		t.Errorf("repair of a folder in use: %v", err)
	}
	if got := found(t, e); got[0] != rows {
		t.Errorf("%v", got)
	}
}
