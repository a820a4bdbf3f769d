package query

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/rollup"
)

// Call is one hop of a trace in full: a call as seen from up to four places.
type Call struct {
	Hop      int32 // number in Row.Hop; -1 where one row is all there is of it
	From, To CallEnd
	Rows     []CallRow // by stage, then start
	Start    int64
	Duration int64 // as the outermost place saw it
	Failed   bool
	Parts    []Part
	Attempts []Attempt // tries, where there are several, or where one is known by its server's span
	Flags    []CallFlag
	Protocol string // http/1.1, grpc, tcp ...; empty if unknown
	Method   string
	Path     string
	Code     string         // status code of HTTP or gRPC, as the outermost place saw it
	Cluster  rollup.Cluster // where the caller's proxy sent it; zero if unknown
	Upstream string         // address of the server as the proxy saw it
	Shared   bool           // client and server share one span id (Zipkin)
	Family   string         // headers that the proxies of this call use, from their tracer: b3 or w3c; empty if unknown
	Missing  []string       // places whose span is expected and not here
}

// CallEnd is who is at an end of a call.
type CallEnd struct {
	Kind               rollup.NodeKind
	Namespace, Name    string
	Service            string // as dialects list it; empty if inferred
	Version, Pod, Node string
}

// CallRow is a row of the trace at its place in the call.
type CallRow struct {
	Row   int32
	Stage string // caller, caller_proxy, callee_proxy, callee
}

// The places of a call.
var stageNames = [...]string{"caller", "caller_proxy", "callee_proxy", "callee"}

// Part is the time between two places, or within the last one. Differences of durations, so that clocks do not matter.
type Part struct {
	Name     string // closed list: see partName
	Duration int64
}

// partName says what lies between a place and the next one that is known; after the last one, what it saw itself.
func partName(from, to int) string {
	switch {
	case to == noStage:
		return [...]string{"beyond_caller", "beyond_caller_proxy", "callee_proxy_and_callee", "callee"}[from]
	case from == stageCaller && to == stageCallerProxy:
		return "caller" // the client library and the way to the sidecar
	case from == stageCallerProxy && to == stageCalleeProxy:
		return "network" // the client's proxy, connections, TLS, the way there and back, waiting between tries
	case from == stageCalleeProxy:
		return "callee_proxy"
	case from == stageCaller && to == stageCalleeProxy:
		return "caller_and_network"
	case from == stageCallerProxy:
		return "network_and_callee_proxy"
	default:
		return "caller_to_callee"
	}
}

// Attempt is one try of a call.
type Attempt struct {
	Row      int32
	Start    int64
	Duration int64
	Failed   bool
	Flag     string
	Code     string
}

// CallFlag is a response flag with the row that carries it.
type CallFlag struct {
	Row  int32
	Flag string
	ResponseFlag
}

// Calls are the hops of a trace in the order of their first row, those with one row too: calls of what sends no spans, and
// calls from outside.
func Calls(t *Trace) []Call {
	var order []int32 // first rows
	rows := make(map[int32][]int32)
	retries := gatewayRetries(t)
	for i := range t.Rows {
		r := &t.Rows[i]
		if stage(r) == noStage {
			continue
		}
		at := int32(-i - 1) // a call of its own
		if r.Hop >= 0 {
			at = r.Hop
		}
		if first, ok := retries[int32(i)]; ok {
			at = callKey(t, first)
		} else if r.Parent >= 0 && r.Hop >= 0 {
			if first, ok := retries[r.Parent]; ok {
				at = callKey(t, first)
			}
		}
		if rows[at] == nil {
			order = append(order, at)
		}
		rows[at] = append(rows[at], int32(i))
	}
	targets := rollup.NewTargets(t.Batch)
	calls := make([]Call, 0, len(order))
	for _, at := range order {
		calls = append(calls, newCall(t, targets, rows[at], max(at, -1)))
	}
	return calls
}

