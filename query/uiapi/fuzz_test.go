package uiapi

import (
	"bytes"
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
		{"/search", "q={+name+%3D+`a`+}&limit=2"},
		{"/search/stream", "q={}+%3E+{}&page=1.2.3"},
		{"/search/stream", "filter=duration>0ms&limit=50"},
		{"/heatmap", "filter=service%3Dfront&columns=3&start=2h"},
		{"/differences", "select=status%3Derror&fields=3&values=2&selectStart=1h"},
		{"/traceql", "q={+staus+}"},
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
		for line := range bytes.Lines(w.Body.Bytes()) {
			if !json.Valid(line) {
				t.Fatalf("%q %q: %d %s", path, query, w.Code, line)
			}
		}
		if w.Code >= 500 && w.Code != http.StatusNotImplemented || w.Body.Len() == 0 {
			t.Fatalf("%q %q: %d %s", path, query, w.Code, w.Body)
		}
	})
}
