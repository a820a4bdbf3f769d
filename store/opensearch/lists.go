package opensearch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// The lists count stored rows by their start: a duplicate that was received twice counts twice, as in every engine. The server counts
// where the query says the condition exactly and all words are the texts themselves, else the rows are read and counted here.

// errWords says that a count is about hashes of texts.
var errWords = errors.New("a word that is no text")

// maxBuckets is how many words one answer counts; servers take at most 10,000 in a page.
const maxBuckets = 5_000

// bucket is a count of documents: of a word, and of a number where the question is about two fields.
type bucket struct {
	Key struct {
		Word   string  `json:"w"`
		Number float64 `json:"n"` // small ones only
	} `json:"key"`
	N int64 `json:"doc_count"`
}

// count counts the documents of a plan by a word field and, where it is not empty, a number field. errWords: some words are not
// texts. It ends early where each says so.
func (e *Engine) count(ctx context.Context, p *plan, field, numbers string, c *cost, each func(bucket) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sources := `{"w":{"terms":{"field":"` + field + `"}}}`
	if numbers != "" {
		sources += `,{"n":{"terms":{"field":"` + numbers + `"}}}`
	}
	after := ""
	for {
		f, err := e.search(ctx, fmt.Sprintf(`{"size":0,"track_total_hits":false,"query":%s,"aggs":{"c":{"composite":{"size":%d,"sources":[%s]%s}}}}`,
			p.query, maxBuckets, sources, after), c)
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
			} `json:"c"`
		}
		if err := json.Unmarshal(f.Aggregations, &a); err != nil {
			return fmt.Errorf("read counts: %w", err)
		}
		for _, b := range a.C.Buckets {
			if isHash(b.Key.Word) {
				return errWords
			}
			if !each(b) {
				return nil
			}
		}
		if len(a.C.Buckets) < maxBuckets {
			return nil
		}
		after = `,"after":` + string(a.C.After)
	}
}

// done is the end of a list.
func done(ctx context.Context, what string, c *cost, err error) (store.Done, error) {
	d := store.Done{Complete: err == nil, Read: c.Read}
	if err == nil {
		return d, nil
	}
	if d.Reason = answer.Ended(ctx, err); d.Reason != "" {
		return d, nil
	}
	return d, explain(ctx, what, err)
}

// each is matching unless the context has ended.
func (e *Engine) each(ctx context.Context, p *plan, c *cost, look func(store.Rows) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for r, err := range e.matching(ctx, p, c) {
		if err != nil || !look(r) {
			return err
		}
	}
	return nil
}

// Services lists services by name; group and namespace are those of the service's newest span.
func (e *Engine) Services(ctx context.Context, s store.Scope, r store.TimeRange) ([]store.Service, store.Done, error) {
	p, err := e.plan(ctx, s, nil, match.Window{TimeRange: r, Mode: store.Start})
	if err != nil {
		return nil, store.Done{}, err
	}
	var list []store.Service
	var c cost
	err = errWords
	if p.exact {
		err = e.count(ctx, p, "service", "", &c, func(b bucket) bool {
			list = append(list, store.Service{Name: b.Key.Word, Spans: b.N})
			return true
		})
		for i := range list {
			if err == nil {
				err = e.newest(ctx, p, &list[i], &c)
			}
		}
	}
	if errors.Is(err, errWords) {
		list, err = e.countServices(ctx, p, &c)
	}
	slices.SortFunc(list, func(a, b store.Service) int { return cmp.Compare(a.Name, b.Name) })
	d, err := done(ctx, "list services", &c, err)
	return list, d, err
}

// newest adds what a service's newest span says. Of several at that instant the greatest group, then namespace counts.
func (e *Engine) newest(ctx context.Context, p *plan, sv *store.Service, c *cost) error {
	f, err := e.search(ctx, fmt.Sprintf(`{"size":1,"track_total_hits":false,"_source":false,"stored_fields":%s,"sort":[{"at":"desc"},{"group":"desc"},{"namespace":"desc"}],"query":%s}`,
		nothing, all(p.query, term("service", word(sv.Name)))), c)
	if err != nil || len(f.Hits.Hits) == 0 {
		return err
	}
	values := []any{&sv.LastTime, &sv.Group, &sv.Namespace}
	if err := json.Unmarshal(f.Hits.Hits[0].Sort, &values); err != nil {
		return fmt.Errorf("read a service's newest span: %w", err)
	}
	if isHash(sv.Group) || isHash(sv.Namespace) {
		return errWords
	}
	return nil
}

func (e *Engine) countServices(ctx context.Context, p *plan, c *cost) ([]store.Service, error) {
	found := make(answer.ServiceCounts)
	err := e.each(ctx, p, c, func(r store.Rows) bool {
		found.Count(r)
		return true
	})
	return found.List(), err
}

