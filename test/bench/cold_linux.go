package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// dropAll takes a folder's files, which nobody has mapped, out of the page cache.
func dropAll(dir string) error {
	return eachFile(dir, func(f *os.File) error {
		return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	})
}
