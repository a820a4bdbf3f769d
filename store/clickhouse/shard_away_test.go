package clickhouse_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/remote"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestShardAway asks while each shard in turn is away: the answers have what the other one has, and name the one that is missing.
func TestShardAway(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	to := over(t, servers)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	if err := e.Accept(t.Context(), many(t, 0x10, 40)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Save(t.Context(), store.Scope{}, "colours", []byte("red"), 0); err != nil {
		t.Fatal(err)
	}
	for away, server := range servers {
		server.Kill()
		name, there := fmt.Sprintf("shard %d (%s)", away+1, server.Addr), 20+5*away // spans of the other one

		partial := func(what string, d store.Done, err error) {
			t.Helper()
			if err != nil || d.Complete || !d.Away || !strings.Contains(d.Reason, name+" does not answer") {
				t.Errorf("%s without %s: complete %v, %q, %v", what, name, d.Complete, d.Reason, err)
			}
		}
		page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		if partial("a search", page.Done, err); len(page.Traces) != there {
			t.Errorf("a search without %s finds %d traces, want %d", name, len(page.Traces), there)
		}
		services, d, err := e.Services(t.Context(), store.Scope{}, store.TimeRange{})
		if partial("services", d, err); len(services) != 1 || services[0].Spans != int64(there) {
			t.Errorf("services without %s: %v", name, services)
		}
		values, d, err := e.Values(t.Context(), store.Scope{}, store.ValuesQuery{Field: store.Field{In: store.InSpan, Key: "i"}})
		if partial("values", d, err); len(values) != 20 {
			t.Errorf("%d values without %s, want 20", len(values), name)
		}
		_, d, err = e.Keys(t.Context(), store.Scope{}, store.KeysQuery{})
		partial("keys", d, err)
		// The first shard has the rollups; of the spans that none counts those of the other one are there.
		table, d, err := e.Rollups(t.Context(), store.Scope{}, store.TimeRange{})
		if away == 0 {
			if table != nil || err != nil || d.Complete || !d.Away || !strings.Contains(d.Reason, name) {
				t.Errorf("rollups without the shard that has them: %v %+v %v", table, d, err)
			}
		} else if partial("rollups", d, err); strings.Count(storetest.Totals(table), fmt.Sprintf("n=%d ", there)) == 0 {
			t.Errorf("rollups without %s:\n%s", name, storetest.Totals(table))
		}

		ends := func(what string, rows, want int, err error) {
			t.Helper()
			var p *problem.Problem
			if !errors.As(err, &p) || p.Kind != problem.Unavailable || !errors.Is(err, remote.ErrPartial) || !strings.Contains(err.Error(), name) || rows != want {
				t.Errorf("%s without %s: %d rows, want %d, then %v", what, name, rows, want, err)
			}
		}
		rows := 0
		err = nil
		for r, failure := range e.Scan(t.Context(), store.Scope{}, &store.Scan{}) {
			rows += len(r.Rows)
			err = failure
		}
		ends("a scan", rows, there, err)
		for low := range uint64(2) {
			rows := 0
			for b, failure := range e.Trace(t.Context(), store.Scope{}, span.TraceIDFromUint64s(0, 0x10+low), store.TimeRange{}) {
				if err = failure; err == nil {
					rows += b.Len()
				}
			}
			want := 1
			if low == uint64(away) {
				want = 0
			}
			ends("a trace", rows, want, err)
		}

		// An insert is taken when both shards have it.
		token := fmt.Sprintf("token-%d", away)
		batch := many(t, 0x1000*(away+1), 10)
		err = e.Insert(t.Context(), token, []*span.Batch{batch})
		var p *problem.Problem
		if !errors.As(err, &p) || p.Kind != problem.Unavailable || !strings.Contains(err.Error(), name) {
			t.Errorf("an insert without %s: %v", name, err)
		}
		_, err = e.Load(t.Context(), store.Scope{}, "colours")
		if first := away == 0; first != (err != nil) || first && (!errors.As(err, &p) || p.Kind != problem.Unavailable || !strings.Contains(err.Error(), name)) {
			t.Errorf("a document without %s: %v", name, err)
		}

		// A process that starts now does without the shard too.
		other := open(t, clickhouse.Options{Target: to})
		_, d, err = other.Services(t.Context(), store.Scope{}, store.TimeRange{})
		partial("another process", d, err)
		if err := other.Close(); err != nil {
			t.Error(err)
		}

		server.Restart(t)
		wait.For(t, time.Minute, "the insert to be taken", func() bool { return e.Insert(t.Context(), token, []*span.Batch{batch}) == nil })
		want := 40 + 10*away
		found := func() int {
			page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 100})
			if err != nil || !page.Complete {
				return -1
			}
			return len(page.Traces)
		}
		if n := found(); n != want {
			t.Errorf("%d traces before the insert counts, want %d", n, want)
		}
		e.Count(token)
		if n := found(); n != want+10 {
			t.Errorf("%d traces when it counts, want %d", n, want+10)
		}
	}
	for _, s := range servers {
		if n := s.Number(t, "SELECT count() FROM "+to.Database+".spans"); n != 30 {
			t.Errorf("%d rows on a shard, want 30: each once", n)
		}
	}
}

// TestNewShardAway stores on a shard that was away when the process started and has no tables yet.
func TestNewShardAway(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	to := over(t, servers)
	servers[1].Kill()
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	if err := e.Accept(t.Context(), storetest.Batch(t, "1 1 - front server get 0s 1ms")); err == nil {
		t.Error("a span is stored on a shard that is away")
	}
	servers[1].Restart(t)
	if err := e.Accept(t.Context(), storetest.Batch(t, "1 1 - front server get 0s 1ms")); err != nil {
		t.Error(err)
	}
	if n := servers[1].Number(t, "SELECT count() FROM "+to.Database+".spans"); n != 1 {
		t.Errorf("%d spans on the shard, want 1", n)
	}
}
