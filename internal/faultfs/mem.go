package faultfs

import (
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory that can lose power. It remembers for each file what was synced and what was written
// since, and for each folder which entries were synced, and forgets in PowerCut like a disk does: some of the rest got
// there, in whole, in part or with holes, and some did not. The same seed forgets the same things.
type Mem struct {
	mu       sync.Mutex
	rand     *rand.Rand
	dead     bool
	capacity int64 // bytes of all files; 0 for no limit

	now     map[string]*inode // what the process sees; folders have an entry too
	durable map[string]*inode // entries that a power cut keeps
	journal []entry           // changes of entries since their folder's last sync, in order
	locks   map[string]bool
}

var _ FS = (*Mem)(nil)

// inode is a file or a folder.
type inode struct {
	dir      bool
	data     []byte   // as the process sees it
	synced   []byte   // as of the last good sync
	unsynced []change // since then, in order
}

// change is a write at an offset, or a cut.
type change struct {
	at  int64
	p   []byte
	cut bool
}

// entry is a change in a folder: name now stands for node, or for nothing; a rename also frees from.
type entry struct {
	name, from string
	node       *inode
}

// sector is the unit in which a write reaches the disk or doesn't.
const sector = 512

// NewMem makes an empty file system that has only the root folder.
func NewMem(seed uint64) *Mem {
	root := string(filepath.Separator)
	m := &Mem{rand: rand.New(rand.NewPCG(seed, 0)), locks: make(map[string]bool)}
	m.now = map[string]*inode{root: {dir: true}}
	m.durable = maps.Clone(m.now)
	return m
}

// SetCapacity limits the bytes of all files together: writes beyond fail with ENOSPC after what fits. 0 ends the limit.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Bytes is what all files hold.
func (m *Mem) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes()
}

func (m *Mem) bytes() (n int64) {
	for _, i := range m.now {
		n += int64(len(i.data))
	}
	return n
}

// PowerCut ends this file system, all calls on it fail from now on, and gives the one that is found after the restart.
func (m *Mem) PowerCut() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	after := &Mem{rand: m.rand, capacity: m.capacity, locks: make(map[string]bool), now: maps.Clone(m.durable)}
	// Entries reach the disk in order, so a prefix of those not synced is there.
	for _, e := range m.journal[:m.some(len(m.journal))] {
		e.apply(after.now)
	}
	for _, name := range slices.Sorted(maps.Keys(after.now)) {
		if parent := after.now[filepath.Dir(name)]; parent == nil { // sorted: a lost folder comes before what was in it
			delete(after.now, name)
			continue
		}
		after.now[name] = m.survived(after.now[name])
	}
	after.durable = maps.Clone(after.now)
	return after
}

// some is a number from 0 to n; the ends are as likely as all between.
func (m *Mem) some(n int) int {
	switch m.rand.IntN(3) {
	case 0:
		return 0
	case 1:
		return n
	default:
		return m.rand.IntN(n + 1)
	}
}

// survived is a file as the disk has it after the cut.
func (m *Mem) survived(i *inode) *inode {
	if i.dir {
		return &inode{dir: true}
	}
	data := slices.Clone(i.synced)
	switch m.rand.IntN(3) {
	case 0: // a prefix in the order of writing, cut at any byte
		left := 0
		for _, c := range i.unsynced {
			left += max(1, len(c.p))
		}
		left = m.some(left)
		for _, c := range i.unsynced {
			if left <= 0 {
				break
			}
			if n := len(c.p); n > left {
				c.p = c.p[:left]
				left = 0
			} else {
				left -= max(1, n)
			}
			data = c.apply(data)
		}
	case 1: // sectors in any order: holes read as zeros
		for _, c := range i.unsynced {
			if c.cut {
				data = c.apply(data)
				continue
			}
			for at := 0; at < len(c.p); {
				n := min(len(c.p)-at, sector-int((c.at+int64(at))%sector))
				if m.rand.IntN(2) == 0 {
					data = change{at: c.at + int64(at), p: c.p[at : at+n]}.apply(data)
				}
				at += n
			}
		}
	case 2: // nothing
	}
	return &inode{data: data, synced: slices.Clone(data)}
}

func (c change) apply(data []byte) []byte {
	if c.cut {
		if int64(len(data)) > c.at {
			return data[:c.at]
		}
		return append(data, make([]byte, c.at-int64(len(data)))...)
	}
	if end := c.at + int64(len(c.p)); int64(len(data)) < end {
		data = append(data, make([]byte, end-int64(len(data)))...)
	}
	copy(data[c.at:], c.p)
	return data
}

func (e entry) apply(entries map[string]*inode) {
	if e.from != "" {
		delete(entries, e.from)
	}
	if e.node == nil {
		delete(entries, e.name)
	} else {
		entries[e.name] = e.node
	}
}

// change makes an entry visible and remembers it until its folder is synced. The mutex is held.
func (m *Mem) change(e entry) {
	e.apply(m.now)
	m.journal = append(m.journal, e)
}

