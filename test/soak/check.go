package main

import (
	"bytes"
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// late is how long after retention the last hour of spans may still be here: the rest of its hour, and until somebody looks.
const late = time.Hour + time.Hour

// check asks one question after the other and compares the answer with what the ledger says.
func (l *life) check(ctx context.Context, r *rand.Rand) {
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch r.IntN(12) {
		case 0, 1:
			l.search(ctx, r)
		case 2:
			l.lists(ctx, r)
		case 3:
			l.rollups(ctx, r)
		case 4:
			l.keptOne(ctx, r)
		case 5:
			l.goneOne(ctx, r)
		default:
			l.oneByID(ctx, r)
		}
	}
}

// alive reports whether a receipt is still within retention now.
func (l *life) alive(received int64) bool { return received > l.clock.now().Add(-retention).UnixNano() }

func (l *life) oneByID(ctx context.Context, r *rand.Rand) {
	n, e := l.ledger.pick(r, func(e entry) bool { return e.acked && l.alive(e.first) })
	if n < 0 {
		return
	}
	missing, wrong, err := l.lookUp(ctx, n, e)
	if ctx.Err() != nil || !l.alive(e.first) {
		return
	}
	l.counts[byID].Add(1)
	if err != nil || missing > 0 || wrong > 0 {
		l.fail("batch %d: %d spans missing, %d different, %v", n, missing, wrong, err)
	}
}

func (l *life) keptOne(ctx context.Context, r *rand.Rand) {
	n, e, until := l.ledger.pickKept(r)
	if n < 0 {
		return
	}
	missing, wrong, err := l.lookUp(ctx, n, e)
	if ctx.Err() != nil || until != 0 && until <= l.clock.now().UnixNano() && !l.alive(e.first) {
		return
	}
	l.counts[keptFound].Add(1)
	if err != nil || missing > 0 || wrong > 0 {
		l.fail("kept batch %d: %d spans missing, %d different, %v", n, missing, wrong, err)
	}
}

// goneOne looks for what retention must have taken.
func (l *life) goneOne(ctx context.Context, r *rand.Rand) {
	limit := l.clock.now().Add(-retention - late).UnixNano()
	n, e := l.ledger.pick(r, func(e entry) bool { return e.last < limit })
	if n < 0 {
		return
	}
	l.ledger.mu.Lock()
	_, kept := l.ledger.kept[n]
	l.ledger.mu.Unlock()
	missing, _, err := l.lookUp(ctx, n, e)
	if ctx.Err() != nil || kept || err != nil {
		return
	}
	l.counts[gone].Add(1)
	if all := len(spansOf(l.seed, n, e.first)); missing != all {
		l.fail("batch %d is still here, %s after its time: %d of %d spans", n, l.clock.now().Sub(time.Unix(0, e.last))-retention, all-missing, all)
	}
}

// lookUp counts what of a batch is not found by its trace's id.
func (l *life) lookUp(ctx context.Context, n int, e entry) (missing, wrong int, err error) {
	want := make(map[span.SpanID]wanted)
	for _, w := range spansOf(l.seed, n, e.first) {
		want[w.id] = w
	}
	have := make(map[span.SpanID]bool)
	for b, err := range l.engine.Trace(ctx, scope, traceOf(n), store.TimeRange{}) {
		if err != nil {
			return 0, 0, err
		}
		for row := range b.Len() {
			if numberOf(b, row) != n {
				continue
			}
			if w, ok := want[b.SpanID[row]]; !ok || !w.same(b, row) {
				wrong++
			}
			have[b.SpanID[row]] = true
		}
	}
	for id := range want {
		if !have[id] {
			missing++
		}
	}
	return missing, wrong, nil
}

// fresh is how many of the last minutes are left out: rollups of memtables may be a second old, two minutes of the fast clock.
const fresh = 3

// window is some minutes that are over and stay within retention while they are asked about. Whole minutes, for rollups.
func (l *life) window(r *rand.Rand) (w store.TimeRange, ok bool) {
	const minute = int64(time.Minute)
	now := l.clock.now()
	low := now.Add(-retention+15*time.Minute).UnixNano()/minute + 1
	high := l.ledger.settled(now.UnixNano())/minute - fresh
	if high <= low {
		return w, false
	}
	from := low + r.Int64N(high-low)
	return store.TimeRange{From: from * minute, To: min(high, from+1+r.Int64N(8)) * minute}, true
}

// inTime reports whether a window's spans were within retention all the while.
func (l *life) inTime(w store.TimeRange) bool { return l.alive(w.From) }

// counted is how often something must and may be found.
type counted struct{ must, may int }

// expect calls fn with every span that starts in a window, with whether it must be there and how many copies may be.
func (l *life) expect(w store.TimeRange, fn func(n int, s wanted, must bool, copies int)) {
	for n, e := range l.ledger.between(w.From, w.To+spread) {
		for _, s := range spansOf(l.seed, n, e.first) {
			if w.Contains(int64(s.start)) {
				fn(n, s, e.acked, e.tries)
			}
		}
	}
}

