//go:build !linux && !darwin && !freebsd && !windows

package faultfs

import (
	"errors"
	"os"
)

// On these systems the embedded engine is not supported: it says so when it takes the lock.

func lock(*os.File) error { return errors.ErrUnsupported }

func syncDir(string) error { return errors.ErrUnsupported }

func space(string) (free, total int64, err error) { return 0, 0, errors.ErrUnsupported }

func mapFile(name string) (Mapping, error) { return readFile(name) }
