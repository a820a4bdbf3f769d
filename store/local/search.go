package local

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/match"
)

// Search walks the blocks of all segments and memtables by their newest start, newest first, and ends when no block left has a
// start as new as the last trace of the page. In each block the matching rows name candidates; a candidate's rank, summary and
// counts come from all its rows wherever they are. Cost: the columns that the condition is about of the blocks walked, then the
// rows of the candidates that could make the page.
func (e *answers) Search(ctx context.Context, s store.Scope, q *store.Search) (*store.Page, error) {
	if err := e.readable(s); err != nil {
		return nil, err
	}
	asked, err := answer.Ask(s, q)
	if err != nil {
		return nil, err
	}
	plan := e.pages.plan(s, q)
	var snap *snapshot
	sr := searcher{query: q, most: e.gatherRows, page: answer.NewTop(q.Limit + 1), resolver: answer.NewResolver(asked.Must, asked.Want)}
	var pin uint64
	if q.Page != "" {
		t, pinned, err := e.pages.parse(q.Page, plan)
		if err != nil {
			return nil, err
		}
		snap, pin = pinned, t.pin
		sr.after, sr.paged = t.after, true
	} else if snap, err = e.snap(); err != nil {
		return nil, err
	}
	defer snap.release()
	defer sr.open.close()
	sr.snap = snap
	sr.need = answer.SummaryNeed.And(asked.Both.Need())
	done, err := sr.run(ctx, newQuestion(ctx, &e.reads, asked.Both, match.Window{TimeRange: q.Range, Mode: q.Mode}))
	if err != nil {
		return nil, err
	}
	whole := done.Complete // what is missing for good ends no paging
	snap.complete(&done)
	page := &store.Page{Done: done}
	var more *answer.Rank
	if page.Traces, more = sr.page.Page(q.Limit); more != nil && whole {
		if pin == 0 {
			pin = e.pages.pin(snap)
		}
		page.Next = e.pages.token(pin, plan, *more)
	}
	return page, nil
}

// searcher is one search on its way.
type searcher struct {
	snap     *snapshot
	query    *store.Search
	need     store.Need
	most     int  // rows of traces that are held at once
	paged    bool // only traces behind after are wanted
	after    answer.Rank
	page     *answer.Top
	resolver *answer.Resolver
	question *question
	open     opener

	index map[span.TraceID]int // of cands
	cands []answer.Rank        // of one unit: newest matching start in it, trace
	ids   []span.TraceID
	seen  map[span.TraceID]struct{} // resolved
}

// unitHeap gives units by their newest start, newest first.
type unitHeap []unit

func (h unitHeap) Len() int           { return len(h) }
func (h unitHeap) Less(i, j int) bool { return h[i].maxStart > h[j].maxStart }
func (h unitHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *unitHeap) Push(x any)        { *h = append(*h, x.(unit)) }
func (h *unitHeap) Pop() any {
	old := *h
	u := old[len(old)-1]
	*h = old[:len(old)-1]
	return u
}

// walk calls fn with those units of a snapshot that want takes, by their newest start, newest first, until it says stop. Blocks of a
// segment are looked at when its newest start comes up, so that a short walk over thousands of segments is short.
func (s *snapshot) walk(want func(u *unit) (bool, error), fn func(u *unit) (more bool, err error)) error {
	segments := slices.Clone(s.segments)
	slices.SortFunc(segments, func(a, b *segmentFile) int { return cmp.Compare(b.entry.MaxStart, a.entry.MaxStart) })
	var h unitHeap
	push := func(u unit) error {
		ok, err := want(&u)
		if ok {
			heap.Push(&h, u)
		}
		return err
	}
	for _, m := range s.mems {
		for block := range m.blocks {
			if err := push(m.unit(block)); err != nil {
				return err
			}
		}
	}
	for {
		for len(segments) > 0 && (len(h) == 0 || segments[0].entry.MaxStart >= h[0].maxStart) {
			for block := range segments[0].r.Blocks() {
				if err := push(segments[0].unit(block)); err != nil {
					return err
				}
			}
			segments = segments[1:]
		}
		if len(h) == 0 {
			return nil
		}
		u := heap.Pop(&h).(unit)
		if more, err := fn(&u); !more || err != nil {
			return err
		}
	}
}

