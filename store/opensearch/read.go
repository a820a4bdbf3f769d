package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// hit is a document of an answer.
type hit struct {
	Fields struct {
		Whole []string `json:"whole"`
	} `json:"fields"`
	Sort json.RawMessage `json:"sort"`
}

// found is the answer to a search.
type found struct {
	Scroll   string `json:"_scroll_id"`
	TimedOut bool   `json:"timed_out"`
	Shards   struct {
		Total, Successful, Skipped, Failed int64
	} `json:"_shards"`
	Hits struct {
		Hits []hit `json:"hits"`
	} `json:"hits"`
	Aggregations json.RawMessage `json:"aggregations"`
}

// cost counts what a question read: blocks are shards.
type cost struct{ store.Read }

// maxAsks is how often a search is asked while a shard starts: for 3 s in all.
const maxAsks = 6

// find asks a search. A shard that cannot answer fails the question.
func (e *Engine) find(ctx context.Context, path, body string, c *cost) (*found, error) {
	var f found
	for try, pause := 1, firstWait; ; try, pause = try+1, 2*pause {
		n, err := e.client.json(ctx, http.MethodPost, path, body, &f)
		c.Bytes += int64(n)
		if err == nil {
			break
		}
		// An index that was made just now, as each day's first batch does, has a shard that does not answer yet.
		var said *refusal
		if !errors.As(err, &said) || said.status != http.StatusServiceUnavailable || try == maxAsks {
			return nil, err
		}
		if err := e.wait(ctx, pause); err != nil {
			return nil, err
		}
	}
	c.Of += f.Shards.Total
	c.Blocks += f.Shards.Successful - f.Shards.Skipped
	if f.Shards.Failed > 0 || f.TimedOut {
		return nil, problem.New(problem.Unavailable, fmt.Sprintf("%d of %d shards did not answer", f.Shards.Failed, f.Shards.Total), "look at the cluster's health")
	}
	return &f, nil
}

const onAll = "?ignore_unavailable=true&allow_no_indices=true&allow_partial_search_results=false"

func (e *Engine) search(ctx context.Context, body string, c *cost) (*found, error) {
	return e.find(ctx, e.everySpan()+"/_search"+onAll, body, c)
}

// stored is a batch of an answer and the receipt of each row.
type stored struct {
	*span.Batch
	received []int64
}

// joiner makes batches of documents. It keeps its memory.
type joiner struct {
	one  span.Batch
	blob []byte
}

// join makes one batch, the caller's own, of documents.
func (j *joiner) join(tenant string, hits []hit) (stored, error) {
	s := stored{Batch: &span.Batch{Tenant: tenant}}
	copier := span.NewCopier(s.Batch)
	for i := range hits {
		if len(hits[i].Fields.Whole) != 1 {
			return s, problem.New(problem.Internal, "a document without the field `whole`", "somebody else writes to Spanloom's indices")
		}
		var err error
		if j.blob, err = parseWhole(j.blob[:0], hits[i].Fields.Whole[0]); err == nil {
			err = j.one.DecodeBinary(j.blob)
		}
		if err != nil {
			return s, fmt.Errorf("read a stored span: %w", err)
		}
		copier.Begin(&j.one)
		for row := range j.one.Len() {
			copier.Row(row)
			s.received = append(s.received, j.one.Received)
		}
		s.Received = max(s.Received, j.one.Received)
	}
	return s, nil
}

// pages asks for documents of a query in an order that ends in a unique one, page by page. Each costs the server a walk over all documents
// of the query, so pages grow fourfold up to most.
func (e *Engine) pages(ctx context.Context, query, sort, fields string, size, most int, c *cost) iter.Seq2[[]hit, error] {
	return func(yield func([]hit, error) bool) {
		after := ""
		for {
			f, err := e.search(ctx, fmt.Sprintf(`{"size":%d,"track_total_hits":false,"_source":false,"stored_fields":%s,"sort":%s,"query":%s%s}`, size, fields, sort, query, after), c)
			if err != nil {
				yield(nil, err)
				return
			}
			hits := f.Hits.Hits
			if len(hits) > 0 && !yield(hits, nil) || len(hits) < size {
				return
			}
			after = `,"search_after":` + string(hits[len(hits)-1].Sort)
			size = min(4*size, most)
		}
	}
}

const (
	whole    = `["whole"]`
	nothing  = `"_none_"`
	received = `["seq","writer","row"]` // the order in which documents were received
)

