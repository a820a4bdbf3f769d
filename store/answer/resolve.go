// Package answer is the half of a search that does not depend on how rows are stored: the order of traces in a list, their
// summaries, and the counting of keys and values. Engines share it, so that they give the same answers.
package answer

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
)

// matchedSpans is how many matching spans a summary names.
const matchedSpans = 3

// Resolver looks at all spans of one trace after the other. It keeps its memory from trace to trace.
type Resolver struct {
	seed    maphash.Seed
	must    evaluator // spans that may be seen at all
	want    evaluator // spans that match
	rows    []Row
	matched []Row              // those of rows that match
	bySpan  map[identity]int32 // index in rows
	byName  map[string]int     // service -> index in services
}

// Row is a row of a batch with the receipt of its span, ns.
type Row struct {
	Batch    *span.Batch
	Row      int
	Received int64
}

// Rank is a trace's place in the list: newest matching start first, then trace id.
type Rank struct {
	Start int64
	ID    span.TraceID
}

// Compare orders ranks as they are listed.
func (r Rank) Compare(o Rank) int {
	return cmp.Or(cmp.Compare(o.Start, r.Start), bytes.Compare(r.ID[:], o.ID[:]))
}

// evaluator is a program for rows of many batches.
type evaluator struct {
	prog   *match.Program
	bounds map[*span.Batch]*match.Bound
	last   *span.Batch
	bound  *match.Bound
}

// identity is span.Identity without the trace and with a hash for the service's name.
type identity struct {
	span    span.SpanID
	kind    span.Kind
	start   uint64
	service uint64
}

// NewResolver makes a resolver for the predicate of a scope and the condition of a plan.
func NewResolver(must, want *match.Program) *Resolver {
	return &Resolver{
		seed:   maphash.MakeSeed(),
		must:   evaluator{prog: must, bounds: make(map[*span.Batch]*match.Bound)},
		want:   evaluator{prog: want, bounds: make(map[*span.Batch]*match.Bound)},
		bySpan: make(map[identity]int32),
		byName: make(map[string]int),
	}
}

// Load takes all rows of a trace, in the order they were received, and drops those that may not be seen and duplicates: the
// latest-ending stays, then the last received. Batches must stay valid, and be sound in what the programs, span.Identity and a
// summary read, until Forget.
func (r *Resolver) Load(rows []Row) {
	r.rows = append(r.rows[:0], rows...)
	if !r.must.prog.Always() {
		r.rows = slices.DeleteFunc(r.rows, func(l Row) bool { return !r.must.holds(l) })
	}
	r.rows = distinct(r.rows, r.bySpan, r.seed)
}

// Forget lets go of the batches of all rows loaded so far.
func (r *Resolver) Forget() {
	r.rows, r.matched = r.rows[:0], r.matched[:0]
	for _, e := range []*evaluator{&r.must, &r.want} {
		clear(e.bounds)
		e.last, e.bound = nil, nil
	}
}

// distinct drops duplicates in place. Small traces are compared pair by pair, which is faster than a map; seen is
// scratch for large ones.
func distinct(rows []Row, seen map[identity]int32, seed maphash.Seed) []Row {
	const pairwise = 40
	kept := rows[:0]
	large := len(rows) > pairwise
	if large {
		clear(seen)
	}
	for _, l := range rows {
		at := -1
		if large {
			b := l.Batch
			id := identity{b.SpanID[l.Row], b.Kind[l.Row], b.Start[l.Row], maphash.Bytes(seed, b.Bytes(b.Service[l.Row]))}
			if i, ok := seen[id]; ok {
				at = int(i)
			} else {
				seen[id] = int32(len(kept))
			}
		} else {
			at = slices.IndexFunc(kept, l.same)
		}
		switch {
		case at < 0:
			kept = append(kept, l)
		case l.Batch.End[l.Row] >= kept[at].Batch.End[kept[at].Row]:
			kept[at] = l
		}
	}
	return kept
}

// same reports whether two rows of one trace are copies of one span.
func (l Row) same(o Row) bool {
	a, b := l.Batch, o.Batch
	return a.SpanID[l.Row] == b.SpanID[o.Row] && a.Kind[l.Row] == b.Kind[o.Row] && a.Start[l.Row] == b.Start[o.Row] &&
		(a == b && a.Service[l.Row] == b.Service[o.Row] || bytes.Equal(a.Bytes(a.Service[l.Row]), b.Bytes(b.Service[o.Row])))
}

