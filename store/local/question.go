package local

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/match"
)

// question is a condition and a window, asked of unit after unit. It keeps what it found out about a segment's side tables. It is
// not safe for concurrent use.
//
// Of a segment a condition is judged by its column: once for each different value of the block, resource or service. What columns
// cannot tell (events, links, a key that stands twice in one span) is judged on a batch of the rows that are left, by the same
// code that judges rows everywhere: package match.
type question struct {
	ctx      context.Context
	reads    *reads
	prog     *match.Program
	need     store.Need
	window   match.Window
	shortest int64 // ns: no shorter span meets the condition
	hashes   map[string]uint64
	asks     map[askKey]*ask
	bound    *match.Bound // for batches
	scratch  []uint32
	fields   []uint32
}

// ask is one condition about one owner.
type ask struct {
	prog   *match.Program
	values *match.Values
	bound  *match.Bound
	// of the segment that was asked last: the answers by index of a side table
	seg   *segmentFile
	known []bool
}

type askKey struct {
	cond  int
	owner store.FieldScope
}

// reads counts what questions cost, for Stats.
type reads struct{ questions, blocks, passed atomic.Int64 }

func newQuestion(ctx context.Context, counts *reads, prog *match.Program, w match.Window) *question {
	counts.questions.Add(1)
	return &question{ctx: ctx, reads: counts, prog: prog, need: prog.Need(), window: w, shortest: prog.MinDuration(),
		hashes: make(map[string]uint64), asks: make(map[askKey]*ask)}
}

// possible reports whether a unit may have an answer, by what is known of it without its rows, and counts it.
func (q *question) possible(u *unit) (bool, error) {
	ok, err := q.mayHave(u)
	if ok {
		q.reads.blocks.Add(1)
	} else {
		q.reads.passed.Add(1)
	}
	return ok, err
}

func (q *question) mayHave(u *unit) (bool, error) {
	if !q.window.Block(u.minStart, u.maxStart, u.maxEnd) || u.maxDuration < q.shortest {
		return false, nil
	}
	if u.mem != nil {
		return q.prog.Possible(match.Known{Text: u.mem.has}), nil
	}
	ok := false
	err := segment.Guard(func() (err error) {
		has := func(hash uint64) bool {
			may, e := u.seg.r.MayHaveHash(u.block, hash)
			if e != nil {
				err = e
			}
			return may
		}
		ok = q.prog.Possible(match.Known{
			Text:   func(text string) bool { return has(q.hash(text)) },
			Failed: func(service string) bool { return has(segment.FailedHash(q.hash(service))) },
		})
		return err
	})
	return ok, err
}

// hash is the hash of a text that many blocks are asked for.
func (q *question) hash(text string) uint64 {
	h, known := q.hashes[text]
	if !known {
		h = segment.TextHash(text)
		q.hashes[text] = h
	}
	return h
}

// rows lists the rows of a unit that meet condition and window; valid until the next call.
func (q *question) rows(o *opened) ([]uint32, error) {
	n := o.unit.rows()
	q.scratch = slices.Grow(q.scratch[:0], n)[:n]
	for i := range q.scratch {
		q.scratch[i] = uint32(i)
	}
	rows := q.scratch
	if o.mem != nil {
		return q.memory(o, rows)
	}
	err := segment.Guard(func() (err error) {
		rows, err = q.prog.Narrow(rows, func(cond int, rows []uint32) ([]uint32, error) { return q.leaf(o, cond, rows) })
		if err != nil || len(rows) == 0 || q.window.Covers(o.minStart, o.maxStart) {
			return err
		}
		time, start, end := o.rows.Times()
		b := span.Batch{Time: time, Start: start, End: end}
		rows = slices.DeleteFunc(rows, func(row uint32) bool { return !q.window.Row(&b, int(row)) })
		return nil
	})
	if err == nil {
		err = o.rows.Err()
	}
	return rows, err
}

