package query

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
)

// TestLargeTracesTakeTurns reads a trace of 5 MiB: one reader at a time, and small traces beside it.
func TestLargeTracesTakeTurns(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	e := mem.New(mem.Options{Now: func() time.Time { return now }})
	large, small := span.TraceIDFromUint64s(0, 1), span.TraceIDFromUint64s(0, 2)
	b := &span.Batch{Tenant: store.DefaultTenant, Received: now.UnixNano(), Resources: make([]span.Resource, 1), Scopes: make([]span.Scope, 1)}
	for i := range 101 {
		row := b.AddRow()
		b.TraceID[row], b.SpanID[row] = large, span.SpanIDFromUint64(uint64(i+1))
		b.Name[row] = b.AddText(strings.Repeat(string(rune('a'+i%26)), 50_000+i))
		b.Start[row], b.End[row], b.Time[row] = uint64(now.UnixNano()), uint64(now.UnixNano()), now.UnixNano()
	}
	b.TraceID[100] = small
	if err := e.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	q := New(Options{Reader: e, Now: func() time.Time { return now }, Limits: Limits{LargeAtOnce: 1}})
	scope := store.Scope{Tenant: store.DefaultTenant}
	read := func(ctx context.Context, id span.TraceID) (*Trace, error) {
		return q.Trace(ctx, scope, id, store.TimeRange{})
	}

	request, end := context.WithCancel(t.Context())
	first, err := read(request, large)
	if err != nil || first.Spans != 100 {
		t.Fatalf("%v", err)
	}
	if _, err := read(t.Context(), small); err != nil {
		t.Errorf("a small trace waits: %v", err)
	}
	impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := read(impatient, large); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second large trace: %v", err)
	}
	second := make(chan error, 1)
	go func() {
		tr, err := read(t.Context(), large)
		if err == nil {
			tr.Release()
		}
		second <- err
	}()
	wait.For(t, 5*time.Second, "the second reader", func() bool { return q.large.waiting.Load() == 1 })
	end() // the first request is over, though nobody called Release
	if err := <-second; err != nil {
		t.Errorf("after the first: %v", err)
	}

	third, err := read(t.Context(), large)
	if err != nil {
		t.Fatal(err)
	}
	q.large.waiting.Store(placeWaiting)
	if _, err := read(t.Context(), large); problem.Of(err).Kind != problem.Overloaded {
		t.Errorf("with a long queue: %v", err)
	}
	third.Release()
	third.Release()
	if len(q.large.free) != 0 {
		t.Error("a place is still taken")
	}
}
