package clickhouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
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
	day := dayOf(b)
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
	if r, ok := errors.AsType[*remote.Refused](err); ok {
		for _, at := range r.Rows {
			g.errs[at.Batch] = r.Err
		}
		return
	}
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

// insert stores batches of one day as one block a shard, and asks twice where the answer is lost or says to try again.
func (e *Engine) insert(batches []*span.Batch) error {
	ctx, cancel := context.WithTimeout(context.Background(), insertTimeout)
	defer cancel()
	h := &held{seq: e.begin(batches), parts: make([]part, len(e.shards))}
	token := strconv.FormatUint(e.writer, 16) + "-" + strconv.FormatUint(h.seq, 16)
	err := twice(ctx, func() error { return e.store(ctx, batches, token, h) })
	e.end(h.seq, h.rows())
	return err
}

// twice stores again what may go well then: an answer may be lost.
func twice(ctx context.Context, store func() error) error {
	err := store()
	if err != nil && ClassOf(err) == remote.Retry && ctx.Err() == nil {
		err = store()
	}
	return err
}

// held is an insert whose rows do not count yet.
type held struct {
	seq   uint64
	parts []part // by shard
	sent  bool   // before: it may be there
}

// part is what became of the rows of an insert that a shard is to have.
type part struct {
	done    bool
	rows    int // that the shard has
	refused []remote.Place
	why     error
}

func (h *held) rows() (n int) {
	for _, p := range h.parts {
		n += p.rows
	}
	return n
}

// store gives each shard its part, all at once, but those that have it. After an error it may be asked again. Where some of several shards
// refuse rows for good it ends with a *remote.Refused; all others are stored then.
func (e *Engine) store(ctx context.Context, batches []*span.Batch, token string, h *held) error {
	errs := make([]error, len(e.shards))
	var tasks sync.WaitGroup
	for i, rows := range e.division.pieces(batches) {
		if !h.parts[i].done {
			tasks.Go(func() {
				h.parts[i], errs[i] = e.storePart(ctx, e.shards[i], batches, rows, token+e.division.name, h)
			})
		}
	}
	tasks.Wait()
	h.sent = true
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	refused := new(remote.Refused)
	for _, p := range h.parts {
		if len(p.refused) > 0 && refused.Err == nil {
			refused.Err = explain(ctx, "store spans", p.why)
		}
		refused.Rows = append(refused.Rows, p.refused...)
	}
	if refused.Err == nil {
		return nil
	}
	slices.SortFunc(refused.Rows, func(a, b remote.Place) int { return cmp.Or(cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Row, b.Row)) })
	return refused
}

// maxRefused is how many single rows of a part are looked for; then what is left of a bad piece goes as a whole.
const maxRefused = 64

// storePart stores rows on one of the shards. Where there are others, which may have theirs by now, a piece that is refused for good is halved
// until the bad rows are alone.
func (e *Engine) storePart(ctx context.Context, s *shard, batches []*span.Batch, rows piece, token string, h *held) (part, error) {
	n := rows.len()
	if n == 0 {
		return part{done: true}, nil
	}
	p := part{}
	var deliver func(rows piece, n int, token string) error
	deliver = func(rows piece, n int, token string) error {
		err := e.storeBlock(ctx, s, batches, rows, token, h)
		switch {
		case err == nil:
			p.rows += n
			return nil
		case len(e.shards) == 1 || ClassOf(err) != remote.Poison:
			return err
		case n == 1 || len(p.refused) >= maxRefused:
			p.refused, p.why = append(p.refused, rows.places()...), err
			return nil
		}
		a, b := rows.halves()
		if err := deliver(a, n/2, token+"a"); err != nil {
			return err
		}
		return deliver(b, n-n/2, token+"b")
	}
	if err := deliver(rows, n, token); err != nil {
		return part{}, err
	}
	p.done = true
	return p, nil
}

// storeBlock asks a shard once. No rows with an error.
func (e *Engine) storeBlock(ctx context.Context, s *shard, batches []*span.Batch, rows piece, token string, h *held) error {
	if err := e.prepare(ctx, s); err != nil {
		return unprepared(err)
	}
	enc := e.encoders.Get().(filler)
	defer e.encoders.Put(enc)
	enc.reset()
	for i, b := range batches {
		if len(rows[i]) > 0 {
			enc.encode(b, rows[i], e.writer, h.seq)
		}
	}
	in := enc.input()
	if h.sent && e.otel != nil && !e.otel.window {
		if there, err := e.arrived(ctx, token, enc.(*otelEncoder)); there || err != nil {
			return err
		}
	}
	q := ch.Query{Body: into(e.table(e.layout.table()), in), Input: in, Settings: []ch.Setting{
		{Key: "insert_deduplication_token", Value: token, Important: true},
		{Key: "async_insert", Value: "0", Important: true},
		{Key: "max_insert_block_size", Value: strconv.Itoa(2 * maxInsert), Important: true},
		{Key: "min_insert_block_size_rows", Value: strconv.Itoa(2 * maxInsert), Important: true},
		{Key: "min_insert_block_size_bytes", Value: "0", Important: true},
	}}
	if e.otel != nil {
		// Old spans are of many days, each a partition. The view gets a block that is sent again, too: it may have failed at that.
		q.Settings = append(q.Settings, ch.Setting{Key: "max_partitions_per_insert_block", Value: "0", Important: true},
			ch.Setting{Key: "deduplicate_blocks_in_dependent_materialized_views", Value: "1"})
		if !e.otel.window {
			q.QueryID = token
			return alone(ctx, s.once, q)
		}
	}
	return s.do(ctx, q)
}

// Insert stores batches that were received on one day (UTC) as one block a shard: all of a block's rows or none. A server takes a token once, so
// an insert whose answer was lost, or that not all shards have, is sent again with its token. Rows stay out of the answers of this process
// until Count. Invalid or TooLarge: the server will never take these batches together; of several shards a *remote.Refused tells instead which
// rows one will never take. Anything else may go well later.
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
	h := e.held[token]
	first := !e.inserted
	e.inserted = true
	e.mu.Unlock()
	if h == nil {
		// After a crash the first insert may be one that was sent before it.
		h = &held{seq: e.begin(batches), parts: make([]part, len(e.shards)), sent: first}
		e.mu.Lock()
		e.held[token] = h
		e.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	err := e.store(ctx, batches, token, h)
	if err == nil {
		e.rolls.end(h.seq, batches, nil)
	}
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
			e.rolls.forget(h.seq)
			e.spans += int64(h.rows())
		}
	}
}
