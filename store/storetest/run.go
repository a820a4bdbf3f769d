// Package storetest is the one conformance suite of all engines, and the text form in which tests write and read spans.
//
// An engine is done when Run passes. The suite compares with a model that keeps slices and looks at every row, so a case here is
// mostly data; what an engine does beyond the contract (eviction, files) it tests itself.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Open makes an empty engine with room for 200,000 spans. The engine must take its time from now.
type Open func(t *testing.T, now func() time.Time) store.Engine

// Loss is what an engine does not keep of what it is sent. Its words are those of Can().Lossy, which the suite prints as unsupported.
// The zero Loss is of an engine that keeps everything.
type Loss struct {
	// Stored is what comes back of a batch that was sent: the batch is a copy and may be changed. Receipt is of batches, so rows that
	// have it from themselves come back one a batch. nil: the batch itself.
	Stored func(b *span.Batch) []*span.Batch
	// Pages says why later pages of a search may show what was stored after the first one; empty: they do not.
	Pages string
}

// of answers what comes back of a batch.
func (l Loss) of(b *span.Batch) []*span.Batch {
	b = b.Clone()
	if l.Stored == nil {
		return []*span.Batch{b}
	}
	return l.Stored(b)
}

// Run runs the suite. Every case opens an engine of its own, closes it and expects that to work.
func Run(t *testing.T, open Open) { RunLossy(t, open, Loss{}) }

// RunLossy is Run for an engine that does not keep everything: its answers must be those that the spans as they come back have.
func RunLossy(t *testing.T, open Open, loss Loss) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"fields come back as they were sent", fidelity},
		{"a batch is borrowed until Accept returns", borrowed},
		{"empty questions", empty},
		{"conditions", conditions},
		{"order and paging", paging},
		{"page tokens", tokens},
		{"time modes", timeModes},
		{"trace duration", traceDuration},
		{"duplicates", duplicates},
		{"shared spans", sharedSpans},
		{"twins of 64 and 128 bits", twins},
		{"absent and impossible times", oddTimes},
		{"several traces at once", severalTraces},
		{"what a caller needs", needs},
		{"scopes of calls", mustMatch},
		{"lists", lists},
		{"plans that make no sense", nonsense},
		{"documents", documents},
		{"keep", keeping},
		{"cancel", cancelling},
		{"random spans against the model", random},
		{"readers and writers at once", concurrent},
		{"a trace of 200,000 spans", hugeTrace},
		{"100,000 attribute keys", manyKeys},
		{"closed", closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Attr(AttrCase, c.name)
			start(t, open, loss, c.run)
		})
	}
}

