package faultfs

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockAt is where the locked byte lies: beyond the process id, which others read while the lock is held.
const lockAt = 1 << 20

func lock(f *os.File) error {
	at := &windows.Overlapped{Offset: lockAt}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errHeld
	}
	return err
}

// syncDir does nothing: NTFS keeps names in its journal, and a folder cannot be synced.
func syncDir(string) error { return nil }

func space(name string) (free, total int64, err error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, 0, err
	}
	var left, all uint64
	if err := windows.GetDiskFreeSpaceEx(p, &left, &all, nil); err != nil {
		return 0, 0, &os.PathError{Op: "free space", Path: name, Err: err}
	}
	return int64(min(left, 1<<62)), int64(min(all, 1<<62)), nil
}

func mapFile(name string) (Mapping, error) { return readFile(name) }