// locked runs a call under the mutex unless the power is gone.
func (m *Mem) locked(op, name string, call func(name string) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := ErrPowerCut
	if !m.dead {
		err = call(filepath.Clean(name))
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// Create implements FS.
func (m *Mem) Create(name string) (f File, err error) {
	err = m.locked("create", name, func(name string) error {
		if m.now[name] != nil {
			return fs.ErrExist
		}
		if parent := m.now[filepath.Dir(name)]; parent == nil || !parent.dir {
			return fs.ErrNotExist
		}
		node := &inode{}
		m.change(entry{name: name, node: node})
		f = &memFile{m: m, i: node, name: name, write: true}
		return nil
	})
	return f, err
}

func (m *Mem) open(op, name string, write bool) (f File, err error) {
	err = m.locked(op, name, func(name string) error {
		node := m.now[name]
		if node == nil {
			return fs.ErrNotExist
		}
		if node.dir {
			return syscall.EISDIR
		}
		f = &memFile{m: m, i: node, name: name, write: write}
		return nil
	})
	return f, err
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) { return m.open("open", name, false) }

// Edit implements FS.
func (m *Mem) Edit(name string) (File, error) { return m.open("edit", name, true) }

// Map implements FS. The mapping is a copy as of now.
func (m *Mem) Map(name string) (v Mapping, err error) {
	err = m.locked("map", name, func(name string) error {
		switch node := m.now[name]; {
		case node == nil:
			return fs.ErrNotExist
		case node.dir:
			return syscall.EISDIR
		default:
			v = &copied{slices.Clone(node.data)}
			return nil
		}
	})
	return v, err
}

// Rename implements FS.
func (m *Mem) Rename(from, to string) error {
	return m.locked("rename", to, func(to string) error {
		from := filepath.Clean(from)
		node := m.now[from]
		if node == nil {
			return fs.ErrNotExist
		}
		m.change(entry{name: to, from: from, node: node})
		return nil
	})
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	return m.locked("remove", name, func(name string) error {
		if m.now[name] == nil {
			return fs.ErrNotExist
		}
		m.change(entry{name: name})
		return nil
	})
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(name string) error {
	return m.locked("mkdir", name, func(name string) error {
		var missing []string
		for ; m.now[name] == nil; name = filepath.Dir(name) {
			missing = append(missing, name)
		}
		if !m.now[name].dir {
			return syscall.ENOTDIR
		}
		for _, dir := range slices.Backward(missing) {
			m.change(entry{name: dir, node: &inode{dir: true}})
		}
		return nil
	})
}

// ReadDir implements FS.
func (m *Mem) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = m.locked("readdir", name, func(name string) error {
		switch node := m.now[name]; {
		case node == nil:
			return fs.ErrNotExist
		case !node.dir:
			return syscall.ENOTDIR
		}
		for _, child := range slices.Sorted(maps.Keys(m.now)) {
			if filepath.Dir(child) == name && child != name {
				list = append(list, fs.FileInfoToDirEntry(m.now[child].info(child)))
			}
		}
		return nil
	})
	return list, err
}

// Stat implements FS.
func (m *Mem) Stat(name string) (info fs.FileInfo, err error) {
	err = m.locked("stat", name, func(name string) error {
		node := m.now[name]
		if node == nil {
			return fs.ErrNotExist
		}
		info = node.info(name)
		return nil
	})
	return info, err
}

// SyncDir implements FS.
func (m *Mem) SyncDir(name string) error {
	return m.locked("syncdir", name, func(name string) error {
		if node := m.now[name]; node == nil || !node.dir {
			return fs.ErrNotExist
		}
		m.journal = slices.DeleteFunc(m.journal, func(e entry) bool {
			if filepath.Dir(e.name) != name {
				return false
			}
			e.apply(m.durable)
			return true
		})
		return nil
	})
}

// Lock implements FS.
func (m *Mem) Lock(name string) (c io.Closer, err error) {
	if _, err := m.Stat(filepath.Dir(name)); err != nil {
		return nil, err
	}
	err = m.locked("lock", name, func(name string) error {
		if m.locks[name] {
			return &LockedError{Name: name, Holder: "1"}
		}
		m.locks[name] = true
		c = memLock{m, name}
		return nil
	})
	return c, err
}

type memLock struct {
	m    *Mem
	name string
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.name)
	return nil
}

// Space implements FS.
func (m *Mem) Space(name string) (free, total int64, err error) {
	err = m.locked("space", name, func(string) error {
		free, total = 1<<50, 1<<50
		if m.capacity > 0 {
			free, total = max(0, m.capacity-m.bytes()), m.capacity
		}
		return nil
	})
	return free, total, err
}

// Flip inverts one bit of a file, as rot on a disk does.
func (m *Mem) Flip(name string, bit int64) error {
	return m.locked("flip", name, func(name string) error {
		node := m.now[name]
		if node == nil || bit/8 >= int64(len(node.data)) {
			return fs.ErrNotExist
		}
		for _, p := range [][]byte{node.data, node.synced} {
			if bit/8 < int64(len(p)) {
				p[bit/8] ^= 1 << (bit % 8)
			}
		}
		return nil
	})
}

// Files lists the names of all files that contain part, sorted.
func (m *Mem) Files(part string) (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.now)) {
		if !m.now[name].dir && strings.Contains(name, part) {
			names = append(names, name)
		}
	}
	return names
}

func (i *inode) info(name string) fs.FileInfo {
	return memInfo{filepath.Base(name), int64(len(i.data)), i.dir}
}

type memInfo struct {
	name string
	size int64
	dir  bool
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }
func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | dirMode
	}
	return fileMode
}
