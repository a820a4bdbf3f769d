package opensearch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/remote"
)

const (
	maxBulkBytes = 8 << 20 // of a request; servers take 100 MB and do best with 5 to 15
	maxBulkRows  = 5_000
	maxBatch     = 1_000_000 // spans

	bulkTimeout = 2 * time.Minute // of a batch, all tries
	maxTries    = 7
	firstWait   = 100 * time.Millisecond // doubled from try to try: 6.3 s in all

	maxFailed = 1024 // batches whose number is remembered
)

// Accept stores a batch: see store.Writer. nil means that the server has it, in its transaction log as its own settings say (synced by
// default). It is found by this process at once and by others within the refresh interval, five seconds.
//
// Documents are created under an id of the process, the batch's number and the row, so that what is sent again is not stored twice. Only
// what was refused as busy is sent again. A batch that could not be stored as a whole keeps its number: when the same one comes
// again, only what is missing is added. Each batch is a bulk of its own: who has small ones joins them before.
func (e *Engine) Accept(ctx context.Context, b *span.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.Len() > maxBatch {
		return problem.New(problem.TooLarge, fmt.Sprintf("a batch of %d spans", b.Len()), fmt.Sprintf("at most %d are stored at once", maxBatch))
	}
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := e.open(); err != nil || b.Len() == 0 {
		return err
	}
	enc := e.encoder()
	defer e.encoders.Put(enc)
	content, seq := e.begin(b, enc)
	// Not ended by ctx: a sender who goes away in the middle would leave half a batch behind.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bulkTimeout)
	defer cancel()
	err := e.store(ctx, b, enc, seq)
	e.end(b, content, seq, err)
	return later(explain(ctx, "store spans", err))
}

// number is the next batch's. Numbers are of the machine's clock, not of Options.Now: they must grow over restarts and agree with those of
// other processes. mu is held.
func (e *Engine) number() uint64 {
	e.lastSeq = max(e.lastSeq+1, uint64(time.Now().UnixNano()))
	return e.lastSeq
}

// begin takes the number of a batch.
func (e *Engine) begin(b *span.Batch, enc *encoder) (content, seq uint64) {
	e.mu.Lock()
	known := len(e.failed) > 0
	e.mu.Unlock()
	if known {
		content, enc.blob = e.content(b, enc.blob)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	seq, known = e.failed[content]
	if !known || content == 0 {
		seq = e.number()
	}
	e.flying[seq] = struct{}{}
	return content, seq
}

// end says that the rows of a batch count from now on.
func (e *Engine) end(b *span.Batch, content, seq uint64, err error) {
	if err != nil && content == 0 {
		content, _ = e.content(b, nil)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.flying, seq)
	e.written++ // also after a failure: a part may be there
	if err == nil {
		delete(e.failed, content)
		e.spans += int64(b.Len())
		return
	}
	for old := range e.failed {
		if len(e.failed) < maxFailed {
			break
		}
		delete(e.failed, old)
	}
	e.failed[content] = seq
}

// store sends a batch in bulks of bounded size.
func (e *Engine) store(ctx context.Context, b *span.Batch, enc *encoder, seq uint64) error {
	var refused refusals
	id := strconv.AppendUint(append([]byte(e.writer), '-'), seq, 36)
	enc.reset()
	for i := range b.Len() {
		enc.encode(b, i, id, i, e.writer, seq, i)
		if !enc.full() && i < b.Len()-1 {
			continue
		}
		if err := e.bulk(ctx, e.bulkPath(b.Received), enc.documents, refused.add); err != nil {
			return err
		}
		enc.reset()
	}
	if refused.why != nil {
		return fmt.Errorf("%d of %d documents: %w", len(refused.rows), b.Len(), refused.why)
	}
	return nil
}

func (e *Engine) bulkPath(received int64) string {
	return "/" + e.index(received) + "/_bulk?filter_path=errors,items.*.status,items.*.error"
}

// held is an insert whose rows do not count yet.
type held struct {
	seq  uint64
	rows int
}

// Insert stores batches that were received on one day (UTC), in bulks, some of them at once. Documents have ids of the token, so an insert
// may be asked for again after any error: what is there stays as it is. Rows stay out of the answers of this process until Count. A
// *remote.Refused names the rows that the server will never take; it has all others then. After any other error it may have some.
func (e *Engine) Insert(ctx context.Context, token string, batches []*span.Batch) error {
	if err := e.open(); err != nil || len(batches) == 0 {
		return err
	}
	e.mu.Lock()
	h, again := e.held[token]
	if !again {
		h.seq = e.number()
		e.flying[h.seq] = struct{}{}
		e.held[token] = h
	}
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, bulkTimeout)
	defer cancel()
	refused, err := e.insert(ctx, token, h.seq, batches)
	places := refused.places(batches)
	e.mu.Lock()
	e.written++ // also after a failure: a part may be there
	if err == nil {
		h.rows = -len(places)
		for _, b := range batches {
			h.rows += b.Len()
		}
		e.held[token] = h
	}
	e.mu.Unlock()
	if err != nil {
		return later(explain(ctx, "store spans", err))
	}
	if len(places) > 0 {
		return &remote.Refused{Rows: places, Err: explain(ctx, "store spans", refused.why)}
	}
	return nil
}

