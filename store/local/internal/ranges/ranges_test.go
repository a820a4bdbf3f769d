package ranges

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/spanloom/spanloom/internal/faultfs"
)

func content(object string, i int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%s%03d", object, i)), 25)[:100]
}

func meets(want []byte) func([]byte) bool {
	sum := crc32.ChecksumIEEE(want)
	return func(p []byte) bool { return crc32.ChecksumIEEE(p) == sum }
}

func open(t *testing.T, fsys faultfs.FS, disk, memory int64) *Cache {
	t.Helper()
	c, err := Open(Options{FS: fsys, Dir: "/cache", MaxDisk: disk, MaxMemory: memory})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get asks for range i of an object and reports whether it was fetched.
func get(t *testing.T, c *Cache, object string, i int) (fetched bool) {
	t.Helper()
	want := content(object, i)
	got, err := c.Get(Range{object, int64(100 * i), 100}, meets(want), func() ([]byte, error) {
		fetched = true
		return want, nil
	})
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s %d: %q, %v", object, i, got, err)
	}
	return fetched
}

func TestBoundsAndRestart(t *testing.T) {
	fsys := faultfs.NewMem(1)
	c := open(t, fsys, 1000, 400)
	for i := range 30 {
		if !get(t, c, "a", i) {
			t.Fatalf("%d was here before it was fetched", i)
		}
		if i >= 3 && get(t, c, "a", i-3) {
			t.Errorf("%d was fetched again, 3 ranges later", i-3)
		}
		if s := c.Stats(); s.Disk > 1000 || s.Memory > 400 {
			t.Fatalf("%+v", s)
		}
	}
	if s := c.Stats(); s.Disk != 1000 || s.Memory != 400 || s.Misses != 30 || s.Hits != 27 || s.Fetched != 3000 {
		t.Errorf("%+v", s)
	}
	if files := fsys.Files("-100"); len(files) != 10 {
		t.Errorf("files: %q", files)
	}
	c = open(t, fsys, 500, 400) // a smaller limit holds at once
	if s := c.Stats(); s.Disk != 500 || len(fsys.Files("-100")) != 5 {
		t.Errorf("%+v, %q", s, fsys.Files("-100"))
	}
	kept := 0
	for i := 29; i >= 25; i-- {
		if !get(t, c, "a", i) {
			kept++
		}
	}
	if kept < 4 { // 26 was used last of all but for 29
		t.Errorf("%d ranges survived the restart", kept)
	}
	get(t, c, "b", 1)
	c.Keep(func(object string) bool { return object == "b" })
	if s := c.Stats(); s.Disk != 100 || len(fsys.Files("-100")) != 1 {
		t.Errorf("after all others were forgotten: %+v, %q", s, fsys.Files("-100"))
	}
	if get(t, c, "b", 1) || !get(t, c, "a", 1) {
		t.Error("the wrong object was forgotten")
	}
}

func TestDamagedFileIsFetchedAgain(t *testing.T) {
	fsys := faultfs.NewMem(1)
	get(t, open(t, fsys, 1000, 400), "a", 3)
	name := fsys.Files("-100")[0]
	if err := fsys.Flip(name, 99); err != nil {
		t.Fatal(err)
	}
	c := open(t, fsys, 1000, 400)
	if !get(t, c, "a", 3) {
		t.Error("damaged bytes passed")
	}
	if get(t, open(t, fsys, 1000, 400), "a", 3) {
		t.Error("the good bytes did not take the place of the damaged ones")
	}
	f, err := fsys.Edit(name)
	if err != nil {
		t.Fatal(err)
	}
	f.Truncate(10)
	f.Close()
	if !get(t, open(t, fsys, 1000, 400), "a", 3) {
		t.Error("a cut file passed")
	}
}

func TestErrors(t *testing.T) {
	fsys := faultfs.Inject(faultfs.NewMem(1), nil)
	c := open(t, fsys, 1000, 400)
	away := errors.New("away")
	r := Range{"a", 0, 100}
	if _, err := c.Get(r, meets([]byte("other")), func() ([]byte, error) { return nil, away }); !errors.Is(err, away) {
		t.Error(err)
	}
	for _, p := range [][]byte{make([]byte, 100), make([]byte, 99), nil} {
		if _, err := c.Get(r, meets([]byte("other")), func() ([]byte, error) { return p, nil }); !errors.Is(err, ErrOther) {
			t.Error(err)
		}
	}
	// A disk that takes nothing costs fetches only.
	full := errors.New("full")
	fsys.SetRule(func(call faultfs.Call) error {
		if call.Op == faultfs.OpCreate || call.Op == faultfs.OpRename {
			return full
		}
		return nil
	})
	if !get(t, c, "a", 1) || get(t, c, "a", 1) || c.Stats().Disk != 0 {
		t.Errorf("%+v", c.Stats())
	}
}

func TestOneFetchForAll(t *testing.T) {
	c := open(t, faultfs.NewMem(1), 1000, 400)
	want := content("a", 0)
	var fetches atomic.Int32
	release := make(chan struct{})
	var all sync.WaitGroup
	var started sync.WaitGroup
	started.Add(8)
	for range 8 {
		all.Go(func() {
			started.Done()
			p, err := c.Get(Range{"a", 0, 100}, meets(want), func() ([]byte, error) {
				fetches.Add(1)
				<-release
				return want, nil
			})
			if err != nil || !bytes.Equal(p, want) {
				t.Errorf("%q, %v", p, err)
			}
		})
	}
	started.Wait()
	close(release)
	all.Wait()
	if fetches.Load() != 1 {
		t.Errorf("%d fetches", fetches.Load())
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"0-100", "5-1"} {
		if r, ok := parseName("x", name); !ok || fileName(r) != name {
			t.Errorf("%s: %+v %v", name, r, ok)
		}
	}
	for _, name := range []string{"", "-", "1", "1-", "01-2", "1-2-3", "a-b", "1-99999999999"} {
		if r, ok := parseName("x", name); ok {
			t.Errorf("%s is %+v", name, r)
		}
	}
}
