package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store/wal"
)

func content(t testing.TB, fsys faultfs.FS, name string) []byte {
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
	return p
}

func write(t testing.TB, fsys faultfs.FS, name string, p []byte) {
	t.Helper()
	f, err := fsys.Edit(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(p); err != nil {
		t.Fatal(err)
	}
}

// written is a manifest of a state and four changes; ends are where its records end, the file header first.
func written(t testing.TB) (fsys *faultfs.Mem, name string, ends []int64) {
	fsys = newFS(t, 1)
	m := open(t, fsys)
	ends = []int64{fileHeaderSize}
	for n := uint64(1); n <= 5; n++ {
		apply(t, m, add(n))
		ends = append(ends, m.Bytes())
	}
	m.Close()
	return fsys, m.name, ends
}

// TestFlippedBit inverts every bit, one at a time: what the record it lies in said is missing, it is named, and all else is there.
func TestFlippedBit(t *testing.T) {
	fsys, name, ends := written(t)
	for bit := int64(0); bit < ends[5]*8; bit++ {
		if err := fsys.Flip(name, bit); err != nil {
			t.Fatal(err)
		}
		m := open(t, fsys)
		want := []uint64{1, 2, 3, 4, 5}
		if hit := slices.IndexFunc(ends, func(end int64) bool { return bit/8 < end }); hit > 0 {
			want = slices.Delete(want, hit-1, hit)
		}
		if got := numbers(m.State()); !slices.Equal(got, want) {
			t.Fatalf("bit %d: got %v, want %v, damage %v", bit, got, want, m.Damage())
		}
		if m.Whole() || len(m.Damage()) == 0 || m.Damage()[0].File != name {
			t.Fatalf("bit %d: whole %v, damage %v", bit, m.Whole(), m.Damage())
		}
		if err := m.Apply(add(9)); err == nil {
			t.Fatalf("bit %d: a damaged manifest takes changes", bit)
		}
		if err := fsys.Flip(name, bit); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRebuild: a damaged manifest is set aside, and what the caller found in the files holds from then on.
func TestRebuild(t *testing.T) {
	fsys, name, ends := written(t)
	if err := fsys.Flip(name, ends[2]*8+100); err != nil {
		t.Fatal(err)
	}
	whole := content(t, fsys, name)
	m := open(t, fsys)
	if err := m.Rebuild(append(m.State().Entries, entry(3), entry(7))); err != nil {
		t.Fatal(err)
	}
	if !m.Whole() {
		t.Error("not whole after a rebuild")
	}
	apply(t, m, add(8))
	m.Close()
	s := open(t, fsys).State()
	if !slices.Equal(numbers(s), []uint64{1, 2, 3, 4, 5, 7, 8}) || s.Through != entry(8).Last || s.Next != 9 {
		t.Errorf("state: %+v", s)
	}
	if !bytes.Equal(content(t, fsys, name+wal.BadSuffix), whole) {
		t.Error("the damaged file was not set aside as it was")
	}
}

func TestMissingManifest(t *testing.T) {
	fsys := newFS(t, 1)
	m := open(t, fsys)
	if m.Whole() {
		t.Error("a folder without manifest is whole")
	}
	if err := m.Rebuild([]Entry{entry(4), entry(2)}); err != nil {
		t.Fatal(err)
	}
	m.Close()
	m = open(t, fsys)
	if s := m.State(); !m.Whole() || !slices.Equal(numbers(s), []uint64{2, 4}) || s.Through != entry(4).Last || s.Next != 5 {
		t.Errorf("state: %+v", s)
	}
}

// TestTornEnd ends the file at every length behind its first record: what is whole is there, the rest is no damage.
func TestTornEnd(t *testing.T) {
	fsys, name, ends := written(t)
	all := content(t, fsys, name)
	for size := ends[1]; size < ends[5]; size++ {
		write(t, fsys, name, all[:size])
		m := open(t, fsys)
		n := 0
		for ends[n+1] <= size {
			n++
		}
		if got := numbers(m.State()); len(got) != n || !m.Whole() {
			t.Fatalf("%d bytes: got %v, want %d, damage %v", size, got, n, m.Damage())
		}
		c, _, err := CheckDir(fsys, dir)
		if err != nil || (c.Torn == 0) != slices.Contains(ends, size) {
			t.Fatalf("%d bytes: torn at %d, %v", size, c.Torn, err)
		}
	}
}

// TestForeignRecord: a record of another file is none, whoever wrote it into a text.
func TestForeignRecord(t *testing.T) {
	fsys, name, _ := written(t)
	p := content(t, fsys, name)
	p = appendRecord(p, binary.LittleEndian.Uint32(p[12:])+1, kindChange, 6, body{added: []Entry{entry(6)}})
	write(t, fsys, name, p)
	if m := open(t, fsys); len(m.State().Entries) != 5 || len(m.Damage()) != 1 {
		t.Errorf("entries %v, damage %v", numbers(m.State()), m.Damage())
	}
}

func TestMissingRecordIsNamed(t *testing.T) {
	fsys, name, ends := written(t)
	p := content(t, fsys, name)
	write(t, fsys, name, slices.Delete(p, int(ends[2]), int(ends[4]))) // sectors that were lost without a trace
	m := open(t, fsys)
	if got := numbers(m.State()); !slices.Equal(got, []uint64{1, 2, 5}) {
		t.Errorf("entries %v", got)
	}
	if d := m.Damage(); len(d) != 1 || !strings.Contains(d[0].Reason, "records 3 to 4 are missing") {
		t.Errorf("damage %v", d)
	}
}

func TestNewerVersionIsLeftAlone(t *testing.T) {
	for what, change := range map[string]func(p []byte) []byte{
		"file": func(p []byte) []byte {
			p[8] = 2
			binary.LittleEndian.PutUint32(p[28:], checksum(p[:28]))
			return p
		},
		"record": func(p []byte) []byte {
			h := p[fileHeaderSize:]
			h[8] = 2
			binary.LittleEndian.PutUint32(h[28:], checksum(h[:28]))
			return p
		},
		"kind": func(p []byte) []byte {
			return appendRecord(p, binary.LittleEndian.Uint32(p[12:]), 3, 6, body{})
		},
	} {
		fsys, name, _ := written(t)
		p := change(content(t, fsys, name))
		write(t, fsys, name, p)
		if _, _, err := Open(fsys, dir, now); !errors.Is(err, wal.ErrNewer) {
			t.Errorf("%s: %v", what, err)
		}
		if c, _, err := CheckDir(fsys, dir); err != nil || len(c.Damage) != 1 || !c.Damage[0].Newer || c.File != name {
			t.Errorf("%s: check %+v, %v", what, c, err)
		}
		if !bytes.Equal(content(t, fsys, name), p) {
			t.Errorf("%s of a newer version was changed", what)
		}
	}
}

func FuzzScan(f *testing.F) {
	fsys, name, ends := written(f)
	whole := content(f, fsys, name)
	f.Add(whole)
	f.Add(whole[:ends[3]-5])
	f.Add(slices.Delete(slices.Clone(whole), int(ends[1])+3, int(ends[2])+3))
	f.Add(whole[:10])
	f.Fuzz(func(t *testing.T, p []byte) {
		m := &Manifest{entries: make(map[uint64]Entry), next: 1}
		got, err := scan("f", p, m.apply)
		if err != nil && !errors.Is(err, wal.ErrNewer) {
			t.Fatal(err)
		}
		for _, d := range got.damage {
			if d.Offset < 0 || d.Bytes < 0 || d.Offset+d.Bytes > int64(len(p)) || d.Reason == "" {
				t.Fatalf("damage %+v of %d bytes", d, len(p))
			}
		}
	})
}

// FuzzBody holds what is read of a body to what is written of it.
func FuzzBody(f *testing.F) {
	b := body{through: 9, next: 8, added: []Entry{entry(1), entry(2)}, removed: []removed{{Removal{Number: 3, Reason: Damaged, Text: "why"}, 4, 5, 6}}}
	f.Add(b.append(nil))
	f.Add(body{}.append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := parseBody(p)
		if err != nil {
			return
		}
		again, err := parseBody(b.append(nil))
		if err != nil || len(again.added) != len(b.added) || len(again.removed) != len(b.removed) || again.through != b.through ||
			!slices.Equal(again.added, b.added) || !slices.Equal(again.removed, b.removed) {
			t.Fatalf("%+v came back as %+v, %v", b, again, err)
		}
	})
}
