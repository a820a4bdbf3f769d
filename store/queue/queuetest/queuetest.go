// Package queuetest gives the tests of other rooms a queue whose engine is away: what people ask while ClickHouse or OpenSearch is down.
package queuetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/queue"
)

// Away is a queue before an engine that never answers, until the test ends: what it takes waits in it and can be read.
func Away(t testing.TB, now func() time.Time) *queue.Queue {
	t.Helper()
	q, err := queue.Open(t.Context(), queue.Options{Dir: "/data/queue", Kind: "clickhouse", FS: faultfs.NewMem(1), Now: now, Reserve: 1, Sync: time.Second, Farewell: time.Nanosecond,
		Connect: func(context.Context) (queue.Engine, error) {
			return nil, &problem.Problem{Kind: problem.Unavailable, Message: "open ClickHouse spanloom", Err: errors.New("dial tcp 127.0.0.1:9000: connect: connection refused")}
		},
		Away: func(error) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	return q
}
