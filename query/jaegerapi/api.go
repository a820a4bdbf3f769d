// Package jaegerapi answers Jaeger's query APIs as Jaeger's own UI, Grafana and Kiali call them: HTTP v1 (/api/…) and v3
// (/api/v3/…), and gRPC api_v2 and api_v3. It decodes a request, asks query, and writes the answer straight from a trace's
// columns, in parts: a trace of a million spans never stands in memory as JSON.
//
// Traces are written as Jaeger shows them: one process per distinct resource, ids that occur once, attributes and events
// sorted, copies left out. With raw=true they are written as stored. Clocks are never adjusted.
//
// An answer that a limit of the store cut short carries the header Spanloom-Partial with the reason; a trace that was cut
// says so in its warnings.
package jaegerapi

import (
	"compress/gzip"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/store"
)

// Options are what the API stands on.
type Options struct {
	Query           *query.Query                    // required; its clock is the API's clock
	Reader          store.Reader                    // asked which parents of a page of summaries are here; nil: no span counts as an orphan
	Log             *slog.Logger                    // nil: silence. Only failures of our own are logged
	Scope           func(*http.Request) store.Scope // whose data a request may see; nil: the default tenant's
	Origins         []string                        // origins that may change state besides the request's own host, such as --external-url
	DefaultLookback time.Duration                   // of a search without start; 0: 48 h
}

const defaultLookback = 48 * time.Hour

// New makes the handler of all paths under /api/. A prefix such as /jaeger is stripped before it.
func New(o Options) http.Handler { return newAPI(o) }

func newAPI(o Options) *api {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Scope == nil {
		o.Scope = func(*http.Request) store.Scope { return store.Scope{Tenant: store.DefaultTenant} }
	}
	if o.DefaultLookback <= 0 {
		o.DefaultLookback = defaultLookback
	}
	a := &api{Options: o, zips: &sync.Pool{}, transforming: make(chan struct{}, 1)}
	a.zips.New = func() any {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
		return z
	}
	a.routes = []route{
		{http.MethodGet, "services", a.services},
		{http.MethodGet, "services/*/operations", a.operationNames},
		{http.MethodGet, "operations", a.operations},
		{http.MethodGet, "traces", a.search},
		{http.MethodGet, "traces/*", a.trace},
		{http.MethodPost, "archive/*", a.archive},
		{http.MethodGet, "dependencies", a.dependencies},
		{http.MethodGet, "v3/services", a.servicesV3},
		{http.MethodGet, "v3/operations", a.operationsV3},
		{http.MethodGet, "v3/traces", a.searchV3},
		{http.MethodGet, "v3/traces/*", a.traceV3},
		{http.MethodGet, "v3/trace-summaries", a.summaries},
		{http.MethodGet, "v3/dependencies", a.dependenciesV3},
		{http.MethodGet, "v3/capabilities", a.capabilities},
		{http.MethodGet, "metrics/*", a.metrics},
		{http.MethodPost, "transform", a.transform},
		{http.MethodGet, "deep-dependencies", unsupported("there are no deep dependencies", "ask /api/dependencies")},
		{http.MethodGet, "quality-metrics", unsupported("there are no quality metrics", "ask Spanloom's doctor")},
	}
	return a
}

type api struct {
	Options
	routes []route
	zips   *sync.Pool // of *gzip.Writer

	transforming chan struct{} // held by the one request that shows spans of its own
}

// route is one path below /api/; * stands for one segment.
type route struct {
	method, path string
	answer       func(*call) error
}

// call is one request on its way through the API.
type call struct {
	*http.Request
	params  url.Values
	segment string // what stands for * in the path, unescaped
	scope   store.Scope
	out     *answer
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := a.newAnswer(w, r)
	defer out.close()
	c := &call{Request: r, out: out}
	if err := a.serve(c); err != nil {
		p := problem.Of(err)
		if p.Kind == problem.Internal && r.Context().Err() == nil {
			a.Log.ErrorContext(r.Context(), "jaeger api", "path", r.URL.Path, "error", err)
		}
		out.fail(p)
		return
	}
	out.finish()
}

func (a *api) serve(c *call) (err error) {
	path := c.URL.EscapedPath()
	c.out.v3 = strings.HasPrefix(path, "/api/v3/")
	if c.params, err = url.ParseQuery(c.URL.RawQuery); err != nil {
		return problem.New(problem.Invalid, fmt.Sprintf("malformed query string: %v", err), "escape & ; % and + in values")
	}
	if v := c.params.Get("prettyPrint"); v != "" && v != "false" {
		c.out.pretty = &indenter{}
	}
	c.scope = a.Scope(c.Request)
	rest, ok := strings.CutPrefix(path, "/api/")
	allow := ""
	for _, route := range a.routes {
		segment, match := route.match(rest)
		if !ok || !match {
			continue
		}
		if c.segment, err = url.PathUnescape(segment); err != nil {
			return problem.New(problem.Invalid, fmt.Sprintf("malformed path: %v", err), "escape % as %25")
		}
		if c.Method == route.method || c.Method == http.MethodHead && route.method == http.MethodGet {
			return route.answer(c)
		}
		allow = route.method
	}
	if allow != "" {
		c.out.header().Set("Allow", allow)
		c.out.status = http.StatusMethodNotAllowed
		return problem.New(problem.Invalid, fmt.Sprintf("method %s is not allowed on %s", c.Method, c.URL.Path), "use "+allow)
	}
	return problem.New(problem.NotFound, fmt.Sprintf("no such path: %s", c.URL.Path), "Jaeger's API v1 stands under /api/services, /api/operations, /api/traces and /api/dependencies, v3 under /api/v3/")
}

// match compares an escaped path below /api/ with the route and cuts out the segment that * stands for.
func (r *route) match(path string) (segment string, ok bool) {
	pattern := r.path
	for {
		p, patternRest, patternMore := strings.Cut(pattern, "/")
		s, pathRest, pathMore := strings.Cut(path, "/")
		switch {
		case patternMore != pathMore:
			return "", false
		case p == "*" && s != "":
			segment = s
		case p != s:
			return "", false
		}
		if !pathMore {
			return segment, true
		}
		pattern, path = patternRest, pathRest
	}
}

func unsupported(message, hint string) func(*call) error {
	return func(*call) error { return problem.New(problem.Unsupported, message, hint) }
}

// checkOrigin refuses requests that a page of another host makes a browser send. Browsers send Origin with every POST; other
// clients send none. Jaeger's UI posts without a content type, so none is asked for as elsewhere.
func (a *api) checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		if site := r.Header.Get("Sec-Fetch-Site"); site != "cross-site" && site != "same-site" {
			return nil
		}
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) {
		return nil
	}
	for _, o := range a.Origins {
		if u, err := url.Parse(o); err == nil && u.Host != "" && strings.EqualFold(u.Scheme+"://"+u.Host, origin) {
			return nil
		}
	}
	return &problem.Problem{Kind: problem.Forbidden, Field: "Origin", Message: fmt.Sprintf("a page of another origin (%s) may not change anything here", origin),
		Hint: "open the page under the host it asks, or set --external-url"}
}