// Operations lists a service's operations.
func (e *Engine) Operations(ctx context.Context, s store.Scope, service string, r store.TimeRange) ([]store.Operation, store.Done, error) {
	p, err := e.plan(ctx, s, store.ServiceIs(service), match.Window{TimeRange: r, Mode: store.Start})
	if err != nil {
		return nil, store.Done{}, err
	}
	counts := make(map[store.Operation]int64)
	var c cost
	err = errWords
	if p.exact {
		err = e.count(ctx, p, "name", "kind", &c, func(b bucket) bool {
			counts[store.Operation{Name: b.Key.Word, Kind: span.Kind(b.Key.Number)}] += b.N
			return true
		})
	}
	if errors.Is(err, errWords) {
		clear(counts)
		err = e.each(ctx, p, &c, func(r store.Rows) bool {
			for _, row := range r.Rows {
				counts[store.Operation{Name: r.Batch.String(r.Batch.Name[row]), Kind: r.Batch.Kind[row]}]++
			}
			return true
		})
	}
	d, err := done(ctx, "list operations", &c, err)
	return answer.Operations(counts), d, err
}

// Keys counts where keys stand: once per span that has it, resources and scopes once per span of theirs, events and links each.
func (e *Engine) Keys(ctx context.Context, s store.Scope, q store.KeysQuery) ([]store.Key, store.Done, error) {
	total, d, err := e.CountKeys(ctx, s, q)
	return total.List(q.Limit), d, err
}

// CountKeys is Keys before the list is made.
func (e *Engine) CountKeys(ctx context.Context, s store.Scope, q store.KeysQuery) (answer.KeyCounts, store.Done, error) {
	var expr store.Expr
	if q.Service != "" {
		expr = store.ServiceIs(q.Service)
	}
	p, err := e.plan(ctx, s, expr, match.Window{TimeRange: q.Range, Mode: store.Start})
	if err != nil {
		return nil, store.Done{}, err
	}
	total := make(answer.KeyCounts)
	hashed := false
	var c cost
	err = errWords
	if p.exact {
		err = e.count(ctx, p, "keys", "", &c, func(b bucket) bool {
			in, typ, key, ok := parseKey(b.Key.Word)
			hashed = hashed || isHash(key)
			if ok && (q.In == store.InAny || q.In == in) && strings.HasPrefix(key, q.Prefix) {
				total.Add(key, in, typ, b.N)
			}
			return len(total) <= answer.MaxDistinct && !hashed
		})
	}
	if hashed || errors.Is(err, errWords) {
		clear(total)
		err = e.each(ctx, p, &c, func(r store.Rows) bool {
			answer.CountKeys(r.Batch, r.Rows, q, total)
			return len(total) <= answer.MaxDistinct
		})
	}
	d, err := done(ctx, "list attribute keys", &c, err)
	if len(total) > answer.MaxDistinct && d.Complete {
		d.Complete, d.Reason = false, answer.TooMany
	}
	return total, d, err
}

// parseKey reads a word of the field `keys`.
func parseKey(w string) (in store.FieldScope, typ span.Type, key string, ok bool) {
	if len(w) < 2 {
		return 0, 0, "", false
	}
	for owner, letter := range ownerLetters {
		if letter == w[0] {
			in, ok = owner, true
		}
	}
	typ = span.Type(w[1] - 'a')
	key, _, _ = strings.Cut(w[2:], string(rune(againMark)))
	return in, typ, key, ok && typ < span.NumTypes
}

// Values counts the values of a field in text form. Texts that are a field are counted by the server.
func (e *Engine) Values(ctx context.Context, s store.Scope, q store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	get, err := match.NewGetter(q.Field)
	if err != nil {
		return nil, store.Done{}, err
	}
	p, err := e.plan(ctx, s, q.Match, match.Window{TimeRange: q.Range, Mode: store.Start})
	if err != nil {
		return nil, store.Done{}, err
	}
	var c cost
	err = errWords
	var list []store.ValueCount
	if field, ok := textFields[q.Field.Key]; ok && q.Field.In == store.Intrinsic && p.exact {
		err = e.count(ctx, p, field, "", &c, func(b bucket) bool {
			if b.Key.Word != "" && strings.HasPrefix(b.Key.Word, q.Prefix) {
				list = append(list, store.ValueCount{Text: b.Key.Word, Type: span.TypeString, N: b.N})
			}
			return len(list) <= answer.MaxDistinct
		})
		slices.SortFunc(list, func(a, b store.ValueCount) int { return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Text, b.Text)) })
	}
	distinct := len(list)
	if errors.Is(err, errWords) {
		v := answer.NewValueCounter(get, q.Prefix)
		err = e.each(ctx, p, &c, func(r store.Rows) bool {
			v.Count(r.Batch, r.Rows)
			return v.Len() <= answer.MaxDistinct
		})
		list, distinct = v.List(0), v.Len()
	}
	d, err := done(ctx, "list values", &c, err)
	if distinct > answer.MaxDistinct && d.Complete {
		d.Complete, d.Reason = false, answer.TooMany
	}
	return answer.First(list, q.Limit), d, err
}
