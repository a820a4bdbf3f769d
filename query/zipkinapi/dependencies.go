package zipkinapi

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/store"
)

const (
	linkedSpans  = 1_000_000        // rows that one answer looks at, 64 bytes each
	linkedFirst  = time.Minute      // the first stretch that is read; each further one is twice as long
	linkedWithin = 10 * time.Second // after which no further stretch is begun (the clock is Query's)
)

// dependencies answers GET /api/v2/dependencies: calls between services, from the spans that started in the window, which is
// read from its end until it or the budget is used up: then the answer is partial. Calls are counted raw.
func (a *api) dependencies(c *call) error {
	if a.Reader == nil {
		return problem.New(problem.Unsupported, "dependencies are not computed here", "look at the map in Spanloom's own UI")
	}
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
	l, begun := newLinker(), a.Query.Now()
	stretch := int64(linkedFirst)
	for to := window.To; to > window.From; stretch *= 2 {
		from := max(window.From, to-stretch)
		full, err := a.readLinks(c, l, store.TimeRange{From: from, To: to})
		if err != nil {
			return err
		}
		if full {
			c.out.partial(false, fmt.Sprintf("stopped after %d spans", linkedSpans))
			break
		}
		if to = from; to > window.From && a.Query.Now().Sub(begun) > linkedWithin {
			c.out.partial(false, "stopped at spans of "+time.Unix(0, to).UTC().Format(time.RFC3339)+" after "+linkedWithin.String())
			break
		}
	}
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

// readLinks adds the spans that started in a range and reports whether there was no room for all.
func (a *api) readLinks(c *call, l *linker, r store.TimeRange) (full bool, err error) {
	var encoder zipkin.Encoder
	for rows, err := range a.Reader.Scan(c.Context(), c.scope, &store.Scan{Range: r, Mode: store.Start, Need: linkNeed()}) {
		if err != nil {
			return false, err
		}
		b := rows.Batch
		for _, row := range rows.Rows {
			if len(l.spans) >= linkedSpans {
				return true, nil
			}
			v := encoder.View(b, int(row))
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
	}
	return false, c.Context().Err()
}
