package wal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
)

// lookAgain is how long a look at the volume's free space is trusted, and refusedFor what senders are told to wait.
const (
	lookAgain  = time.Second
	refusedFor = 5 * time.Second
)

// ErrFull is wrapped by the problem of a log that reached MaxBytes; dropping old files helps.
var ErrFull = errors.New("log has reached its limit")

// room refuses before the volume or the log's own limit is full.
func (l *Log) room(n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full, l.wanted = nil, n
	now := l.o.Now()
	if have, most := l.bytes(), l.maxBytes.Load(); most > 0 && have+n > most {
		l.looked = now
		l.full = &problem.Problem{Kind: problem.Unavailable, RetryAfter: refusedFor, Err: ErrFull,
			Message: fmt.Sprintf("the log holds %d bytes of at most %d", have, most),
			Hint:    "raise --max-disk, or lower --retention or --max-memory so that old spans go earlier"}
		return l.full
	}
	if since := now.Sub(l.looked); l.free-n < l.o.Reserve || since >= lookAgain || since < 0 {
		free, _, err := l.o.FS.Space(l.o.Dir)
		if err != nil { // then the write itself will tell
			l.o.Log.Debug("free space of the volume is not known", "err", err)
			free = l.o.Reserve + n
		}
		l.free, l.looked = free, now
	}
	if l.free-n < l.o.Reserve {
		l.full = l.diskFull(fmt.Sprintf("the volume of %s has %d bytes left, %d of them are a reserve", l.o.Dir, l.free, l.o.Reserve), nil)
		return l.full
	}
	l.free -= n
	return nil
}

// writeProblem is what a failed write or create answers.
func (l *Log) writeProblem(err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return &problem.Problem{Kind: problem.Unavailable, Message: "the log could not be written", Err: err, RetryAfter: refusedFor,
			Hint: "look at the disk under --data-dir (kernel log, permissions)"}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looked = l.o.Now()
	l.full = l.diskFull(fmt.Sprintf("the volume of %s is full", l.o.Dir), err)
	return l.full
}

// bare is an error without the path that the system's calls put before it: senders are told of it.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

func (l *Log) diskFull(message string, err error) error {
	return &problem.Problem{Kind: problem.Unavailable, Message: message, Err: err, RetryAfter: refusedFor,
		Hint: cmp.Or(l.o.FullHint, "free space on the volume, or lower --max-disk or --retention; spans are taken again by themselves then")}
}
