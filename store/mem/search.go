package mem

import (
	"cmp"
	"context"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// Search walks the chunks by their newest start, newest first, and ends when no chunk left has a start as new as the last
// trace of the page. In each chunk the matching rows name candidates; a candidate's rank, summary and counts come from all
// its rows wherever they are, once. Cost: the rows of the chunks walked, plus the rows of the candidates that could make
// the page.
func (e *Engine) Search(ctx context.Context, s store.Scope, q *store.Search) (*store.Page, error) {
	if err := checkTenant(s.Tenant); err != nil {
		return nil, err
	}
	asked, err := answer.Ask(s, q)
	if err != nil {
		return nil, err
	}
	plan := e.planHash(s, q)
	now := e.now().UnixNano()
	e.mu.Lock()
	closed, all := e.closed, e.snapshot()
	e.mu.Unlock()
	if closed {
		return nil, answer.Closed()
	}
	sr := searcher{
		engine: e, query: q, window: match.Window{TimeRange: q.Range, Mode: q.Mode}, prog: asked.Both,
		end: all.end(), base: all.base, page: answer.NewTop(q.Limit + 1),
		resolver: answer.NewResolver(asked.Must, asked.Want),
	}
	if q.Page != "" {
		t, err := e.parseToken(q.Page, plan)
		if err != nil {
			return nil, err
		}
		sr.end, sr.base, sr.after, sr.paged = min(sr.end, t.end), t.base, t.after, true
	}
	done := sr.run(ctx, &all)
	page := &store.Page{Done: done}
	if all.base != sr.base && done.Complete {
		page.Complete, page.Reason = false, "the oldest traces were evicted since the first page"
	}
	var more *answer.Rank
	if page.Traces, more = sr.page.Page(q.Limit); more != nil && done.Complete {
		page.Next = token{instance: e.instance, plan: plan, issued: now, end: sr.end, base: sr.base, after: *more}.String()
	}
	return page, nil
}

// searcher is one search on its way.
type searcher struct {
	engine *Engine
	query  *store.Search
	window match.Window
	prog   *match.Program
	end    ref    // rows from here on came after the first page
	base   uint32 // oldest chunk at the first page
	paged  bool   // only traces behind after are wanted
	after  answer.Rank
	page   *answer.Top

	resolver  *answer.Resolver
	bound     *match.Bound
	rows      []uint32             // of one chunk
	index     map[span.TraceID]int // of cands
	cands     []answer.Rank        // of one chunk: newest matching start in that chunk, trace
	ids       []span.TraceID
	refs      []ref
	locations []location
	loaded    []answer.Row
	seen      map[span.TraceID]struct{} // resolved
}

// resolveAtOnce is how many candidates are looked up under one lock.
const resolveAtOnce = 64

func (sr *searcher) run(ctx context.Context, all *snapshot) store.Done {
	chunks := all.chunks()
	done := store.Done{Complete: true, Read: store.Read{Of: int64(len(chunks))}}
	// By newest start: the first chunk is then the maximum of all that follow.
	slices.SortStableFunc(chunks, func(a, b *chunk) int { return cmp.Compare(b.maxStart, a.maxStart) })
	sr.index = make(map[span.TraceID]int)
	sr.seen = make(map[span.TraceID]struct{})
	for _, c := range chunks {
		if !sr.page.Wants(answer.Rank{Start: c.maxStart}) {
			break
		}
		if !sr.window.Block(c.minStart, c.maxStart, c.maxEnd) || sr.paged && c.minStart > sr.after.Start || makeRef(c.number, 0) >= sr.end {
			continue
		}
		if !sr.prog.Possible(match.Known{Text: c.texts.has}) {
			continue
		}
		done.Read.Blocks++
		done.Read.Bytes += c.bytes
		err := sr.candidates(ctx, c)
		if err == nil {
			err = sr.resolve(ctx)
		}
		if err != nil {
			done.Complete, done.Reason = false, answer.Cancelled(err)
			break
		}
	}
	return done
}

// candidates collects the traces that have matching rows in a chunk, newest first. A row's start is an upper bound of the
// rank that this chunk can give its trace: rows that cannot make the page are passed over before their columns are
// looked at.
func (sr *searcher) candidates(ctx context.Context, c *chunk) error {
	clear(sr.index)
	sr.cands = sr.cands[:0]
	if sr.bound == nil {
		sr.bound = sr.prog.Bind(&c.batch)
	} else {
		sr.bound.Rebind(&c.batch)
	}
	dead := c.dead.bits.Load()
	rows := c.batch.Len()
	if sr.end.chunk() == c.number {
		rows = min(rows, sr.end.row())
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	sr.rows = slices.Grow(sr.rows[:0], rows)
	for row, start := range c.batch.Time[:rows] {
		if sr.page.Wants(answer.Rank{Start: start}) && (!sr.paged || start <= sr.after.Start) && !dead.has(row) && sr.window.Row(&c.batch, row) {
			sr.rows = append(sr.rows, uint32(row))
		}
	}
	kept, err := filterRows(ctx, sr.bound, sr.rows)
	if err != nil {
		return err
	}
	sr.rows = kept
	for _, row := range sr.rows {
		r := answer.Rank{Start: c.batch.Time[row], ID: c.batch.TraceID[row]}
		if i, ok := sr.index[r.ID]; ok {
			sr.cands[i].Start = max(sr.cands[i].Start, r.Start)
			continue
		}
		sr.index[r.ID] = len(sr.cands)
		sr.cands = append(sr.cands, r)
	}
	slices.SortFunc(sr.cands, answer.Rank.Compare)
	return nil
}

// resolve finds out the true ranks of the candidates and puts them on the page.
func (sr *searcher) resolve(ctx context.Context) error {
	next := 0
	for next < len(sr.cands) {
		if err := ctx.Err(); err != nil {
			return err
		}
		sr.ids = sr.ids[:0]
		for ; next < len(sr.cands) && len(sr.ids) < resolveAtOnce; next++ {
			c := sr.cands[next]
			if !sr.page.Wants(answer.Rank{Start: c.Start}) {
				next = len(sr.cands) // so are all that follow
				break
			}
			if _, ok := sr.seen[c.ID]; ok {
				continue
			}
			sr.seen[c.ID] = struct{}{}
			sr.ids = append(sr.ids, c.ID)
		}
		var now snapshot
		sr.refs, now = sr.engine.heads(sr.refs, sr.ids)
		for i, last := range sr.refs {
			if i&7 == 7 && ctx.Err() != nil {
				return ctx.Err()
			}
			sr.locations = now.rows(sr.locations[:0], last, sr.end)
			sr.loaded = sr.loaded[:0]
			for _, l := range sr.locations {
				sr.loaded = append(sr.loaded, answer.Row{Batch: &l.chunk.batch, Row: l.row, Received: l.chunk.received(l.row)})
			}
			sr.resolver.Load(sr.loaded)
			r, ok := sr.resolver.Rank(sr.ids[i], sr.window, sr.query)
			if !ok || sr.paged && sr.after.Compare(r) >= 0 || !sr.page.Wants(r) {
				continue
			}
			sr.page.Add(answer.Found{Rank: r, Summary: sr.resolver.Summary(r)})
		}
	}
	return nil
}
