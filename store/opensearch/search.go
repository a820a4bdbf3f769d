package opensearch

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// Documents that a question for candidates names: more than traces, because a trace may have several that match.
const (
	minCandidates = 200
	maxCandidates = 10_000 // servers answer no more at once
)

// Search asks for candidates: traces by their newest document that the query lets through, newest first. That start is an upper bound of the
// trace's rank, which comes from all its rows. It ends when no candidate left can make the page.
func (e *Engine) Search(ctx context.Context, s store.Scope, q *store.Search) (*store.Page, error) {
	return answer.SearchPage(ctx, e, s, q, e.now(), maxBulks)
}

// Moment is what counts now.
func (e *Engine) Moment() answer.Moment { return e.snapshot().Moment }

// SearchAfter is Search as of a moment, for the traces behind a place in the list; nil: from the beginning. q.Page is not looked at and no
// token is given.
func (e *Engine) SearchAfter(ctx context.Context, s store.Scope, q *store.Search, m answer.Moment, after *answer.Rank) (answer.Part, error) {
	asked, err := answer.Ask(s, q)
	if err != nil {
		return answer.Part{}, err
	}
	window := match.Window{TimeRange: q.Range, Mode: q.Mode}
	sr := searcher{engine: e, window: window, query: q, snapshot: snapshot{m}, after: after, page: answer.NewTop(q.Limit + 1),
		resolver: answer.NewResolver(asked.Must, asked.Want), seen: make(map[span.TraceID]struct{})}
	if sr.plan, err = e.plan(ctx, s, q.Match, window); err != nil {
		return answer.Part{}, err
	}
	part := answer.Part{Page: store.Page{Done: store.Done{Complete: true}}}
	if err := sr.run(ctx); err != nil {
		why := answer.Ended(ctx, err)
		if why == "" {
			return answer.Part{}, explain(ctx, "search", err)
		}
		part.Complete, part.Reason = false, why
	}
	part.Read = sr.cost.Read
	var more *answer.Rank
	part.Traces, more = sr.page.Page(q.Limit)
	part.More = more != nil
	return part, nil
}

// searcher is one search on its way.
type searcher struct {
	engine   *Engine
	plan     *plan
	window   match.Window
	query    *store.Search
	snapshot snapshot
	after    *answer.Rank // only traces behind it are wanted
	page     *answer.Top
	resolver *answer.Resolver
	seen     map[span.TraceID]struct{} // resolved
	cost     cost
}

func (sr *searcher) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	query := all(sr.plan.query, sr.snapshot.query())
	if sr.after != nil {
		// A row that is newer than the last trace of the page before cannot be the one that ranks a trace behind it.
		query = all(query, bounds("at", "lte", sr.after.Start))
	}
	size := min(max(minCandidates, 4*sr.query.Limit), maxCandidates)
	var some []answer.Rank
	for hits, err := range sr.engine.pages(ctx, query, `[{"at":"desc"},"trace","seq","writer","row"]`, nothing, size, maxCandidates, &sr.cost) {
		if err != nil {
			return err
		}
		for _, h := range hits {
			r, err := rankOf(h.Sort)
			if err != nil {
				return err
			}
			if _, ok := sr.seen[r.ID]; ok {
				continue
			}
			sr.seen[r.ID] = struct{}{}
			if some = append(some, r); len(some) == min(tracesAtOnce, sr.query.Limit+1) {
				if more, err := sr.resolve(ctx, some); !more || err != nil {
					return err
				}
				some = some[:0]
			}
		}
		if more, err := sr.resolve(ctx, some); !more || err != nil {
			return err
		}
		some = some[:0]
		if last, err := rankOf(hits[len(hits)-1].Sort); err != nil || !sr.page.Wants(answer.Rank{Start: last.Start}) {
			return err
		}
	}
	return nil
}