// insert sends bulks until all are answered or one fails.
func (e *Engine) insert(ctx context.Context, token string, seq uint64, batches []*span.Batch) (*refusals, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	refused := new(refusals)
	var bulks sync.WaitGroup
	path := e.bulkPath(batches[0].Received)
	send := func(enc *encoder) {
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			e.encoders.Put(enc)
			return
		}
		bulks.Go(func() {
			defer func() { <-e.slots; e.encoders.Put(enc) }()
			if err := e.bulk(ctx, path, enc.documents, refused.add); err != nil {
				stop(err)
			}
		})
	}
	enc, place, row := e.encoder(), 0, 0
	var id []byte
	for i, b := range batches {
		// The receipt stands in the id, so that ids are the same where a damaged frame is missing among the batches this time.
		if i == 0 || b.Received != batches[i-1].Received {
			id, row = strconv.AppendInt(append(append(id[:0], token...), '-'), b.Received, 36), 0
		}
		for r := range b.Len() {
			enc.encode(b, r, id, row, e.writer, seq, place)
			place, row = place+1, row+1
			if enc.full() {
				send(enc)
				enc = e.encoder()
			}
		}
	}
	if len(enc.ends) > 0 {
		send(enc)
	} else {
		e.encoders.Put(enc)
	}
	bulks.Wait()
	return refused, context.Cause(ctx)
}

