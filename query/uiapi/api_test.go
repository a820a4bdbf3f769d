package uiapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/queue/queuetest"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestAnswersAreAsDocumented asks every path, checks the answers against the document and that every property of it occurred.
func TestAnswersAreAsDocumented(t *testing.T) {
	d := readDocument(t)
	s := meshServer(t)
	if w := s.ask("POST", "/searches", `{"items":[{"name":"a","query":"q=service=a"}],"ifVersion":0}`, "Content-Type: application/json"); w.Code != 200 {
		t.Fatal(w.Body)
	}
	start := "start=" + strconv.FormatInt(storetest.At(0), 10)
	away := &server{Handler: serveOver(t, queuetest.Away(t, clock), nil)} // an engine that is away
	for _, ask := range []struct{ path, request string }{
		{"/services", "/services"},
		{"/services", "/services?red=true&buckets=3&" + start},
		{"/operations", "/operations?service=front"},
		{"/attributes/keys", "/attributes/keys?scope=span&prefix=n&service=front&limit=10"},
		{"/attributes/values", "/attributes/values?key=n&scope=span&prefix=2&service=front&limit=10"},
		{"/search", "/search?" + filter("service=front", "span.n=200", "traceDuration>1ms")},
		{"/search", "/search?limit=1"},
		{"/search", "/search?start=10m&end=1ns"},
		{"/search", "/search?q=" + url.QueryEscape(`{ resource.service.name = "front" }`)},
		{"/heatmap", "/heatmap?columns=7"},
		{"/heatmap", "/heatmap?" + filter("service=back")},
		{"/heatmap", "/heatmap?" + filter("traceDuration>1ms")},
		{"/heatmap", "/heatmap?start=10m&end=1ns"},
		{"/differences", "/differences?select=service%3Dfront&select=duration>0ms&" + filter("duration>=0ms")},
		{"/differences", "/differences?selectStart=15s&fields=2&values=1"},
		{"/traceql", "/traceql?q=" + url.QueryEscape("{ name = `a` }")},
		{"/traceql", "/traceql?q=" + url.QueryEscape("{ staus = error }")},
		{"/traceql", "/traceql?q="},
		{"/searches", "/searches"},
		{"/traces/{traceId}", "/traces/1"},
		{"/traces/{traceId}/spans", "/traces/1/spans"},
		{"/traces/{traceId}/spans", "/traces/1/spans?ids=a,b"},
		{"/traces/{traceId}/find", "/traces/1/find?q=n=200"},
		{"/map", "/map?start=30s&compare=true"},
		{"/map", "/map?start=2h&end=90m"},
		{"/service", "/service?node=service/shop/web&buckets=3"},
		{"/service", "/service?node=service/shop/gone"},
		{"/edge", "/edge?from=gateway/is/gw&to=service/shop/web&buckets=3"},
		{"/hops", "/hops?traceId=11"},
		{"/hops", "/hops?traceId=1"},
		{"/propagation", "/propagation"},
		{"/receipts", "/receipts"},
		{"/status", "/status"},
		{"/mesh/render", "/mesh/render?sampling=staging&tags=a%3Db&tags=c%3Dheader:x"},
		{"/mesh/plan", "/mesh/plan?for=configmap,telemetry,networkpolicy"},
		{"/doctor", "/doctor"},
		{"/doctor", "/doctor?namespace=shop&workload=front&lang=ko"},
	} {
		w := s.get(ask.request)
		if w.Code != 200 {
			t.Errorf("%s: %d %s", ask.request, w.Code, w.Body)
			continue
		}
		if err := d.validate(d.answerSchema(ask.path, "GET"), ask.path, decode(t, w.Body.Bytes())); err != nil {
			t.Errorf("%s: %v\n%s", ask.request, err, w.Body)
		}
	}
	for path, request := range map[string]string{"/services": "/services?red=true", "/operations": "/operations?service=front", "/attributes/keys": "/attributes/keys", "/search": "/search",
		"/attributes/values": "/attributes/values?key=n&scope=span", "/heatmap": "/heatmap", "/differences": "/differences?select=status%3Derror", "/traces/{traceId}": "/traces/1",
		"/map": "/map", "/service": "/service?node=service//back", "/hops": "/hops?traceId=1", "/propagation": "/propagation"} {
		w := away.get(request)
		if err := d.validate(d.answerSchema(path, "GET"), path, decode(t, w.Body.Bytes())); err != nil || w.Code != 200 {
			t.Errorf("%s: %d %v\n%s", request, w.Code, err, w.Body)
		}
	}
	for _, query := range []string{"", "?alone=true", "?alone=true&lang=ko"} {
		w := s.ask("POST", "/doctor"+query, factsFile, "Content-Type: application/json")
		if w.Code != 200 {
			t.Errorf("POST /doctor%s: %d %s", query, w.Code, w.Body)
			continue
		}
		if err := d.validate(d.answerSchema("/doctor", "POST"), "/doctor", decode(t, w.Body.Bytes())); err != nil {
			t.Errorf("POST /doctor%s: %v\n%s", query, err, w.Body)
		}
	}
	unusual := map[string]bool{ // only of answers that a limit cut
		"/differences.items [].values [].cut": true, "/differences.items [].many": true, "/edge.reason": true, "/edge.away": true,
	}
	for _, e := range endpoints() {
		schema := d.answerSchema(e.path, e.method)
		if schema == nil {
			continue
		}
		for _, p := range d.unused(schema, e.path) {
			if !unusual[p] {
				t.Errorf("%s: no answer had %s", e.path, p)
			}
		}
	}
}

