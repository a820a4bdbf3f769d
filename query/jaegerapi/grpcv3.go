package jaegerapi

import (
	"context"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

func (a *api) getOperationsV3(ctx context.Context, s store.Scope, request []byte) ([]byte, error) {
	list, err := a.readOperations(ctx, s, request)
	return appendOperations(nil, 1, list, kindWordV3), err
}

func (a *api) getDependenciesV3(ctx context.Context, s store.Scope, request []byte) ([]byte, error) {
	edges, err := a.readEdges(ctx, s, request)
	return appendEdges(nil, edges), err
}

// getTraceV3 answers GetTrace of api_v3, whose trace id is text.
func (a *api) getTraceV3(ctx context.Context, s store.Scope, request []byte, send func([]byte) error) error {
	var r traceRequest
	text := ""
	err := eachField(request, func(f field) error {
		if f.num != 1 {
			return r.rest(f)
		}
		text = string(f.bytes)
		return f.want(protowire.BytesType)
	})
	if err != nil {
		return badMessage(err)
	}
	if r.id, err = span.ParseTraceID(text); err != nil {
		return invalid("give 1 to 32 hexadecimal digits", "trace_id %q is no trace id", text)
	}
	t, err := a.Query.Trace(ctx, s, r.id, r.hint())
	if err != nil {
		return orTraceNotFound(err)
	}
	partial(ctx, t.Done)
	c := newOTLPChunks(send)
	c.trace(t, r.raw)
	return c.err
}

// findV3 reads a request for a search and runs it.
func (a *api) findV3(ctx context.Context, s store.Scope, request []byte, paged bool) (*store.Page, searchQuery, error) {
	m, err := parseFind(request)
	if err != nil {
		return nil, searchQuery{}, err
	}
	switch {
	case m.filter:
		return nil, searchQuery{}, invalid("use service_name, attributes and duration_min", "structured filters are not enabled")
	case m.pages && (!paged || m.depth != 0 || m.pageToken != ""):
		return nil, searchQuery{}, invalid("use search_depth", "further pages are not supported")
	case m.pages && (m.pageSize == 0 || m.pageSize > query.MaxSearchLimit):
		return nil, searchQuery{}, invalid("", "page_size is %d", m.pageSize)
	case m.pages:
		m.depth = int64(m.pageSize)
	}
	q, err := m.search(a, false)
	if err != nil {
		return nil, q, err
	}
	page, err := a.find(ctx, s, &q)
	return page, q, err
}

// findTracesV3 answers FindTraces of api_v3.
func (a *api) findTracesV3(ctx context.Context, s store.Scope, request []byte, send func([]byte) error) error {
	page, q, err := a.findV3(ctx, s, request, false)
	if err != nil {
		return err
	}
	c := newOTLPChunks(send)
	if err := a.eachFound(ctx, s, page, func(t *query.Trace) bool { return c.trace(t, q.raw) }); err != nil {
		return err
	}
	partial(ctx, page.Done)
	return c.err
}

// findSummaries answers FindTraceSummaries.
func (a *api) findSummaries(ctx context.Context, s store.Scope, request []byte, send func([]byte) error) error {
	page, _, err := a.findV3(ctx, s, request, true)
	if err != nil {
		return err
	}
	orphans, err := a.orphansOf(ctx, s, page)
	if err != nil {
		return err
	}
	partial(ctx, page.Done)
	var part []byte
	for i := range page.Traces {
		part = appendSummary(part, &page.Traces[i], orphans[page.Traces[i].TraceID])
		if len(part) >= chunkSize || i == len(page.Traces)-1 {
			if err := send(part); err != nil {
				return err
			}
			part = nil
		}
	}
	return nil
}

// getCapabilities answers what a search can do: without a service, and all conditions on one span.
func (a *api) getCapabilities(context.Context, store.Scope, []byte) ([]byte, error) {
	dst, at := openField(nil, 1)
	return closeField(appendVarint(appendVarint(dst, 1, 1), 2, 1), at), nil
}

// otlpChunks sends traces as TracesData in parts.
type otlpChunks struct {
	send func([]byte) error
	err  error
}

func newOTLPChunks(send func([]byte) error) *otlpChunks { return &otlpChunks{send: send} }

// trace sends a trace and reports whether the client is still there. Rows of a part are copied together, because OTLP's
// encoder writes whole batches.
func (c *otlpChunks) trace(t *query.Trace, raw bool) bool {
	rows := rowsForOTLP(t, raw)
	for len(rows) > 0 && c.err == nil {
		var part span.Batch
		copier := span.NewCopier(&part)
		copier.Begin(t.Batch)
		for len(rows) > 0 && part.Len() < rowsAtOnce && part.Size() < chunkSize {
			copier.Row(int(rows[0]))
			rows = rows[1:]
		}
		c.err = c.send(otlp.AppendRequest(nil, &part))
	}
	return c.err == nil
}