func (e *Engine) encoder() *encoder {
	enc := e.encoders.Get().(*encoder)
	enc.reset()
	return enc
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

// refusals are the documents of an insert that the server will never take.
type refusals struct {
	mu   sync.Mutex
	rows []int
	why  *refusal // of the first
}

func (r *refusals) add(row int, why *refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why == nil {
		r.why = why
	}
	r.rows = append(r.rows, row)
}

// places are the rows by batch.
func (r *refusals) places(batches []*span.Batch) (list []remote.Place) {
	slices.Sort(r.rows)
	at, before := 0, 0
	for _, row := range r.rows {
		for row-before >= batches[at].Len() {
			before += batches[at].Len()
			at++
		}
		list = append(list, remote.Place{Batch: at, Row: row - before})
	}
	return list
}

// documents are the lines of a bulk.
type documents struct {
	text []byte // two lines a document
	ends []int  // of the documents in text
	rows []int  // what each is of its insert
}

func (d *documents) reset() { d.text, d.ends, d.rows = d.text[:0], d.ends[:0], d.rows[:0] }

func (d *documents) full() bool { return len(d.text) >= maxBulkBytes || len(d.ends) >= maxBulkRows }

// keep appends a document of another bulk.
func (d *documents) keep(text []byte, row int) {
	d.text = append(d.text, text...)
	d.ends, d.rows = append(d.ends, len(d.text)), append(d.rows, row)
}

// halves cuts two and more documents in two.
func (d documents) halves() (a, b documents) {
	half := len(d.ends) / 2
	cut := d.ends[half-1]
	a = documents{d.text[:cut:cut], d.ends[:half:half], d.rows[:half:half]}
	b = documents{text: d.text[cut:], rows: d.rows[half:]}
	for _, end := range d.ends[half:] {
		b.ends = append(b.ends, end-cut)
	}
	return a, b
}

// bulk sends documents until each is stored or refused for good. Of a bulk that is too large the halves are sent.
func (e *Engine) bulk(ctx context.Context, path string, d documents, refuse func(row int, why *refusal)) error {
	for try, pause := 1, firstWait; ; try, pause = try+1, 2*pause {
		answer, err := e.client.do(ctx, request{method: http.MethodPost, path: path, body: d.text, lines: true})
		var said *refusal
		if errors.As(err, &said) && said.status == http.StatusRequestEntityTooLarge {
			if len(d.ends) == 1 {
				refuse(d.rows[0], said)
				return nil
			}
			a, b := d.halves()
			if err := e.bulk(ctx, path, a, refuse); err != nil {
				return err
			}
			return e.bulk(ctx, path, b, refuse)
		}
		if err == nil {
			if d, err = left(answer, d, refuse); err == nil {
				return nil
			}
			if ctx.Err() == nil {
				said = nil
				errors.As(err, &said)
			}
		}
		if said == nil || said.class() != remote.Retry || said.full() || try == maxTries {
			return err
		}
		if err := e.wait(ctx, pause); err != nil {
			return err
		}
	}
}

// left is the documents of a bulk that were not stored and may be later, and why: the gravest of the reasons. Those that never will be
// are told to refuse. A document that is there already was stored by an earlier try.
func left(answer []byte, d documents, refuse func(row int, why *refusal)) (documents, error) {
	var a struct {
		Errors bool
		Items  []map[string]struct {
			Status int
			Error  json.RawMessage
		}
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return d, fmt.Errorf("the answer to a bulk is not what Elasticsearch or OpenSearch say: %w", err)
	}
	if !a.Errors {
		return documents{}, nil
	}
	if len(a.Items) != len(d.ends) {
		return d, fmt.Errorf("the answer to a bulk is about %d documents of %d", len(a.Items), len(d.ends))
	}
	var worst *refusal
	var kept documents
	start := 0
	for i, item := range a.Items {
		document := d.text[start:d.ends[i]]
		start = d.ends[i]
		for _, result := range item {
			if result.Status/100 == 2 || result.Status == http.StatusConflict {
				continue
			}
			r := &refusal{status: result.Status}
			r.read(result.Error)
			if r.class() == remote.Poison {
				refuse(d.rows[i], r)
				continue
			}
			if worst == nil || r.class() > worst.class() {
				worst = r
			}
			kept.keep(document, d.rows[i])
		}
	}
	if worst == nil {
		return documents{}, nil
	}
	return kept, fmt.Errorf("%d of %d documents: %w", len(kept.ends), len(d.ends), worst)
}

// refresh makes what this process stored visible to what is asked next. Asked by several at once it runs once.
func (e *Engine) refresh(ctx context.Context) error {
	e.mu.Lock()
	want := e.written
	e.mu.Unlock()
	e.refreshing.Lock()
	defer e.refreshing.Unlock()
	if e.refreshed >= want {
		return nil
	}
	e.mu.Lock()
	now := e.written
	e.mu.Unlock()
	if _, err := e.client.json(ctx, http.MethodPost, e.everySpan()+"/_refresh", nil, nil); err != nil {
		return err
	}
	e.refreshed = now
	return nil
}