// Rank finds the trace's place in the list; not ok if it is not an answer.
func (r *Resolver) Rank(id span.TraceID, w match.Window, q *store.Search) (Rank, bool) {
	r.matched = r.matched[:0]
	if len(r.rows) == 0 {
		return Rank{}, false
	}
	if d := q.TraceDuration; d.Min > 0 || d.Max > 0 {
		start, end := r.extent()
		if got := end - start; got < d.Min || d.Max > 0 && got > d.Max {
			return Rank{}, false
		}
	}
	var newest int64
	for _, l := range r.rows {
		b := l.Batch
		if !w.Row(b, l.Row) || !r.want.holds(l) {
			continue
		}
		if len(r.matched) == 0 || b.Time[l.Row] > newest {
			newest = b.Time[l.Row]
		}
		r.matched = append(r.matched, l)
	}
	return Rank{newest, id}, len(r.matched) > 0
}

func (e *evaluator) holds(l Row) bool {
	if e.prog.Always() {
		return true
	}
	if l.Batch != e.last {
		bound := e.bounds[l.Batch]
		if bound == nil {
			bound = e.prog.Bind(l.Batch)
			e.bounds[l.Batch] = bound
		}
		e.last, e.bound = l.Batch, bound
	}
	return e.bound.Row(l.Row)
}

// extent is the trace's first start and last end.
func (r *Resolver) extent() (start, end int64) {
	for i, l := range r.rows {
		b := l.Batch
		if i == 0 || b.Time[l.Row] < start {
			start = b.Time[l.Row]
		}
		if t := b.EndTime(l.Row); i == 0 || t > end {
			end = t
		}
	}
	return start, end
}

// Summary describes the trace after Rank.
func (r *Resolver) Summary(k Rank) store.Summary {
	s := store.Summary{TraceID: k.ID, MatchedStart: k.Start, Spans: len(r.rows), Matched: len(r.matched)}
	s.Start, s.End = r.extent()
	clear(r.byName)
	for _, l := range r.rows {
		b := l.Batch
		failed := 0
		if b.Failed(l.Row) {
			failed = 1
		}
		name := b.Bytes(b.Service[l.Row])
		i, ok := r.byName[string(name)]
		if !ok {
			i = len(s.Services)
			s.Services = append(s.Services, store.ServiceInSummary{Name: string(name)})
			r.byName[s.Services[i].Name] = i
		}
		s.Services[i].Spans++
		s.Services[i].Errors += failed
		s.Errors += failed
		s.Received = max(s.Received, l.Received)
	}
	s.Received -= s.Received % 1e6
	slices.SortFunc(s.Services, func(a, b store.ServiceInSummary) int { return cmp.Compare(a.Name, b.Name) })

	root := slices.MinFunc(r.rows, compareRoots)
	b := root.Batch
	s.RootService = b.String(b.Service[root.Row])
	s.RootName = b.String(b.Name[root.Row])
	s.RootKind = b.Kind[root.Row]
	s.RootMissing = !b.Parent[root.Row].IsZero()

	var newest [matchedSpans + 1]Row
	n := 0
	for _, l := range r.matched {
		newest[n] = l
		for i := n; i > 0 && compareNewest(newest[i], newest[i-1]) < 0; i-- {
			newest[i], newest[i-1] = newest[i-1], newest[i]
		}
		n = min(n+1, matchedSpans)
	}
	for _, l := range newest[:n] {
		s.MatchedSpans = append(s.MatchedSpans, l.Batch.SpanID[l.Row])
	}
	return s
}

// compareRoots orders the spans of a trace by how well they stand for it: without a parent, first, longest; the rest only
// makes the choice the same in every engine.
func compareRoots(x, y Row) int {
	a, b := x.Batch, y.Batch
	orphan := func(l Row) int {
		if l.Batch.Parent[l.Row].IsZero() {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(orphan(x), orphan(y)),
		cmp.Compare(a.Time[x.Row], b.Time[y.Row]),
		cmp.Compare(b.EndTime(y.Row), a.EndTime(x.Row)),
		bytes.Compare(a.SpanID[x.Row][:], b.SpanID[y.Row][:]),
		cmp.Compare(a.Kind[x.Row], b.Kind[y.Row]),
		bytes.Compare(a.Bytes(a.Service[x.Row]), b.Bytes(b.Service[y.Row])),
	)
}

// compareNewest orders matching spans: newest start first, then span id.
func compareNewest(x, y Row) int {
	a, b := x.Batch, y.Batch
	return cmp.Or(cmp.Compare(b.Time[y.Row], a.Time[x.Row]), bytes.Compare(a.SpanID[x.Row][:], b.SpanID[y.Row][:]))
}

// Distinct drops the copies of spans from the rows of one trace, which stand in the order they were received: the latest-ending stays,
// then the last received.
func Distinct(rows []Row) []Row {
	return distinct(slices.Clone(rows), make(map[identity]int32), maphash.MakeSeed())
}
