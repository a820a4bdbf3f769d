package query

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Flag is a set of facts about a row of a trace.
type Flag uint16

// The flags. Their bits are part of the own API: never renumber.
const (
	FlagError          Flag = 1 << iota // span.Batch.Failed
	FlagProxy                           // made by a sidecar, gateway or waypoint
	FlagPlaceholder                     // stands for a parent that never arrived; no span of the batch belongs to it
	FlagShared                          // the server half of an id that client and server share, hung below the client half
	FlagDuplicates                      // other copies of this span were left out
	FlagOutsideParent                   // starts before or after its parent's time, by more than a microsecond
	FlagTimeReplaced                    // its time was absent or impossible, the receipt time is shown
	FlagServiceDerived                  // no usable service.name came with it
	FlagNameDerived                     // it has no name; Names holds the derived one
	FlagCut                             // attributes, events or values were cut to a limit
	FlagTwin                            // its parent was found under the trace's 64- or 128-bit twin id
	FlagStatusOK                        // status ok was set explicitly
)

// Row is one line of a trace in tree order.
type Row struct {
	ID       span.SpanID // as sent; of a placeholder the missing id
	Span     int32       // row of Trace.Batch; -1 for a placeholder
	Parent   int32       // row of the parent, always smaller than the own one; -1 for a root
	Depth    int32       // 0 for roots
	Start    int64       // effective start, ns since the epoch
	Duration int64       // ns, never negative
	Service  int32       // index into Trace.Services
	Name     int32       // index into Trace.Names
	Hop      int32       // see hops; -1 alone
	Kind     span.Kind
	Flags    Flag
}

// End is the instant at which the row ends.
func (r *Row) End() int64 { return r.Start + r.Duration }

// ServiceName is a service as it shows in one trace.
type ServiceName struct {
	Name, Group, Namespace string
}

// Trace is an assembled trace. It shares nothing with the store and nobody changes it.
type Trace struct {
	ID       span.TraceID // the id that was asked for, if a span carries it; else its 64- or 128-bit twin
	Batch    *span.Batch  // all spans that were read, also those that Rows leave out; no useful order
	Rows     []Row        // tree order: depth first, siblings by start, then id
	Services []ServiceName
	Names    []string

	Start, End      int64 // first start and last end of its spans, ns since the epoch
	Spans           int   // rows that are spans
	Errors          int   // of them failed
	Depth           int   // levels; 1 for a single span
	Received        int64 // receipt of its newest span
	MaybeIncomplete bool  // that was less than 30 s ago
	store.Done            // Complete: everything the store has was read
	Warnings        []Warning

	leave func() // gives back the place of a large trace; nil of a small one
}

// Release says that a trace was answered, so that the next large one may be read. It is needed where a request reads several
// traces; the end of a request's context does the same. Calling it again does nothing.
func (t *Trace) Release() {
	if t.leave != nil {
		t.leave()
	}
}

// WarningKind is the closed list of what a trace warns about.
type WarningKind string

// The kinds of warnings.
const (
	WarnMissingParent  WarningKind = "missing_parent"
	WarnSharedID       WarningKind = "shared_id"
	WarnDuplicate      WarningKind = "duplicate"
	WarnClockSkew      WarningKind = "clock_skew"
	WarnImpossibleTime WarningKind = "impossible_time"
	WarnTwinID         WarningKind = "twin_id"
	WarnCycle          WarningKind = "cycle"
	WarnTooManySpans   WarningKind = "too_many_spans"
	WarnLate           WarningKind = "late"
	WarnAway           WarningKind = "away" // a part of the store did not answer
)

// Warning says what was found or repaired.
type Warning struct {
	Kind    WarningKind
	Rows    []int32 // at most maxWarningRows of Count
	Count   int
	Message string
}

const maxWarningRows = 100

// incompleteFor is how long after the receipt of its newest span a trace may still grow: sidecars flush every 5 s, SDKs too,
// and a collector may stand between.
const incompleteFor = 30 * time.Second

// MaybeIncomplete reports whether a trace whose newest span arrived at received may still grow.
func (q *Query) MaybeIncomplete(received int64) bool {
	return q.now().UnixNano()-received < int64(incompleteFor)
}

