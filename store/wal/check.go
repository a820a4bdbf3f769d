package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/span"
)

// BadSuffix ends the names of files that Repair set aside.
const BadSuffix = ".bad"

// Check is what reading a file of the log's form told, without changing it.
type Check struct {
	File   string
	Bytes  int64
	Frames int
	Spans  int
	Damage []Damage
	// Torn is where a file ends within a frame, as the newest does after a crash and while it is written, and an older one after a write that
	// failed and could not be cut off; 0 if it doesn't.
	Torn int64
}

// CheckDir checks all files of a log.
func CheckDir(ctx context.Context, fsys faultfs.FS, dir string) ([]Check, error) {
	files, err := list(fsys, dir)
	if err != nil {
		return nil, err
	}
	var checks []Check
	for i, f := range files {
		if err := ctx.Err(); err != nil {
			return checks, err
		}
		c, err := CheckFile(fsys, f.name, i == len(files)-1)
		if errors.Is(err, fs.ErrNotExist) { // a running server dropped it
			continue
		}
		if err != nil {
			return checks, err
		}
		checks = append(checks, c)
	}
	return checks, nil
}

// CheckFile checks one file. The newest file of a log may end within a frame.
func CheckFile(fsys faultfs.FS, name string, newest bool) (Check, error) {
	c := Check{File: name}
	f, err := fsys.Open(name)
	if err != nil {
		return c, err
	}
	defer f.Close()
	var b span.Batch
	var scratch []byte
	got, err := scan(name, f, func(fr Frame) (err error) {
		if scratch, err = fr.Decode(&b, scratch); err == nil {
			c.Frames++
			c.Spans += fr.Spans
		}
		return err
	})
	c.Bytes, c.Damage = got.size, got.damage
	if errors.Is(err, ErrNewer) {
		c.Damage = append(c.Damage, Damage{File: name, Bytes: got.size, Reason: err.Error(), Newer: true})
		err = nil
	}
	if got.rest >= 0 && (newest || got.cut) {
		c.Torn = got.rest
		if !got.cut {
			c.Damage = c.Damage[:len(c.Damage)-1]
		}
	}
	return c, err
}

// Repair puts a file of only the readable frames in the place of a damaged one, which is copied to a name ending in BadSuffix
// first. A crash on the way leaves one or the other. Nobody else may write the file.
func Repair(fsys faultfs.FS, name string) (aside string, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	whole, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	aside = AsideName(fsys, name)
	if err := Replace(fsys, aside, whole); err != nil {
		return "", fmt.Errorf("set %s aside: %w", filepath.Base(name), err)
	}
	good, err := readable(name, whole)
	if err != nil {
		return "", err
	}
	if err := Replace(fsys, name, good); err != nil {
		return aside, fmt.Errorf("write the readable frames of %s: %w", filepath.Base(name), err)
	}
	return aside, nil
}

// AsideName is a free name under which a bad file is left alone.
func AsideName(fsys faultfs.FS, name string) string {
	aside := name + BadSuffix
	for n := 1; ; n++ {
		if _, err := fsys.Stat(aside); err != nil {
			return aside
		}
		aside = fmt.Sprintf("%s.%d%s", name, n, BadSuffix)
	}
}

// readable is a file's content without what is damaged. Its frames keep their sequences; salts differ only where the file header
// was damaged, so the header is made anew with theirs.
func readable(name string, whole []byte) ([]byte, error) {
	var b span.Batch
	var scratch, frames []byte
	var salt uint32
	got, err := scan(name, bytes.NewReader(whole), func(fr Frame) (err error) {
		if scratch, err = fr.Decode(&b, scratch); err == nil {
			h, _ := parseFrameHeader(fr.whole)
			salt = h.salt
			frames = append(frames, fr.whole...)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	head := got.header
	if !got.headerOK {
		head = fileHeader{salt: salt, first: 1}
	}
	return append(head.append(nil), frames...), nil
}
