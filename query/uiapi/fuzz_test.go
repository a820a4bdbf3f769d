package uiapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// FuzzRequest asks any path with any query: an answer is JSON, and never "internal error".
func FuzzRequest(f *testing.F) {
	for _, s := range []struct{ path, query string }{
		{"/search", "filter=service%3Dfront&filter=duration>1ms&limit=5&start=1h"},
		{"/search", "page=1.2.x"},
		{"/services", "red=true&buckets=7&start=1767225600000000000&end=1767229200000000000"},
		{"/traces/1/spans", "ids=a,b,ff"},
		{"/traces/%31", ""},
		{"/attributes/values", "key=n&scope=span&prefix=2"},
		{"/status", ""}, {"/receipts", "start=5d"}, {"/traces/1/otlp", ""}, {"", "a;b"},
	} {
		f.Add(s.path, s.query)
	}
	s := serve(f, nil)
	f.Fuzz(func(t *testing.T, path, query string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL = &url.URL{Path: Prefix + path, RawQuery: query}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%q %q: %d %s", path, query, w.Code, w.Body)
		}
	})
}