func TestSkeleton(t *testing.T) {
	w := serve(t, nil).get("/traces/1")
	want := `{"traceId":"00000000000000000000000000000001","start":"1767229190000000000","duration":12000000,"maybeIncomplete":true,"complete":true,` +
		`"spanCount":3,"errorCount":1,"depth":2,"services":[` +
		`{"name":"front","group":"front","namespace":"shop","slot":%d},{"name":"back","group":"","namespace":"","slot":%d},{"name":"unknown","group":"","namespace":"","slot":%d}],` +
		`"names":["GET /","client back","missing parent","late"],"spans":{` +
		`"id":["000000000000000a","000000000000000b","00000000000000ff","000000000000000c"],"parent":[-1,0,-1,2],"start":[0,1000000,2000000,2000000],` +
		`"duration":[12000000,1000000,1000000,1000000],"service":[0,1,2,1],"name":[0,1,2,3],"kind":[2,3,0,2],"flags":[%d,256,4,0],"hop":[-1,-1,-1,-1]},` +
		`"warnings":[{"kind":"missing_parent","rows":[2],"count":1,"message":"1 parent named by 1 span never arrived"},` +
		`{"kind":"duplicate","rows":[0],"count":1,"message":"1 copy was left out: the same span was received more than once"}]}`
	var answer struct{ Services []struct{ Slot int } }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.Services) != 3 {
		t.Fatalf("%v: %s", err, w.Body)
	}
	want = fmt.Sprintf(want, answer.Services[0].Slot, answer.Services[1].Slot, answer.Services[2].Slot, 1|2|16)
	if got := w.Body.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSpan(t *testing.T) {
	s := serve(t, nil)
	b := storetest.Batch(t, "9"+strings.TrimPrefix(spans[strings.Index(spans, "1 a - front server \"GET"):strings.Index(spans, "1 b a")], "1"))
	if err := s.engine.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	got := s.get("/traces/9/spans?ids=A").Body.String()
	want := `{"items":[{"row":0,"spanId":"000000000000000a","name":"GET /","kind":"server","start":"1767229190000000000","end":"1767229190012000000","duration":12000000,` +
		`"status":"error","statusMessage":"it failed","service":"front","group":"front","namespace":"shop","weight":1,"traceState":"k=v","flags":257,` +
		`"scope":{"name":"lib","version":"1.2","attributes":[{"key":"k","type":"string","value":"v"}]},"attributes":[` +
		`{"key":"n","type":"int","value":200},{"key":"big","type":"int","value":"9007199254740993"},{"key":"bigs","type":"array","value":["9007199254740993",1]},` +
		`{"key":"d","type":"double","value":72.5},{"key":"inf","type":"double","value":"Infinity"},{"key":"yes","type":"bool","value":true},{"key":"none","type":"null","value":null},` +
		`{"key":"s","type":"string","value":"a \"b\""},{"key":"raw","type":"bytes","value":"//4="},{"key":"words","type":"array","value":["a","b"]},{"key":"list","type":"kvlist","value":{"a":"x"}}],` +
		`"resource":[{"key":"service.name","type":"string","value":"front"},{"key":"pod","type":"string","value":"front-1"}],` +
		`"events":[{"time":"1767229191000000000","name":"exception","attributes":[{"key":"exception.type","type":"string","value":"Timeout"}],"dropped":6}],` +
		`"links":[{"traceId":"00000000000000000000000000000002","spanId":"000000000000000b","traceState":"a=b","attributes":[{"key":"kind","type":"string","value":"retry"}],"dropped":7}],` +
		`"droppedAttributes":1,"droppedEvents":2,"droppedLinks":3}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFind(t *testing.T) {
	s := serve(t, nil)
	const a, b, c, none = `"000000000000000a"`, `"000000000000000b"`, `"000000000000000c"`, ""
	for text, want := range map[string]string{
		"n=200":                  a,
		"N=20":                   a,
		"72.5":                   a, // a double
		"yes=true":               a,
		"words=b":                a, // an element of an array
		"BIGS=9007199254740993":  a,
		"exception.type=timeout": a, // of an event
		"Exception":              a,
		"it failed":              a, // the status
		"kind=retry":             a, // of a link
		"k=v":                    a, // of the scope
		"pod=front-1":            a, // of the resource
		"service.name=":          a + "," + b + "," + c,
		" =back ":                b + "," + c, // blanks around it are not meant
		"late":                   none,        // a name, which the skeleton has
		"raw=//4=":               none,
		"=É":                     none,
		"  ":                     none,
	} {
		want = `{"count":` + strconv.Itoa(strings.Count(want, "00000000")) + `,"spanIds":[` + want + `]}`
		if got := s.get("/traces/1/find?q=" + url.QueryEscape(text)).Body.String(); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if err := s.engine.Accept(t.Context(), storetest.Batch(t, `31 a - front server "x" 3580s 1ms city=ÉLANCOURT`)); err != nil {
		t.Fatal(err)
	}
	if got := s.get("/traces/31/find?q=" + url.QueryEscape("élan")).Body.String(); !strings.Contains(got, a) {
		t.Errorf("letters of other scripts have cases too: %s", got)
	}
}

func TestSpansOfOpenTrace(t *testing.T) {
	s := serve(t, nil)
	count := func(path string) int {
		t.Helper()
		w := s.get(path)
		var v struct{ Items []struct{ Row int } }
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		return len(v.Items)
	}
	s.get("/traces/1")
	if n := count("/traces/1/spans?ids=a,ff"); n != 1 {
		t.Errorf("%d spans, want 1 and none for the placeholder", n)
	}
	if err := s.engine.Accept(t.Context(), storetest.Batch(t, "1 ff a back server late 3590s 5ms\n1 d a back server later 3590s 5ms")); err != nil {
		t.Fatal(err)
	}
	if n := count("/traces/1/spans?ids=d"); n != 1 {
		t.Errorf("a span that came after the skeleton is not found")
	}
	if n := count("/traces/1/spans"); n != 5 {
		t.Errorf("%d spans, want 5", n)
	}
	if n := count("/traces/1/spans?ids=99"); n != 0 {
		t.Errorf("%d spans of an unknown id", n)
	}
}

func TestSearchPages(t *testing.T) {
	now := clock()
	s := serve(t, func(o *Options) {
		e := mem.New(mem.Options{Now: func() time.Time { return now }})
		if err := e.Accept(t.Context(), storetest.Batch(t, spans)); err != nil {
			t.Fatal(err)
		}
		o.Query = query.New(query.Options{Reader: e, Meta: e, Now: func() time.Time { return now }})
	})
	type answer struct {
		Items    []struct{ TraceID, RootService, RootOperation string }
		Next     string
		Complete bool
	}
	var got []string
	next := ""
	for range 10 {
		w := s.get("/search?limit=1&start=30m&page=" + url.QueryEscape(next))
		var a answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 || !a.Complete {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for _, i := range a.Items {
			got = append(got, i.RootService+" "+i.RootOperation)
		}
		if next = a.Next; next == "" {
			break
		}
		now = now.Add(time.Second) // "the last 30 minutes" move on
	}
	if want := "front GET /|other work|other orphan|deep a"; strings.Join(got, "|") != want {
		t.Errorf("got %s, want %s", strings.Join(got, "|"), want)
	}
	first := s.get("/search?limit=1&start=30m")
	var a answer
	if err := json.Unmarshal(first.Body.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	now = now.Add(6 * time.Minute)
	if w := s.get("/search?limit=1&start=30m&page=" + a.Next); w.Code != 410 || !strings.Contains(w.Body.String(), `"kind":"expired"`) {
		t.Errorf("an old page: %d %s", w.Code, w.Body)
	}
}

func TestErrors(t *testing.T) {
	d := readDocument(t)
	schema := d.at("components", "responses", "Error", "content", "application/json", "schema").(map[string]any)
	broken := serve(t, func(o *Options) { o.Receipts = receipts{err: errors.New("disk /secret/path")} })
	busy := serve(t, func(o *Options) {
		o.Query = query.New(query.Options{Reader: refusing{problem: &problem.Problem{Kind: problem.Unavailable, Message: "starting", RetryAfter: 7 * time.Second}}, Now: clock})
	})
	denied := serve(t, func(o *Options) {
		o.Scope = func(*http.Request) (store.Scope, error) {
			return store.Scope{}, problem.New(problem.Unauthenticated, "no token", "send one")
		}
	})
	s := serve(t, nil)
	for _, c := range []struct {
		server  *server
		request string
		status  int
		want    string // in the body
	}{
		{s, "/trace/1", 404, `did you mean /api/spanloom/v1/traces?`},
		{s, "/nothing/of/that/kind", 404, `"kind":"notFound"`},
		{s, "/services/", 404, `"kind":"notFound"`},
		{s, "/traces/xyz", 400, `"field":"traceId"`},
		{s, "/traces/0", 400, `"field":"traceId"`},
		{s, "/traces/123456789012345678901234567890123", 400, `"field":"traceId"`},
		{s, "/traces/77", 404, `trace 00000000000000000000000000000077 not found`},
		{s, "/traces/77/spans", 404, `"kind":"notFound"`},
		{s, "/traces/77/otlp", 404, `"kind":"notFound"`},
		{s, "/traces/77/find?q=a", 404, `"kind":"notFound"`},
		{s, "/traces/1/find", 400, `"field":"q"`},
		{s, "/traces/1/spans?ids=zz", 400, `"field":"ids"`},
		{s, "/traces/1/spans?ids=" + strings.Repeat("a,", 500) + "a", 400, `ask for at most 500`},
		{s, "/traces/1?raw=true", 400, `this path takes no parameters`},
		{s, "/search?limt=5", 400, `"hint":"did you mean limit?","field":"limt"`},
		{s, "/search?fliter=a", 400, `did you mean filter?`},
		{s, "/search?limit=0", 400, `"field":"limit"`},
		{s, "/search?limit=1001", 400, `from 1 to 1000`},
		{s, "/search?limit=1&limit=2", 400, `limit is given 2 times`},
		{s, "/search?" + filter("servce=x"), 400, `did you mean service?`},
		{s, "/search?q={}&" + filter("service=x"), 400, `q and filter are both given`},
		{s, "/search?q=" + url.QueryEscape("{ staus = error }"), 400, `"hint":"did you mean`},
		{s, "/search?q=" + url.QueryEscape("{} | rate()"), 400, `a metrics query where traces are searched`},
		{s, "/search/stream?q=" + url.QueryEscape("{ name = "), 400, `"field":"q"`},
		{s, "/search/stream?" + filter("servce=x"), 400, `did you mean service?`},
		{s, "/search?q={}&page=1.2.x", 400, `"field":"page"`},
		{s, "/heatmap?columns=241", 400, `"field":"columns"`},
		{s, "/heatmap?q=" + url.QueryEscape("{} > {}"), 501, `"kind":"unsupported"`},
		{s, "/differences", 400, `"message":"no selection"`},
		{s, "/differences?select=servce%3Dx", 400, `"field":"select"`},
		{s, "/differences?select=traceDuration>1s", 400, `"field":"select"`},
		{s, "/differences?selectStart=3h&selectEnd=2h", 400, `the selection lies outside of the window`},
		{s, "/search?page=x", 400, `"field":"page"`},
		{s, "/search?page=1.2.3", 400, `"field":"page"`},
		{s, "/search?start=1700000000000", 400, `instants are nanoseconds since 1970: 19 digits`},
		{s, "/search?start=soon", 400, `"field":"start"`},
		{s, "/search?start=1h&end=2h", 400, `start does not lie before end`},
		{s, "/search?filter=%zz", 400, `the query of the URL cannot be read`},
		{s, "/services?red=yes", 400, `it is true or false`},
		{s, "/services?red=true&buckets=121", 400, `"field":"buckets"`},
		{s, "/operations", 400, `service is missing`},
		{s, "/attributes/values", 400, `key is missing`},
		{s, "/attributes/keys?scope=spam", 400, `did you mean span?`},
		{s, "/attributes/keys?limit=x", 400, `"field":"limit"`},
		{broken, "/receipts", 500, `"message":"internal error","hint":"the server's log says why"`},
		{busy, "/traces/1", 503, `"kind":"overloaded","message":"starting"`},
		{denied, "/services", 401, `"kind":"unauthenticated"`},
	} {
		w := c.server.get(c.request)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", c.request, w.Code, w.Body)
		}
		if err := d.validate(schema, "error", decode(t, w.Body.Bytes())); err != nil {
			t.Errorf("%s: %v", c.request, err)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: tells about the inside: %s", c.request, w.Body)
		}
	}
	if w := busy.get("/traces/1"); w.Header().Get("Retry-After") != "7" {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
	if w := s.ask("DELETE", "/searches", ""); w.Code != 405 || w.Header().Get("Allow") != "GET, POST" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.ask("POST", "/services", ""); w.Code != 405 || w.Header().Get("Allow") != "GET" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.ask("GET", "/traces/1/keep", ""); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// refusing is a store that cannot answer now.
type refusing struct {
	store.Reader
	problem error
}

func (r refusing) Trace(context.Context, store.Scope, span.TraceID, store.TimeRange) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) { yield(nil, r.problem) }
}