// memory judges the rows of a memtable, where nothing is to be unpacked.
func (q *question) memory(o *opened, rows []uint32) ([]uint32, error) {
	v := &o.mem.view
	if q.window.TimeRange != (store.TimeRange{}) {
		b := span.Batch{Time: v.Time[o.lo:o.hi], Start: v.Start[o.lo:o.hi], End: v.End[o.lo:o.hi]}
		rows = slices.DeleteFunc(rows, func(row uint32) bool { return !q.window.Row(&b, int(row)) })
	}
	if q.prog.Always() || len(rows) == 0 {
		return rows, nil
	}
	b, err := o.batch(q.need, rows)
	if err != nil {
		return nil, err
	}
	q.bind(&q.bound, q.prog, b)
	return q.filter(q.bound, rows)
}

func (q *question) bind(bound **match.Bound, prog *match.Program, b *span.Batch) {
	if *bound == nil {
		*bound = prog.Bind(b)
	} else {
		(*bound).Rebind(b)
	}
}

// filter keeps rows[i] where the program holds on row i of the bound batch.
func (q *question) filter(bound *match.Bound, rows []uint32) ([]uint32, error) {
	const slowRows, fastRows = 16, 1024
	every := fastRows
	if bound.Slow() {
		every = slowRows
	}
	kept := rows[:0]
	for i, row := range rows {
		if i%every == 0 && q.ctx.Err() != nil {
			return nil, q.ctx.Err()
		}
		if bound.Row(i) {
			kept = append(kept, row)
		}
	}
	return kept, nil
}

func (q *question) ask(cond int, owner store.FieldScope) *ask {
	key := askKey{cond, owner}
	a := q.asks[key]
	if a == nil {
		a = &ask{prog: q.prog.One(cond, owner)}
		a.values = a.prog.Values()
		q.asks[key] = a
	}
	return a
}

// leaf judges one condition on rows of a block of a segment.
func (q *question) leaf(o *opened, cond int, rows []uint32) ([]uint32, error) {
	switch f := q.prog.Field(cond); f.In {
	case store.Intrinsic:
		return q.intrinsic(o, cond, f.Key, rows)
	case store.InAny:
		return q.anyOwner(o, cond, rows)
	default:
		return q.owner(o, cond, f.In, rows)
	}
}

// anyOwner is the union over all owners.
func (q *question) anyOwner(o *opened, cond int, rows []uint32) ([]uint32, error) {
	var hits []uint32
	for _, owner := range [...]store.FieldScope{store.InSpan, store.InResource, store.InScope, store.InEvent, store.InLink} {
		some, err := q.owner(o, cond, owner, slices.Clone(rows))
		if err != nil {
			return nil, err
		}
		hits = append(hits, some...)
	}
	slices.Sort(hits)
	return slices.Compact(hits), nil
}

func (q *question) owner(o *opened, cond int, owner store.FieldScope, rows []uint32) ([]uint32, error) {
	q.fields = o.rows.FieldsOf(q.fields[:0], owner, q.prog.Field(cond).Key)
	if len(q.fields) == 0 {
		return rows[:0], nil
	}
	a := q.ask(cond, owner)
	switch owner {
	case store.InResource:
		return q.side(o, a, segment.SideResource, rows)
	case store.InScope:
		return q.side(o, a, segment.SideScope, rows)
	}
	fields := slices.DeleteFunc(q.fields, func(f uint32) bool { return !o.rows.HasField(f) })
	switch {
	case len(fields) == 0:
		return rows[:0], nil
	case owner != store.InSpan || o.rows.Repeated():
		return q.onBatch(o, a, rows)
	case len(fields) == 1:
		return q.column(o, a, o.rows.Field(fields[0]), rows)
	}
	var hits []uint32 // a span has the key in at most one type
	for _, f := range fields {
		some, err := q.column(o, a, o.rows.Field(f), slices.Clone(rows))
		if err != nil {
			return nil, err
		}
		hits = append(hits, some...)
	}
	slices.Sort(hits)
	return hits, nil
}

// column judges a condition once for each value.
func (q *question) column(o *opened, a *ask, c *segment.Column, rows []uint32) ([]uint32, error) {
	if err := o.rows.Err(); err != nil {
		return nil, err
	}
	if text, ok := a.values.Text(); ok && c.Type == span.TypeString {
		return o.rows.KeepText(c, rows, text), nil
	}
	arena, _ := c.Dict.All()
	a.values.Arena(arena)
	asked := 0
	return o.rows.KeepCodes(c, rows, func(code uint32) (bool, error) {
		if asked++; asked&15 == 0 && q.ctx.Err() != nil {
			return false, q.ctx.Err()
		}
		return a.values.Holds(c.Value(code)), nil
	})
}

