package uiapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// clock stands a second after the receipt of the test's spans.
func clock() time.Time { return storetest.Epoch.Add(storetest.DefaultReceived + time.Second) }

const spans = `
1 a - front server "a copy" 3590s 12ms
1 a - front server "GET /" 3590s 12ms n=200 big=9007199254740993 bigs=[9007199254740993,1] d=72.5 inf=+Inf yes=true none=null s="a \"b\"" raw=bytes:fffe words=["a","b"] list=kvlist:0a080a016112030a0178 resource:pod=front-1 @scope=lib @scope.version=1.2 scope:k=v @status=error @message="it failed" @state=k=v @flags=257 @dropped=1,2,3 @group=front @namespace=shop @mark=proxy
  event exception 3591s exception.type=Timeout @dropped=6
  link 2 b kind=retry @state=a=b @flags=1 @dropped=7
1 b a back client - 3590.001s 1ms
1 c ff back server "late" 3590.002s 1ms
2 e - other internal "work" 3580s 1s @weight=10
3 e ee other server "orphan" 3570s 1s
4 1 - deep server "a" 3560s 1s
`

// physician judges what it is given, and a book with one receipt.
type physician struct{}

func (physician) Report(_ context.Context, _ store.Scope, r store.TimeRange, facts *doctor.Facts, alone bool, o doctor.Options) (*doctor.Report, error) {
	f := doctor.Facts{Source: "server", Collected: clock().UnixNano()}
	if facts != nil {
		f = *facts
	}
	if !alone {
		f.Book = &doctor.Book{From: r.From, To: r.To, Receipts: []doctor.Receipt{
			{Namespace: "shop", Workload: "front", Protocol: "zipkin", Sender: "10.0.0.1", Spans: 10, Requests: 2, Last: r.To},
			{Protocol: "zipkin", Sender: "10.0.0.1", Misuses: map[string]int64{"wrong_path": 2}}}}
	}
	return doctor.Diagnose(&f, o), nil
}

// Encryption knows of a gateway and of web with sidecars, and of api without one.
func (physician) Encryption() *doctor.Encryption {
	pod := func(namespace, name string, proxy bool) istio.Workload {
		return istio.Workload{Ref: istio.Ref{Kind: "Pod", Namespace: namespace, Name: name + "-1"}, Labels: map[string]string{"app": name}, Pod: true, HasProxy: proxy}
	}
	return doctor.NewEncryption(&doctor.Facts{Objects: istio.Objects{Workloads: []istio.Workload{pod("is", "gw", true), pod("shop", "web", true), pod("shop", "api", false)}}})
}

// receipts is a ledger with one entry.
type receipts struct{ err error }

func (r receipts) Receipts(_ context.Context, from, to time.Time) ([]Receipt, error) {
	if !from.Before(to) {
		return nil, errors.New("no window")
	}
	return []Receipt{{Workload: "front.shop", Sender: "10.0.0.1", Protocol: "zipkin", Spans: 10, Requests: 4, LastTime: At(clock()), Refused: map[string]int64{"bad_id": 1}}}, r.err
}

func (r receipts) Rejects() []Reject {
	return []Reject{{Time: At(clock()), Sender: "10.0.0.1", Protocol: "zipkin", Reason: "bad_id", Message: "short", Bytes: 5, Head: "7b22"}}
}

func status(context.Context) Status {
	return Status{Version: "1", Commit: "abc", Uptime: time.Second, Now: At(clock()),
		Receivers: []Receiver{{Protocol: "zipkin", Address: "127.0.0.1:9411", SpansPerSecond: 0.5, Spans: 10, LastTime: At(clock()), Misuses: map[string]int64{"wrong_path": 2}}},
		Store: StoreStatusOf(store.Stats{Kind: "memory", Spans: 7, Oldest: 1, Refusing: "full", Damaged: []string{"frame 7"},
			Queue: &store.QueueStats{Spans: 3, HiddenSpans: 1, Bytes: 4, LimitBytes: 5, Oldest: 1, SentSpans: 6, Failures: 7, LastError: "away", FailedAt: 1, PoisonSpans: 8, PoisonFile: "/data/queue/dead/x.log", UnreadableSpans: 9},
			Bucket: &store.BucketStats{Address: "s3://spans", ReadOnly: true, Generation: 1, Segments: 2, Bytes: 3, Far: 4, WaitingSegments: 5, WaitingBytes: 6, Since: 7, Uploads: 8,
				Failures: 9, LastError: "away", FailedAt: 10, CheckedAt: 11, Lost: "taken", CacheBytes: 12, CacheHits: 13, Fetches: 14, FetchedBytes: 15},
			Segments: &store.Segments{Files: 2, Hours: []store.HourStats{{Hour: 1, Spans: 7, Bytes: 70}}}}),
		Listeners: []Listener{{Name: "http", Address: "127.0.0.1:16686"}},
		Forward: &ForwardStatus{Bytes: 1, LimitBytes: 2, Damaged: []string{"frame 8"}, Targets: []ForwardTarget{{Name: "tempo", Address: "grpc://tempo:4317", Spans: 1, Oldest: 1,
			SentSpans: 2, RefusedSpans: 3, DroppedSpans: 4, UnreadableSpans: 5, Failures: 6, LastError: "away", FailedAt: 1, LastRefusal: "no"}}}}
}

type server struct {
	http.Handler
	engine *mem.Engine
}

func serve(t testing.TB, change func(*Options)) *server {
	t.Helper()
	e := mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { e.Close() })
	return &server{serveOver(t, e, change), e}
}

func serveOver(t testing.TB, e store.Engine, change func(*Options)) http.Handler {
	t.Helper()
	if err := e.Accept(t.Context(), storetest.Batch(t, spans)); err != nil {
		t.Fatal(err)
	}
	o := Options{Query: query.New(query.Options{Reader: e, Keeper: e, Meta: e, Now: clock}), TraceQL: traceql.New(e, traceql.Options{Now: clock}), Receipts: receipts{}, Status: status, Doctor: physician{}, Mesh: readMesh(t)}
	if change != nil {
		change(&o)
	}
	return New(o)
}

// get asks a path after the prefix; headers are Name: value.
func (s *server) get(path string, headers ...string) *httptest.ResponseRecorder {
	return s.ask("GET", path, "", headers...)
}

func (s *server) ask(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, Prefix+path, strings.NewReader(body))
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Add(k, v)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func decode(t testing.TB, body []byte) any {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return v
}

func filter(texts ...string) string { return url.Values{"filter": texts}.Encode() }
