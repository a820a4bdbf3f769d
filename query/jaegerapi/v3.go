package jaegerapi

import (
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// API v3 over HTTP: OTLP JSON for traces, camelCase names, snake_case as aliases. Its errors have a form of their own.

// errNoTraces is Jaeger's own text for an empty answer.
var errNoTraces = &problem.Problem{Kind: problem.NotFound, Message: "No traces found"}

// failV3 replaces the answer by an error in v3's form.
func (o *answer) failV3(p *problem.Problem) {
	o.buf = strconv.AppendInt(append(o.buf[:0], `{"error":{"httpCode":`...), int64(o.status), 10)
	o.buf = append(otlpjson.AppendQuoted(append(o.buf, `,"message":`...), problemText(p)), `}}`...)
	o.send(true)
}

// param reads a parameter under its name or its alias; either may be empty.
func param(v url.Values, name, alias string) string {
	if text := v.Get(name); text != "" {
		return text
	}
	return v.Get(alias)
}

// malformed is the error of a parameter of v3.
func malformed(name, hint, format string, args ...any) error {
	return invalid(hint, "malformed parameter "+name+": "+format, args...)
}

// parseTime reads an instant. A + that was not escaped arrives as a space: Grafana builds these parameters so.
func parseTime(v url.Values, name, alias string) (ns int64, given bool, err error) {
	text := param(v, name, alias)
	if text == "" {
		return 0, false, nil
	}
	at, err := time.Parse(time.RFC3339Nano, strings.ReplaceAll(text, " ", "+"))
	if err != nil {
		return 0, false, malformed(name, "write 2026-01-02T15:04:05.999999999Z", "%q is no time", text)
	}
	switch year := at.Year(); {
	case year < 1678:
		return math.MinInt64, true, nil
	case year > 2261:
		return math.MaxInt64, true, nil
	}
	return at.UnixNano(), true, nil
}

// parseSearchV3 reads query.* of a search.
func parseSearchV3(v url.Values) (q searchQuery, err error) {
	q.service, q.operation = param(v, "query.serviceName", "query.service_name"), param(v, "query.operationName", "query.operation_name")
	if v.Get("query.filter") != "" {
		return q, malformed("query.filter", "use query.serviceName, query.attributes and query.durationMin", "structured filters are not enabled")
	}
	if v.Has("query.pagination.pageSize") || v.Has("query.pagination.pageToken") || v.Has("query.pagination.page_size") || v.Has("query.pagination.page_token") {
		return q, malformed("query.pagination", "use query.searchDepth", "pages are not supported")
	}
	from, hasFrom, err := parseTime(v, "query.startTimeMin", "query.start_time_min")
	if err != nil {
		return q, err
	}
	to, hasTo, err := parseTime(v, "query.startTimeMax", "query.start_time_max")
	switch {
	case err != nil:
		return q, err
	case !hasFrom || !hasTo:
		return q, invalid("times are RFC 3339", "query.startTimeMin and query.startTimeMax are required")
	case from >= to:
		return q, invalid("", "query.startTimeMin must be before query.startTimeMax")
	}
	q.window = store.TimeRange{From: from, To: to}
	if q.atLeast, err = parseDurationV3(v, "query.durationMin", "query.duration_min"); err != nil {
		return q, err
	}
	if q.atMost, err = parseDurationV3(v, "query.durationMax", "query.duration_max"); err != nil {
		return q, err
	}
	if q.atMost > 0 && q.atMost < q.atLeast {
		return q, invalid("drop one of them", "query.durationMax %s is less than query.durationMin %s", q.atMost, q.atLeast)
	}
	depth := param(v, "query.searchDepth", "query.search_depth")
	if depth == "" {
		depth = v.Get("query.num_traces")
	}
	if q.limit, err = parseLimit(url.Values{"limit": {depth}}); err != nil {
		return q, malformed("query.searchDepth", "use 1 to "+strconv.Itoa(query.MaxSearchLimit), "%q", depth)
	}
	if q.raw, err = parseBoolV3(v, "query.rawTraces", "query.raw_traces"); err != nil {
		return q, err
	}
	if text := v.Get("query.attributes"); text != "" {
		if q.tags, err = parseTags(url.Values{"tags": {text}}); err != nil {
			return q, malformed("query.attributes", `write {"http.status_code":"503"}`, "%v", problem.Of(err).Message)
		}
	}
	return q, nil
}

func parseDurationV3(v url.Values, name, alias string) (time.Duration, error) {
	text := param(v, name, alias)
	d, err := parseDuration(url.Values{name: {text}}, name)
	if err != nil {
		return 0, malformed(name, "durations have a unit: 500us, 20ms, 1.2s", "%q is no duration", text)
	}
	return d, nil
}

func parseBoolV3(v url.Values, name, alias string) (bool, error) {
	text := param(v, name, alias)
	b, err := parseBool(url.Values{name: {text}}, name)
	if err != nil {
		return false, malformed(name, "use true or false", "%q", text)
	}
	return b, nil
}

// servicesV3 answers GET /api/v3/services.
func (a *api) servicesV3(c *call) error {
	list, done, err := a.Query.ListServices(c.Context(), c.scope, store.TimeRange{})
	if err != nil {
		return err
	}
	c.out.partial(done.Complete, done.Reason)
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Name
	}
	c.out.buf = append(c.out.buf, `{"services":`...)
	c.out.list(names)
	c.out.buf = append(c.out.buf, '}')
	return nil
}

