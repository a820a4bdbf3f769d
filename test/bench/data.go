package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local"
)

// stored is a data folder that figures ask questions of: the traffic of `spanloom load` in the order in which a mesh sends it,
// given to the engine without a network between. It is made once a run.
type stored struct {
	dir      string
	data     *load.Data
	traces   uint64
	spans    int64
	bits     float64       // information in the spans: the floor of their size
	accept   time.Duration // CPU time of storing: all of filling and closing, less that of making the spans
	last     int64         // receipt of the newest batch, ns
	bytes    int64         // of the folder's files after closing
	tookWall time.Duration

	engine *local.Engine // nil while closed
	cold   bool          // it was opened over files that were not in the page cache
}

// queryMemory is the engine's budget while questions are asked: an engine that holds spans in memory is to hold them all.
const queryMemory = 8 << 30

// perRequest spans stand in a batch, as a collector sends them.
const perRequest = 512

// stored fills a folder on first use.
func (e *bench) stored(ctx context.Context) (*stored, error) {
	if e.data == nil {
		s, err := fill(ctx, filepath.Join(e.temp, "stored"), e.spans, io.Discard)
		if err != nil {
			return nil, fmt.Errorf("fill a data folder: %w", err)
		}
		e.data = s
	}
	return e.data, nil
}

// open gives the engine over the stored spans, with every file in the page cache.
func (e *bench) open(ctx context.Context) (*stored, error) {
	s, err := e.stored(ctx)
	if err != nil || s.engine != nil && !s.cold {
		return s, err
	}
	if err := s.close(); err != nil {
		return nil, err
	}
	return s.open(ctx, readAll)
}

// segments is how many there are of about two million spans where no two were received in one hour: compaction joins none.
const segments = 4000

// openHours gives the engine over such segments.
func (e *bench) openHours(ctx context.Context) (*stored, error) {
	if e.hours == nil {
		s, err := fillHours(ctx, filepath.Join(e.temp, "hours"), min(e.spans, segments*perRequest))
		if err != nil {
			return nil, fmt.Errorf("fill a data folder by the hour: %w", err)
		}
		e.hours = s
	}
	if e.hours.engine != nil {
		return e.hours, nil
	}
	return e.hours.open(ctx, readAll)
}

// openCold gives the engine over the stored spans, with none of their files in the page cache.
func (e *bench) openCold(ctx context.Context) (*stored, error) {
	s, err := e.stored(ctx)
	if err != nil {
		return s, err
	}
	if err := s.close(); err != nil {
		return nil, err
	}
	s.cold = true
	return s.open(ctx, dropAll)
}

// open opens the engine after prepare was called with its folder.
func (s *stored) open(ctx context.Context, prepare func(dir string) error) (*stored, error) {
	if err := prepare(s.dir); err != nil {
		return nil, err
	}
	engine, err := openEngine(ctx, s.dir, &s.last)
	if err != nil {
		return nil, err
	}
	s.engine = engine
	if n := engine.Stats().Spans; n != s.spans {
		return nil, errors.Join(fmt.Errorf("the engine holds %d of %d spans", n, s.spans), s.close())
	}
	return s, nil
}

func (s *stored) close() error {
	if s == nil || s.engine == nil {
		return nil
	}
	err := s.engine.Close()
	s.engine, s.cold = nil, false
	return err
}

func openEngine(ctx context.Context, dir string, now *int64) (*local.Engine, error) {
	return local.Open(ctx, local.Options{Dir: dir, MaxMemory: queryMemory, Sync: time.Second, LockWait: -1,
		Now: func() time.Time { return time.Unix(0, atomic.LoadInt64(now)) }})
}

// fill stores about n spans in a new folder, as if they came in until now at the usual density. Its clock is that of the spans, so
// that the engine files them over as many hours as a mesh would need.
func fill(ctx context.Context, dir string, n int64, progress io.Writer) (*stored, error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty: give a new folder", dir)
	}
	began, cpu := time.Now(), cpuTime()
	lasting := time.Duration(n) * time.Second / (20 * load.DefaultTracesPerSecond)
	s := &stored{dir: dir, data: load.New(1, began.Add(-lasting-time.Minute), 0, load.FormOTLP)}
	s.last = s.data.Base
	engine, err := openEngine(ctx, dir, &s.last)
	if err != nil {
		return nil, err
	}
	shown := began
	making, err := s.generate(n, func(b *span.Batch) error {
		if now := time.Now(); now.Sub(shown) >= 10*time.Second {
			shown = now
			fmt.Fprintf(progress, "%d of %d spans\n", s.spans, n)
		}
		return accept(ctx, engine, b)
	})
	if err == nil {
		err = engine.Flush(ctx) // all of it in segments, joined as far as their age asks for it
	}
	if err = errors.Join(err, engine.Close()); err != nil {
		return nil, err
	}
	s.accept, s.tookWall = cpuTime()-cpu-making, time.Since(began)
	s.bytes, err = bytesOnDisk(dir)
	return s, err
}

