// Package mem is the engine that holds spans in memory, within a budget of bytes, and lets go of the oldest traces first.
// It is the low-memory mode of small set-ups, the readable half of store/local before a segment is written, and the fake
// that other rooms test against: real code that passes storetest.
//
// Spans are copied into chunks: columnar batches of up to 8K rows that only grow at their end and intern their strings. A
// chunk that is full is sealed and never changes again. A map from trace id to the newest row of the trace, and per row
// the reference to the row of the same trace before it, make a trace a walk over a list that costs 8 bytes a row.
//
// One mutex guards writers and the short moment in which a reader takes a snapshot: slice headers of chunks. Because
// chunks only grow, a snapshot stays true while writers go on, and everything a reader does after that is without a lock.
//
// Eviction takes the oldest chunk and every trace that began in it. Such a trace may have late rows in younger chunks: they
// are marked dead there, and go with their chunk. If spans of an evicted trace come again, they are a new trace that began then.
package mem

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// DefaultMaxBytes is the budget where none is given.
const DefaultMaxBytes = 256 << 20

// Chunks are small enough that evicting one takes a few percent of the budget, and large enough that a search of a big
// budget does not walk thousands of them.
const (
	chunkRows     = 8192
	minChunkBytes = 64 << 10
	maxChunkBytes = 8 << 20
)

// keepShare is the part of the budget that kept traces may take, documentShare that of documents: the rest must go on
// receiving.
const (
	keepShare     = 4
	documentShare = 8
)

// Options are the settings of an engine; the zero Options are usable.
type Options struct {
	MaxBytes int64            // budget for spans and their indices; 0: DefaultMaxBytes
	Now      func() time.Time // clock of page tokens and of Keep; nil: time.Now
}

// Engine implements store.Engine. Use New.
type Engine struct {
	*Documents

	maxBytes   int64
	chunkBytes int
	now        func() time.Time
	instance   uint64       // in page tokens: those of another process are expired
	seed       maphash.Seed // of hashes that never leave the process

	mu      sync.Mutex
	closed  bool
	base    uint32   // number of sealed[0]
	sealed  []*chunk // oldest first; nil where all rows are dead. Shared with readers: only appended to, otherwise replaced
	open    *builder
	traces  traceMap
	kept    map[span.TraceID]keep
	seen    counts
	held    int64 // bytes of sealed chunks
	lastSeq uint64
}

type counts struct {
	spans                       int64 // alive now
	evictedTraces, evictedSpans int64
}

var _ store.Engine = (*Engine)(nil)

// New makes an empty engine.
func New(o Options) *Engine {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	var instance [8]byte
	rand.Read(instance[:])
	e := &Engine{
		Documents:  NewDocuments(o.MaxBytes / documentShare),
		maxBytes:   o.MaxBytes,
		chunkBytes: int(min(max(o.MaxBytes/32, minChunkBytes), maxChunkBytes)),
		now:        o.Now,
		instance:   binary.LittleEndian.Uint64(instance[:]),
		seed:       maphash.MakeSeed(),
		traces:     newTraceMap(),
		kept:       make(map[span.TraceID]keep),
	}
	e.open = newBuilder(0, e.seed, nil)
	return e
}

// Accept stores a batch: see store.Writer. nil means readable, not durable. A batch that takes more than three quarters of
// the budget is refused as TooLarge: keeping it would evict everything else and parts of itself.
// Cost: about 1 µs a span; no allocation per span.
func (e *Engine) Accept(ctx context.Context, b *span.Batch) error { return e.AcceptSeq(ctx, b, 0) }

// AcceptSeq is Accept for the rows of a log frame. seq must not be 0 and should grow: LowestSeq then says which frames are
// still needed.
func (e *Engine) AcceptSeq(ctx context.Context, b *span.Batch, seq uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkTenant(b.Tenant); err != nil {
		return err
	}
	need := int64(b.Size())
	if need > e.maxBytes/4*3 {
		return problem.New(problem.TooLarge, fmt.Sprintf("a batch of %d bytes does not fit into the memory budget of %d", need, e.maxBytes),
			"send fewer spans in a request or raise --max-memory")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return answer.Closed()
	}
	e.lastSeq = max(e.lastSeq, seq)
	if b.Len() == 0 {
		return nil
	}
	e.makeRoom(need)
	e.begin(b, b.Received, seq)
	for row := range b.Len() {
		e.add(row)
	}
	return nil
}

// begin sets the source of the next rows.
func (e *Engine) begin(src *span.Batch, received int64, seq uint64) {
	e.open.begin(src, received, seq)
}

// add copies one row of the source into the open chunk.
func (e *Engine) add(row int) {
	if e.open.rows() == chunkRows || e.open.batch.Size() >= e.chunkBytes {
		src, r := e.open.src, e.open.runs[len(e.open.runs)-1]
		e.seal()
		e.begin(src, r.received, r.seq)
	}
	at := makeRef(e.open.number, e.open.rows())
	e.open.add(row, e.traces.add(e.open.src.TraceID[row], at))
	e.seen.spans++
}

// seal closes the open chunk and opens the next one.
func (e *Engine) seal() {
	full := e.open
	c := full.seal()
	e.sealed = append(e.sealed, c)
	e.held += c.bytes
	e.open = newBuilder(full.number+1, e.seed, full)
}

// bytes is what the engine holds now.
func (e *Engine) bytes() int64 {
	return e.held + e.open.bytes() + e.traces.bytes() + int64(len(e.kept))*keepBytes + e.Documents.bytes()
}

// LowestSeq is the lowest sequence of AcceptSeq whose rows may still be alive; one more than the highest if none is. The
// rows of kept traces do not count once they were evicted otherwise: who keeps a log writes them again when keeping them.
func (e *Engine) LowestSeq() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	lowest := e.lastSeq + 1
	if n := e.open.lowest; n != 0 {
		lowest = min(lowest, n)
	}
	for _, c := range e.sealed {
		if c != nil && c.lowest != 0 {
			lowest = min(lowest, c.lowest)
		}
	}
	return lowest
}

// Can reports what mem does.
func (e *Engine) Can() store.Abilities {
	return store.Abilities{CompareAndSet: true, Keep: true, TraceDuration: true}
}

// Stats answers in constant time.
func (e *Engine) Stats() store.Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := store.Stats{
		Kind:          "memory",
		Spans:         e.seen.spans,
		Traces:        int64(e.traces.len()),
		Bytes:         e.bytes(),
		LimitBytes:    e.maxBytes,
		EvictedTraces: e.seen.evictedTraces,
		EvictedSpans:  e.seen.evictedSpans,
	}
	if e.closed {
		s.Refusing = "closed"
	}
	for _, c := range e.sealed {
		if c != nil {
			s.Oldest = c.runs[0].received
			return s
		}
	}
	if len(e.open.runs) > 0 {
		s.Oldest = e.open.runs[0].received
	}
	return s
}

// Close lets go of everything. Readers that are on their way finish on their snapshot.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.sealed, e.held = nil, 0
	e.base = e.open.number + 1
	e.open = newBuilder(e.base, e.seed, nil)
	e.traces = newTraceMap()
	clear(e.kept)
	e.seen.spans = 0
	e.Documents.Close()
	return nil
}

// checkTenant: there are no tenants yet, and spans of one must not be shown to another.
func checkTenant(tenant string) error {
	if tenant == "" || tenant == store.DefaultTenant {
		return nil
	}
	return &problem.Problem{Kind: problem.Unsupported, Field: "tenant", Message: fmt.Sprintf("tenant %q: this engine has no tenants", tenant),
		Hint: "leave the tenant out"}
}