// operationsV3 answers GET /api/v3/operations?service=&spanKind=.
func (a *api) operationsV3(c *call) error {
	service := c.params.Get("service")
	if service == "" {
		return invalid("", "parameter 'service' is required")
	}
	ops, done, err := a.operationsOf(c.Context(), c.scope, service, param(c.params, "spanKind", "span_kind"))
	if err != nil {
		return err
	}
	c.out.partial(done.Complete, done.Reason)
	c.out.buf = append(c.out.buf, `{"operations":[`...)
	for i, o := range ops {
		if i > 0 {
			c.out.buf = append(c.out.buf, ',')
		}
		c.out.buf = otlpjson.AppendQuoted(append(c.out.buf, `{"name":`...), o.Name)
		c.out.buf = append(append(append(c.out.buf, `,"spanKind":"`...), kindWordV3(o.Kind)...), `"}`...)
		c.out.spill()
	}
	c.out.buf = append(c.out.buf, `]}`...)
	return nil
}

// kindWordV3 is a kind as v3 writes it: never empty.
func kindWordV3(k span.Kind) string {
	if word := kindWord(k); word != "" {
		return word
	}
	return span.KindInternal.String()
}

// searchV3 answers GET /api/v3/traces.
func (a *api) searchV3(c *call) error {
	q, err := parseSearchV3(c.params)
	if err != nil {
		return err
	}
	page, err := a.find(c.Context(), c.scope, &q)
	if err != nil {
		return err
	}
	c.out.partial(page.Complete, page.Reason)
	w := otlpWriter{out: c.out}
	if err := a.eachFound(c.Context(), c.scope, page, func(t *query.Trace) bool { return w.next(t, q.raw) }); err != nil {
		return err
	}
	c.out.partial(page.Complete, page.Reason) // where nothing was sent yet
	return w.end()
}

// traceV3 answers GET /api/v3/traces/{trace_id}.
func (a *api) traceV3(c *call) error {
	id, err := span.ParseTraceID(c.segment)
	if err != nil {
		return malformed("trace_id", "give 1 to 32 hexadecimal digits", "%q is no trace id", c.segment)
	}
	raw, err := parseBoolV3(c.params, "rawTraces", "raw_traces")
	if err != nil {
		return err
	}
	hint, err := parseHintV3(c.params)
	if err != nil {
		return err
	}
	t, err := a.Query.Trace(c.Context(), c.scope, id, hint)
	if err != nil {
		if problem.Of(err).Kind == problem.NotFound {
			return errNoTraces
		}
		return err
	}
	c.out.partial(t.Complete, t.Reason)
	w := otlpWriter{out: c.out}
	w.next(t, raw)
	return w.end()
}

