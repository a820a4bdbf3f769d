package rollup_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/golden"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestCases counts spans in the form of storetest, one segment between lines "--- segment", and prints the merged table. Each
// segment's table goes through its bytes.
func TestCases(t *testing.T) {
	golden.Files(t, "testdata/cases/*.txt", func(t *testing.T, input string) string {
		segments := strings.Split(input, "--- segment\n")
		merged := rollup.New()
		for _, segment := range segments {
			b := rollup.NewBuilder()
			b.Add(storetest.Batch(t, segment))
			p := b.Table().AppendBinary(nil)
			back, err := rollup.Decode(p)
			if err != nil {
				t.Fatal(err)
			}
			if again := back.AppendBinary(nil); !bytes.Equal(p, again) {
				t.Errorf("decoded and written again the table has other bytes:\n%q\n%q", p, again)
			}
			merged.Merge(back)
		}
		got := show(merged)
		if len(segments) == 1 { // the rows of a scan, in any order, give the same
			b := rollup.NewBuilder()
			batch := storetest.Batch(t, input)
			for i := batch.Len() - 1; i >= 0; i-- {
				b.Collect(store.Rows{Batch: batch, Rows: []uint32{uint32(i)}})
			}
			b.Flush(store.TimeRange{})
			if scanned := show(b.Table()); scanned != got {
				t.Errorf("row by row:\n%s\nat once:\n%s", scanned, got)
			}
		}
		return got
	})
}

// show prints a table: one line per key, its cells behind it.
func show(t *rollup.Table) string {
	var lines []string
	for k, cells := range t.Series() {
		var b strings.Builder
		fmt.Fprintf(&b, "series %s", name(k.Service))
		if k.Group != k.Service || k.Namespace != "" {
			fmt.Fprintf(&b, " (%s/%s)", k.Namespace, k.Group)
		}
		fmt.Fprintf(&b, " %s %q", k.Kind, k.Operation)
		if k.Version != "" {
			fmt.Fprintf(&b, " version=%s", k.Version)
		}
		for i, word := range []string{"proxy", "root", "gateway", "waypoint"} {
			if k.Flags&(1<<i) != 0 {
				b.WriteString(" " + word)
			}
		}
		showCells(&b, cells)
		lines = append(lines, b.String())
	}
	slices.Sort(lines)
	var edges []string
	for k, cells := range t.Edges() {
		var b strings.Builder
		fmt.Fprintf(&b, "edge %s -> %s %s %s", showNode(k.From), showNode(k.To), k.Class, [...]string{"client", "server", "lone"}[k.View])
		if k.Protocol != "" {
			fmt.Fprintf(&b, " %s", k.Protocol)
		}
		if k.Flag != "" {
			fmt.Fprintf(&b, " flag=%s", k.Flag)
		}
		showCells(&b, cells)
		edges = append(edges, b.String())
	}
	slices.Sort(edges)
	lines = append(lines, edges...)
	var single []string
	for k, weight := range t.OneSided() {
		single = append(single, fmt.Sprintf("one side %s -> %s %s weight=%g", showNode(k.From), showNode(k.To), k.Class, weight))
	}
	slices.Sort(single)
	lines = append(lines, single...)
	var aliases []string
	for app, sidecar := range t.Aliases() {
		aliases = append(aliases, fmt.Sprintf("alias %s = %s", showNode(app), showNode(sidecar)))
	}
	slices.Sort(aliases)
	lines = append(lines, aliases...)
	if t.Uncounted+t.Unpaired > 0 {
		lines = append(lines, fmt.Sprintf("uncounted=%d unpaired=%d", t.Uncounted, t.Unpaired))
	}
	return strings.Join(lines, "\n") + "\n"
}

func name(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func showNode(n rollup.Node) string {
	s := n.Kind.String() + ":"
	if n.Namespace != "" {
		s += n.Namespace + "/"
	}
	s += n.Name
	if n.Service != "" && n.Service != n.Name {
		s += "[" + n.Service + "]"
	}
	return s
}

func showCells(b *strings.Builder, cells []rollup.Cell) {
	for _, c := range cells {
		fmt.Fprintf(b, " | %s n=%d", time.Duration(c.Start-storetest.Epoch.UnixNano()), c.N)
		if c.Weight != float64(c.N) {
			fmt.Fprintf(b, " weight=%g", c.Weight)
		}
		if c.Errors > 0 {
			fmt.Fprintf(b, " errors=%d", c.Errors)
			if c.ErrorWeight != float64(c.Errors) {
				fmt.Fprintf(b, "(%g)", c.ErrorWeight)
			}
		}
		fmt.Fprintf(b, " p50=%s max=%s", time.Duration(c.Durations.Quantile(0.5)).Round(time.Microsecond), time.Duration(c.Durations.Max()))
	}
}

// TestVersion1 reads the tables of testdata/cases/halves.txt as version 1 wrote them.
func TestVersion1(t *testing.T) {
	want := rollup.New()
	merged := rollup.New()
	p, err := os.ReadFile("testdata/cases/halves.txt")
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := strings.Cut(string(p), "-- want --")
	for i, segment := range strings.Split(input, "--- segment\n") {
		b := rollup.NewBuilder()
		b.Add(storetest.Batch(t, segment))
		want.Merge(b.Table())
		p, err := os.ReadFile(fmt.Sprintf("testdata/version1/half%d.bin", i))
		if err != nil {
			t.Fatal(err)
		}
		table, err := rollup.Decode(p)
		if err != nil {
			t.Fatal(err)
		}
		merged.Merge(table)
	}
	if got, want := show(merged), show(want); got != want {
		t.Errorf("version 1:\n%s\nversion %d:\n%s", got, rollup.Version, want)
	}
}
