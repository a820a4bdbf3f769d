package tempoapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
	"github.com/spanloom/spanloom/query/traceql"
)

const fuzzed = `
1 a - front server "GET /" 1s 10ms http.status_code=200 ok=true
1 b a back client query 2s 10ms http.status_code="404" ratio=0.5 @status=error
`

// FuzzRequest asks any path with any parameters: an answer is never our fault, and JSON is JSON.
func FuzzRequest(f *testing.F) {
	for _, s := range []struct{ path, query, accept string }{
		{"/api/traces/1", "start=1767225600&end=1767225700", ""},
		{"/api/v2/traces/ff", "", "application/protobuf"},
		{"/api/search", "q=%7B%7D&limit=5&spss=2&start=1767225600&end=1767225700&minDuration=1ms", ""},
		{"/api/search", "tags=service.name%3Dfront%20name%3D%22GET%20%2F%22", ""},
		{"/api/search", "service.name=front&limit=0", ""},
		{"/api/search/tags", "scope=span&limit=1", ""},
		{"/api/v2/search/tags", "scope=none&q=%7B.a%3D", ""},
		{"/api/search/tag/name/values", "", "application/protobuf"},
		{"/api/v2/search/tag/span.\"a b\"/values", "q=%7B%20name%20%3D%20%7D", ""},
		{"/api/metrics/query_range", "q=%7B%7D%7Crate()&start=1767225600&end=1767225700.5&step=15s&exemplars=10", ""},
		{"/api/metrics/query", "query=%7B%7D%7Ccount_over_time()&since=1w2d", ""},
		{"/api/traces/v1/t/tempo/ready", "a;b", "*/*"},
	} {
		f.Add(s.path, s.query, s.accept)
	}
	api := newAPI(f, fuzzed)
	f.Fuzz(func(t *testing.T, path, query, accept string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL = &url.URL{Path: path, RawQuery: query}
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Fatalf("%q %q: %d %s", path, query, w.Code, w.Body)
		}
		if w.Header().Get("Content-Type") == typeJSON && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%q %q: %s", path, query, w.Body)
		}
	})
}

// sink is a stream that takes everything.
type sink[M any] struct {
	grpc.ServerStream
	ctx  context.Context
	sent []*M
}

func (s *sink[M]) Context() context.Context       { return s.ctx }
func (s *sink[M]) SetTrailer(_ metadata.MD)       {}
func (s *sink[M]) Send(m *M) error                { s.sent = append(s.sent, m); return nil }
func newSink[M any](ctx context.Context) *sink[M] { return &sink[M]{ctx: ctx} }

// FuzzStreams gives any bytes to every method: an answer is never our fault.
func FuzzStreams(f *testing.F) {
	for _, m := range []proto.Message{
		&tempopb.SearchRequest{Query: "{ name = `x` }", Limit: 5, Start: 1767225600, End: 1767225700},
		&tempopb.SearchRequest{Tags: map[string]string{"a": "b"}, MinDurationMs: 1},
		&tempopb.SearchTagsRequest{Scope: "span", Query: "{", Start: 1},
		&tempopb.SearchTagValuesRequest{TagName: "span.a", Query: "{}", MaxTagValues: 3},
		&tempopb.QueryRangeRequest{Query: "{}|rate()", Start: 1767225600e9, End: 1767225700e9, Step: 1e9, Exemplars: 1, MaxSeries: 1},
		&tempopb.QueryInstantRequest{Query: "{}|count_over_time() by (name)"},
	} {
		body, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	s := &streams{API: newAPI(f, fuzzed)}
	f.Fuzz(func(t *testing.T, body []byte) {
		check := func(method string, err error) {
			if c := status.Code(err); c == codes.Internal || c == codes.Unknown {
				t.Fatalf("%s of %x: %v", method, body, err)
			}
		}
		ctx := t.Context()
		if r := (&tempopb.SearchRequest{}); proto.Unmarshal(body, r) == nil {
			check("Search", s.Search(r, newSink[tempopb.SearchResponse](ctx)))
		}
		if r := (&tempopb.SearchTagsRequest{}); proto.Unmarshal(body, r) == nil {
			check("SearchTags", s.SearchTags(r, newSink[tempopb.SearchTagsResponse](ctx)))
			check("SearchTagsV2", s.SearchTagsV2(r, newSink[tempopb.SearchTagsV2Response](ctx)))
		}
		if r := (&tempopb.SearchTagValuesRequest{}); proto.Unmarshal(body, r) == nil {
			check("SearchTagValues", s.SearchTagValues(r, newSink[tempopb.SearchTagValuesResponse](ctx)))
			check("SearchTagValuesV2", s.SearchTagValuesV2(r, newSink[tempopb.SearchTagValuesV2Response](ctx)))
		}
		if r := (&tempopb.QueryRangeRequest{}); proto.Unmarshal(body, r) == nil {
			check("MetricsQueryRange", s.MetricsQueryRange(r, newSink[tempopb.QueryRangeResponse](ctx)))
		}
		if r := (&tempopb.QueryInstantRequest{}); proto.Unmarshal(body, r) == nil {
			check("MetricsQueryInstant", s.MetricsQueryInstant(r, newSink[tempopb.QueryInstantResponse](ctx)))
		}
	})
}

// FuzzTags: tags of any text are refused or become a query that parses.
func FuzzTags(f *testing.F) {
	for _, s := range []string{`a=b`, `a="b c" d=1`, `error=true status.code=error name="GET /"`, `"`, `a=`, `a==b`, `a=b"c`, "a=\"\\xff\"", `http.status_code=200`, `a\b="\\"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := parseLogfmt(s)
		if err != nil {
			return
		}
		if q := tagsText(tags); q != everything {
			if _, err := traceql.Parse(q); err != nil && !strings.Contains(err.Error(), "too ") {
				t.Fatalf("tags %q became %q: %v", s, q, err)
			}
		}
	})
}
