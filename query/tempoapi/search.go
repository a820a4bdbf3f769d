package tempoapi

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/store"
)

const (
	defaultLimit       = 20  // traces
	defaultSpansPerSet = 3   //
	maxSpansPerSet     = 100 // listed of a set; all of them are counted
)

// everything is the query of a search that names none.
const everything = "{}"

// searchQuery is a search as both protocols ask it.
type searchQuery struct {
	text          string // TraceQL
	window        store.TimeRange
	limit         int
	spansPerSet   int
	atLeast, upTo time.Duration // of the trace; 0 is open
}

// searchParams are the parameters that search knows. In a request without query and times any other is a tag.
var searchParams = map[string]bool{"q": true, "tags": true, "minDuration": true, "maxDuration": true, "limit": true, "spss": true, "start": true, "end": true}

func parseSearch(v url.Values) (q searchQuery, err error) {
	if q.text, err = searchText(v); err != nil {
		return q, err
	}
	if q.window, err = parseWindow(v, true); err != nil {
		return q, err
	}
	limit, err := parseCount(v, "limit", defaultLimit)
	if err != nil {
		return q, err
	}
	spansPerSet, err := parseCount(v, "spss", defaultSpansPerSet)
	if err != nil {
		return q, err
	}
	if q.atLeast, err = parseDuration(v, "minDuration"); err != nil {
		return q, err
	}
	if q.upTo, err = parseDuration(v, "maxDuration"); err != nil {
		return q, err
	}
	return q, q.bound(limit, spansPerSet)
}

// searchText is the query of a request: as it is, or made of tags.
func searchText(v url.Values) (string, error) {
	text := v.Get("q")
	switch {
	case text != "" && v.Has("tags"):
		return "", invalid("tags", "write the tags as conditions of q", "q and tags cannot both be given")
	case text != "":
		return text, nil
	case v.Has("tags"):
		tags, err := parseLogfmt(v.Get("tags"))
		if err != nil {
			return "", err
		}
		return tagsText(tags), nil
	case v.Has("q") || v.Has("start") || v.Has("end"):
		return everything, nil
	}
	var tags []searchTag
	for key, values := range v {
		if searchParams[key] {
			continue
		}
		if len(values) > 1 {
			return "", invalid(key, "give it once", "tag %.50q is given %d times", key, len(values))
		}
		tags = append(tags, searchTag{key, values[0]})
	}
	return tagsText(tags), nil
}

// bound checks the numbers of a search and sets them.
func (q *searchQuery) bound(limit, spansPerSet int) error {
	switch {
	case limit < 1 || limit > query.MaxSearchLimit:
		return invalid("limit", fmt.Sprintf("use 1 to %d", query.MaxSearchLimit), "%d is out of bounds", limit)
	case spansPerSet > maxSpansPerSet:
		return invalid("spss", fmt.Sprintf("use up to %d", maxSpansPerSet), "%d spans of a span set are too many", spansPerSet)
	case q.upTo > 0 && q.upTo < q.atLeast:
		return invalid("maxDuration", "drop one of them", "maxDuration %s is less than minDuration %s", q.upTo, q.atLeast)
	}
	q.limit, q.spansPerSet = limit, spansPerSet
	if spansPerSet == 0 {
		q.spansPerSet = maxSpansPerSet
	}
	return nil
}

func (a *API) search(c *call) error {
	q, err := parseSearch(c.params)
	if err != nil {
		return err
	}
	found, err := a.runSearch(c.Context(), c.scope, q, nil)
	if err != nil {
		return err
	}
	c.partial(found.Done)
	m := &tempopb.SearchResponse{Metrics: searchMetrics(found)}
	for i := range found.Traces {
		m.Traces = append(m.Traces, traceMetadata(&found.Traces[i]))
	}
	return c.message(m)
}

// runSearch runs a search when its turn has come.
func (a *API) runSearch(ctx context.Context, s store.Scope, q searchQuery, progress func(*traceql.SearchResult)) (*traceql.SearchResult, error) {
	parsed, err := traceql.Parse(q.text)
	if err != nil {
		return nil, err
	}
	leave, err := a.Query.Admit(ctx, query.Page)
	if err != nil {
		return nil, err
	}
	defer leave()
	return a.TraceQL.Search(ctx, s, traceql.SearchRequest{
		Query: parsed, Range: q.window, Limit: q.limit, SpansPerSet: q.spansPerSet, MinDuration: q.atLeast, MaxDuration: q.upTo,
	}, progress)
}