// fillHours stores about n spans, whole traces, so that every 500 or so become a segment of their own hour.
func fillHours(ctx context.Context, dir string, n int64) (*stored, error) {
	s := &stored{dir: dir, data: load.New(2, time.Now().Add(-(segments+2)*time.Hour), 0, load.FormOTLP)}
	s.last = s.data.Base
	engine, err := openEngine(ctx, dir, &s.last)
	if err != nil {
		return nil, err
	}
	batch := &span.Batch{Tenant: store.DefaultTenant}
	rows := s.data.Rows(batch)
	var trace load.Trace
	for err == nil && s.spans < n {
		s.data.Trace(s.traces, &trace)
		rows.All(&trace)
		s.traces++
		if batch.Len() < perRequest {
			continue
		}
		batch.Received = atomic.AddInt64(&s.last, int64(time.Hour))
		s.spans += int64(batch.Len())
		err = errors.Join(accept(ctx, engine, batch), engine.Flush(ctx))
		batch.Reset()
		rows.Reset(batch)
	}
	return s, errors.Join(err, engine.Close())
}

// accept waits where the engine asks for it, as a sender does.
func accept(ctx context.Context, engine store.Writer, b *span.Batch) error {
	for {
		err := engine.Accept(ctx, b)
		wait, retry := retryAfter(err)
		if !retry {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// generate hands on batches and answers the CPU time that making them took, estimated on the first ones: storing goes on in the
// background meanwhile, so it cannot be measured beside it.
func (s *stored) generate(n int64, each func(*span.Batch) error) (making time.Duration, err error) {
	encode := func(dst []byte, b *span.Batch) []byte { return b.AppendBinary(dst) }
	before := cpuTime()
	sample := s.data.Stream(perRequest, min(n, 100_000), encode)
	var batch span.Batch
	for {
		q, ok := sample.Next()
		if !ok {
			break
		}
		if err := batch.DecodeBinary(q.Body); err != nil {
			return 0, err
		}
		sample.Release(q)
	}
	sampling := cpuTime() - before
	stream := s.data.Stream(perRequest, n, encode)
	for {
		q, ok := stream.Next()
		if !ok {
			break
		}
		if err := batch.DecodeBinary(q.Body); err != nil {
			return 0, err
		}
		stream.Release(q)
		at := atomic.LoadInt64(&s.last)
		for row := range batch.Len() {
			at = max(at, batch.EndTime(row))
		}
		atomic.StoreInt64(&s.last, at)
		batch.Tenant, batch.Received, batch.Protocol = store.DefaultTenant, at, span.ProtocolOTLPGRPC
		if err := each(&batch); err != nil {
			return 0, err
		}
		s.spans += int64(batch.Len())
	}
	s.traces, s.bits = stream.Traces, stream.Bits
	perSpan := float64(sampling) / float64(max(sample.Spans, 1))
	return sampling + time.Duration(perSpan*float64(s.spans)), nil
}

// floor is the entropy floor in bytes a span.
func (s *stored) floor() float64 { return s.bits / 8 / float64(s.spans) }

// readAll brings a folder's files into the page cache.
func readAll(dir string) error {
	return eachFile(dir, func(f *os.File) error {
		_, err := io.Copy(io.Discard, f)
		return err
	})
}

func eachFile(dir string, do func(*os.File) error) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(do(f), f.Close())
	})
}

// fillCommand is `bench -fill DIR -spans N`: a folder for start-up tests and for looking at.
func fillCommand(ctx context.Context, dir string, n int64, stdout io.Writer) error {
	s, err := fill(ctx, dir, n, stdout)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%d spans of %d traces in %s, %.0f spans/s, %.2f µs CPU/span for storing\n%d bytes in %s, %.1f a span, %.2f x the entropy floor of %.1f\n",
		s.spans, s.traces, s.tookWall.Round(time.Millisecond), float64(s.spans)/s.tookWall.Seconds(), s.accept.Seconds()*1e6/float64(s.spans),
		s.bytes, s.dir, float64(s.bytes)/float64(s.spans), float64(s.bytes)/float64(s.spans)/s.floor(), s.floor())
	return err
}
