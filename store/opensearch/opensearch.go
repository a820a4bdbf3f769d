// Package opensearch is the engine over Elasticsearch 8 and OpenSearch 2 and 3: what it asks is the part of their API that is the
// same in all of them. Spans lie in daily indices of Spanloom's own layout (schema.go, shown by `spanloom store schema`), any number
// of Spanloom processes read and write them, and Spanloom itself drops old days. It passes storetest on real servers.
//
// A span is a document: the whole span as bytes (span.Batch.AppendBinary), which answers are made of, and beside it the fields that
// conditions are asked of. Attributes are words of two fields, so that a mapping does not grow with the keys that senders invent.
// A question's conditions become a query that lets through every document that may be an answer (query.go); store/match judges
// the spans that come, and store/answer orders and sums up the traces, as in every engine.
//
// The client is net/http and JSON: the official ones check that they talk to their own vendor's product.
package opensearch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"hash/maphash"
	"net/http"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// Options are the settings of an engine.
type Options struct {
	Target    *Target
	Retention time.Duration    // days whose last span was received longer ago are dropped by Expire; 0 for never
	Now       func() time.Time // clock of page tokens and retention; nil: time.Now
	Rows      int              // documents of one answer; 0 for 2000. Tests set it low
	// Wait waits for an interval before a refused bulk is sent again; nil: time. Tests count the intervals.
	Wait func(ctx context.Context, d time.Duration) error
	Log  func(message string, err error) // what housekeeping could not do; nil: nobody hears it
}

// Engine implements store.Engine. Use Open. One that Pin gave answers as of its moment.
type Engine struct {
	*core
	at *snapshot // of Pin; nil: answers are of now
}

// core is what an engine and the answers pinned of it share.
type core struct {
	client    *client
	prefix    string
	rows      int
	retention time.Duration
	now       func() time.Time
	wait      func(context.Context, time.Duration) error
	log       func(string, error)
	writer    string // this process, 16 hex digits
	seed      maphash.Seed

	slots    chan struct{} // of bulks
	encoders sync.Pool

	tasks sync.WaitGroup
	stop  context.CancelFunc

	mu      sync.Mutex
	closed  bool
	lastSeq uint64
	flying  map[uint64]struct{} // batches that do not count yet
	held    map[string]held     // those of Insert among them, by token
	failed  map[uint64]uint64   // content of batches that were not stored as a whole -> the number they had
	spans   int64
	written uint64 // bulks that were answered

	refreshing sync.Mutex
	refreshed  uint64 // bulks that a refresh came after
}

var _ store.Engine = (*Engine)(nil)

// maxBulks is how many bulks are on their way at once; a server has a queue of its own, and more than it holds is refused with 429.
const maxBulks = 4

// Open connects, creates what is missing of the schema and checks what is there. Its errors say what to do.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rows <= 0 {
		o.Rows = 2000
	}
	if o.Wait == nil {
		o.Wait = pause.For
	}
	if o.Log == nil {
		o.Log = func(string, error) {}
	}
	var id [8]byte
	rand.Read(id[:])
	e := &Engine{core: &core{client: newClient(o.Target), prefix: o.Target.Prefix, rows: o.Rows, retention: o.Retention, now: o.Now, wait: o.Wait, log: o.Log,
		writer: hex.EncodeToString(id[:]), seed: maphash.MakeSeed(), slots: make(chan struct{}, maxBulks),
		flying: make(map[uint64]struct{}), held: make(map[string]held), failed: make(map[uint64]uint64)}}
	e.encoders.New = func() any { return new(encoder) }
	if err := e.prepare(ctx); err != nil {
		e.client.close()
		return nil, explain(ctx, "open "+o.Target.String(), err)
	}
	// What a process before this one stored is readable from the start. A user who may only read waits for the server's own refresh.
	_, _ = e.client.json(ctx, http.MethodPost, e.everySpan()+"/_refresh", nil, nil)
	running, stop := context.WithCancel(context.Background())
	e.stop = stop
	if o.Retention > 0 {
		e.tasks.Go(func() { e.keepHouse(running) })
	}
	return e, nil
}

func (e *Engine) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return answer.Closed()
	}
	return nil
}

// Can reports what this engine does. Documents are compared and set by the server's sequence numbers.
func (e *Engine) Can() store.Abilities {
	return store.Abilities{CompareAndSet: true, TraceDuration: true, Durable: true}
}

// Stats answers from memory: what this process stored. What the server holds it does not know.
func (e *Engine) Stats() store.Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := store.Stats{Kind: "opensearch", Spans: e.spans}
	if e.closed {
		s.Refusing = "closed"
	}
	return s
}

// Close waits for the bulks that are on their way. The server has what Accept promised.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.stop()
	e.tasks.Wait()
	for range maxBulks {
		e.slots <- struct{}{}
	}
	for range maxBulks {
		<-e.slots
	}
	e.client.close()
	return nil
}