// search compares the pages of a search with the ledger and with a scan.
func (l *life) search(ctx context.Context, r *rand.Rand) {
	w, ok := l.window(r)
	if !ok {
		return
	}
	service, tag := r.IntN(services), r.IntN(tags)
	q := store.Search{Range: w, Mode: store.Start, Limit: 1 + r.IntN(40), Match: store.And{
		store.Cond{Field: store.Field{In: store.Intrinsic, Key: store.FieldService}, Op: store.Eq, Value: store.Text(serviceName(service))},
		store.Cond{Field: store.Field{In: store.InSpan, Key: "tag"}, Op: store.Eq, Value: store.Text(strconv.Itoa(tag))},
	}}
	want := make(map[span.TraceID]counted)
	l.expect(w, func(n int, s wanted, must bool, _ int) {
		if s.service == service && s.tag == tag {
			c := want[traceOf(n)]
			c.may++
			if must {
				c.must++
			}
			want[traceOf(n)] = c
		}
	})
	found, ok := l.pages(ctx, q)
	scannedRows, scanOK := l.scan(ctx, w, q.Match)
	if !ok || !scanOK || ctx.Err() != nil || !l.inTime(w) {
		return
	}
	l.counts[searched].Add(1)
	l.counts[scanned].Add(1)
	got := make(map[span.TraceID]int)
	for _, s := range found {
		if _, twice := got[s.TraceID]; twice {
			l.fail("search %+v: trace %s twice", q, s.TraceID)
		}
		got[s.TraceID] = s.Matched
	}
	if !slices.IsSortedFunc(found, func(a, b store.Summary) int {
		return cmp.Or(cmp.Compare(b.MatchedStart, a.MatchedStart), bytes.Compare(a.TraceID[:], b.TraceID[:]))
	}) {
		l.fail("search %+v: not newest first", q)
	}
	for id, c := range want {
		if got[id] < c.must || got[id] > c.may {
			l.fail("search %+v: trace %s has %d matching spans, want %d to %d", q, id, got[id], c.must, c.may)
		}
	}
	for id, matched := range got {
		if _, ok := want[id]; !ok {
			l.fail("search %+v: trace %s does not match", q, id)
		}
		if matched != len(scannedRows[id]) {
			l.fail("search %+v: trace %s has %d matching spans, by scan %d", q, id, matched, len(scannedRows[id]))
		}
	}
	if len(scannedRows) != len(got) {
		l.fail("search %+v: %d traces, by scan %d", q, len(got), len(scannedRows))
	}
}

// pages reads a search to its end.
func (l *life) pages(ctx context.Context, q store.Search) (found []store.Summary, ok bool) {
	for {
		page, err := l.engine.Search(ctx, scope, &q)
		if ctx.Err() != nil {
			return nil, false
		}
		if err != nil || !page.Complete {
			l.fail("search %+v: %+v, %v", q, page, err)
			return nil, false
		}
		found = append(found, page.Traces...)
		if page.Next == "" {
			return found, true
		}
		q.Page = page.Next
	}
}

// scan finds the distinct matching spans by trace.
func (l *life) scan(ctx context.Context, w store.TimeRange, match store.Expr) (map[span.TraceID]map[span.SpanID]bool, bool) {
	found := make(map[span.TraceID]map[span.SpanID]bool)
	for rows, err := range l.engine.Scan(ctx, scope, &store.Scan{Range: w, Mode: store.Start, Match: match, Need: store.Need{Columns: store.ColIdentity}}) {
		if err != nil {
			if ctx.Err() == nil {
				l.fail("scan: %v", err)
			}
			return nil, false
		}
		for _, row := range rows.Rows {
			id := rows.Batch.TraceID[row]
			if found[id] == nil {
				found[id] = make(map[span.SpanID]bool)
			}
			found[id][rows.Batch.SpanID[row]] = true
		}
	}
	return found, true
}

// lists compares services, operations and values with what must be in them.
func (l *life) lists(ctx context.Context, r *rand.Rand) {
	w, ok := l.window(r)
	if !ok {
		return
	}
	service := r.IntN(services)
	inServices, inNames, inTags := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	l.expect(w, func(_ int, s wanted, must bool, _ int) {
		if !must {
			return
		}
		inServices[serviceName(s.service)] = true
		inTags[strconv.Itoa(s.tag)] = true
		if s.service == service {
			inNames[opName(s.name)] = true
		}
	})
	list, _, err := l.engine.Services(ctx, scope, w)
	ops, _, err2 := l.engine.Operations(ctx, scope, serviceName(service), w)
	values, _, err3 := l.engine.Values(ctx, scope, store.ValuesQuery{Range: w, Field: store.Field{In: store.InSpan, Key: "tag"}, Limit: 2 * tags})
	if ctx.Err() != nil || !l.inTime(w) {
		return
	}
	if err := cmp.Or(err, err2, err3); err != nil {
		l.fail("lists: %v", err)
		return
	}
	l.counts[listed].Add(1)
	for _, s := range list {
		delete(inServices, s.Name)
	}
	for _, o := range ops {
		delete(inNames, o.Name)
	}
	for _, v := range values {
		delete(inTags, v.Text)
	}
	if len(inServices)+len(inNames)+len(inTags) > 0 {
		l.fail("lists of %+v: missing services %v, operations of %s %v, tags %v", w, inServices, serviceName(service), inNames, inTags)
	}
}

// rollups compares the number of spans counted in a window with what must and what may be in it. Copies in different segments count
// until they are joined.
func (l *life) rollups(ctx context.Context, r *rand.Rand) {
	w, ok := l.window(r)
	if !ok {
		return
	}
	var want counted
	l.expect(w, func(_ int, _ wanted, must bool, copies int) {
		want.may += copies
		if must {
			want.must++
		}
	})
	t, done, err := l.engine.Rollups(ctx, scope, w)
	if ctx.Err() != nil || !l.inTime(w) {
		return
	}
	if err != nil || !done.Complete {
		l.fail("rollups of %+v: %+v, %v", w, done, err)
		return
	}
	if t.Step() != rollup.Minute {
		return
	}
	l.counts[rolled].Add(1)
	got := 0
	for _, cells := range t.Series() {
		for _, c := range cells {
			if w.Contains(c.Start) {
				got += int(c.N)
			}
		}
	}
	got += int(t.Uncounted)
	if got < want.must || got > want.may {
		l.fail("rollups of %+v: %d spans, want %d to %d", w, got, want.must, want.may)
	}
}
