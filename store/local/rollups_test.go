package local

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// TestRollupsOfHours: whether tables of segments are merged one by one, of hours that are kept, or into sums, they say what a scan of
// all rows says, although every segment cuts traces in two.
func TestRollupsOfHours(t *testing.T) {
	start := newClock().Now().Add(-20 * time.Minute).Truncate(time.Minute)
	e := open(t, Options{FS: faultfs.NewMem(1), MaxMemory: 1 << 30})
	t.Cleanup(func() { e.Close() })
	d := load.New(5, start, 1, load.FormOTLP)
	traces := make([]load.Trace, 600)
	type sent struct{ trace, span int }
	var order []sent
	for no := range traces {
		d.Trace(uint64(no), &traces[no])
		for i := range traces[no].Spans {
			order = append(order, sent{no, i})
		}
	}
	slices.SortStableFunc(order, func(x, y sent) int {
		return cmp.Compare(traces[x.trace].Spans[x.span].End, traces[y.trace].Spans[y.span].End)
	})
	for piece := range slices.Chunk(order, len(order)/7) {
		b := &span.Batch{Tenant: store.DefaultTenant, Received: newClock().Now().UnixNano()}
		rows := d.Rows(b)
		for _, s := range piece {
			rows.Add(&traces[s.trace], s.span)
		}
		if err := e.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range []store.TimeRange{
		{From: start.UnixNano(), To: start.Add(20 * time.Minute).UnixNano()},
		{From: start.Add(2 * time.Minute).UnixNano(), To: start.Add(7 * time.Minute).UnixNano()},
		{From: start.Add(9 * time.Minute).UnixNano(), To: start.Add(10 * time.Minute).UnixNano()},
	} {
		b := rollup.NewBuilder()
		for rows, err := range e.Scan(t.Context(), defaultScope(), &store.Scan{Mode: store.Start, Need: rollup.Need()}) {
			if err != nil {
				t.Fatal(err)
			}
			b.Collect(rows)
		}
		b.Flush(r)
		want := totals(b.Table())
		if strings.Count(want, "\n") < 50 {
			t.Fatalf("only\n%s", want)
		}
		e.hours = hourTables{}
		for _, try := range []string{"made", "kept"} {
			var askers sync.WaitGroup // they share what is kept
			for name, ask := range map[string]func(context.Context, store.Scope, store.TimeRange) (*rollup.Table, store.Done, error){
				"rollups": e.Rollups, "rollups too": e.Rollups, "sums": e.Sums, "sums too": e.Sums,
			} {
				askers.Go(func() {
					table, done, err := ask(t.Context(), defaultScope(), r)
					if err != nil || !done.Complete {
						t.Error(done, err)
						return
					}
					if got := totals(table); got != want {
						t.Errorf("%s %s of %v\n%s\na scan says\n%s", try, name, r, got, want)
					}
					if strings.HasPrefix(name, "sums") && table.Cells() > table.Keys() {
						t.Errorf("%d cells of %d keys in sums", table.Cells(), table.Keys())
					}
				})
			}
			askers.Wait()
			if kept := e.hours.held() > 0; kept != (i < 2) {
				t.Errorf("an hour of which range %d asks is kept: %v", i, kept)
			}
		}
	}
	// What was found to be too large is merged one by one, and not tried again.
	large := hourTable{hour: e.segments[0].entry.Hour}
	for _, f := range e.segments {
		large.numbers = append(large.numbers, f.entry.Number)
	}
	e.hours = hourTables{kept: []hourTable{large}}
	all := store.TimeRange{From: start.UnixNano(), To: start.Add(20 * time.Minute).UnixNano()}
	oneByOne, _, err := e.Rollups(t.Context(), defaultScope(), all)
	if err != nil || e.hours.held() != 0 {
		t.Errorf("%v, and %d bytes are held of a large hour", err, e.hours.held())
	}
	e.hours = hourTables{}
	kept, _, err := e.Rollups(t.Context(), defaultScope(), all)
	if err != nil || totals(kept) != totals(oneByOne) || e.hours.held() == 0 {
		t.Errorf("%v, %d bytes are held; one by one\n%s\nkept\n%s", err, e.hours.held(), totals(oneByOne), totals(kept))
	}
	e.hours = hourTables{}
	e.hours.keep(hourTable{hour: 1, bytes: 5}, 4)
	if e.hours.held() != 0 || len(e.hours.kept) != 0 {
		t.Errorf("%d bytes are held beyond the limit", e.hours.held())
	}
}

// totals prints a table's keys with their sums.
func totals(t *rollup.Table) string {
	var lines []string
	add := func(key any, cells []rollup.Cell) {
		var c rollup.Counts
		for i := range cells {
			c.Merge(&cells[i].Counts)
		}
		if c.N > 0 {
			lines = append(lines, fmt.Sprintf("%+v n=%d errors=%d p50=%d p99=%d\n", key, c.N, c.Errors, c.Durations.Quantile(0.5), c.Durations.Quantile(0.99)))
		}
	}
	for k, cells := range t.Series() {
		add(k, cells)
	}
	for k, cells := range t.Edges() {
		add(k, cells)
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
