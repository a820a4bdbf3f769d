package beside_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/beside"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// part is mem as a part: a moment of it is what was stored up to a batch.
type part struct {
	*mem.Engine
	now func() time.Time

	mu      sync.Mutex
	batches []*span.Batch // of both parts; nil: nothing of it is here
	then    *mem.Engine   // of moment
	moment  uint64
	fault   error
}

func newPart(now func() time.Time) *part {
	return &part{Engine: mem.New(mem.Options{MaxBytes: 512 << 20, Now: now}), now: now}
}

func (p *part) Can() store.Abilities {
	return store.Abilities{CompareAndSet: true, TraceDuration: true}
}

func (p *part) Keep(context.Context, store.Scope, span.TraceID, int64) error {
	return problem.New(problem.Unsupported, "nothing is kept", "")
}

func (p *part) Insert(context.Context, string, []*span.Batch) error { return errors.ErrUnsupported }
func (p *part) Count(...string)                                     {}

func (p *part) accept(ctx context.Context, b *span.Batch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.Len() == 0 {
		p.batches = append(p.batches, nil)
		return nil
	}
	if err := p.Engine.Accept(ctx, b); err != nil {
		return err
	}
	p.batches = append(p.batches, b.Clone())
	return nil
}

func (p *part) Moment() answer.Moment {
	p.mu.Lock()
	defer p.mu.Unlock()
	return answer.Moment{Last: uint64(len(p.batches))}
}

// at is the engine as it was.
func (p *part) at(m answer.Moment) *mem.Engine {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.Last >= uint64(len(p.batches)) {
		return p.Engine
	}
	if p.then == nil || p.moment != m.Last {
		p.then, p.moment = mem.New(mem.Options{MaxBytes: 512 << 20, Now: p.now}), m.Last
		for _, b := range p.batches[:m.Last] {
			if b != nil {
				if err := p.then.Accept(context.Background(), b); err != nil {
					panic(err)
				}
			}
		}
	}
	return p.then
}

func (p *part) RowsAt(ctx context.Context, s store.Scope, ids []span.TraceID, m answer.Moment) iter.Seq2[[]answer.Row, error] {
	return p.at(m).Rows(ctx, s, ids, store.Everything())
}

func (p *part) SearchAfter(ctx context.Context, s store.Scope, q *store.Search, m answer.Moment, after *answer.Rank) (answer.Part, error) {
	if p.fault != nil {
		return answer.Part{}, p.fault
	}
	all := *q
	all.Limit = answer.MaxLimit
	page, err := p.at(m).Search(ctx, s, &all)
	if err != nil {
		return answer.Part{}, err
	}
	list := answer.Part{Page: store.Page{Done: page.Done}}
	for _, sum := range page.Traces {
		if after == nil || after.Compare(answer.Rank{Start: sum.MatchedStart, ID: sum.TraceID}) < 0 {
			list.Traces = append(list.Traces, sum)
		}
	}
	if list.More = len(list.Traces) > q.Limit; list.More {
		list.Traces = list.Traces[:q.Limit]
	}
	return list, nil
}

func (p *part) Has(_ context.Context, _ store.Scope, ids []span.TraceID) (map[span.TraceID]bool, error) {
	has := make(map[span.TraceID]bool)
	for _, id := range ids {
		has[id] = p.Engine.Has(id)
	}
	return has, p.fault
}

func (p *part) Services(ctx context.Context, s store.Scope, r store.TimeRange) ([]store.Service, store.Done, error) {
	if p.fault != nil {
		return nil, store.Done{}, p.fault
	}
	return p.Engine.Services(ctx, s, r)
}

