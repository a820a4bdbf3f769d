package clickhouse

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// maxLimit bounds a page: a summary takes some hundred bytes.
const maxLimit = 100_000

// Candidates a question names: a bit more than a page at first, so that most searches need one; then more, for searches whose
// SQL lets through much that the rows refuse.
const (
	minCandidates = 64
	maxCandidates = 8192
)

// Search asks for candidates: traces by their newest row that SQL lets through, newest first. That start is an upper bound of the
// trace's rank, which comes from all its rows. It ends when no candidate left can make the page.
func (e *Engine) Search(ctx context.Context, s store.Scope, q *store.Search) (*store.Page, error) {
	if q.Limit <= 0 || q.Limit > maxLimit {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "limit", Message: fmt.Sprintf("a page of %d traces", q.Limit),
			Hint: fmt.Sprintf("ask for 1 to %d", maxLimit)}
	}
	must, err := match.Compile(s.MustMatch)
	if err != nil {
		return nil, err
	}
	want, err := match.Compile(q.Match)
	if err != nil {
		return nil, err
	}
	window := match.Window{TimeRange: q.Range, Mode: q.Mode}
	p, err := e.plan(s, q.Match, window)
	if err != nil {
		return nil, err
	}
	now, hash := e.now(), planHash(s, q)
	sr := searcher{engine: e, plan: p, query: q, page: answer.NewTop(q.Limit + 1), resolver: answer.NewResolver(must, want), seen: make(map[span.TraceID]struct{})}
	if q.Page == "" {
		sr.snapshot = e.snapshot()
	} else {
		t, err := parseToken(q.Page, hash, now)
		if err != nil {
			return nil, err
		}
		sr.snapshot, sr.after, sr.paged = t.snapshot, t.after, true
	}
	sr.need = store.Need{Columns: store.ColIdentity | store.ColName | store.ColParent | store.ColStatus}.And(must.Need()).And(want.Need())
	page := &store.Page{Done: store.Done{Complete: true}}
	if err := sr.run(ctx); err != nil {
		why := reason(ctx, err)
		if why == "" {
			return nil, explain(ctx, "search", err)
		}
		page.Complete, page.Reason = false, why
	}
	page.Read = sr.cost.read()
	found := sr.page.Sorted()
	if len(found) > q.Limit {
		found = found[:q.Limit]
		if page.Complete {
			page.Next = token{plan: hash, issued: now.UnixNano(), after: found[q.Limit-1].Rank, snapshot: sr.snapshot}.String()
		}
	}
	page.Traces = make([]store.Summary, len(found))
	for i, f := range found {
		page.Traces[i] = f.Summary
	}
	return page, nil
}

// searcher is one search on its way.
type searcher struct {
	engine   *Engine
	plan     *plan
	query    *store.Search
	snapshot snapshot
	after    answer.Rank
	paged    bool // only traces behind after are wanted
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
		for some := range slices.Chunk(found, tracesAtOnce) {
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
	const at = "toUnixTimestamp64Nano(Timestamp)"
	sql := sr.plan.sql + " AND " + sr.snapshot.sql()
	bound := sr.after.Start
	limited := sr.paged
	if last != nil && (!limited || last.Start < bound) {
		bound, limited = last.Start, true
	}
	if limited {
		sql += fmt.Sprintf(" AND Minute <= %d AND %s <= %d", minuteOf(bound), at, bound)
	}
	if last != nil {
		sql += fmt.Sprintf(" AND (%s < %d OR (TraceHigh, TraceLow) > (%d, %d))", at, last.Start, last.ID.High(), last.ID.Low())
	}
	if least := sr.query.TraceDuration.Min; least > 0 {
		// All copies of spans together are at least as long as those that count.
		sql += fmt.Sprintf(" AND (TraceHigh, TraceLow) IN (SELECT TraceHigh, TraceLow FROM %s WHERE Tenant = %s GROUP BY TraceLow, TraceHigh"+
			" HAVING max(toFloat64(%s) + toFloat64(Duration)) - min(toFloat64(%s)) >= %s)", sr.engine.table("spans"), quote(sr.plan.tenant), at, at, number(float64(least)-4096))
	}
	var list []answer.Rank
	var starts proto.ColInt64
	var high, low proto.ColUInt64
	err := sr.engine.pool.do(ctx, ch.Query{
		Body: fmt.Sprintf("SELECT %s AS start, TraceHigh, TraceLow FROM %s WHERE %s ORDER BY Minute DESC, start DESC, TraceHigh, TraceLow LIMIT 1 BY TraceHigh, TraceLow LIMIT %d",
			at, sr.engine.table("spans"), sql, n),
		Result:   proto.Results{{Data: &starts}, {Data: &high}, {Data: &low}},
		Settings: sr.engine.settings(),
		OnResult: func(context.Context, proto.Block) error {
			for i, start := range starts {
				list = append(list, answer.Rank{Start: start, ID: span.TraceIDFromUint64s(high[i], low[i])})
			}
			return nil
		},
		OnProgress: sr.cost.progress,
	})
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
	found, err := sr.engine.extents(ctx, sr.plan.tenant, ids)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(x extent) bool { return !slices.Contains(ids, x.id) })
	d := newDecoder(sr.need, true)
	rest := "WHERE Tenant = " + quote(sr.plan.tenant) + " AND " + near(found) + " AND " + sr.snapshot.sql() + " ORDER BY TraceHigh, TraceLow, Seq, Writer, Row"
	var trace []answer.Row
	one := func() {
		if len(trace) == 0 {
			return
		}
		id := trace[0].Batch.TraceID[trace[0].Row]
		sr.resolver.Load(trace)
		r, ok := sr.resolver.Rank(id, sr.plan.window, sr.query)
		if ok && (!sr.paged || sr.after.Compare(r) < 0) && sr.page.Wants(r) {
			sr.page.Add(answer.Found{Rank: r, Summary: sr.resolver.Summary(r)})
		}
		trace = trace[:0]
	}
	defer sr.resolver.Forget()
	for r, err := range sr.engine.yieldRows(ctx, sr.plan.tenant, d, rest, &sr.cost) {
		if err != nil {
			return err
		}
		for row := range r.Len() {
			if len(trace) > 0 && !bytes.Equal(trace[0].Batch.TraceID[trace[0].Row][:], r.TraceID[row][:]) {
				one()
			}
			trace = append(trace, answer.Row{Batch: r.Batch, Row: row, Received: r.received[row]})
		}
	}
	one()
	return nil
}
