package queue_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/queue"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/test/engines"
)

type pinnable struct{ *clickhouse.Engine }

func (p pinnable) Pin() queue.Reader { return p.Engine.Pin() }

var databases atomic.Int64

// before puts a queue before a database of its own.
func before(t testing.TB, addr string, now func() time.Time) queue.Options {
	return beforeClickHouse(t, fmt.Sprintf("clickhouse://%s/queue%d", addr, databases.Add(1)), now)
}

func beforeClickHouse(t testing.TB, dsn string, now func() time.Time) queue.Options {
	t.Helper()
	target, err := clickhouse.ParseDSN(dsn, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	o := quick("clickhouse", now)
	o.Away = clickhouse.Away
	o.Connect = func(ctx context.Context) (queue.Engine, error) {
		e, err := clickhouse.Open(ctx, clickhouse.Options{Target: target, Now: now})
		if err != nil {
			return nil, err
		}
		return pinnable{e}, nil
	}
	return o
}

// quick is a queue in memory that is tried again soon.
func quick(kind string, now func() time.Time) queue.Options {
	return queue.Options{Dir: "/data/queue", Kind: kind, FS: faultfs.NewMem(1), Sync: time.Second, Linger: -1, Reserve: 1, Now: now, MaxMemory: 1 << 30,
		FirstPause: time.Millisecond, LongPause: 50 * time.Millisecond}
}

// TestConformanceClickHouse runs the suite with about half of the spans in a real server.
func TestConformanceClickHouse(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Engine {
		return &pinnedSometimes{Queue: open(t, before(t, server.Addr, now))}
	})
}

// pinnedSometimes flushes after every other batch, also while it is asked.
type pinnedSometimes struct {
	*queue.Queue
	n atomic.Int64
}

func (s *pinnedSometimes) Accept(ctx context.Context, b *span.Batch) error {
	if err := s.Queue.Accept(ctx, b); err != nil || s.n.Add(1)%2 == 1 {
		return err
	}
	return s.Queue.Flush(ctx)
}

// TestMovingToOtel asks while spans go from the queue to the tables of OpenTelemetry's exporter, which do not tell what counts: each span is
// answered once, before, while and after it is in both.
func TestMovingToOtel(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	o := beforeClickHouse(t, fmt.Sprintf("clickhouse://%s/queue%d?schema=otel", server.Addr, databases.Add(1)), time.Now)
	connect, both := o.Connect, make(chan chan struct{})
	o.Connect = func(ctx context.Context) (queue.Engine, error) {
		e, err := connect(ctx)
		return halting{e, both}, err
	}
	q := open(t, o)
	defer q.Close()
	ask := func(when string) {
		t.Helper()
		page, err := q.Search(t.Context(), store.Scope{}, &store.Search{Limit: 5})
		if err != nil || len(page.Traces) != 1 || page.Traces[0].Spans != 2 || page.Traces[0].Matched != 2 {
			t.Errorf("%s: %+v %v", when, page, err)
		}
		seen := make(map[span.Identity]bool)
		for b, err := range q.Trace(t.Context(), store.Scope{}, span.TraceIDFromUint64s(0, 1), store.TimeRange{}) {
			if err != nil {
				t.Fatal(err)
			}
			for row := range b.Len() {
				seen[b.Identity(row)] = true
			}
		}
		if len(seen) != 2 {
			t.Errorf("%s: the trace has %d spans", when, len(seen))
		}
	}
	if err := q.Accept(t.Context(), storetest.Batch(t, "1 a - front server get 0s 2ms\n1 b a cart client get 1ms 1ms error=true")); err != nil {
		t.Fatal(err)
	}
	ask("in the queue")
	done := make(chan error, 1)
	go func() { done <- q.Flush(t.Context()) }()
	goOn := <-both
	if n := server.Number(t, "SELECT count() FROM queue"+fmt.Sprint(databases.Load())+".otel_traces"); n != 2 {
		t.Errorf("%d rows are in the table", n)
	}
	ask("in both")
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ask("in the table")
}

