package queue

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/merge"
	"github.com/spanloom/spanloom/store/remote"
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
		sr = &searcher{view: v, state: merge.State{Lists: []merge.List{listHere: {End: true}, listThere: {End: v.engine == nil}}, Seen: make(map[span.TraceID]answer.Rank)}}
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

// The lists of a search: what is here, by bounds, and the engine's.
const (
	listHere = iota
	listThere
)

// searcher is a search between two pages. What is in a token never changes: the next page works on a copy.
type searcher struct {
	view  *view
	state merge.State
	next  string // the engine's next page
}

func (sr *searcher) clone() *searcher {
	v := *sr.view
	return &searcher{&v, sr.state.Clone(), sr.next}
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
	here := &sr.state.Lists[listHere]
	for id, at := range newest {
		here.Left = append(here.Left, merge.Candidate{Rank: answer.Rank{Start: at, ID: id}})
	}
	slices.SortFunc(here.Left, func(a, b merge.Candidate) int { return a.Compare(b.Rank) })
	return nil
}

// pageOfEngine is how many traces are asked of the engine together, at least.
const pageOfEngine = 64

func (q *Queue) search(ctx context.Context, s store.Scope, sq *store.Search, asked answer.Asked, plan uint64, sr *searcher) (*store.Page, error) {
	w := &work{searcher: sr, scope: s, query: sq, window: match.Window{TimeRange: sq.Range, Mode: sq.Mode}, resolver: answer.NewResolver(asked.Must, asked.Want),
		need: answer.SummaryNeed.And(asked.Both.Need())}
	w.page = store.Page{Done: store.Done{Complete: true}}
	merged := merge.Search{State: &sr.state, Limit: sq.Limit, More: w.ask, Cut: w.cut, Resolve: w.resolve}
	err := merged.Run(ctx)
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
	var more bool
	if page.Traces, more = merged.Page(); more && (page.Complete || sr.view.hidden > 0 && sr.view.away == nil && ctx.Err() == nil) {
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

func (v *view) has(id span.TraceID) bool {
	return slices.ContainsFunc(v.tails, func(t *mem.Engine) bool { return t.Has(id) })
}

// cut tells which of the engine's traces have rows here.
func (w *work) cut(context.Context, int, []span.TraceID) (func(span.TraceID) bool, error) {
	return w.view.has, nil
}

// lose goes on without the engine.
func (w *work) lose(err error) {
	w.view.away, w.view.engine = err, nil
	w.state.Lists[listThere].End = true
}

// ask reads the engine's next page.
func (w *work) ask(ctx context.Context, _ int) error {
	q := *w.query
	q.Page = w.next
	q.Limit = min(max(q.Limit+1, pageOfEngine), answer.MaxLimit)
	page, err := w.view.engine.Search(ctx, w.scope, &q)
	if err != nil {
		if ctx.Err() == nil && retryable(err) {
			w.lose(err)
			return nil
		}
		return err
	}
	merge.Cost(&w.page.Read, page.Read)
	if !page.Complete {
		w.page.Complete, w.page.Away, w.page.Reason = false, page.Away, page.Reason
	}
	w.state.Lists[listThere] = merge.List{Left: merge.Candidates(page.Traces), End: page.Next == ""}
	w.next = page.Next
	return nil
}

// resolve finds the true ranks of traces that have rows here.
func (w *work) resolve(ctx context.Context, ids []span.TraceID) ([]answer.Found, error) {
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
				if len(traces) == 0 && !errors.Is(err, remote.ErrPartial) {
					w.lose(err)
				} else { // a part of it is there
					w.page.Complete, w.page.Away, w.page.Reason = false, true, w.view.lost(err).Error()
				}
				break
			}
			if err != nil {
				return nil, err
			}
			add(rows)
		}
	}
	for _, t := range w.view.tails {
		for rows, err := range t.Rows(ctx, w.scope, ids, w.need) {
			if err != nil {
				return nil, err
			}
			add(rows)
			w.page.Read.Blocks++
		}
	}
	return merge.Resolve(w.resolver, ids, traces, func(id span.TraceID) (answer.Rank, bool) { return w.resolver.Rank(id, w.window, w.query) }), nil
}
