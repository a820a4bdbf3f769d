// Package uiapi serves the own API, docs/api/openapi.yaml, under /api/spanloom/v1/. It decodes requests, asks query and
// encodes answers; a test checks it against that document.
package uiapi

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/nearest"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/sameorigin"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Prefix is what every path begins with; a base path before it is cut off by the caller.
const Prefix = "/api/spanloom/v1"

// Receipts is what /receipts asks: the receipt ledger, adapted by app.
type Receipts interface {
	// Receipts sums what came in [from, to) by workload and protocol.
	Receipts(ctx context.Context, from, to time.Time) ([]Receipt, error)
	// Rejects are the newest rejected bodies, newest first, at most 100.
	Rejects() []Reject
}

// Options are what the API stands on; Query, TraceQL, Receipts and Status are required.
type Options struct {
	Query    *query.Query
	TraceQL  *traceql.Engine
	Receipts Receipts
	Status   func(context.Context) Status             // answers at once, from memory
	Doctor   Doctor                                   // nil: /doctor is unsupported
	Mesh     Mesh                                     // nil: no cluster is read, and /mesh/plan is unsupported
	Scope    func(*http.Request) (store.Scope, error) // whose data a request sees; nil: the default tenant, everything
	Origins  []string                                 // that may change state besides the request's own host, such as --external-url
	Log      *slog.Logger                             // internal errors; nil: silent

	RecentBytes int // of assembled traces held for readers who scroll; 0: 64 MiB
}

type api struct {
	Options
	seed   maphash.Seed // of ETags
	traces *recentTraces

	factsTurn chan struct{} // held while a facts file is judged
}

// New makes the handler.
func New(o Options) http.Handler {
	if o.Scope == nil {
		o.Scope = func(*http.Request) (store.Scope, error) { return store.Scope{Tenant: store.DefaultTenant}, nil }
	}
	if o.RecentBytes <= 0 {
		o.RecentBytes = recentBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &api{Options: o, seed: maphash.MakeSeed(), traces: &recentTraces{most: o.RecentBytes}, factsTurn: make(chan struct{}, 1)}
}

// endpoint is one path of the document.
type endpoint struct {
	path   string // {traceId} stands for one segment
	method string
	params []string // of the query
	serve  func(*api, *call) error
}

// endpoints are all paths of the document and their query parameters.
func endpoints() []endpoint {
	return []endpoint{
		{"/services", "GET", []string{"start", "end", "red", "buckets"}, (*api).services},
		{"/service", "GET", []string{"node", "start", "end", "buckets", "lang"}, (*api).serviceDetail},
		{"/map", "GET", []string{"start", "end", "namespaces", "focus", "depth", "telemetry", "compare", "lang"}, (*api).serviceMap},
		{"/edge", "GET", []string{"from", "to", "class", "start", "end", "buckets", "lang"}, (*api).edgeDetail},
		{"/hops", "GET", []string{"traceId"}, (*api).hops},
		{"/propagation", "GET", []string{"start", "end"}, (*api).propagation},
		{"/operations", "GET", []string{"service", "start", "end"}, (*api).operations},
		{"/attributes/keys", "GET", []string{"scope", "prefix", "service", "limit", "start", "end"}, (*api).keys},
		{"/attributes/values", "GET", []string{"key", "scope", "prefix", "service", "limit", "start", "end"}, (*api).values},
		{"/search", "GET", []string{"filter", "q", "start", "end", "limit", "page"}, (*api).search},
		{"/search/stream", "GET", []string{"filter", "q", "start", "end", "limit", "page"}, (*api).searchStream},
		{"/export", "GET", []string{"filter", "q", "start", "end"}, (*api).export},
		{"/heatmap", "GET", []string{"filter", "q", "start", "end", "columns"}, (*api).heatmap},
		{"/differences", "GET", []string{"filter", "q", "select", "start", "end", "selectStart", "selectEnd", "fields", "values"}, (*api).differences},
		{"/traceql", "GET", []string{"q"}, (*api).checkTraceQL},
		{"/searches", "GET", nil, (*api).savedSearches},
		{"/searches", "POST", nil, (*api).saveSearches},
		{"/traces/{traceId}", "GET", nil, (*api).skeleton},
		{"/traces/{traceId}/spans", "GET", []string{"ids"}, (*api).spans},
		{"/traces/{traceId}/find", "GET", []string{"q"}, (*api).find},
		{"/traces/{traceId}/otlp", "GET", nil, (*api).otlp},
		{"/traces/{traceId}/keep", "POST", nil, (*api).keep},
		{"/receipts", "GET", []string{"start", "end"}, (*api).receipts},
		{"/status", "GET", nil, (*api).status},
		{"/mesh/render", "GET", meshParams, (*api).meshRender},
		{"/mesh/plan", "GET", meshParams, (*api).meshPlan},
		{"/doctor", "GET", doctorParams, (*api).doctorReport},
		{"/doctor", "POST", append([]string{"alone"}, doctorParams...), (*api).doctorFacts},
	}
}

// call is one request on its way.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context
	scope   store.Scope
	params  url.Values
	traceID span.TraceID
	now     time.Time
}

