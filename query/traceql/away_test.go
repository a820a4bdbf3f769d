package traceql

import (
	"errors"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestAway: of a store of which a part is away, searches and metrics answer what was read and say that it is not all. Where nothing was
// read they are the error.
func TestAway(t *testing.T) {
	now := func() time.Time { return storetest.Epoch.Add(storetest.DefaultReceived) }
	e := mem.New(mem.Options{Now: now})
	t.Cleanup(func() { _ = e.Close() })
	if err := e.Accept(t.Context(), storetest.Batch(t, "1 a - front server x 1s 10ms\n1 b a back server y 1.001s 8ms\n2 c - front server z 2s 1ms")); err != nil {
		t.Fatal(err)
	}
	scope, window := store.Scope{Tenant: store.DefaultTenant}, store.TimeRange{From: storetest.At(0), To: storetest.At(time.Minute)}
	search := func(err error, q string) (*SearchResult, error) {
		parsed, perr := Parse(q)
		if perr != nil {
			t.Fatal(perr)
		}
		engine := New(storetest.Behind{Engine: e, Err: err}, Options{Now: now})
		return engine.Search(t.Context(), scope, SearchRequest{Query: parsed, Range: window}, nil)
	}
	metrics := func(err error, q string) (*MetricsResult, error) {
		parsed, perr := Parse(q)
		if perr != nil {
			t.Fatal(perr)
		}
		engine := New(storetest.Behind{Engine: e, Err: err}, Options{Now: now})
		return engine.Metrics(t.Context(), scope, MetricsRequest{Query: parsed, Range: window, Step: time.Minute}, nil)
	}
	shard, broken := problem.New(problem.Unavailable, "1 of 3 shards did not answer", ""), errors.New("a block is damaged")

	if r, err := search(shard, "{} >> {}"); err != nil || r.Complete || !r.Away || r.Reason != "some spans could not be read: 1 of 3 shards did not answer" || len(r.Traces) != 1 {
		t.Errorf("search: %+v, %v", r, err)
	}
	for _, q := range []string{"{} | rate()", "{} >> {} | rate()", "{} | rate() by (resource.service.name)"} {
		if r, err := metrics(shard, q); err != nil || r.Complete || !r.Away || r.Reason != "some spans could not be read: 1 of 3 shards did not answer" || len(r.Series) == 0 {
			t.Errorf("%s: %+v, %v", q, r, err)
		}
		if r, err := metrics(broken, q); !errors.Is(err, broken) {
			t.Errorf("%s with a broken store: %+v, %v", q, r, err)
		}
	}
	if r, err := metrics(shard, "{ name = `nobody` } | rate()"); problem.Of(err) != shard {
		t.Errorf("no row: %+v, %v", r, err)
	}
	if r, err := search(broken, "{} >> {}"); !errors.Is(err, broken) {
		t.Errorf("a broken store: %+v, %v", r, err)
	}
}