func callKey(t *Trace, row int32) int32 {
	if h := t.Rows[row].Hop; h >= 0 {
		return h
	}
	return -row - 1
}

// gatewayRetries finds the tries of one request that a gateway or waypoint reports as a client span each: siblings below
// its server span, to one cluster, one after the other, all but the last failed. It answers each further try's first one.
func gatewayRetries(t *Trace) map[int32]int32 {
	found := make(map[int32]int32)
	type last struct{ row, first int32 }
	open := make(map[int32]last) // parent -> its last client row
	for i := range t.Rows {
		r := &t.Rows[i]
		if r.Parent < 0 || stage(r) != stageCallerProxy || stage(&t.Rows[r.Parent]) != stageCalleeProxy || t.Rows[r.Parent].Service != r.Service {
			continue
		}
		before, ok := open[r.Parent]
		now := last{int32(i), int32(i)}
		if ok {
			p := &t.Rows[before.row]
			if p.Flags&FlagError != 0 && p.End() <= r.Start+skewTolerance && t.attr(p, "upstream_cluster") == t.attr(r, "upstream_cluster") && perTry(t, r) {
				now.first = before.first
				found[int32(i)] = before.first
			}
		}
		open[r.Parent] = now
	}
	return found
}

// perTry reports whether a proxy's client span stands for one try: such a span has no node id.
func perTry(t *Trace, r *Row) bool { return t.attr(r, "node_id") == "" }

// attr is a span's string, empty if absent. Numbers are written out.
func (t *Trace) attr(r *Row, keys ...string) string {
	if r.Span < 0 {
		return ""
	}
	for _, key := range keys {
		a, ok := t.Batch.FindAttr(t.Batch.SpanAttrs[r.Span], key)
		switch {
		case !ok:
		case a.Type == span.TypeString:
			return t.Batch.String(a.Value().Str())
		case a.Type == span.TypeInt:
			return strconv.FormatInt(a.Value().Int(), 10)
		}
	}
	return ""
}

func (t *Trace) resourceAttr(r *Row, key string) string {
	if r.Span < 0 {
		return ""
	}
	return string(t.Batch.FindString(t.Batch.Resources[t.Batch.Resource[r.Span]].Attrs, key))
}

func newCall(t *Trace, targets *rollup.Targets, rows []int32, hop int32) Call {
	slices.SortStableFunc(rows, func(x, y int32) int {
		return cmp.Or(cmp.Compare(stage(&t.Rows[x]), stage(&t.Rows[y])), cmp.Compare(t.Rows[x].Start, t.Rows[y].Start))
	})
	c := Call{Hop: hop}
	var at [4][]*Row
	for _, i := range rows {
		r := &t.Rows[i]
		s := stage(r)
		at[s] = append(at[s], r)
		c.Rows = append(c.Rows, CallRow{i, stageNames[s]})
		c.Shared = c.Shared || r.Flags&FlagShared != 0
		for _, f := range strings.Split(t.attr(r, "response_flags"), ",") {
			if f != "" && f != "-" {
				c.Flags = append(c.Flags, CallFlag{i, f, FlagWords(f)})
			}
		}
	}
	outer, last := &t.Rows[rows[0]], &t.Rows[rows[0]]
	c.Start, c.Duration, c.Failed = outer.Start, outer.Duration, outer.Flags&FlagError != 0
	if stage(outer) == stageCallerProxy { // several client spans of one call: the last one decides
		last = at[stageCallerProxy][len(at[stageCallerProxy])-1]
		c.Duration, c.Failed = last.End()-outer.Start, last.Flags&FlagError != 0
	}
	c.Parts = parts(&at, c.Duration)
	c.Attempts = triesOf(t, rows, &at)
	c.describe(t, last, &at)
	c.ends(t, targets, &at)
	c.missing(&at)
	return c
}

