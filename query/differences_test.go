package query

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// shop is 400 requests in 400 s from 3000 s on: those of version v2 take a second and those to /pay fail.
func shop(t *testing.T) (*Query, store.TimeRange) {
	e := mem.New(mem.Options{Now: testClock})
	t.Cleanup(func() { e.Close() })
	var text strings.Builder
	for i := range 400 {
		version, took, path, status := "v1", "20ms", "/list", ""
		if i%10 == 0 {
			version, took = "v2", "1s"
		}
		if i%8 == 1 {
			path, status = "/pay", "@status=error"
		}
		extra := ""
		if i%10 == 0 {
			extra = " retry=true"
		}
		fmt.Fprintf(&text, "%x 1 - shop server \"GET\" %ds %s url.path=%s id=r%d%s resource:version=%s %s\n", i+1, 3000+i, took, path, i, extra, version, status)
		fmt.Fprintf(&text, "%x 2 1 db client \"SELECT\" %ds 1ms\n", i+1, 3000+i)
	}
	if err := e.Accept(t.Context(), storetest.Batch(t, text.String())); err != nil {
		t.Fatal(err)
	}
	return New(Options{Reader: e, Now: testClock}), store.TimeRange{From: storetest.At(3000e9), To: storetest.At(3400e9)}
}

func textOfDifferences(d *Differences) string {
	var w strings.Builder
	fmt.Fprintf(&w, "%d of %d\n", d.Selected, d.Selected+d.Rest)
	for _, f := range d.Fields {
		fmt.Fprintf(&w, "%s.%s %.2f", f.Field.In, f.Field.Key, f.Score)
		for _, v := range f.Values {
			name := v.Text
			if v.Absent {
				name = "-"
			}
			fmt.Fprintf(&w, "  %s %d:%d", name, v.Selected, v.Rest)
		}
		if f.Many {
			w.WriteString("  ...")
		}
		w.WriteByte('\n')
	}
	return w.String()
}

func TestDifferences(t *testing.T) {
	q, r := shop(t)
	slow, err := ParseFilters([]string{"duration>=500ms"})
	if err != nil {
		t.Fatal(err)
	}
	failed, _ := ParseFilters([]string{"error=true"})
	all, _ := ParseFilters([]string{"duration>0ms"})
	for _, c := range []struct {
		name string
		dq   DifferencesQuery
		want string
	}{
		{"slow ones, of roots", DifferencesQuery{Range: r, Select: slow.Match}, "" +
			"40 of 400\nspan.retry 0.95  true 40:0  - 0:360\nresource.version 0.95  v2 40:0  v1 0:360\nspan.url.path 0.09  /list 40:310  /pay 0:50\nintrinsic.status 0.09  unset 40:310  error 0:50\n"},
		{"failed ones", DifferencesQuery{Range: r, Select: failed.Match, Fields: 2, Values: 1}, "" +
			"50 of 400\nspan.url.path 0.96  /pay 50:0\nintrinsic.status 0.96  error 50:0\n"},
		{"a stretch of time", DifferencesQuery{Range: r, Selected: store.TimeRange{From: storetest.At(3000e9), To: storetest.At(3001e9)}, Fields: 1, Values: 2}, "" +
			"1 of 400\nspan.retry 0.29  true 1:39  - 0:360\n"},
		{"among all spans the database is not slow", DifferencesQuery{Range: r, Match: all.Match, Select: slow.Match, Fields: 3, Values: 2}, "" +
			"40 of 800\nspan.retry 0.95  true 40:0  - 0:760\nresource.version 0.92  v2 40:0  - 0:400\nspan.url.path 0.51  /list 40:310  - 0:400\n"},
		{"nothing selected", DifferencesQuery{Range: r, Match: all.Match, Select: store.Or{}}, "0 of 800\n"},
	} {
		d, err := q.Differences(t.Context(), store.Scope{Tenant: store.DefaultTenant}, c.dq)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := textOfDifferences(d); got != c.want || !d.Complete {
			t.Errorf("%s: complete %v, got\n%swant\n%s", c.name, d.Complete, got, c.want)
		}
	}
}

