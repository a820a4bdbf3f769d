package queue_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/faultfs"
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

// TestServerStops: see stops.
func TestServerStops(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	stops(t, before(t, server.Addr, time.Now), server)
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
	batches, start := engines.Traffic(5)
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
