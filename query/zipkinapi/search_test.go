package zipkinapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/rollup"
	"github.com/spanloom/spanloom/store/storetest"
)

const searched = `
1 a - front server "GET /" 1s 10ms http.method=GET http.status_code=200 env=prod
1 b a front client "get /cart" 1s 4ms peer.service=Cart
  event retry 1s
1 c b cart server "GET /cart" 1s 3ms http.status_code=404
2 a - Front server "POST /" 2s 20ms http.method=POST "a b"=c @status=error @message=boom @scope=lib @scope.version=1
2 d a db client SELECT 2s 1ms server.address=postgres
3 a - front server "GET /" 3s 5ms error="" http.method=GET
  event "exception" 3s type=Timeout
4 a - batch internal tick 4s 1500us @state=k=v
5 a - front server "" 40m 10ms resource:env=dev
6 a - front server old -30h 10ms
`

const searchedZipkin = `[{"traceId":"7","id":"7","kind":"SERVER","name":"shared","shared":true,"timestamp":US+5000000,"duration":7,"localEndpoint":{"serviceName":"zip"},
"annotations":[{"timestamp":US+5000000,"value":"wire send"}],"tags":{"env":"prod","x=y":"z"}},
{"traceId":"aaaaaaaaaaaaaaaa0000000000000008","id":"8","name":"nokind","timestamp":US+6000000,"localEndpoint":{"serviceName":"zip"},"remoteEndpoint":{"serviceName":"zap"}}]`

func found(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var traces [][]struct{ TraceID string }
	if err := json.Unmarshal(w.Body.Bytes(), &traces); w.Code != http.StatusOK || err != nil {
		t.Fatalf("%d %v %s", w.Code, err, w.Body)
	}
	var ids []string
	for _, spans := range traces {
		ids = append(ids, strings.TrimLeft(spans[0].TraceID[max(0, len(spans[0].TraceID)-16):], "0"))
	}
	return strings.Join(ids, " ")
}

// TestSearch: conditions need not hold on one span, but on spans of the service; names are compared without case.
func TestSearch(t *testing.T) {
	api := newAPI(t, searched, instants(searchedZipkin))
	for _, c := range []struct{ params, want string }{
		{"", "5 8 7 4 3 2 1"},
		{"serviceName=", "5 8 7 4 3 2 1"},
		{"limit=2", "5 8"},
		{"serviceName=front", "5 3 2 1"},
		{"serviceName=FRONT", "5 3 2 1"},
		{"serviceName=fron", ""},
		{"serviceName=all", ""},
		{"spanName=all", "5 8 7 4 3 2 1"},
		{"spanName=get /", "3 1"},
		{"spanName=GET /CART", "1"},
		{"serviceName=front&spanName=get /cart", "1"},
		{"serviceName=db&spanName=get /", ""},
		{"spanName=server front", "5"},
		{"remoteServiceName=cart", "1"},
		{"remoteServiceName=postgres", "2"},
		{"serviceName=front&remoteServiceName=postgres", ""}, // of another service of the trace
		{"remoteServiceName=zap", "8"},
		{"annotationQuery=env=prod", "7 1"},
		{"annotationQuery=env", "5 7 1"},
		{"annotationQuery= env = dev ", "5"},
		{"annotationQuery=env=", "5 7 1"},
		{"annotationQuery=retry", "1"},
		{"annotationQuery=wire send", "7"},
		{"annotationQuery=retry and env=prod", "1"}, // of two spans
		{"serviceName=front&annotationQuery=retry and env=prod and http.method=GET", "1"},
		{"serviceName=cart&annotationQuery=env=prod", ""},
		{"annotationQuery=http.status_code=404 and env=prod", "1"},
		{"annotationQuery=http.status_code=40", ""},
		{"annotationQuery=http.method=GET and http.method=POST", "2"}, // the last one counts
		{"annotationQuery=error", "3 2"},
		{"annotationQuery=error=boom", "2"},
		{"annotationQuery=a b=c", "2"},
		{"annotationQuery=otel.status_code=ERROR", "2"},
		{"annotationQuery=otel.status_code=OK", ""},
		{"annotationQuery=otel.scope.name=lib and otel.scope.version", "2"},
		{"annotationQuery=w3c.tracestate=k=v", "4"},
		{"annotationQuery=span.kind=internal", "4"},
		{`annotationQuery="exception": {"type":"Timeout"}`, "3"},
		{"annotationQuery=exception", ""}, // in Zipkin's form it is the whole text
		{"annotationQuery=nope and env=prod", ""},
		{"annotationQuery= and ", "5 8 7 4 3 2 1"},
		{"minDuration=10000", "5 2 1"},
		{"minDuration=1500&maxDuration=4000", "4 1"},
		{"serviceName=cart&minDuration=3001", ""},
		{"minDuration=9223372036854775807", ""},
		{"serviceName=front&spanName=GET /&minDuration=4000&maxDuration=4000", "1"},
		{"endTs=MS+2000&lookback=1000", "2 1"},
		{"endTs=MS+1999&lookback=998", ""},
		{"endTs=MS+2000", "2 1"},
		{"lookback=172800000", "5 8 7 4 3 2 1 6"},
		{"lookback=9223372036854775807&serviceName=front&limit=2147483647", "5 3 2 1 6"},
	} {
		v := url.Values{}
		for p := range strings.SplitSeq(c.params, "&") {
			if key, value, ok := strings.Cut(p, "="); ok {
				v.Set(key, instants(value))
			}
		}
		if got := found(t, ask(t, api, "GET", "/api/v2/traces?"+v.Encode())); got != c.want {
			t.Errorf("%s: %q, want %q", c.params, got, c.want)
		}
	}
}

