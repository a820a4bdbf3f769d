package compact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/policy"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/wal"
)

// Create writes a segment's file below the manifest's folder, whole or not at all: beside its name, synced, renamed, and the folder
// synced. write gives it rows and answers the encoded rollups of them; at says hour, number and level. What Create answers is ready
// to be entered into the manifest. A temporary file that a crash leaves ends in wal.TempSuffix, and the next Create of the number
// replaces it.
func Create(fsys faultfs.FS, dir string, at manifest.Entry, write func(*segment.Writer) ([]byte, error)) (manifest.Entry, error) {
	name := filepath.Join(dir, at.Name())
	if err := makeHour(fsys, dir, filepath.Dir(name)); err != nil {
		return manifest.Entry{}, err
	}
	temp := name + wal.TempSuffix
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return manifest.Entry{}, err
	}
	err := fill(fsys, temp, write)
	if err == nil {
		err = fsys.Rename(temp, name)
	}
	if err != nil {
		_ = fsys.Remove(temp)
		return manifest.Entry{}, fmt.Errorf("write segment %s: %w", at.Name(), err)
	}
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return manifest.Entry{}, fmt.Errorf("sync folder of segment %s: %w", at.Name(), err)
	}
	in, err := open(fsys, dir, at)
	if err != nil {
		return manifest.Entry{}, fmt.Errorf("segment %s that was just written: %w", at.Name(), err)
	}
	defer in.close()
	return EntryOf(in.r, at)
}

// makeHour makes the folder of an hour durable: a segment that is synced is worth nothing in a folder that isn't.
func makeHour(fsys faultfs.FS, dir, hour string) error {
	if err := fsys.MkdirAll(hour); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("sync folder of segments: %w", err)
	}
	return nil
}

// buffered is how much of a segment is written at once.
const buffered = 1 << 20

func fill(fsys faultfs.FS, name string, write func(*segment.Writer) ([]byte, error)) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	b := &buffer{f: f, p: make([]byte, 0, buffered)}
	w := segment.NewWriter(b)
	rollups, err := write(w)
	if err == nil {
		_, err = w.Finish(rollups)
	}
	if err == nil {
		err = b.flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// buffer is bufio.Writer without its own copy of large writes.
type buffer struct {
	f faultfs.File
	p []byte
}

func (b *buffer) Write(p []byte) (int, error) {
	if len(b.p)+len(p) > cap(b.p) {
		if err := b.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > cap(b.p) {
		return b.f.Write(p)
	}
	b.p = append(b.p, p...)
	return len(p), nil
}

func (b *buffer) flush() error {
	if len(b.p) == 0 {
		return nil
	}
	_, err := b.f.Write(b.p)
	b.p = b.p[:0]
	return err
}

// EntryOf is what a segment's own bytes say of it: what a manifest is rebuilt of. Number, hour and level are at's, for the file
// doesn't know them (a level that is not known is 0: then it may be joined once more).
func EntryOf(r *segment.Reader, at manifest.Entry) (e manifest.Entry, err error) {
	err = segment.Guard(func() error {
		i := r.Info()
		e = manifest.Entry{
			Number: at.Number, Hour: at.Hour, Level: at.Level,
			Rows: int64(i.Rows), Bytes: i.Bytes,
			MinStart: i.MinStart, MaxStart: i.MaxStart, MaxEnd: i.MaxEnd,
			MinReceived: i.MinReceived, MaxReceived: i.MaxReceived,
			First: i.FirstSeq, Last: i.LastSeq, Sum: uint64(i.Sum),
		}
		var last span.TraceID
		for part := range i.Parts { // a trace that fills several blocks has a part in each
			id, err := r.TraceID(part)
			if err != nil {
				return err
			}
			if part == 0 || id != last {
				e.Traces++
			}
			last = id
		}
		return nil
	})
	return e, err
}

// input is a mapped segment.
type input struct {
	r *segment.Reader
	m faultfs.Mapping
}

func (i *input) close() { _ = i.m.Close() }

func open(fsys faultfs.FS, dir string, e manifest.Entry) (*input, error) {
	m, err := fsys.Map(filepath.Join(dir, e.Name()))
	if err != nil {
		return nil, err
	}
	in := &input{m: m}
	err = segment.Guard(func() (err error) {
		in.r, err = segment.Open(m.Bytes())
		return err
	})
	if err == nil && e.Sum != 0 && uint64(in.r.Info().Sum) != e.Sum {
		err = fmt.Errorf("%w: it is another file than the manifest names", segment.ErrDamaged)
	}
	if err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// BadInput says which segment of a job cannot be read. Where Err is a segment.ErrDamaged it is to be set aside, and the others joined
// without it.
type BadInput struct {
	Number uint64
	Err    error
}

func (b *BadInput) Error() string { return fmt.Sprintf("segment %d: %v", b.Number, b.Err) }

func (b *BadInput) Unwrap() error { return b.Err }

// Run does a job of policy.Plan: it joins the segments into the file of a new one, and leaves to the caller what makes that count,
// manifest.Apply with Removals of the inputs. rollups, called when all rows went through Options.Rows, answers the encoded
// rollups; nil for none. A file that is never entered is nobody's: remove it.
func Run(ctx context.Context, fsys faultfs.FS, dir string, j policy.Job, number uint64, o Options, rollups func() []byte) (manifest.Entry, Stats, error) {
	var stats Stats
	readers := make([]*segment.Reader, 0, len(j.Inputs))
	for _, e := range j.Inputs {
		in, err := open(fsys, dir, e)
		if err != nil {
			return manifest.Entry{}, stats, &BadInput{e.Number, err}
		}
		defer in.close()
		readers = append(readers, in.r)
	}
	e, err := Create(fsys, dir, manifest.Entry{Number: number, Hour: j.Hour, Level: j.Level}, func(w *segment.Writer) (p []byte, err error) {
		if stats, err = Merge(ctx, w, readers, o); err == nil && rollups != nil {
			p = rollups()
		}
		return p, err
	})
	var bad *inputError
	if errors.As(err, &bad) {
		err = &BadInput{j.Inputs[bad.input].Number, bad.err}
	}
	return e, stats, err
}

// Removals takes the inputs of a job out.
func Removals(j policy.Job) (list []manifest.Removal) {
	for _, e := range j.Inputs {
		list = append(list, manifest.Removal{Number: e.Number, Reason: manifest.Compacted})
	}
	return list
}