// halting stops behind an insert, before it counts, until it hears to go on.
type halting struct {
	queue.Engine
	both chan chan struct{}
}

func (h halting) Insert(ctx context.Context, token string, batches []*span.Batch) error {
	err := h.Engine.Insert(ctx, token, batches)
	goOn := make(chan struct{})
	select {
	case h.both <- goOn:
		<-goOn
	case <-ctx.Done():
	}
	return err
}

// TestServerStops: see stops.
func TestServerStops(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	stops(t, before(t, server.Addr, time.Now), server)
}

// shards is the address of a database on two shards.
func shards(servers []*clickhouseserver.Server) string {
	return fmt.Sprintf("clickhouse://%s,%s/queue%d?cluster=%s", servers[0].Addr, servers[1].Addr, databases.Add(1), clickhouseserver.Cluster)
}

// TestShardStops is TestServerStops for one of two shards.
func TestShardStops(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	stops(t, beforeClickHouse(t, shards(servers), time.Now), servers[1])
}

// TestProcessKilledShards is TestProcessKilled with one of two shards that comes and goes.
func TestProcessKilledShards(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	killed(t, "clickhouse", shards(servers), servers[1])
}

// TestProcessKilled: see killed.
func TestProcessKilled(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	killed(t, "clickhouse", fmt.Sprintf("clickhouse://%s/killed", server.Addr), server)
}

// TestRollupsClickHouse: rollups of the server and counts of what waits are, together, what a scan says.
func TestRollupsClickHouse(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	q := open(t, before(t, server.Addr, time.Now))
	batches, start := engines.Traffic(time.Now(), 240, 5)
	r := store.TimeRange{From: start.Add(time.Minute).UnixNano(), To: start.Add(4 * time.Minute).UnixNano()}
	for i, b := range batches {
		if err := q.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if err := q.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		storetest.CheckRollups(t, q, store.Scope{}, r)
		storetest.CheckRollups(t, q, store.Scope{}, store.TimeRange{})
	}
	server.Kill()
	if _, done, err := q.Rollups(t.Context(), store.Scope{}, r); err != nil || done.Complete || !done.Away {
		t.Errorf("rollups of a server that is away: %+v, %v", done, err)
	}
}

// TestDiskOfServerFull has a server that may not write any more because its disk is nearly full: spans wait and can be read, what holds them up
// is said, and they go by themselves when there is room.
func TestDiskOfServerFull(t *testing.T) {
	limits := filepath.Join(t.TempDir(), "limits.xml")
	keepFree := func(bytes int64) {
		text := fmt.Sprintf("<clickhouse><disks><disks><default><keep_free_space_bytes>%d</keep_free_space_bytes></default></disks></disks></clickhouse>", bytes)
		if err := os.WriteFile(limits, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	keepFree(0)
	server := clickhouseserver.Start(t, fmt.Sprintf(`<clickhouse><include_from>%s</include_from><storage_configuration incl="disks"/></clickhouse>`, limits))
	q := open(t, before(t, server.Addr, time.Now))
	sent := send(t, q, 0, 20)
	flush(t, q)
	keepFree(1 << 60)
	server.Stop()
	server.Restart(t)
	sent += send(t, q, 1000, 20)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _ = q.Flush(ctx) }() // asks for it to be sent now
	wait.For(t, time.Minute, "the queue to say what holds it up", func() bool {
		said := q.Stats().Queue.LastError
		return strings.Contains(said, "the server's disk is full") && strings.Contains(said, "243")
	})
	cancel()
	if s := q.Stats().Queue; s.PoisonSpans != 0 || s.Spans == 0 {
		t.Errorf("%+v", s)
	}
	if got := spans(t, q); got != sent {
		t.Errorf("%d of %d can be read", got, sent)
	}
	keepFree(0)
	server.Stop()
	server.Restart(t)
	flush(t, q)
	if got := server.Number(t, fmt.Sprintf("SELECT count() FROM queue%d.spans", databases.Load())); got != sent {
		t.Errorf("the server has %d of %d", got, sent)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
