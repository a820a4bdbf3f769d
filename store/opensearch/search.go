package opensearch

import (
	"context"
	"fmt"
	"hash/fnv"

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
	asked, err := answer.Ask(s, q)
	if err != nil {
		return nil, err
	}
	now, hash := e.now(), answer.HashPlan(fnv.New64a(), s, q)
	window := match.Window{TimeRange: q.Range, Mode: q.Mode}
	sr := searcher{engine: e, window: window, query: q, page: answer.NewTop(q.Limit + 1), resolver: answer.NewResolver(asked.Must, asked.Want), seen: make(map[span.TraceID]struct{})}
	if q.Page == "" {
		sr.snapshot = e.snapshot() // before the refresh, which shows all that it counts
	} else {
		t, err := answer.ParseSharedPage(q.Page, hash, now, maxBulks)
		if err != nil {
			return nil, err
		}
		sr.snapshot, sr.after, sr.paged = snapshot{t.Moment}, t.After, true
	}
	if sr.plan, err = e.plan(ctx, s, q.Match, window); err != nil {
		return nil, err
	}
	page := &store.Page{Done: store.Done{Complete: true}}
	if err := sr.run(ctx); err != nil {
		why := answer.Ended(ctx, err)
		if why == "" {
			return nil, explain(ctx, "search", err)
		}
		page.Complete, page.Reason = false, why
	}
	page.Read = sr.cost.Read
	var more *answer.Rank
	if page.Traces, more = sr.page.Page(q.Limit); more != nil && page.Complete {
		page.Next = answer.SharedPage{Plan: hash, Issued: now.UnixNano(), After: *more, Moment: sr.snapshot.Moment}.String()
	}
	return page, nil
}

// searcher is one search on its way.
type searcher struct {
	engine   *Engine
	plan     *plan
	window   match.Window
	query    *store.Search
	snapshot snapshot
	after    answer.Rank
	paged    bool // only traces behind after are wanted
	page     *answer.Top
	resolver *answer.Resolver
	seen     map[span.TraceID]struct{} // resolved
	joiner   joiner
	cost     cost
}

func (sr *searcher) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	query := all(sr.plan.query, sr.snapshot.query())
	if sr.paged {
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
		if ok && (!sr.paged || sr.after.Compare(r) < 0) && sr.page.Wants(r) {
			sr.page.Add(answer.Found{Rank: r, Summary: sr.resolver.Summary(r)})
		}
		trace = trace[:0]
	}
	defer sr.resolver.Forget()
	query := all(ofTraces(sr.plan.tenant, ids), sr.snapshot.query())
	for hits, err := range sr.engine.pages(ctx, query, `["trace","seq","writer","row"]`, whole, sr.engine.rows, 4*sr.engine.rows, &sr.cost) {
		if err != nil {
			return false, err
		}
		b, err := sr.joiner.join(sr.plan.tenant, hits)
		if err != nil {
			return false, fmt.Errorf("read spans: %w", err)
		}
		for row := range b.Len() {
			if len(trace) > 0 && trace[0].Batch.TraceID[trace[0].Row] != b.TraceID[row] {
				one()
			}
			trace = append(trace, answer.Row{Batch: b.Batch, Row: row, Received: b.received[row]})
		}
	}
	one()
	return true, nil
}
