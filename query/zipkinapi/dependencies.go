package zipkinapi

import (
	"hash/maphash"
	"strconv"

	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// newestSpans is how many spans an answer looks at that is made of single ones.
const newestSpans = 1_000_000

// dependencies answers GET /api/v2/dependencies: calls between services, from the newest spans that started in the window.
// Calls are counted raw.
func (a *api) dependencies(c *call) error {
	if _, err := required(c.params, "endTs"); err != nil {
		return err
	}
	window, err := parseWindow(c.params, a.Query.Now())
	if err != nil {
		return err
	}
	select { // one at a time: each may take some 100 MB
	case a.counting <- struct{}{}:
		defer func() { <-a.counting }()
	case <-c.Context().Done():
		return c.Context().Err()
	}
	l := newLinker()
	var encoder zipkin.Encoder
	done, err := a.Query.ScanBack(c.Context(), c.scope, store.Scan{Range: window, Mode: store.Start, Need: linkNeed()}, newestSpans, func(r store.Rows) {
		for _, row := range r.Rows {
			l.add(&encoder, r.Batch, int(row))
		}
	})
	if err != nil {
		return err
	}
	c.out.partial(done.Complete, done.Reason)
	c.out.buf = append(c.out.buf, '[')
	for i, k := range l.links() {
		if i > 0 {
			c.out.buf = append(c.out.buf, ',')
		}
		dst := otlpjson.AppendQuoted(append(c.out.buf, `{"parent":`...), l.names[k.parent])
		dst = otlpjson.AppendQuoted(append(dst, `,"child":`...), l.names[k.child])
		dst = strconv.AppendInt(append(dst, `,"callCount":`...), k.calls, 10)
		if k.errors > 0 {
			dst = strconv.AppendInt(append(dst, `,"errorCount":`...), k.errors, 10)
		}
		c.out.buf = append(dst, '}')
		c.out.spill()
	}
	c.out.buf = append(c.out.buf, ']')
	return nil
}

// linkNeed is what of a span its links are made of.
func linkNeed() store.Need {
	n := store.Need{Columns: store.ColSpanID | store.ColParent | store.ColKind | store.ColStatus | store.ColMark | store.ColTime |
		store.ColService | store.ColScope | store.ColStatusMessage}
	for _, key := range append(append(zipkin.RemoteFields(), zipkin.EndpointFields()...), "error", "network.peer.port") {
		n.Fields = append(n.Fields, store.Field{In: store.InSpan, Key: key})
	}
	return n
}

// add takes up a row.
func (l *linker) add(x *zipkin.Encoder, b *span.Batch, row int) {
	v := x.View(b, row)
	_, failed := v.Tag("error")
	s := linkSpan{
		trace: b.TraceID[row].Low(), id: b.SpanID[row].Uint64(), parent: b.Parent[row].Uint64(), start: b.Start[row],
		service: l.name(b.Bytes(b.Service[row])), remote: l.name(v.Remote), kind: v.Kind, shared: v.Shared, failed: failed,
	}
	if len(v.LocalIP) > 0 {
		s.address = maphash.Bytes(l.seed, v.LocalIP) | 1
	}
	if s.parent == s.id {
		s.parent = 0
	}
	l.spans = append(l.spans, s)
}
