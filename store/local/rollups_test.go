package local

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/test/engines"
)

// TestRollupsOfHours: whether tables of segments are merged one by one, of hours that are kept, or into sums, they say what a scan of
// all rows says, although every segment cuts traces in two.
func TestRollupsOfHours(t *testing.T) {
	batches, start := engines.Traffic(newClock().Now(), 600, 7)
	e := open(t, Options{FS: faultfs.NewMem(1), MaxMemory: 1 << 30})
	t.Cleanup(func() { e.Close() })
	for _, b := range batches {
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
		want := storetest.Totals(storetest.Scanned(t, e, defaultScope(), r))
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
					if got := storetest.Totals(table); got != want {
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
	if err != nil || storetest.Totals(kept) != storetest.Totals(oneByOne) || e.hours.held() == 0 {
		t.Errorf("%v, %d bytes are held; one by one\n%s\nkept\n%s", err, e.hours.held(), storetest.Totals(oneByOne), storetest.Totals(kept))
	}
	e.hours = hourTables{}
	e.hours.keep(hourTable{hour: 1, bytes: 5}, 4)
	if e.hours.held() != 0 || len(e.hours.kept) != 0 {
		t.Errorf("%d bytes are held beyond the limit", e.hours.held())
	}
}
