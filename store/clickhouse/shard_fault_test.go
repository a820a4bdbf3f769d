package clickhouse_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/remote"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/test/engines"
)

// TestShardKilled kills one shard under load and starts it again: what was acknowledged is there, once.
func TestShardKilled(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	to := over(t, servers)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	engines.Killed(t, e, servers[1], 2, 60*time.Second)
	for _, s := range servers {
		if twice := s.Number(t, "SELECT count() - uniqExact(TraceLow, SpanNumber) FROM "+to.Database+".spans"); twice > 0 {
			t.Errorf("%d rows are twice on a shard", twice)
		}
	}
}

// TestShardCut cuts the connection to one of two shards in the middle of its part, and after it took that: sent again, each row is stored once.
func TestShardCut(t *testing.T) {
	servers := []*clickhouseserver.Server{clickhouseserver.Start(t, ""), clickhouseserver.Start(t, "")}
	p := startProxy(t, servers[1].Addr, nil)
	for _, s := range servers {
		s.Configure(t, clickhouseserver.ClusterConfig([]int{1, 1}, servers[0].Addr, p.addr))
	}
	to := over(t, servers)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	rows := func(s *clickhouseserver.Server) int { return s.Number(t, "SELECT count() FROM "+to.Database+".spans") }
	batch := func(from int) []*span.Batch {
		var w strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&w, "%x 1 - front server get 0s 1ms http.url=http://example.test/%d i=%d\n", from+i, i*7919, i)
		}
		return []*span.Batch{storetest.Batch(t, w.String())}
	}
	stored := 0
	for i, cut := range []struct {
		name  string
		begin func(n int64)
		rows  int // of the shard behind the cut before the insert is sent again
	}{
		{"in the middle", p.halves.Store, 0},
		{"of the answer", p.answers.Store, 500},
	} {
		token, b := fmt.Sprintf("token-%d", i), batch(1+1000*i)
		cut.begin(100)
		err := e.Insert(t.Context(), token, b)
		var pr *problem.Problem
		if !errors.As(err, &pr) || pr.Kind != problem.Unavailable || !strings.Contains(err.Error(), "shard 2 ("+p.addr+")") {
			t.Errorf("cut %s: %v", cut.name, err)
		}
		if got, want := [2]int{rows(servers[0]), rows(servers[1])}, [2]int{stored + 500, stored + cut.rows}; got != want {
			t.Errorf("cut %s: the shards have %v rows, want %v", cut.name, got, want)
		}
		cut.begin(0)
		if err := e.Insert(t.Context(), token, b); err != nil {
			t.Fatal(err)
		}
		stored += 500
		if got, want := [2]int{rows(servers[0]), rows(servers[1])}, [2]int{stored, stored}; got != want {
			t.Errorf("cut %s, sent again: the shards have %v rows, want %v", cut.name, got, want)
		}
		// A process that was killed and knows nothing sends it again too.
		other := open(t, clickhouse.Options{Target: to})
		if err := other.Insert(t.Context(), token, b); err != nil {
			t.Error(err)
		}
		other.Close()
		if got, want := [2]int{rows(servers[0]), rows(servers[1])}, [2]int{stored, stored}; got != want {
			t.Errorf("cut %s, sent again by another process: the shards have %v rows, want %v", cut.name, got, want)
		}
		e.Count(token)
	}
	if p.cuts.Load() < 2 {
		t.Errorf("%d cuts", p.cuts.Load())
	}
	list, done, err := e.Services(t.Context(), store.Scope{}, store.TimeRange{})
	if err != nil || !done.Complete || len(list) != 1 || list[0].Spans != 2000 {
		t.Errorf("%v %+v %v, want 2000 spans", list, done, err)
	}
}

