// Package clickhouse is the engine over ClickHouse servers that people already run: spans lie in a table of Spanloom's own
// (schema/1.sql, shown by `spanloom store schema`), everything a span has in columns, and any number of Spanloom processes
// read and write it. It passes storetest on a real server.
//
// A question's conditions become SQL that lets through every row that may be an answer and few others (sql.go); store/match
// judges the rows that come, and store/answer orders and sums up the traces, as in every engine. Where SQL says a
// condition exactly, ClickHouse counts by itself.
//
// An insert is one block of one partition, so it is seen as a whole or not at all. Its token makes it safe to send again.
// Rows carry the process that wrote them and its running number of the batch: a snapshot is a bound of that number and the few
// batches below it that were still on their way (snapshot.go).
package clickhouse

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

type protoBlock = proto.Block

// Options are the settings of an engine.
type Options struct {
	Target    *Target
	Retention time.Duration    // spans received longer ago are dropped by the server, a day's partition at a time; 0 for never
	Now       func() time.Time // clock of page tokens and of Keep; nil: time.Now
	Rows      int              // of a block that is read; 0 for 8192. Tests set it low
}

// Engine implements store.Engine. Use Open.
type Engine struct {
	pool     *pool
	database string
	rows     int
	now      func() time.Time
	writer   uint64 // this process

	encoders sync.Pool

	mu      sync.Mutex
	closed  bool
	lastSeq uint64
	flying  map[uint64]struct{} // batches whose insert was not answered yet
	stats   counts
}

type counts struct{ spans, batches int64 }

var _ store.Engine = (*Engine)(nil)

// Open connects, creates what is missing of the schema and checks what is there. Its errors say what to do.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rows <= 0 {
		o.Rows = 8192
	}
	var id [8]byte
	rand.Read(id[:])
	e := &Engine{pool: newPool(o.Target), database: o.Target.Database, rows: o.Rows, now: o.Now,
		writer: binary.LittleEndian.Uint64(id[:]), flying: make(map[uint64]struct{})}
	e.encoders.New = func() any { return newEncoder() }
	if err := e.prepare(ctx, o.Retention); err != nil {
		e.pool.close()
		return nil, explain(ctx, "open ClickHouse "+o.Target.Database, err)
	}
	return e, nil
}

func (e *Engine) table(name string) string { return "`" + e.database + "`." + name }

// run asks a statement without an answer.
func (e *Engine) run(ctx context.Context, statement string) error {
	return e.pool.do(ctx, ch.Query{Body: statement})
}

// Accept stores a batch as one insert: see store.Writer. nil means that the server has it. A lost answer is asked again once with
// the same token. Small batches make small parts, of which a server takes a few a second: who has many sends them through
// store/queue.
func (e *Engine) Accept(ctx context.Context, b *span.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	seq, err := e.begin()
	if err != nil {
		return err
	}
	if b.Len() == 0 {
		e.end(seq)
		return nil
	}
	err = e.insert(ctx, b, seq)
	if err != nil && ClassOf(err) == Retry && ctx.Err() == nil {
		err = e.insert(ctx, b, seq)
	}
	e.end(seq)
	if err == nil {
		e.count(b.Len())
	}
	return explain(ctx, "store spans", err)
}

// begin takes the number of a batch. Numbers are of the clock, so that they grow over restarts and over processes.
func (e *Engine) begin() (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return 0, errClosed()
	}
	e.lastSeq = max(e.lastSeq+1, uint64(time.Now().UnixNano()))
	e.flying[e.lastSeq] = struct{}{}
	return e.lastSeq, nil
}

func (e *Engine) end(seq uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.flying, seq)
}

func (e *Engine) count(spans int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.spans += int64(spans)
	e.stats.batches++
}

// maxInsert is the rows of the largest block: the server cuts larger ones, and a cut insert is not seen as a whole.
const maxInsert = 1_000_000

func (e *Engine) insert(ctx context.Context, b *span.Batch, seq uint64) error {
	if b.Len() > maxInsert {
		return problem.New(problem.TooLarge, fmt.Sprintf("a batch of %d spans", b.Len()), fmt.Sprintf("at most %d are stored at once", maxInsert))
	}
	enc := e.encoders.Get().(*encoder)
	defer e.encoders.Put(enc)
	enc.encode(b, tenantOf(b.Tenant), e.writer, seq)
	in := enc.input()
	token := strconv.FormatUint(e.writer, 16) + "-" + strconv.FormatUint(seq, 16)
	return e.pool.do(ctx, ch.Query{Body: into(e.table("spans"), in), Input: in, Settings: []ch.Setting{
		{Key: "insert_deduplication_token", Value: token, Important: true},
		{Key: "async_insert", Value: "0", Important: true},
		{Key: "max_insert_block_size", Value: strconv.Itoa(2 * maxInsert), Important: true},
		{Key: "min_insert_block_size_rows", Value: strconv.Itoa(2 * maxInsert), Important: true},
		{Key: "min_insert_block_size_bytes", Value: "0", Important: true},
	}})
}

// into is the statement that inserts columns into a table.
func into(table string, in proto.Input) string { return "INSERT INTO " + table + " " + in.Columns() + " VALUES" }

func tenantOf(tenant string) string {
	if tenant == "" {
		return store.DefaultTenant
	}
	return tenant
}

// open fails after Close.
func (e *Engine) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errClosed()
	}
	return nil
}

// Can reports what this engine does. Documents are not compared and set: ClickHouse has no such step, and several processes share
// them.
func (e *Engine) Can() store.Abilities {
	return store.Abilities{TraceDuration: true, Durable: true}
}

// Stats answers from memory: what this process stored. What the server holds it does not know.
func (e *Engine) Stats() store.Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := store.Stats{Kind: "clickhouse", Spans: e.stats.spans}
	if e.closed {
		s.Refusing = "closed"
	}
	return s
}

// Close ends all connections. Spans need nothing: the server has what Accept promised.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.pool.close()
	return nil
}
