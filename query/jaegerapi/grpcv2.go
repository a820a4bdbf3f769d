package jaegerapi

import (
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// instant is a time of a request.
type instant struct {
	ns    int64
	given bool
}

// readInstant reads a Timestamp. Go's zero time, the year 1, is what Go clients send for a time they do not set; it becomes
// the smallest number.
func (f field) readInstant() (instant, error) {
	ns, err := f.readTime()
	return instant{ns, ns != math.MinInt64}, err
}

// traceRequest is what GetTrace and ArchiveTrace ask.
type traceRequest struct {
	id         span.TraceID
	start, end instant
	raw        bool
}

func (r *traceRequest) hint() store.TimeRange {
	return hintOf(r.start.ns, r.start.given, r.end.ns, r.end.given)
}

// rest reads the fields that all versions share.
func (r *traceRequest) rest(f field) (err error) {
	switch f.num {
	case 2:
		r.start, err = f.readInstant()
	case 3:
		r.end, err = f.readInstant()
	case 4:
		if err = f.want(protowire.VarintType); err == nil {
			r.raw = f.number != 0
		}
	}
	return err
}

func parseTraceRequest(p []byte) (r traceRequest, err error) {
	err = eachField(p, func(f field) error {
		if f.num != 1 {
			return r.rest(f)
		}
		if err := f.want(protowire.BytesType); err != nil {
			return err
		}
		switch len(f.bytes) {
		case 0:
		case len(r.id):
			copy(r.id[:], f.bytes)
		case len(r.id) / 2:
			r.id = span.TraceID{}
			copy(r.id[8:], f.bytes)
		default:
			return invalid("send 16 bytes", "trace id has %d bytes", len(f.bytes))
		}
		return nil
	})
	if err != nil {
		return r, badMessage(err)
	}
	if r.id.IsZero() {
		return r, invalid("send 16 bytes", "trace id is required")
	}
	return r, nil
}

// getTrace answers GetTrace of api_v2.
func (a *api) getTrace(ctx context.Context, s store.Scope, request []byte, send func([]byte) error) error {
	r, err := parseTraceRequest(request)
	if err != nil {
		return err
	}
	t, err := a.Query.Trace(ctx, s, r.id, r.hint())
	if err != nil {
		return orTraceNotFound(err)
	}
	partial(ctx, t.Done)
	c := modelChunks{send: send}
	c.w.raw = r.raw
	c.trace(t)
	return c.end()
}

// archiveTrace answers ArchiveTrace.
func (a *api) archiveTrace(ctx context.Context, s store.Scope, request []byte) ([]byte, error) {
	r, err := parseTraceRequest(request)
	if err != nil {
		return nil, err
	}
	return nil, a.keep(ctx, s, r.id)
}

// modelChunks sends spans in parts.
type modelChunks struct {
	w    modelWriter
	n    int // spans in the part
	send func([]byte) error
	err  error
}

// trace sends a trace and reports whether the client is still there. A part does not hold spans of two traces.
func (c *modelChunks) trace(t *query.Trace) bool {
	c.w.begin(t)
	if c.w.raw {
		for _, row := range storedRows(t) {
			c.w.storedSpan(int(row))
			if !c.spill(false) {
				return false
			}
		}
		return c.spill(true)
	}
	for i := range t.Rows {
		if t.Rows[i].Span < 0 {
			continue
		}
		c.w.span(i)
		if !c.spill(false) {
			return false
		}
	}
	return c.spill(true)
}

// spill sends what was written if it is enough for a part, or all of it.
func (c *modelChunks) spill(all bool) bool {
	if c.n++; all || c.n >= chunkRows || len(c.w.buf) >= chunkSize {
		if c.err == nil && len(c.w.buf) > 0 {
			c.err = c.send(c.w.buf)
			c.w.buf = nil // it belongs to the connection now
		}
		c.n = 0
	}
	return c.err == nil
}

func (c *modelChunks) end() error { return c.err }

// findTraces answers FindTraces of api_v2.
func (a *api) findTraces(ctx context.Context, s store.Scope, request []byte, send func([]byte) error) error {
	m, err := parseFind(request)
	if err != nil {
		return err
	}
	q, err := m.search(a, true)
	if err != nil {
		return err
	}
	page, err := a.find(ctx, s, &q)
	if err != nil {
		return err
	}
	c := modelChunks{send: send}
	c.w.raw = q.raw
	if err := a.eachFound(ctx, s, page, c.trace); err != nil {
		return err
	}
	partial(ctx, page.Done)
	return c.end()
}

// findRequest is the query of FindTraces in both versions.
type findRequest struct {
	service, operation string
	tags               []tag
	from, to           instant
	atLeast, atMost    int64
	depth              int64
	raw                bool
	filter, pages      bool // v3: a structured filter, pages
	pageSize           uint64
	pageToken          string
}

// parseFind reads the message that holds a query as field 1.
func parseFind(p []byte) (m findRequest, err error) {
	given := false
	err = eachField(p, func(f field) error {
		if f.num != 1 {
			return nil
		}
		given = true
		if err := f.want(protowire.BytesType); err != nil {
			return err
		}
		return eachField(f.bytes, m.read)
	})
	if err != nil {
		return m, badMessage(err)
	}
	if !given {
		return m, invalid("fill in the query", "missing query")
	}
	return m, nil
}

func (m *findRequest) read(f field) (err error) {
	if f.num == 8 || f.num == 9 {
		if err := f.want(protowire.VarintType); err != nil {
			return err
		}
	} else if f.num >= 1 && f.num <= 11 {
		if err := f.want(protowire.BytesType); err != nil {
			return err
		}
	}
	switch f.num {
	case 1:
		m.service = string(f.bytes)
	case 2:
		m.operation = string(f.bytes)
	case 3:
		var t tag
		if t, err = readTag(f.bytes); err == nil {
			m.tags = append(m.tags, t)
		}
	case 4:
		m.from, err = f.readInstant()
	case 5:
		m.to, err = f.readInstant()
	case 6:
		m.atLeast, err = f.readTime()
	case 7:
		m.atMost, err = f.readTime()
	case 8:
		m.depth = int64(int32(f.number))
	case 9:
		m.raw = f.number != 0
	case 10:
		m.filter = true
	case 11:
		m.pages = true
		err = eachField(f.bytes, func(f field) error {
			switch f.num {
			case 1:
				m.pageSize = f.number
			case 2:
				m.pageToken = string(f.bytes)
			}
			return nil
		})
	}
	return err
}

// readTag reads an entry of a map of strings.
func readTag(p []byte) (t tag, err error) {
	err = eachField(p, func(f field) error {
		if f.num > 2 {
			return nil
		}
		if err := f.want(protowire.BytesType); err != nil {
			return err
		}
		if f.num == 1 {
			t.key = string(f.bytes)
		} else {
			t.value = string(f.bytes)
		}
		return nil
	})
	return t, err
}

// search checks a query. In api_v2 times may be missing and the end is inclusive; in api_v3 both are required and the end is
// exclusive.
func (m *findRequest) search(a *api, v2 bool) (q searchQuery, err error) {
	q = searchQuery{service: m.service, operation: m.operation, tags: m.tags, raw: m.raw}
	for _, t := range m.tags {
		if t.key == "" {
			return q, invalid("", "a tag has no key")
		}
	}
	if v2 {
		if !m.to.given {
			m.to = instant{a.Query.Now().UnixNano(), true}
		}
		if !m.from.given {
			m.from = instant{min(m.to.ns, a.Query.Now().UnixNano()) - int64(a.DefaultLookback), true}
		}
		if m.to.ns < math.MaxInt64 {
			m.to.ns++
		}
	}
	switch {
	case !m.from.given || !m.to.given:
		return q, invalid("", "start_time_min and start_time_max are required")
	case m.from.ns >= m.to.ns:
		return q, invalid("", "start_time_min must be before start_time_max")
	case m.atLeast < 0 || m.atMost < 0:
		return q, invalid("", "a duration is negative")
	case m.atMost > 0 && m.atMost < m.atLeast:
		return q, invalid("drop one of them", "duration_max is less than duration_min")
	case m.depth < 0 || m.depth > query.MaxSearchLimit:
		return q, invalid(fmt.Sprintf("use 1 to %d", query.MaxSearchLimit), "search_depth is %d", m.depth)
	}
	q.window = store.TimeRange{From: m.from.ns, To: m.to.ns}
	q.atLeast, q.atMost = time.Duration(m.atLeast), time.Duration(m.atMost)
	if q.limit = int(m.depth); q.limit == 0 {
		q.limit = defaultLimit
	}
	return q, nil
}

// getServices answers GetServices of both versions.
func (a *api) getServices(ctx context.Context, s store.Scope, _ []byte) ([]byte, error) {
	list, done, err := a.Query.ListServices(ctx, s, store.TimeRange{})
	if err != nil {
		return nil, err
	}
	partial(ctx, done)
	names := make([]string, len(list))
	for i, service := range list {
		names[i] = service.Name
	}
	var out []byte
	for _, name := range tidyNames(names) {
		out = appendBytes(out, 1, name)
	}
	return out, nil
}

// readOperations asks for the operations that a request names: service=1, span_kind=2.
func (a *api) readOperations(ctx context.Context, s store.Scope, request []byte) ([]store.Operation, error) {
	var texts [3]string
	err := eachField(request, func(f field) error {
		if f.num > 2 {
			return nil
		}
		if err := f.want(protowire.BytesType); err != nil {
			return err
		}
		texts[f.num] = string(f.bytes)
		return nil
	})
	if err != nil {
		return nil, badMessage(err)
	}
	if texts[1] == "" {
		return nil, invalid("", "parameter 'service' is required")
	}
	list, done, err := a.operationsOf(ctx, s, texts[1], texts[2])
	if err == nil {
		partial(ctx, done)
	}
	return list, err
}

// getOperations answers GetOperations of api_v2: the operations, and their names for older clients.
func (a *api) getOperations(ctx context.Context, s store.Scope, request []byte) ([]byte, error) {
	list, err := a.readOperations(ctx, s, request)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.Name
	}
	var out []byte
	for _, name := range tidyNames(names) {
		out = appendBytes(out, 1, name)
	}
	return appendOperations(out, 2, list, kindWord), nil
}