// TestSearchGoesOn reads further pages while the traces it finds meet a part of the conditions only, and says when it stops.
func TestSearchGoesOn(t *testing.T) {
	var text strings.Builder
	for i := range 1500 {
		extra := ""
		if i == 700 || i == 1400 {
			extra = " rare=yes"
		}
		fmt.Fprintf(&text, "%x a - front server op %dms 1ms k=v\n%x b a front client other %dms 1ms%s\n", i+1, 1_600_000-i*1000, i+1, 1_600_000-i*1000, extra)
	}
	engine := mem.New(mem.Options{Now: clock})
	if err := engine.Accept(t.Context(), storetest.Batch(t, text.String())); err != nil {
		t.Fatal(err)
	}
	api := New(Options{Query: query.New(query.Options{Reader: engine, Now: clock})})
	// k=v stands first and has a value, so it is what the store is asked for.
	w := ask(t, api, "GET", "/api/v2/traces?limit=1&annotationQuery=k=v+and+rare=yes")
	if got := found(t, w); got != fmt.Sprintf("%x", 701) || w.Header().Get("Spanloom-Partial") != "" {
		t.Errorf("found %q %v", got, w.Header())
	}
	w = ask(t, api, "GET", "/api/v2/traces?limit=2&annotationQuery=k=v+and+rare=yes")
	if got := found(t, w); got != fmt.Sprintf("%x", 701) || w.Header().Get("Spanloom-Partial") == "" {
		t.Errorf("found %q %v", got, w.Header())
	}
}

