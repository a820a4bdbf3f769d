package jaegerapi

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

const (
	dependenciesLookback = 24 * time.Hour
	dependenciesSpans    = 1_000_000        // rows that one answer looks at, 56 bytes each
	dependenciesFirst    = time.Minute      // the first stretch that is read; each further one is twice as long
	dependenciesTime     = 10 * time.Second // after which no further stretch is begun (the clock is Query's)
)

// dependencies answers GET /api/dependencies: calls between services, from the spans that started in the window. A call
// is a span whose parent is of another service; copies of a span count once, and a span counts as many calls as it stands
// for by its weight. See callEdges.
func (a *api) dependencies(c *call) error {
	end, hasEnd, err := parseInstant(c.params, "endTs")
	if err != nil {
		return err
	}
	if !hasEnd {
		end = a.Query.Now().UnixNano()
	}
	lookback, err := parseMillis(c, "lookback", dependenciesLookback)
	if err != nil {
		return err
	}
	from := end - lookback
	if from > end { // before the beginning of time
		from = math.MinInt64
	}
	edges, done, err := a.callEdges(c.Context(), c.scope, store.TimeRange{From: from, To: after(end)})
	if err != nil {
		return err
	}
	c.out.partial(done.Complete, done.Reason)
	service := c.params.Get("service")
	c.out.open()
	c.out.buf = append(c.out.buf, '[')
	n := 0
	for _, e := range edges {
		if service != "" && e.parent != service && e.child != service {
			continue
		}
		if n++; n > 1 {
			c.out.buf = append(c.out.buf, ',')
		}
		dst := otlpjson.AppendQuoted(append(c.out.buf, `{"parent":`...), e.parent)
		dst = otlpjson.AppendQuoted(append(dst, `,"child":`...), e.child)
		dst = strconv.AppendInt(append(dst, `,"callCount":`...), e.calls, 10)
		c.out.buf = append(dst, '}')
		c.out.spill()
	}
	c.out.buf = append(c.out.buf, ']')
	c.out.end(0, nil)
	return nil
}

// callEdges counts the calls between services in a window, which is read from its end, until it or the budget is used up: then
// the answer is partial.
func (a *api) callEdges(ctx context.Context, s store.Scope, window store.TimeRange) ([]edge, store.Done, error) {
	done := store.Done{Complete: true}
	if a.Reader == nil {
		return nil, done, problem.New(problem.Unsupported, "dependencies are not computed here", "look at the map in Spanloom's own UI")
	}
	select { // one at a time: each may take some 60 MB
	case a.counting <- struct{}{}:
		defer func() { <-a.counting }()
	case <-ctx.Done():
		return nil, done, ctx.Err()
	}
	calls := callGraph{services: make(map[string]uint32)}
	begun := a.Query.Now()
	stretch := int64(dependenciesFirst)
	for to := window.To; to > window.From && to > 0; stretch *= 2 { // no span starts before 1970
		start := max(window.From, to-stretch)
		full, err := calls.read(ctx, s, a.Reader, store.TimeRange{From: start, To: to})
		if err != nil {
			return nil, done, err
		}
		if full {
			done = store.Done{Reason: fmt.Sprintf("stopped after %d spans", dependenciesSpans)}
			break
		}
		if to = start; to > window.From && a.Query.Now().Sub(begun) > dependenciesTime {
			done = store.Done{Reason: "stopped at spans of " + time.Unix(0, to).UTC().Format(time.RFC3339) + " after " + dependenciesTime.String()}
			break
		}
	}
	return calls.edges(), done, nil
}

func parseMillis(c *call, name string, fallback time.Duration) (int64, error) {
	text := c.params.Get(name)
	if text == "" {
		return int64(fallback), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, invalid("give milliseconds", "unable to parse param '%s': %q is not a positive integer", name, text)
	}
	if n > math.MaxInt64/1_000_000 {
		return math.MaxInt64, nil
	}
	return n * 1_000_000, nil
}

// callGraph gathers what of spans says who called whom.
type callGraph struct {
	spans    []caller
	services map[string]uint32
	names    []string
}

// caller is a span cut down to its links.
type caller struct {
	trace      uint64 // lower half: twins are one
	id, parent uint64
	start      uint64
	weight     float64
	service    uint32
	kind       span.Kind
	shared     bool
}