// TestShardRefusesSpans has a shard that takes no spans of one name: they are named, and all others are stored, once.
func TestShardRefusesSpans(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	to := over(t, servers)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	// repeat refuses so large a text for good.
	servers[1].Run(t, "ALTER TABLE "+to.Database+".spans ADD COLUMN bad String MATERIALIZED repeat('x', if(SpanName = 'bad', 10000000, 0))")
	var w strings.Builder
	var want []remote.Place
	for i := range 40 {
		name := "get"
		if i == 13 || i == 21 || i == 30 { // of trace 14 and 22, which shard 1 has, and of 31
			name = "bad"
		}
		fmt.Fprintf(&w, "%x 1 - front server %s 0s 1ms\n", i+2, name)
	}
	b := storetest.Batch(t, w.String())
	for row := range b.Len() {
		if b.String(b.Name[row]) == "bad" && b.TraceID[row].Low()%2 == 1 {
			want = append(want, remote.Place{Row: row})
		}
	}
	for range 2 { // and again, as after a crash
		err := e.Insert(t.Context(), "token", []*span.Batch{b})
		r, ok := errors.AsType[*remote.Refused](err)
		if !ok || len(want) != 2 || !slices.Equal(r.Rows, want) || !strings.Contains(err.Error(), "shard 2 ("+servers[1].Addr+")") {
			t.Fatalf("%v, want the rows %v refused", err, want)
		}
	}
	e.Count("token")
	page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 100})
	if err != nil || !page.Complete || len(page.Traces) != 38 {
		t.Errorf("%d traces, want 38: %v", len(page.Traces), err)
	}
	for i, s := range servers {
		if got, want := s.Number(t, "SELECT count() FROM "+to.Database+".spans"), []int{20, 18}[i]; got != want {
			t.Errorf("shard %d has %d rows, want %d", i+1, got, want)
		}
	}
}

// TestWeightsChange changes the weights between two lives of a process: what was stored before is found, traces go on elsewhere, and a batch that only
// one shard had is stored whole.
func TestWeightsChange(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	to := over(t, servers)
	e := open(t, clickhouse.Options{Target: to})
	if err := e.Accept(t.Context(), many(t, 1, 100)); err != nil {
		t.Fatal(err)
	}
	// Of this batch the second shard has the half; with the new weights it is to have three quarters under the same token.
	const from = 1001
	half := []*span.Batch{many(t, from, 100)}
	servers[0].Kill()
	if err := e.Insert(t.Context(), "token", half); err == nil {
		t.Fatal("an insert goes well without a shard")
	}
	e.Close()
	for _, s := range servers {
		s.Configure(t, clickhouseserver.ClusterConfig([]int{1, 3}, servers[0].Addr, servers[1].Addr))
	}
	e = open(t, clickhouse.Options{Target: to})
	defer e.Close()
	if err := e.Insert(t.Context(), "token", half); err != nil {
		t.Fatal(err)
	}
	e.Count("token")
	if err := e.Accept(t.Context(), storetest.Batch(t, "1 2 - front server get 0s 1ms\n2 2 - front server get 0s 1ms\n4 2 - front server get 0s 1ms")); err != nil {
		t.Fatal(err)
	}
	want := func(low uint64) int {
		if low == 1 || low == 2 || low == 4 {
			return 2
		}
		return 1
	}
	for low := uint64(1); low <= 100; low++ {
		n := 0
		for b, err := range e.Trace(t.Context(), store.Scope{}, span.TraceIDFromUint64s(0, low), store.TimeRange{}) {
			if err != nil {
				t.Fatal(err)
			}
			n += b.Len()
		}
		if n != want(low) {
			t.Errorf("trace %d has %d spans, want %d", low, n, want(low))
		}
	}
	page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 300})
	if err != nil || !page.Complete || len(page.Traces) != 200 {
		t.Errorf("%d traces, want 200: %v", len(page.Traces), err)
	}
	for _, s := range page.Traces {
		if s.Spans != want(s.TraceID.Low()) {
			t.Errorf("trace %s counts %d spans, want %d", s.TraceID, s.Spans, want(s.TraceID.Low()))
		}
	}
}
