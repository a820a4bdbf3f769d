package query

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
)

// slowScans is an engine whose scans last until they are let go.
type slowScans struct {
	store.Reader
	begun chan struct{}
	goOn  chan struct{}
}

func (s *slowScans) Scan(ctx context.Context, scope store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	return func(yield func(store.Rows, error) bool) {
		select {
		case s.begun <- struct{}{}:
		case <-ctx.Done():
		}
		select {
		case <-s.goOn:
		case <-ctx.Done():
			yield(store.Rows{}, ctx.Err())
		}
	}
}

// TestSweepsLeaveRoom: with as many scans waiting as there may be, traces, searches and lists are answered at once.
func TestSweepsLeaveRoom(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	e := mem.New(mem.Options{Now: func() time.Time { return now }})
	b := &span.Batch{Tenant: store.DefaultTenant, Received: now.UnixNano(), Resources: make([]span.Resource, 1), Scopes: make([]span.Scope, 1)}
	row := b.AddRow()
	b.TraceID[row], b.SpanID[row] = testTrace, span.SpanIDFromUint64(1)
	b.Start[row], b.End[row], b.Time[row] = uint64(now.UnixNano()), uint64(now.UnixNano()), now.UnixNano()
	if err := e.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	slow := &slowScans{Reader: e, begun: make(chan struct{}), goOn: make(chan struct{})}
	q := New(Options{Reader: slow, Now: func() time.Time { return now }, Limits: Limits{AtOnce: 2}})
	scope := store.Scope{Tenant: store.DefaultTenant}

	sweeps, stop := context.WithCancel(t.Context())
	const scans = 5
	ended := make(chan error, scans)
	for i := range scans {
		go func() { // every question is of another window, so that none is answered from the last one
			_, err := q.Services(sweeps, scope, ServicesQuery{Range: store.TimeRange{From: int64(i), To: now.UnixNano()}})
			ended <- err
		}()
	}
	<-slow.begun
	wait.For(t, 5*time.Second, "the other scans to wait", func() bool { return q.admission.sweeps.waiting.Load() == scans-1 })

	impatient, cancel := context.WithTimeout(t.Context(), wait.Scale(5*time.Second))
	defer cancel()
	if _, err := q.Trace(impatient, scope, testTrace, store.TimeRange{}); err != nil {
		t.Errorf("a trace behind scans: %v", err)
	}
	if page, err := q.Search(impatient, scope, &store.Search{Limit: 1}); err != nil || len(page.Traces) != 1 {
		t.Errorf("a search behind scans: %v", err)
	}
	if _, _, err := q.Keys(impatient, scope, store.KeysQuery{Limit: 1}); err != nil {
		t.Errorf("a list behind scans: %v", err)
	}

	slow.goOn <- struct{}{} // the first scan ends, the second begins
	if err := <-ended; err != nil {
		t.Errorf("the first scan: %v", err)
	}
	<-slow.begun
	stop()
	for range scans - 1 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled scan: %v", err)
		}
	}
	if n := len(q.admission.all.free) + len(q.admission.sweeps.free); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
}

func TestAdmissionRefusesLongQueues(t *testing.T) {
	q := New(Options{Reader: mem.New(mem.Options{}), Limits: Limits{AtOnce: 2}})
	leave, err := q.Admit(t.Context(), Sweep)
	if err != nil {
		t.Fatal(err)
	}
	q.admission.sweeps.waiting.Store(placeWaiting)
	if _, err := q.Admit(t.Context(), Sweep); problem.Of(err).Kind != problem.Overloaded {
		t.Errorf("with a long queue: %v", err)
	}
	leave()
	leave()
	if _, err := q.Admit(t.Context(), Sweep); err != nil {
		t.Errorf("with a free place: %v", err)
	}
}