func (p *part) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, r store.TimeRange, need store.Need) iter.Seq2[*span.Batch, error] {
	if p.fault != nil {
		return func(yield func(*span.Batch, error) bool) { yield(nil, p.fault) }
	}
	return func(yield func(*span.Batch, error) bool) {
		for b, err := range p.Engine.Traces(ctx, s, ids, r, need) {
			if err == nil {
				b = b.Clone() // the reader drops copies of it
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// split writes each span to one of two parts: copies of one to the same.
type split struct {
	*beside.Engine
	own, other *part
	mu         sync.Mutex
}

func newSplit(now func() time.Time) *split {
	own, other := newPart(now), newPart(now)
	return &split{Engine: &beside.Engine{Writing: own, Reader: beside.New(own, other, "the others", now, func(string, error) {})}, own: own, other: other}
}

func (s *split) Accept(ctx context.Context, b *span.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	half := func(n uint32) *span.Batch {
		part := b.Clone()
		part.Keep(func(row int) bool {
			h := fnv.New32a()
			fmt.Fprint(h, part.TraceID[row], part.SpanID[row], part.Kind[row], part.Start[row]/1000, part.String(part.Service[row]))
			return h.Sum32()/7%2 == n
		})
		return part
	}
	// The second half first: who sees the first one's number sees both.
	if err := s.other.accept(ctx, half(1)); err != nil {
		return err
	}
	return s.own.accept(ctx, half(0))
}

func (s *split) Close() error { return errors.Join(s.own.Engine.Close(), s.other.Engine.Close()) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Engine { return newSplit(now) })
}

func TestModel(t *testing.T) {
	storetest.Model(t, func(t *testing.T, now func() time.Time) store.Engine { return newSplit(now) }, storetest.ModelOptions{})
}

// both stores a text on both sides: own is what the engine has, other what the other store has.
func both(t *testing.T, own, other string) *split {
	t.Helper()
	s := newSplit(time.Now)
	for p, text := range map[*part]string{s.own: own, s.other: other} {
		if err := p.accept(t.Context(), storetest.Batch(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func searched(t *testing.T, s *split, limit int, match store.Expr) string {
	t.Helper()
	var all []store.Summary
	q := store.Search{Limit: limit, Match: match}
	for range 20 {
		page, err := s.Search(t.Context(), store.Scope{}, &q)
		if err != nil || !page.Complete {
			t.Fatal(page, err)
		}
		all = append(all, page.Traces...)
		if q.Page = page.Next; q.Page == "" {
			break
		}
	}
	var w strings.Builder
	for _, sum := range all {
		fmt.Fprintf(&w, "%x:%d/%d ", sum.TraceID.Low(), sum.Matched, sum.Spans)
	}
	return strings.TrimSpace(w.String())
}

// Copies that came by two ways count once, whatever was lost of their times, and the engine's is the one that is looked at.
func TestCopies(t *testing.T) {
	s := both(t, "1 a - front server get 1000.5us 10us k=whole\n2 a - front server get 3ms 1ms", "1 a - front server get 1000us 9us k=cut\n1 b a cart client get 1ms 1ms\n3 a - front server get 2ms 1ms k=cut")
	if got := searched(t, s, 1, nil); got != "2:1/1 3:1/1 1:2/2" {
		t.Errorf("found %s", got)
	}
	// The copy that does not count matches, with a better bound than what is listed before it.
	cut := store.Cond{Field: store.Field{In: store.InSpan, Key: "k"}, Op: store.Eq, Value: store.Text("cut")}
	if got := searched(t, s, 1, cut); got != "3:1/1" {
		t.Errorf("found %s of those that are cut", got)
	}
	n := 0
	for b, err := range s.Trace(t.Context(), store.Scope{}, span.TraceIDFromUint64s(0, 1), store.TimeRange{}) {
		if err != nil {
			t.Fatal(err)
		}
		n += b.Len()
	}
	if n != 2 {
		t.Errorf("the trace has %d spans, want 2", n)
	}
}

// A trace whose bound comes early and whose rank comes late is listed once, in its place, over all pages.
func TestLateRanks(t *testing.T) {
	own, other := "1 a - front server get 1ms 5ms\n1 b - front server get 9ms 1ms k=no\n", "1 b - front server get 9ms 1ms\n"
	for i := range 6 {
		own += fmt.Sprintf("%d a - front server get %dms 5ms\n", 10+i, 3+i)
	}
	s := both(t, own, other)
	long := store.Not{Expr: store.Cond{Field: store.Field{In: store.InSpan, Key: "k"}, Op: store.Eq, Value: store.Text("no")}}
	for limit := 1; limit < 8; limit++ {
		if got := searched(t, s, limit, long); got != "15:1/1 14:1/1 13:1/1 12:1/1 11:1/1 10:1/1 1:1/2" {
			t.Errorf("pages of %d: %s", limit, got)
		}
	}
}

// Without the other store the engine's answers are given and say so.
func TestAway(t *testing.T) {
	s := both(t, "1 a - front server get 1ms 1ms\n2 a - front server get 2ms 1ms", "3 a - front server get 3ms 1ms")
	s.other.fault = problem.New(problem.Unavailable, "no route", "")
	q := store.Search{Limit: 1}
	page, err := s.Search(t.Context(), store.Scope{}, &q)
	if err != nil || page.Complete || !strings.Contains(page.Reason, "no route") || len(page.Traces) != 1 || page.Next == "" {
		t.Fatal(page, err)
	}
	q.Page = page.Next
	if page, err = s.Search(t.Context(), store.Scope{}, &q); err != nil || len(page.Traces) != 1 || page.Traces[0].TraceID.Low() != 1 {
		t.Error(page, err)
	}
	list, done, err := s.Services(t.Context(), store.Scope{}, store.TimeRange{})
	if err != nil || done.Complete || !strings.Contains(done.Reason, "the others do not answer") || len(list) != 1 || list[0].Spans != 2 {
		t.Error(list, done, err)
	}
	n := 0
	var last error
	for b, err := range s.Trace(t.Context(), store.Scope{}, span.TraceIDFromUint64s(0, 1), store.TimeRange{}) {
		if last = err; err == nil {
			n += b.Len()
		}
	}
	if p := problem.Of(last); n != 1 || p == nil || p.Kind != problem.Unavailable {
		t.Errorf("%d spans, %v", n, last)
	}
	// The engine's own errors stay errors.
	s.other.fault, s.own.fault = nil, problem.New(problem.Unavailable, "gone", "")
	if _, err := s.Search(t.Context(), store.Scope{}, &store.Search{Limit: 1}); err == nil {
		t.Error("the engine is away, and nobody says so")
	}
}

func FuzzTokens(f *testing.F) {
	s := newSplit(time.Now)
	f.Add("b.AAAA.BBBB")
	f.Add("b..")
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" {
			return
		}
		if _, err := s.Search(t.Context(), store.Scope{}, &store.Search{Limit: 1, Page: text}); err == nil {
			t.Errorf("%q is taken", text)
		}
	})
}
