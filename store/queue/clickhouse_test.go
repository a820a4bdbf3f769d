package queue_test

import (
	"context"
	"fmt"
	"sync"
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
)

type pinnable struct{ *clickhouse.Engine }

func (p pinnable) Pin() queue.Reader { return p.Engine.Pin() }

var databases atomic.Int64

// before puts a queue before a database of its own.
func before(t testing.TB, addr string, now func() time.Time) queue.Options {
	t.Helper()
	target, err := clickhouse.ParseDSN(fmt.Sprintf("clickhouse://%s/queue%d", addr, databases.Add(1)), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return queue.Options{Dir: "/data/queue", Kind: "clickhouse", FS: faultfs.NewMem(1), Sync: time.Second, Linger: -1, Reserve: 1, Now: now, MaxMemory: 1 << 30,
		FirstPause: time.Millisecond, LongPause: 50 * time.Millisecond, Away: clickhouse.Away,
		Connect: func(ctx context.Context) (queue.Engine, error) {
			e, err := clickhouse.Open(ctx, clickhouse.Options{Target: target, Now: now})
			if err != nil {
				return nil, err
			}
			return pinnable{e}, nil
		}}
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

// TestServerStops stops the server under load and starts it again, while the counts of lists are read: every span is there once, at
// every moment in which the server answers.
func TestServerStops(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	o := before(t, server.Addr, time.Now)
	o.Linger, o.FullRows, o.MaxRows = 5*time.Millisecond, 200, 400
	q := open(t, o)
	sent := send(t, q, 0, 100)
	stop := make(chan struct{})
	var load sync.WaitGroup
	var accepted atomic.Int64
	load.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				b, err := storetest.Parse(fmt.Sprintf("%x a - front server get 0s 1ms\n%x b a cart client get 0s 1ms", 1_000_000+i, 1_000_000+i))
				if err == nil {
					err = q.Accept(t.Context(), b)
				}
				if err != nil {
					t.Error(err)
					return
				}
				accepted.Add(2)
			}
		}
	})
	counted := func() (n int64) {
		list, done, err := q.Services(t.Context(), store.Scope{}, store.TimeRange{})
		if err != nil {
			t.Error(err)
		}
		for _, s := range list {
			n += s.Spans
		}
		if !done.Complete {
			return -1
		}
		return n
	}
	look := func(times int) {
		for range times {
			least := accepted.Load() + int64(sent)
			got := counted()
			if most := accepted.Load() + int64(sent) + 2; got >= 0 && (got < least || got > most) {
				t.Errorf("%d spans are counted, %d to %d were accepted", got, least, most)
			}
		}
	}
	look(30)
	server.Kill()
	look(10)
	server.Restart(t)
	look(30)
	close(stop)
	load.Wait()
	flush(t, q)
	total := int64(sent) + accepted.Load()
	if got := counted(); got != total {
		t.Errorf("%d spans are counted, %d were accepted", got, total)
	}
	if s := q.Stats().Queue; s.Spans != 0 || s.PoisonSpans != 0 || s.SentSpans != total || s.Failures == 0 {
		t.Errorf("%+v", s)
	}
	t.Logf("%d spans, %+v", total, *q.Stats().Queue)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
