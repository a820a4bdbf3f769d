package jaegerapi

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/store"
)

const dependenciesLookback = 24 * time.Hour

// dependencies answers GET /api/dependencies: calls between services that started in the window, as query.Dependencies counts
// them.
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

type edge struct {
	parent, child string
	calls         int64
}

// callEdges counts the calls between services in a window, sorted by parent, then child; pairs are unique.
func (a *api) callEdges(ctx context.Context, s store.Scope, window store.TimeRange) ([]edge, store.Done, error) {
	list, done, err := a.Query.Dependencies(ctx, s, window, false)
	if err != nil {
		return nil, done, err
	}
	edges := make([]edge, len(list))
	for i, d := range list {
		edges[i] = edge{d.Parent, d.Child, int64(math.Round(d.Calls))}
	}
	return edges, done, nil
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