// parts cut the time of a call. Of tries all durations count together.
func parts(at *[4][]*Row, whole int64) (list []Part) {
	from, took := noStage, int64(0)
	for s := range at {
		if len(at[s]) == 0 {
			continue
		}
		sum := int64(0)
		for _, r := range at[s] {
			sum += r.Duration
		}
		if from == noStage {
			sum = whole
		} else {
			list = append(list, Part{partName(from, s), max(took-sum, 0)})
		}
		from, took = s, sum
	}
	return append(list, Part{partName(from, noStage), took})
}

// triesOf are the rows of the first place that shows tries: a gateway's client spans, else the servers' spans.
func triesOf(t *Trace, rows []int32, at *[4][]*Row) (list []Attempt) {
	show := stageCallerProxy
	if len(at[stageCallerProxy]) < 2 {
		if show = stageCalleeProxy; len(at[show]) == 0 {
			show = stageCallee
		}
	}
	if show > stageCallerProxy && len(at[stageCaller])+len(at[stageCallerProxy]) == 0 {
		return nil // the server's side alone does not know of tries
	}
	for _, i := range rows {
		r := &t.Rows[i]
		if stage(r) == show {
			list = append(list, Attempt{i, r.Start, r.Duration, r.Flags&FlagError != 0, noDash(t.attr(r, "response_flags")), code(t, r)})
		}
	}
	return list
}

func noDash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

func code(t *Trace, r *Row) string {
	if grpc := t.attr(r, "grpc.status_code", "rpc.grpc.status_code", "rpc.response.status_code"); grpc != "" {
		return "grpc " + grpc
	}
	return t.attr(r, "http.response.status_code", "http.status_code")
}

// describe reads what the spans say of the request; the outer places come first, the proxy's words where it has them.
func (c *Call) describe(t *Trace, last *Row, at *[4][]*Row) {
	c.Code = code(t, last)
	for s := range at {
		for _, r := range at[s] {
			set := func(field *string, value string) {
				if *field == "" {
					*field = noDash(value)
				}
			}
			set(&c.Protocol, protocol(t, r))
			set(&c.Method, t.attr(r, "http.request.method", "http.method"))
			set(&c.Path, path(t.attr(r, "url.path", "http.target", "url.full", "http.url")))
			set(&c.Code, code(t, r))
			if s == stageCallerProxy {
				if c.Cluster == (rollup.Cluster{}) {
					c.Cluster = rollup.ParseCluster(t.attr(r, "upstream_cluster"))
				}
				set(&c.Upstream, t.attr(r, "upstream_address", "server.address"))
			}
			if r.Flags&FlagProxy != 0 && c.Family == "" {
				c.Family = headerFamily(t, r)
			}
		}
	}
}

// headerFamily: Envoy's OpenTelemetry tracer speaks W3C's traceparent, its Zipkin tracer B3.
func headerFamily(t *Trace, r *Row) string {
	if t.resourceAttr(r, "telemetry.sdk.name") != "" {
		return "w3c"
	}
	return "b3"
}

func protocol(t *Trace, r *Row) string {
	switch {
	case t.attr(r, "grpc.status_code", "rpc.grpc.status_code") != "" || t.attr(r, "rpc.system", "rpc.system.name") == "grpc":
		return "grpc"
	case t.attr(r, "http.protocol") != "":
		return strings.ToLower(t.attr(r, "http.protocol"))
	case t.attr(r, "db.system", "db.system.name") != "":
		return t.attr(r, "db.system", "db.system.name")
	case t.attr(r, "http.request.method", "http.method") != "":
		return "http"
	}
	return ""
}

// path of a URL without its query.
func path(url string) string {
	if i := strings.Index(url, "://"); i >= 0 {
		url = url[i+3:]
		if i = strings.IndexByte(url, '/'); i < 0 {
			return "/"
		}
		url = url[i:]
	}
	url, _, _ = strings.Cut(url, "?")
	return url
}

