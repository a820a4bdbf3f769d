package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/ClickHouse/ch-go"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/remote"
)

// A server makes a part of every insert and merges them later; it takes a few inserts a second with ease and hundreds not at all.
const (
	fullGroup  = 10_000    // rows at which an insert waits for no more
	maxGroup   = 20_000    // rows of an insert of several batches
	maxInsert  = 1_000_000 // rows of one batch: the server cuts larger blocks, and a cut insert is not seen as a whole
	maxInserts = 4         // at once

	insertTimeout = 2 * time.Minute
)

// group is batches that share an insert.
type group struct {
	day     int64 // of receipt: the partition
	batches []*span.Batch
	rows    int
	full    chan struct{} // closed at fullGroup rows
	done    chan struct{} // closed when errs is there
	errs    []error       // per batch
}

// Accept stores a batch: see store.Writer. nil means that the server has it; then it is as durable as the server's own disk is, which
// by ClickHouse's default means written and not synced. A lost answer is asked for again once with the same token; where that fails too
// the spans may be there although the sender was told no, and are copies of the same spans when he sends them again.
func (e *Engine) Accept(ctx context.Context, b *span.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.Len() > maxInsert {
		return problem.New(problem.TooLarge, fmt.Sprintf("a batch of %d spans", b.Len()), fmt.Sprintf("at most %d are stored at once", maxInsert))
	}
	g, at, err := e.join(b)
	if err != nil || g == nil {
		return err
	}
	// Not ended by ctx: the batch is borrowed until its rows are in a block.
	<-g.done
	return explain(context.Background(), "store spans", g.errs[at])
}

// join adds a batch to the group that is open, or opens one.
func (e *Engine) join(b *span.Batch) (*group, int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, 0, answer.Closed()
	}
	if b.Len() == 0 {
		return nil, 0, nil
	}
	day := b.Received / int64(24*time.Hour)
	g := e.joining
	if g == nil || g.day != day || g.rows+b.Len() > maxGroup {
		g = &group{day: day, full: make(chan struct{}), done: make(chan struct{})}
		e.joining = g
		e.groups.Go(func() { e.send(g) })
	}
	before := g.rows
	g.batches = append(g.batches, b)
	g.rows += b.Len()
	if before < fullGroup && g.rows >= fullGroup {
		close(g.full)
	}
	return g, len(g.batches) - 1, nil
}

// send inserts a group when it has waited long enough and a slot is free; until then batches join it.
func (e *Engine) send(g *group) {
	if e.linger > 0 {
		timer := time.NewTimer(e.linger)
		select {
		case <-timer.C:
		case <-g.full:
			timer.Stop()
		}
	}
	e.inserts <- struct{}{}
	defer func() { <-e.inserts }()
	e.mu.Lock()
	if e.joining == g {
		e.joining = nil
	}
	e.mu.Unlock()

	g.errs = make([]error, len(g.batches))
	defer close(g.done)
	err := e.insert(g.batches)
	if err != nil && ClassOf(err) == remote.Poison && len(g.batches) > 1 {
		// One of them is not to be had; the others are.
		for i := range g.batches {
			g.errs[i] = e.insert(g.batches[i : i+1])
		}
		return
	}
	for i := range g.errs {
		g.errs[i] = err
	}
}

// insert stores batches of one day as one block, and asks twice where the answer is lost or says to try again.
func (e *Engine) insert(batches []*span.Batch) error {
	ctx, cancel := context.WithTimeout(context.Background(), insertTimeout)
	defer cancel()
	seq := e.begin()
	token := strconv.FormatUint(e.writer, 16) + "-" + strconv.FormatUint(seq, 16)
	rows, err := e.store(ctx, batches, seq, token)
	if err != nil && ClassOf(err) == remote.Retry && ctx.Err() == nil {
		rows, err = e.store(ctx, batches, seq, token)
	}
	e.end(seq, rows)
	return err
}

// store asks the server once. No rows with an error.
func (e *Engine) store(ctx context.Context, batches []*span.Batch, seq uint64, token string) (rows int, err error) {
	enc := e.encoders.Get().(*encoder)
	defer e.encoders.Put(enc)
	enc.reset()
	for _, b := range batches {
		enc.encode(b, e.writer, seq)
	}
	in := enc.input()
	q := ch.Query{Body: into(e.table(e.layout.table()), in), Input: in, Settings: []ch.Setting{
		{Key: "insert_deduplication_token", Value: token, Important: true},
		{Key: "async_insert", Value: "0", Important: true},
		{Key: "max_insert_block_size", Value: strconv.Itoa(2 * maxInsert), Important: true},
		{Key: "min_insert_block_size_rows", Value: strconv.Itoa(2 * maxInsert), Important: true},
		{Key: "min_insert_block_size_bytes", Value: "0", Important: true},
	}}
	if err = e.pool.do(ctx, q); err != nil {
		return 0, err
	}
	return enc.traceLow.Rows(), nil
}

// held is an insert whose rows do not count yet.
type held struct {
	seq  uint64
	rows int
}

// Insert stores batches that were received on one day (UTC) as one block: all of their rows or none. The server takes a token once, so an
// insert whose answer was lost is sent again with its token. Rows stay out of the answers of this process until Count. Invalid or
// TooLarge: the server will never take these batches together. Anything else may go well later.
func (e *Engine) Insert(ctx context.Context, token string, batches []*span.Batch) error {
	rows := 0
	for _, b := range batches {
		rows += b.Len()
	}
	if rows > maxInsert {
		return problem.New(problem.TooLarge, fmt.Sprintf("an insert of %d spans", rows), fmt.Sprintf("at most %d are stored at once", maxInsert))
	}
	if err := e.open(); err != nil {
		return err
	}
	e.mu.Lock()
	h, again := e.held[token]
	e.mu.Unlock()
	if !again {
		h.seq = e.begin()
	}
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	n, err := e.store(ctx, batches, h.seq, token)
	if err == nil {
		h.rows = n
	}
	e.mu.Lock()
	e.held[token] = h
	e.mu.Unlock()
	return explain(ctx, "store spans", err)
}

// Count makes the rows of inserts part of the answers, at one moment; tokens whose inserts failed are forgotten.
func (e *Engine) Count(tokens ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, token := range tokens {
		if h, ok := e.held[token]; ok {
			delete(e.held, token)
			delete(e.flying, h.seq)
			e.spans += int64(h.rows)
		}
	}
}
