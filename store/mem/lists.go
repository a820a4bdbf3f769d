package mem

import (
	"context"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// The lists count stored rows by their start: a duplicate that was received twice counts twice.

// summary is what the services and operations lists need of a chunk. It is made by the first reader of a sealed chunk that
// lies in his window as a whole.
type summary struct{ groups []group }

// group is the rows of a chunk that are equal in these columns.
type group struct {
	service, group, namespace, name span.Str
	kind                            span.Kind
	n                               int64
	last                            int64 // newest start
}

// maxGroups bounds the summary that is remembered: a chunk with a span name per request is summed up anew each time.
const maxGroups = chunkRows / 16

func (e *Engine) summaryOf(ctx context.Context, c *chunk, sc *scanner, done *store.Done) (*summary, error) {
	if sc.whole(c) {
		if s := c.summary.Load(); s != nil {
			return s, nil
		}
	}
	done.Read.Blocks++
	done.Read.Bytes += c.bytes
	rows, err := sc.match(ctx, c)
	if err != nil {
		return nil, err
	}
	s := summarise(c, rows)
	if sc.whole(c) && len(s.groups) <= maxGroups {
		c.summary.Store(s)
	}
	return s, nil
}

func summarise(c *chunk, rows []uint32) *summary {
	type key struct {
		service, group, namespace, name span.Str
		kind                            span.Kind
	}
	s, index, b := new(summary), make(map[key]int), &c.batch
	for _, row := range rows {
		k := key{b.Service[row], b.Group[row], b.Namespace[row], b.Name[row], b.Kind[row]}
		i, ok := index[k]
		if !ok {
			i = len(s.groups)
			index[k] = i
			s.groups = append(s.groups, group{k.service, k.group, k.namespace, k.name, k.kind, 0, b.Time[row]})
		}
		s.groups[i].n++
		s.groups[i].last = max(s.groups[i].last, b.Time[row])
	}
	return s
}

// groups calls fn with every group of equal rows in the window.
func (e *Engine) groups(ctx context.Context, s store.Scope, r store.TimeRange, fn func(b *span.Batch, g group)) (store.Done, error) {
	sc, err := e.newScanner(s, nil, match.Window{TimeRange: r, Mode: store.Start})
	if err != nil {
		return store.Done{}, err
	}
	done := store.Done{Complete: true, Read: store.Read{Of: int64(len(sc.chunks))}}
	for _, c := range sc.chunks {
		if err := ctx.Err(); err != nil {
			done.Complete, done.Reason = false, answer.Cancelled(err)
			break
		}
		if !sc.mayHave(c) {
			continue
		}
		sum, err := e.summaryOf(ctx, c, sc, &done)
		if err != nil {
			done.Complete, done.Reason = false, answer.Cancelled(err)
			break
		}
		for _, g := range sum.groups {
			fn(&c.batch, g)
		}
	}
	return done, nil
}

// Services lists services by name; group and namespace are those of the service's newest span.
func (e *Engine) Services(ctx context.Context, s store.Scope, r store.TimeRange) ([]store.Service, store.Done, error) {
	all := make(answer.ServiceCounts)
	done, err := e.groups(ctx, s, r, func(b *span.Batch, g group) {
		all.Add(b.Bytes(g.service), b.Bytes(g.group), b.Bytes(g.namespace), g.last, g.n)
	})
	return all.List(), done, err
}

// Operations lists a service's operations.
func (e *Engine) Operations(ctx context.Context, s store.Scope, service string, r store.TimeRange) ([]store.Operation, store.Done, error) {
	counts := make(map[store.Operation]int64)
	done, err := e.groups(ctx, s, r, func(b *span.Batch, g group) {
		if string(b.Bytes(g.service)) == service {
			counts[store.Operation{Name: b.String(g.name), Kind: g.kind}] += g.n
		}
	})
	return answer.Operations(counts), done, err
}

// Keys counts where keys stand: once per span that has it, resources and scopes once per span of theirs, events and links each.
func (e *Engine) Keys(ctx context.Context, s store.Scope, q store.KeysQuery) ([]store.Key, store.Done, error) {
	total, done, err := e.CountKeys(ctx, s, q)
	return total.List(q.Limit), done, err
}

// CountKeys is Keys before the list is made: all keys with the counts of their types.
func (e *Engine) CountKeys(ctx context.Context, s store.Scope, q store.KeysQuery) (answer.KeyCounts, store.Done, error) {
	var expr store.Expr
	if q.Service != "" {
		expr = store.ServiceIs(q.Service)
	}
	sc, err := e.newScanner(s, expr, match.Window{TimeRange: q.Range, Mode: store.Start})
	if err != nil {
		return nil, store.Done{}, err
	}
	total := make(answer.KeyCounts)
	done := sc.each(ctx, func(c *chunk, rows []uint32) string {
		answer.CountKeys(&c.batch, rows, q, total)
		if len(total) > answer.MaxDistinct {
			return answer.TooMany
		}
		return ""
	})
	return total, done, nil
}

// Values counts the values of a field in text form; of arrays each element. Bytes, mixed arrays and lists have no text form.
func (e *Engine) Values(ctx context.Context, s store.Scope, q store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	get, err := match.NewGetter(q.Field)
	if err != nil {
		return nil, store.Done{}, err
	}
	sc, err := e.newScanner(s, q.Match, match.Window{TimeRange: q.Range, Mode: store.Start})
	if err != nil {
		return nil, store.Done{}, err
	}
	v := answer.NewValueCounter(get, q.Prefix)
	done := sc.each(ctx, func(c *chunk, rows []uint32) string {
		v.Count(&c.batch, rows)
		if v.Len() > answer.MaxDistinct {
			return answer.TooMany
		}
		return ""
	})
	return v.List(q.Limit), done, nil
}
