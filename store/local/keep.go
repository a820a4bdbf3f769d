package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/wal"
	"github.com/spanloom/spanloom/store/mem"
)

const keptSuffix = ".kept"

// keptTraces are the traces outside of retention: memory doesn't evict them, and each has a file of its own.
type keptTraces struct {
	fs      faultfs.FS
	dir     string
	mem     *mem.Engine
	now     func() time.Time
	damaged []string

	mu     sync.Mutex
	traces map[span.TraceID]keptTrace
	total  atomic.Int64 // bytes of all files
	// known are the rows that the files gave, so that replay doesn't add them again. nil after the start.
	known map[copyOf]bool
}

// keptTrace is what its file holds.
type keptTrace struct {
	until int64 // ns; 0: for ever
	rows  int
	bytes int64
}

// copyOf tells copies of one row from rows that differ.
type copyOf struct {
	span.Identity
	end uint64
}

// openKept reads the files of kept traces into memory, and removes those whose time has come.
func openKept(ctx context.Context, fsys faultfs.FS, dir string, in *mem.Engine, now func() time.Time) (*keptTraces, error) {
	k := &keptTraces{fs: fsys, dir: dir, mem: in, now: now, traces: make(map[span.TraceID]keptTrace), known: make(map[copyOf]bool)}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if strings.HasSuffix(e.Name(), keptSuffix+wal.TempSuffix) {
			if err := fsys.Remove(name); err != nil {
				return nil, err
			}
			continue
		}
		hex, ok := strings.CutSuffix(e.Name(), keptSuffix)
		id, err := span.ParseTraceID(hex)
		if !ok || err != nil || id.String() != hex {
			continue
		}
		if err := k.read(ctx, name, id); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (k *keptTraces) read(ctx context.Context, name string, id span.TraceID) error {
	t := keptTrace{}
	var damage []wal.Damage
	var err error
	t.until, t.bytes, damage, err = wal.ReadFile(k.fs, name, func(b *span.Batch) error {
		t.rows += b.Len()
		for row := range b.Len() {
			k.known[copyOf{b.Identity(row), b.End[row]}] = true
		}
		return k.mem.Accept(ctx, b)
	})
	if err != nil {
		return err
	}
	for _, d := range damage {
		k.damaged = append(k.damaged, d.String())
	}
	if k.expired(t.until) {
		return k.fs.Remove(name) // its rows stay in memory for a while, like those of any trace
	}
	// Where the file lost all its rows the log may still have them, so an unknown trace is no error before settle.
	if err := k.mem.Keep(ctx, defaultScope(), id, t.until); err != nil && problem.Of(err).Kind != problem.NotFound {
		k.damaged = append(k.damaged, fmt.Sprintf("%s: %v", name, err))
	}
	k.put(id, t)
	return nil
}

// settle ends the start, when the log was replayed: traces of which the files gave no row are kept if the log did.
func (k *keptTraces) settle(ctx context.Context) {
	k.known = nil
	for id, t := range k.traces {
		if t.rows == 0 && k.mem.Keep(ctx, defaultScope(), id, t.until) != nil {
			k.forget(id)
		}
	}
}

func defaultScope() store.Scope { return store.Scope{Tenant: store.DefaultTenant} }

func (k *keptTraces) expired(until int64) bool { return until != 0 && until <= k.now().UnixNano() }

// dropKnown takes rows out of a replayed batch that a kept trace's file gave already.
func (k *keptTraces) dropKnown(b *span.Batch) {
	if len(k.traces) == 0 {
		return
	}
	for _, id := range b.TraceID {
		if _, ok := k.traces[id]; ok {
			b.Keep(func(row int) bool { return !k.known[copyOf{b.Identity(row), b.End[row]}] })
			return
		}
	}
}

// Keep implements store.Keeper. The trace is in a file of its own when it returns, and stays in memory.
func (e *Engine) Keep(ctx context.Context, s store.Scope, id span.TraceID, until int64) error {
	if err := e.kept.keep(ctx, s, id, until); err != nil {
		return err
	}
	e.limitLog()
	return nil
}

func (k *keptTraces) keep(ctx context.Context, s store.Scope, id span.TraceID, until int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.mem.Keep(ctx, s, id, until); err != nil {
		return err
	}
	if k.expired(until) {
		return k.remove(id)
	}
	t, err := k.write(id, until)
	if err != nil {
		was := keptTrace{until: 1} // long ago: not kept
		if old, ok := k.traces[id]; ok {
			was = old
		}
		_ = k.mem.Keep(ctx, s, id, was.until)
		return &problem.Problem{Kind: problem.Unavailable, Message: fmt.Sprintf("trace %s could not be written", id), Err: err,
			Hint: "look at the disk under --data-dir (space, permissions, kernel log)"}
	}
	k.put(id, t)
	return nil
}

// write puts a trace's rows, as memory has them, into its file.
func (k *keptTraces) write(id span.TraceID, until int64) (t keptTrace, err error) {
	t.until = until
	batches, rows, err := k.rows(id)
	if err != nil {
		return t, err
	}
	t.rows = rows
	t.bytes, err = wal.WriteFile(k.fs, k.path(id), until, batches)
	return t, err
}

// rows are a trace's batches in memory, those of its twins left out.
func (k *keptTraces) rows(id span.TraceID) (batches []*span.Batch, n int, err error) {
	for b, err := range k.mem.Trace(context.Background(), defaultScope(), id, store.TimeRange{}) {
		if err != nil {
			return nil, 0, err
		}
		own := b.Clone()
		own.Keep(func(row int) bool { return own.TraceID[row] == id })
		if own.Len() > 0 {
			batches = append(batches, own)
			n += own.Len()
		}
	}
	return batches, n, nil
}

// refresh writes traces again to which rows were added, and removes those whose time has come.
func (k *keptTraces) refresh() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, t := range k.traces {
		if k.expired(t.until) {
			if err := k.remove(id); err != nil {
				return err
			}
			continue
		}
		_, n, err := k.rows(id)
		if err != nil {
			return err
		}
		if n <= t.rows { // fewer: memory has let go of it; the file is what is left
			continue
		}
		if t, err = k.write(id, t.until); err != nil {
			return fmt.Errorf("write kept trace %s again: %w", id, err)
		}
		k.put(id, t)
	}
	return nil
}

func (k *keptTraces) remove(id span.TraceID) error {
	if err := k.fs.Remove(k.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove kept trace: %w", err)
	}
	k.forget(id)
	return nil
}

func (k *keptTraces) path(id span.TraceID) string {
	return filepath.Join(k.dir, id.String()+keptSuffix)
}

func (k *keptTraces) put(id span.TraceID, t keptTrace) {
	k.total.Add(t.bytes - k.traces[id].bytes)
	k.traces[id] = t
}

func (k *keptTraces) forget(id span.TraceID) {
	k.total.Add(-k.traces[id].bytes)
	delete(k.traces, id)
}

// bytes is what the files hold.
func (k *keptTraces) bytes() int64 { return k.total.Load() }
