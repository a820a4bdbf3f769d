package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// Totals prints the keys of a table with their sums over time, sorted. Edges are settled by it.
func Totals(t *rollup.Table) string {
	var lines []string
	add := func(key any, cells []rollup.Cell) {
		var c rollup.Counts
		for i := range cells {
			c.Merge(&cells[i].Counts)
		}
		if c.N > 0 {
			lines = append(lines, fmt.Sprintf("%+v n=%d weight=%g errors=%d p50=%d p99=%d\n", key, c.N, c.Weight, c.Errors, c.Durations.Quantile(0.5), c.Durations.Quantile(0.99)))
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

// Scanned counts the rows that start in a range by reading all that a reader has.
func Scanned(t testing.TB, e store.Reader, s store.Scope, r store.TimeRange) *rollup.Table {
	t.Helper()
	b := rollup.NewBuilder()
	for rows, err := range e.Scan(t.Context(), s, &store.Scan{Mode: store.Start, Need: rollup.Need()}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Collect(rows)
	}
	b.Flush(r)
	return b.Table()
}

// CheckRollups compares what a reader says from rollups and in sums with counts of all its rows, and answers these.
func CheckRollups(t testing.TB, e store.Reader, s store.Scope, r store.TimeRange) string {
	t.Helper()
	want := Totals(Scanned(t, e, s, r))
	for _, c := range []struct {
		name string
		ask  func() (*rollup.Table, store.Done, error)
	}{
		{"rollups", func() (*rollup.Table, store.Done, error) { return e.(rollup.Reader).Rollups(t.Context(), s, r) }},
		{"sums", func() (*rollup.Table, store.Done, error) { return e.(rollup.Summer).Sums(t.Context(), s, r) }},
	} {
		table, done, err := c.ask()
		if err != nil || !done.Complete {
			t.Fatal(c.name, done, err)
		}
		if got := Totals(table); got != want {
			t.Errorf("%s of %v\n%s\na scan says\n%s", c.name, r, got, want)
		}
	}
	return want
}
