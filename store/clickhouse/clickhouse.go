// Package clickhouse is the engine over ClickHouse servers that people already run: spans lie in a table of Spanloom's own
// (schema/1.sql, shown by `spanloom store schema`), everything a span has in columns, and any number of Spanloom processes
// read and write it. It passes storetest on a real server.
//
// A question's conditions become SQL that lets through every row that may be an answer and few others (sql.go); store/match
// judges the rows that come, and store/answer orders and sums up the traces, as in every engine. Where SQL says a
// condition exactly, ClickHouse counts by itself.
//
// Batches that come at the same time share an insert (insert.go), which is one block of one partition, so it is seen as a whole or
// not at all. Its token makes it safe to send again.
// Rows carry the process that wrote them and its running number of the batch: a snapshot is a bound of that number and the few
// batches below it that were still on their way (snapshot.go).
//
// Rate, errors, durations and the map come from rollups: counts of the rows of one writer between two numbers, in a table of their own (rollups.go).
// What no rollup counts is read and counted.
package clickhouse

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"regexp"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// Options are the settings of an engine.
type Options struct {
	Target    *Target
	Retention time.Duration    // spans received longer ago are dropped by the server, a day's partition at a time; 0 for never
	Now       func() time.Time // clock of page tokens; nil: time.Now
	Linger    time.Duration    // how long a batch waits for others to share its insert, unless ten thousand spans are together; 0 for not at all
	Rows      int              // of a block that is read; 0 for 8192. Tests set it low

	// Naming makes group, namespace and marks of spans of the exporter's table, which has no columns of them; its zero: the group is the service.
	Naming Naming
	// Log hears what was found and done in another's table; nil: nobody does.
	Log func(message string)
}

// Naming finds what process makes of a span again.
type Naming struct {
	Keys []string            // of spans and resources that it looks at
	Set  func(b *span.Batch) // sets Group, Namespace and Mark of rows whose Service is known
}

// Engine implements store.Engine. Use Open. One that Pin gave answers as of its moment.
type Engine struct {
	*core
	at *snapshot // of Pin; nil: answers are of now
}

// core is what an engine and the answers pinned of it share.
type core struct {
	pool     *pool // that questions are asked of
	shards   []*shard
	division division
	cluster  string // empty: the one shard is the servers of the DSN
	layout   layout
	otel     *otelTable // the layout, if it is that
	log      func(string)

	exporters string // table of OpenTelemetry's exporter that is used, empty for the own ones
	naming    Naming

	database string
	keep     time.Duration
	rows     int
	now      func() time.Time
	writer   uint64 // this process

	encoders sync.Pool
	rolls    *rolls

	linger  time.Duration
	inserts chan struct{} // slots of inserts
	groups  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	joining *group // that batches may join
	lastSeq uint64
	flying  map[uint64]struct{} // inserts that do not count yet
	held    map[string]*held    // those of Insert among them, by token
	spans   int64               // stored by this process

	inserted    bool   // Insert was called
	noDocuments string // why there is no table of them; empty if there is
}

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
	e := &Engine{core: &core{layout: ownTable{}, cluster: o.Target.Cluster, database: o.Target.Database, keep: o.Retention, rows: o.Rows, now: o.Now,
		linger: o.Linger, inserts: make(chan struct{}, maxInserts),
		writer: binary.LittleEndian.Uint64(id[:]), flying: make(map[uint64]struct{}), held: make(map[string]*held),
		exporters: o.Target.Table, naming: o.Naming, log: o.Log}}
	if e.log == nil {
		e.log = func(string) {}
	}
	e.encoders.New = func() any { return e.layout.filler() }
	e.rolls = newRolls(e)
	if err := e.connect(ctx, o.Target); err != nil {
		e.rolls.close()
		e.disconnect()
		return nil, explain(ctx, "open ClickHouse "+o.Target.Database, err)
	}
	return e, nil
}

// connect finds the shards and prepares them. One that is away while others are there is prepared when it is needed.
func (e *Engine) connect(ctx context.Context, t *Target) (err error) {
	silent := newSilentHosts()
	e.pool = newPool(t, silent)
	e.shards = []*shard{{pool: e.pool}}
	if e.sharded() {
		if e.shards, err = shardsOf(ctx, t, silent); err != nil {
			return err
		}
		e.pool = newPool(anyShard(t, e.shards), silent)
		e.pool.first = int(e.writer % uint64(len(e.pool.target.Hosts))) // not all processes of one
	}
	e.division = divide(e.shards)
	var away error
	prepared := 0
	for _, s := range e.shards {
		switch err := e.prepare(ctx, s); {
		case err == nil:
			prepared++
		case !Away(err):
			return err
		case away == nil:
			away = err
		}
	}
	if prepared == 0 {
		return away
	}
	return nil
}

// disconnect ends all connections.
func (e *Engine) disconnect() {
	if e.pool != nil {
		e.pool.close()
	}
	for _, s := range e.shards {
		s.close()
	}
}

// table is a table of the database in SQL.
func (e *Engine) table(name string) string {
	if !plainName.MatchString(name) {
		name = "`" + name + "`"
	}
	return "`" + e.database + "`." + name
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// source is what questions about spans read from.
func (e *Engine) source() string {
	if e.sharded() {
		return e.table(distributed)
	}
	return e.table(e.layout.table())
}

// begin takes the number of an insert of batches of one day. Numbers are of the machine's clock, not of Options.Now: they must grow over restarts and agree
// with those of other processes.
func (e *Engine) begin(batches []*span.Batch) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lastSeq = max(e.lastSeq+1, uint64(time.Now().UnixNano()))
	e.flying[e.lastSeq] = struct{}{}
	e.rolls.begin(e.lastSeq, batches)
	return e.lastSeq
}

// end says that the rows of a batch count from now on, or that there are none.
func (e *Engine) end(seq uint64, spans int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.flying, seq)
	e.spans += int64(spans)
}

// into is the statement that inserts columns into a table.
func into(table string, in proto.Input) string {
	return "INSERT INTO " + table + " " + in.Columns() + " VALUES"
}

// open fails after Close.
func (e *Engine) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return answer.Closed()
	}
	return nil
}

// Can reports what this engine does. Documents are not compared and set: ClickHouse has no such step, and several processes share
// them.
func (e *Engine) Can() store.Abilities {
	return store.Abilities{TraceDuration: true, Durable: true, Lossy: e.layout.lossy()}
}

// Stats answers from memory: what this process stored. What the server holds it does not know.
func (e *Engine) Stats() store.Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := store.Stats{Kind: "clickhouse", Spans: e.spans}
	if e.closed {
		s.Refusing = "closed"
	}
	return s
}

// Close waits for the inserts that are on their way and ends all connections. The server has what Accept promised.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.groups.Wait()
	e.rolls.close()
	e.disconnect()
	return nil
}
