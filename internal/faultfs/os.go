package faultfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// OS is the operating system's file system. Files are for the owner and its group: spans are nobody else's business.
type OS struct{}

var _ FS = OS{}

const (
	fileMode = 0o640
	dirMode  = 0o750
)

type osFile struct{ *os.File }

func (f osFile) Truncate(size int64) error {
	if err := f.File.Truncate(size); err != nil {
		return err
	}
	_, err := f.Seek(size, io.SeekStart)
	return err
}

func open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err // not a File that holds a nil pointer
	}
	return osFile{f}, nil
}

// Create implements FS.
func (OS) Create(name string) (File, error) { return open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL) }

// Open implements FS.
func (OS) Open(name string) (File, error) { return open(name, os.O_RDONLY) }

// Edit implements FS.
func (OS) Edit(name string) (File, error) { return open(name, os.O_RDWR) }

// Map implements FS.
func (OS) Map(name string) (Mapping, error) { return mapFile(name) }

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// MkdirAll implements FS.
func (OS) MkdirAll(name string) error { return os.MkdirAll(name, dirMode) }

// ReadDir implements FS.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Stat implements FS.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// SyncDir implements FS.
func (OS) SyncDir(name string) error { return syncDir(name) }

// Space implements FS.
func (OS) Space(name string) (free, total int64, err error) { return space(name) }

// Lock implements FS. The file is left behind on Close: removing it would let two processes lock two files of one name.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0)
		f.Close()
		if errors.Is(err, errHeld) {
			return nil, &LockedError{Name: name, Holder: strings.TrimSpace(string(holder[:n]))}
		}
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	// Who waits for the lock wants a name; a holder without one still holds it, so failing here would help nobody.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

var errHeld = errors.New("held by another process")
