//go:build linux || darwin || freebsd

package faultfs

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

func lock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errHeld
		default:
			return err
		}
	}
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

func space(name string) (free, total int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(name, &s); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize), nil
}

// mapped is a view by mmap.
type mapped struct {
	p    []byte
	once sync.Once
	err  error
}

func (m *mapped) Bytes() []byte { return m.p }

func (m *mapped) Close() error {
	m.once.Do(func() { m.err, m.p = unix.Munmap(m.p), nil })
	return m.err
}

func mapFile(name string) (Mapping, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // a mapping holds the file by itself
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	switch {
	case info.IsDir():
		return nil, &fs.PathError{Op: "map", Path: name, Err: unix.EISDIR}
	case size == 0: // mmap refuses an empty range
		return &copied{}, nil
	case size > math.MaxInt:
		return nil, &fs.PathError{Op: "map", Path: name, Err: unix.EFBIG}
	}
	p, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, &fs.PathError{Op: "map", Path: name, Err: err}
	}
	return &mapped{p: p}, nil
}