func appendOperations(dst []byte, num protowire.Number, list []store.Operation, word func(span.Kind) string) []byte {
	for _, o := range list {
		var at int
		dst, at = openField(dst, num)
		dst = closeField(appendText(appendText(dst, 1, o.Name), 2, word(o.Kind)), at)
	}
	return dst
}

// readEdges counts the calls in the window that a request names: start_time=1, end_time=2.
func (a *api) readEdges(ctx context.Context, s store.Scope, request []byte) ([]edge, error) {
	var times [3]instant
	err := eachField(request, func(f field) (err error) {
		if f.num <= 2 {
			times[f.num], err = f.readInstant()
		}
		return err
	})
	switch from, to := times[1], times[2]; {
	case err != nil:
		return nil, badMessage(err)
	case !from.given || !to.given:
		return nil, invalid("", "StartTime and EndTime must be initialized")
	case from.ns > to.ns:
		return nil, invalid("", "StartTime is after EndTime")
	default:
		edges, done, err := a.callEdges(ctx, s, store.TimeRange{From: from.ns, To: after(to.ns)})
		if err == nil {
			partial(ctx, done)
		}
		return edges, err
	}
}

// getDependencies answers GetDependencies of api_v2.
func (a *api) getDependencies(ctx context.Context, s store.Scope, request []byte) ([]byte, error) {
	edges, err := a.readEdges(ctx, s, request)
	return appendEdges(nil, edges), err
}

// appendEdges appends parent=1, child=2, call_count=3 as field 1.
func appendEdges(dst []byte, edges []edge) []byte {
	for _, e := range edges {
		var at int
		dst, at = openField(dst, 1)
		dst = closeField(appendVarint(appendText(appendText(dst, 1, e.parent), 2, e.child), 3, uint64(e.calls)), at)
	}
	return dst
}
