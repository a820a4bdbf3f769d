package local

import (
	"context"
	"iter"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/match"
)

// batchRows is how many rows Trace and Traces yield at once.
const batchRows = 4096

// Trace yields a trace and its twins. hint is ignored: spans of a trace may have come at any time.
// Cost: a filter of each segment, then the blocks that have its rows.
func (e *answers) Trace(ctx context.Context, s store.Scope, id span.TraceID, _ store.TimeRange) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		must, snap, err := e.begin(ctx, s)
		if err != nil {
			yield(nil, err)
			return
		}
		defer snap.release()
		// Which twins belong to the trace is told by their times, before anything is yielded.
		var open opener
		defer open.close()
		g, err := snap.gatherer(ctx, &open, []span.TraceID{id}, gathering{twins: true, need: store.Need{Columns: store.ColTime}})
		if err != nil {
			yield(nil, err)
			return
		}
		ids := joinTwins(g.list, id)
		there := &snapshot{segments: g.found, mems: snap.mems}
		if countRows(g.list) <= gatheredRows {
			traces, err := there.gather(ctx, &open, ids, store.Everything())
			for _, tr := range traces {
				if !yieldRows(ctx, tr.rows, must, yield) {
					return
				}
			}
			if err != nil {
				yield(nil, err)
			}
			return
		}
		there.stream(ctx, ids, must, yield)
	}
}

// gatheredRows is how many rows of a trace are read at once; a larger one is read part by part.
const gatheredRows = 64 << 10

func countRows(traces []gathered) (n int) {
	for _, tr := range traces {
		n += len(tr.rows)
	}
	return n
}

// stream yields the rows of traces part by part: what it holds is the rows of one part.
func (s *snapshot) stream(ctx context.Context, ids []span.TraceID, must *match.Program, yield func(*span.Batch, error) bool) {
	each := func(part *snapshot) bool {
		traces, err := part.gatherOnce(ctx, ids, store.Everything())
		if err != nil {
			yield(nil, err)
			return false
		}
		for _, tr := range traces {
			if !yieldRows(ctx, tr.rows, must, yield) {
				return false
			}
		}
		return true
	}
	for _, f := range s.segments {
		if !each(&snapshot{segments: []*segmentFile{f}}) {
			return
		}
	}
	for _, m := range s.mems {
		if !each(&snapshot{mems: []*memView{m}}) {
			return
		}
	}
}

// Traces yields several traces.
func (e *answers) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, _ store.TimeRange, need store.Need) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		must, snap, err := e.begin(ctx, s)
		if err != nil {
			yield(nil, err)
			return
		}
		defer snap.release()
		traces, err := snap.gatherOnce(ctx, slices.Compact(sortedIDs(ids)), need.And(must.Need()))
		if err != nil {
			yield(nil, err)
			return
		}
		var rows []answer.Row
		for _, tr := range traces {
			rows = append(rows, tr.rows...)
		}
		_ = yieldRows(ctx, rows, must, yield)
	}
}

func sortedIDs(ids []span.TraceID) []span.TraceID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b span.TraceID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