// side judges a condition once for each resource or scope of the segment.
func (q *question) side(o *opened, a *ask, column segment.Side, rows []uint32) ([]uint32, error) {
	if a.seg != o.seg {
		b := sideBatch(o.rows.Side, column, a.prog.Need())
		q.bind(&a.bound, a.prog, b)
		a.known = make([]bool, b.Len())
		for i := range a.known {
			if i&15 == 0 && q.ctx.Err() != nil {
				return nil, q.ctx.Err()
			}
			a.known[i] = a.bound.Row(i)
		}
		a.seg = o.seg
	}
	return o.rows.Keep(column, rows, func(i uint32) bool { return a.known[i] }), nil
}

// sideBatch is a batch with a row for each resource, scope or service of a segment.
func sideBatch(side *table.View, column segment.Side, need store.Need) *span.Batch {
	n := map[segment.Side]int{segment.SideResource: len(side.Resources), segment.SideScope: len(side.Scopes), segment.SideIdent: len(side.Idents)}[column]
	v := *side
	own := make([]uint32, n)
	for i := range own {
		own[i] = uint32(i)
	}
	v.Rares = []table.Rare{{Weight: 1}}
	if len(v.Resources) == 0 || len(v.Scopes) == 0 || len(v.Idents) == 0 {
		return &span.Batch{}
	}
	v.TraceIDs = []span.TraceID{{1}}
	none := make([]uint32, n)
	v.Trace, v.Ident, v.Rare, v.Resource, v.Scope = none, none, none, none, none
	switch column {
	case segment.SideResource:
		v.Resource = own
	case segment.SideScope:
		v.Scope = own
	default:
		v.Ident = own
	}
	v.Span, v.Parent = make([]span.SpanID, n), make([]span.SpanID, n)
	v.Start, v.End, v.Time = make([]uint64, n), make([]uint64, n), make([]int64, n)
	v.Name, v.Kind, v.Status, v.Mark = make([]table.ID, n), make([]span.Kind, n), make([]span.Status, n), make([]span.Mark, n)
	v.Attrs, v.EventsEnd, v.LinksEnd = make([]table.List, n), none, none
	return table.NewFiller(need).Batch(&v, nil, 0, n)
}

// onBatch judges a condition on a batch of the rows that are left.
func (q *question) onBatch(o *opened, a *ask, rows []uint32) ([]uint32, error) {
	b, err := o.batch(a.prog.Need(), rows)
	if err != nil {
		return nil, err
	}
	q.bind(&a.bound, a.prog, b)
	a.seg = nil
	return q.filter(a.bound, rows)
}

// onColumns judges a condition on a batch that has columns of the block as they are: row numbers are the block's.
func (q *question) onColumns(a *ask, b *span.Batch, rows []uint32) ([]uint32, error) {
	q.bind(&a.bound, a.prog, b)
	kept := rows[:0]
	for _, row := range rows {
		if a.bound.Row(int(row)) {
			kept = append(kept, row)
		}
	}
	return kept, nil
}

