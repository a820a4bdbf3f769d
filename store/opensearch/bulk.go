package opensearch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	enc := e.encoders.Get().(*encoder)
	defer e.encoders.Put(enc)
	content, seq := e.begin(b, enc)
	// Not ended by ctx: a sender who goes away in the middle would leave half a batch behind.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bulkTimeout)
	defer cancel()
	err := e.store(ctx, b, enc, seq)
	e.end(b, content, seq, err)
	return explain(ctx, "store spans", err)
}

// begin takes the number of a batch. Numbers are of the machine's clock, not of Options.Now: they must grow over restarts and agree
// with those of other processes.
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
		e.lastSeq = max(e.lastSeq+1, uint64(time.Now().UnixNano()))
		seq = e.lastSeq
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
	path := "/" + e.index(b.Received) + "/_bulk?filter_path=errors,items.*.status,items.*.error"
	enc.text, enc.ends = enc.text[:0], enc.ends[:0]
	for i := range b.Len() {
		enc.encode(b, i, e.writer, seq)
		if len(enc.text) < maxBulkBytes && len(enc.ends) < maxBulkRows && i < b.Len()-1 {
			continue
		}
		if err := e.bulk(ctx, path, enc.text, enc.ends); err != nil {
			return err
		}
		enc.text, enc.ends = enc.text[:0], enc.ends[:0]
	}
	return nil
}

// bulk sends documents until all are stored; text and ends are its own. Of a refused bulk that is too large the halves are sent.
func (e *Engine) bulk(ctx context.Context, path string, text []byte, ends []int) error {
	for try, pause := 1, firstWait; ; try, pause = try+1, 2*pause {
		answer, err := e.client.do(ctx, request{method: http.MethodPost, path: path, body: text, lines: true})
		var said *refusal
		if errors.As(err, &said) && said.status == http.StatusRequestEntityTooLarge && len(ends) > 1 {
			half := len(ends) / 2
			cut := ends[half-1]
			if err := e.bulk(ctx, path, text[:cut:cut], ends[:half:half]); err != nil {
				return err
			}
			rest := make([]int, 0, len(ends)-half)
			for _, end := range ends[half:] {
				rest = append(rest, end-cut)
			}
			return e.bulk(ctx, path, text[cut:], rest)
		}
		if err == nil {
			text, ends, err = left(answer, text, ends)
			if err == nil {
				return nil
			}
			if len(ends) > 0 && ctx.Err() == nil {
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

// left is the documents of a bulk that were not stored, and why: the gravest of the reasons. A document that is there already was stored
// by an earlier try.
func left(answer, text []byte, ends []int) ([]byte, []int, error) {
	var a struct {
		Errors bool
		Items  []map[string]struct {
			Status int
			Error  json.RawMessage
		}
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return text, ends, fmt.Errorf("the answer to a bulk is not what Elasticsearch or OpenSearch say: %w", err)
	}
	if !a.Errors {
		return nil, nil, nil
	}
	if len(a.Items) != len(ends) {
		return text, ends, fmt.Errorf("the answer to a bulk is about %d documents of %d", len(a.Items), len(ends))
	}
	var worst *refusal
	keptText, keptEnds, start := make([]byte, 0, len(text)), []int(nil), 0
	for i, item := range a.Items {
		document := text[start:ends[i]]
		start = ends[i]
		for _, result := range item {
			if result.Status/100 == 2 || result.Status == http.StatusConflict {
				continue
			}
			r := &refusal{status: result.Status}
			r.read(result.Error)
			if worst == nil || r.class() > worst.class() {
				worst = r
			}
			keptText = append(keptText, document...)
			keptEnds = append(keptEnds, len(keptText))
		}
	}
	if worst == nil {
		return nil, nil, nil
	}
	return keptText, keptEnds, fmt.Errorf("%d of %d documents: %w", len(keptEnds), len(ends), worst)
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
