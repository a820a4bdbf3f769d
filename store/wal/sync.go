package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/spanloom/spanloom/internal/problem"
)

// Tick is what its owner calls once per interval: it makes durable what was written, mends what a failed sync or cut left
// behind, and looks whether a full disk has room again. Its error was logged and is what Append answers.
func (l *Log) Tick() error {
	l.mu.Lock()
	broken, full, wanted := l.broken != nil, l.full != nil, l.wanted
	if f := l.cur; f != nil && !l.writing && l.outgrown(f, 0) {
		l.cur = nil
	}
	l.mu.Unlock()
	if broken {
		if err := l.rewrite(); err != nil {
			return err
		}
	}
	if full {
		_ = l.room(wanted)
	}
	return l.Sync()
}

// Sync makes everything written durable, and closes files that are full.
func (l *Log) Sync() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	var errs []error
	for _, f := range l.open() {
		if err := l.settle(f); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// open lists the files that have a handle.
func (l *Log) open() (open []*file) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.files {
		if f.h != nil {
			open = append(open, f)
		}
	}
	return open
}

// settle syncs one file if it has to be, and closes it if it will not be written again. syncing is held.
func (l *Log) settle(f *file) error {
	l.mu.Lock()
	size, dirty, current, bad, cut := f.size, f.synced < f.size || !f.listed, f == l.cur, f.bad, f.cut
	l.mu.Unlock()
	if cut {
		if err := f.h.Truncate(size); err != nil {
			return fmt.Errorf("cut %s: %w", f.name, err)
		}
		dirty = true
		l.mu.Lock()
		f.cut = false
		l.mu.Unlock()
	}
	if bad { // its tail is rewrite's business
		return nil
	}
	if dirty {
		if err := l.syncFile(f); err != nil {
			return err
		}
		l.mu.Lock()
		f.listed = true
		if l.o.Mode == Interval {
			f.tail.trim(int(size - f.synced))
		}
		f.synced = size
		l.mu.Unlock()
	}
	if !current {
		return l.closeFile(f)
	}
	return nil
}

// closeFile lets go of the handle. What was to be durable is: an error of close says nothing about it.
func (l *Log) closeFile(f *file) error {
	l.mu.Lock()
	h := f.h
	f.h, f.tail = nil, tail{}
	l.mu.Unlock()
	if err := h.Close(); err != nil {
		l.o.Log.Warn("close log file", "file", f.name, "err", err)
	}
	return nil
}

// rewrite mends a failed sync: all frames that are not known to be durable go into a new file, which is synced. Until that
// succeeds the log refuses. A bad file is then cut to what is durable: the rest may have
// holes.
func (l *Log) rewrite() error {
	l.takeTurn()
	defer l.passTurn()
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	first, broken := l.next, l.broken
	var bad []*file
	var frames []byte
	for _, f := range l.files {
		if !f.bad || f.h == nil {
			continue
		}
		bad = append(bad, f)
		if f.tail.size > 0 {
			h, _ := parseFrameHeader(f.tail.chunks[0])
			first = min(first, h.sequence)
		}
		frames = f.tail.appendTo(frames)
	}
	l.mu.Unlock()
	if broken == nil {
		return nil
	}
	fresh, err := l.create(first)
	if err != nil {
		return fmt.Errorf("write frames again: %w", err)
	}
	if _, err = fresh.h.Write(frames); err == nil {
		if err = fresh.h.Sync(); err == nil {
			err = l.o.FS.SyncDir(l.o.Dir)
		}
	}
	l.mu.Lock()
	l.syncs++
	l.mu.Unlock()
	if err != nil {
		l.discard(fresh)
		return fmt.Errorf("write frames again into %s: %w", fresh.name, err)
	}
	for _, f := range bad {
		if err := l.shorten(f); err != nil {
			l.o.Log.Warn("log file with a failed sync keeps frames that may be damaged", "file", f.name, "err", err)
		}
	}
	l.mu.Lock()
	fresh.size += int64(len(frames))
	fresh.synced, fresh.listed = fresh.size, true
	for _, f := range bad {
		f.size = f.synced
		fresh.last = max(fresh.last, f.last)
		fresh.newest = max(fresh.newest, f.newest)
	}
	l.written += int64(len(frames))
	l.files = append(l.files, fresh)
	l.cur, l.broken = fresh, nil
	l.mu.Unlock()
	for _, f := range bad {
		_ = l.closeFile(f)
	}
	l.o.Log.Info("log is safe again", "file", fresh.name, "bytes", len(frames), "after", broken)
	return nil
}

// shorten takes from a bad file what is not durable, now that it stands elsewhere; all of it, if nothing is. The file stays in
// the list, where its tickets are counted.
func (l *Log) shorten(f *file) error {
	if f.synced > fileHeaderSize {
		return f.h.Truncate(f.synced)
	}
	if err := l.o.FS.Remove(f.name); err != nil {
		return err
	}
	return l.o.FS.SyncDir(l.o.Dir)
}

// remove deletes a file that is not current. syncing is held.
func (l *Log) remove(f *file) error {
	if f.h != nil {
		_ = l.closeFile(f)
	}
	if err := l.o.FS.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove log file: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = nil // there may be room now
	l.files = slices.DeleteFunc(l.files, func(o *file) bool { return o == f })
	l.damage = slices.DeleteFunc(slices.Clone(l.damage), func(d Damage) bool { return d.File == f.name })
	return nil
}

// Close makes everything durable and releases the files. An error means that spans which were accepted may be lost if the
// power goes.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	broken := l.broken != nil
	l.mu.Unlock()
	var err error
	if broken {
		err = l.rewrite()
	}
	l.takeTurn() // whoever was writing is done; who comes is refused
	defer l.passTurn()
	l.mu.Lock()
	l.cur = nil
	l.mu.Unlock()
	err = errors.Join(err, l.Sync())
	for _, f := range l.open() {
		_ = l.closeFile(f)
	}
	return err
}

func brokenProblem(err error) error {
	return &problem.Problem{Kind: problem.Unavailable, Message: "the log could not be made durable", Err: err, RetryAfter: refusedFor,
		Hint: "look at the disk under --data-dir (kernel log); spans are taken again as soon as a new log file was synced"}
}