// Sightings lists the traces whose ids have the lower half of one, with their first starts.
func (e *Engine) Sightings(ctx context.Context, s store.Scope, id span.TraceID) ([]answer.Sighting, error) {
	if _, err := e.ready(ctx, store.Scope{}); err != nil {
		return nil, err
	}
	found, err := e.sightings(ctx, answer.Tenant(s.Tenant), id)
	return found, explain(ctx, "look up a trace", err)
}

// sightings finds the first start of the traces with the lower half of an id.
func (e *Engine) sightings(ctx context.Context, tenant string, id span.TraceID) ([]answer.Sighting, error) {
	// The starts are counted by documents in order and not by an aggregation: those compute with doubles.
	var list []answer.Sighting
	known := yes
	for {
		query := all(term("tenant", word(tenant)), term("low", fmt.Sprintf("%q", id.String()[16:])), known, e.pinned())
		var c cost
		f, err := e.search(ctx, fmt.Sprintf(`{"size":1,"track_total_hits":false,"_source":false,"stored_fields":%s,"sort":["at","trace"],"query":%s}`, nothing, query), &c)
		if err != nil || len(f.Hits.Hits) == 0 {
			return list, err
		}
		r, err := rankOf(f.Hits.Hits[0].Sort)
		if err != nil {
			return nil, err
		}
		list = append(list, answer.Sighting{ID: r.ID, Start: r.Start})
		var ids []string
		for _, x := range list {
			ids = append(ids, word(x.ID.String()))
		}
		known = not(terms("trace", ids...))
	}
}

// rankOf reads the values of the order by `at` and `trace`.
func rankOf(sort json.RawMessage) (r answer.Rank, err error) {
	var values []json.RawMessage
	if err = json.Unmarshal(sort, &values); err == nil && len(values) >= 2 {
		var id string
		if r.Start, err = strconv.ParseInt(string(values[0]), 10, 64); err == nil {
			if err = json.Unmarshal(values[1], &id); err == nil {
				r.ID, err = span.ParseTraceID(id)
			}
		}
	}
	if err != nil || len(values) < 2 {
		return r, fmt.Errorf("the order %.100s is not a start and a trace id: %w", sort, err)
	}
	return r, nil
}

// Trace yields a trace and its twins. hint is not needed: ids are an index.
func (e *Engine) Trace(ctx context.Context, s store.Scope, id span.TraceID, _ store.TimeRange) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		prog, err := e.ready(ctx, s)
		if err != nil {
			yield(nil, err)
			return
		}
		found, err := e.sightings(ctx, answer.Tenant(s.Tenant), id)
		if err != nil {
			yield(nil, explain(ctx, "look up a trace", err))
			return
		}
		var ids []span.TraceID
		for _, place := range answer.Family(found, id) {
			ids = append(ids, found[place].ID)
		}
		e.yieldTraces(ctx, s, ids, prog)(yield)
	}
}

// ready checks that a question can be asked, and makes what was stored visible to it.
func (e *Engine) ready(ctx context.Context, s store.Scope) (*match.Program, error) {
	if err := e.open(); err != nil {
		return nil, err
	}
	prog, err := match.Compile(s.MustMatch)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return prog, explain(ctx, "refresh", e.refresh(ctx))
}

// tracesAtOnce is how many traces one question reads.
const tracesAtOnce = 128

// Traces yields several traces without their twins.
func (e *Engine) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, _ store.TimeRange, _ store.Need) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		prog, err := e.ready(ctx, s)
		if err != nil {
			yield(nil, err)
			return
		}
		ids := slices.Clone(ids)
		slices.SortFunc(ids, func(a, b span.TraceID) int { return bytes.Compare(a[:], b[:]) })
		for some := range slices.Chunk(slices.Compact(ids), tracesAtOnce) {
			for b, err := range e.yieldTraces(ctx, s, some, prog) {
				if !yield(b, err) || err != nil {
					return
				}
			}
		}
	}
}

// ofTraces is the query of the documents of some traces.
func ofTraces(tenant string, ids []span.TraceID) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = word(id.String())
	}
	return all(term("tenant", word(tenant)), terms("trace", words...))
}

