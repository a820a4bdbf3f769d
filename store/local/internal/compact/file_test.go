package compact

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/policy"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/storetest"
)

const dir = "/seg"

func newFS(t testing.TB, seed uint64) *faultfs.Mem {
	t.Helper()
	m := faultfs.NewMem(seed)
	if err := errors.Join(m.MkdirAll(dir), m.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return m
}

// create writes a segment of one batch.
func create(t testing.TB, fsys faultfs.FS, number uint64, b *span.Batch) (manifest.Entry, error) {
	tab := table.New(0)
	tab.Append(b)
	return Create(fsys, dir, manifest.Entry{Number: number, Hour: 7}, func(w *segment.Writer) ([]byte, error) {
		w.Range(number*10, number*10+9)
		return []byte("rollups"), segment.WriteTable(t.Context(), w, tab, 0, nil)
	})
}

// job makes segments and the job that joins them.
func job(t testing.TB, fsys faultfs.FS, batches ...*span.Batch) policy.Job {
	t.Helper()
	j := policy.Job{Hour: 7, Level: 1}
	for i, b := range batches {
		e, err := create(t, fsys, uint64(i+1), b)
		if err != nil {
			t.Fatal(err)
		}
		j.Inputs = append(j.Inputs, e)
	}
	return j
}

func contentOf(t testing.TB, fsys faultfs.FS, e manifest.Entry) string {
	t.Helper()
	m, err := fsys.Map(dir + "/" + e.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	return storetest.Print(rows(t, m.Bytes())...)
}

func TestRun(t *testing.T) {
	fsys := newFS(t, 1)
	batches := random(t, rand.New(rand.NewPCG(1, 5)), 6)
	j := job(t, fsys, batches...)
	n := 0
	e, s, err := Run(t.Context(), fsys, dir, j, 77, Options{Rows: func(_ *table.View, rows []uint32) error { n += len(rows); return nil }},
		func() []byte { return []byte{byte(n)} })
	if err != nil {
		t.Fatal(err)
	}
	if e.Number != 77 || e.Hour != 7 || e.Level != 1 || e.First != 10 || e.Last != uint64(len(batches))*10+9 || e.Rows != s.Rows || e.Traces != s.Traces || int64(n) != s.Rows {
		t.Errorf("entry %+v, stats %+v", e, s)
	}
	want := write(t, 0, 1, batches...)
	if got := contentOf(t, fsys, e); got != storetest.Print(rows(t, want)...) {
		t.Errorf("got\n%s", got)
	}
	in, err := open(fsys, dir, e)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	if p, err := in.r.Rollups(); err != nil || len(p) != 1 || p[0] != byte(n) {
		t.Errorf("rollups %v, %v", p, err)
	}
	if e2, err := EntryOf(in.r, manifest.Entry{Number: 77, Hour: 7, Level: 1}); err != nil || e2 != e {
		t.Errorf("read back %+v, %v", e2, err)
	}
	m, _, err := manifest.Open(fsys, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Rebuild(j.Inputs); err != nil {
		t.Fatal(err)
	}
}

// TestBadInputIsNamed: what is damaged, or another file, is told from what is not.
func TestBadInputIsNamed(t *testing.T) {
	for bit := int64(200); bit < 8000; bit += 777 {
		fsys := newFS(t, 1)
		j := job(t, fsys, random(t, rand.New(rand.NewPCG(1, 5)), 3)...)
		name := dir + "/" + j.Inputs[1].Name()
		if err := fsys.Flip(name, bit); err != nil {
			t.Fatal(err)
		}
		_, _, err := Run(t.Context(), fsys, dir, j, 77, Options{}, nil)
		var bad *BadInput
		if !errors.As(err, &bad) || bad.Number != 2 || !errors.Is(err, segment.ErrDamaged) {
			t.Fatalf("bit %d: %v", bit, err)
		}
		if left := fsys.Files("000000000077"); len(left) != 0 {
			t.Fatalf("left behind: %v", left)
		}
	}
	fsys := newFS(t, 1)
	j := job(t, fsys, random(t, rand.New(rand.NewPCG(1, 5)), 3)...)
	j.Inputs[2].Sum++
	var bad *BadInput
	if _, _, err := Run(t.Context(), fsys, dir, j, 77, Options{}, nil); !errors.As(err, &bad) || bad.Number != 3 {
		t.Fatalf("another file: %v", err)
	}
}

// TestFaultAtEveryCall fails the nth call of a compaction for every n: it fails, what is there under the new name is whole, and
// the inputs are untouched; what it reports as done is there after a power cut.
func TestFaultAtEveryCall(t *testing.T) {
	batches := random(t, rand.New(rand.NewPCG(1, 5)), 4)
	want := storetest.Print(rows(t, write(t, 0, 1, batches...))...)
	for _, fault := range []error{syscall.EIO, &faultfs.Short{Len: 100, Err: syscall.ENOSPC}} {
		for n := 1; ; n++ {
			mem := newFS(t, uint64(n))
			fsys := faultfs.Inject(mem, nil)
			j := job(t, fsys, batches...)
			fsys.SetRule(faultfs.Nth(fsys.Calls()+n, fault))
			e, _, err := Run(t.Context(), fsys, dir, j, 77, Options{}, nil)
			hits, call := fsys.Hits()
			if hits > 0 && err == nil && call.Op != faultfs.OpRemove {
				t.Fatalf("%s: no error", call)
			}
			after := mem
			if n%2 == 0 || err == nil {
				after = mem.PowerCut()
			}
			for _, name := range after.Files("000000000077.seg") {
				e.Number, e.Hour = 77, 7
				if name == dir+"/"+e.Name() {
					if got := contentOf(t, after, e); got != want {
						t.Fatalf("%s: %s is there and not whole", call, name)
					}
				}
			}
			if err == nil && len(after.Files("000000000077.seg")) != 1 {
				t.Fatalf("%s: done, and gone after a power cut", call)
			}
			for i, in := range j.Inputs {
				if got, want := contentOf(t, after, in), storetest.Print(rows(t, write(t, 0, 1, batches[i]))...); got != want {
					t.Fatalf("%s: input %d changed", call, i)
				}
			}
			if hits == 0 {
				break
			}
		}
	}
}
