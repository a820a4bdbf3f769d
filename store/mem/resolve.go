package mem

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

// resolver looks at all spans of one trace after the other. It keeps its memory from trace to trace.
type resolver struct {
	seed    maphash.Seed
	must    evaluator // spans that may be seen at all
	want    evaluator // spans that match
	rows    []location
	matched []location         // those of rows that match
	bySpan  map[identity]int32 // index in rows
	byName  map[string]int     // service -> index in services
}

// evaluator is a program for rows of many chunks.
type evaluator struct {
	prog   *match.Program
	bounds map[uint32]chunkBound // by chunk number
}

type chunkBound struct {
	chunk *chunk
	bound *match.Bound
}

// identity is span.Identity without the trace and with a hash for the service's name.
type identity struct {
	span    span.SpanID
	kind    span.Kind
	start   uint64
	service uint64
}

func newResolver(seed maphash.Seed, must, want *match.Program) *resolver {
	return &resolver{
		seed:   seed,
		must:   evaluator{must, make(map[uint32]chunkBound)},
		want:   evaluator{want, make(map[uint32]chunkBound)},
		bySpan: make(map[identity]int32),
		byName: make(map[string]int),
	}
}

// load takes the visible rows of a trace before end and drops duplicates: the latest-ending stays, then the last received.
func (r *resolver) load(s *snapshot, last, end ref) {
	r.rows = s.rows(r.rows[:0], last, end)
	if !r.must.prog.Always() {
		r.rows = slices.DeleteFunc(r.rows, func(l location) bool { return !r.must.holds(l) })
	}
	r.rows = distinct(r.rows, r.bySpan, r.seed)
}

// distinct drops duplicates in place. Small traces are compared pair by pair, which is faster than a map; seen is
// scratch for large ones.
func distinct(rows []location, seen map[identity]int32, seed maphash.Seed) []location {
	const pairwise = 40
	kept := rows[:0]
	large := len(rows) > pairwise
	if large {
		clear(seen)
	}
	for _, l := range rows {
		at := -1
		if large {
			b := &l.chunk.batch
			id := identity{b.SpanID[l.row], b.Kind[l.row], b.Start[l.row], maphash.Bytes(seed, b.Bytes(b.Service[l.row]))}
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
		case l.chunk.batch.End[l.row] >= kept[at].chunk.batch.End[kept[at].row]:
			kept[at] = l
		}
	}
	return kept
}

// same reports whether two rows of one trace are copies of one span.
func (l location) same(o location) bool {
	a, b := &l.chunk.batch, &o.chunk.batch
	return a.SpanID[l.row] == b.SpanID[o.row] && a.Kind[l.row] == b.Kind[o.row] && a.Start[l.row] == b.Start[o.row] &&
		(a == b && a.Service[l.row] == b.Service[o.row] || bytes.Equal(a.Bytes(a.Service[l.row]), b.Bytes(b.Service[o.row])))
}

// rank finds the trace's place in the list; not ok if it is not an answer.
func (r *resolver) rank(id span.TraceID, w match.Window, q *store.Search) (rank, bool) {
	r.matched = r.matched[:0]
	if len(r.rows) == 0 {
		return rank{}, false
	}
	if d := q.TraceDuration; d.Min > 0 || d.Max > 0 {
		start, end := r.extent()
		if got := end - start; got < d.Min || d.Max > 0 && got > d.Max {
			return rank{}, false
		}
	}
	var newest int64
	for _, l := range r.rows {
		b := &l.chunk.batch
		if !w.Row(b, l.row) || !r.want.holds(l) {
			continue
		}
		if len(r.matched) == 0 || b.Time[l.row] > newest {
			newest = b.Time[l.row]
		}
		r.matched = append(r.matched, l)
	}
	return rank{newest, id}, len(r.matched) > 0
}

func (e *evaluator) holds(l location) bool {
	if e.prog.Always() {
		return true
	}
	cb := e.bounds[l.chunk.number]
	if cb.chunk != l.chunk { // the open chunk has a new view after each change
		if cb.bound == nil {
			cb.bound = e.prog.Bind(&l.chunk.batch)
		} else {
			cb.bound.Rebind(&l.chunk.batch)
		}
		cb.chunk = l.chunk
		e.bounds[l.chunk.number] = cb
	}
	return cb.bound.Row(l.row)
}

// extent is the trace's first start and last end.
func (r *resolver) extent() (start, end int64) {
	for i, l := range r.rows {
		b := &l.chunk.batch
		if i == 0 || b.Time[l.row] < start {
			start = b.Time[l.row]
		}
		if t := b.EndTime(l.row); i == 0 || t > end {
			end = t
		}
	}
	return start, end
}

// summary describes the trace after rank.
func (r *resolver) summary(k rank) store.Summary {
	s := store.Summary{TraceID: k.id, MatchedStart: k.start, Spans: len(r.rows), Matched: len(r.matched)}
	s.Start, s.End = r.extent()
	clear(r.byName)
	for _, l := range r.rows {
		b := &l.chunk.batch
		failed := 0
		if b.Failed(l.row) {
			failed = 1
		}
		name := b.Bytes(b.Service[l.row])
		i, ok := r.byName[string(name)]
		if !ok {
			i = len(s.Services)
			s.Services = append(s.Services, store.ServiceInSummary{Name: string(name)})
			r.byName[s.Services[i].Name] = i
		}
		s.Services[i].Spans++
		s.Services[i].Errors += failed
		s.Errors += failed
		s.Received = max(s.Received, l.chunk.received(l.row))
	}
	slices.SortFunc(s.Services, func(a, b store.ServiceInSummary) int { return cmp.Compare(a.Name, b.Name) })

	root := slices.MinFunc(r.rows, compareRoots)
	b := &root.chunk.batch
	s.RootService = b.String(b.Service[root.row])
	s.RootName = b.String(b.Name[root.row])
	s.RootKind = b.Kind[root.row]
	s.RootMissing = !b.Parent[root.row].IsZero()

	var newest [matchedSpans + 1]location
	n := 0
	for _, l := range r.matched {
		newest[n] = l
		for i := n; i > 0 && compareNewest(newest[i], newest[i-1]) < 0; i-- {
			newest[i], newest[i-1] = newest[i-1], newest[i]
		}
		n = min(n+1, matchedSpans)
	}
	for _, l := range newest[:n] {
		s.MatchedSpans = append(s.MatchedSpans, l.chunk.batch.SpanID[l.row])
	}
	return s
}

// compareRoots orders the spans of a trace by how well they stand for it: without a parent, first, longest; the rest only
// makes the choice the same in every engine.
func compareRoots(x, y location) int {
	a, b := &x.chunk.batch, &y.chunk.batch
	orphan := func(l location) int {
		if l.chunk.batch.Parent[l.row].IsZero() {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(orphan(x), orphan(y)),
		cmp.Compare(a.Time[x.row], b.Time[y.row]),
		cmp.Compare(b.EndTime(y.row), a.EndTime(x.row)),
		bytes.Compare(a.SpanID[x.row][:], b.SpanID[y.row][:]),
		cmp.Compare(a.Kind[x.row], b.Kind[y.row]),
		bytes.Compare(a.Bytes(a.Service[x.row]), b.Bytes(b.Service[y.row])),
	)
}

// compareNewest orders matching spans: newest start first, then span id.
func compareNewest(x, y location) int {
	a, b := &x.chunk.batch, &y.chunk.batch
	return cmp.Or(cmp.Compare(b.Time[y.row], a.Time[x.row]), bytes.Compare(a.SpanID[x.row][:], b.SpanID[y.row][:]))
}
