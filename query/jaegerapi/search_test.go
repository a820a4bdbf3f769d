package jaegerapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// reply is an envelope with traces, as clients decode it.
type reply struct {
	Data []struct {
		TraceID string
		Spans   []struct {
			TraceID, SpanID, OperationName, ProcessID string
			References                                []struct{ RefType, TraceID, SpanID string }
			StartTime, Duration                       int64
			Tags                                      []struct {
				Key, Type string
				Value     any
			}
		}
		Processes map[string]struct{ ServiceName string }
	}
	Errors []struct {
		Code         int
		Msg, TraceID string
	}
}

func decoded(t testing.TB, body []byte) (r reply) {
	t.Helper()
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return r
}

const searched = `
1 a - front server "GET /" 1s 10ms http.status_code=200 node_id=sidecar~x istio.cluster_id=Kubernetes @scope=lib @scope.version=1
2 a - front server "GET /" 2s 20ms http.status_code="200" resource:istio.cluster_id=Kubernetes @status=error @message=boom
3 a - front client "POST /cart" 3s 1.5ms ok=true ratio=72.5 error="true" @state=k=v
  event exception 3s type=Timeout
  link 9 9 why=retry
4 a - cart server "GET /" 4s 10ms http.status_code=200 scope:lang=go
4 b a front internal - 4s 100ms http.status_code=404 error=false "a:b"="c:d"
5 a - front unspecified old -48h 10ms span.kind=odd
6 a - front server "GET /" 40m 10ms list=["x","y"]
`

func TestSearch(t *testing.T) {
	api := testAPI(t, searched)
	for _, c := range []struct{ params, want string }{
		{"service=front", "6 4 3 2 1"},
		{"service=cart", "4"},
		{"service=nobody", ""},
		{"service=fron", ""},
		{"service=front&limit=2", "6 4"},
		{"service=front&limit=0", "6 4 3 2 1"},
		{"service=front&operation=GET /", "6 2 1"},
		{"service=front&operation=internal front", "4"},
		{"service=front&operation=", "6 4 3 2 1"},
		{"service=front&tag=http.status_code:200", "2 1"},
		{`service=front&tags={"http.status_code":"200"}`, "2 1"},
		{`service=front&tags={"http.status_code":200}`, "2 1"},
		{`service=front&tags={"http.status_code":"200","istio.cluster_id":"Kubernetes"}`, "2 1"},
		{`service=front&tags={"http.status_code":"200"}&tag=otel.scope.name:lib`, "1"},
		{`service=front&tags={"http.status_code":"200"}&tags={"http.status_code":"404"}`, ""},
		{`service=front&tags={}`, "6 4 3 2 1"},
		{"service=cart&tag=http.status_code:404", ""}, // of another span of the trace
		{"service=front&tag=ok:true", "3"},
		{"service=front&tag=ratio:72.5", "3"},
		{"service=front&tag=type:Timeout", "3"},
		{"service=front&tag=why:retry", "3"},
		{"service=front&tag=event:exception", "3"},
		{"service=cart&tag=lang:go", "4"},
		{"service=front&tag=list:y", "6"},
		{"service=front&tag=a:b:c:d", ""}, // the key ends at the first colon
		{`service=front&tags={"a:b":"c:d"}`, "4"},
		{"service=front&tag=node_id:", ""},
		{"service=front&tag=error:true", "3 2"},
		{`service=front&tags={"error":true}`, "3 2"},
		{"service=front&tag=error:false", "6 4 1"},
		{"service=front&tag=error:timeout", ""},
		{"service=front&tag=span.kind:server", "6 2 1"},
		{"service=front&tag=span.kind:internal", "4"},
		{"service=front&tag=span.kind:unspecified", ""},
		{"service=front&start=0&tag=span.kind:odd", "5"},
		{"service=front&tag=otel.status_code:ERROR", "2"},
		{"service=front&tag=otel.status_description:boom", "2"},
		{"service=front&tag=otel.scope.name:lib", "1"},
		{"service=front&tag=otel.scope.version:1", "1"},
		{"service=front&tag=w3c.tracestate:k=v", "3"},
		{"service=front&minDuration=15ms", "4 2"},
		{"service=front&minDuration=20ms&maxDuration=20ms", "2"},
		{"service=front&maxDuration=1500us", "3"},
		{"service=front&minDuration=1.5ms&maxDuration=0", "6 4 3 2 1"},
		{"service=front&tag=http.status_code:200&minDuration=15ms", "2"},
		{"service=cart&minDuration=50ms", ""}, // bounds are per span
		{"service=front&start=START+2000000", "6 4 3 2"},
		{"service=front&start=START+2000000&end=START+3000000", "3 2"},
		{"service=front&start=START+2000001&end=START+2999999", ""},
		{"service=front&end=START+2000000", "2 1"},
		{"service=front&end=START+2000000&start=0", "2 1 5"},
		{"service=front&start=0", "6 4 3 2 1 5"},
		{"service=front&start=-1", "6 4 3 2 1 5"},
		{"service=front&start=MILLIS+2000&end=MILLIS+3000", "3 2"},
		{"service=front&end=9223372036854775807", "6 4 3 2 1"},
		{"traceID=4&traceID=1", "4 1"},
		{"traceID=8", ""},
	} {
		w := ask(t, api, "GET", "/api/traces?"+searchURL(t, c.params))
		var got []string
		for _, d := range decoded(t, w.Body.Bytes()).Data {
			got = append(got, strings.TrimLeft(d.TraceID, "0"))
		}
		if ids := strings.Join(got, " "); w.Code != 200 || ids != c.want {
			t.Errorf("%s: %d, traces %q, want %q: %.200s", c.params, w.Code, ids, c.want, w.Body)
		}
	}
}