// yieldTraces yields all rows of some traces in the order they were received.
func (e *Engine) yieldTraces(ctx context.Context, s store.Scope, ids []span.TraceID, prog *match.Program) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		if len(ids) == 0 {
			return
		}
		tenant := answer.Tenant(s.Tenant)
		var c cost
		var j joiner
		for hits, err := range e.pages(ctx, all(ofTraces(tenant, ids), e.pinned()), received, whole, e.rows, 4*e.rows, &c) {
			var b stored
			if err == nil {
				b, err = j.join(tenant, hits)
			}
			if err != nil {
				yield(nil, explain(ctx, "read spans", err))
				return
			}
			if !prog.Always() {
				b.Keep(prog.Bind(b.Batch).Row)
			}
			if b.Len() > 0 && !yield(b.Batch, nil) {
				return
			}
		}
	}
}

// Scan yields the matching rows, an answer's documents at a time, in no order. Need is not looked at: a span is stored as a whole.
func (e *Engine) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	return func(yield func(store.Rows, error) bool) {
		p, err := e.plan(ctx, s, q.Match, match.Window{TimeRange: q.Range, Mode: q.Mode})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(store.Rows{}, err)
			return
		}
		var total cost
		var last store.Read
		for r, err := range e.matching(ctx, p, &total) {
			if err != nil {
				yield(store.Rows{}, explain(ctx, "scan", err))
				return
			}
			r.Read = store.Read{Blocks: total.Blocks - last.Blocks, Of: total.Of - last.Of, Bytes: total.Bytes - last.Bytes}
			last = total.Read
			if !yield(r, nil) {
				return
			}
		}
	}
}

// plan is a question about rows.
type plan struct {
	tenant string
	prog   *match.Program
	query  string // documents that may be an answer
	exact  bool   // and are
}

// plan compiles the conditions of a question. It does not refresh where ctx has ended: the question says so by itself.
func (e *Engine) plan(ctx context.Context, s store.Scope, expr store.Expr, w match.Window) (*plan, error) {
	if err := e.open(); err != nil {
		return nil, err
	}
	prog, err := match.Compile(s.MustMatch, expr)
	if err != nil {
		return nil, err
	}
	p := &plan{tenant: answer.Tenant(s.Tenant), prog: prog, exact: true}
	parts := []string{term("tenant", word(p.tenant)), rangeOf(w.TimeRange, w.Mode), e.pinned()}
	for _, x := range []store.Expr{s.MustMatch, expr} {
		c := queryOf(x)
		p.exact = p.exact && c.Exact()
		parts = append(parts, c.May)
	}
	p.query = all(parts...)
	if ctx.Err() == nil {
		err = e.refresh(ctx)
	}
	return p, explain(ctx, "refresh", err)
}

// scrollLife is how long a server keeps the place in a scan while its reader works.
const scrollLife = "2m"

// matching yields the rows of a plan. The scan sees one moment of the indices.
func (e *Engine) matching(ctx context.Context, p *plan, total *cost) iter.Seq2[store.Rows, error] {
	return func(yield func(store.Rows, error) bool) {
		f, err := e.find(ctx, e.everySpan()+"/_search"+onAll+"&scroll="+scrollLife,
			fmt.Sprintf(`{"size":%d,"_source":false,"stored_fields":%s,"sort":["_doc"],"query":%s}`, e.rows, whole, p.query), total)
		scroll := ""
		defer func() {
			if scroll != "" {
				// Best effort: the server forgets by itself.
				_, _ = e.client.json(context.WithoutCancel(ctx), http.MethodDelete, "/_search/scroll", map[string]string{"scroll_id": scroll}, nil)
			}
		}()
		var j joiner
		for {
			if err != nil {
				yield(store.Rows{}, err)
				return
			}
			if f.Scroll != "" {
				scroll = f.Scroll
			}
			if len(f.Hits.Hits) == 0 {
				return
			}
			b, err2 := j.join(p.tenant, f.Hits.Hits)
			if err2 != nil {
				yield(store.Rows{}, err2)
				return
			}
			list := make([]uint32, 0, b.Len())
			for row := range b.Len() {
				list = append(list, uint32(row))
			}
			if !p.exact {
				list = p.prog.Bind(b.Batch).Filter(list)
			}
			if len(list) > 0 && !yield(store.Rows{Batch: b.Batch, Rows: list}, nil) || len(f.Hits.Hits) < e.rows {
				return
			}
			before := total.Read
			f, err = e.find(ctx, "/_search/scroll", `{"scroll":"`+scrollLife+`","scroll_id":`+strconv.Quote(scroll)+`}`, total)
			total.Blocks, total.Of = before.Blocks, before.Of // the same shards
		}
	}
}