var callColumns = store.Need{Columns: store.ColSpanID | store.ColParent | store.ColKind | store.ColMark | store.ColTime | store.ColWeight | store.ColService}

// read adds the spans that started in a range and reports whether there was no room for all.
func (g *callGraph) read(ctx context.Context, s store.Scope, reader store.Reader, r store.TimeRange) (full bool, err error) {
	for rows, err := range reader.Scan(ctx, s, &store.Scan{Range: r, Mode: store.Start, Need: callColumns}) {
		if err != nil {
			return false, err
		}
		b := rows.Batch
		for _, row := range rows.Rows {
			if len(g.spans) >= dependenciesSpans {
				return true, nil
			}
			g.spans = append(g.spans, caller{
				trace: b.TraceID[row].Low(), id: b.SpanID[row].Uint64(), parent: b.Parent[row].Uint64(), start: b.Start[row],
				weight: b.Weight[row], service: g.service(b.Bytes(b.Service[row])), kind: b.Kind[row], shared: b.Mark[row]&span.MarkShared != 0,
			})
		}
	}
	return false, ctx.Err()
}

func (g *callGraph) service(name []byte) uint32 {
	i, ok := g.services[string(name)]
	if !ok {
		i = uint32(len(g.names))
		g.names = append(g.names, string(name))
		g.services[string(name)] = i
	}
	return i
}

// serves orders the halves of a shared id: the client's first.
func (s *caller) serves() bool {
	return s.shared || s.kind == span.KindServer || s.kind == span.KindConsumer
}

type edge struct {
	parent, child string
	calls         int64
}

// edges counts the calls, sorted by parent, then child. Cost: sorting the spans by trace and id, then one pass.
func (g *callGraph) edges() []edge {
	compareID := func(s, o *caller) int { return cmp.Or(cmp.Compare(s.trace, o.trace), cmp.Compare(s.id, o.id)) }
	slices.SortFunc(g.spans, func(x, y caller) int {
		rank := func(s *caller) int {
			if s.serves() {
				return 1
			}
			return 0
		}
		return cmp.Or(compareID(&x, &y), cmp.Compare(rank(&x), rank(&y)), cmp.Compare(x.kind, y.kind),
			cmp.Compare(x.service, y.service), cmp.Compare(x.start, y.start))
	})
	g.spans = slices.CompactFunc(g.spans, func(x, y caller) bool {
		return compareID(&x, &y) == 0 && x.kind == y.kind && x.service == y.service && x.start == y.start
	})
	weights := make(map[[2]uint32]float64)
	for i := range g.spans {
		s := &g.spans[i]
		if parent := g.parent(i); parent != nil && parent.service != s.service {
			weights[[2]uint32{parent.service, s.service}] += s.weight
		}
	}
	list := make([]edge, 0, len(weights))
	for pair, w := range weights {
		list = append(list, edge{g.names[pair[0]], g.names[pair[1]], int64(math.Round(w))})
	}
	slices.SortFunc(list, func(x, y edge) int { return cmp.Or(cmp.Compare(x.parent, y.parent), cmp.Compare(x.child, y.child)) })
	return list
}

// parent finds the caller of a span: the client half of its own id, else the span its parent id names, of two halves
// the serving one. nil if there is none here.
func (g *callGraph) parent(i int) *caller {
	s := &g.spans[i]
	if s.serves() {
		if first := g.find(s.trace, s.id); first < len(g.spans) && first < i && !g.spans[first].serves() {
			return &g.spans[first]
		}
	}
	if s.parent == 0 || s.parent == s.id {
		return nil
	}
	at := g.find(s.trace, s.parent+1) - 1
	if s.parent == math.MaxUint64 {
		at = g.find(s.trace+1, 0) - 1
	}
	if at < 0 || g.spans[at].trace != s.trace || g.spans[at].id != s.parent {
		return nil
	}
	return &g.spans[at]
}

// find is the first span that does not stand before a trace and id.
func (g *callGraph) find(trace, id uint64) int {
	i, _ := slices.BinarySearchFunc(g.spans, caller{trace: trace, id: id}, func(s, o caller) int {
		return cmp.Or(cmp.Compare(s.trace, o.trace), cmp.Compare(s.id, o.id))
	})
	return i
}
