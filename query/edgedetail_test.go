package query

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/rollup"
	"github.com/spanloom/spanloom/store/storetest"
)

// edgeSpans are calls of web to api over four minutes: one slow a minute, a failed one that only the server saw.
const edgeSpans = `
1 1 - web client "GET /" 0s 10ms http.method=GET @group=web @namespace=shop
1 2 1 api server "GET /" 1ms 8ms http.method=GET response_flags=DC @status=error @group=api @namespace=shop
2 1 - web client "GET /" 61s 30ms http.method=GET @group=web @namespace=shop
2 2 1 api server "GET /" 61.001s 8ms http.method=GET @group=api @namespace=shop
3 1 - web client "GET /" 122s 20ms http.method=GET response_flags=UF @status=error @group=web @namespace=shop
4 1 - web client "GET /" 183s 5ms http.method=GET @group=web @namespace=shop
4 2 1 api server "GET /" 183.001s 4ms http.method=GET @group=api @namespace=shop
3 2 1 api server "GET /" 122.001s 4ms http.method=GET @group=api @namespace=shop
`

func edgeQuery(t *testing.T) *Query {
	t.Helper()
	e := mem.New(mem.Options{Now: storetestClock})
	t.Cleanup(func() { e.Close() })
	if err := e.Accept(t.Context(), storetest.Batch(t, edgeSpans)); err != nil {
		t.Fatal(err)
	}
	return New(Options{Reader: e, Now: storetestClock})
}

func TestEdge(t *testing.T) {
	scope := store.Scope{Tenant: store.DefaultTenant}
	d, err := edgeQuery(t).Edge(t.Context(), scope, EdgeQuery{From: "service/shop/web", To: "service/shop/api",
		Range: store.TimeRange{From: storetest.At(0), To: storetest.At(4 * time.Minute)}, Buckets: 4})
	if err != nil {
		t.Fatal(err)
	}
	var w strings.Builder
	fmt.Fprintf(&w, "%s -> %s %s\n", d.From.ID, d.To.ID, printRED(&d.Edge.RED))
	for _, p := range d.Series {
		fmt.Fprintf(&w, "%s for %s n=%d errors=%g\n", time.Duration(p.Start-storetest.At(0)), time.Duration(p.Duration), p.RED.N, p.RED.Errors)
	}
	for _, list := range [][]Example{d.Slow, d.Failed} {
		w.WriteString("examples\n")
		for _, x := range list {
			fmt.Fprintf(&w, "%d %s %s %q\n", x.Trace.Low(), time.Duration(x.Start-storetest.At(0)), time.Duration(x.Duration), x.Flag)
		}
	}
	const want = `service/shop/web -> service/shop/api n=4 errors=1 p50=10.09ms
0s for 1m0s n=1 errors=0
1m0s for 1m0s n=1 errors=0
2m0s for 1m0s n=1 errors=1
3m0s for 1m0s n=1 errors=0
examples
2 1m0s 30ms ""
3 2m0s 20ms "UF"
1 0s 10ms ""
4 3m0s 5ms ""
examples
3 2m0s 20ms "UF"
1 0s 8ms "DC"
`
	if got := w.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestExamplesAreFewAndOfDifferentTraces(t *testing.T) {
	var d EdgeDetail
	for i := range 20 {
		var c rollup.Cell
		c.Start = int64(i)
		c.Add(span.TraceID{15: byte(i/2 + 1)}, int64(i), 1, true)
		d.examples(&rollup.EdgeKey{Flag: "-"}, &c)
	}
	d.Slow = bestExamples(d.Slow, func(a, b Example) int { return cmp.Compare(b.Duration, a.Duration) })
	got := ""
	for _, x := range d.Slow {
		got += fmt.Sprintf("%d:%d%s ", x.Trace.Low(), x.Duration, x.Flag)
	}
	if want := "10:19 9:17 8:15 7:13 6:11 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEdgeRefuses(t *testing.T) {
	q := edgeQuery(t)
	r := store.TimeRange{From: storetest.At(0), To: storetest.At(time.Minute)}
	for _, c := range []struct {
		eq    EdgeQuery
		field string
	}{
		{EdgeQuery{From: "service/shop/web", To: "service/shop/api", Buckets: 1}, "start"},
		{EdgeQuery{From: "service/shop/web", To: "service/shop/api", Range: r}, "buckets"},
		{EdgeQuery{From: "service/shop/web", To: "service/shop/api", Range: r, Buckets: MaxBuckets + 1}, "buckets"},
		{EdgeQuery{From: "service/shop/api", To: "service/shop/web", Range: r, Buckets: 1}, "from"},
		{EdgeQuery{From: "service/shop/web", To: "service/shop/api", Class: rollup.ClassAsync, Range: r, Buckets: 1}, "from"},
	} {
		_, err := q.Edge(t.Context(), store.Scope{Tenant: store.DefaultTenant}, c.eq)
		var p *problem.Problem
		if !errors.As(err, &p) || p.Field != c.field {
			t.Errorf("%+v: %v", c.eq, err)
		}
	}
}
