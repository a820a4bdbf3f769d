package jaegerindex

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
	"github.com/spanloom/spanloom/store/opensearch"
)

// hit is a document of an answer.
type hit struct {
	Index  string            `json:"_index"`
	ID     string            `json:"_id"`
	Source json.RawMessage   `json:"_source"`
	Sort   []json.RawMessage `json:"sort"`
}

// found is the answer to a search.
type found struct {
	Scroll   string `json:"_scroll_id"`
	TimedOut bool   `json:"timed_out"`
	Shards   struct {
		Total, Successful, Skipped, Failed int64
		Failures                           []struct{ Reason struct{ Type, Reason string } }
	} `json:"_shards"`
	Hits         struct{ Hits []hit }
	Aggregations json.RawMessage `json:"aggregations"`
}

// maxAsks is how often a search is asked whose index was made just now and has a shard that does not answer yet: for 1.5 s in all.
const maxAsks = 5

// find asks a search. A shard that cannot answer fails the question.
func (r *Reader) find(ctx context.Context, path, body string, c *store.Read) (*found, error) {
	for try, wait := 1, 100*time.Millisecond; ; try, wait = try+1, 2*wait {
		var f found
		n, err := r.client.Ask(ctx, http.MethodPost, path, body, &f)
		c.Bytes += int64(n)
		if status, _ := opensearch.StatusOf(err); status == http.StatusServiceUnavailable && try < maxAsks {
			if err := pause.For(ctx, wait); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		c.Of += f.Shards.Total
		c.Blocks += f.Shards.Successful - f.Shards.Skipped
		if f.Shards.Failed > 0 || f.TimedOut {
			why := "the search timed out"
			if len(f.Shards.Failures) > 0 {
				why = f.Shards.Failures[0].Reason.Reason
			}
			return nil, problem.New(problem.Unavailable, fmt.Sprintf("%d of %d shards of Jaeger's indices did not answer: %.200s", f.Shards.Failed, f.Shards.Total, why), "look at the cluster's health")
		}
		return &f, nil
	}
}

const onAll = "/_search?ignore_unavailable=true&allow_no_indices=true&allow_partial_search_results=false"

// sized asks with a number of documents, fewer where an index allows no more (index.max_result_window).
func (r *Reader) sized(ctx context.Context, path string, size int, body func(size int) string, c *store.Read) (*found, int, error) {
	for {
		f, err := r.find(ctx, path, body(size), c)
		if _, reason := opensearch.StatusOf(err); err != nil && size > 10 && strings.Contains(reason, "max_result_window") {
			size /= 4
			continue
		}
		return f, size, err
	}
}

// scrollLife is how long a server keeps the place in a scan while its reader works.
const scrollLife = "2m"

// scan yields the documents of a query as of one moment of the indices, an answer's at a time.
func (r *Reader) scan(ctx context.Context, path, query string, c *store.Read) iter.Seq2[[]hit, error] {
	return func(yield func([]hit, error) bool) {
		f, size, err := r.sized(ctx, path+onAll+"&scroll="+scrollLife, r.rows, func(size int) string {
			return fmt.Sprintf(`{"size":%d,"sort":["_doc"],"query":%s}`, size, query)
		}, c)
		scroll := ""
		defer func() {
			if scroll != "" {
				// Best effort: the server forgets by itself.
				_, _ = r.client.Ask(context.WithoutCancel(ctx), http.MethodDelete, "/_search/scroll", `{"scroll_id":`+quote(scroll)+`}`, nil)
			}
		}()
		for {
			if err != nil {
				yield(nil, err)
				return
			}
			if f.Scroll != "" {
				scroll = f.Scroll
			}
			hits := f.Hits.Hits
			if len(hits) > 0 && !yield(hits, nil) || len(hits) < size {
				return
			}
			before := *c
			f, err = r.find(ctx, "/_search/scroll", `{"scroll":"`+scrollLife+`","scroll_id":`+quote(scroll)+`}`, c)
			c.Blocks, c.Of = before.Blocks, before.Of // the same shards
		}
	}
}

// ours reports whether a scope may see Jaeger's spans: they have no tenants.
func ours(s store.Scope) bool { return answer.Tenant(s.Tenant) == store.DefaultTenant }

// plan is a question about rows.
type plan struct {
	prog    *match.Program
	present map[string]*shape // all of Jaeger's indices
	indices indices           // that may have rows of the range
	query   string            // documents that may be an answer
	exact   bool              // and are, where their service is not odd
}

func (r *Reader) plan(ctx context.Context, s store.Scope, expr store.Expr, w match.Window) (*plan, error) {
	prog, err := match.Compile(s.MustMatch, expr)
	if err != nil || !ours(s) {
		return &plan{prog: prog}, err
	}
	p := &plan{prog: prog}
	parts := []string{rangeOf(w.TimeRange, w.Mode)}
	for _, x := range []store.Expr{s.MustMatch, expr} {
		parts = append(parts, queryOf(x).May)
	}
	p.query = all(parts...)
	if s.MustMatch == nil {
		switch x := expr.(type) {
		case nil:
			p.exact = true
		case store.Cond:
			p.exact = x.Field == store.Field{In: store.Intrinsic, Key: store.FieldService} && x.Op == store.Eq
		}
	}
	if err := ctx.Err(); err != nil {
		return p, nil // the question says so by itself
	}
	if p.present, err = r.present(ctx); err == nil {
		p.indices = r.among(p.present, w.TimeRange, w.Mode, false)
	}
	return p, err
}

// matching yields the rows of a plan, then the problem of indices that cannot be read.
func (r *Reader) matching(ctx context.Context, p *plan, query string, w match.Window, c *store.Read) iter.Seq2[store.Rows, error] {
	return func(yield func(store.Rows, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(store.Rows{}, err)
			return
		}
		if p.indices.path != "" {
			for hits, err := range r.scan(ctx, p.indices.path, query, c) {
				if err != nil {
					yield(store.Rows{}, err)
					return
				}
				b := r.batch(hits)
				list := make([]uint32, 0, b.Len())
				for row := range b.Len() {
					if w.Row(b, row) {
						list = append(list, uint32(row))
					}
				}
				list = p.prog.Bind(b).Filter(list)
				if len(list) > 0 && !yield(store.Rows{Batch: b, Rows: list}, nil) {
					return
				}
			}
		}
		if err := p.indices.problem(); err != nil {
			yield(store.Rows{}, err)
		}
	}
}

// Scan yields the matching rows, in no order. Need is not looked at: documents are read whole.
func (r *Reader) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	return func(yield func(store.Rows, error) bool) {
		w := match.Window{TimeRange: q.Range, Mode: q.Mode}
		p, err := r.plan(ctx, s, q.Match, w)
		if err != nil {
			yield(store.Rows{}, r.explain(ctx, "scan", err))
			return
		}
		var total, last store.Read
		for rows, err := range r.matching(ctx, p, p.query, w, &total) {
			if err != nil {
				yield(store.Rows{}, r.explain(ctx, "scan", err))
				return
			}
			rows.Read = store.Read{Blocks: total.Blocks - last.Blocks, Of: total.Of - last.Of, Bytes: total.Bytes - last.Bytes}
			last = total
			if !yield(rows, nil) {
				return
			}
		}
	}
}