// begin starts a read: the predicate of the scope, and a snapshot that the caller releases.
func (e *answers) begin(ctx context.Context, s store.Scope) (*match.Program, *snapshot, error) {
	if err := e.readable(s); err != nil {
		return nil, nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	must, err := match.Compile(s.MustMatch)
	if err != nil {
		return nil, nil, err
	}
	snap, err := e.whole()
	return must, snap, err
}

// whole is a snapshot for who cannot say that an answer is not complete: where parts are missing that come back, it answers why.
func (e *answers) whole() (*snapshot, error) {
	snap, err := e.snap()
	if err == nil && snap.away != nil {
		err = snap.away
		snap.release()
		snap = nil
	}
	return snap, err
}

// joinTwins is the ids of the traces that a look-up of id means.
func joinTwins(traces []gathered, id span.TraceID) (ids []span.TraceID) {
	var found []answer.Sighting
	for _, tr := range traces {
		if len(tr.rows) > 0 {
			found = append(found, answer.Sighting{ID: tr.id, Start: firstStart(tr.rows)})
		}
	}
	for _, place := range answer.Family(found, id) {
		ids = append(ids, found[place].ID)
	}
	return ids
}

// firstStart is the earliest start of rows; 0 if there are none.
func firstStart(rows []answer.Row) (first int64) {
	for i, r := range rows {
		if t := r.Batch.Time[r.Row]; i == 0 || t < first {
			first = t
		}
	}
	return first
}

// yieldRows yields rows that a predicate lets pass, and reports whether more are wanted. A batch of which all rows are wanted in their
// order is yielded as it is.
func yieldRows(ctx context.Context, rows []answer.Row, must *match.Program, yield func(*span.Batch, error) bool) bool {
	var bound *match.Bound
	for len(rows) > 0 {
		if err := ctx.Err(); err != nil {
			yield(nil, err)
			return false
		}
		src := rows[0].Batch
		n, inOrder := 0, true
		for n < len(rows) && rows[n].Batch == src {
			inOrder = inOrder && rows[n].Row == n
			n++
		}
		some := rows[:n]
		rows = rows[n:]
		if must.Always() && inOrder && n == src.Len() && n <= batchRows {
			if !yield(src, nil) {
				return false
			}
			continue
		}
		if !must.Always() {
			if bound == nil {
				bound = must.Bind(src)
			} else {
				bound.Rebind(src)
			}
			some = slices.DeleteFunc(slices.Clone(some), func(r answer.Row) bool { return !bound.Row(r.Row) })
		}
		for piece := range slices.Chunk(some, batchRows) {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return false
			}
			if !yield(copyRows(src, piece), nil) {
				return false
			}
		}
	}
	return true
}

func copyRows(src *span.Batch, rows []answer.Row) *span.Batch {
	out := &span.Batch{Tenant: store.DefaultTenant}
	c := span.NewCopier(out)
	c.Begin(src)
	for _, r := range rows {
		c.Row(r.Row)
		out.Received = max(out.Received, r.Received)
	}
	return out
}

// Scan yields the matching rows block by block, newest part first. Read.Of stands in the first step only, so that what the steps
// say can be summed up.
func (e *answers) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	return func(yield func(store.Rows, error) bool) {
		prog, err := match.Compile(s.MustMatch, q.Match)
		if err == nil {
			err = e.readable(s)
		}
		if err != nil {
			yield(store.Rows{}, err)
			return
		}
		snap, err := e.whole()
		if err != nil {
			yield(store.Rows{}, err)
			return
		}
		defer snap.release()
		read := store.Read{Of: snap.blocks()}
		stopped := false
		filler := table.NewFiller(q.Need)
		err = e.scan(ctx, snap, newQuestion(ctx, &e.reads, prog, match.Window{TimeRange: q.Range, Mode: q.Mode}), func(o *opened, rows []uint32) (bool, error) {
			read.Blocks++
			read.Bytes += o.bytes()
			if len(rows) == 0 {
				return true, nil
			}
			if len(rows) == o.unit.rows() {
				rows = nil // all of them: nothing needs to be picked
			}
			b, err := o.fill(filler, q.Need, rows)
			if err != nil {
				return false, err
			}
			step := store.Whole(b)
			step.Read = read
			read = store.Read{}
			stopped = !yield(step, nil)
			return !stopped, nil
		})
		switch {
		case stopped:
		case err != nil:
			yield(store.Rows{}, err)
		case read.Blocks > 0: // what was read behind the last step
			yield(store.Rows{Batch: &span.Batch{}, Read: read}, nil)
		}
	}
}

// scan calls fn with the matching rows of every unit that may have some, until it says stop. Damaged units are passed over and
// reported.
func (e *answers) scan(ctx context.Context, snap *snapshot, q *question, fn func(o *opened, rows []uint32) (more bool, err error)) (err error) {
	stopped := false
	snap.each(func(u *unit) bool {
		if err = ctx.Err(); err != nil {
			return false
		}
		var ok, more bool
		more = true
		if ok, err = q.possible(u); ok && err == nil {
			var open opener
			var o *opened
			if o, err = open.get(u); err == nil {
				var rows []uint32
				if rows, err = q.rows(o); err == nil {
					more, err = fn(o, rows)
				}
			}
			open.close()
		}
		if err != nil && u.seg != nil && !stopped && u.seg.damage(err) {
			err = nil
			return true
		}
		stopped = !more
		return more && err == nil
	})
	return err
}