// searchURL escapes parameters and computes START+n and MILLIS+n.
func searchURL(t testing.TB, params string) string {
	t.Helper()
	v := url.Values{}
	for p := range strings.SplitSeq(params, "&") {
		key, value, _ := strings.Cut(p, "=")
		for name, epoch := range map[string]int64{"START+": storetest.Epoch.UnixMicro(), "MILLIS+": storetest.Epoch.UnixMilli()} {
			if rest, ok := strings.CutPrefix(value, name); ok {
				var n int64
				if _, err := fmt.Sscan(rest, &n); err != nil {
					t.Fatal(err)
				}
				value = fmt.Sprint(epoch + n)
			}
		}
		v.Add(key, value)
	}
	return v.Encode()
}

func TestBadSearch(t *testing.T) {
	api := testAPI(t, searched)
	for _, c := range []struct{ params, message string }{
		{"", "parameter 'service' is required"},
		{"service=", "parameter 'service' is required"},
		{"service=x&limit=many", "'limit'"},
		{"service=x&limit=-1", "'limit'"},
		{"service=x&limit=99999999999", "'limit'"},
		{"service=x&start=yesterday", "'start'"},
		{"service=x&start=1.5", "'start'"},
		{"service=x&end=2026-01-01T00:00:00Z", "'end'"},
		{"service=x&start=START+2&end=START+1", "before"},
		{"service=x&minDuration=10", "'minDuration'"},
		{"service=x&maxDuration=-1s", "'maxDuration'"},
		{"service=x&minDuration=2s&maxDuration=1s", "less than"},
		{"service=x&tag=nocolon", "key:value"},
		{"service=x&tag=:v", "key:value"},
		{"service=x&tags=a=b", "JSON object of strings"},
		{`service=x&tags={"a":null}`, "JSON object of strings"},
		{`service=x&tags={"a":["b"]}`, "JSON object of strings"},
		{`service=x&tags={"":"b"}`, "JSON object of strings"},
		{"service=x&raw=maybe", "'raw'"},
		{"traceID=", "trace id"},
	} {
		w := ask(t, api, "GET", "/api/traces?"+searchURL(t, c.params))
		r := decoded(t, w.Body.Bytes())
		if w.Code != 400 || len(r.Errors) != 1 || r.Errors[0].Code != 400 || !strings.Contains(r.Errors[0].Msg, c.message) || r.Data != nil {
			t.Errorf("%s: %d %s", c.params, w.Code, w.Body)
		}
	}
	for _, path := range []string{"/api/traces/1?raw=x", "/api/traces/1?start=x", "/api/traces/1?end=x", "/api/traces/1?start=2&end=1", "/api/traces?a;b"} {
		if w := ask(t, api, "GET", path); w.Code != 400 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestTraceTimes: the range of a look-up by id is a hint in micro- or milliseconds; Grafana sends the latter.
func TestTraceTimes(t *testing.T) {
	hints := &hinted{Reader: mem.New(mem.Options{Now: clock})}
	api := New(Options{Query: query.New(query.Options{Reader: hints, Now: clock})})
	hour, start := twinDistance, storetest.At(0)
	for _, c := range []struct {
		params string
		want   store.TimeRange
	}{
		{"", store.TimeRange{}},
		{"start=START+0&end=START+1000000", store.TimeRange{From: start - hour, To: start + 1_000_001_000 + hour}},
		{"start=MILLIS+0&end=MILLIS+1000", store.TimeRange{From: start - hour, To: start + 1_000_001_000 + hour}},
		{"start=START+0", store.TimeRange{From: start - hour}},
		{"end=9223372036854775807", store.TimeRange{From: -1 << 63, To: 1<<63 - 1}},
	} {
		ask(t, api, "GET", "/api/traces/1?"+searchURL(t, c.params))
		if hints.last != c.want {
			t.Errorf("%s: hint %v, want %v", c.params, hints.last, c.want)
		}
	}
}

// hinted notes the hints of look-ups.
type hinted struct {
	store.Reader
	last store.TimeRange
}

func (h *hinted) Trace(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) iter.Seq2[*span.Batch, error] {
	h.last = hint
	return h.Reader.Trace(ctx, s, id, hint)
}

// failing is a store that cannot read some traces and cannot keep any.
type failing struct {
	store.Reader
	bad map[byte]error // by the last byte of the id
}

func (f *failing) Trace(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) iter.Seq2[*span.Batch, error] {
	if err := f.bad[id[15]]; err != nil {
		return func(yield func(*span.Batch, error) bool) { yield(nil, err) }
	}
	return f.Reader.Trace(ctx, s, id, hint)
}

func (f *failing) Search(ctx context.Context, s store.Scope, q *store.Search) (*store.Page, error) {
	page, err := f.Reader.Search(ctx, s, q)
	if err == nil {
		page.Complete, page.Reason = false, "cut short"
	}
	return page, err
}

func TestStoreFails(t *testing.T) {
	engine := mem.New(mem.Options{Now: clock})
	if err := engine.Accept(t.Context(), storetest.Batch(t, searched)); err != nil {
		t.Fatal(err)
	}
	api := New(Options{Query: query.New(query.Options{Now: clock, Reader: &failing{engine, map[byte]error{
		1: errors.New("disk on fire"), 2: problem.New(problem.Unavailable, "starting", "wait"),
	}}})})

	w := ask(t, api, "GET", "/api/traces?service=front")
	r := decoded(t, w.Body.Bytes())
	if w.Code != 200 || len(r.Data) != 3 || len(r.Errors) != 2 || r.Errors[0].Code != 503 || r.Errors[1].Code != 500 || r.Errors[1].TraceID != "0000000000000001" {
		t.Errorf("some traces unreadable: %d %.300s", w.Code, w.Body)
	}
	if got := w.Header().Get("Spanloom-Partial"); got != "cut short" {
		t.Errorf("partial: %q", got)
	}
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/api/traces/1", 500},
		{"GET", "/api/traces/2", 503},
		{"GET", "/api/traces?traceID=2", 503},
		{"GET", "/api/traces?service=front&maxDuration=10ms&minDuration=10ms&end=START", 500},
		{"GET", "/api/dependencies", 501},
		{"POST", "/api/archive/3", 501},
		{"POST", "/api/archive/2", 503},
	} {
		path := strings.ReplaceAll(c.path, "START", fmt.Sprint(storetest.Epoch.UnixMicro()+1_000_000))
		w := ask(t, api, c.method, path)
		if r := decoded(t, w.Body.Bytes()); w.Code != c.code || len(r.Errors) != 1 || r.Errors[0].Code != c.code {
			t.Errorf("%s: %d %s, want %d", c.path, w.Code, w.Body, c.code)
		}
		if retry := w.Header().Get("Retry-After"); (retry != "") != (c.code == 503) {
			t.Errorf("%s: Retry-After %q", c.path, retry)
		}
	}
}

// TestTwinOnce: a trace that was joined from both forms of its id stands in a search once.
func TestTwinOnce(t *testing.T) {
	api := testAPI(t, `
ab000000000000000000000000000002 b - front client long 0s 10ms
2 c b cart server short 1ms 5ms
2 d c front server back 2ms 1ms
`)
	r := decoded(t, ask(t, api, "GET", "/api/traces?service=front").Body.Bytes())
	if len(r.Data) != 1 || len(r.Data[0].Spans) != 3 {
		t.Errorf("%+v", r.Data)
	}
}

// TestDependenciesOfMany stops at the budget, with the newest spans, and says so.
func TestDependenciesOfMany(t *testing.T) {
	g := callGraph{services: make(map[string]uint32), spans: make([]caller, dependenciesSpans-1)}
	engine := mem.New(mem.Options{Now: clock})
	if err := engine.Accept(t.Context(), storetest.Batch(t, "1 a - front client call 0s 1ms\n1 b a cart server call 0s 1ms\n")); err != nil {
		t.Fatal(err)
	}
	full, err := g.read(t.Context(), store.Scope{}, engine, store.TimeRange{})
	if !full || err != nil || len(g.spans) != dependenciesSpans {
		t.Errorf("full %v, %v, %d spans", full, err, len(g.spans))
	}
}

// TestUnderPrefix: the API is mounted below /jaeger too, and a slash in a service's name arrives escaped.
func TestUnderPrefix(t *testing.T) {
	inner, outer := http.NewServeMux(), http.NewServeMux()
	inner.Handle("/api/", testAPI(t, `1 a - team/cart server buy 0s 1ms`))
	outer.Handle("/jaeger/", http.StripPrefix("/jaeger", inner))
	w := ask(t, outer, "GET", "/jaeger/api/services/team%2Fcart/operations")
	if want := `{"data":["buy"],"total":1,"limit":0,"offset":0,"errors":null}`; w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