func TestKeep(t *testing.T) {
	s := serve(t, nil)
	json := "Content-Type: application/json"
	for _, c := range []struct {
		path, body string
		headers    []string
		status     int
		want       string
	}{
		{"/traces/1/keep", "{}", []string{json}, 204, ""},
		{"/traces/1/keep", "", []string{json}, 204, ""},
		{"/traces/1/keep", fmt.Sprintf(`{"until":"%d"}`, clock().Add(time.Hour).UnixNano()), []string{json, "Origin: http://example.com"}, 204, ""},
		{"/traces/1/keep", `{"until":"5"}`, []string{json}, 400, `"field":"until"`},
		{"/traces/1/keep", `{"until":5}`, []string{json}, 400, `is not the JSON`},
		{"/traces/1/keep", strings.Repeat(" ", 5000), []string{json}, 413, `too large`},
		{"/traces/77/keep", "{}", []string{json}, 404, `"kind":"notFound"`},
		{"/traces/1/keep", "{}", nil, 403, `"field":"Content-Type"`},
		{"/traces/1/keep", "{}", []string{json, "Origin: http://evil.example"}, 403, `"field":"Origin"`},
	} {
		if w := s.ask("POST", c.path, c.body, c.headers...); w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %.40s %v: %d %s", c.path, c.body, c.headers, w.Code, w.Body)
		}
	}
	readonly := serve(t, func(o *Options) { o.Query = query.New(query.Options{Reader: mem.New(mem.Options{}), Now: clock}) })
	if w := readonly.ask("POST", "/traces/1/keep", "{}", json); w.Code != 501 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTransport(t *testing.T) {
	s := serve(t, nil)
	plain := s.get("/traces/1")
	long := s.get("/traces/1/spans").Body.Bytes()
	packed := s.get("/traces/1/spans", "Accept-Encoding: br, gzip;q=0.8")
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, long) || packed.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("%v, %s", err, got)
	}
	if w := s.get("/traces/1/spans", "Accept-Encoding: gzip;q=0"); w.Header().Get("Content-Encoding") != "" {
		t.Error("packed for a client that does not take it")
	}
	if w := s.get("/operations?service=none", "Accept-Encoding: gzip"); w.Header().Get("Content-Encoding") != "" {
		t.Error("a small answer is packed")
	}
	tag := plain.Header().Get("ETag")
	if w := s.get("/traces/1", "If-None-Match: "+tag); w.Code != 304 || w.Body.Len() != 0 || tag == "" {
		t.Errorf("%d %q %s", w.Code, tag, w.Body)
	}
	if c := plain.Header().Get("Cache-Control"); c != "private, no-cache" {
		t.Errorf("a trace that may grow has Cache-Control %q", c)
	}
	if c := s.get("/services").Header().Get("Cache-Control"); c != "no-store" {
		t.Errorf("Cache-Control %q", c)
	}
	if w := s.ask("HEAD", "/traces/1", ""); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != strconv.Itoa(plain.Body.Len()) {
		t.Errorf("HEAD: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if h := plain.Header(); h.Get("Content-Type") != "application/json" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v", h)
	}
}

