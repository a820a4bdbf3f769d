package traceql

import (
	"testing"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// unableReader is an engine that does not bound the duration of traces.
type unableReader struct{ strictReader }

func (unableReader) Can() store.Abilities { return store.Abilities{} }

// TestDurationsOfTraces: bounds of the request and of the query hold, whether the engine knows them or not.
func TestDurationsOfTraces(t *testing.T) {
	engine := mem.New(mem.Options{})
	t.Cleanup(func() { engine.Close() })
	for _, text := range []string{"1 a - front server get 0s 10ms", "2 a - front server get 1s 20ms", "3 a - front server get 2s 30ms\n3 b a front client get 2010ms 90ms"} {
		if err := engine.Accept(t.Context(), storetest.Batch(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		query    string
		min, max time.Duration
		want     string
	}{
		{`{ }`, 0, 0, "321"},
		{`{ }`, 15 * time.Millisecond, 0, "32"},
		{`{ }`, 15 * time.Millisecond, 50 * time.Millisecond, "2"},
		{`{ }`, 0, 20 * time.Millisecond, "21"},
		{`{ traceDuration > 20ms }`, 0, 0, "3"},
		{`{ traceDuration >= 20ms && traceDuration < 100ms }`, 0, 0, "2"},
		{`{ 20ms = traceDuration }`, 0, 50 * time.Millisecond, "2"},
		{`{ traceDuration > 10ms } | count() > 1`, 0, 0, "3"},
	} {
		for _, reader := range []store.Reader{engine, unableReader{strictReader{engine}}} {
			r, err := New(reader, Options{}).Search(t.Context(), scope, SearchRequest{Query: parse(t, c.query), Range: day, MinDuration: c.min, MaxDuration: c.max}, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, tr := range r.Traces {
				got += shortID(tr.TraceID)
			}
			if got != c.want {
				t.Errorf("%s with %s to %s: %s, want %s (%T)", c.query, c.min, c.max, got, c.want, reader)
			}
		}
	}
}

// TestTraceResult: what of the trace stands beside the sets, and how many spans are listed.
func TestTraceResult(t *testing.T) {
	e := New(filled(t, 3), Options{})
	r, err := e.Search(t.Context(), scope, SearchRequest{Query: parse(t, `{ status = error } || { }`), Range: day, SpansPerSet: 2, Limit: 2}, nil)
	if err != nil || len(r.Traces) != 2 || !r.Complete {
		t.Fatalf("%+v, %v", r, err)
	}
	tr := r.Traces[1]
	if tr.TraceID.String() != "00000000000000000000000000000002" || tr.RootName != "root" || tr.RootService != "front" || tr.RootMissing || tr.Spans != 3 || tr.Errors != 1 ||
		len(tr.Services) != 2 || tr.End-tr.Start != int64(100*time.Millisecond) {
		t.Errorf("%+v", tr)
	}
	if set := tr.Sets[0]; len(tr.Sets) != 1 || set.Matched != 3 || len(set.Spans) != 2 || set.Spans[0].SpanID.String() != "0000000000000003" || set.Spans[0].Service != "cart" ||
		set.Spans[0].Duration != int64(40*time.Millisecond) {
		t.Errorf("%+v", set)
	}
	if r.InspectedTraces != 2 || r.InspectedSpans != 6 || r.Read.Blocks == 0 {
		t.Errorf("inspected %d traces, %d spans, %+v", r.InspectedTraces, r.InspectedSpans, r.Read)
	}
}

// TestScope: a predicate of the caller's rights hides spans from every part of a query.
func TestScope(t *testing.T) {
	e := New(filled(t, 2), Options{})
	s := store.Scope{Tenant: store.DefaultTenant, MustMatch: store.Cond{Field: store.Field{In: store.Intrinsic, Key: store.FieldService}, Op: store.Eq, Value: store.Text("cart")}}
	r, err := e.Search(t.Context(), s, SearchRequest{Query: parse(t, `{ } >> { } || { nestedSetParent < 0 }`), Range: day}, nil)
	if err != nil || len(r.Traces) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, tr := range r.Traces {
		if tr.Sets[0].Matched != 1 || tr.Sets[0].Spans[0].Service != "cart" {
			t.Errorf("%+v", tr.Sets)
		}
	}
	m, err := e.Metrics(t.Context(), s, MetricsRequest{Query: parse(t, `{ } | count_over_time() by(resource.service.name)`), Range: day, Instant: true}, nil)
	if err != nil || len(m.Series) != 1 || m.Series[0].Samples[0].Value != 4 {
		t.Errorf("%+v, %v", m, err)
	}
}