// TestLinks goes through the rules of Zipkin's links, one trace each: id, parent, kind, service, remote; + is shared, ! failed.
func TestLinks(t *testing.T) {
	for name, c := range map[string]struct{ spans, want string }{
		"client and server of two ids":          {"1 - s a -;2 1 c a -;3 2 s b -", "a>b 1 0"},
		"client and server of one id":           {"1 - c a -;1 - s+ b -", "a>b 1 0"},
		"shared without the flag":               {"1 - c a -;1 - s b -", "a>b 1 0"},
		"server's name is preferred":            {"1 - c a x;2 1 s b -", "a>b 1 0"},
		"client alone":                          {"1 - s a -;2 1 c a b", "a>b 1 0"},
		"client that knows nobody":              {"1 - s a -;2 1 c a -", ""},
		"root server with a known caller":       {"1 - s a x", "x>a 1 0"},
		"root server alone":                     {"1 - s a -", ""},
		"local spans in between":                {"1 - s a -;2 1 l a -;3 2 l a -;4 3 s b -", "a>b 1 0"},
		"no kind, both sides known":             {"1 - l a b", "a>b 1 0"},
		"no kind, one side":                     {"1 - l a -", ""},
		"error of the server":                   {"1 - c a -;1 - s+! b -", "a>b 1 1"},
		"error of the client on two ids":        {"1 - c! a -;2 1 s b -", "a>b 1 1"},
		"messaging":                             {"1 - p a k;2 1 m b k", "a>k 1 0,k>b 1 0"},
		"messaging without broker":              {"1 - p a -;2 1 m b -", ""},
		"server in a tree below the shared one": {"1 - c a -;1 - s+ b -;2 1 c b d", "a>b 1 0,b>d 1 0"},
		"client named after the other side":     {"1 - s a -;2 1 c b -", "a>b 1 0"},
		"itself":                                {"1 - s a -;2 1 c a -;3 2 s a -", "a>a 1 0"},
		"two pieces of a span":                  {"1 - c a -;1 - l a b", "a>b 1 0"},
		"lost parent":                           {"1 - s a -;3 2 s b -", ""},
		"its own parent":                        {"1 1 s a x", "x>a 1 0"},
		"cycle":                                 {"1 2 l a -;2 1 l b -;3 1 s c -", ""},
	} {
		l := newLinker()
		for text := range strings.SplitSeq(c.spans, ";") {
			var id, parent, kind, service, remote string
			if _, err := fmt.Sscan(text, &id, &parent, &kind, &service, &remote); err != nil {
				t.Fatal(err)
			}
			number := func(s string) (n uint64) {
				_, _ = fmt.Sscan(s, &n)
				return n
			}
			named := func(s string) uint32 { return l.name([]byte(strings.TrimPrefix(s, "-"))) }
			s := linkSpan{trace: 1, id: number(id), parent: number(parent), service: named(service), remote: named(remote),
				shared: strings.Contains(kind, "+"), failed: strings.Contains(kind, "!"),
				kind: map[byte]span.Kind{'s': span.KindServer, 'c': span.KindClient, 'p': span.KindProducer, 'm': span.KindConsumer, 'l': 0}[kind[0]]}
			l.spans = append(l.spans, s)
		}
		var got []string
		for _, k := range l.links() {
			got = append(got, fmt.Sprintf("%s>%s %d %d", l.names[k.parent], l.names[k.child], k.calls, k.errors))
		}
		if text := strings.Join(got, ","); text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}

// FuzzRequest: whatever stands in a path and its parameters, the answer is JSON with 200 or a text with 4xx.
func FuzzRequest(f *testing.F) {
	for _, path := range []string{"traces", "trace/1", "traceMany", "spans", "remoteServices", "dependencies", "autocompleteValues", "services"} {
		for _, params := range []string{"", "serviceName=front&annotationQuery=error and k=v&limit=3&minDuration=1&maxDuration=2", "endTs=1&lookback=9223372036854775807",
			"traceIds=1,2", "key=env", "spanName=%ff&remoteServiceName=(", `annotationQuery="a": {"b"`} {
			f.Add(path, params)
		}
	}
	f.Fuzz(func(t *testing.T, path, params string) {
		r := httptest.NewRequest("GET", "/api/v2/", nil)
		r.URL.Path, r.URL.RawQuery = "/api/v2/"+path, params
		w := httptest.NewRecorder()
		newAPI(t, searched, "").ServeHTTP(w, r)
		switch {
		case w.Code == http.StatusOK && w.Header().Get("Content-Type") == "application/json" && json.Valid(w.Body.Bytes()):
		case w.Code >= 400 && w.Code < 500 && strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain"):
		default:
			t.Fatalf("%q %q: %d %v %s", path, params, w.Code, w.Header(), w.Body)
		}
	})
}

// FuzzParameters: a window has a beginning and an end, limits are bounded.
func FuzzParameters(f *testing.F) {
	f.Add("endTs=1&lookback=2&limit=3&minDuration=4&maxDuration=5&annotationQuery=a=b and c")
	f.Add("endTs=9223372036854775807&lookback=1")
	f.Fuzz(func(t *testing.T, params string) {
		v, err := url.ParseQuery(params)
		if err != nil {
			return
		}
		q, err := parseSearch(v, clock())
		if err != nil {
			return
		}
		if q.window.From < 0 || q.window.To <= q.window.From || q.limit < 1 || q.limit > query.MaxSearchLimit || len(q.terms) > maxTerms ||
			q.atLeast > math.MaxInt64 || q.atMost > math.MaxInt64 {
			t.Fatalf("%q: %+v", params, q)
		}
		var _ store.Expr = q.candidates(nil)
	})
}

// broken fails for some traces, or for all.
type broken struct {
	store.Reader
	only span.TraceID // zero: all
}

func (b *broken) Trace(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) iter.Seq2[*span.Batch, error] {
	if b.only.IsZero() || b.only == id {
		return func(yield func(*span.Batch, error) bool) { yield(nil, errors.New("bad block")) }
	}
	return b.Reader.Trace(ctx, s, id, hint)
}

// TestSomeTracesCannotBeRead: the others are answered, with a note; if that is none, the error says nothing of its cause.
func TestSomeTracesCannotBeRead(t *testing.T) {
	engine := mem.New(mem.Options{Now: clock})
	if err := engine.Accept(t.Context(), storetest.Batch(t, searched)); err != nil {
		t.Fatal(err)
	}
	api := New(Options{Query: query.New(query.Options{Reader: &broken{engine, span.TraceIDFromUint64s(0, 3)}, Now: clock})})
	w := ask(t, api, "GET", "/api/v2/traces?serviceName=front")
	if got := found(t, w); got != "5 2 1" || w.Header().Get("Spanloom-Partial") == "" {
		t.Errorf("found %q %v", got, w.Header())
	}
	api = New(Options{Query: query.New(query.Options{Reader: &broken{Reader: engine}, Now: clock})})
	for _, path := range []string{"/api/v2/traces?serviceName=front", "/api/v2/trace/1", "/api/v2/traceMany?traceIds=1,2"} {
		if w := ask(t, api, "GET", path); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "bad block") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// counting counts how often services are listed.
type counting struct {
	store.Reader
	lists int
}

func (c *counting) Services(ctx context.Context, s store.Scope, r store.TimeRange) ([]store.Service, store.Done, error) {
	c.lists++
	return c.Reader.Services(ctx, s, r)
}

// TestServicesAreListedOnce: searches by a known service do not list all of them each time; what just came is found all the same.
func TestServicesAreListedOnce(t *testing.T) {
	engine := mem.New(mem.Options{Now: clock})
	reader := &counting{Reader: engine}
	api := New(Options{Query: query.New(query.Options{Reader: reader, Now: clock})})
	add := func(text string) {
		if err := engine.Accept(t.Context(), storetest.Batch(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	add("1 a - front server get 1s 1ms\n")
	for range 3 {
		if got := found(t, ask(t, api, "GET", "/api/v2/traces?serviceName=FRONT")); got != "1" {
			t.Errorf("found %q", got)
		}
	}
	if reader.lists != 1 {
		t.Errorf("services were listed %d times", reader.lists)
	}
	add("2 a - back server get 1s 1ms\n3 a - Front server get 2s 1ms\n")
	for service, want := range map[string]string{"back": "2", "Front": "3 1", "front": "1", "nobody": ""} {
		if got := found(t, ask(t, api, "GET", "/api/v2/traces?serviceName="+service)); got != want && service != "front" || service == "front" && got != "1" && got != "3 1" {
			t.Errorf("%s: found %q, want %q", service, got, want)
		}
	}
}

// gone is a client that breaks the connection after some bytes.
type gone struct {
	httptest.ResponseRecorder
	left int
}

func (g *gone) Write(p []byte) (int, error) {
	if g.left -= len(p); g.left < 0 {
		return 0, errors.New("broken pipe")
	}
	return len(p), nil
}

// TestLargeTrace is written in parts, and no further than the client is there.
func TestLargeTrace(t *testing.T) {
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, "abc %x %s front internal op%d %dms 1ms index=%d\n", i+1, map[bool]string{true: "-", false: "1"}[i == 0], i%7, i, i)
	}
	api := newAPI(t, text.String(), "")
	w := ask(t, api, "GET", "/api/v2/trace/abc")
	var spans []struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &spans); err != nil || len(spans) != 20_000 || w.Header().Get("Content-Length") != "" {
		t.Errorf("%d spans, %v, %v", len(spans), err, w.Header())
	}
	for _, path := range []string{"/api/v2/trace/abc", "/api/v2/traces?lookback=86400000", "/api/v2/traceMany?traceIds=abc,1"} {
		client := &gone{left: 3 * partSize}
		api.ServeHTTP(client, httptest.NewRequest("GET", path, nil))
		if client.left >= 0 || client.left < -2*partSize {
			t.Errorf("%s: %d bytes were written to nobody", path, -client.left)
		}
	}
}

// summed is mem with what an engine of segments has.
type summed struct {
	store.Reader
	table *rollup.Table
}

func (s *summed) Sums(_ context.Context, _ store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	t := rollup.NewSums()
	t.MergeRange(s.table, r)
	return t, store.Done{Complete: true}, nil
}

// TestDependenciesOfManySpans: of more spans than are looked at one by one the map's calls are listed, whose names are those of
// sidecars where these report, and all of the window counts.
func TestDependenciesOfManySpans(t *testing.T) {
	const text = `
1 1 - web.shop server "web/*" 10m 20ms node_id=sidecar~a~b~c http.method=GET @group=web @namespace=shop @mark=proxy
1 2 1 web.shop client "api/*" 10m 15ms node_id=sidecar~a~b~c http.method=GET upstream_cluster="outbound|80||api.shop.svc.cluster.local" @group=web @namespace=shop @mark=proxy @weight=4
1 3 2 api.shop server "api/*" 10m 10ms node_id=sidecar~a~b~c http.method=GET @group=api @namespace=shop @mark=proxy @weight=4 @status=error
1 4 3 api server "api/*" 10m 9ms http.method=GET @group=api @namespace=shop
1 5 4 api client "SELECT" 10m 1ms db.system=postgresql server.address=pg @group=api @namespace=shop
`
	e := mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { e.Close() })
	b := rollup.NewBuilder()
	b.Add(storetest.Batch(t, text))
	if err := e.Accept(t.Context(), storetest.Batch(t, text)); err != nil {
		t.Fatal(err)
	}
	a := New(Options{Query: query.New(query.Options{Reader: &summed{e, b.Table()}, Now: clock})}).(*api)
	path := fmt.Sprintf("/api/v2/dependencies?endTs=%d&lookback=%d", clock().UnixMilli(), time.Hour.Milliseconds())
	const zipkins = `[{"parent":"api","child":"pg","callCount":1},{"parent":"api.shop","child":"api","callCount":1},{"parent":"web.shop","child":"api.shop","callCount":1,"errorCount":1}]`
	if got := strings.TrimSpace(ask(t, a, "GET", path).Body.String()); got != zipkins {
		t.Errorf("one by one: %s", got)
	}
	a.oneByOne = 4
	const ours = `[{"parent":"api.shop","child":"postgresql/pg","callCount":1},{"parent":"web.shop","child":"api.shop","callCount":1}]`
	if got := strings.TrimSpace(ask(t, a, "GET", path).Body.String()); got != ours {
		t.Errorf("of the map: %s", got)
	}
}
