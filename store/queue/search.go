package queue

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
	"github.com/spanloom/spanloom/store/mem"
)

// Search merges the engine's list with the traces that have spans here. The engine's rank of a trace is true where all its rows are there;
// of the others it is a bound, as is their newest matching row here, and their true rank comes from all rows. So both lists are walked
// from the newest bound on, until no bound left can make the page.
//
// A page token of an answer that spans here were part of holds in this process only; others are the engine's.
func (q *Queue) Search(ctx context.Context, s store.Scope, sq *store.Search) (*store.Page, error) {
	asked, err := answer.Ask(s, sq)
	if err != nil {
		return nil, err
	}
	plan := q.pages.plan(s, sq)
	var sr *searcher
	switch {
	case strings.HasPrefix(sq.Page, tokenPrefix):
		if sr, err = q.pages.parse(sq.Page, plan); err != nil {
			return nil, err
		}
	default:
		q.freeze()
		v, err := q.view()
		if err != nil {
			return nil, err
		}
		v.tails = slices.DeleteFunc(v.tails, func(t *mem.Engine) bool { return t.Stats().Spans == 0 })
		if v.engine != nil && (sq.Page != "" || len(v.tails) == 0) {
			page, err := v.engine.Search(ctx, s, sq)
			if err != nil && !retryable(err) || err == nil && v.hidden == 0 {
				return page, err
			}
			if page == nil {
				page = &store.Page{}
			}
			page.Done, err = v.partial(page.Done, err)
			return page, err
		}
		sr = &searcher{view: v, seen: make(map[span.TraceID]struct{}), end: v.engine == nil}
		if err := sr.candidates(ctx, s, sq); err != nil {
			return nil, err
		}
	}
	return q.search(ctx, s, sq, asked, plan, sr)
}

// freeze lets what comes from now on go into another tail, so that a page token's snapshot does not grow.
func (q *Queue) freeze() {
	q.accepting.Lock()
	defer q.accepting.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if g := q.last(); g.tails[len(g.tails)-1].Stats().Spans > 0 {
		g.tails = append(g.tails, q.newTail())
	}
}

// searcher is a search between two pages. What is in a token never changes: the next page works on a copy.
type searcher struct {
	view  *view
	cands []answer.Rank             // traces with rows here by a bound of their rank, best first
	there []store.Summary           // of the engine's page, that were not taken yet
	next  string                    // the engine's next page
	end   bool                      // there is none
	seen  map[span.TraceID]struct{} // traces with rows here whose rank is known
	found []answer.Found            // not listed yet, best first
}

func (sr *searcher) clone() *searcher {
	c := *sr
	c.cands, c.there, c.found, c.seen = slices.Clone(sr.cands), slices.Clone(sr.there), slices.Clone(sr.found), maps.Clone(sr.seen)
	v := *sr.view
	c.view = &v
	return &c
}

// candidates bounds the ranks of traces with rows here. Where whole traces are judged, any of their rows may decide.
func (sr *searcher) candidates(ctx context.Context, s store.Scope, sq *store.Search) error {
	newest := make(map[span.TraceID]int64)
	plan := &store.Scan{Range: sq.Range, Mode: sq.Mode, Match: sq.Match, Need: store.Need{Columns: store.ColTime}}
	whole := sq.TraceDuration.Min > 0 || sq.TraceDuration.Max > 0
	if whole {
		plan = &store.Scan{}
	}
	for _, t := range sr.view.tails {
		for r, err := range t.Scan(ctx, s, plan) {
			if err != nil {
				if ctx.Err() != nil {
					return nil // the page says so
				}
				return err
			}
			for _, row := range r.Rows {
				id, at := r.Batch.TraceID[row], r.Batch.Time[row]
				if whole {
					at = math.MaxInt64
				}
				if old, ok := newest[id]; !ok || at > old {
					newest[id] = at
				}
			}
		}
	}
	for id, at := range newest {
		sr.cands = append(sr.cands, answer.Rank{Start: at, ID: id})
	}
	slices.SortFunc(sr.cands, answer.Rank.Compare)
	return nil
}

// resolveAtOnce is how many traces are asked of the engine together.
const resolveAtOnce = 64

func (q *Queue) search(ctx context.Context, s store.Scope, sq *store.Search, asked answer.Asked, plan uint64, sr *searcher) (*store.Page, error) {
	w := &work{searcher: sr, scope: s, query: sq, window: match.Window{TimeRange: sq.Range, Mode: sq.Mode}, resolver: answer.NewResolver(asked.Must, asked.Want),
		need: answer.SummaryNeed.And(asked.Both.Need())}
	w.page = store.Page{Done: store.Done{Complete: true}}
	err := w.run(ctx)
	page := &w.page
	if err != nil {
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			page.Complete, page.Reason = false, "out of time"
		case ctx.Err() != nil:
			page.Complete, page.Reason = false, "cancelled"
		default:
			return nil, err
		}
	}
	page.Done, err = sr.view.partial(page.Done, sr.view.away)
	if err != nil {
		return nil, err
	}
	n := min(sq.Limit, len(sr.found))
	page.Traces = make([]store.Summary, n)
	for i, f := range sr.found[:n] {
		page.Traces[i] = f.Summary
	}
	if len(sr.found) > sq.Limit && (page.Complete || sr.view.hidden > 0 && sr.view.away == nil && ctx.Err() == nil) {
		sr.found = sr.found[n:]
		page.Next = q.pages.pin(sr, plan)
	}
	return page, nil
}