func (q *question) intrinsic(o *opened, cond int, key string, rows []uint32) ([]uint32, error) {
	a := q.ask(cond, store.Intrinsic)
	switch key {
	case store.FieldService, store.FieldGroup, store.FieldNamespace:
		return q.side(o, a, segment.SideIdent, rows)
	case store.FieldScopeName, store.FieldScopeVersion:
		return q.side(o, a, segment.SideScope, rows)
	case store.FieldName:
		return q.column(o, a, o.rows.Names(), rows)
	case store.FieldStatusMessage:
		return q.rareText(o, a, o.rows.Message(), rows)
	case store.FieldTraceState:
		return q.rareText(o, a, o.rows.State(), rows)
	case store.FieldKind:
		b := span.Batch{Kind: make([]span.Kind, 1)}
		q.bind(&a.bound, a.prog, &b)
		return o.rows.Keep(segment.SideKind, rows, func(v uint32) bool {
			b.Kind[0] = span.Kind(v)
			return a.bound.Row(0)
		}), nil
	case store.FieldStatus:
		b := span.Batch{Status: make([]span.Status, 1)}
		q.bind(&a.bound, a.prog, &b)
		return o.rows.Keep(segment.SideStatus, rows, func(v uint32) bool {
			b.Status[0] = span.Status(v)
			return a.bound.Row(0)
		}), nil
	case store.FieldDuration:
		time, start, end := o.rows.Times()
		if least := a.prog.MinDuration(); least > 0 { // most spans are shorter than what is asked for
			rows = slices.DeleteFunc(rows, func(row uint32) bool { return span.DurationOf(start[row], end[row]) < least })
		}
		return q.onColumns(a, &span.Batch{Time: time, Start: start, End: end}, rows)
	case store.FieldRoot, store.FieldParentID:
		return q.onColumns(a, &span.Batch{Parent: o.rows.Parents()}, rows)
	case store.FieldSpanID:
		return q.onColumns(a, &span.Batch{SpanID: o.rows.Spans()}, rows)
	case store.FieldError:
		return q.failed(o, a, rows)
	}
	return q.onBatch(o, a, rows)
}

// rareText judges a column that is absent where all its texts are empty.
func (q *question) rareText(o *opened, a *ask, c *segment.Column, rows []uint32) ([]uint32, error) {
	if c != nil {
		return q.column(o, a, c, rows)
	}
	a.values.Arena(nil)
	if a.values.Holds(span.StrValue(span.TypeString, span.Str{})) {
		return rows, nil
	}
	return rows[:0], nil
}

// failed judges a condition on span.Batch.Failed. Rows that no error attribute speaks of are told by their status.
func (q *question) failed(o *opened, a *ask, rows []uint32) ([]uint32, error) {
	q.fields = slices.DeleteFunc(o.rows.FieldsOf(q.fields[:0], store.InSpan, "error"), func(f uint32) bool { return !o.rows.HasField(f) })
	if o.rows.Repeated() && len(q.fields) > 0 {
		return q.onBatch(o, a, rows)
	}
	bad := o.rows.Keep(segment.SideStatus, slices.Clone(rows), func(v uint32) bool { return span.Status(v) == span.StatusError })
	for _, f := range q.fields {
		c := o.rows.Field(f)
		if err := o.rows.Err(); err != nil {
			return nil, err
		}
		some, err := o.rows.KeepCodes(c, slices.Clone(rows), func(code uint32) (bool, error) { return valueFails(c, code), nil })
		if err != nil {
			return nil, err
		}
		some = o.rows.Keep(segment.SideStatus, some, func(v uint32) bool {
			return span.Status(v) != span.StatusError && span.Status(v) != span.StatusOK
		})
		bad = append(bad, some...)
	}
	slices.Sort(bad)
	// The condition is about the bool: it is asked once for true and once for false.
	holds := func(failed bool) bool {
		b := span.Batch{Status: []span.Status{span.StatusUnset}}
		if failed {
			b.Status[0] = span.StatusError
		} else {
			b.Status[0] = span.StatusOK
		}
		q.bind(&a.bound, a.prog, &b)
		return a.bound.Row(0)
	}
	switch onBad, onGood := holds(true), holds(false); {
	case onBad && onGood:
		return rows, nil
	case onBad:
		return append(rows[:0], bad...), nil
	case onGood:
		return slices.DeleteFunc(rows, func(row uint32) bool {
			_, is := slices.BinarySearch(bad, row)
			return is
		}), nil
	}
	return rows[:0], nil
}

// valueFails is what span.Batch.Failed makes of an error attribute where the status is unset.
func valueFails(c *segment.Column, code uint32) bool {
	switch c.Type {
	case span.TypeBool:
		return c.Dict.Nums[code] != 0
	case span.TypeString:
		t := c.Dict.Append(nil, code)
		return len(t) > 0 && string(t) != "false"
	}
	return false
}

// damagedReason says in words that a part could not be read.
func damagedReason(u *unit) string {
	if u.seg.far {
		return fmt.Sprintf("segment %d is damaged in the bucket: its spans are missing", u.seg.entry.Number)
	}
	return fmt.Sprintf("segment %d is damaged: its spans are missing (spanloom fsck tells more)", u.seg.entry.Number)
}