func TestOldTraceIsCached(t *testing.T) {
	s := serve(t, func(o *Options) {
		e := mem.New(mem.Options{})
		if err := e.Accept(t.Context(), storetest.Batch(t, spans)); err != nil {
			t.Fatal(err)
		}
		o.Query = query.New(query.Options{Reader: e, Now: func() time.Time { return clock().Add(time.Minute) }})
	})
	if w := s.get("/traces/1"); w.Header().Get("Cache-Control") != "private, max-age=30" || strings.Contains(w.Body.String(), `"maybeIncomplete":true`) {
		t.Errorf("%v", w.Header())
	}
}

func TestOTLP(t *testing.T) {
	s := serve(t, nil)
	var text strings.Builder
	for i := range 2*otlpPiece + 5 {
		fmt.Fprintf(&text, "5 %x - s%d server x 1s 1ms @scope=%d\n", i+1, i%3, i%2)
	}
	if err := s.engine.Accept(t.Context(), storetest.Batch(t, text.String())); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/traces/5/otlp": 2*otlpPiece + 5, "/traces/1/otlp": 3} {
		for _, accept := range []string{"", "gzip"} {
			w := s.get(path, "Accept-Encoding: "+accept)
			body := w.Body.Bytes()
			if accept != "" {
				z, err := gzip.NewReader(w.Body)
				if err != nil {
					t.Fatal(err)
				}
				if body, err = io.ReadAll(z); err != nil {
					t.Fatal(err)
				}
			}
			var v struct {
				ResourceSpans []struct {
					ScopeSpans []struct{ Spans []struct{ SpanID string } }
				}
			}
			if err := json.Unmarshal(body, &v); err != nil {
				t.Fatal(err)
			}
			ids := make(map[string]bool)
			for _, r := range v.ResourceSpans {
				for _, s := range r.ScopeSpans {
					for _, s := range s.Spans {
						ids[s.SpanID] = true
					}
				}
			}
			if len(ids) != want {
				t.Errorf("%s: %d spans, want %d", path, len(ids), want)
			}
		}
	}
}

