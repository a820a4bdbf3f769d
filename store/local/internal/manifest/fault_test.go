package manifest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
)

// model is what must be true: what was acknowledged, and what a refused change may have made of it on the disk.
type model struct {
	m     *Manifest
	acked State
	maybe []State // after a refused change, until a good one settles it
}

func (o *model) apply(c Change) error {
	err := o.m.Apply(c)
	if err == nil {
		o.acked, o.maybe = o.m.State(), nil
	} else {
		with := &Manifest{entries: make(map[uint64]Entry), next: 1}
		with.apply(kindState, body{added: o.acked.Entries, through: o.acked.Through})
		b := body{added: c.Add, through: c.Through}
		for _, r := range c.Remove {
			b.removed = append(b.removed, removed{Removal: r})
		}
		with.apply(kindChange, b)
		o.maybe = append(o.maybe, with.State())
	}
	return err
}

// check holds what a start found to the model. Numbers may have been given since.
func (o *model) check(t *testing.T, what string, m *Manifest) {
	t.Helper()
	got := m.State()
	for _, want := range append(o.maybe, o.acked) {
		if reflect.DeepEqual(got.Entries, want.Entries) && got.Through == want.Through {
			return
		}
	}
	t.Fatalf("%s: got %v through %d, want %v through %d or one of %d others", what, numbers(got), got.Through, numbers(o.acked), o.acked.Through, len(o.maybe))
}

// step is one change: a flush, a compaction or an expiry, by turns.
func (o *model) step(i int) error {
	n := o.m.Take()
	c := Change{Add: []Entry{entry(n)}, Through: entry(n).Last}
	for range i % 5 { // records of more than a sector are torn in more ways
		c.Add = append(c.Add, entry(o.m.Take()))
	}
	have := numbers(o.m.State())
	switch {
	case i%3 == 1 && len(have) >= 2:
		c.Through = 0
		c.Remove = []Removal{{Number: have[0], Reason: Compacted}, {Number: have[1], Reason: Compacted}}
	case i%3 == 2 && len(have) > 0:
		c = Change{Remove: []Removal{{Number: have[0], Reason: Age}}}
	}
	return o.apply(c)
}

// TestFaultAtEveryCall fails the nth call for every n, alone and with those that follow, whole and short, with a file that is begun
// anew on the way. Whatever fails: what was acknowledged holds, a change is never there in part, and the manifest works again
// afterwards.
func TestFaultAtEveryCall(t *testing.T) {
	for name, rule := range map[string]func(n int) faultfs.Rule{
		"once":     func(n int) faultfs.Rule { return faultfs.Nth(n, syscall.EIO) },
		"no space": func(n int) faultfs.Rule { return faultfs.Nth(n, &faultfs.Short{Len: 40, Err: syscall.ENOSPC}) },
		"short":    func(n int) faultfs.Rule { return faultfs.Nth(n, &faultfs.Short{Len: 50, Err: syscall.EIO}) },
		"six times": func(n int) faultfs.Rule {
			return func(c faultfs.Call) error {
				if c.N >= n && c.N < n+6 {
					return syscall.EIO
				}
				return nil
			}
		},
	} {
		hit := map[faultfs.Op]bool{}
		for n := 1; ; n++ {
			mem := newFS(t, uint64(n))
			fsys := faultfs.Inject(mem, nil)
			o := &model{m: open(t, fsys)}
			if err := o.step(0); err != nil {
				t.Fatal(err)
			}
			inner := rule(fsys.Calls() + n)
			fsys.SetRule(func(c faultfs.Call) error {
				err := inner(c)
				hit[c.Op] = hit[c.Op] || err != nil
				return err
			})
			refused := 0
			for i := range 12 {
				if i == 6 { // as if it had grown
					o.m.fresh -= 1 << 40
				}
				if err := o.step(i); err != nil {
					refused++
					if p := problem.Of(err); p.Kind != problem.Unavailable || p.Hint == "" || p.RetryAfter == 0 {
						t.Fatalf("refused without a hint: %v", err)
					}
				}
			}
			hits, call := fsys.Hits()
			what := fmt.Sprintf("%s, n %d, %s", name, n, call)
			fsys.SetRule(nil)
			if n%3 != 0 { // else it crashes unsettled
				if err := o.step(0); err != nil || o.m.Refusing() != nil {
					t.Fatalf("%s: after the fault: %v, %v", what, err, o.m.Refusing())
				}
			}
			after := mem
			if n%2 == 0 {
				after = mem.PowerCut()
			}
			m := open(t, after)
			o.check(t, what, m)
			if o.maybe == nil && !m.Whole() {
				t.Fatalf("%s: not whole: %v", what, m.Damage())
			}
			if hits == 0 {
				break
			}
		}
		for _, op := range []faultfs.Op{faultfs.OpWrite, faultfs.OpSync, faultfs.OpRename, faultfs.OpSyncDir, faultfs.OpCreate, faultfs.OpEdit} {
			if !hit[op] {
				t.Errorf("%s: %s was never hit", name, op)
			}
		}
	}
}

