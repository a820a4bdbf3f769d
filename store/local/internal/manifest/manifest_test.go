package manifest

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
)

const dir = "/seg"

func now() time.Time { return time.Unix(1790000000, 0) }

// long reports whether the long tests are wanted.
func long() bool { return os.Getenv("SPANLOOM_LONG") == "1" }

// entry makes an entry that says its number in every field.
func entry(n uint64) Entry {
	i := int64(n)
	return Entry{Number: n, Hour: 497000 + i%3, Level: uint8(n % 3), Rows: 1000 + i, Traces: 10 + i, Bytes: 1 << 20, MinStart: -i, MaxStart: i << 40,
		MaxEnd: i << 41, MinReceived: i + 1, MaxReceived: i + 2, First: n * 10, Last: n*10 + 9, Sum: n * 0x9E3779B97F4A7C15}
}

func newFS(t testing.TB, seed uint64) *faultfs.Mem {
	t.Helper()
	m := faultfs.NewMem(seed)
	if err := errors.Join(m.MkdirAll(dir), m.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t testing.TB, fsys faultfs.FS) *Manifest {
	t.Helper()
	m, _, err := Open(fsys, dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func add(numbers ...uint64) (c Change) {
	for _, n := range numbers {
		c.Add = append(c.Add, entry(n))
		c.Through = max(c.Through, entry(n).Last)
	}
	return c
}

func apply(t testing.TB, m *Manifest, c Change) {
	t.Helper()
	if err := m.Apply(c); err != nil {
		t.Fatal(err)
	}
}

func numbers(s State) (list []uint64) {
	for _, e := range s.Entries {
		list = append(list, e.Number)
	}
	return list
}

func sameState(t testing.TB, what string, got, want State) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

func TestChangesSurvive(t *testing.T) {
	fsys := newFS(t, 1)
	m := open(t, fsys)
	if m.Whole() || m.Through() != 0 || len(fsys.Files("")) != 0 {
		t.Fatalf("an empty folder: whole %v, through %d, files %v", m.Whole(), m.Through(), fsys.Files(""))
	}
	for n := uint64(1); n <= 4; n++ {
		if got := m.Take(); got != n {
			t.Fatalf("number %d is given as %d", n, got)
		}
		apply(t, m, add(n))
	}
	compacted := entry(5)
	compacted.Level = 1
	apply(t, m, Change{Add: []Entry{compacted}, Remove: []Removal{{Number: 1, Reason: Compacted}, {Number: 2, Reason: Compacted}}})
	apply(t, m, Change{Remove: []Removal{{Number: 3, Reason: Damaged, Text: "block 7: checksum"}}})
	apply(t, m, Change{Remove: []Removal{{Number: 4, Reason: Age}}, Through: 70})
	want := State{Entries: []Entry{compacted}, Through: 70, Next: 6,
		Aside: []SetAside{{Number: 3, Hour: entry(3).Hour, Rows: entry(3).Rows, At: now().UnixNano(), Text: "block 7: checksum"}}}
	sameState(t, "at once", m.State(), want)
	for range 3 { // the last record of a file, and a state alone
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		m = open(t, fsys)
		sameState(t, "after a start", m.State(), want)
		if !m.Whole() || m.Damage() != nil {
			t.Fatalf("whole %v, damage %v", m.Whole(), m.Damage())
		}
		want.Through++
		apply(t, m, Change{Through: want.Through})
	}
	if files := fsys.Files("/"); !slices.Equal(files, []string{"/seg/000000000004.manifest"}) {
		t.Errorf("files: %v", files)
	}
}

func TestNumbersAreGivenOnce(t *testing.T) {
	fsys := newFS(t, 1)
	m := open(t, fsys)
	m.Seen(7)
	if n := m.Take(); n != 8 {
		t.Fatalf("%d after a file of number 7", n)
	}
	apply(t, m, add(8))
	apply(t, m, Change{Remove: []Removal{{Number: 8, Reason: Age}}})
	m.Close()
	if n := open(t, fsys).Take(); n != 9 {
		t.Errorf("%d after a start, 8 was removed before", n)
	}
}

func TestSenselessChangesAreRefused(t *testing.T) {
	m := open(t, newFS(t, 1))
	apply(t, m, add(1, 2))
	before := m.State()
	for what, c := range map[string]Change{
		"added twice":      add(3, 3),
		"there":            add(2),
		"number 0":         {Add: []Entry{{}}},
		"removed twice":    {Remove: []Removal{{Number: 1}, {Number: 1}}},
		"not there":        {Remove: []Removal{{Number: 3}}},
		"put in its place": {Add: []Entry{entry(1)}, Remove: []Removal{{Number: 1}}},
		"through falls":    {Through: 5},
	} {
		if err := m.Apply(c); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	if err := m.Apply(Change{Remove: []Removal{{Number: 3}}}); !errors.Is(err, ErrGone) {
		t.Errorf("a segment that is gone: %v", err)
	}
	sameState(t, "afterwards", m.State(), before)
	if err := m.Refusing(); err != nil {
		t.Errorf("refusing: %v", err)
	}
}

// TestFileIsBegunAnew: a manifest that changes for ever stays small.
func TestFileIsBegunAnew(t *testing.T) {
	fsys := newFS(t, 1)
	m := open(t, fsys)
	const held, changes = 50, 20_000
	most, begun := int64(0), map[string]bool{}
	for n := uint64(1); n <= changes; n++ {
		c := add(n)
		if n > held {
			c.Remove = []Removal{{Number: n - held, Reason: Damaged, Text: strings.Repeat("x", 20)}}
		}
		apply(t, m, c)
		most = max(most, fsys.Bytes())
		begun[m.name] = true
	}
	if most > 2*minGrowth || len(begun) < 3 {
		t.Errorf("at most %d bytes, %d files begun", most, len(begun))
	}
	s := m.State()
	if len(s.Entries) != held || len(s.Aside) != maxAside || s.Aside[maxAside-1].Number != changes-held {
		t.Errorf("%d entries, %d aside", len(s.Entries), len(s.Aside))
	}
	sameState(t, "after a start", open(t, fsys).State(), s)
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	fsys := newFS(t, 1)
	mine := []string{"notes.manifest", "000000000009.manifest.bad", "9.manifest", "000000000000.manifest", "x.tmp"}
	for _, name := range mine {
		if _, err := fsys.Create(dir + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fsys.Create(dir + "/000000000003.manifest.tmp"); err != nil { // this one is ours
		t.Fatal(err)
	}
	apply(t, open(t, fsys), add(1))
	if got := fsys.Files("/"); len(got) != len(mine)+1 || slices.Contains(got, dir+"/000000000003.manifest.tmp") {
		t.Errorf("files: %v", got)
	}
	if s := open(t, fsys).State(); !slices.Equal(numbers(s), []uint64{1}) {
		t.Errorf("state: %+v", s)
	}
}

func TestSegmentNames(t *testing.T) {
	if got := entry(12).Name(); got != "497000/000000000012.seg" {
		t.Error(got)
	}
	if n, ok := SegmentNumber("000000000012.seg"); n != 12 || !ok {
		t.Error(n, ok)
	}
	for _, name := range []string{"12.seg", "000000000012.seg.bad", "000000000000.seg", "00000000001x.seg", "000000000012"} {
		if _, ok := SegmentNumber(name); ok {
			t.Errorf("%s is a segment's", name)
		}
	}
}
