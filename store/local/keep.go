package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/wal"
)

const keptSuffix = ".kept"

// keptTraces are the traces outside of retention. Each has a file of its own, written when it is kept and again when late rows of
// it are about to go. As long as segments have its rows, those answer; rows that no segment has any more are in memory.
type keptTraces struct {
	fs      faultfs.FS
	dir     string
	now     func() time.Time
	damaged []string

	mu     sync.Mutex
	traces map[span.TraceID]keptTrace
	total  atomic.Int64 // bytes of all files
	rows   *memtable    // never written as a segment. Replaced under Engine.mu
	found  []*span.Batch
}

// keptTrace is what its file holds.
type keptTrace struct {
	until int64 // ns; 0: for ever
	rows  int
	bytes int64
}

// keptRow is about what a row of a kept trace takes in memory.
const keptRow = 256

// openKept reads the files of kept traces and removes those whose time has come.
func openKept(fsys faultfs.FS, dir string, now func() time.Time) (*keptTraces, error) {
	k := &keptTraces{fs: fsys, dir: dir, now: now, traces: make(map[span.TraceID]keptTrace), rows: newMemtable(0)}
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
		if err := k.read(name, id); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (k *keptTraces) read(name string, id span.TraceID) error {
	t := keptTrace{}
	var damage []wal.Damage
	var err error
	var batches []*span.Batch
	t.until, t.bytes, damage, err = wal.ReadFile(k.fs, name, func(b *span.Batch) error {
		t.rows += b.Len()
		batches = append(batches, b.Clone())
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range damage {
		k.damaged = append(k.damaged, d.String())
	}
	if k.expired(t.until) {
		return k.fs.Remove(name) // what segments have of it stays while they do
	}
	k.found = append(k.found, batches...)
	k.put(id, t)
	return nil
}

// copyOf tells copies of one row from rows that differ.
type copyOf struct {
	span.Identity
	end uint64
}

// settle ends the start: rows of the files that neither segments nor the log have are put into memory.
func (k *keptTraces) settle(ctx context.Context, e *Engine) error {
	found := k.found
	k.found = nil
	if len(found) == 0 {
		return nil
	}
	snap, err := e.snapshot()
	if err != nil {
		return err
	}
	defer snap.release()
	traces, err := snap.gatherOnce(ctx, slices.Collect(maps.Keys(k.traces)), store.Need{Columns: store.ColIdentity})
	if err != nil {
		return err
	}
	have := make(map[copyOf]bool)
	for _, tr := range traces {
		for _, r := range tr.rows {
			have[copyOf{r.Batch.Identity(r.Row), r.Batch.End[r.Row]}] = true
		}
	}
	for _, b := range found {
		b.Keep(func(row int) bool { return !have[copyOf{b.Identity(row), b.End[row]}] })
		if b.Len() > 0 {
			k.rows.add(b, 0)
		}
	}
	return nil
}

func (k *keptTraces) expired(until int64) bool { return until != 0 && until <= k.now().UnixNano() }

// Keep implements store.Keeper. The trace is in a file of its own when it returns. It is refused as TooLarge when kept traces would
// take more than a quarter of the memory budget: their rows are in memory when segments have gone.
func (e *Engine) Keep(ctx context.Context, s store.Scope, id span.TraceID, until int64) error {
	must, snap, err := e.begin(ctx, s)
	if err != nil {
		return err
	}
	defer snap.release()
	rows, err := allRows(ctx, snap, id)
	if err != nil {
		return err
	}
	seen := 0
	for b := range batchesOf(rows) {
		bound := must.Bind(b)
		for row := range b.Len() {
			if bound.Row(row) {
				seen++
			}
		}
	}
	if seen == 0 {
		return problem.New(problem.NotFound, fmt.Sprintf("trace %s is not here", id), "it may have gone with its time, or not have arrived yet")
	}
	return e.kept.keep(e, id, until, rows)
}

// allRows is a trace's rows in all parts, without duplicates.
func allRows(ctx context.Context, snap *snapshot, id span.TraceID) ([]answer.Row, error) {
	traces, err := snap.gatherOnce(ctx, []span.TraceID{id}, store.Everything())
	if err != nil || len(traces) == 0 {
		return nil, err
	}
	return answer.Distinct(traces[0].rows), nil
}

// batchesOf makes batches of rows, those of equal receipt together.
func batchesOf(rows []answer.Row) func(func(*span.Batch) bool) {
	return func(yield func(*span.Batch) bool) {
		for len(rows) > 0 {
			n := 1
			for n < len(rows) && n < batchRows && rows[n].Batch == rows[0].Batch && rows[n].Received == rows[0].Received {
				n++
			}
			if !yield(copyRows(rows[0].Batch, rows[:n])) {
				return
			}
			rows = rows[n:]
		}
	}
}

func (k *keptTraces) keep(e *Engine, id span.TraceID, until int64, rows []answer.Row) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.expired(until) {
		return k.remove(e, id)
	}
	sum := len(rows)
	for other, t := range k.traces {
		if other != id && !k.expired(t.until) {
			sum += t.rows
		}
	}
	if limit := e.o.MaxMemory / keepShare; int64(sum)*keptRow > limit {
		return problem.New(problem.TooLarge, fmt.Sprintf("kept traces would take %d bytes of at most %d", int64(sum)*keptRow, limit),
			"let go of other kept traces or raise --max-memory")
	}
	t, err := k.write(id, until, rows)
	if err != nil {
		return &problem.Problem{Kind: problem.Unavailable, Message: fmt.Sprintf("trace %s could not be written", id), Err: err,
			Hint: "look at the disk under --data-dir (space, permissions, kernel log)"}
	}
	k.put(id, t)
	e.limitLog()
	return nil
}

func (k *keptTraces) write(id span.TraceID, until int64, rows []answer.Row) (t keptTrace, err error) {
	t.until, t.rows = until, len(rows)
	t.bytes, err = wal.WriteFile(k.fs, k.path(id), until, slices.Collect(batchesOf(rows)))
	return t, err
}

// rescue takes what kept traces have in segments that are about to go: files get rows that came since they were written, memory
// gets the rows. Traces whose time has come are let go of.
func (k *keptTraces) rescue(ctx context.Context, e *Engine, gone []*segmentFile) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, t := range maps.Clone(k.traces) {
		if k.expired(t.until) {
			if err := k.remove(e, id); err != nil {
				return err
			}
		}
	}
	if len(k.traces) == 0 || len(gone) == 0 {
		return nil
	}
	snap, err := e.snapshot()
	if err != nil {
		return err
	}
	defer snap.release()
	for id, t := range maps.Clone(k.traces) {
		lost, err := allRows(ctx, &snapshot{segments: gone}, id)
		if err != nil {
			return err
		}
		if len(lost) == 0 {
			continue
		}
		rows, err := allRows(ctx, snap, id)
		if err != nil {
			return err
		}
		if len(rows) > t.rows {
			if t, err = k.write(id, t.until, rows); err != nil {
				return fmt.Errorf("write kept trace %s again: %w", id, err)
			}
			k.put(id, t)
		}
		for b := range batchesOf(lost) {
			k.rows.add(b, 0)
		}
	}
	return nil
}

// remove lets go of a trace: its file, and what of it is in memory.
func (k *keptTraces) remove(e *Engine, id span.TraceID) error {
	if err := k.fs.Remove(k.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove kept trace: %w", err)
	}
	k.total.Add(-k.traces[id].bytes)
	delete(k.traces, id)
	if _, ok := k.rows.t.FindTrace(id); !ok {
		return nil
	}
	left := newMemtable(0)
	view := &snapshot{mems: []*memView{k.rows.snapshot()}}
	traces, err := view.gatherOnce(context.Background(), slices.Collect(maps.Keys(k.traces)), store.Everything())
	if err != nil {
		return err
	}
	for _, tr := range traces {
		for b := range batchesOf(tr.rows) {
			left.add(b, 0)
		}
	}
	e.mu.Lock()
	k.rows = left
	e.mu.Unlock()
	return nil
}

func (k *keptTraces) path(id span.TraceID) string {
	return filepath.Join(k.dir, id.String()+keptSuffix)
}

func (k *keptTraces) put(id span.TraceID, t keptTrace) {
	k.total.Add(t.bytes - k.traces[id].bytes)
	k.traces[id] = t
}

// bytes is what the files hold.
func (k *keptTraces) bytes() int64 { return k.total.Load() }
