package faultfs

import (
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
)

// Op names a call.
type Op string

// The calls an injected fault can hit.
const (
	OpCreate   Op = "create"
	OpOpen     Op = "open"
	OpEdit     Op = "edit"
	OpMap      Op = "map"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpMkdir    Op = "mkdir"
	OpReadDir  Op = "readdir"
	OpStat     Op = "stat"
	OpSyncDir  Op = "syncdir"
	OpLock     Op = "lock"
	OpSpace    Op = "space"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpTruncate Op = "truncate"
	OpSync     Op = "sync"
	OpClose    Op = "close"
)

// Call is one call on an injected file system.
type Call struct {
	N    int // 1 for the first call of all
	Op   Op
	Name string // the file (of a rename, the target)
	Len  int    // bytes to be written
}

func (c Call) String() string { return fmt.Sprintf("call %d: %s %s", c.N, c.Op, c.Name) }

// Rule decides what happens to a call: nil lets it through, a *Short writes a part, any other error is the answer and the
// call is not made. A failed sync of a Mem loses what it should have made durable, as Linux does.
type Rule func(Call) error

// Short is a Rule's answer that lets Len bytes of a write through before it fails with Err.
type Short struct {
	Len int
	Err error
}

func (s *Short) Error() string { return fmt.Sprintf("%v after %d bytes", s.Err, s.Len) }

// Nth fails the nth call and no other.
func Nth(n int, err error) Rule {
	return func(c Call) error {
		if c.N == n {
			return err
		}
		return nil
	}
}

// On fails every call of an operation on names that contain part.
func On(op Op, part string, err error) Rule {
	return func(c Call) error {
		if c.Op == op && strings.Contains(c.Name, part) {
			return err
		}
		return nil
	}
}

// Injected is a file system of which chosen calls fail.
type Injected struct {
	fs FS

	mu    sync.Mutex
	rule  Rule
	calls int
	hits  int
	last  Call // the call that was hit last
}

var _ FS = (*Injected)(nil)

// Inject wraps a file system. A nil rule lets everything through.
func Inject(under FS, rule Rule) *Injected { return &Injected{fs: under, rule: rule} }

// SetRule replaces the rule; nil ends the faults. Calls are counted on.
func (x *Injected) SetRule(rule Rule) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.rule = rule
}

// Calls is how many calls there were.
func (x *Injected) Calls() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.calls
}

// Hits is how many calls failed by the rule, and the last of them.
func (x *Injected) Hits() (int, Call) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.hits, x.last
}

func (x *Injected) fault(op Op, name string, n int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.calls++
	if x.rule == nil {
		return nil
	}
	c := Call{N: x.calls, Op: op, Name: name, Len: n}
	err := x.rule(c)
	if err != nil {
		x.hits++
		x.last = c
	}
	return err
}

func (x *Injected) open(op Op, name string, open func(string) (File, error)) (File, error) {
	if err := x.fault(op, name, 0); err != nil {
		return nil, &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	return &injectedFile{f, x, name}, nil
}

func (x *Injected) do(op Op, name string, do func() error) error {
	if err := x.fault(op, name, 0); err != nil {
		return &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	return do()
}

// Create implements FS.
func (x *Injected) Create(name string) (File, error) { return x.open(OpCreate, name, x.fs.Create) }

// Open implements FS.
func (x *Injected) Open(name string) (File, error) { return x.open(OpOpen, name, x.fs.Open) }

// Edit implements FS.
func (x *Injected) Edit(name string) (File, error) { return x.open(OpEdit, name, x.fs.Edit) }

// Map implements FS.
func (x *Injected) Map(name string) (m Mapping, err error) {
	err = x.do(OpMap, name, func() error { m, err = x.fs.Map(name); return err })
	return m, err
}

// Rename implements FS.
func (x *Injected) Rename(from, to string) error {
	return x.do(OpRename, to, func() error { return x.fs.Rename(from, to) })
}

// Remove implements FS.
func (x *Injected) Remove(name string) error {
	return x.do(OpRemove, name, func() error { return x.fs.Remove(name) })
}

// MkdirAll implements FS.
func (x *Injected) MkdirAll(name string) error {
	return x.do(OpMkdir, name, func() error { return x.fs.MkdirAll(name) })
}

// SyncDir implements FS.
func (x *Injected) SyncDir(name string) error {
	return x.do(OpSyncDir, name, func() error { return x.fs.SyncDir(name) })
}

// ReadDir implements FS.
func (x *Injected) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = x.do(OpReadDir, name, func() error { list, err = x.fs.ReadDir(name); return err })
	return list, err
}

// Stat implements FS.
func (x *Injected) Stat(name string) (info fs.FileInfo, err error) {
	err = x.do(OpStat, name, func() error { info, err = x.fs.Stat(name); return err })
	return info, err
}

// Lock implements FS.
func (x *Injected) Lock(name string) (c io.Closer, err error) {
	err = x.do(OpLock, name, func() error { c, err = x.fs.Lock(name); return err })
	return c, err
}

// Space implements FS.
func (x *Injected) Space(name string) (free, total int64, err error) {
	err = x.do(OpSpace, name, func() error { free, total, err = x.fs.Space(name); return err })
	return free, total, err
}

type injectedFile struct {
	f    File
	x    *Injected
	name string
}

func (f *injectedFile) fail(op Op, err error) error {
	return &fs.PathError{Op: string(op), Path: f.name, Err: err}
}

func (f *injectedFile) Read(p []byte) (int, error) {
	if err := f.x.fault(OpRead, f.name, 0); err != nil {
		return 0, f.fail(OpRead, err)
	}
	return f.f.Read(p)
}

func (f *injectedFile) Write(p []byte) (int, error) {
	err := f.x.fault(OpWrite, f.name, len(p))
	if short, ok := err.(*Short); ok {
		n, werr := f.f.Write(p[:min(short.Len, len(p))])
		if werr != nil {
			return n, werr
		}
		return n, f.fail(OpWrite, short.Err)
	}
	if err != nil {
		return 0, f.fail(OpWrite, err)
	}
	return f.f.Write(p)
}

func (f *injectedFile) Truncate(size int64) error {
	if err := f.x.fault(OpTruncate, f.name, 0); err != nil {
		return f.fail(OpTruncate, err)
	}
	return f.f.Truncate(size)
}

func (f *injectedFile) Sync() error {
	if err := f.x.fault(OpSync, f.name, 0); err != nil {
		if m, ok := f.f.(*memFile); ok {
			m.loseUnsynced()
		}
		return f.fail(OpSync, err)
	}
	return f.f.Sync()
}

func (f *injectedFile) Close() error {
	// A descriptor is gone even if close fails.
	if err := f.x.fault(OpClose, f.name, 0); err != nil {
		f.f.Close()
		return f.fail(OpClose, err)
	}
	return f.f.Close()
}
