package clickhouse

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// Candidates a question names: a bit more than a page at first, so that most searches need one; then more, for searches whose
// SQL lets through much that the rows refuse.
const (
	minCandidates = 64
	maxCandidates = 8192
)

// Search answers a page, and a token that any process on the same servers can answer.
func (e *Engine) Search(ctx context.Context, s store.Scope, q *store.Search) (*store.Page, error) {
	return answer.SearchPage(ctx, e, s, q, e.now(), maxConnections)
}

// SearchAfter asks for candidates: traces by their newest row that SQL lets through, newest first. That start is an upper bound of the
// trace's rank, which comes from all its rows. It ends when no candidate left can make the page.
func (e *Engine) SearchAfter(ctx context.Context, s store.Scope, q *store.Search, m answer.Moment, after *answer.Rank) (part answer.Part, err error) {
	asked, err := answer.Ask(s, q)
	if err != nil {
		return part, err
	}
	p, err := e.plan(s, q.Match, match.Window{TimeRange: q.Range, Mode: q.Mode})
	if err != nil {
		return part, err
	}
	sr := searcher{engine: e, plan: p, query: q, snapshot: snapshot{m}, after: after, page: answer.NewTop(q.Limit + 1),
		resolver: answer.NewResolver(asked.Must, asked.Want), need: answer.SummaryNeed.And(asked.Both.Need()), seen: make(map[span.TraceID]struct{})}
	if part.Done, err = done(ctx, "search", &sr.cost, sr.run(ctx)); err != nil {
		return part, err
	}
	var more *answer.Rank
	part.Traces, more = sr.page.Page(q.Limit)
	part.More = more != nil
	return part, nil
}

// searcher is one search on its way.
type searcher struct {
	engine   *Engine
	plan     *plan
	query    *store.Search
	snapshot snapshot
	after    *answer.Rank // only traces behind it are wanted; nil: all
	page     *answer.Top
	resolver *answer.Resolver
	need     store.Need
	seen     map[span.TraceID]struct{} // resolved
	cost     cost
}

func (sr *searcher) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var last *answer.Rank
	for n := max(minCandidates, min(sr.query.Limit+sr.query.Limit/4+1, maxCandidates)); ; n = min(4*n, maxCandidates) {
		found, err := sr.candidates(ctx, last, n)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(found, sr.engine.layout.resolved(sr.query.Limit)) {
			if !sr.page.Wants(answer.Rank{Start: some[0].Start}) {
				return nil
			}
			if err := sr.resolve(ctx, some); err != nil {
				return err
			}
		}
		if len(found) < n {
			return nil
		}
		last = &found[len(found)-1]
		if !sr.page.Wants(answer.Rank{Start: last.Start}) {
			return nil
		}
	}
}

// candidates are the next n traces behind last, by the newest row that may match. A row that is newer than the last trace of the page
// before cannot be the one that ranks a trace behind it.
func (sr *searcher) candidates(ctx context.Context, last *answer.Rank, n int) ([]answer.Rank, error) {
	sql := sr.plan.sql + " AND " + sr.snapshot.sql(sr.engine.layout)
	var bound int64
	limited := sr.after != nil
	if limited {
		bound = sr.after.Start
	}
	if last != nil && (!limited || last.Start < bound) {
		bound, limited = last.Start, true
	}
	if limited {
		sql += " AND " + sr.engine.layout.until(bound)
	}
	if last != nil {
		sql += fmt.Sprintf(" AND (%s < %d OR %s)", startNanos, last.Start, sr.engine.layout.behind(last.ID))
	}
	if least := sr.query.TraceDuration.Min; least > 0 {
		// All copies of spans together are at least as long as those that count.
		trace, in := sr.engine.layout.trace(), "IN"
		if sr.engine.sharded() {
			in = "GLOBAL IN" // a trace may have spans on several shards: the server that is asked puts them together
		}
		sql += fmt.Sprintf(" AND (%s) %s (SELECT %s FROM %s WHERE %s GROUP BY %s HAVING max(toFloat64(%s) + toFloat64(Duration)) - min(toFloat64(%s)) >= %s)",
			trace, in, trace, sr.engine.source(), sr.engine.layout.tenant(sr.plan.tenant), trace, startNanos, startNanos, number(float64(least)-4096))
	}
	at := sr.engine.now().UnixNano()
	if to := sr.query.Range.To; to > 0 {
		at = min(at, to)
	}
	if limited {
		at = min(at, bound)
	}
	for _, window := range sr.engine.layout.windows(at) {
		if list, err := sr.newest(ctx, sql+" AND "+window, n); err != nil || len(list) == n {
			return list, err
		}
	}
	return sr.newest(ctx, sql, n)
}

