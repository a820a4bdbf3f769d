package query

import (
	"hash/fnv"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// truth is the calls of an edge that the generator made: counted here by another way than the map does it.
type truth struct {
	calls, failed float64
	squares       float64 // Σ over traces of calls²
	most          float64 // calls of one trace
}

// TestHonestNumbers holds the map of all traffic against the generator, exactly, and the maps of 10 % and 1 % of the traces
// against it within 99.9 % intervals, corrected for the number of edges (Bernstein's bound: rare edges are not normal). Traces
// are kept by their id, so that runs repeat.
func TestHonestNumbers(t *testing.T) {
	start := time.Unix(0, epoch).Truncate(time.Minute)
	window := store.TimeRange{From: start.UnixNano(), To: start.Add(20 * time.Minute).UnixNano()}
	d := load.New(11, start, 20, load.FormOTLP)
	const traces = 12_000
	want := make(map[string]*truth)
	percents := []int{100, 10, 1}
	builders := make([]*rollup.Builder, len(percents))
	for i := range builders {
		builders[i] = rollup.NewBuilder()
	}
	var tr load.Trace
	for no := range uint64(traces) {
		d.Trace(no, &tr)
		b := &span.Batch{Tenant: store.DefaultTenant}
		d.Rows(b).All(&tr)
		count(want, b)
		h := fnv.New32a()
		h.Write(tr.ID[:])
		for i, percent := range percents {
			if int(h.Sum32()%100) >= percent {
				continue
			}
			for row := range b.Weight {
				b.Weight[row] = 100 / float64(percent)
			}
			builders[i].Add(b)
		}
	}
	l := math.Log(2 * float64(len(want)) / 0.001)
	for i, percent := range percents {
		q := New(Options{Reader: &rolled{segments: []*rollup.Table{builders[i].Table()}}, Now: testClock})
		m, err := q.Map(t.Context(), scope, MapQuery{Range: window})
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]*MapEdge)
		for j := range m.Edges {
			got[m.Edges[j].From+" "+m.Edges[j].To] = &m.Edges[j]
		}
		p, checked := float64(percent)/100, 0
		for edge, w := range want {
			e := got[edge]
			if e == nil {
				e = &MapEdge{}
			}
			deviation := math.Sqrt((1 - p) / p * w.squares)
			bound := 0.0
			if percent < 100 {
				bound = math.Sqrt(2*l)*deviation + w.most/p*l/3
			}
			if math.Abs(e.RED.Weight-w.calls) > bound {
				t.Errorf("%d %%: %s: %g calls, there were %g ± %.1f", percent, edge, e.RED.Weight, w.calls, bound)
			}
			if percent == 100 && (e.RED.Errors != w.failed || e.RED.N != int64(w.calls) || e.RED.Estimated) {
				t.Errorf("%s: %+v, there were %+v", edge, e.RED, *w)
			}
			if e.RED.N >= 100 && percent < 100 {
				checked++
				if r := e.RED.Deviation / deviation; r < 0.6 || r > 1.6 {
					t.Errorf("%d %%: %s: deviation %.1f is %.2f of what it is in truth", percent, edge, e.RED.Deviation, r)
				}
			}
		}
		if len(got) > len(want) || len(want) < 50 || percent == 10 && checked < 20 {
			t.Errorf("%d %%: %d edges, %d of the generator, deviations of %d looked at", percent, len(got), len(want), checked)
		}
	}
}

// count adds the calls of one trace: every client's span, to the server below it or the host in its cluster; and the request
// from outside.
func count(want map[string]*truth, b *span.Batch) {
	node := func(row int) string {
		kind := "service/"
		if strings.HasPrefix(string(b.FindString(b.SpanAttrs[row], "node_id")), "router") {
			kind = "gateway/"
		}
		return kind + b.String(b.Namespace[row]) + "/" + b.String(b.Group[row])
	}
	below := make(map[span.SpanID]int)
	for row := range b.SpanID {
		below[b.Parent[row]] = row
	}
	calls := make(map[string]float64)
	for row, kind := range b.Kind {
		var edge string
		switch {
		case kind == span.KindServer && b.Parent[row].IsZero():
			edge = "client// " + node(row)
		case kind != span.KindClient:
			continue
		default:
			edge = node(row) + " "
			if server, ok := below[b.SpanID[row]]; ok {
				edge += node(server)
			} else {
				cluster := strings.Split(string(b.FindString(b.SpanAttrs[row], "upstream_cluster")), "|")
				edge += "external//" + cluster[3]
			}
		}
		if want[edge] == nil {
			want[edge] = new(truth)
		}
		want[edge].calls++
		calls[edge]++
		if b.Failed(row) {
			want[edge].failed++
		}
	}
	for edge, n := range calls {
		want[edge].squares += n * n
		want[edge].most = max(want[edge].most, n)
	}
}