// work is a page on its way.
type work struct {
	*searcher
	scope    store.Scope
	query    *store.Search
	window   match.Window
	resolver *answer.Resolver
	need     store.Need
	page     store.Page
}

func (w *work) run(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(w.there) == 0 && !w.end {
			if err := w.ask(ctx); err != nil {
				return err
			}
		}
		head, any := answer.Rank{}, false
		if len(w.there) > 0 {
			head, any = answer.Rank{Start: w.there[0].MatchedStart, ID: w.there[0].TraceID}, true
		}
		here := len(w.cands) > 0 && (!any || w.cands[0].Compare(head) <= 0)
		if here {
			head, any = w.cands[0], true
		}
		if !any || len(w.found) > w.query.Limit && w.found[w.query.Limit].Compare(answer.Rank{Start: head.Start}) < 0 {
			return nil
		}
		if here {
			n := min(len(w.cands), resolveAtOnce)
			ids := make([]span.TraceID, n)
			for i, c := range w.cands[:n] {
				ids[i] = c.ID
			}
			if err := w.resolve(ctx, ids); err != nil {
				return err
			}
			w.cands = w.cands[n:]
			continue
		}
		sum := w.there[0]
		if !w.view.has(sum.TraceID) {
			w.add(answer.Found{Rank: head, Summary: sum})
			w.there = w.there[1:]
			continue
		}
		var ids []span.TraceID
		for _, x := range w.there {
			if w.view.has(x.TraceID) {
				ids = append(ids, x.TraceID)
			}
		}
		if err := w.resolve(ctx, ids); err != nil {
			return err
		}
		w.there = slices.DeleteFunc(w.there, func(x store.Summary) bool { return w.view.has(x.TraceID) })
	}
}

func (v *view) has(id span.TraceID) bool {
	return slices.ContainsFunc(v.tails, func(t *mem.Engine) bool { return t.Has(id) })
}

// ask reads the engine's next page.
func (w *work) ask(ctx context.Context) error {
	q := *w.query
	q.Page = w.next
	q.Limit = min(max(q.Limit+1, resolveAtOnce), answer.MaxLimit)
	page, err := w.view.engine.Search(ctx, w.scope, &q)
	if err != nil {
		if ctx.Err() == nil && retryable(err) {
			w.view.away, w.view.engine, w.end = err, nil, true
			return nil
		}
		return err
	}
	w.page.Read.Blocks += page.Read.Blocks
	w.page.Read.Of += page.Read.Of
	w.page.Read.Bytes += page.Read.Bytes
	if !page.Complete {
		w.page.Complete, w.page.Reason = false, page.Reason
	}
	w.there, w.next, w.end = page.Traces, page.Next, page.Next == ""
	return nil
}

// resolve finds the true ranks of traces that have rows here.
func (w *work) resolve(ctx context.Context, ids []span.TraceID) error {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id span.TraceID) bool { _, ok := w.seen[id]; return ok })
	if len(ids) == 0 {
		return nil
	}
	traces := make(map[span.TraceID][]answer.Row, len(ids))
	add := func(rows []answer.Row) {
		for _, r := range rows {
			id := r.Batch.TraceID[r.Row]
			traces[id] = append(traces[id], r)
		}
	}
	if w.view.engine != nil {
		for rows, err := range w.view.engine.Rows(ctx, w.scope, ids, w.need) {
			if err != nil && ctx.Err() == nil && retryable(err) {
				w.view.away, w.view.engine, w.end = err, nil, true
				break
			}
			if err != nil {
				return err
			}
			add(rows)
		}
	}
	for _, t := range w.view.tails {
		for rows, err := range t.Rows(ctx, w.scope, ids, w.need) {
			if err != nil {
				return err
			}
			add(rows)
			w.page.Read.Blocks++
		}
	}
	for _, id := range ids {
		w.seen[id] = struct{}{}
		w.resolver.Load(traces[id])
		if r, ok := w.resolver.Rank(id, w.window, w.query); ok {
			w.add(answer.Found{Rank: r, Summary: w.resolver.Summary(r)})
		}
	}
	w.resolver.Forget()
	return nil
}

// add puts a trace into its place.
func (w *work) add(f answer.Found) {
	at, _ := slices.BinarySearchFunc(w.found, f, func(a, b answer.Found) int { return a.Compare(b.Rank) })
	w.found = slices.Insert(w.found, at, f)
}
