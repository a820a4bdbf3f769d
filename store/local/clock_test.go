package local

import (
	"errors"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/store"
)

func searchAll() *store.Search { return &store.Search{Limit: 1000} }

// TestClockJumps sets the clock back and forth by hours between batches, segments, compactions and restarts. Nothing that is within
// retention by the clock that stands goes, what is older goes in the end, and nothing is found twice.
func TestClockJumps(t *testing.T) {
	fsys, c := faultfs.NewMem(1), newClock()
	o := Options{FS: fsys, Now: c.Now, Retention: 12 * time.Hour, BlockRows: 4}
	e := open(t, o)
	acked := make(map[int]bool)
	for n, jump := range []time.Duration{0, 3, -2, -3, 5, 1, -1, 4, -6, 2, 0, -3, 7, -5} {
		c.Add(jump * time.Hour)
		for i := range 2 {
			if err := e.Accept(t.Context(), numbered(2*n+i, c.Now())); err != nil {
				t.Fatal(err)
			}
			acked[2*n+i] = true
		}
		if n%2 == 0 {
			if err := e.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.tidy(); err != nil {
			t.Fatal(err)
		}
		if n%5 == 4 {
			mustClose(t, e)
			e = open(t, o)
		}
		mustHold(t, "after a jump", e, acked)
		page, err := e.Search(t.Context(), defaultScope(), searchAll())
		if err != nil || len(page.Traces) != len(acked) {
			t.Fatalf("a search finds %d traces of %d, %v", len(page.Traces), len(acked), err)
		}
		for _, s := range page.Traces {
			if s.Spans != rows {
				t.Errorf("trace %s has %d spans", s.TraceID, s.Spans)
			}
		}
		e.Stats()
	}
	c.Add(40 * time.Hour)
	if err := errors.Join(e.Flush(t.Context()), e.tidy()); err != nil {
		t.Fatal(err)
	}
	if got := found(t, e); len(got) != 0 {
		t.Errorf("%d batches are older than retention and still here", len(got))
	}
}

// TestFlushByAgeWithClockSetBack: a memtable that was begun by a clock that was hours ahead must not wait for those hours.
func TestFlushByAgeWithClockSetBack(t *testing.T) {
	c := newClock()
	e := open(t, Options{FS: faultfs.NewMem(1), Now: c.Now})
	if err := e.Accept(t.Context(), numbered(0, c.Now())); err != nil {
		t.Fatal(err)
	}
	c.Add(-3 * time.Hour)
	wait.For(t, 10*time.Second, "a segment", func() bool { return e.Stats().Segments.Files == 1 })
}

// TestPageTokensWithClockJumps: a token never answers with other spans than its snapshot's, whatever the clock does; one from the
// future is let go of, or it would hold its files and memtables for hours.
func TestPageTokensWithClockJumps(t *testing.T) {
	for what, c := range map[string]struct {
		jump time.Duration
		want problem.Kind
	}{
		"a little back": {-time.Minute, 0}, "a little on": {time.Minute, 0}, "hours back": {-3 * time.Hour, problem.Expired}, "hours on": {3 * time.Hour, problem.Expired},
	} {
		t.Run(what, func(t *testing.T) {
			clk := newClock()
			e := open(t, Options{FS: faultfs.NewMem(1), Now: clk.Now})
			for n := range 4 {
				if err := e.Accept(t.Context(), numbered(n, clk.Now())); err != nil {
					t.Fatal(err)
				}
			}
			q := store.Search{Limit: 3}
			page, err := e.Search(t.Context(), defaultScope(), &q)
			if err != nil {
				t.Fatal(err)
			}
			clk.Add(c.jump)
			if err := e.Accept(t.Context(), numbered(9, clk.Now())); err != nil {
				t.Fatal(err)
			}
			q.Page = page.Next
			page, err = e.Search(t.Context(), defaultScope(), &q)
			if c.want != 0 {
				if err == nil || problem.Of(err).Kind != c.want {
					t.Errorf("got %+v, %v", page, err)
				}
				e.pages.mu.Lock()
				defer e.pages.mu.Unlock()
				if len(e.pages.pins) != 0 {
					t.Errorf("%d snapshots are held", len(e.pages.pins))
				}
				return
			}
			if err != nil || len(page.Traces) != 1 || page.Next != "" {
				t.Errorf("got %+v, %v", page, err)
			}
		})
	}
}

// TestHoursWithOneSpan: a segment for each of many hours, each of one span.
func TestHoursWithOneSpan(t *testing.T) {
	fsys, c := faultfs.NewMem(1), newClock()
	o := Options{FS: fsys, Now: c.Now}
	e := open(t, o)
	const hours = 100
	for n := range hours {
		b := numbered(n, c.Now())
		b.Keep(func(row int) bool { return row == 0 })
		if err := errors.Join(e.Accept(t.Context(), b), e.Flush(t.Context())); err != nil {
			t.Fatal(err)
		}
		c.Add(time.Hour)
	}
	for _, when := range []string{"running", "restarted"} {
		if err := e.tidy(); err != nil {
			t.Fatal(err)
		}
		page, err := e.Search(t.Context(), defaultScope(), searchAll())
		if err != nil || !page.Complete || len(page.Traces) != hours {
			t.Fatalf("%s: %d traces, %v", when, len(page.Traces), err)
		}
		for n, s := range page.Traces {
			if s.TraceID != traceOf(hours-1-n) || s.Spans != 1 {
				t.Fatalf("%s: place %d has trace %s of %d spans", when, n, s.TraceID, s.Spans)
			}
		}
		mustClose(t, e)
		e = open(t, o)
	}
}