// tracesAtOnce is how many traces one question reads.
const tracesAtOnce = 64

// ofTraces is the query of the documents of some traces.
func ofTraces(ids []span.TraceID) string {
	var words []string
	for _, id := range ids {
		words = append(words, traceIDs(id)...)
	}
	return terms("traceID", words...)
}

// traces yields the documents of some traces as batches.
func (r *Reader) traces(ctx context.Context, s store.Scope, ids []span.TraceID, archived bool) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		if len(ids) == 0 || !ours(s) {
			return
		}
		x, err := r.indices(ctx, store.TimeRange{}, store.Overlap, archived)
		if err != nil {
			yield(nil, err)
			return
		}
		for some := range slices.Chunk(ids, tracesAtOnce) {
			if x.path == "" {
				break
			}
			for hits, err := range r.scan(ctx, x.path, ofTraces(some), new(store.Read)) {
				if err != nil {
					yield(nil, err)
					return
				}
				if b := r.batch(hits); b.Len() > 0 && !yield(b, nil) {
					return
				}
			}
		}
		if err := x.problem(); err != nil {
			yield(nil, err)
		}
	}
}

// Trace yields a trace and its twins, archived ones too.
func (r *Reader) Trace(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		found, err := r.Sightings(ctx, s, id)
		if err != nil {
			yield(nil, err)
			return
		}
		var ids []span.TraceID
		for _, place := range answer.Family(found, id) {
			ids = append(ids, found[place].ID)
		}
		r.Traces(ctx, s, ids, hint, store.Everything())(yield)
	}
}

// Traces yields several traces without their twins, archived ones too.
func (r *Reader) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, _ store.TimeRange, _ store.Need) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		prog, err := match.Compile(s.MustMatch)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(nil, err)
			return
		}
		ids := slices.Clone(ids)
		slices.SortFunc(ids, compareIDs)
		for b, err := range r.traces(ctx, s, slices.Compact(ids), true) {
			if err != nil {
				yield(nil, r.explain(ctx, "read traces", err))
				return
			}
			if !prog.Always() {
				b.Keep(prog.Bind(b).Row)
			}
			if b.Len() > 0 && !yield(b, nil) {
				return
			}
		}
	}
}

