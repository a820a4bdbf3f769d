package rollup_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/store/rollup"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestCut: however the rows of a trace lie in segments, and however these are merged, each call counts as often as where they
// lie together.
func TestCut(t *testing.T) {
	for _, file := range []string{"testdata/cut/hops.txt", "testdata/cut/outside.txt", "testdata/cases/sidecar-hop.txt",
		"testdata/cases/gateway-only.txt", "testdata/cases/no-server.txt"} {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			p, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, _, _ := strings.Cut(string(p), "-- want --")
			lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(input), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
			r := rand.New(rand.NewPCG(1, 2))
			for range 400 {
				cut := make([][]string, 2+r.IntN(2))
				together := slices.Clone(lines)
				for i := range cut { // a whole trace of its own in each segment, as traffic has
					for _, l := range lines {
						cut[i] = append(cut[i], fmt.Sprintf("%d%s", 10+i, l))
					}
					together = append(together, cut[i]...)
				}
				want := calls(segmentTable(t, together))
				if len(want) == 0 {
					t.Fatal("no calls")
				}
				for _, l := range lines {
					i := r.IntN(len(cut))
					cut[i] = append(cut[i], l)
				}
				merged := rollup.New()
				kept := r.IntN(2) == 1
				for i, segment := range cut {
					merged.Merge(segmentTable(t, segment))
					if kept && i == 0 {
						merged.Kept()
					}
				}
				if got := calls(merged); !maps.Equal(got, want) {
					t.Fatalf("segments, paired early: %v\n%s\ngive\n%s\nwant\n%s", kept,
						strings.Join(joinAll(cut), "\n--- segment\n"), listed(got), listed(want))
				}
			}
		})
	}
}

func joinAll(cut [][]string) (all []string) {
	for _, segment := range cut {
		all = append(all, strings.Join(segment, "\n"))
	}
	return all
}

func segmentTable(t *testing.T, lines []string) *rollup.Table {
	b := rollup.NewBuilder()
	if len(lines) > 0 {
		b.Add(storetest.Batch(t, strings.Join(lines, "\n")+"\n"))
	}
	b.Table().Trim()
	back, err := rollup.Decode(b.Table().AppendBinary(nil))
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// calls are the calls between workloads that a client saw, a server's rows with a known client, and those without.
func calls(t *rollup.Table) map[string]string {
	type sum struct{ n, errors int64 }
	sums := make(map[string]sum)
	edges := t.Edges()
	workload := make(map[rollup.Node]rollup.Node)
	for app, w := range t.Aliases() {
		workload[app] = w
	}
	own := func(n rollup.Node) string {
		if w, ok := workload[n]; ok {
			n = w
		}
		n.Service = ""
		return showNode(n)
	}
	for k, cells := range edges {
		key := fmt.Sprintf("%s -> %s %s %d %s %s", own(k.From), own(k.To), k.Class, k.View, k.Protocol, k.Flag)
		for _, c := range cells {
			s := sums[key]
			sums[key] = sum{s.n + c.N, s.errors + c.Errors}
		}
	}
	shown := make(map[string]string, len(sums))
	for k, s := range sums {
		shown[k] = fmt.Sprint(s)
	}
	return shown
}

func listed(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s %s\n", k, m[k])
	}
	return b.String()
}