// resolve finds out the true ranks of some candidates and puts them on the page; no more if none of them can be on it.
func (sr *searcher) resolve(ctx context.Context, some []answer.Rank) (more bool, err error) {
	if len(some) == 0 {
		return true, nil
	}
	if !sr.page.Wants(answer.Rank{Start: some[0].Start}) {
		return false, nil
	}
	var ids []span.TraceID
	for _, c := range some {
		ids = append(ids, c.ID)
	}
	var trace []answer.Row
	one := func() {
		if len(trace) == 0 {
			return
		}
		id := trace[0].Batch.TraceID[trace[0].Row]
		sr.resolver.Load(trace)
		r, ok := sr.resolver.Rank(id, sr.window, sr.query)
		if ok && (sr.after == nil || sr.after.Compare(r) < 0) && sr.page.Wants(r) {
			sr.page.Add(answer.Found{Rank: r, Summary: sr.resolver.Summary(r)})
		}
		trace = trace[:0]
	}
	defer sr.resolver.Forget()
	for rows, err := range sr.engine.rowsOf(ctx, sr.plan.tenant, ids, sr.snapshot.query(), &sr.cost) {
		if err != nil {
			return false, err
		}
		for _, r := range rows {
			if len(trace) > 0 && trace[0].Batch.TraceID[trace[0].Row] != r.Batch.TraceID[r.Row] {
				one()
			}
			trace = append(trace, r)
		}
	}
	one()
	return true, nil
}

// Rows yields the rows of traces with the receipt of each, whatever the scope's predicate says of them; those of one trace follow each
// other in the order they were received. The batches are the caller's. Need is not looked at: a span is stored as a whole.
func (e *Engine) Rows(ctx context.Context, s store.Scope, ids []span.TraceID, _ store.Need) iter.Seq2[[]answer.Row, error] {
	return e.rowsThat(ctx, s, ids, e.pinned())
}

// RowsAt is Rows as of a moment.
func (e *Engine) RowsAt(ctx context.Context, s store.Scope, ids []span.TraceID, m answer.Moment) iter.Seq2[[]answer.Row, error] {
	return e.rowsThat(ctx, s, ids, snapshot{m}.query())
}

func (e *Engine) rowsThat(ctx context.Context, s store.Scope, ids []span.TraceID, cond string) iter.Seq2[[]answer.Row, error] {
	return func(yield func([]answer.Row, error) bool) {
		if _, err := e.ready(ctx, store.Scope{}); err != nil {
			yield(nil, err)
			return
		}
		for some := range slices.Chunk(ids, tracesAtOnce) {
			for rows, err := range e.rowsOf(ctx, answer.Tenant(s.Tenant), some, cond, new(cost)) {
				if !yield(rows, explain(ctx, "read traces", err)) || err != nil {
					return
				}
			}
		}
	}
}

// rowsOf yields the rows of some traces that meet a condition, trace by trace.
func (e *Engine) rowsOf(ctx context.Context, tenant string, ids []span.TraceID, cond string, c *cost) iter.Seq2[[]answer.Row, error] {
	return func(yield func([]answer.Row, error) bool) {
		var j joiner
		for hits, err := range e.pages(ctx, all(ofTraces(tenant, ids), cond), `["trace","seq","writer","row"]`, whole, e.rows, 4*e.rows, c) {
			var b stored
			if err == nil {
				b, err = j.join(tenant, hits)
			}
			if err != nil {
				yield(nil, fmt.Errorf("read spans: %w", err))
				return
			}
			rows := make([]answer.Row, b.Len())
			for i := range rows {
				rows[i] = answer.Row{Batch: b.Batch, Row: i, Received: b.received[i]}
			}
			if !yield(rows, nil) {
				return
			}
		}
	}
}

// Has tells which of some traces, at most 10,000, have rows here.
func (e *Engine) Has(ctx context.Context, s store.Scope, ids []span.TraceID) (map[span.TraceID]bool, error) {
	if _, err := e.ready(ctx, store.Scope{}); err != nil {
		return nil, err
	}
	has := make(map[span.TraceID]bool)
	var c cost
	f, err := e.search(ctx, fmt.Sprintf(`{"size":0,"track_total_hits":false,"query":%s,"aggs":{"t":{"terms":{"field":"trace","size":10000}}}}`,
		all(ofTraces(answer.Tenant(s.Tenant), ids), e.pinned())), &c)
	if err != nil || f.Shards.Total == 0 {
		return has, explain(ctx, "look for traces", err)
	}
	var a struct {
		T struct{ Buckets []struct{ Key string } }
	}
	if err := json.Unmarshal(f.Aggregations, &a); err != nil {
		return nil, fmt.Errorf("look for traces: %w", err)
	}
	for _, b := range a.T.Buckets {
		id, err := span.ParseTraceID(b.Key)
		if err != nil {
			return nil, fmt.Errorf("look for traces: %q: %w", b.Key, err)
		}
		has[id] = true
	}
	return has, nil
}