func (sr *searcher) run(ctx context.Context, q *question) (store.Done, error) {
	sr.question = q
	sr.index, sr.seen = make(map[span.TraceID]int), make(map[span.TraceID]struct{})
	done := store.Done{Complete: true, Read: store.Read{Of: sr.snap.blocks()}}
	damage := func(u *unit, err error) error {
		if u.seg == nil || err == nil || !u.seg.damage(err) {
			return err
		}
		done.Complete, done.Reason = false, damagedReason(u)
		return nil
	}
	want := func(u *unit) (bool, error) {
		ok, err := q.possible(u)
		return ok && err == nil, damage(u, err)
	}
	err := sr.snap.walk(want, func(u *unit) (bool, error) {
		if !sr.page.Wants(answer.Rank{Start: u.maxStart}) {
			return false, nil
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if sr.paged && u.minStart > sr.after.Start {
			return true, nil
		}
		return true, damage(u, sr.unit(ctx, u, &done))
	})
	if err != nil && ctx.Err() != nil {
		done.Complete, done.Reason = false, answer.Cancelled(ctx.Err())
		return done, nil
	}
	return done, err
}

func (sr *searcher) unit(ctx context.Context, u *unit, done *store.Done) error {
	done.Read.Blocks++
	done.Read.Bytes += u.bytes()
	if err := sr.candidates(u); err != nil {
		return err
	}
	return sr.resolve(ctx)
}

// candidates collects the traces that have matching rows in a unit, newest first. A row's start is an upper bound of the rank
// that this unit can give its trace.
func (sr *searcher) candidates(u *unit) error {
	clear(sr.index)
	sr.cands = sr.cands[:0]
	o, err := sr.open.get(u)
	if err != nil {
		return err
	}
	rows, err := sr.question.rows(o)
	if err != nil || len(rows) == 0 {
		return err
	}
	add := func(start int64, id span.TraceID) {
		if !sr.page.Wants(answer.Rank{Start: start}) || sr.paged && start > sr.after.Start {
			return
		}
		if i, ok := sr.index[id]; ok {
			sr.cands[i].Start = max(sr.cands[i].Start, start)
			return
		}
		sr.index[id] = len(sr.cands)
		sr.cands = append(sr.cands, answer.Rank{Start: start, ID: id})
	}
	if o.mem != nil {
		v := &o.mem.view
		for _, row := range rows {
			at := int(row) + o.lo
			add(v.Time[at], v.TraceIDs[v.Trace[at]])
		}
	} else if err := sr.ofBlock(o, rows, add); err != nil {
		return err
	}
	slices.SortFunc(sr.cands, answer.Rank.Compare)
	return nil
}

// ofBlock adds rows of a block, whose traces stand together.
func (sr *searcher) ofBlock(o *opened, rows []uint32, add func(int64, span.TraceID)) error {
	return segment.Guard(func() error {
		time, _, _ := o.rows.Times()
		starts := o.rows.Starts()
		if err := o.rows.Err(); err != nil {
			return err
		}
		first, part := o.seg.r.Blocks()[o.block].FirstPart, 0
		var id span.TraceID
		known := -1
		for _, row := range rows {
			for starts[part+1] <= row {
				part++
			}
			if known != part {
				var err error
				if id, err = o.seg.r.TraceID(first + part); err != nil {
					return err
				}
				known = part
			}
			add(time[row], id)
		}
		return nil
	})
}

// resolveAtOnce is how many candidates are gathered together at most.
const resolveAtOnce = 64

// resolve finds out the true ranks of the candidates and puts them on the page.
func (sr *searcher) resolve(ctx context.Context) error {
	next := 0
	for next < len(sr.cands) {
		if err := ctx.Err(); err != nil {
			return err
		}
		sr.ids = sr.ids[:0]
		for ; next < len(sr.cands) && len(sr.ids) < min(resolveAtOnce, sr.query.Limit+1); next++ {
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
		if len(sr.ids) == 0 {
			continue
		}
		if err := sr.settle(ctx, sr.ids); err != nil {
			return err
		}
	}
	return nil
}

// settle puts traces on the page that belong there; large ones in fewer at once.
func (sr *searcher) settle(ctx context.Context, ids []span.TraceID) error {
	g, err := sr.snap.gatherer(ctx, &sr.open, ids, gathering{need: sr.need, most: sr.most})
	if errors.Is(err, errManyRows) {
		half := len(ids) / 2
		if err := sr.settle(ctx, ids[:half]); err != nil {
			return err
		}
		return sr.settle(ctx, ids[half:])
	}
	if err != nil {
		return err
	}
	for _, tr := range g.list {
		sr.resolver.Load(tr.rows)
		r, ok := sr.resolver.Rank(tr.id, sr.question.window, sr.query)
		if !ok || sr.paged && sr.after.Compare(r) >= 0 || !sr.page.Wants(r) {
			continue
		}
		sr.page.Add(answer.Found{Rank: r, Summary: sr.resolver.Summary(r)})
	}
	sr.resolver.Forget()
	return nil
}
