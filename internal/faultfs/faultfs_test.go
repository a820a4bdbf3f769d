package faultfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// TestSameAnswers holds Mem to what the operating system does.
func TestSameAnswers(t *testing.T) {
	for name, mk := range map[string]func(t *testing.T) (FS, string){
		"os":       func(t *testing.T) (FS, string) { return OS{}, t.TempDir() },
		"mem":      func(t *testing.T) (FS, string) { return NewMem(1), "/" },
		"injected": func(t *testing.T) (FS, string) { return Inject(NewMem(1), nil), "/" },
	} {
		t.Run(name, func(t *testing.T) {
			fsys, root := mk(t)
			at := func(elem ...string) string { return filepath.Join(append([]string{root}, elem...)...) }
			check := func(what string, got, want error) {
				t.Helper()
				if !errors.Is(got, want) {
					t.Errorf("%s: %v, want %v", what, got, want)
				}
			}
			_, err := fsys.Create(at("no", "f"))
			check("create without folder", err, fs.ErrNotExist)
			check("mkdir", fsys.MkdirAll(at("a", "b")), nil)
			check("mkdir again", fsys.MkdirAll(at("a", "b")), nil)
			f, err := fsys.Create(at("a", "b", "f"))
			check("create", err, nil)
			_, err = fsys.Create(at("a", "b", "f"))
			check("create again", err, fs.ErrExist)
			for _, s := range []string{"hello", " world"} {
				if _, err := io.WriteString(f, s); err != nil {
					t.Fatal(err)
				}
			}
			check("truncate", f.Truncate(7), nil)
			if _, err := io.WriteString(f, "all"); err != nil {
				t.Fatal(err)
			}
			check("sync", f.Sync(), nil)
			check("close", f.Close(), nil)
			check("sync folder", fsys.SyncDir(at("a", "b")), nil)
			check("mkdir through a file", fsys.MkdirAll(at("a", "b", "f", "g")), syscall.ENOTDIR)
			check("rename", fsys.Rename(at("a", "b", "f"), at("a", "b", "g")), nil)
			_, err = fsys.Open(at("a", "b", "f"))
			check("open the old name", err, fs.ErrNotExist)
			g, err := fsys.Open(at("a", "b", "g"))
			check("open", err, nil)
			if p, err := io.ReadAll(g); err != nil || string(p) != "hello wall" {
				t.Errorf("read %q, %v", p, err)
			}
			if _, err := g.Write([]byte("x")); err == nil {
				t.Error("a file opened for reading was written")
			}
			g.Close()
			e, err := fsys.Edit(at("a", "b", "g"))
			check("edit", err, nil)
			check("cut", e.Truncate(2), nil)
			e.Close()
			if info, err := fsys.Stat(at("a", "b", "g")); err != nil || info.Size() != 2 || info.IsDir() {
				t.Errorf("stat: %v, %v", info, err)
			}
			_, err = fsys.Map(at("a", "b"))
			check("map a folder", err, syscall.EISDIR)
			m, err := fsys.Map(at("a", "b", "g"))
			check("map", err, nil)
			create(t, fsys, at("a", "b", "empty"), "").Close()
			none, err := fsys.Map(at("a", "b", "empty"))
			check("map an empty file", err, nil)
			if len(none.Bytes()) != 0 {
				t.Errorf("an empty file maps to %d bytes", len(none.Bytes()))
			}
			check("unmap", none.Close(), nil)
			check("replace a mapped file", fsys.Rename(at("a", "b", "empty"), at("a", "b", "g")), nil)
			if string(m.Bytes()) != "he" {
				t.Errorf("a mapping of a replaced file reads %q", m.Bytes())
			}
			check("unmap", m.Close(), nil)
			check("unmap again", m.Close(), nil)
			list, err := fsys.ReadDir(at("a"))
			if err != nil || len(list) != 1 || list[0].Name() != "b" || !list[0].IsDir() {
				t.Errorf("list: %v, %v", list, err)
			}
			check("remove", fsys.Remove(at("a", "b", "g")), nil)
			check("remove again", fsys.Remove(at("a", "b", "g")), fs.ErrNotExist)
			if free, total, err := fsys.Space(at("a")); err != nil || free <= 0 || total < free {
				t.Errorf("space: %d of %d, %v", free, total, err)
			}
			l, err := fsys.Lock(at("lock"))
			check("lock", err, nil)
			_, err = fsys.Lock(at("lock"))
			var held *LockedError
			if !errors.As(err, &held) {
				t.Errorf("second lock: %v", err)
			} else if _, isOS := fsys.(OS); isOS && held.Holder != strconv.Itoa(os.Getpid()) {
				t.Errorf("holder is %q", held.Holder)
			}
			l.Close()
			l, err = fsys.Lock(at("lock"))
			check("lock after release", err, nil)
			l.Close()
		})
	}
}

func create(t *testing.T, fsys FS, name, content string) File {
	t.Helper()
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, content); err != nil {
		t.Fatal(err)
	}
	return f
}

func read(fsys FS, name string) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	p, err := io.ReadAll(f)
	return string(p), err
}