// ServeHTTP finds the endpoint, checks what all of them check and answers its error.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if err := a.serve(w, r); err != nil {
		a.fail(w, r, err)
	}
}

func (a *api) serve(w http.ResponseWriter, r *http.Request) error {
	e, id, err := find(r)
	var method *methodError
	if errors.As(err, &method) {
		w.Header().Set("Allow", method.want)
	}
	if err != nil {
		return err
	}
	c := &call{w: w, r: r, ctx: r.Context(), now: a.Query.Now()}
	if c.params, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return &problem.Problem{Kind: problem.Invalid, Message: "the query of the URL cannot be read", Hint: "write % as %25 and ; as %3B", Err: err}
	}
	if err := checkParams(c.params, e); err != nil {
		return err
	}
	if c.scope, err = a.Scope(r); err != nil {
		return err
	}
	if strings.Contains(e.path, "{traceId}") {
		if c.traceID, err = span.ParseTraceID(id); err != nil {
			return &problem.Problem{Kind: problem.Invalid, Field: "traceId", Message: fmt.Sprintf("%.100q is not a trace id", id), Hint: "a trace id is 1 to 32 hexadecimal digits, not all zero"}
		}
	}
	if e.method == http.MethodPost {
		if err := sameorigin.Check(r, a.Origins...); err != nil {
			return err
		}
	}
	return e.serve(a, c)
}

// find matches path and method. Wildcards match the decoded segment.
func find(r *http.Request) (e endpoint, id string, err error) {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), Prefix)
	all := endpoints()
	if ok {
		got := strings.Split(path, "/")
		var methods []string
		for _, e := range all {
			id, ok := matches(strings.Split(e.path, "/"), got)
			if !ok {
				continue
			}
			if r.Method == e.method || r.Method == http.MethodHead && e.method == http.MethodGet {
				return e, id, nil
			}
			methods = append(methods, e.method)
		}
		if methods != nil {
			return endpoint{}, "", &methodError{strings.Join(methods, ", ")}
		}
	}
	var names []string
	for _, e := range all {
		names = append(names, strings.Split(e.path, "/")[1])
	}
	hint := "the paths are listed in docs/api/openapi.yaml"
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if n := nearest.Word(first, names); n != "" {
		hint = "did you mean " + Prefix + "/" + n + "?"
		if n == first {
			hint = "see " + Prefix + "/" + n + " in docs/api/openapi.yaml"
		}
	}
	return endpoint{}, "", &problem.Problem{Kind: problem.NotFound, Message: fmt.Sprintf("no such path: %.200s", r.URL.Path), Hint: hint}
}

func matches(want, got []string) (id string, ok bool) {
	if len(want) != len(got) {
		return "", false
	}
	for i, w := range want {
		if w == "{traceId}" {
			var err error
			if id, err = url.PathUnescape(got[i]); err != nil {
				return "", false
			}
		} else if w != got[i] {
			return "", false
		}
	}
	return id, true
}

// methodError is a known path asked with another method.
type methodError struct{ want string }

func (e *methodError) Error() string { return "this path takes " + e.want }

// fail writes an error. A client that went away gets nothing.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return
	}
	var p *problem.Problem
	var status int
	var method *methodError
	if errors.As(err, &method) {
		p, status = &problem.Problem{Kind: problem.Invalid, Message: method.Error()}, http.StatusMethodNotAllowed
	} else {
		p = a.told(r, err)
		status = p.Kind.HTTPStatus()
	}
	if p.Kind.Retryable() {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(p.Retry()/time.Second))))
	}
	w.Header().Set("Cache-Control", "no-store")
	send(w, r, status, appendError(nil, p))
}

// told is what a client is told of an error: of internal ones only that the log knows more.
func (a *api) told(r *http.Request, err error) *problem.Problem {
	p := problem.Of(err)
	if p.Kind == problem.Internal {
		a.Log.Error("own API", "path", r.URL.Path, "request", r.Header.Get("X-Request-Id"), "error", err)
		p = &problem.Problem{Kind: problem.Internal, Message: p.Message, Field: p.Field, Hint: "the server's log says why"}
	}
	return p
}
