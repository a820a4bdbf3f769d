package tempoapi

import (
	"cmp"
	"context"
	"net/url"
	"slices"

	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// maxListed bounds every list of tags and values, whatever a caller asks for; a list of more is cut to the most frequent ones.
const maxListed = 10_000

// listQuery is what lists of tags and values have in common.
type listQuery struct {
	scope  string // of tags; empty for all
	filter string // TraceQL; values of spans that do not match do not count. Of names only the service is heeded
	window store.TimeRange
	limit  int
}

func parseList(v url.Values) (q listQuery, err error) {
	q.scope, q.filter = v.Get("scope"), v.Get("q")
	if q.window, err = parseWindow(v, false); err != nil {
		return q, err
	}
	if _, err = parseCount(v, "maxStaleValues", 0); err != nil {
		return q, err
	}
	q.limit, err = parseCount(v, "limit", 0)
	return q, err
}

// bounded is a limit within the bounds; 0 is the most there may be.
func bounded(limit int) int {
	if limit <= 0 || limit > maxListed {
		return maxListed
	}
	return limit
}

func (a *API) tagsV1(c *call) error {
	q, err := parseList(c.params)
	if err != nil {
		return err
	}
	m, done, err := a.tagNames(c.Context(), c.scope, q)
	if err != nil {
		return err
	}
	c.partial(done)
	return c.message(m)
}

func (a *API) tagsV2(c *call) error {
	q, err := parseList(c.params)
	if err != nil {
		return err
	}
	m, done, err := a.tagScopes(c.Context(), c.scope, q)
	if err != nil {
		return err
	}
	c.partial(done)
	return c.message(m)
}

// tagNames lists names without their scopes; intrinsics only where they are asked for.
func (a *API) tagNames(ctx context.Context, s store.Scope, q listQuery) (*tempopb.SearchTagsResponse, store.Done, error) {
	scopes, done, err := a.tagScopes(ctx, s, q)
	if err != nil {
		return nil, done, err
	}
	m := &tempopb.SearchTagsResponse{Metrics: scopes.Metrics}
	for _, s := range scopes.Scopes {
		if s.Name != scopeIntrinsic || q.scope == scopeIntrinsic {
			m.TagNames = append(m.TagNames, s.Tags...)
		}
	}
	slices.Sort(m.TagNames)
	m.TagNames = slices.Compact(m.TagNames)
	return m, done, nil
}

// tagScopes lists the names of attributes and intrinsics by scope.
func (a *API) tagScopes(ctx context.Context, s store.Scope, q listQuery) (*tempopb.SearchTagsV2Response, store.Done, error) {
	all := store.Done{Complete: true}
	m := &tempopb.SearchTagsV2Response{Metrics: &tempopb.MetadataMetrics{}}
	var wanted []store.FieldScope
	for _, scope := range attributeScopes {
		if q.scope == "" || q.scope == scopeNone || q.scope == scope.word {
			wanted = append(wanted, scope.in)
		}
	}
	if len(wanted) == 0 && q.scope != scopeIntrinsic && q.scope != scopeTrace {
		return nil, all, invalid("scope", "use resource, span, event, link, instrumentation, trace, intrinsic or none", "%.50q is not a scope", q.scope)
	}
	if len(wanted) > 0 {
		in := store.InAny
		if len(wanted) == 1 {
			in = wanted[0]
		}
		keys, done, err := a.Query.Keys(ctx, s, store.KeysQuery{Range: q.window, In: in, Service: serviceOf(filterOf(q.filter)), Limit: maxListed})
		if err != nil {
			return nil, done, err
		}
		all = done
		m.Metrics = listMetrics(done)
		for _, scope := range attributeScopes {
			if !slices.Contains(wanted, scope.in) {
				continue
			}
			if tags := namesIn(keys, scope.in, bounded(q.limit)); len(tags) > 0 {
				m.Scopes = append(m.Scopes, &tempopb.SearchTagsV2Scope{Name: scope.word, Tags: tags})
			}
		}
	}
	if q.scope == "" || q.scope == scopeNone || q.scope == scopeIntrinsic {
		m.Scopes = append(m.Scopes, &tempopb.SearchTagsV2Scope{Name: scopeIntrinsic, Tags: intrinsicNames})
	}
	return m, all, nil
}

// namesIn is the names of one scope, sorted; of too many the most frequent.
func namesIn(keys []store.Key, in store.FieldScope, limit int) (names []string) {
	if in == store.InResource && len(keys) > 0 {
		names = append(names, serviceKey) // every span has one, derived or sent
	}
	for _, k := range keys {
		if k.In == in && k.Key != "" && len(names) < limit {
			names = append(names, text(k.Key))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (a *API) valuesV1(c *call) error {
	q, err := parseList(c.params)
	if err != nil {
		return err
	}
	m, done, err := a.tagValues(c.Context(), c.scope, bareTag(c.segment), q)
	if err != nil {
		return err
	}
	c.partial(done)
	return c.message(withoutTypes(m))
}

func (a *API) valuesV2(c *call) error {
	t, err := parseIdentifier(c.segment)
	if err != nil {
		return err
	}
	q, err := parseList(c.params)
	if err != nil {
		return err
	}
	m, done, err := a.tagValues(c.Context(), c.scope, t, q)
	if err != nil {
		return err
	}
	c.partial(done)
	return c.message(m)
}

// tagValues lists the values of a tag, sorted; of too many the most frequent.
func (a *API) tagValues(ctx context.Context, s store.Scope, t tag, q listQuery) (*tempopb.SearchTagValuesV2Response, store.Done, error) {
	m := &tempopb.SearchTagValuesV2Response{Metrics: &tempopb.MetadataMetrics{}}
	for _, w := range t.words {
		m.TagValues = append(m.TagValues, &tempopb.TagValue{Type: "keyword", Value: w})
	}
	if t.field == (store.Field{}) {
		return m, store.Done{Complete: true}, nil
	}
	match := t.match
	if f := filterOf(q.filter); f != nil && match != nil {
		match = store.And{match, f}
	} else if f != nil {
		match = f
	}
	list := store.ValuesQuery{Range: q.window, Field: t.field, Match: match, Limit: bounded(q.limit)}
	values, done, err := a.values(ctx, s, list)
	if err != nil {
		return nil, done, err
	}
	m.Metrics = listMetrics(done)
	for _, v := range values {
		if v.Text != "" {
			m.TagValues = append(m.TagValues, &tempopb.TagValue{Type: valueType(v.Type), Value: text(v.Text)})
		}
	}
	slices.SortFunc(m.TagValues, func(x, y *tempopb.TagValue) int {
		return cmp.Or(cmp.Compare(x.Value, y.Value), cmp.Compare(x.Type, y.Type))
	})
	return m, done, nil
}

// values lists the values of a field. Services have a list of their own, which costs less than counting them in spans.
func (a *API) values(ctx context.Context, s store.Scope, list store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	if list.Field != (store.Field{In: store.Intrinsic, Key: store.FieldService}) || list.Match != nil {
		return a.Query.Values(ctx, s, list)
	}
	services, done, err := a.Query.ListServices(ctx, s, list.Range)
	if err != nil {
		return nil, done, err
	}
	slices.SortStableFunc(services, func(x, y store.Service) int { return cmp.Compare(y.Spans, x.Spans) })
	values := make([]store.ValueCount, min(len(services), list.Limit))
	for i := range values {
		values[i] = store.ValueCount{Text: services[i].Name, Type: span.TypeString, N: services[i].Spans}
	}
	return values, done, nil
}

// filterOf is the condition of a filter that somebody is still typing. One that cannot be read filters nothing: a list that is too
// long helps more than an error at every key.
func filterOf(text string) store.Expr {
	if text == "" {
		return nil
	}
	e, err := traceql.SpanFilter(text)
	if err != nil {
		return nil
	}
	return e
}

// serviceOf is the service that a condition asks for, empty if it asks for none or for several. Names are kept by service.
func serviceOf(e store.Expr) string {
	switch e := e.(type) {
	case store.And:
		for _, part := range e {
			if s := serviceOf(part); s != "" {
				return s
			}
		}
	case store.Cond:
		if e.Field == (store.Field{In: store.Intrinsic, Key: store.FieldService}) && e.Op == store.Eq {
			return e.Value.Text
		}
	}
	return ""
}

// withoutTypes is a list of values as the first API has it.
func withoutTypes(m *tempopb.SearchTagValuesV2Response) *tempopb.SearchTagValuesResponse {
	out := &tempopb.SearchTagValuesResponse{Metrics: m.Metrics}
	for _, v := range m.TagValues {
		out.TagValues = append(out.TagValues, v.Value)
	}
	out.TagValues = slices.Compact(out.TagValues)
	return out
}

func listMetrics(d store.Done) *tempopb.MetadataMetrics {
	return &tempopb.MetadataMetrics{InspectedBytes: uint64(max(d.Read.Bytes, 0)), TotalBlocks: clamped(d.Read.Of), TotalJobs: clamped(d.Read.Of), CompletedJobs: jobsDone(d)}
}
