// Package query answers questions about spans: it assembles traces, searches, and computes rates, errors and durations.
// It knows the contract of store and no engine, and neither HTTP nor gRPC: the dialects below it decode a request, call a
// method of Query and encode the answer.
//
// A trace is what all batches say at the time of the question. Nothing here is written back: every repair (a placeholder for
// a parent that never came, a duplicate left out, a cycle broken) is made anew on reading and said with a flag on its row
// and a warning on its trace.
package query

import (
	"context"
	"hash/maphash"
	"log/slog"
	"runtime"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Limits bound what one question may cost. A zero field takes its default.
type Limits struct {
	TraceSpans  int           // rows of an assembled trace; 1,000,000
	TraceBytes  int64         // bytes of its batch; 512 MiB, at most 2 GiB (offsets in an arena have 32 bits)
	LargeAtOnce int           // traces of more than 4 MiB that are read or answered at once; 2
	AtOnce      int           // searches, lists and scans that run at once; the processors, 2 to 8
	ScanRows    int64         // matching rows of a scan; 50,000,000
	ScanTime    time.Duration // wall time of a scan, a search or a list; 20 s
}

// DefaultAtOnce is Limits.AtOnce where nothing is set: what plans the memory of single questions goes by it.
func DefaultAtOnce() int { return min(max(runtime.GOMAXPROCS(0), 2), 8) }

func (l Limits) withDefaults() Limits {
	if l.TraceSpans <= 0 {
		l.TraceSpans = 1_000_000
	}
	if l.TraceBytes <= 0 {
		l.TraceBytes = 512 << 20
	}
	l.TraceBytes = min(l.TraceBytes, 2<<30)
	if l.LargeAtOnce <= 0 {
		l.LargeAtOnce = 2
	}
	if l.AtOnce <= 0 {
		l.AtOnce = DefaultAtOnce()
	}
	if l.ScanRows <= 0 {
		l.ScanRows = 50_000_000
	}
	if l.ScanTime <= 0 {
		l.ScanTime = 20 * time.Second
	}
	return l
}

// Options are what a Query stands on.
type Options struct {
	Reader store.Reader
	Keeper store.Keeper // nil: Keep is unsupported
	Meta   store.Meta   // nil: colours live as long as the process, searches are not saved
	Now    func() time.Time
	Log    *slog.Logger
	Limits Limits
}

// Query answers the dialects. It is safe for concurrent use.
type Query struct {
	store  store.Reader
	keeper store.Keeper
	meta   store.Meta
	now    func() time.Time
	log    *slog.Logger
	limits Limits
	seed   maphash.Seed // of interners
	large  *places

	admission *admission
	exports   *places

	colours *colours
	recent  *recentServices
}

// New makes a Query. Reader is required; Now and Log default to the wall clock and silence.
func New(o Options) *Query {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Query{
		store: o.Reader, keeper: o.Keeper, meta: o.Meta, now: o.Now, log: o.Log, limits: o.Limits.withDefaults(),
		seed:  maphash.MakeSeed(),
		large: newLargeTraces(o.Limits.withDefaults().LargeAtOnce), admission: newAdmission(o.Limits.withDefaults().AtOnce), exports: newExports(),
		colours: newColours(o.Meta, o.Reader, o.Now, o.Log),
		recent:  &recentServices{},
	}
}

// Now is the clock that all answers go by.
func (q *Query) Now() time.Time { return q.now() }

// Operations lists a service's operations. Spans without a name are listed under what PlainName calls them.
func (q *Query) Operations(ctx context.Context, s store.Scope, service string, r store.TimeRange) ([]store.Operation, store.Done, error) {
	ops, done, err := q.store.Operations(ctx, s, service, r)
	for i := range ops {
		if ops[i].Name == "" {
			ops[i].Name = PlainName(ops[i].Kind, service)
		}
	}
	return ops, done, err
}

// ListServices lists the services seen in a range without counting calls.
func (q *Query) ListServices(ctx context.Context, s store.Scope, r store.TimeRange) ([]store.Service, store.Done, error) {
	return q.store.Services(ctx, s, r)
}

// Keys lists attribute keys.
func (q *Query) Keys(ctx context.Context, s store.Scope, k store.KeysQuery) ([]store.Key, store.Done, error) {
	leave, err := q.Admit(ctx, Page)
	if err != nil {
		return nil, store.Done{}, err
	}
	defer leave()
	limited, cancel := context.WithTimeout(ctx, q.limits.ScanTime)
	defer cancel()
	return q.store.Keys(limited, s, k)
}

// Values lists the values of a field.
func (q *Query) Values(ctx context.Context, s store.Scope, v store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	leave, err := q.Admit(ctx, Page)
	if err != nil {
		return nil, store.Done{}, err
	}
	defer leave()
	limited, cancel := context.WithTimeout(ctx, q.limits.ScanTime)
	defer cancel()
	return q.store.Values(limited, s, v)
}

// Keep copies a trace out of retention; until 0 is for ever.
func (q *Query) Keep(ctx context.Context, s store.Scope, id span.TraceID, until int64) error {
	if q.keeper == nil || !q.store.Can().Keep {
		return problem.New(problem.Unsupported, "this store does not keep traces beyond retention", "use the local or memory engine")
	}
	return q.keeper.Keep(ctx, s, id, until)
}