// start runs a case on an engine of its own.
func start(t *testing.T, open Open, loss Loss, run func(*testing.T, *suite)) {
	s := &suite{open: open, loss: loss}
	s.clock.Store(At(DefaultReceived))
	s.engine = asked{open(t, func() time.Time { return time.Unix(0, s.clock.Load()) }), &s.questions}
	defer func() { t.Attr(AttrQuestions, strconv.FormatInt(s.questions.Load(), 10)) }()
	lossy := s.engine.Can().Lossy
	for _, what := range lossy {
		t.Log("unsupported:", what)
	}
	if says, is := len(lossy) > 0, loss.Stored != nil || loss.Pages != ""; says != is {
		t.Errorf("the engine says that it loses %q, and is tested as one that loses something: %t", lossy, is)
	}
	run(t, s)
	if err := s.engine.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// suite is one case: an engine with its clock and the model of what it was given.
type suite struct {
	open      Open
	loss      Loss
	clock     atomic.Int64
	engine    store.Engine
	questions atomic.Int64 // that it was asked
	model     model
}

var scope = store.Scope{Tenant: store.DefaultTenant}

func (s *suite) accept(t *testing.T, text string) {
	t.Helper()
	s.acceptBatch(t, Batch(t, text))
}

func (s *suite) acceptBatch(t *testing.T, b *span.Batch) {
	t.Helper()
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	if err := s.engine.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	s.model.accept(s.loss.of(b)...)
}

// written is whether an answer must be the one that a case writes down. That is of the spans as they were sent: where something of them is
// lost, the model says what is to come instead, and the difference is told.
func (s *suite) written(t *testing.T, got, want string) bool {
	if s.loss.Stored == nil || got == want {
		return true
	}
	t.Logf("unsupported: of the spans as they were sent the answer would be\n%s\nit is\n%s", want, got)
	return false
}

// trace reads a trace as text, a span a block, sorted, without the duplicates that an engine may yield.
func (s *suite) trace(t *testing.T, sc store.Scope, id span.TraceID) string {
	t.Helper()
	var rows []modelRow
	for b, err := range s.engine.Trace(t.Context(), sc, id, store.TimeRange{}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		b = b.Clone()
		for row := range b.Len() {
			rows = append(rows, modelRow{b, row})
		}
	}
	return textOf(lastCopies(rows))
}

// checkTrace compares a trace with the model's.
func (s *suite) checkTrace(t *testing.T, sc store.Scope, id span.TraceID) {
	t.Helper()
	if got, want := s.trace(t, sc, id), s.model.trace(sc, id); got != want {
		t.Errorf("trace %s:\n%swant:\n%s", id, got, want)
	}
}

// search answers all pages of a search.
func (s *suite) search(t *testing.T, q store.Search) []store.Summary {
	t.Helper()
	var all []store.Summary
	for pages := 0; ; pages++ {
		page, err := s.engine.Search(t.Context(), scope, &q)
		if err != nil {
			t.Fatalf("%#v: %v", q, err)
		}
		if !page.Complete || page.Reason != "" {
			t.Fatalf("%#v: not complete: %q", q, page.Reason)
		}
		if len(page.Traces) > q.Limit || page.Next != "" && len(page.Traces) < q.Limit {
			t.Fatalf("%#v: %d traces on a page of %d, next %q", q, len(page.Traces), q.Limit, page.Next)
		}
		all = append(all, page.Traces...)
		if page.Next == "" {
			return all
		}
		q.Page = page.Next
	}
}

// checkSearch compares a search with the model's answer, in pages of the plan's limit.
func (s *suite) checkSearch(t *testing.T, q store.Search) {
	t.Helper()
	got, want := s.search(t, q), s.model.search(scope, &q)
	if !slices.EqualFunc(got, want, sameSummary) {
		t.Errorf("%#v\ngot:\n%swant:\n%s", q, Summaries(got), Summaries(want))
	}
}

func sameSummary(a, b store.Summary) bool {
	return Summaries([]store.Summary{a}) == Summaries([]store.Summary{b}) && a.Received == b.Received
}

// wantKind checks that an error is a problem of a kind.
func wantKind(t *testing.T, what string, err error, want problem.Kind) {
	t.Helper()
	var p *problem.Problem
	if !errors.As(err, &p) || p.Kind != want {
		t.Errorf("%s: got %v, want a problem of kind %s", what, err, want)
	}
}

func traceID(t testing.TB, text string) span.TraceID {
	t.Helper()
	id, err := span.ParseTraceID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// attribute and intrinsic fields, for short conditions.
func in(scope store.FieldScope, key string) store.Field { return store.Field{In: scope, Key: key} }

func cond(f store.Field, op store.Op, v store.Operand) store.Cond {
	return store.Cond{Field: f, Op: op, Value: v}
}

// seeds are those of the random cases: eight fixed ones (-short: two) and one that differs from run to run, or only SPANLOOM_SEED.
func seeds(t *testing.T) []uint64 {
	if text := os.Getenv("SPANLOOM_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	list := []uint64{1, 2, 3, 4, 5, 6, 7, 8}
	if testing.Short() {
		list = list[:2]
	}
	return append(list, uint64(time.Now().UnixNano()))
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func describe[T any](list []T) string {
	var w strings.Builder
	for _, v := range list {
		fmt.Fprintf(&w, "%+v\n", v)
	}
	return w.String()
}
