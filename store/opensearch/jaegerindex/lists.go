package jaegerindex

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
	"github.com/spanloom/spanloom/store/merge"
)

// The lists count documents by their start. The server counts services and operations where a service is simply what stands in a
// document; the other documents are read and counted here. Keys and values are counted of documents that are read, of at most maxRead.

const (
	pageOfCounts = 500
	maxRead      = 200_000
)

// errTooMany says that a list was ended after maxRead documents.
var errTooMany = errors.New("too many documents")

// bucket is a count of documents.
type bucket struct {
	Key struct{ W string }
	N   int64 `json:"doc_count"`
	// Newest are some of the newest documents.
	Newest struct{ Hits struct{ Hits []hit } }
	Kinds  struct {
		Buckets map[string]struct {
			N int64 `json:"doc_count"`
		}
	}
}

// count counts the documents of a query by a field, with aggregations of each.
func (r *Reader) count(ctx context.Context, p *plan, query, field, with string, c *store.Read, each func(bucket) error) error {
	after := ""
	for p.indices.path != "" {
		f, err := r.find(ctx, p.indices.path+onAll, fmt.Sprintf(`{"size":0,"track_total_hits":false,"query":%s,"aggs":{"c":{"composite":{"size":%d,"sources":[{"w":{"terms":{"field":"%s"}}}]%s},"aggs":{%s}}}}`,
			query, pageOfCounts, field, after, with), c)
		if err != nil {
			return err
		}
		if f.Shards.Total == 0 {
			return nil
		}
		var a struct {
			C struct {
				After   json.RawMessage `json:"after_key"`
				Buckets []bucket
			}
		}
		if err := json.Unmarshal(f.Aggregations, &a); err != nil {
			return fmt.Errorf("read counts: %w", err)
		}
		for _, b := range a.C.Buckets {
			if err := each(b); err != nil {
				return err
			}
		}
		if len(a.C.Buckets) < pageOfCounts {
			return nil
		}
		after = `,"after":` + string(a.C.After)
	}
	return nil
}

// each looks at the rows of a query until a limit of documents.
func (r *Reader) each(ctx context.Context, p *plan, query string, w match.Window, c *store.Read, look func(store.Rows)) error {
	left := maxRead
	for rows, err := range r.matching(ctx, p, query, w, c) {
		if errors.Is(err, errForeign) {
			return nil // done says so
		}
		if err != nil {
			return err
		}
		look(rows)
		if left -= len(rows.Rows); left < 0 {
			return errTooMany
		}
	}
	return nil
}

// done is the end of a list.
func (r *Reader) done(ctx context.Context, what string, p *plan, c *store.Read, err error) (store.Done, error) {
	d := store.Done{Complete: err == nil, Read: *c}
	if err == nil {
		if len(p.indices.bad) > 0 {
			d.Complete, d.Reason = false, p.indices.reason()
		}
		return d, nil
	}
	if errors.Is(err, errTooMany) {
		d.Reason = fmt.Sprintf("%d of Jaeger's documents were read, and there are more: narrow the time range or name a service", maxRead)
		return d, nil
	}
	if d.Reason = answer.Ended(ctx, err); d.Reason != "" {
		return d, nil
	}
	return d, r.explain(ctx, what, err)
}

// Services lists services by name; group and namespace are those of the service's newest span.
func (r *Reader) Services(ctx context.Context, s store.Scope, tr store.TimeRange) ([]store.Service, store.Done, error) {
	w := match.Window{TimeRange: tr, Mode: store.Start}
	p, err := r.plan(ctx, s, nil, w)
	if err != nil {
		return nil, store.Done{}, r.explain(ctx, "list services", err)
	}
	all := make(answer.ServiceCounts)
	var c store.Read
	query := p.query
	if err = ctx.Err(); err == nil && p.exact {
		const newest = `"newest":{"top_hits":{"size":5,"sort":[{"startTime":{"order":"desc","missing":0}}]}}`
		err = r.count(ctx, p, queries.All(query, not(odd)), "process.serviceName", newest, &c, func(b bucket) error {
			rows := r.batch(b.Newest.Hits.Hits)
			for row := range rows.Len() {
				all.Add(rows.Bytes(rows.Service[row]), rows.Bytes(rows.Group[row]), rows.Bytes(rows.Namespace[row]), rows.Time[row], 0)
			}
			if sv := all[b.Key.W]; sv != nil {
				sv.Spans += b.N
			}
			return nil
		})
		query = queries.All(query, odd)
	}
	if err == nil {
		err = r.each(ctx, p, query, w, &c, all.Count)
	}
	d, err := r.done(ctx, "list services", p, &c, err)
	return all.List(), d, err
}

