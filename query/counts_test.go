package query

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/rollup"
)

// rolled is mem with what an engine of segments has: a table per segment, made from the same rows.
type rolled struct {
	store.Reader
	segments []*rollup.Table
	asked    []store.TimeRange
}

func (r *rolled) Rollups(_ context.Context, _ store.Scope, tr store.TimeRange) (*rollup.Table, store.Done, error) {
	r.asked = append(r.asked, tr)
	t := rollup.New()
	for _, s := range r.segments {
		t.MergeRange(s, tr)
	}
	return t, store.Done{Complete: true}, nil
}

// loaded is an engine with traffic of load, and the same one with rollups in several segments.
func loaded(t testing.TB, traces int, start time.Time) (*mem.Engine, *rolled) {
	t.Helper()
	e := mem.New(mem.Options{Now: testClock})
	t.Cleanup(func() { e.Close() })
	d := load.New(3, start, 2, load.FormOTLP)
	r := &rolled{Reader: e}
	for from := 0; from < traces; from += 100 {
		b := &span.Batch{Tenant: store.DefaultTenant, Received: testClock().UnixNano()}
		rows := d.Rows(b)
		var tr load.Trace
		for no := from; no < min(from+100, traces); no++ {
			d.Trace(uint64(no), &tr)
			rows.All(&tr)
		}
		for i := range b.Weight {
			if b.TraceID[i][15]%3 == 0 {
				b.Weight[i] = 10
			}
		}
		if err := e.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		builder := rollup.NewBuilder()
		builder.Add(b)
		table, err := rollup.Decode(builder.Table().AppendBinary(nil))
		if err != nil {
			t.Fatal(err)
		}
		r.segments = append(r.segments, table)
	}
	return e, r
}

// TestRollupsAgreeWithScans asks one engine with and without rollups.
func TestRollupsAgreeWithScans(t *testing.T) {
	start := time.Unix(0, epoch).Add(-30 * time.Minute)
	e, r := loaded(t, 1200, start) // 2 traces a second: 10 minutes
	byScan, byRollup := New(Options{Reader: e, Now: testClock}), New(Options{Reader: r, Now: testClock})
	for _, w := range []store.TimeRange{
		{From: start.UnixNano(), To: start.Add(10 * time.Minute).UnixNano()},
		{From: start.Add(83 * time.Second).UnixNano(), To: start.Add(427*time.Second + 3).UnixNano()},
		{From: start.Add(83 * time.Second).UnixNano(), To: start.Add(90 * time.Second).UnixNano()},
	} {
		want, err := byScan.Services(t.Context(), scope, ServicesQuery{Range: w})
		if err != nil {
			t.Fatal(err)
		}
		got, err := byRollup.Services(t.Context(), scope, ServicesQuery{Range: w})
		if err != nil {
			t.Fatal(err)
		}
		for _, items := range [][]ServiceFigures{want.Items, got.Items} {
			for i := range items { // rollups keep it by operation, and what the calls of a trace have in common is lost
				items[i].RED.Deviation, items[i].Before.Deviation = 0, 0
			}
		}
		if a, b := fmt.Sprintf("%+v", want.Items), fmt.Sprintf("%+v", got.Items); a != b {
			t.Errorf("services\nscan    %s\nrollups %s", a, b)
		}
		scanned, _, err := byScan.Counts(t.Context(), scope, w)
		if err != nil {
			t.Fatal(err)
		}
		merged, _, err := byRollup.Counts(t.Context(), scope, w)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := printTotals(scanned), printTotals(merged); a != b {
			t.Errorf("counts\nscan\n%s\nrollups\n%s", a, b)
		}
	}
	if len(r.asked) == 0 {
		t.Error("rollups were never asked")
	}
	asked := len(r.asked)
	filtered := store.Scope{Tenant: scope.Tenant, MustMatch: store.And{}}
	if _, _, err := byRollup.Counts(t.Context(), filtered, store.TimeRange{From: start.UnixNano(), To: start.Add(time.Hour).UnixNano()}); err != nil {
		t.Fatal(err)
	}
	if len(r.asked) != asked {
		t.Error("rollups were asked where a predicate must hold")
	}
}

func printTotals(t *rollup.Table) string {
	var w strings.Builder
	sum := func(cells []rollup.Cell) (c rollup.Counts) {
		for i := range cells {
			c.Merge(&cells[i].Counts)
		}
		return c
	}
	var lines []string
	for k, cells := range t.Series() {
		if c := sum(cells); c.N > 0 {
			lines = append(lines, fmt.Sprintf("%+v n=%d w=%g e=%g p99=%d", k, c.N, c.Weight, c.ErrorWeight, c.Durations.Quantile(0.99)))
		}
	}
	for k, cells := range t.Edges() {
		if c := sum(cells); c.N > 0 {
			lines = append(lines, fmt.Sprintf("%+v n=%d w=%g e=%g p99=%d", k, c.N, c.Weight, c.ErrorWeight, c.Durations.Quantile(0.99)))
		}
	}
	slices.Sort(lines)
	for _, l := range lines {
		w.WriteString(l + "\n")
	}
	return w.String()
}