// TestPowerCuts cuts the power at random moments of several lives, with a disk that fails now and then. Nothing acknowledged is
// lost, nothing refused comes in part, and what a cut tears is no reason not to go on.
func TestPowerCuts(t *testing.T) {
	cuts := uint64(1000)
	if long() {
		cuts = 10_000
	}
	refused, torn, holes := 0, 0, 0
	for seed := range cuts {
		r := rand.New(rand.NewPCG(seed, 7))
		mem := newFS(t, seed)
		o := new(model)
		for range 2 + r.IntN(4) {
			fsys := faultfs.Inject(mem, nil)
			m := open(t, fsys)
			o.check(t, fmt.Sprintf("seed %d", seed), m)
			if m.found.torn > 0 {
				torn++
			}
			if len(m.Damage()) > 0 { // torn, with all its bytes in place
				holes++
				if o.maybe == nil {
					t.Fatalf("seed %d: nothing was under way, and yet: %v", seed, m.Damage())
				}
				if err := m.Rebuild(m.State().Entries); err != nil {
					t.Fatal(err)
				}
			}
			o = &model{m: m, acked: m.State()}
			var cut *faultfs.Mem
			at, flaky := fsys.Calls()+1+r.IntN(80), r.IntN(2) == 0
			fsys.SetRule(func(c faultfs.Call) error {
				if c.N == at {
					cut = mem.PowerCut() // this call and all that follow answer so
				}
				switch r.IntN(25) {
				case 0:
					if flaky {
						return syscall.EIO
					}
				case 1:
					if flaky {
						return &faultfs.Short{Len: r.IntN(c.Len + 1), Err: syscall.ENOSPC}
					}
				}
				return nil
			})
			for i := range r.IntN(25) {
				if r.IntN(8) == 0 {
					o.m.fresh -= 1 << 40
				}
				if o.step(i) != nil {
					refused++
				}
			}
			if cut == nil {
				cut = mem.PowerCut()
			}
			mem = cut
		}
	}
	if refused == 0 || torn == 0 || holes == 0 {
		t.Errorf("%d refused, %d torn, %d with holes: the faults are too kind to prove anything", refused, torn, holes)
	}
}

// TestFailedSync: after a failed fsync nothing is appended to that file, and it isn't synced again.
func TestFailedSync(t *testing.T) {
	mem := newFS(t, 1)
	fsys := faultfs.Inject(mem, nil)
	m := open(t, fsys)
	apply(t, m, add(1))
	apply(t, m, add(2))
	old := m.name
	fsys.SetRule(faultfs.On(faultfs.OpSync, "", syscall.EIO))
	for range 3 {
		if err := m.Apply(add(3)); !errors.Is(err, syscall.EIO) || m.Refusing() == nil {
			t.Fatalf("%v, refusing %v", err, m.Refusing())
		}
	}
	fsys.SetRule(func(c faultfs.Call) error {
		if c.Name == old && (c.Op == faultfs.OpSync || c.Op == faultfs.OpWrite) {
			t.Errorf("%s: after a failed sync", c)
		}
		return nil
	})
	if err := m.Mend(); err != nil || m.Refusing() != nil {
		t.Fatalf("%v, refusing %v", err, m.Refusing())
	}
	if got := numbers(open(t, mem.PowerCut()).State()); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("after the cut: %v: the refused change was settled as not made", got)
	}
}