// parseHintV3 reads the range that may narrow a look-up by id.
func parseHintV3(v url.Values) (store.TimeRange, error) {
	from, hasFrom, err := parseTime(v, "startTime", "start_time")
	if err != nil {
		return store.TimeRange{}, err
	}
	to, hasTo, err := parseTime(v, "endTime", "end_time")
	if err != nil {
		return store.TimeRange{}, err
	}
	if hasFrom && hasTo && to < from {
		return store.TimeRange{}, invalid("leave both out", "endTime is before startTime")
	}
	return hintOf(from, hasFrom, to, hasTo), nil
}

// summaries answers GET /api/v3/trace-summaries.
func (a *api) summaries(c *call) error {
	q, err := parseSearchV3(c.params)
	if err != nil {
		return err
	}
	page, err := a.find(c.Context(), c.scope, &q)
	if err != nil {
		return err
	}
	orphans, err := a.orphansOf(c.Context(), c.scope, page)
	if err != nil {
		return err
	}
	c.out.partial(page.Complete, page.Reason)
	c.out.buf = append(c.out.buf, `{"summaries":[`...)
	for i := range page.Traces {
		if i > 0 {
			c.out.buf = append(c.out.buf, ',')
		}
		c.out.buf = appendSummaryJSON(c.out.buf, &page.Traces[i], orphans[page.Traces[i].TraceID])
		c.out.spill()
	}
	c.out.buf = append(c.out.buf, `]}`...)
	return nil
}

// capabilities answers GET /api/v3/capabilities, as getCapabilities does.
func (a *api) capabilities(c *call) error {
	c.out.buf = append(c.out.buf, `{"search":{"withoutServiceName":true,"sameSpanConjunction":true}}`...)
	return nil
}

// dependenciesV3 answers GET /api/v3/dependencies.
func (a *api) dependenciesV3(c *call) error {
	from, hasFrom, err := parseTime(c.params, "startTime", "start_time")
	if err != nil {
		return err
	}
	to, hasTo, err := parseTime(c.params, "endTime", "end_time")
	switch {
	case err != nil:
		return err
	case !hasFrom || !hasTo:
		return invalid("times are RFC 3339", "startTime and endTime are required")
	case from >= to:
		return invalid("", "startTime must be before endTime")
	}
	edges, done, err := a.callEdges(c.Context(), c.scope, store.TimeRange{From: from, To: to})
	if err != nil {
		return err
	}
	c.out.partial(done.Complete, done.Reason)
	c.out.buf = append(c.out.buf, `{"dependencies":[`...)
	for i, e := range edges {
		if i > 0 {
			c.out.buf = append(c.out.buf, ',')
		}
		dst := otlpjson.AppendQuoted(append(c.out.buf, `{"parent":`...), e.parent)
		dst = otlpjson.AppendQuoted(append(dst, `,"child":`...), e.child)
		c.out.buf = append(strconv.AppendInt(append(dst, `,"callCount":"`...), e.calls, 10), `"}`...)
		c.out.spill()
	}
	c.out.buf = append(c.out.buf, `]}`...)
	return nil
}

// rowsAtOnce is how many rows of a trace are written between two looks at the client.
const rowsAtOnce = 500

// otlpWriter writes traces as the ResourceSpans of one list.
type otlpWriter struct {
	out     *answer
	written bool
}

// next writes a trace. It reports whether the client is still there.
func (w *otlpWriter) next(t *query.Trace, raw bool) bool {
	rows := rowsForOTLP(t, raw)
	for len(rows) > 0 {
		n := min(len(rows), rowsAtOnce)
		open := `{"result":{"resourceSpans":`
		if w.written {
			open = ","
		}
		w.out.buf = append(w.out.buf, open...)
		at := len(w.out.buf)
		w.out.buf = otlpjson.AppendResourceSpans(w.out.buf, t.Batch, rows[:n])
		if w.written { // go on with the list that is open
			w.out.buf = append(w.out.buf[:at], w.out.buf[at+1:]...)
		}
		w.out.buf = w.out.buf[:len(w.out.buf)-1]
		w.written, rows = true, rows[n:]
		if !w.out.spill() {
			return false
		}
	}
	return true
}

func (w *otlpWriter) end() error {
	if !w.written {
		return errNoTraces
	}
	w.out.buf = append(w.out.buf, `]}}`...)
	return nil
}
