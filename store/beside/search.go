package beside

import (
	"context"
	"hash/fnv"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
	"github.com/spanloom/spanloom/store/merge"
)

// The parts of a search.
const (
	own = iota
	other
)

// tokenPrefix begins the tokens of searches over both parts: the place from which on both lists are read again, a point, and the
// token of the page as the engine writes it. The two places differ where a trace that comes later in the list has a better bound than
// those that were listed: then it is met again.
const tokenPrefix = "b."

// maxFlying bounds the batches on their way that a token names.
const maxFlying = 64

func token(from answer.Rank, page answer.SharedPage) string {
	return tokenPrefix + answer.Seal(answer.AppendRank(nil, from)) + "." + page.String()
}

// Search merges the lists of both parts. Of a trace that has rows in one part the part's rank and summary are true; of the others they
// are a bound, and the true ones come from all rows.
//
// Whole traces (TraceDuration) are judged here: neither part can judge one of which it has a half.
func (r *Reader) Search(ctx context.Context, s store.Scope, q *store.Search) (*store.Page, error) {
	hash := answer.HashPlan(fnv.New64a(), s, q)
	issued := r.now()
	if q.Page == "" {
		return r.search(ctx, s, q, answer.SharedPage{Plan: hash, Issued: issued.UnixNano(), Moment: r.own.Moment()}, nil, nil)
	}
	text, ok := strings.CutPrefix(q.Page, tokenPrefix)
	place, rest, ok2 := strings.Cut(text, ".")
	fields, ok3 := answer.Unseal(place)
	if !ok || !ok2 || !ok3 || len(fields) != answer.RankBytes {
		return nil, answer.NoPage(q.Page)
	}
	t, err := answer.ParseSharedPage(rest, hash, issued, maxFlying)
	if err != nil {
		return nil, err
	}
	from := answer.RankAt(fields)
	t.Issued = issued.UnixNano()
	return r.search(ctx, s, q, t, &from, &t.After)
}

// pageAtOnce is how many traces are asked of a part together, at least.
const pageAtOnce = 64

// work is a page on its way.
type work struct {
	*Reader
	state    merge.State
	scope    store.Scope
	query    store.Search // without what only both parts can judge
	duration struct{ Min, Max int64 }
	moment   answer.Moment
	places   [2]*answer.Rank // from which on each list is read
	resolver *answer.Resolver
	done     store.Done
	lost     error // the other part does not answer
	cutShort bool  // the engine's own list ended too early
}

func (r *Reader) search(ctx context.Context, s store.Scope, q *store.Search, page answer.SharedPage, from, after *answer.Rank) (*store.Page, error) {
	asked, err := answer.Ask(s, q)
	if err != nil {
		return nil, err
	}
	w := &work{Reader: r, scope: s, query: *q, duration: q.TraceDuration, moment: page.Moment, places: [2]*answer.Rank{from, from},
		resolver: answer.NewResolver(asked.Must, asked.Want), done: store.Done{Complete: true}}
	w.query.Page, w.query.TraceDuration = "", struct{ Min, Max int64 }{}
	w.state = merge.State{Lists: make([]merge.List, 2), Seen: make(map[span.TraceID]answer.Rank)}
	window := match.Window{TimeRange: q.Range, Mode: q.Mode}
	merged := merge.Search{State: &w.state, Limit: q.Limit, More: w.more, Cut: w.cut,
		Resolve: func(ctx context.Context, ids []span.TraceID) ([]answer.Found, error) {
			traces, err := w.read(ctx, ids)
			if err != nil {
				return nil, err
			}
			return merge.Resolve(w.resolver, ids, traces, func(id span.TraceID) (answer.Rank, bool) { return w.resolver.Rank(id, window, q) }), nil
		},
		Wants: func(f answer.Found) bool {
			return (after == nil || after.Compare(f.Rank) < 0) && w.lasts(&f.Summary)
		}}
	if err := merged.Run(ctx); err != nil {
		why := answer.Ended(ctx, err)
		if why == "" {
			return nil, err
		}
		w.done.Complete, w.done.Reason = false, why
	}
	list, more := merged.Page()
	if w.lost != nil {
		w.missing(&w.done, w.lost)
	}
	answered := &store.Page{Traces: list, Done: w.done}
	if more && !w.cutShort && ctx.Err() == nil {
		last := list[len(list)-1]
		page.After = answer.Rank{Start: last.MatchedStart, ID: last.TraceID}
		answered.Next = token(w.again(page.After), page)
	}
	return answered, nil
}

// lasts judges how long a whole trace took.
func (w *work) lasts(sum *store.Summary) bool {
	d := sum.End - sum.Start
	return d >= w.duration.Min && (w.duration.Max <= 0 || d <= w.duration.Max)
}

// again is the place from which on the lists must be read for the page behind after: before the bounds of all traces that come later.
func (w *work) again(after answer.Rank) answer.Rank {
	from := after
	for _, f := range w.state.Found {
		if bound, ok := w.state.Seen[f.ID]; ok && bound.Compare(after) < 0 && (bound.Start > from.Start || from == after) {
			from = answer.Rank{Start: bound.Start} // an id of zeros comes before all others
		}
	}
	return from
}

// more reads on in a part's list.
func (w *work) more(ctx context.Context, list int) error {
	q := w.query
	q.Limit = min(max(q.Limit+1, pageAtOnce), answer.MaxLimit)
	part := w.own
	if list == other {
		part = w.other
	}
	p, err := part.SearchAfter(ctx, w.scope, &q, w.moment, w.places[list])
	if err != nil {
		if list == other && ctx.Err() == nil {
			w.lost, w.state.Lists[other].End = err, true
			return nil
		}
		return err
	}
	merge.Cost(&w.done.Read, p.Read)
	if !p.Complete {
		w.done.Complete, w.done.Reason = false, p.Reason
		w.cutShort = w.cutShort || list == own
	}
	w.state.Lists[list] = merge.List{Left: merge.Candidates(p.Traces), End: !p.More}
	if p.More {
		last := p.Last()
		w.places[list] = &last
	}
	return nil
}

// cut asks the other part which traces of a list it has rows of.
func (w *work) cut(ctx context.Context, list int, ids []span.TraceID) (func(span.TraceID) bool, error) {
	part := w.other
	if list == other {
		part = w.own
	}
	if list == own && w.lost != nil {
		return func(span.TraceID) bool { return false }, nil
	}
	has, err := part.Has(ctx, w.scope, ids)
	if err != nil && list == own && ctx.Err() == nil {
		w.lost, w.state.Lists[other].End = err, true
		return func(span.TraceID) bool { return false }, nil
	}
	return func(id span.TraceID) bool { return has[id] }, err
}

// read reads all rows of some traces.
func (w *work) read(ctx context.Context, ids []span.TraceID) (map[span.TraceID][]answer.Row, error) {
	traces := make(map[span.TraceID][]answer.Row, len(ids))
	for rows, err := range w.rows(ctx, w.own.RowsAt(ctx, w.scope, ids, w.moment), w.other.RowsAt(ctx, w.scope, ids, w.moment)) {
		if err != nil {
			return nil, err
		}
		for _, x := range rows {
			id := x.Batch.TraceID[x.Row]
			traces[id] = append(traces[id], x)
		}
	}
	return traces, nil
}