func compareIDs(a, b span.TraceID) int { return slices.Compare(a[:], b[:]) }

// Rows yields the rows of traces, whatever the scope's predicate says of them; those that searches see, not archived ones.
func (r *Reader) Rows(ctx context.Context, s store.Scope, ids []span.TraceID, _ store.Need) iter.Seq2[[]answer.Row, error] {
	return func(yield func([]answer.Row, error) bool) {
		for b, err := range r.traces(ctx, s, ids, false) {
			if err != nil {
				yield(nil, r.explain(ctx, "read traces", err))
				return
			}
			if !yield(rowsOf(b), nil) {
				return
			}
		}
	}
}

// maxBuckets is how many words one aggregation answers; servers allow 65,536.
const maxBuckets = 10_000

// Has tells which of some traces, at most 10,000, have rows that searches see.
func (r *Reader) Has(ctx context.Context, s store.Scope, ids []span.TraceID) (map[span.TraceID]bool, error) {
	found, err := r.starts(ctx, s, ofTraces(ids), false)
	if err != nil {
		return nil, r.explain(ctx, "look for traces", err)
	}
	has := make(map[span.TraceID]bool)
	for _, x := range found {
		has[x.ID] = true
	}
	return has, nil
}

// starts counts traces with their first starts. The starts are what the server computes with doubles: they are right to the microsecond
// until the year 2255.
func (r *Reader) starts(ctx context.Context, s store.Scope, query string, archived bool) ([]answer.Sighting, error) {
	if err := ctx.Err(); err != nil || !ours(s) {
		return nil, err
	}
	x, err := r.indices(ctx, store.TimeRange{}, store.Overlap, archived)
	if err != nil || x.path == "" {
		return nil, err
	}
	f, err := r.find(ctx, x.path+onAll, fmt.Sprintf(`{"size":0,"track_total_hits":false,"query":%s,"aggs":{"t":{"terms":{"field":"traceID","size":%d},"aggs":{"m":{"min":{"field":"startTime","missing":0}}}}}}`,
		all(query, rangeOf(store.TimeRange{}, store.Start)), maxBuckets), new(store.Read))
	if err != nil || f.Shards.Total == 0 {
		return nil, err
	}
	var a struct {
		T struct {
			Buckets []struct {
				Key string
				M   struct{ Value float64 }
			}
		}
	}
	if err := json.Unmarshal(f.Aggregations, &a); err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	first := make(map[span.TraceID]int64)
	for _, b := range a.T.Buckets {
		id, err := span.ParseTraceID(b.Key)
		if err != nil {
			continue // nobody can ask for it
		}
		at := int64(b.M.Value) * 1000
		if old, ok := first[id]; !ok || at < old {
			first[id] = at
		}
	}
	var list []answer.Sighting
	for id, at := range first {
		list = append(list, answer.Sighting{ID: id, Start: at})
	}
	slices.SortFunc(list, func(a, b answer.Sighting) int { return compareIDs(a.ID, b.ID) })
	return list, nil
}

// Sightings lists the traces whose ids have the lower half of one, with their first starts. Cost: of a short id the server looks at all
// ids there are, since longer ones may end in it.
func (r *Reader) Sightings(ctx context.Context, s store.Scope, id span.TraceID) ([]answer.Sighting, error) {
	short := span.TraceIDFromUint64s(0, id.Low())
	query := ofTraces([]span.TraceID{id})
	if !short.IsZero() {
		query = ofTraces([]span.TraceID{id, short})
	}
	if id.High() == 0 {
		longer := anyOf(query, `{"wildcard":{"traceID":{"value":"*`+id.String()[16:]+`"}}}`)
		list, err := r.starts(ctx, s, longer, true)
		if _, reason := opensearch.StatusOf(err); !strings.Contains(reason, "allow_expensive_queries") {
			return list, r.explain(ctx, "look up a trace", err)
		}
	}
	list, err := r.starts(ctx, s, query, true)
	return list, r.explain(ctx, "look up a trace", err)
}

// rankOf reads the values of the order by start and trace id; not ok for documents that cannot be spans.
func rankOf(sort []json.RawMessage) (rank answer.Rank, ok bool) {
	if len(sort) != 2 {
		return rank, false
	}
	start, err := strconv.ParseInt(string(sort[0]), 10, 64)
	var text string
	if err == nil && start >= 0 && start <= maxMicros {
		if err = json.Unmarshal(sort[1], &text); err == nil {
			rank.ID, err = span.ParseTraceID(text)
		}
	} else {
		return rank, false
	}
	rank.Start = start * 1000
	return rank, err == nil
}