// TestPowerCut cuts the power many times: what was synced is always there, and what was not is sometimes there, sometimes
// not and sometimes in part.
func TestPowerCut(t *testing.T) {
	synced, rest := string(bytes.Repeat([]byte("s"), 1000)), string(bytes.Repeat([]byte("u"), 3000))
	outcomes := map[string]int{}
	for seed := range uint64(300) {
		m := NewMem(seed)
		f := create(t, m, "/f", synced)
		if err := errors.Join(f.Sync(), m.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, rest)
		create(t, m, "/unsynced entry", "x").Sync()
		after := m.PowerCut()
		if _, err := f.Write([]byte("x")); !errors.Is(err, ErrPowerCut) {
			t.Fatalf("write after the cut: %v", err)
		}
		if _, err := m.Open("/f"); !errors.Is(err, ErrPowerCut) {
			t.Fatalf("open after the cut: %v", err)
		}
		got, err := read(after, "/f")
		if err != nil || len(got) < len(synced) || got[:len(synced)] != synced {
			t.Fatalf("seed %d: synced bytes are gone: %d bytes, %v", seed, len(got), err)
		}
		switch rest2 := got[len(synced):]; {
		case rest2 == "":
			outcomes["nothing"]++
		case rest2 == rest:
			outcomes["all"]++
		case bytes.Contains([]byte(rest2), []byte{0}):
			outcomes["holes"]++
		default:
			outcomes["prefix"]++
		}
		if got, err := read(after, "/unsynced entry"); err == nil && got == "x" {
			outcomes["entry"]++
		} else {
			outcomes["no entry"]++
		}
	}
	for _, o := range []string{"nothing", "all", "holes", "prefix", "entry", "no entry"} {
		if outcomes[o] == 0 {
			t.Errorf("%q never happened: %v", o, outcomes)
		}
	}
}

func TestPowerCutKeepsNothingOfALostFolder(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		m := NewMem(seed)
		if err := m.MkdirAll("/a/b"); err != nil {
			t.Fatal(err)
		}
		f := create(t, m, "/a/b/f", "x")
		if err := errors.Join(f.Sync(), m.SyncDir("/a/b")); err != nil {
			t.Fatal(err)
		}
		after := m.PowerCut()
		if _, err := after.Stat("/a"); err != nil {
			lost++
			if files := after.Files("/"); len(files) != 0 {
				t.Fatalf("the folder is gone, its files are not: %v", files)
			}
		}
	}
	if lost == 0 {
		t.Error("a folder that was never synced is always there")
	}
}

// TestFailedSyncLoses: after a failed sync a good one doesn't bring back what the failed one should have written.
func TestFailedSyncLoses(t *testing.T) {
	for seed := range uint64(20) {
		m := NewMem(seed)
		x := Inject(m, nil)
		f := create(t, x, "/f", "good")
		if err := errors.Join(f.Sync(), x.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, " lost")
		x.SetRule(On(OpSync, "/f", syscall.EIO))
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		x.SetRule(nil)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if got, _ := read(x, "/f"); got != "good lost" {
			t.Fatalf("before the cut: %q", got)
		}
		if got, _ := read(m.PowerCut(), "/f"); got != "good" {
			t.Fatalf("after the cut: %q", got)
		}
	}
}

func TestFullDisk(t *testing.T) {
	m := NewMem(1)
	m.SetCapacity(10)
	f := create(t, m, "/f", "12345678")
	if n, err := f.Write([]byte("9abc")); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if n, _, _ := m.Space("/"); n != 0 {
		t.Errorf("free %d", n)
	}
	if err := m.Remove("/f"); err != nil {
		t.Fatal(err)
	}
	if n, _, _ := m.Space("/"); n != 10 {
		t.Errorf("free after remove %d", n)
	}
}

func TestInject(t *testing.T) {
	x := Inject(NewMem(1), Nth(3, syscall.EIO))
	f := create(t, x, "/f", "one") // calls 1 and 2
	if _, err := f.Write([]byte("two")); !errors.Is(err, syscall.EIO) {
		t.Errorf("third call: %v", err)
	}
	if n, c := x.Hits(); n != 1 || c.Op != OpWrite || x.Calls() != 3 {
		t.Errorf("%d hits, last %s, %d calls", n, c, x.Calls())
	}
	x.SetRule(On(OpMap, "f", syscall.EIO))
	if _, err := x.Map("/f"); !errors.Is(err, syscall.EIO) {
		t.Errorf("map: %v", err)
	}
	x.SetRule(On(OpWrite, "f", &Short{Len: 2, Err: syscall.EIO}))
	if n, err := f.Write([]byte("two")); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Errorf("short write: %d, %v", n, err)
	}
	if got, err := read(x, "/f"); err != nil || got != "onetw" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestMappingReadsAsWritten holds the way without mmap to the same content.
func TestMappingReadsAsWritten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	content := string(bytes.Repeat([]byte("0123456789abcdef"), 5000)) // more than a page, no whole number of them
	create(t, OS{}, name, content[1:]).Close()
	for what, open := range map[string]func(string) (Mapping, error){"map": OS{}.Map, "read": readFile} {
		m, err := open(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Bytes()) != content[1:] {
			t.Errorf("%s: %d bytes that differ from what was written", what, len(m.Bytes()))
		}
		m.Close()
	}
}