// newest asks for the first traces by their newest row that meets a condition.
func (sr *searcher) newest(ctx context.Context, sql string, n int) ([]answer.Rank, error) {
	var list []answer.Rank
	var starts proto.ColInt64
	var high, low proto.ColUInt64
	err := sr.engine.ask(ctx, ch.Query{
		Body:   sr.engine.layout.newest(sr.engine.source(), sql, n),
		Result: proto.Results{{Data: &starts}, {Data: &high}, {Data: &low}},
		OnResult: func(context.Context, proto.Block) error {
			for i, start := range starts {
				list = append(list, answer.Rank{Start: start, ID: span.TraceIDFromUint64s(high[i], low[i])})
			}
			return nil
		},
	}, &sr.cost)
	return list, err
}

// resolve finds out the true ranks of some candidates and puts them on the page.
func (sr *searcher) resolve(ctx context.Context, some []answer.Rank) error {
	var ids []span.TraceID
	for _, c := range some {
		if _, ok := sr.seen[c.ID]; !ok {
			sr.seen[c.ID] = struct{}{}
			ids = append(ids, c.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var trace []answer.Row
	one := func() {
		if len(trace) == 0 {
			return
		}
		id := trace[0].Batch.TraceID[trace[0].Row]
		sr.resolver.Load(trace)
		r, ok := sr.resolver.Rank(id, sr.plan.window, sr.query)
		if ok && (sr.after == nil || sr.after.Compare(r) < 0) && sr.page.Wants(r) {
			sr.page.Add(answer.Found{Rank: r, Summary: sr.resolver.Summary(r)})
		}
		trace = trace[:0]
	}
	defer sr.resolver.Forget()
	for rows, err := range sr.engine.rowsOf(ctx, sr.plan.tenant, ids, sr.need, sr.snapshot.sql(sr.engine.layout), &sr.cost) {
		if err != nil {
			return err
		}
		for _, row := range rows {
			if len(trace) > 0 && trace[0].Batch.TraceID[trace[0].Row] != row.Batch.TraceID[row.Row] {
				one()
			}
			trace = append(trace, row)
		}
	}
	one()
	return nil
}

// Rows yields the rows of traces with the receipt of each, whatever the scope's predicate says of them; those of one trace follow each
// other in the order they were received. The batches are the caller's.
func (e *Engine) Rows(ctx context.Context, s store.Scope, ids []span.TraceID, need store.Need) iter.Seq2[[]answer.Row, error] {
	return func(yield func([]answer.Row, error) bool) {
		if err := e.open(); err != nil {
			yield(nil, err)
			return
		}
		var c cost
		for some := range slices.Chunk(ids, tracesAtOnce) {
			for rows, err := range e.rowsOf(ctx, answer.Tenant(s.Tenant), some, need, e.pinned(), &c) {
				if !yield(rows, explain(ctx, "read traces", err)) || err != nil {
					return
				}
			}
		}
		if err := c.end(); err != nil {
			yield(nil, err)
		}
	}
}

// rowsOf yields the rows of some traces that meet a condition of SQL, trace by trace.
func (e *Engine) rowsOf(ctx context.Context, tenant string, ids []span.TraceID, need store.Need, cond string, c *cost) iter.Seq2[[]answer.Row, error] {
	return func(yield func([]answer.Row, error) bool) {
		found, err := e.extents(ctx, tenant, ids, false, c)
		if err != nil {
			yield(nil, err)
			return
		}
		found = slices.DeleteFunc(found, func(x extent) bool { return !slices.Contains(ids, x.id) })
		if len(found) == 0 {
			return
		}
		rest := "WHERE " + e.layout.tenant(tenant) + " AND " + e.layout.near(found) + " AND " + cond + " ORDER BY " + e.layout.trace() + ", " + e.layout.received()
		for r, err := range e.yieldRows(ctx, tenant, newDecoder(e.layout, need, true), rest, c) {
			if err != nil {
				yield(nil, err)
				return
			}
			rows := make([]answer.Row, r.Len())
			for i := range rows {
				rows[i] = answer.Row{Batch: r.Batch, Row: i, Received: r.received[i]}
			}
			if !yield(rows, nil) {
				return
			}
		}
	}
}