func TestRecentTracesAreBounded(t *testing.T) {
	r := &recentTraces{most: recentBytes}
	ask := func(n int, at time.Time) *call {
		return &call{scope: store.Scope{Tenant: "default"}, traceID: span.TraceIDFromUint64s(0, uint64(n)), now: at}
	}
	trace := func(bytes int) *query.Trace { return &query.Trace{Batch: &span.Batch{Arena: make([]byte, bytes)}} }
	for i := range 10 {
		r.keep(ask(i, clock()), trace(1))
	}
	if len(r.list) != recentKept || r.find(ask(9, clock())) == nil || r.find(ask(5, clock())) != nil {
		t.Errorf("%d traces are held", len(r.list))
	}
	r.keep(ask(20, clock()), trace(recentBytes-10))
	if len(r.list) != 4 && len(r.list) != 1 || r.find(ask(20, clock())) == nil {
		t.Errorf("%d traces are held", len(r.list))
	}
	r.keep(ask(21, clock()), trace(recentBytes+1))
	if r.find(ask(21, clock())) != nil {
		t.Error("a trace larger than the bound is held")
	}
	restricted := ask(20, clock())
	restricted.scope.MustMatch = store.And{}
	if r.find(restricted) != nil {
		t.Error("a restricted reader gets what another one read")
	}
	if r.find(ask(20, clock().Add(recentFor))) != nil || len(r.list) != 0 {
		t.Error("a trace is held for longer than it is used")
	}
}

