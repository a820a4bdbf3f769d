package query

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local"
	"github.com/spanloom/spanloom/store/mem"
)

// TestMapOfSegments sends traffic to the embedded engine so that the spans of most traces lie in two segments, and of some in
// the memory part: map and services, from its rollups, are what a scan of mem answers.
func TestMapOfSegments(t *testing.T) {
	start := time.Unix(0, epoch).Truncate(time.Minute).Add(-30 * time.Minute)
	e, err := local.Open(t.Context(), local.Options{Dir: t.TempDir(), Now: testClock, Sync: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m := mem.New(mem.Options{Now: testClock})
	defer m.Close()
	d := load.New(5, start, 4, load.FormOTLP)
	const chunk, chunks = 200, 6 // traces; 5 minutes in all
	var tr load.Trace
	for segment := range chunks + 1 { // every other span of one chunk, and what is left of the one before
		b := &span.Batch{Tenant: store.DefaultTenant, Received: testClock().UnixNano()}
		rows := d.Rows(b)
		for no := max(segment-1, 0) * chunk; no < min(segment+1, chunks)*chunk; no++ {
			d.Trace(uint64(no), &tr)
			for i := range tr.Spans {
				if (i%2 == 0) == (no/chunk == segment) {
					rows.Add(&tr, i)
				}
			}
		}
		if err := e.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := m.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if segment < chunks {
			if err := e.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	byRollup, byScan := New(Options{Reader: e, Now: testClock}), New(Options{Reader: m, Now: testClock})
	r := store.TimeRange{From: start.UnixNano(), To: start.Add(6 * time.Minute).UnixNano()}
	table, _, ok, err := byRollup.rollups(t.Context(), scope, r)
	if err != nil || !ok || table.Halves() < 1000 {
		t.Fatalf("rollups answer: %v, %v; %d halves", ok, err, table.Halves())
	}
	got, err := byRollup.Map(t.Context(), scope, MapQuery{Range: r, Compare: true})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 { // several at once: they share the tables of the engine
		wg.Go(func() {
			same, err := byRollup.Map(t.Context(), scope, MapQuery{Range: r, Compare: true})
			if err != nil || printMap(same) != printMap(got) {
				t.Errorf("asked again: %v", err)
			}
		})
	}
	wg.Wait()
	want, err := byScan.Map(t.Context(), scope, MapQuery{Range: r, Compare: true})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := printMap(got), printMap(want); a != b {
		t.Errorf("rollups\n%s\nscan\n%s", a, b)
	}
	services := func(q *Query) string {
		a, err := q.Services(t.Context(), scope, ServicesQuery{Range: r})
		if err != nil || !a.Complete {
			t.Fatal(err, a.Reason)
		}
		return fmt.Sprintf("%+v", a.Items)
	}
	if a, b := services(byRollup), services(byScan); a != b {
		t.Errorf("rollups\n%s\nscan\n%s", a, b)
	}
}
