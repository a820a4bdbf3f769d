package traceql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// errBudget ends a query whose rows do not fit; the text is the reason of the partial answer.
type errBudget struct{ reason string }

func (e errBudget) Error() string { return e.reason }

// cost counts what a query took and stops it at its bounds.
type cost struct {
	options Options
	spans   int64
	traces  int64
	held    int64 // bytes of results
	read    store.Read
	away    store.Done  // where a part of the store did not answer
	batch   *span.Batch // of the frame before, whose memory the next one takes over
}

func (c *cost) add(r store.Read) {
	c.read.Blocks += r.Blocks
	c.read.Of = max(c.read.Of, r.Of)
	c.read.Bytes += r.Bytes
}

// check reports the bound that was reached.
func (c *cost) check(bytes int64) error {
	switch {
	case c.held+bytes > c.options.MaxBytes:
		return errBudget{fmt.Sprintf("stopped at the memory budget of %d MiB after %d spans of %d traces", c.options.MaxBytes>>20, c.spans, c.traces)}
	case c.spans > c.options.MaxSpans:
		return errBudget{fmt.Sprintf("stopped after %d spans of %d traces", c.spans, c.traces)}
	}
	return nil
}

// partial turns an error into the reason of a partial answer where it is one: a bound of ours. Whether the caller gave up is
// asked of its context afterwards.
func (c *cost) partial(err error) (string, bool) {
	var budget errBudget
	switch {
	case errors.As(err, &budget):
		return budget.reason, true
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("stopped after %s, %d spans and %d traces", c.options.MaxTime.Round(time.Millisecond), c.spans, c.traces), true
	}
	return "", false
}

// without notes that a part of the store is away, and reports whether what was read is an answer: it is none where that is nothing.
func (c *cost) without(ctx context.Context, err error) bool {
	away, ok := query.Away(err)
	if !ok || c.spans == 0 || ctx.Err() != nil {
		return false
	}
	c.away = away
	return true
}

// complete says of an answer what it lacks.
func (c *cost) complete(d store.Done) store.Done {
	if c.away.Away {
		d.Away = true
		if d.Complete {
			d.Complete, d.Reason = false, c.away.Reason
		}
	}
	d.Read = c.read
	return d
}

// gather reads traces into a frame, which is valid until the next call. Cost: one copy of what need names of their rows.
func (e *Engine) gather(ctx context.Context, s store.Scope, ids []span.TraceID, hint store.TimeRange, c *compiler, need store.Need, spent *cost) (*frame, error) {
	b := spent.batch
	if b == nil {
		b = new(span.Batch)
		spent.batch = b
	}
	b.Reset()
	copier := span.NewCopier(b)
	for from, err := range e.reader.Traces(ctx, s, ids, hint, need) {
		if err != nil {
			if spent.without(ctx, err) {
				break
			}
			return nil, fmt.Errorf("read traces: %w", err)
		}
		copier.Begin(from)
		for row := range from.Len() {
			copier.Row(row)
			if row&1023 == 1023 {
				if err := spent.check(int64(b.Size())); err != nil {
					return nil, err
				}
			}
		}
		spent.spans += int64(from.Len())
		if err := spent.check(int64(b.Size())); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return newFrame(b, c.tree), nil
}

// idsOf lists the ids of traces and the range that holds all their spans.
func idsOf(list []store.Summary) ([]span.TraceID, store.TimeRange) {
	ids := make([]span.TraceID, len(list))
	hint := store.TimeRange{From: list[0].Start, To: list[0].End}
	for i, c := range list {
		ids[i] = c.TraceID
		hint.From, hint.To = min(hint.From, c.Start), max(hint.To, c.End)
	}
	hint.To++
	return ids, hint
}

// together is how many of a list of traces are read at once.
func together(list []store.Summary) int {
	n, spans := 0, 0
	for n < len(list) && (n == 0 || spans+list[n].Spans <= spansAtOnce) {
		spans += list[n].Spans
		n++
	}
	return n
}
