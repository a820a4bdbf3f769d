// Package web serves the browser UI from files that are compiled into the binary.
//
// The files come from `npm run build` in this folder. A binary that was compiled without them
// still builds and serves: Built reports false, and every page says how to build the UI.
// The package knows nothing of the API: the caller routes /api elsewhere.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"html"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// dist holds at least .keep, which is committed so that the pattern matches before the first build.
//
//go:embed all:dist
var dist embed.FS

//go:embed unbuilt.html
var unbuilt []byte

// The places of index.html and unbuilt.html that Handler fills in.
var (
	baseMark    = []byte(`<base href="/">`)
	versionMark = []byte(`{"gitVersion":"","gitCommit":"","buildDate":""}`)
)

// Options say how the UI is mounted. The zero value serves it at / and lets nobody frame it but itself.
type Options struct {
	// Base is the path the browser sees the UI under, such as "/" or "/jaeger/". Slashes at its
	// ends are optional. The handler takes requests with and without this prefix, so it works
	// behind http.StripPrefix and behind proxies that cut it.
	Base string
	// FrameAncestors is the source list of the policy's frame-ancestors, such as
	// "'self' https://kiali.example.com"; empty means "'self'".
	FrameAncestors string
	// Version, Commit and BuildDate fill the marker that Kiali cuts out of the page.
	Version, Commit, BuildDate string
}

// Built reports whether the UI's files are in this binary.
func Built() bool {
	_, err := fs.Stat(dist, "dist/index.html")
	return err == nil
}

// Handler serves the UI. Paths that name no file get index.html, because the UI routes them
// itself; missing assets are 404. Only GET and HEAD are answered.
func Handler(o Options) http.Handler {
	files, err := fs.Sub(dist, "dist")
	if err != nil { // "dist" is a constant and valid
		panic(err)
	}
	return newHandler(files, o)
}

// asset is one file as it goes over the wire.
type asset struct {
	body      []byte
	gzip      []byte // nil if the build did not write one
	mediaType string
	etag      string
	immutable bool // the name carries a hash of the content
}

type handler struct {
	base   string // begins and ends with a slash
	csp    string
	index  asset
	assets map[string]asset // by path without leading slash
}

func newHandler(files fs.FS, o Options) http.Handler {
	h := &handler{base: slashed(o.Base), assets: map[string]asset{}}
	ancestors := o.FrameAncestors
	if ancestors == "" {
		ancestors = "'self'"
	}
	h.csp = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors " +
		strings.NewReplacer(";", " ", ",", " ", "\r", " ", "\n", " ").Replace(ancestors)

	page := unbuilt
	// A walk of an embed.FS cannot fail; of a directory in a test it would show as missing assets.
	_ = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") || strings.HasSuffix(name, ".gz") {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if name == "index.html" {
			page = body
			return nil
		}
		a := newAsset(name, body)
		a.gzip, _ = fs.ReadFile(files, name+".gz")
		h.assets[name] = a
		return nil
	})
	h.index = newAsset("index.html", fill(page, h.base, o))
	return h
}

func newAsset(name string, body []byte) asset {
	sum := sha256.Sum256(body)
	mediaType := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // the machine's own table may say otherwise
	case ".js":
		mediaType = "text/javascript; charset=utf-8"
	case ".css":
		mediaType = "text/css; charset=utf-8"
	case ".svg":
		mediaType = "image/svg+xml"
	case ".html":
		mediaType = "text/html; charset=utf-8"
	}
	if mediaType == "" {
		mediaType = "application/octet-stream"
	}
	return asset{
		body:      body,
		mediaType: mediaType,
		etag:      `"` + hex.EncodeToString(sum[:12]) + `"`,
		immutable: strings.HasPrefix(name, "assets/"),
	}
}

// fill writes the base and the version marker into a page.
func fill(page []byte, base string, o Options) []byte {
	version, err := json.Marshal(struct {
		GitVersion string `json:"gitVersion"`
		GitCommit  string `json:"gitCommit"`
		BuildDate  string `json:"buildDate"`
	}{o.Version, o.Commit, o.BuildDate})
	if err != nil { // three strings always marshal
		panic(err)
	}
	// Kiali takes the text up to the next semicolon, so none may stand inside.
	version = bytes.ReplaceAll(version, []byte(";"), []byte(`\u003b`))
	page = bytes.Replace(page, baseMark, []byte(`<base href="`+html.EscapeString(base)+`">`), 1)
	return bytes.Replace(page, versionMark, version, 1)
}

// slashed gives p exactly one slash at each end.
func slashed(p string) string {
	p = strings.Trim(p, "/")
	if p == "" {
		return "/"
	}
	return "/" + p + "/"
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", h.csp)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed: the UI answers GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	name := h.name(r.URL.Path)
	a, ok := h.assets[name]
	switch {
	case ok:
	case missingAsset(name):
		http.NotFound(w, r)
		return
	default:
		a = h.index
	}
	a.serve(w, r)
}

// name maps a request path to the name of a file, with or without the base in front.
func (h *handler) name(p string) string {
	p = path.Clean("/" + p)
	if p+"/" == h.base {
		return ""
	}
	if rest, ok := strings.CutPrefix(p, h.base); ok {
		return rest
	}
	return strings.TrimPrefix(p, "/")
}

// missingAsset tells a file that is not there from a page of the UI. Pages may have dots in
// their path (service names, `/trace/a...b`), so only folders and endings of our own count.
func missingAsset(name string) bool {
	if strings.HasPrefix(name, "assets/") || strings.HasPrefix(name, "static/") {
		return true
	}
	if strings.Contains(name, "/") {
		return false
	}
	switch path.Ext(name) {
	case ".js", ".css", ".map", ".svg", ".png", ".ico", ".txt", ".json", ".webmanifest":
		return true
	}
	return false
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", a.mediaType)
	if a.immutable {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		header.Set("Cache-Control", "no-cache")
	}
	body, etag := a.body, a.etag
	if a.gzip != nil {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			header.Set("Content-Encoding", "gzip")
			body, etag = a.gzip, strings.TrimSuffix(etag, `"`)+`-gz"`
		}
	}
	header.Set("ETag", etag)
	if match := r.Header.Get("If-None-Match"); match != "" && strings.Contains(match, etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // a browser that went away is no error of ours
	}
}

// acceptsGzip reads an Accept-Encoding header; `gzip;q=0` is a refusal.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		if !ok {
			return true
		}
		weight, err := strconv.ParseFloat(q, 64)
		return err == nil && weight > 0
	}
	return false
}