// Spans reads every span of a trace and of its 64/128-bit twins into one batch of the caller's own, nothing repaired and no
// duplicate left out; equal spans stand in the order of their receipt. Done says whether a limit cut it, or a part of the store
// is away. A trace of which nothing is here is a NotFound problem, or the store's error where it did not answer. hint may narrow
// the look-up; the zero TimeRange is all time. A large trace has one of few places until ctx ends; an Overloaded problem says
// that none became free.
func (q *Query) Spans(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) (*span.Batch, store.Done, error) {
	b, done, _, err := q.spans(ctx, s, id, hint)
	return b, done, err
}

// spans is Spans with what gives the place back; nil for a small trace.
func (q *Query) spans(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) (b *span.Batch, done store.Done, leave func(), err error) {
	if b, done, err = q.read(ctx, s, id, hint, smallTrace); b != nil || err != nil {
		return b, done, nil, err
	}
	if leave, err = q.large.enter(ctx); err != nil {
		return nil, done, nil, fmt.Errorf("read trace %s: %w", id, err)
	}
	if b, done, err = q.read(ctx, s, id, hint, q.limits.TraceBytes+1); err != nil {
		leave()
		return nil, done, nil, err
	}
	return b, done, leave, nil
}

// read reads the spans of a trace. A batch that outgrows most bytes is thrown away: it answers nil.
func (q *Query) read(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange, most int64) (*span.Batch, store.Done, error) {
	b := &span.Batch{Tenant: s.Tenant}
	done := store.Done{Complete: true}
	copier := span.NewCopier(b)
	copier.Intern = newInterner(b, q.seed).add
read:
	for from, err := range q.store.Trace(ctx, s, id, hint) {
		if err != nil {
			if away, ok := Away(err); ok && b.Len() > 0 && ctx.Err() == nil {
				done = away
				break
			}
			return nil, done, fmt.Errorf("read trace %s: %w", id, err)
		}
		copier.Begin(from)
		b.Received = max(b.Received, from.Received)
		for i := range from.Len() {
			if b.Len() >= q.limits.TraceSpans {
				done = store.Done{Reason: fmt.Sprintf("the trace has more than %d spans; the rest was not read", q.limits.TraceSpans)}
				break read
			}
			size := int64(b.Size())
			if size > q.limits.TraceBytes {
				done = store.Done{Reason: fmt.Sprintf("the trace is larger than %d MiB; %d spans were read", q.limits.TraceBytes>>20, b.Len())}
				break read
			}
			if size > most {
				return nil, done, nil
			}
			// append grows large slices by a quarter, which would copy these two five times over.
			if n := int(from.SpanAttrs[i].Len); cap(b.Attrs)-len(b.Attrs) < n {
				b.Attrs = slices.Grow(b.Attrs, max(n, len(b.Attrs)))
			}
			if n := 32 * int(from.SpanAttrs[i].Len); cap(b.Arena)-len(b.Arena) < n {
				b.Arena = slices.Grow(b.Arena, max(n, len(b.Arena)))
			}
			copier.Row(i)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, done, fmt.Errorf("read trace %s: %w", id, err)
	}
	if b.Len() == 0 {
		return nil, done, problem.New(problem.NotFound, fmt.Sprintf("trace %s not found", id),
			"its spans may still be on their way, may have been sampled out, or may be past retention")
	}
	return b, done, nil
}

// Trace reads and assembles a trace. Errors and hint are those of Spans.
//
// Cost: about 1 µs a span with 20 attributes, most of it for copying; memory of the copy is bounded by Limits.
func (q *Query) Trace(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) (*Trace, error) {
	b, done, leave, err := q.spans(ctx, s, id, hint)
	if err != nil {
		return nil, err
	}
	t := assemble(b, id)
	t.leave = leave
	t.Done = done
	t.MaybeIncomplete = q.MaybeIncomplete(t.Received)
	switch {
	case done.Away:
		t.Warnings = append(t.Warnings, Warning{Kind: WarnAway, Count: 1, Message: done.Reason})
	case !done.Complete:
		t.Warnings = append(t.Warnings, Warning{Kind: WarnTooManySpans, Count: 1, Message: done.Reason})
	}
	return t, nil
}
