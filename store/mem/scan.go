package mem

import (
	"context"
	"iter"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// Scan yields the matching rows chunk by chunk, newest chunk first. Batches are views of the chunks: nothing is copied.
// Read.Of stands in the first step only, so that what the steps say can be summed up.
func (e *Engine) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	return func(yield func(store.Rows, error) bool) {
		sc, err := e.newScanner(s, q.Match, match.Window{TimeRange: q.Range, Mode: q.Mode})
		if err != nil {
			yield(store.Rows{}, err)
			return
		}
		var read store.Read
		var last *span.Batch
		read.Of = int64(len(sc.chunks))
		for _, c := range sc.chunks {
			if err := ctx.Err(); err != nil {
				yield(store.Rows{}, err)
				return
			}
			if !sc.mayHave(c) {
				continue
			}
			read.Blocks++
			read.Bytes += c.bytes
			last = &c.batch
			rows, err := sc.match(ctx, c)
			if err != nil {
				yield(store.Rows{}, err)
				return
			}
			if len(rows) == 0 {
				continue
			}
			if !yield(store.Rows{Batch: last, Rows: rows, Read: read}, nil) {
				return
			}
			read = store.Read{}
		}
		if read != (store.Read{}) && last != nil {
			yield(store.Rows{Batch: last, Read: read}, nil)
		}
	}
}

// scanner finds matching rows in the chunks of a snapshot.
type scanner struct {
	chunks []*chunk
	window match.Window
	prog   *match.Program
	bound  *match.Bound
	rows   []uint32
}

func (e *Engine) newScanner(s store.Scope, expr store.Expr, w match.Window) (*scanner, error) {
	if err := checkTenant(s.Tenant); err != nil {
		return nil, err
	}
	prog, err := match.Compile(s.MustMatch, expr)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, answer.Closed()
	}
	all := e.snapshot()
	return &scanner{chunks: all.chunks(), window: w, prog: prog}, nil
}

// mayHave reports whether a chunk may have an answer, by what is known of it without its rows.
func (sc *scanner) mayHave(c *chunk) bool {
	return sc.window.Block(c.minStart, c.maxStart, c.maxEnd) && sc.prog.Possible(match.Known{Text: c.texts.has})
}

// match lists the living rows of a chunk that meet window and program; valid until the next call.
func (sc *scanner) match(ctx context.Context, c *chunk) ([]uint32, error) {
	if sc.bound == nil {
		sc.bound = sc.prog.Bind(&c.batch)
	} else {
		sc.bound.Rebind(&c.batch)
	}
	dead := c.dead.bits.Load()
	sc.rows = slices.Grow(sc.rows[:0], c.batch.Len())
	for row := range c.batch.Len() {
		if !dead.has(row) && sc.window.Row(&c.batch, row) {
			sc.rows = append(sc.rows, uint32(row))
		}
	}
	return filterRows(ctx, sc.bound, sc.rows)
}

// slowRows is how many rows are compared with an expression between two looks at the context.
const slowRows = 16

// filterRows keeps the rows on which a program holds, in place. Its error is the context's.
func filterRows(ctx context.Context, bound *match.Bound, rows []uint32) ([]uint32, error) {
	if !bound.Slow() {
		return bound.Filter(rows), nil
	}
	kept := rows[:0]
	for piece := range slices.Chunk(rows, slowRows) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		kept = append(kept, bound.Filter(piece)...)
	}
	return kept, nil
}

// whole reports whether every row of a chunk is an answer, so that what is known of the chunk can be used.
func (sc *scanner) whole(c *chunk) bool {
	return sc.prog.Always() && sc.window.Mode == store.Start && sc.window.Covers(c.minStart, c.maxStart) && c.dead.bits.Load() == nil
}

// each calls fn with the matching rows of every chunk that has any and says how far it came. It ends early when fn
// answers with a reason.
func (sc *scanner) each(ctx context.Context, fn func(c *chunk, rows []uint32) (stop string)) store.Done {
	done := store.Done{Complete: true, Read: store.Read{Of: int64(len(sc.chunks))}}
	for _, c := range sc.chunks {
		if err := ctx.Err(); err != nil {
			done.Complete, done.Reason = false, answer.Cancelled(err)
			return done
		}
		if !sc.mayHave(c) {
			continue
		}
		done.Read.Blocks++
		done.Read.Bytes += c.bytes
		rows, err := sc.match(ctx, c)
		if err != nil {
			done.Complete, done.Reason = false, answer.Cancelled(err)
			return done
		}
		if len(rows) > 0 {
			if stop := fn(c, rows); stop != "" {
				done.Complete, done.Reason = false, stop
				return done
			}
		}
	}
	return done
}
