package traceql

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

var (
	queries = flag.Int("queries", 3000, "random queries against the oracle")
	engine  = flag.String("engine", "mem", "that holds the random traces: mem or local")
	seed    = flag.Uint64("seed", 0, "of the random queries; 0 takes one from the clock")
)

// TestQueriesAgreeWithTheOracle: random queries over random traces give what the naive evaluator says. To replay a failure,
// run it with -seed and -queries as printed.
func TestQueriesAgreeWithTheOracle(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d -queries=%d", s, *queries)
	d := &dice{Rand: rand.New(rand.NewPCG(s, 1))}
	hits := make(map[string]int)
	asked, found, failed := 0, 0, 0
	for round := 0; asked < *queries; round++ {
		duplicates := round%2 == 0
		texts := []string{d.spans(12, duplicates), d.spans(12, duplicates)}
		if !duplicates { // metrics: a scan counts copies, and sums of huge numbers depend on their order
			texts = []string{strings.ReplaceAll(texts[0], "9007199254740993", "4")}
		}
		held := openEngine(t)
		var batches []*span.Batch
		for _, text := range texts {
			b := storetest.Batch(t, text)
			if err := held.Accept(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			batches = append(batches, b)
		}
		if l, ok := held.(*local.Engine); ok {
			if err := l.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		traces := oracleTraces(batches...)
		e := New(strictReader{held}, Options{})
		for range 50 {
			d.used = make(map[string]int)
			window := store.TimeRange{From: storetest.At(0), To: storetest.At(2 * time.Hour)}
			if d.chance(40) {
				window.From = storetest.At(time.Duration(d.IntN(300)) * time.Second)
				window.To = window.From + int64(time.Duration(1+d.IntN(400))*time.Second)
			}
			q := &Query{Pipeline: d.pipeline()}
			if !duplicates {
				q = &Query{Metrics: d.metric(1)}
			}
			text := q.String()
			parsed, err := Parse(text)
			if err != nil {
				t.Fatalf("%s\n%v", text, err)
			}
			if tree(parsed) != tree(q) {
				t.Fatalf("%s\nparses as %s", text, parsed)
			}
			var got, want []string
			var gotErr, wantErr error
			var step time.Duration
			if parsed.IsMetrics() {
				step = time.Duration(20+d.IntN(100)) * time.Second
				r := MetricsRequest{Query: parsed, Range: window, Step: step, Instant: d.chance(10)}
				got, gotErr = metricLines(t, e, r)
				want, wantErr = oMetrics(parsed, traces, r)
			} else {
				got, gotErr = searchLines(t, e, parsed, window)
				want, wantErr = oSearch(parsed, traces, window.From, window.To)
			}
			asked++
			if wantErr != nil {
				// The plan may leave out the spans on which the oracle fails.
				failed++
				continue
			}
			if gotErr != nil || !sameLines(got, want) {
				t.Fatalf("-seed=%d, query %d\n%s\nwindow %s to %s, step %s\n%v%s\nspans\n%s", s, asked, text, time.Duration(window.From-storetest.At(0)),
					time.Duration(window.To-storetest.At(0)), step, gotErr, onlyIn(got, want), strings.Join(texts, "\n--\n"))
			}
			if len(want) > 0 {
				found++
				for c := range d.used {
					hits[c]++
				}
			}
		}
		if err := held.Close(); err != nil {
			t.Fatal(err)
		}
	}
	names := make([]string, 0, len(hits))
	for c := range hits {
		names = append(names, c)
	}
	slices.Sort(names)
	for _, c := range names {
		t.Logf("%6d %s", hits[c], c)
		if least := asked / 1000; hits[c] < least {
			t.Errorf("%s was in %d queries with an answer, want %d at least", c, hits[c], least)
		}
	}
	t.Logf("%d queries, %d with an answer, %d ended with an error, %d constructs", asked, found, failed, len(hits))
	if found*10 < asked*3 {
		t.Errorf("only %d of %d queries had an answer", found, asked)
	}
	if failed*5 > asked {
		t.Errorf("%d of %d queries ended with an error", failed, asked)
	}
}

// openEngine opens the engine of the flag; segments and blocks of local are so small that traces meet their borders.
func openEngine(t *testing.T) store.Engine {
	now := func() time.Time { return storetest.Epoch.Add(time.Hour) }
	if *engine == "mem" {
		return mem.New(mem.Options{Now: now})
	}
	e, err := local.Open(t.Context(), local.Options{Dir: t.TempDir(), Sync: time.Hour, SegmentRows: 60, BlockRows: 16, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func searchLines(t *testing.T, e *Engine, q *Query, window store.TimeRange) ([]string, error) {
	r, err := e.Search(t.Context(), scope, SearchRequest{Query: q, Range: window, Limit: 1000, SpansPerSet: -1}, nil)
	if err != nil {
		return nil, err
	}
	if !r.Complete {
		return nil, fmt.Errorf("not complete: %s", r.Reason)
	}
	var lines []string
	for _, tr := range r.Traces {
		var w strings.Builder
		w.WriteString(tr.TraceID.String())
		for _, set := range tr.Sets {
			w.WriteString(" |")
			for _, m := range set.Spans {
				fmt.Fprintf(&w, " %s/%s/%d", m.SpanID, m.Kind, m.Start)
				for _, a := range m.Attrs {
					fmt.Fprintf(&w, " %s=%s", a.Name, a.Value.Literal())
				}
			}
			fmt.Fprintf(&w, " %s", printAttrs(set.Attrs, "(", ")"))
		}
		lines = append(lines, w.String())
	}
	// A limit answers the beginning of the list.
	if n := len(r.Traces) / 2; n > 0 {
		first, err := e.Search(t.Context(), scope, SearchRequest{Query: q, Range: window, Limit: n, SpansPerSet: 1}, nil)
		if err != nil {
			return nil, err
		}
		for i, tr := range first.Traces {
			if len(first.Traces) != n || tr.TraceID != r.Traces[i].TraceID || tr.Sets[0].Matched != r.Traces[i].Sets[0].Matched {
				return nil, fmt.Errorf("the first %d of %d traces are others: trace %d is %s, not %s", n, len(r.Traces), i, tr.TraceID, r.Traces[i].TraceID)
			}
		}
	}
	slices.Sort(lines)
	return lines, nil
}

func metricLines(t *testing.T, e *Engine, r MetricsRequest) ([]string, error) {
	m, err := e.Metrics(t.Context(), scope, r, nil)
	if err != nil {
		return nil, err
	}
	if !m.Complete {
		return nil, fmt.Errorf("not complete: %s", m.Reason)
	}
	var lines []string
	for _, s := range m.Series {
		var w strings.Builder
		w.WriteString(printAttrs(s.Labels, "{", "}"))
		for _, x := range s.Samples {
			fmt.Fprintf(&w, " %d:%.15g", x.Time/1e9, x.Value)
		}
		lines = append(lines, w.String())
	}
	slices.Sort(lines)
	return lines, nil
}

func sameLines(got, want []string) bool {
	slices.Sort(want)
	return slices.EqualFunc(got, want, sameLine)
}

// sameLine forgives the last digits of samples: sums depend on their order.
func sameLine(a, b string) bool {
	if a == b {
		return true
	}
	return slices.EqualFunc(strings.Split(a, " "), strings.Split(b, " "), func(x, y string) bool {
		xt, xv, xok := strings.Cut(x, ":")
		yt, yv, yok := strings.Cut(y, ":")
		xn, xerr := strconv.ParseFloat(xv, 64)
		yn, yerr := strconv.ParseFloat(yv, 64)
		return x == y || xok && yok && xt == yt && xerr == nil && yerr == nil && math.Abs(xn-yn) <= 1e-9*max(math.Abs(xn), math.Abs(yn), 1)
	})
}

// onlyIn lists the lines in which two answers differ.
func onlyIn(got, want []string) string {
	var w strings.Builder
	for _, line := range got {
		if !slices.Contains(want, line) {
			w.WriteString("\ngot  " + line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			w.WriteString("\nwant " + line)
		}
	}
	return w.String()
}
