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

// rates compares what an engine that keeps rollups says of series, in whole minutes, with counts of the model's rows. Copies may count.
func (m *modelRun) rates(t *testing.T) string {
	summer, ok := plain(m.engine).(rollup.Summer)
	if !ok {
		return "by nobody"
	}
	tr := m.timeRange()
	tr.From -= tr.From % rollup.Minute
	if tr.To = max(tr.To, 0) / rollup.Minute * rollup.Minute; tr.To != 0 && tr.From >= tr.To {
		return "of no minute"
	}
	table, done, err := summer.Sums(t.Context(), scope, tr)
	if table == nil && err == nil {
		return "by nobody: " + done.Reason
	}
	if err != nil || !done.Complete {
		t.Fatal(done, err)
	}
	got := seriesOf(table)
	between(t, fmt.Sprintf("series in %v", tr), got, m.model.winners().series(tr), m.model.series(tr),
		func(s series) string { return s.key }, func(s series) int64 { return s.n }, func(got, want series) bool { return got == want })
	return fmt.Sprintf("%d", len(got))
}

// series is a key of a table with what was counted of it.
type series struct {
	key       string
	n, errors int64
	weight    float64
	slowest   int64
}

func seriesOf(t *rollup.Table) (list []series) {
	for k, cells := range t.Series() {
		var c rollup.Counts
		for i := range cells {
			c.Merge(&cells[i].Counts)
		}
		list = append(list, series{fmt.Sprintf("%+v", k), c.N, c.Errors, c.Weight, c.Durations.Max()})
	}
	return list
}

func (m *model) series(tr store.TimeRange) []series {
	b := rollup.NewBuilder()
	for _, r := range m.rows {
		if r.inside(tr, store.Start) {
			b.Count(store.Rows{Batch: r.b, Rows: []uint32{uint32(r.row)}})
		}
	}
	return seriesOf(b.Table())
}
