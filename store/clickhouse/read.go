package clickhouse

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// settings of every question: blocks of a size that a batch of them is small, and bounds that protect the server.
func (e *Engine) settings() []ch.Setting {
	return []ch.Setting{
		{Key: "max_block_size", Value: strconv.Itoa(e.rows), Important: true},
		{Key: "preferred_block_size_bytes", Value: "16777216"},
	}
}

// cost counts what a question read, as the server reports it while it goes on.
type cost struct {
	rows, of, bytes atomic.Int64
	away            []*shard         // that are left out
	missing         *problem.Problem // what they make of the answer; nil for nothing
}

// reason says what is missing in an answer, empty for nothing.
func (c *cost) reason() string {
	if c.missing == nil {
		return ""
	}
	return c.missing.Message + ": " + c.missing.Hint
}

// end is the last step of an answer that is yielded: an error if it is without some shards.
func (c *cost) end() error {
	if c.missing == nil {
		return nil
	}
	return c.missing
}

func (c *cost) progress(_ context.Context, p proto.Progress) error {
	c.rows.Add(int64(p.Rows))
	c.of.Add(int64(p.TotalRows))
	c.bytes.Add(int64(p.Bytes))
	return nil
}

// read is the cost as callers know it: blocks are granules of the table (index_granularity of the schema), of those are left that the
// primary key and the indexes did not rule out.
func (c *cost) read() store.Read {
	const granule = 1024
	rows := c.rows.Load()
	return store.Read{Blocks: (rows + granule - 1) / granule, Of: (max(c.of.Load(), rows) + granule - 1) / granule, Bytes: c.bytes.Load()}
}

// yieldRows asks for rows and yields them block by block; each batch is the consumer's own. The question runs in a goroutine of its
// own, because the client calls back from one, and ends before the iterator does.
func (e *Engine) yieldRows(ctx context.Context, tenant string, d *decoder, rest string, c *cost) iter.Seq2[rows, error] {
	return func(yield func(rows, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		blocks := make(chan rows, 1)
		failed := make(chan error, 1)
		go func() {
			defer close(blocks)
			failed <- e.ask(ctx, ch.Query{
				Body:   "SELECT " + strings.Join(d.parts, ", ") + " FROM " + e.source() + " " + rest,
				Result: results{d.result},
				OnResult: func(ctx context.Context, b proto.Block) error {
					if b.Rows == 0 {
						return nil
					}
					r, err := d.batch(tenant)
					if err != nil {
						return err
					}
					select {
					case blocks <- r:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				},
			}, c)
		}()
		for r := range blocks {
			if !yield(r, nil) {
				stop()
				for range blocks {
				}
				return
			}
		}
		if err := <-failed; err != nil {
			yield(rows{}, explain(ctx, "read spans", err))
		}
	}
}

// extent is a trace and the starts of its first and its last span.
type extent struct {
	id       span.TraceID
	from, to int64
}

// extents finds when traces were, by the lower halves of their ids: the projection answers it from a few granules a part.
// twins are those of the ids too.
func (e *Engine) extents(ctx context.Context, tenant string, ids []span.TraceID, twins bool, c *cost) ([]extent, error) {
	found, err := e.places(ctx, e.layout.extents(e.source(), tenant, ids, twins), c)
	if err != nil {
		return nil, err
	}
	question := e.layout.again(e.source(), tenant, ids, twins, found)
	if question == "" {
		return found, nil
	}
	more, err := e.places(ctx, question, c)
	for _, x := range more {
		found = slices.DeleteFunc(found, func(old extent) bool { return old.id == x.id })
	}
	return append(found, more...), err
}

// places asks one question about when traces were.
func (e *Engine) places(ctx context.Context, question string, c *cost) ([]extent, error) {
	var list []extent
	var high, low proto.ColUInt64
	from, to := newInstants(), newInstants()
	err := e.ask(ctx, ch.Query{
		Body:   question,
		Result: proto.Results{{Data: &high}, {Data: &low}, {Data: from}, {Data: to}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range high {
				list = append(list, extent{span.TraceIDFromUint64s(high[i], low[i]), int64(from.Data[i]), int64(to.Data[i])})
			}
			return nil
		},
	}, c)
	return list, err
}

// Trace yields a trace and its twins. hint is not needed: the projection finds the minutes of the trace.
func (e *Engine) Trace(ctx context.Context, s store.Scope, id span.TraceID, _ store.TimeRange) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		if err := e.open(); err != nil {
			yield(nil, err)
			return
		}
		prog, err := match.Compile(s.MustMatch)
		if err != nil {
			yield(nil, err)
			return
		}
		var c cost
		found, err := e.extents(ctx, answer.Tenant(s.Tenant), []span.TraceID{id}, true, &c)
		if err != nil {
			yield(nil, explain(ctx, "look up a trace", err))
			return
		}
		for b, err := range e.yieldTraces(ctx, s, family(found, id), store.Everything(), prog, &c) {
			if !yield(b, err) || err != nil {
				return
			}
		}
		if err := c.end(); err != nil {
			yield(nil, err)
		}
	}
}

