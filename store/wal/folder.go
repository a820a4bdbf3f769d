package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
)

// MakeFolders makes folders below the one that a process was given, and makes their entries durable: a log that is synced is worth nothing
// in a folder that isn't.
func MakeFolders(fsys faultfs.FS, dir string, below ...string) error {
	dir = filepath.Clean(dir)
	there := dir // the lowest folder that somebody else made
	for there != filepath.Dir(there) {
		if _, err := fsys.Stat(there); err == nil {
			break
		}
		there = filepath.Dir(there)
	}
	for _, d := range below {
		if err := fsys.MkdirAll(d); err != nil {
			return err
		}
	}
	for d := filepath.Dir(below[0]); ; d = filepath.Dir(d) {
		if err := fsys.SyncDir(d); err != nil {
			return err
		}
		if d == there || d == filepath.Dir(d) {
			break
		}
	}
	// Whoever made the folder may not have synced its entry. The folder above may not be ours to open.
	_ = fsys.SyncDir(filepath.Dir(there))
	return nil
}

// DefaultLockWait is how long LockFolder waits.
const DefaultLockWait = 30 * time.Second

// LockName is the file that stands for the lock.
const LockName = "lock"

// LockFolder takes a data folder for this process, and waits for another one to release it: for DefaultLockWait if wait is 0, not at all
// if it is negative.
func LockFolder(ctx context.Context, fsys faultfs.FS, dir string, wait time.Duration, log *slog.Logger) (io.Closer, error) {
	if wait == 0 {
		wait = DefaultLockWait
	}
	name := filepath.Join(dir, LockName)
	deadline := time.NewTimer(max(wait, 0))
	defer deadline.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for first := true; ; first = false {
		lock, err := fsys.Lock(name)
		var held *faultfs.LockedError
		if !errors.As(err, &held) {
			if err != nil {
				err = FolderProblem(dir, err)
			}
			return lock, err
		}
		if first && wait > 0 && log != nil {
			log.Info("data folder is in use; waiting for its release", "dir", dir, "pid", held.Holder, "at most", wait)
		}
		locked := &problem.Problem{Kind: problem.Unavailable, Field: "--data-dir", Message: fmt.Sprintf("%s is in use by process %s", dir, orUnknown(held.Holder)),
			Hint: "stop that process, or give this one a folder of its own"}
		if wait < 0 {
			return nil, locked
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline.C:
			return nil, locked
		case <-again.C:
		}
	}
}

func orUnknown(pid string) string {
	if pid == "" {
		return "(unknown)"
	}
	return pid
}

// FolderProblem says what is wrong with the data folder, where that is something its owner can mend.
func FolderProblem(dir string, err error) error {
	p := &problem.Problem{Kind: problem.Unavailable, Field: "--data-dir", Err: err}
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		p.Message, p.Hint = dir+" is not a folder, or lies below a file", "give the name of a folder; it is made if it is missing"
	case errors.Is(err, syscall.EROFS):
		p.Message, p.Hint = dir+" lies on a read-only file system", "mount it for writing, or give another folder"
	case errors.Is(err, fs.ErrPermission):
		p.Message, p.Hint = dir+" is not readable and writable for this process", "change its owner or mode (in Kubernetes: fsGroup), or give another folder"
	case errors.Is(err, syscall.ENOSPC):
		p.Message, p.Hint = "the volume of "+dir+" is full", "free some space, or give a folder on another volume"
	case errors.Is(err, ErrNewer):
		p.Message, p.Hint = dir+" cannot be read by this version", "start the version that wrote it, or a newer one"
	default:
		return fmt.Errorf("data folder %s: %w", dir, err)
	}
	return p
}

// Reserve is how much of a volume of so many bytes is left free, where nobody says how much.
func Reserve(total int64) int64 {
	const least, most = 16 << 20, 512 << 20
	return min(max(total/100, least), most)
}
