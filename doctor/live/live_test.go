package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/queue/queuetest"
	"github.com/spanloom/spanloom/store/storetest"
)

// spans: web loses context of its own calls, api passes it on, gone is called and silent, down is called and never reached, batch.v2 is a name with a dot.
const spans = `
1 1 - web.shop server "web/*" 3580s 40ms node_id=sidecar~10.0.0.2~web-1.shop~x @group=web @namespace=shop @mark=proxy
2 1 - web.shop client "api" 3580.01s 5ms node_id=sidecar~10.0.0.2~web-1.shop~x upstream_cluster="outbound|8080||api.shop.svc.cluster.local" @group=web @namespace=shop @mark=proxy
2 2 1 api.shop server "api" 3580.011s 3ms node_id=sidecar~10.0.0.3~api-1.shop~x @group=api @namespace=shop @mark=proxy
2 3 2 api.shop client "gone" 3580.012s 1ms node_id=sidecar~10.0.0.3~api-1.shop~x upstream_cluster="outbound|8080||gone.shop.svc.cluster.local" @group=api @namespace=shop @mark=proxy
3 1 - web.shop server "web/*" 3585s 40ms node_id=sidecar~10.0.0.2~web-1.shop~x @group=web @namespace=shop @mark=proxy
4 1 - web.shop client "api" 3585.01s 5ms node_id=sidecar~10.0.0.2~web-1.shop~x upstream_cluster="outbound|8080||api.shop.svc.cluster.local" @group=web @namespace=shop @mark=proxy
2 4 2 api.shop client "down" 3580.013s 1ms node_id=sidecar~10.0.0.3~api-1.shop~x upstream_cluster="outbound|8080||down.shop.svc.cluster.local" response_flags=UH http.status_code=503 @group=api @namespace=shop @mark=proxy @status=error
5 1 - batch.v2 internal "job" 3585s 1ms @group=batch.v2
`

func clock() time.Time { return storetest.Epoch.Add(storetest.DefaultReceived + time.Second) }

func ledger(context.Context, time.Time, time.Time) ([]doctor.Receipt, error) {
	return []doctor.Receipt{
		{Workload: "web.shop", Protocol: "zipkin", Sender: "10.0.0.2", Spans: 4, Requests: 1, Last: clock().Add(-time.Minute).UnixNano()},
		{Workload: "api.shop", Protocol: "zipkin", Sender: "10.0.0.3", Spans: 2, Requests: 1, Last: clock().Add(-time.Minute).UnixNano()},
		{Workload: "gone.shop", Protocol: "zipkin", Sender: "10.0.0.5", Spans: 9, Requests: 1, Last: clock().Add(-time.Hour - time.Second).UnixNano()}, // in the window's first minute, and not in the window
		{Workload: "batch.v2", Protocol: "otlp_grpc", Sender: "10.0.0.4", Spans: 1, Requests: 1, Last: clock().Add(-time.Minute).UnixNano()},
		{Workload: "sender 10.0.0.4", Protocol: "otlp_grpc", Misuses: map[string]int64{"grpc_on_http_port": 1}},
	}, nil
}

func newDoctor(t *testing.T, receipts func(context.Context, time.Time, time.Time) ([]doctor.Receipt, error)) *Doctor {
	t.Helper()
	e := mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { e.Close() })
	return doctorOver(t, e, receipts)
}

func doctorOver(t *testing.T, e store.Engine, receipts func(context.Context, time.Time, time.Time) ([]doctor.Receipt, error)) *Doctor {
	t.Helper()
	if err := e.Accept(t.Context(), storetest.Batch(t, spans)); err != nil {
		t.Fatal(err)
	}
	return New(Options{Query: query.New(query.Options{Reader: e, Keeper: e, Meta: e, Now: clock}), Receipts: receipts, Now: clock,
		Dropped: func() float64 { return 25 }, Refusing: func() string { return "" }})
}

var scope = store.Scope{Tenant: store.DefaultTenant}

func window() store.TimeRange {
	return store.TimeRange{From: clock().Add(-time.Hour).UnixNano(), To: clock().UnixNano()}
}

func summary(r *doctor.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", r.State, r.Reason)
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s %v\n", f.Severity, f.Cause, f.Workloads)
	}
	for _, c := range r.Stations {
		fmt.Fprintf(&b, "%s", c.Workload)
		for _, s := range c.Stations[8:] {
			fmt.Fprintf(&b, " %s", s.State)
		}
		fmt.Fprintln(&b)
	}
	for _, u := range r.Unread {
		fmt.Fprintf(&b, "unread %s: %s\n", u.Name, u.Why)
	}
	return b.String()
}

func TestServerKnows(t *testing.T) {
	d := newDoctor(t, ledger)
	r, err := d.Report(t.Context(), scope, window(), nil, false, doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := `partial: 7 spans arrived; some are missing or do not join
error propagation-none [shop/web]
warning otlp-protocol-mismatch [batch.v2]
warning workload-silent [shop/gone]
info sampled-by-spanloom []
shop/web green green red
shop/api green green green
batch.v2 green green green
shop/gone unknown red unknown
`
	if got := summary(r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// With facts, what they say counts; alone, the server says nothing.
func TestFactsWithReceipts(t *testing.T) {
	d := newDoctor(t, ledger)
	facts := &doctor.Facts{Version: 1, Source: "files"}
	alone, err := d.Report(t.Context(), scope, window(), facts, true, doctor.Options{})
	if err != nil || alone.State != doctor.Unknown || len(alone.Stations) != 0 || alone.Window != nil {
		t.Errorf("%v\n%s", err, summary(alone))
	}
	both, err := d.Report(t.Context(), scope, window(), facts, false, doctor.Options{})
	if err != nil || both.State != doctor.Partial || both.Window == nil || facts.Book != nil {
		t.Errorf("%v\n%s", err, summary(both))
	}
}

func TestGaps(t *testing.T) {
	d := newDoctor(t, func(context.Context, time.Time, time.Time) ([]doctor.Receipt, error) {
		return nil, errors.New("disk gone")
	})
	r, err := d.Report(t.Context(), scope, window(), nil, false, doctor.Options{})
	if err != nil || !strings.Contains(summary(r), "unread receipts: disk gone") {
		t.Errorf("%v\n%s", err, summary(r))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Report(ctx, scope, window(), nil, false, doctor.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a report of a context that ended: %v", err)
	}
}

// TestEngineAway: of a store that is away nothing is concluded from spans that could not be read.
func TestEngineAway(t *testing.T) {
	d := doctorOver(t, queuetest.Away(t, clock), ledger)
	r, err := d.Report(t.Context(), scope, window(), nil, false, doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := summary(r)
	for _, part := range []string{"map", "propagation"} {
		if !strings.Contains(got, "unread "+part+": some spans could not be read: clickhouse") {
			t.Errorf("no gap for the %s", part)
		}
	}
	if strings.Contains(got, "propagation-none") || strings.Contains(got, "red") {
		t.Errorf("concluded:\n%s", got)
	}
}

func TestRound(t *testing.T) {
	d := newDoctor(t, ledger)
	if d.Last() != nil {
		t.Error("a report before the first round")
	}
	d.round(t.Context(), scope)
	if r := d.Last(); r == nil || r.Window.To-r.Window.From != int64(watched) {
		t.Errorf("%+v", r)
	}
}