func TestHeatmap(t *testing.T) {
	q, r := shop(t)
	h, err := q.Heatmap(t.Context(), store.Scope{Tenant: store.DefaultTenant}, HeatmapQuery{Range: r, Columns: 4})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, c := range h.Cells {
		fmt.Fprintf(&got, "%d [%d,%d) %d %d %x\n", c.Column, RowBound(c.Row), RowBound(c.Row+1), c.N, c.Errors, c.Example[14:])
	}
	// Of the failed ones (i%8 = 1) none is slow; the first of each column is the example.
	want := "0 [20000000,30000000) 90 13 0002\n0 [1000000000,1500000000) 10 0 0001\n" +
		"1 [20000000,30000000) 90 12 006a\n1 [1000000000,1500000000) 10 0 0065\n" +
		"2 [20000000,30000000) 90 13 00ca\n2 [1000000000,1500000000) 10 0 00c9\n" +
		"3 [20000000,30000000) 90 12 0132\n3 [1000000000,1500000000) 10 0 012d\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	if h.RED.N != 400 || h.RED.Errors != 50 || !h.Complete || h.Step != 100e9 {
		t.Errorf("%+v", h)
	}
}

// TestHeatmapRows: every duration lies in the bounds of its row.
func TestHeatmapRows(t *testing.T) {
	durations := []int64{0, 1, 2, 3, 4, 5, 1<<63 - 1, 1<<62 - 1, 1 << 62}
	for row := range HeatmapRows {
		durations = append(durations, RowBound(row), RowBound(row)+1, max(RowBound(row)-1, 0))
	}
	for _, d := range durations {
		row := heatmapRow(d)
		if d < RowBound(row) || d >= RowBound(row+1) && row < HeatmapRows-1 {
			t.Errorf("%d is in row %d: [%d, %d)", d, row, RowBound(row), RowBound(row+1))
		}
	}
}

func TestHeatmapAndDifferencesRefuse(t *testing.T) {
	q, r := shop(t)
	s := store.Scope{Tenant: store.DefaultTenant}
	for _, hq := range []HeatmapQuery{{}, {Range: r, Columns: -1}, {Range: r, Columns: MaxHeatmapColumns + 1}} {
		if _, err := q.Heatmap(t.Context(), s, hq); err == nil {
			t.Errorf("%+v is accepted", hq)
		}
	}
	for _, dq := range []DifferencesQuery{{}, {Range: r}, {Range: r, Selected: store.TimeRange{From: 1, To: 2}}} {
		if _, err := q.Differences(t.Context(), s, dq); err == nil {
			t.Errorf("%+v is accepted", dq)
		}
	}
}

// A cut answer says so: two spans of 800 may be read.
func TestHeatmapIsCut(t *testing.T) {
	full, r := shop(t)
	q := New(Options{Reader: full.store, Now: testClock, Limits: Limits{ScanRows: 2}})
	h, err := q.Heatmap(t.Context(), store.Scope{Tenant: store.DefaultTenant}, HeatmapQuery{Range: r})
	if err != nil || h.Complete || !strings.HasPrefix(h.Reason, "stopped after") {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestDifferencesAreBounded: long values are cut, and of a field with more values than are told apart the rest is left out.
func TestDifferencesAreBounded(t *testing.T) {
	e := mem.New(mem.Options{Now: testClock})
	t.Cleanup(func() { e.Close() })
	var text strings.Builder
	for i := range 2 * differenceValues {
		side := i % 2
		fmt.Fprintf(&text, "%x 1 - shop server a 3000s 1ms side=%d long=x%s user=u%d\n", i+1, side, strings.Repeat(fmt.Sprint(side), differenceText+1), i*side)
	}
	if err := e.Accept(t.Context(), storetest.Batch(t, text.String())); err != nil {
		t.Fatal(err)
	}
	side, _ := ParseFilters([]string{"span.side=0"})
	d, err := New(Options{Reader: e, Now: testClock}).Differences(t.Context(), store.Scope{Tenant: store.DefaultTenant},
		DifferencesQuery{Range: store.TimeRange{From: storetest.At(0), To: storetest.At(3600e9)}, Select: side.Match})
	if err != nil {
		t.Fatal(err)
	}
	byKey := make(map[string]DifferingField)
	for _, f := range d.Fields {
		byKey[f.Field.Key] = f
	}
	if v := byKey["long"].Values; len(v) != 2 || !v[0].Cut || len(v[0].Text) != differenceText {
		t.Errorf("long values: %+v", v)
	}
	if f := byKey["user"]; !f.Many || f.Values[0].Text != "u0" || f.Values[0].Selected != differenceValues {
		t.Errorf("many values: %+v", f)
	}
}
