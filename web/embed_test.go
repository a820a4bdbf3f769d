package web

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

const builtIndex = `<html><head><base href="/"><script type="text/plain">const JAEGER_VERSION = ` +
	`{"gitVersion":"","gitCommit":"","buildDate":""};</script></head><body>app</body></html>`

func built() fstest.MapFS {
	return fstest.MapFS{
		".keep":                 {},
		"index.html":            {Data: []byte(builtIndex)},
		"theme.js":              {Data: []byte("theme")},
		"assets/app-1a2b.js":    {Data: []byte("plain")},
		"assets/app-1a2b.js.gz": {Data: []byte("packed")},
	}
}

func get(t *testing.T, h http.Handler, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPathsThatAreServed(t *testing.T) {
	cases := []struct {
		base, path string
		status     int
		body       string
	}{
		{"/", "/", 200, "app"},
		{"/", "/search", 200, "app"},
		{"/", "/trace/0af7651916cd43dd8448eb211c80319c", 200, "app"},
		{"/", "/trace/aa...bb", 200, "app"},
		{"/", "/service/bookinfo/reviews.js", 200, "app"},
		{"/", "/dependencies", 200, "app"},
		{"/", "/assets/app-1a2b.js", 200, "plain"},
		{"/", "/assets/gone.js", 404, ""},
		{"/", "/static/js/main.js", 404, ""},
		{"/", "/favicon.ico", 404, ""},
		{"/", "/.keep", 200, "app"},
		{"/", "/../../secret", 200, "app"},
		{"/jaeger", "/jaeger", 200, "app"},
		{"/jaeger", "/jaeger/", 200, "app"},
		{"/jaeger", "/jaeger/theme.js", 200, "theme"},
		{"/jaeger", "/theme.js", 200, "theme"},
		{"/a/b/", "/a/b/assets/app-1a2b.js", 200, "plain"},
		{"/a/b/", "/a/b/trace/1", 200, "app"},
	}
	for _, c := range cases {
		t.Run(c.base+" "+c.path, func(t *testing.T) {
			res := get(t, newHandler(built(), Options{Base: c.base}), c.path)
			if res.StatusCode != c.status {
				t.Fatalf("status %d, want %d", res.StatusCode, c.status)
			}
			if got := text(t, res); !strings.Contains(got, c.body) {
				t.Errorf("body %q, want it to contain %q", got, c.body)
			}
		})
	}
}

func TestBaseIsWrittenIntoThePage(t *testing.T) {
	for base, want := range map[string]string{
		"":           `<base href="/">`,
		"/":          `<base href="/">`,
		"jaeger":     `<base href="/jaeger/">`,
		"/a/b/":      `<base href="/a/b/">`,
		`/x"><i>/`:   `<base href="/x&#34;&gt;&lt;i&gt;/">`,
		"//evil.com": `<base href="/evil.com/">`,
	} {
		if got := text(t, get(t, newHandler(built(), Options{Base: base}), "/")); !strings.Contains(got, want) {
			t.Errorf("base %q: page %q, want %q", base, got, want)
		}
	}
}

// kialiVersion cuts the marker out of the page the way Kiali does: by plain offsets, up to the
// first semicolon.
func kialiVersion(page string) string {
	const mark = "const JAEGER_VERSION = "
	rest := page[strings.Index(page, mark)+len(mark):]
	return rest[:strings.Index(rest, ";")]
}

func TestVersionMarker(t *testing.T) {
	o := Options{Version: "1.2.3;</script>", Commit: "abc", BuildDate: "2026-11-21"}
	for name, files := range map[string]fstest.MapFS{"built": built(), "not built": {".keep": {}}} {
		t.Run(name, func(t *testing.T) {
			page := text(t, get(t, newHandler(files, o), "/"))
			var v struct{ GitVersion, GitCommit, BuildDate string }
			if err := json.Unmarshal([]byte(kialiVersion(page)), &v); err != nil {
				t.Fatalf("marker %q: %v", kialiVersion(page), err)
			}
			if v.GitVersion != o.Version || v.GitCommit != o.Commit || v.BuildDate != o.BuildDate {
				t.Errorf("marker holds %+v, want %+v", v, o)
			}
			if strings.Count(page, "</script>") != 1 {
				t.Errorf("the version broke out of its block: %s", page)
			}
		})
	}
}

func TestNotBuiltSaysHow(t *testing.T) {
	res := get(t, newHandler(fstest.MapFS{".keep": {}}, Options{Base: "/jaeger"}), "/jaeger/search")
	page := text(t, res)
	if res.StatusCode != 200 || !strings.Contains(page, "make build") || !strings.Contains(page, `<base href="/jaeger/">`) {
		t.Errorf("status %d, page %q", res.StatusCode, page)
	}
}

// The marks that are filled in must stand in the page that vite builds from.
func TestSourcePagesHoldTheMarks(t *testing.T) {
	page := string(unbuilt)
	if !strings.Contains(page, string(baseMark)) || !strings.Contains(page, string(versionMark)) {
		t.Error("unbuilt.html lost a mark")
	}
	if !Built() {
		t.Skip("UI not built")
	}
	index, err := dist.ReadFile("dist/index.html")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(index), string(baseMark)) || !strings.Contains(string(index), string(versionMark)) {
		t.Error("dist/index.html lost a mark")
	}
}

func TestHeaders(t *testing.T) {
	h := newHandler(built(), Options{FrameAncestors: "https://kiali.example.com; script-src *"})
	page := get(t, h, "/")
	csp := page.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(csp, "default-src 'self';") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	if !strings.HasSuffix(csp, "frame-ancestors https://kiali.example.com  script-src *") {
		t.Errorf("policy %q: frame-ancestors must not open a new directive", csp)
	}
	if got := page.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("page is cached: %q", got)
	}
	if got := get(t, h, "/assets/app-1a2b.js").Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
		t.Errorf("hashed asset: %q", got)
	}
	again := get(t, h, "/", "If-None-Match", page.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("same ETag: status %d", again.StatusCode)
	}
	if csp := get(t, newHandler(built(), Options{}), "/").Header.Get("Content-Security-Policy"); !strings.HasSuffix(csp, "frame-ancestors 'self'") {
		t.Errorf("default policy %q", csp)
	}
}

func TestGzip(t *testing.T) {
	h := newHandler(built(), Options{})
	for accept, want := range map[string]string{
		"":                "plain",
		"gzip, deflate":   "packed",
		"br;q=1, gzip":    "packed",
		"gzip;q=0":        "plain",
		"gzip; q=0.5, br": "packed",
		"identity":        "plain",
	} {
		res := get(t, h, "/assets/app-1a2b.js", "Accept-Encoding", accept)
		if got := text(t, res); got != want {
			t.Errorf("Accept-Encoding %q: %q, want %q", accept, got, want)
		}
		if res.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
			t.Errorf("content type %q", res.Header.Get("Content-Type"))
		}
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	w := httptest.NewRecorder()
	newHandler(built(), Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/search", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("status %d, allow %q", w.Code, w.Header().Get("Allow"))
	}
	w = httptest.NewRecorder()
	newHandler(built(), Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/search", nil))
	if w.Code != http.StatusOK || w.Body.Len() != 0 {
		t.Errorf("HEAD: status %d, %d bytes", w.Code, w.Body.Len())
	}
}