// ends says who called whom: by spans where there are some, else by what the other side says.
func (c *Call) ends(t *Trace, targets *rollup.Targets, at *[4][]*Row) {
	for s := range at {
		if len(at[s]) == 0 {
			continue
		}
		end := endOf(t, at[s][0])
		switch {
		case s <= stageCallerProxy && (c.From.Service == "" || s == stageCallerProxy && c.From.Namespace == ""):
			c.From = end
		case s >= stageCalleeProxy && c.To.Service == "":
			c.To = end
		}
		side := &c.From
		if s >= stageCalleeProxy {
			side = &c.To
		}
		side.fill(end)
	}
	if c.From.Service == "" {
		c.From = c.callerOf(t, at)
	}
	if c.To.Service == "" {
		for _, s := range []int{stageCaller, stageCallerProxy} {
			for _, r := range at[s] {
				if n := targets.Of(int(r.Span)); c.To.Name == "" || c.To.Kind == rollup.KindUnknown {
					c.To = CallEnd{Kind: n.Kind, Namespace: n.Namespace, Name: n.Name}
				}
			}
		}
	}
}

// fill adds what another place of the same end knows.
func (e *CallEnd) fill(o CallEnd) {
	if e.Version == "" {
		e.Version = o.Version
	}
	if e.Pod == "" {
		e.Pod = o.Pod
	}
	if e.Node == "" {
		e.Node = o.Node
	}
}

// callerOf is who called where no client's span is here: the workload above, else somebody without spans.
func (c *Call) callerOf(t *Trace, at *[4][]*Row) CallEnd {
	for s := range at {
		for _, r := range at[s] {
			if r.Parent >= 0 && t.Rows[r.Parent].Span >= 0 {
				return endOf(t, &t.Rows[r.Parent])
			}
		}
	}
	return CallEnd{Kind: rollup.KindClient}
}

func endOf(t *Trace, r *Row) CallEnd {
	s := t.Services[r.Service]
	e := CallEnd{Kind: rollup.KindService, Namespace: s.Namespace, Name: s.Group, Service: s.Name, Version: t.attr(r, "istio.canonical_revision")}
	if e.Version == "" {
		e.Version = t.resourceAttr(r, "service.version")
	}
	id := strings.Split(t.attr(r, "node_id"), "~")
	if len(id) > 2 {
		e.Pod, _, _ = strings.Cut(id[2], ".")
	}
	if r.Flags&FlagProxy != 0 {
		switch proxyKind(t, r) {
		case "router":
			e.Kind = rollup.KindGateway
		case "waypoint":
			e.Kind = rollup.KindWaypoint
		}
	}
	if e.Pod == "" {
		e.Pod = t.resourceAttr(r, "k8s.pod.name")
	}
	e.Node = t.resourceAttr(r, "k8s.node.name")
	return e
}

// proxyKind is what a proxy is; the span of a try has no node id, the one above it has.
func proxyKind(t *Trace, r *Row) string {
	id := t.attr(r, "node_id")
	if id == "" && r.Parent >= 0 && t.Rows[r.Parent].Service == r.Service {
		id = t.attr(&t.Rows[r.Parent], "node_id")
	}
	kind, _, _ := strings.Cut(id, "~")
	return kind
}

// missing names the places that ought to have a span: beside an application that reports one end its sidecar, if the trace
// has sidecars of that workload; and a callee of the mesh that no span shows.
func (c *Call) missing(at *[4][]*Row) {
	switch {
	case len(at[stageCaller])+len(at[stageCallerProxy]) == 0 && c.From.Kind != rollup.KindClient:
		c.Missing = append(c.Missing, "caller")
	case len(at[stageCalleeProxy])+len(at[stageCallee]) == 0 && c.To.Kind == rollup.KindService && !c.neverArrived():
		c.Missing = append(c.Missing, "callee")
	}
}

// neverArrived: the flags say that no server saw the request.
func (c *Call) neverArrived() bool {
	for _, f := range c.Flags {
		switch f.Flag {
		case "UF", "UH", "NR", "NC", "FI", "UO", "RL", "DF", "UAEX":
			return true
		}
	}
	return false
}
