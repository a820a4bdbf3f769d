// Package faultfs is the file system as the embedded engine sees it: a small interface with three implementations. OS is
// the real one, Inject wraps any and fails chosen calls, Mem lives in memory and can lose power: what was not synced is
// forgotten. The interface holds what durable code needs to say (sync this file, sync this folder) and nothing else.
package faultfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// FS is a file system. Names are paths of the operating system. All methods are safe for concurrent use. Errors wrap
// those of io/fs (fs.ErrNotExist, fs.ErrExist, fs.ErrPermission) and, for a full disk, syscall.ENOSPC.
type FS interface {
	// Create makes a new file for reading and writing; fs.ErrExist if the name is taken. It is durable when the file and its
	// folder were synced.
	Create(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Edit opens an existing file for writing and cutting.
	Edit(name string) (File, error)
	// Map gives a view of a whole file as it is now, for files that are never changed in place: what reading it would cost is
	// paid page by page, and the pages are the system's, not the heap's. An empty file maps to an empty slice. A disk error
	// behind a mapped page ends the process: durable code verifies checksums of what it needs, not the disk.
	Map(name string) (Mapping, error)
	// Rename replaces to. It is durable when the folder was synced.
	Rename(from, to string) error
	// Remove removes a file; fs.ErrNotExist if there is none.
	Remove(name string) error
	// MkdirAll makes a folder and those above it. Each new one is durable when the folder above it was synced.
	MkdirAll(name string) error
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat describes a file.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes a folder's entries durable: files created, renamed and removed in it.
	SyncDir(name string) error
	// Lock takes the lock that a file stands for, or answers a *LockedError at once. The lock ends with Close or the process.
	Lock(name string) (io.Closer, error)
	// Space is the number of bytes that can still be written in the file system of a folder, and of all it has.
	Space(name string) (free, total int64, err error)
}

// File is an open file. Write appends at the position after what was written or read last; at the start for Edit.
type File interface {
	io.Reader
	io.Writer
	io.Closer
	// Truncate cuts the file, or extends it by zeros, and moves the position to its new end.
	Truncate(size int64) error
	// Sync makes the file's content durable. After an error nothing is known about what was written since the last good
	// Sync, and a second Sync may succeed without having written it.
	Sync() error
}

// Mapping is a read-only view of a file. It stays whole when the file is removed or replaced by a rename.
type Mapping interface {
	// Bytes is the file's content. Nobody writes to it, and nobody reads it after Close: the memory is gone then.
	Bytes() []byte
	// Close gives the view back. The caller sees to it that nobody reads; a second Close does nothing.
	io.Closer
}

// LockedError says that another process holds a lock.
type LockedError struct {
	Name   string
	Holder string // its process id, empty if the file doesn't say
}

func (e *LockedError) Error() string {
	if e.Holder == "" {
		return e.Name + " is locked by another process"
	}
	return fmt.Sprintf("%s is locked by process %s", e.Name, e.Holder)
}

// ErrPowerCut is what every call on a Mem answers after its power went.
var ErrPowerCut = errors.New("power cut")
