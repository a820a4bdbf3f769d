package jaegerindex

import (
	"context"
	"fmt"
	"iter"

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
func (r *Reader) Search(ctx context.Context, s store.Scope, q *store.Search) (*store.Page, error) {
	return answer.SearchPage(ctx, r, s, q, r.now(), 0)
}

// Moment is of no meaning here: documents do not tell when they were stored.
func (r *Reader) Moment() answer.Moment { return answer.Moment{} }

// SearchAfter is Search for the traces behind a place in the list; nil: from the beginning. q.Page is not looked at and no token is given.
func (r *Reader) SearchAfter(ctx context.Context, s store.Scope, q *store.Search, _ answer.Moment, after *answer.Rank) (answer.Part, error) {
	asked, err := answer.Ask(s, q)
	if err != nil {
		return answer.Part{}, err
	}
	sr := searcher{reader: r, scope: s, query: q, window: match.Window{TimeRange: q.Range, Mode: q.Mode}, after: after,
		page: answer.NewTop(q.Limit + 1), resolver: answer.NewResolver(asked.Must, asked.Want), seen: make(map[span.TraceID]struct{})}
	part := answer.Part{Page: store.Page{Done: store.Done{Complete: true}}}
	err = sr.run(ctx)
	part.Read = sr.cost
	if err != nil {
		why := answer.Ended(ctx, err)
		if why == "" {
			return answer.Part{}, r.explain(ctx, "search", err)
		}
		part.Complete, part.Reason = false, why
	}
	if x := sr.whole; len(x.bad) > 0 && part.Complete {
		part.Complete, part.Reason = false, x.reason()
	}
	var more *answer.Rank
	part.Traces, more = sr.page.Page(q.Limit)
	part.More = more != nil
	return part, nil
}

// searcher is one search on its way.
type searcher struct {
	reader   *Reader
	scope    store.Scope
	plan     plan
	whole    indices // of any time, that the traces are read from
	query    *store.Search
	window   match.Window
	after    *answer.Rank // only traces behind it are wanted
	page     *answer.Top
	resolver *answer.Resolver
	seen     map[span.TraceID]struct{} // resolved
	cost     store.Read
}

func (sr *searcher) run(ctx context.Context) error {
	p, err := sr.reader.plan(ctx, sr.scope, sr.query.Match, sr.window)
	if err != nil {
		return err
	}
	sr.plan = *p
	if err := ctx.Err(); err != nil || p.indices.path == "" {
		return err
	}
	sr.whole = sr.reader.among(p.present, store.TimeRange{}, store.Overlap, false)
	query := p.query
	if sr.after != nil {
		// A row that is newer than that place cannot be the one that ranks a trace behind it.
		query = all(query, anyOf(bounds("startTime", "lte", max(sr.after.Start, 0)/1000), not(exists("startTime"))))
	}
	size, from := min(max(minCandidates, 4*sr.query.Limit), maxCandidates), ""
	var some []answer.Rank
	for {
		// Documents of one trace and start count once, so that this order needs nothing unique behind it.
		f, allowed, err := sr.reader.sized(ctx, p.indices.path+onAll, size, func(size int) string {
			return fmt.Sprintf(`{"size":%d,"track_total_hits":false,"_source":false,"sort":[{"startTime":{"order":"desc","missing":0}},{"traceID":{"order":"asc","missing":"_last"}}],"query":%s%s}`, size, query, from)
		}, &sr.cost)
		if err != nil {
			return err
		}
		size = allowed
		hits := f.Hits.Hits
		if len(hits) == 0 {
			return nil
		}
		for _, h := range hits {
			c, ok := rankOf(h.Sort)
			if _, known := sr.seen[c.ID]; !ok || known {
				continue
			}
			sr.seen[c.ID] = struct{}{}
			if some = append(some, c); len(some) == min(tracesAtOnce, sr.query.Limit+1) {
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
		last := hits[len(hits)-1]
		if c, ok := rankOf(last.Sort); len(hits) < size || ok && !sr.page.Wants(answer.Rank{Start: c.Start}) {
			return nil
		}
		from = `,"search_after":[` + string(last.Sort[0]) + `,` + string(last.Sort[1]) + `]`
		if size < maxCandidates && allowed == size {
			size = min(4*size, maxCandidates)
		}
	}
}

// resolve finds out the true ranks of some candidates and puts them on the page; no more if none of them can be on it.
func (sr *searcher) resolve(ctx context.Context, some []answer.Rank) (more bool, err error) {
	if len(some) == 0 {
		return true, nil
	}
	if !sr.page.Wants(answer.Rank{Start: some[0].Start}) {
		return false, nil
	}
	ids := make([]span.TraceID, len(some))
	for i, c := range some {
		ids[i] = c.ID
	}
	traces := make(map[span.TraceID][]answer.Row)
	for hits, err := range sr.reader.scan(ctx, sr.whole.path, ofTraces(ids), &sr.cost) {
		if err != nil {
			return false, err
		}
		for _, row := range rowsOf(sr.reader.batch(hits)) {
			id := row.Batch.TraceID[row.Row]
			traces[id] = append(traces[id], row)
		}
	}
	defer sr.resolver.Forget()
	for _, id := range ids {
		sr.resolver.Load(traces[id])
		rank, ok := sr.resolver.Rank(id, sr.window, sr.query)
		if ok && (sr.after == nil || sr.after.Compare(rank) < 0) && sr.page.Wants(rank) {
			sr.page.Add(answer.Found{Rank: rank, Summary: sr.resolver.Summary(rank)})
		}
	}
	return true, nil
}

// RowsAt is Rows: there is one moment only.
func (r *Reader) RowsAt(ctx context.Context, s store.Scope, ids []span.TraceID, _ answer.Moment) iter.Seq2[[]answer.Row, error] {
	return r.Rows(ctx, s, ids, store.Everything())
}
