// Package tempoapi answers Tempo's query API, over HTTP and as the gRPC service StreamingQuerier, as Grafana, Traces Drilldown and
// Kiali call it. It decodes a request, asks query or query/traceql, and encodes the answer.
//
// Clients decode strictly: an unknown JSON field makes Grafana refuse an answer, an absent span set makes Kiali panic. So the
// messages are those of Tempo 2.8 (tempopb) and nothing besides, JSON is proto3's own form of them, and errors are plain
// text. Traces are written straight from columns, in parts: a trace of a million spans never stands in memory twice.
package tempoapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/store"
)

// Options are what the API stands on.
type Options struct {
	Query     *query.Query                      // required; its clock is the API's clock
	TraceQL   *traceql.Engine                   // required
	Log       *slog.Logger                      // nil: silence. Only failures of our own are logged
	Scope     func(*http.Request) store.Scope   // whose data a request may see; nil: the default tenant's
	GRPCScope func(context.Context) store.Scope // the same for gRPC
	Build     Build
}

// Build is what /api/status/buildinfo tells of this program beside the version of Tempo whose API this is.
type Build struct{ Version, Commit, Date string }

// API is the handler of all paths of a Tempo server.
type API struct {
	Options
	routes []route
}

// New makes the API.
func New(o Options) *API {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Scope == nil {
		o.Scope = func(*http.Request) store.Scope { return store.Scope{Tenant: store.DefaultTenant} }
	}
	if o.GRPCScope == nil {
		o.GRPCScope = func(context.Context) store.Scope { return store.Scope{Tenant: store.DefaultTenant} }
	}
	a := &API{Options: o}
	a.routes = []route{
		{"/api/echo", "", a.echo},
		{"/ready", "", a.ready},
		{"/api/status/buildinfo", "", a.buildInfo},
		{"/status", "", a.status},
		{"/status/version", "", a.statusVersion},
		{"/status/services", "", a.statusServices},
		{"/api/traces/", "", a.traceV1},
		{"/api/v2/traces/", "", a.traceV2},
		{"/api/search", "", a.search},
		{"/api/metrics/query_range", "", a.queryRange},
		{"/api/metrics/query", "", a.queryInstant},
		{"/api/search/tags", "", a.tagsV1},
		{"/api/v2/search/tags", "", a.tagsV2},
		{"/api/search/tag/", "/values", a.valuesV1},
		{"/api/v2/search/tag/", "/values", a.valuesV2},
	}
	return a
}

// route is a path, or, where it ends in a slash, what stands around a segment of the caller's.
type route struct {
	path, after string
	answer      func(*call) error
}

// match cuts the caller's segment out of an escaped path. Names of tags may hold slashes, so everything between is it.
func (r *route) match(path string) (segment string, ok bool) {
	if !strings.HasSuffix(r.path, "/") {
		return "", strings.TrimSuffix(path, "/") == r.path
	}
	rest, ok := strings.CutPrefix(path, r.path)
	if !ok {
		return "", false
	}
	segment, ok = strings.CutSuffix(rest, r.after)
	return segment, ok && segment != "" && (r.after != "" || !strings.Contains(segment, "/"))
}

// call is one request on its way through the API.
type call struct {
	*http.Request
	params  url.Values
	segment string // the caller's part of the path, unescaped
	scope   store.Scope
	out     *answer
}

// ServeHTTP answers one request. A prefix such as /tempo is stripped before it.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, out: &answer{w: w, head: r.Method == http.MethodHead}}
	if err := a.serve(c); err != nil {
		p := problem.Of(err)
		if p.Kind == problem.Internal && r.Context().Err() == nil {
			a.Log.ErrorContext(r.Context(), "tempo api", "path", r.URL.Path, "error", err)
		}
		c.out.fail(err)
	}
}

func (a *API) serve(c *call) (err error) {
	path := strippedOfGateway(c.URL.EscapedPath())
	for i := range a.routes {
		segment, ok := a.routes[i].match(path)
		if !ok {
			continue
		}
		if c.Method != http.MethodGet && c.Method != http.MethodHead {
			c.out.w.Header().Set("Allow", http.MethodGet)
			c.out.status = http.StatusMethodNotAllowed
			return problem.New(problem.Invalid, fmt.Sprintf("method %s is not allowed on %s", c.Method, c.URL.Path), "use GET")
		}
		if c.segment, err = url.PathUnescape(segment); err != nil {
			return problem.New(problem.Invalid, fmt.Sprintf("malformed path: %v", err), "escape % as %25")
		}
		if c.params, err = url.ParseQuery(c.URL.RawQuery); err != nil {
			return problem.New(problem.Invalid, fmt.Sprintf("malformed query string: %v", err), "escape & ; % and + in values")
		}
		c.scope = a.Scope(c.Request)
		return a.routes[i].answer(c)
	}
	return problem.New(problem.NotFound, fmt.Sprintf("no such path: %s", c.URL.Path), "Tempo's API stands under /api/traces, /api/v2/traces, /api/search and /api/metrics")
}

// strippedOfGateway takes off the prefix that OpenShift's gateway puts before a tenant's Tempo.
func strippedOfGateway(path string) string {
	rest, ok := strings.CutPrefix(path, "/api/traces/v1/")
	if !ok {
		return path
	}
	if _, rest, ok = strings.Cut(rest, "/tempo/"); ok {
		return "/" + rest
	}
	return path
}