func BenchmarkSkeleton(b *testing.B) {
	for _, n := range []int{5_000, 50_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			tr := &query.Trace{Services: make([]query.ServiceName, 12), Names: make([]string, 100), Rows: make([]query.Row, n)}
			for i := range tr.Rows {
				tr.Rows[i] = query.Row{ID: span.SpanIDFromUint64(uint64(i) * 0x9e3779b97f4a7c15), Parent: int32(i - 1), Start: int64(i) * 1234, Duration: int64(i%1000) * 1000, Service: int32(i % 12), Name: int32(i % 100), Hop: int32(i / 3), Kind: 2}
			}
			b.ReportAllocs()
			for b.Loop() {
				b.SetBytes(int64(len(appendSkeleton(nil, tr, make([]int, 12)))))
			}
		})
	}
}

// An export is every span of the window, as lines that end in one that says so.
func TestExport(t *testing.T) {
	s := serve(t, nil)
	lines := func(path string, headers ...string) (spans int, end string) {
		t.Helper()
		w := s.get(path, headers...)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/x-ndjson" {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		body := io.Reader(w.Body)
		if w.Header().Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		} else if len(headers) > 0 {
			t.Error("not packed")
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			end = string(bytes.TrimSpace(line))
			spans += bytes.Count(line, []byte(`"spanId"`)) - bytes.Count(line, []byte(`"links":[{"traceId"`))
		}
		return spans, end
	}
	all, end := lines("/export?start=0")
	if all < 3 || end != fmt.Sprintf(`{"type":"end","spans":%d,"complete":true}`, all) {
		t.Errorf("%d spans, %s", all, end)
	}
	if packed, packedEnd := lines("/export?start=0", "Accept-Encoding: gzip"); packed != all || packedEnd != end {
		t.Errorf("packed: %d spans, %s", packed, packedEnd)
	}
	if some, end := lines("/export?start=0&filter=service%3Dfront"); some == 0 || some >= all || !strings.Contains(end, "true") {
		t.Errorf("filtered: %d of %d, %s", some, all, end)
	}
	if none, end := lines("/export?start=1h&q=%7B+name+%3D+%60nothing%60+%7D"); none != 0 || end != `{"type":"end","spans":0,"complete":true}` {
		t.Errorf("none: %d, %s", none, end)
	}
	for _, query := range []string{"q=%7B%7D+%3E+%7B%7D", "filter=traceDuration>1s"} {
		if w := s.get("/export?" + query); w.Code != http.StatusNotImplemented {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
}
