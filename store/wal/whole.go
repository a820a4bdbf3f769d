package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/span"
)

// TempSuffix ends the names of files that are being written. One that is found at a start was left by a crash.
const TempSuffix = ".tmp"

// WriteFile writes batches as a file of the log's form, whole or not at all: beside its name, synced, renamed, and the folder
// synced. at is kept in its header. It reports the file's size.
func WriteFile(fsys faultfs.FS, name string, at int64, batches []*span.Batch) (int64, error) {
	head := fileHeader{salt: rand.Uint32(), first: 1, at: at}
	p := head.append(nil)
	r := records.Get().(*record)
	defer r.release()
	for i, b := range batches {
		if err := r.encode(b); err != nil {
			return 0, err
		}
		seal(r.frame, head.salt, uint64(i)+1)
		p = append(p, r.frame...)
	}
	return int64(len(p)), Replace(fsys, name, p)
}

// Replace writes a file beside its name, syncs it, renames it and syncs the folder, so that after a crash either the old
// content or the new one stands there.
func Replace(fsys faultfs.FS, name string, p []byte) error {
	temp := name + TempSuffix
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fsys.Rename(temp, name)
	}
	if err != nil {
		_ = fsys.Remove(temp)
		return err
	}
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("sync folder of %s: %w", name, err)
	}
	return nil
}

// ReadFile reads a file that WriteFile wrote: each readable batch, and what is damaged.
func ReadFile(fsys faultfs.FS, name string, each func(*span.Batch) error) (at, size int64, damage []Damage, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return 0, 0, nil, err
	}
	defer f.Close()
	var scratch []byte
	got, err := scan(name, f, func(fr Frame) (err error) {
		b := new(span.Batch)
		if scratch, err = fr.Decode(b, scratch); err != nil {
			return err
		}
		if err := each(b); err != nil {
			return errStop{err}
		}
		return nil
	})
	if got.rest >= 0 && got.cut { // such a file was whole once
		got.damage = append(got.damage, Damage{File: name, Offset: got.rest, Bytes: got.size - got.rest, Reason: "the file ends within a frame"})
	}
	return got.header.at, got.size, got.damage, err
}