// Operations lists a service's operations.
func (r *Reader) Operations(ctx context.Context, s store.Scope, service string, tr store.TimeRange) ([]store.Operation, store.Done, error) {
	w := match.Window{TimeRange: tr, Mode: store.Start}
	p, err := r.plan(ctx, s, store.ServiceIs(service), w)
	if err != nil {
		return nil, store.Done{}, r.explain(ctx, "list operations", err)
	}
	counts := make(map[store.Operation]int64)
	var c store.Read
	query := p.query
	if err = ctx.Err(); err == nil && p.exact {
		counted := queries.All(query, not(odd), exists("operationName"))
		err = r.count(ctx, p, counted, "operationName", countKinds, &c, func(b bucket) error {
			of := func(name string) int64 { return b.Kinds.Buckets[name].N }
			sum := int64(0)
			for _, k := range kinds {
				sum += of(k.String())
			}
			if sum != of("some") { // two kinds in one document, or words of others
				return errRead
			}
			for _, k := range kinds {
				if n := of(k.String()); n > 0 {
					counts[store.Operation{Name: b.Key.W, Kind: k}] += n
				}
			}
			if n := b.N - sum; n > 0 {
				counts[store.Operation{Name: b.Key.W}] += n
			}
			return nil
		})
		if errors.Is(err, errRead) {
			clear(counts)
			err = nil
		} else {
			query = queries.All(query, not(counted))
		}
	}
	if err == nil {
		err = r.each(ctx, p, query, w, &c, func(rows store.Rows) {
			for _, row := range rows.Rows {
				counts[store.Operation{Name: rows.Batch.String(rows.Batch.Name[row]), Kind: rows.Batch.Kind[row]}]++
			}
		})
	}
	d, err := r.done(ctx, "list operations", p, &c, err)
	return answer.Operations(counts), d, err
}

// errRead says that documents have to be read.
var errRead = errors.New("the server cannot count this")

// countKinds counts the documents of each kind, and of any.
var countKinds = func() string {
	parts := []string{`"some":` + lists[store.InSpan].has("span.kind")}
	for _, k := range kinds {
		parts = append(parts, quote(k.String())+":"+kindIs(k))
	}
	return `"kinds":{"filters":{"filters":{` + strings.Join(parts, ",") + `}}}`
}()

// Keys counts where keys stand: once per span that has it, resources and scopes once per span of theirs, events and links each.
func (r *Reader) Keys(ctx context.Context, s store.Scope, q store.KeysQuery) ([]store.Key, store.Done, error) {
	total, d, err := r.CountKeys(ctx, s, q)
	return total.List(q.Limit), d, err
}

// CountKeys is Keys before the list is made.
func (r *Reader) CountKeys(ctx context.Context, s store.Scope, q store.KeysQuery) (answer.KeyCounts, store.Done, error) {
	var expr store.Expr
	if q.Service != "" {
		expr = store.ServiceIs(q.Service)
	}
	w := match.Window{TimeRange: q.Range, Mode: store.Start}
	p, err := r.plan(ctx, s, expr, w)
	if err != nil {
		return nil, store.Done{}, r.explain(ctx, "list attribute keys", err)
	}
	total := make(answer.KeyCounts)
	var c store.Read
	err = r.each(ctx, p, p.query, w, &c, func(rows store.Rows) {
		if len(total) <= answer.MaxDistinct {
			answer.CountKeys(rows.Batch, rows.Rows, q, total)
		}
	})
	d, err := r.done(ctx, "list attribute keys", p, &c, err)
	if len(total) > answer.MaxDistinct && d.Complete {
		d.Complete, d.Reason = false, answer.TooMany
	}
	return total, d, err
}

// Values counts the values of a field in text form.
func (r *Reader) Values(ctx context.Context, s store.Scope, q store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	get, err := match.NewGetter(q.Field)
	if err != nil {
		return nil, store.Done{}, err
	}
	w := match.Window{TimeRange: q.Range, Mode: store.Start}
	p, err := r.plan(ctx, s, q.Match, w)
	if err != nil {
		return nil, store.Done{}, r.explain(ctx, "list values", err)
	}
	var c store.Read
	counts := make(merge.Values)
	query := p.query
	if field, rest := countedField(q.Field); field != "" && p.exact && ctx.Err() == nil {
		counted := queries.All(query, not(odd), exists(field))
		err = r.count(ctx, p, counted, field, "", &c, func(b bucket) error {
			if b.Key.W != "" && strings.HasPrefix(b.Key.W, q.Prefix) {
				counts[store.ValueCount{Text: b.Key.W, Type: span.TypeString}] += b.N
			}
			return nil
		})
		query = queries.All(query, anyOf(odd, rest))
	}
	v := answer.NewValueCounter(get, q.Prefix)
	if err == nil {
		err = r.each(ctx, p, query, w, &c, func(rows store.Rows) { v.Count(rows.Batch, rows.Rows) })
	}
	counts.Add(v.List(0))
	d, err := r.done(ctx, "list values", p, &c, err)
	list := counts.List(q.Limit, &d)
	return list, d, err
}

// countedField is the field of Jaeger's that holds an intrinsic as it is, and the query of the documents that do not have it.
func countedField(f store.Field) (field, rest string) {
	if f.In != store.Intrinsic {
		return "", ""
	}
	switch f.Key {
	case store.FieldService:
		return "process.serviceName", no
	case store.FieldName:
		return "operationName", not(exists("operationName"))
	}
	return "", ""
}
