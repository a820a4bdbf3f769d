package faultfs

import (
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// memFile is an open file of a Mem.
type memFile struct {
	m      *Mem
	i      *inode
	name   string
	at     int64
	write  bool
	closed bool
}

// locked runs a call under the file system's mutex unless the power is gone or the file closed.
func (f *memFile) locked(op string, write bool, call func() error) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	var err error
	switch {
	case f.m.dead:
		err = ErrPowerCut
	case f.closed:
		err = fs.ErrClosed
	case write && !f.write:
		err = fs.ErrPermission
	default:
		err = call()
	}
	if err != nil && err != io.EOF {
		return &fs.PathError{Op: op, Path: f.name, Err: err}
	}
	return err
}

func (f *memFile) Read(p []byte) (n int, err error) {
	err = f.locked("read", false, func() error {
		if f.at >= int64(len(f.i.data)) {
			return io.EOF
		}
		n = copy(p, f.i.data[f.at:])
		f.at += int64(n)
		return nil
	})
	return n, err
}

func (f *memFile) Write(p []byte) (n int, err error) {
	err = f.locked("write", true, func() (err error) {
		if c := f.m.capacity; c > 0 {
			grows := f.at + int64(len(p)) - int64(len(f.i.data))
			if left := max(0, c-f.m.bytes()); grows > left {
				p = p[:max(0, int64(len(p))-(grows-left))]
				err = syscall.ENOSPC
			}
		}
		if n = len(p); n > 0 {
			c := change{at: f.at, p: slices.Clone(p)}
			f.i.data = c.apply(f.i.data)
			f.i.unsynced = append(f.i.unsynced, c)
			f.at += int64(n)
		}
		return err
	})
	return n, err
}

func (f *memFile) Truncate(size int64) error {
	return f.locked("truncate", true, func() error {
		c := change{at: size, cut: true}
		f.i.data = c.apply(f.i.data)
		f.i.unsynced = append(f.i.unsynced, c)
		f.at = size
		return nil
	})
}

func (f *memFile) Sync() error {
	return f.locked("sync", false, func() error {
		for _, c := range f.i.unsynced {
			f.i.synced = c.apply(f.i.synced)
		}
		f.i.unsynced = nil
		return nil
	})
}

// loseUnsynced is a failed sync: what should have become durable never will, though it can still be read, and the next sync
// of the file succeeds.
func (f *memFile) loseUnsynced() {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.i.unsynced = nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}