// Sightings lists the traces whose ids have the lower half of one, with their first starts. What shards that are away have is left out: who reads
// the traces then hears of it.
func (e *Engine) Sightings(ctx context.Context, s store.Scope, id span.TraceID) ([]answer.Sighting, error) {
	if err := e.open(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found, err := e.extents(ctx, answer.Tenant(s.Tenant), []span.TraceID{id}, true, new(cost))
	return sightings(found), explain(ctx, "look up a trace", err)
}

func sightings(found []extent) (list []answer.Sighting) {
	for _, x := range found {
		list = append(list, answer.Sighting{ID: x.id, Start: x.from})
	}
	return list
}

// family is the traces that a look-up of id means.
func family(found []extent, id span.TraceID) (list []extent) {
	for _, place := range answer.Family(sightings(found), id) {
		list = append(list, found[place])
	}
	return list
}

// tracesAtOnce is how many traces one question reads.
const tracesAtOnce = 128

// Traces yields several traces without their twins.
func (e *Engine) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, _ store.TimeRange, need store.Need) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		if err := e.open(); err != nil {
			yield(nil, err)
			return
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
			return
		}
		prog, err := match.Compile(s.MustMatch)
		if err != nil {
			yield(nil, err)
			return
		}
		ids := slices.Clone(ids)
		slices.SortFunc(ids, func(a, b span.TraceID) int { return bytes.Compare(a[:], b[:]) })
		var c cost
		for some := range slices.Chunk(slices.Compact(ids), tracesAtOnce) {
			found, err := e.extents(ctx, answer.Tenant(s.Tenant), some, false, &c)
			if err != nil {
				yield(nil, explain(ctx, "look up traces", err))
				return
			}
			found = slices.DeleteFunc(found, func(x extent) bool { return !slices.Contains(some, x.id) })
			for b, err := range e.yieldTraces(ctx, s, found, need, prog, &c) {
				if !yield(b, err) || err != nil {
					return
				}
			}
		}
		if err := c.end(); err != nil {
			yield(nil, err)
		}
	}
}

// yieldTraces yields all rows of some traces in the order they were received.
func (e *Engine) yieldTraces(ctx context.Context, s store.Scope, list []extent, need store.Need, prog *match.Program, c *cost) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		if len(list) == 0 {
			return
		}
		tenant := answer.Tenant(s.Tenant)
		d := newDecoder(e.layout, need.And(prog.Need()), false)
		rest := "WHERE " + e.layout.tenant(tenant) + " AND " + e.layout.near(list) + " AND " + e.pinned() + " ORDER BY " + e.layout.received()
		var bound *match.Bound
		for r, err := range e.yieldRows(ctx, tenant, d, rest, c) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !prog.Always() {
				if bound == nil {
					bound = prog.Bind(r.Batch)
				} else {
					bound.Rebind(r.Batch)
				}
				r.Keep(bound.Row)
			}
			if r.Len() > 0 && !yield(r.Batch, nil) {
				return
			}
		}
	}
}
