package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/span"
)

const fileSuffix = ".log"

func fileName(number uint64) string { return fmt.Sprintf("%012d%s", number, fileSuffix) }

// fileNumber reads a file's name. Names of another shape belong to somebody else.
func fileNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, fileSuffix)
	if !ok || len(digits) < 12 || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// Open replays all files of a folder and gives a log that begins a new one with the first Append. accept is called for
// every readable frame above After, in the order of files and frames, with a batch that is valid until it returns; its error ends Open.
// Damage is counted and named in Stats, and does not end it.
// Cost: some 0.5 µs a span plus what accept costs, on two cores.
func Open(ctx context.Context, o Options, accept func(b *span.Batch, sequence uint64) error) (*Log, error) {
	if o.FileSize == 0 {
		o.FileSize = defaultFileSize
	}
	if o.FileAge == 0 {
		o.FileAge = defaultFileAge
	}
	l := &Log{o: o, salt: rand.Uint32(), next: o.After + 1, number: 1}
	l.turn.L = &l.mu
	l.maxBytes.Store(o.MaxBytes)
	files, err := list(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	if err := l.replay(ctx, files, accept); err != nil {
		return nil, fmt.Errorf("replay log: %w", err)
	}
	return l, nil
}

// list finds the log's files, in order.
func list(fsys faultfs.FS, dir string) (files []*file, err error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list log files: %w", err)
	}
	for _, e := range entries {
		if n, ok := fileNumber(e.Name()); ok && !e.IsDir() {
			files = append(files, &file{name: filepath.Join(dir, e.Name()), number: n})
		}
	}
	slices.SortFunc(files, func(a, b *file) int { return int(int64(a.number) - int64(b.number)) })
	return files, nil
}

// replay reads files and takes those that hold anything into the log.
func (l *Log) replay(ctx context.Context, files []*file, accept func(*span.Batch, uint64) error) error {
	floors, err := l.floors(files)
	if err != nil {
		return err
	}
	p := startPipe(ctx, accept)
	seen := make(map[uint64]bool) // sequences that a later file may hold again
	for i, f := range files {
		l.number = f.number + 1
		got, err := l.read(f, func(fr Frame) error {
			if seen[fr.Sequence] {
				return nil
			}
			if fr.Sequence >= floors[i] {
				seen[fr.Sequence] = true
			}
			if fr.Received < l.o.Since {
				return nil
			}
			return p.put(fr)
		})
		if err == nil {
			err = l.recovered(f, got, i == len(files)-1)
		}
		if err != nil {
			return errors.Join(p.wait(), err)
		}
	}
	return p.wait()
}

// FirstIn is the lowest sequence that the files of a log may hold, by their headers; math.MaxUint64 if there is none.
func FirstIn(fsys faultfs.FS, dir string) (uint64, error) {
	files, err := list(fsys, dir)
	if err != nil {
		return 0, err
	}
	first := uint64(math.MaxUint64)
	for _, f := range files {
		if head, err := readHead(fsys, f.name); err == nil {
			first = min(first, head.first)
		}
	}
	return first, nil
}

