package load

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
)

var testBase = time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC)

func TestTraceIsRebuiltFromItsNumber(t *testing.T) {
	a, b := New(7, testBase, 0, FormOTLP), New(7, testBase, 0, FormOTLP)
	var first, again Trace
	for no := uint64(0); no < 500; no++ {
		a.Trace(no, &first)
		b.Trace(499-no, &again)
		b.Trace(no, &again)
		if first.ID != again.ID || first.RequestID != again.RequestID || first.Bits != again.Bits {
			t.Fatalf("trace %d: ids %s and %s, request ids %s and %s", no, first.ID, again.ID, first.RequestID, again.RequestID)
		}
		if len(first.Spans) != len(again.Spans) {
			t.Fatalf("trace %d: %d and %d spans", no, len(first.Spans), len(again.Spans))
		}
		for i := range first.Spans {
			if first.Spans[i] != again.Spans[i] {
				t.Fatalf("trace %d span %d differs:\n%+v\n%+v", no, i, first.Spans[i], again.Spans[i])
			}
		}
	}
	other := New(8, testBase, 0, FormOTLP)
	other.Trace(3, &again)
	a.Trace(3, &first)
	if other.Trace(3, &again); first.ID == again.ID {
		t.Error("another seed gives the same trace id")
	}
}

func TestShapeOfTraces(t *testing.T) {
	d := New(1, testBase, 0, FormOTLP)
	const traces = 3000
	var (
		tr             Trace
		spans, failed  int
		bits           float64
		services, pods = map[int]int{}, map[int]int{}
		traceIDs       = map[span.TraceID]bool{}
		spanIDs        = map[span.SpanID]bool{}
	)
	for no := uint64(0); no < traces; no++ {
		d.Trace(no, &tr)
		if n := len(tr.Spans); n < MinSpans || n > MaxSpans {
			t.Fatalf("trace %d has %d spans, want %d to %d", no, n, MinSpans, MaxSpans)
		}
		spans += len(tr.Spans)
		bits += tr.Bits
		if traceIDs[tr.ID] {
			t.Fatalf("trace id %s twice", tr.ID)
		}
		traceIDs[tr.ID] = true
		if slot := d.Slot(no); tr.Spans[0].Start < slot || tr.Spans[0].Start >= slot+2*int64(time.Second)/DefaultTracesPerSecond {
			t.Fatalf("trace %d starts at %d, its slot is %d", no, tr.Spans[0].Start, slot)
		}
		rows := map[span.SpanID]int{}
		for i, s := range tr.Spans {
			if spanIDs[s.ID] || s.ID.IsZero() {
				t.Fatalf("span id %s twice or zero", s.ID)
			}
			spanIDs[s.ID] = true
			rows[s.ID] = i
			services[s.Pod/PodsEach]++
			pods[s.Pod]++
			if s.failed {
				failed++
			}
			if s.Start%1000 != 0 || s.End%1000 != 0 || s.End <= s.Start {
				t.Fatalf("span times %d to %d are not whole, positive microseconds", s.Start, s.End)
			}
			if i == 0 {
				if !s.Parent.IsZero() {
					t.Fatal("the root has a parent")
				}
				continue
			}
			up, ok := rows[s.Parent]
			if !ok || up != s.parentRow {
				t.Fatalf("span %d's parent does not stand before it", i)
			}
			if p := tr.Spans[up]; s.Start < p.Start || s.End > p.End {
				t.Fatalf("span %d (%d to %d) reaches out of its parent (%d to %d)", i, s.Start, s.End, p.Start, p.End)
			}
		}
	}
	if mean := float64(spans) / traces; math.Abs(mean-20) > 0.5 {
		t.Errorf("%.2f spans a trace, want 20", mean)
	}
	if len(services) != Services || len(pods) != Pods {
		t.Errorf("%d services and %d pods made spans, want %d and %d", len(services), len(pods), Services, Pods)
	}
	if share := float64(failed) / float64(spans); share < 0.006 || share > 0.014 {
		t.Errorf("%.2f %% errors, want about 1", 100*share)
	}
	if floor := bits / 8 / float64(spans); floor < 14 || floor > 25 {
		t.Errorf("entropy floor of %.1f B/span is not that of mesh traffic", floor)
	}
}

func TestAttributesAreEnvoys(t *testing.T) {
	for _, c := range []struct {
		form Form
		file string
	}{{FormOTLP, "testdata/keys-otlp.txt"}, {FormZipkin, "testdata/keys-zipkin.txt"}} {
		text, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		for _, line := range strings.Fields(string(text)) {
			known[line] = true
		}
		d := New(1, testBase, 0, c.form)
		var (
			tr           Trace
			b            span.Batch
			counts       = map[int]int{}
			bytes, spans int
		)
		for no := uint64(0); no < 200; no++ {
			b.Reset()
			d.Trace(no, &tr)
			d.Rows(&b).All(&tr)
			if err := b.Check(); err != nil {
				t.Fatal(err)
			}
			for row := range b.Len() {
				attrs := b.AttrsOf(b.SpanAttrs[row])
				counts[len(attrs)]++
				spans++
				seen := map[string]bool{}
				for _, a := range attrs {
					key := string(b.Key(a))
					if !known[key] {
						t.Fatalf("form %d: Envoy sends no attribute %q", c.form, key)
					}
					if seen[key] {
						t.Fatalf("form %d: attribute %q twice", c.form, key)
					}
					seen[key] = true
					bytes += len(key) + int(a.Value().Str().Len)
				}
				if got := b.Failed(row); got != tr.Spans[row].failed {
					t.Fatalf("form %d: row fails %v, generated %v", c.form, got, tr.Spans[row].failed)
				}
			}
		}
		for n := range counts {
			if n < 21 || n > 23 {
				t.Errorf("form %d: %d spans with %d attributes, want 21 to 23: %v", c.form, counts[n], n, counts)
			}
		}
		// Real spans have 640 to 700 bytes of keys and values.
		if mean := bytes / spans; mean < 600 || mean > 760 {
			t.Errorf("form %d: %d bytes of keys and values a span", c.form, mean)
		}
	}
}
