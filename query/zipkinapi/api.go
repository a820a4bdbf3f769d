// Package zipkinapi answers Zipkin's query API v2 as Zipkin's own UI (Lens), Grafana and scripts call it, under / and under
// /zipkin. It decodes a request, asks query, and writes spans with the encoder that inverts what Zipkin's receiver did: what
// came in by Zipkin goes out equal in meaning, spans of other origin follow OpenTelemetry's rules for Zipkin exporters.
//
// Statuses and texts of errors are those of Zipkin's server: plain text, 400 for what is malformed, 404 for what is not here.
// Names are stored as they were sent and compared without case, because Zipkin's server lower-cases them. Nothing here
// changes state, and no header lets a page of another origin read an answer.
//
// An answer that a limit of ours cut short carries the header Spanloom-Partial with the reason.
package zipkinapi

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/store"
)

// Options are what the API stands on.
type Options struct {
	Query *query.Query                    // required; its clock is the API's clock
	Log   *slog.Logger                    // nil: silence. Only failures of our own are logged
	Scope func(*http.Request) store.Scope // whose data a request may see; nil: the default tenant's
	// UI is where links to Zipkin's pages lead: the base of Spanloom's own UI, such as "/" or
	// "https://traces.example.com/"; empty: there is none to lead to.
	UI string
	// Health says in words why the store takes no spans now, empty if it does, and what the store is called. nil: always well.
	Health          func() (store, refusing string)
	Version, Commit string
}

// New makes the handler of the query API. It answers GET and HEAD of its own paths and 404 for the rest; see Answers.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Scope == nil {
		o.Scope = func(*http.Request) store.Scope { return store.Scope{Tenant: store.DefaultTenant} }
	}
	if o.Health == nil {
		o.Health = func() (string, string) { return "store", "" }
	}
	return &api{Options: o, counting: make(chan struct{}, 1), oneByOne: newestSpans}
}

type api struct {
	Options
	counting chan struct{} // held by the one request that computes dependencies
	oneByOne int64         // spans that it looks at
	listed   atomic.Pointer[serviceList]
}

// call is one request on its way through the API.
type call struct {
	*http.Request
	params url.Values
	scope  store.Scope
	out    *answer
}

// routes are the paths below / and /zipkin; one ends in a slash if a segment follows.
var routes = map[string]func(*api, *call) error{
	"/api/v2/services":           (*api).services,
	"/api/v2/spans":              (*api).spanNames,
	"/api/v2/remoteServices":     (*api).remoteServices,
	"/api/v2/traces":             (*api).search,
	"/api/v2/trace/":             (*api).trace,
	"/api/v2/traceMany":          (*api).traceMany,
	"/api/v2/dependencies":       (*api).dependencies,
	"/api/v2/autocompleteKeys":   (*api).autocompleteKeys,
	"/api/v2/autocompleteValues": (*api).autocompleteValues,
	"/config.json":               (*api).config,
	"/health":                    (*api).health,
	"/actuator/health":           (*api).health,
	"/info":                      (*api).info,
	"/actuator/info":             (*api).info,
	"/":                          (*api).page,
	"/traces/":                   (*api).page,
	"/dependency":                (*api).page,
	"/traceViewer":               (*api).page,
}

// prefix is the path under which Zipkin serves its UI and the API once more.
const prefix = "/zipkin"

// Answers reports whether a request is for the query API rather than for the receiver on the same port: all of GET but a
// path of spans without serviceName, by which some senders probe the receiver.
func Answers(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	isSpans := strings.HasSuffix(r.URL.Path, "/api/v2/spans") || strings.HasSuffix(r.URL.Path, "/api/v1/spans")
	return !isSpans || r.URL.Query().Has("serviceName")
}

// routeOf finds what answers a path; nil and empty if nothing does. Pages of the UI stand under the prefix only, but for the
// root.
func routeOf(path string) (answer func(*api, *call) error, name string) {
	rest, under := strings.CutPrefix(path, prefix)
	if under = under && (rest == "" || rest[0] == '/'); !under {
		rest = path
	}
	if rest == "" {
		rest = "/"
	}
	name = rest
	for _, parent := range []string{"/api/v2/trace/", "/traces/"} {
		if id, ok := strings.CutPrefix(rest, parent); ok && id != "" && !strings.Contains(id, "/") {
			name = parent
		} else if rest == parent {
			return nil, ""
		}
	}
	isPage := name == "/traces/" || name == "/dependency" || name == "/traceViewer"
	if answer, ok := routes[name]; ok && (under || !isPage) {
		return answer, name
	}
	return nil, ""
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, out: &answer{w: w}}
	if err := a.serve(c); err != nil {
		p := problem.Of(err)
		if p.Kind == problem.Internal && r.Context().Err() == nil {
			a.Log.ErrorContext(r.Context(), "zipkin api", "path", r.URL.Path, "error", err)
		}
		c.out.fail(p)
		return
	}
	c.out.finish()
}

func (a *api) serve(c *call) (err error) {
	answer, _ := routeOf(c.URL.Path)
	if answer == nil {
		return problem.New(problem.NotFound, "404 Not Found: nothing is answered under "+strconv.Quote(c.URL.Path[:min(len(c.URL.Path), 200)]),
			"Zipkin's API stands under /api/v2/services, /spans, /traces, /trace/{id} and /dependencies")
	}
	if c.Method != http.MethodGet && c.Method != http.MethodHead {
		c.out.header().Set("Allow", "GET, HEAD")
		c.out.status = http.StatusMethodNotAllowed
		return problem.New(problem.Invalid, "method "+c.Method+" is not for this path", "use GET")
	}
	if c.params, err = url.ParseQuery(c.URL.RawQuery); err != nil {
		return problem.New(problem.Invalid, fmt.Sprintf("malformed query string: %v", err), "escape & ; % and + in values")
	}
	c.scope = a.Scope(c.Request)
	return answer(a, c)
}