// floors says for each file from which sequence on later files may repeat its frames; they do after a failed sync.
func (l *Log) floors(files []*file) ([]uint64, error) {
	floors := make([]uint64, len(files))
	floor := uint64(math.MaxUint64)
	for i, f := range slices.Backward(files) {
		floors[i] = floor
		head, err := readHead(l.o.FS, f.name)
		if errors.Is(err, ErrNewer) {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if err == nil {
			f.first = head.first
			floor = min(floor, head.first)
			l.next = max(l.next, head.first)
		}
	}
	return floors, nil
}

// readHead reads a file's header only. Its errors but ErrNewer are left to the scan, which names them.
func readHead(fsys faultfs.FS, name string) (fileHeader, error) {
	h, err := fsys.Open(name)
	if err != nil {
		return fileHeader{}, err
	}
	defer h.Close()
	var head [fileHeaderSize]byte
	if _, err := io.ReadFull(h, head[:]); err != nil {
		return fileHeader{}, err
	}
	return parseFileHeader(head[:])
}

func (l *Log) read(f *file, each func(Frame) error) (scanned, error) {
	h, err := l.o.FS.Open(f.name)
	if err != nil {
		return scanned{}, err
	}
	defer h.Close()
	return scanAfter(f.name, h, l.o.After, each)
}

// recovered takes a file into the log after it was read, and cuts off a torn end.
func (l *Log) recovered(f *file, got scanned, newest bool) error {
	if got.rest >= 0 && newest && !got.cut {
		got.damage = got.damage[:len(got.damage)-1]
		got.cut = true
	}
	f.size, f.last, f.newest = got.size, got.last, got.newest
	f.damaged = len(got.damage) > 0
	f.created = time.Unix(0, got.header.at)
	l.next = max(l.next, got.last+1)
	l.damage = append(l.damage, got.damage...)
	for _, d := range got.damage {
		l.o.Log.Error("log is damaged", "file", d.File, "offset", d.Offset, "bytes", d.Bytes, "sequence", d.Sequence, "spans", d.Spans, "reason", d.Reason)
	}
	if got.rest >= 0 && got.cut {
		l.o.Log.Info("log file ends within a frame; the rest was never acknowledged and is cut off", "file", f.name, "offset", got.rest,
			"bytes", got.size-got.rest)
		f.size = got.rest
	}
	if got.frames == 0 && !f.damaged {
		if err := l.o.FS.Remove(f.name); err != nil {
			return fmt.Errorf("remove empty log file: %w", err)
		}
		return nil
	}
	if f.size != got.size {
		if err := cutFile(l.o.FS, f.name, f.size); err != nil {
			return err
		}
	}
	f.synced, f.listed = f.size, true
	l.files = append(l.files, f)
	return nil
}

// cutFile shortens a file for good. It is read as a whole then, also when it is the newest no more.
func cutFile(fsys faultfs.FS, name string, size int64) error {
	h, err := fsys.Edit(name)
	if err != nil {
		return fmt.Errorf("cut torn end: %w", err)
	}
	err = h.Truncate(size)
	if err == nil {
		err = h.Sync()
	}
	if err = errors.Join(err, h.Close()); err != nil {
		return fmt.Errorf("cut torn end: %w", err)
	}
	return nil
}

// pipe decodes in the reader's goroutine and accepts in another one.
type pipe struct {
	free, full chan *decoded
	done       chan error
	stop       context.CancelFunc
	ctx        context.Context
	scratch    []byte
}

type decoded struct {
	batch    span.Batch
	sequence uint64
}

// pipeDepth batches are under way: two would do if all were of one size.
const pipeDepth = 8

func startPipe(ctx context.Context, accept func(*span.Batch, uint64) error) *pipe {
	ctx, stop := context.WithCancel(ctx)
	p := &pipe{free: make(chan *decoded, pipeDepth), full: make(chan *decoded, pipeDepth), done: make(chan error, 1), stop: stop, ctx: ctx}
	for range pipeDepth {
		p.free <- new(decoded)
	}
	go func() {
		defer stop()
		for d := range p.full {
			if err := accept(&d.batch, d.sequence); err != nil {
				p.done <- err
				return
			}
			p.free <- d
		}
		p.done <- nil
	}()
	return p
}

// put decodes a frame and hands it on.
func (p *pipe) put(f Frame) (err error) {
	var d *decoded
	select {
	case d = <-p.free:
	case <-p.ctx.Done():
		return errStop{p.ctx.Err()}
	}
	d.sequence = f.Sequence
	if p.scratch, err = f.Decode(&d.batch, p.scratch); err != nil {
		p.free <- d
		return err
	}
	p.full <- d
	return nil
}

// wait ends the pipe when everything put was accepted, or accept failed.
func (p *pipe) wait() error {
	close(p.full)
	err := <-p.done
	p.stop()
	return err
}
