package jaegerapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// bigTrace is a trace of n spans: chains of ten with some attributes, shared ids and orphans among them.
func bigTrace(n int) string {
	var w strings.Builder
	for i := range n {
		id, parent := i+1, "-"
		switch {
		case i%10 == 7: // its parent is the shared id
			parent = fmt.Sprintf("%x", i-1)
		case i%10 > 0:
			parent = fmt.Sprintf("%x", i)
		case i > 0:
			parent = "1"
		}
		kind := "internal"
		if i%10 == 5 {
			kind = "client"
		} else if i%10 == 6 {
			id, parent, kind = i, fmt.Sprintf("%x", i-1), "server @mark=shared"
		} else if i%1000 == 7 {
			parent = fmt.Sprintf("ff%08x", i)
		}
		kind, mark, _ := strings.Cut(kind, " ")
		fmt.Fprintf(&w, "abc %x %s svc%d %s op%d %dus 5ms http.status_code=200 index=%d node_id=sidecar~10.0.0.%d~pod %s resource:pod=pod-%d\n",
			id, parent, i%12, kind, i%7, i*10, i, i%250, mark, i%36)
	}
	return w.String()
}

// TestBigTrace writes a trace in many parts and reads it as clients do.
func TestBigTrace(t *testing.T) {
	const n = 20_000
	api := testAPI(t, bigTrace(n))
	w := ask(t, api, "GET", "/api/traces/abc", "Accept-Encoding: gzip")
	if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Content-Length") != "" {
		t.Fatalf("headers %v", w.Header())
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	trace := decoded(t, readAll(t, z)).Data[0]
	if len(trace.Spans) != n || len(trace.Processes) != 36 {
		t.Errorf("%d spans, %d processes", len(trace.Spans), len(trace.Processes))
	}
	ids := make(map[string]bool)
	for _, s := range trace.Spans {
		if ids[s.SpanID] {
			t.Fatalf("id %s twice", s.SpanID)
		}
		ids[s.SpanID] = true
		if trace.Processes[s.ProcessID].ServiceName == "" {
			t.Fatalf("span %s without process", s.SpanID)
		}
		for _, tag := range s.Tags {
			if tag.Key == "index" {
				if want := fmt.Sprintf("svc%d", int(tag.Value.(float64))%12); trace.Processes[s.ProcessID].ServiceName != want {
					t.Fatalf("span %s is of %s, want %s", s.SpanID, trace.Processes[s.ProcessID].ServiceName, want)
				}
			}
		}
	}
	missing := 0
	for _, s := range trace.Spans {
		for _, r := range s.References {
			if !ids[r.SpanID] {
				missing++
			}
		}
	}
	if missing != n/1000 {
		t.Errorf("%d references to spans that are not there, want %d", missing, n/1000)
	}
}

// TestUniqueIDsOfAttack: many rows of one id cost no more than other rows.
func TestUniqueIDsOfAttack(t *testing.T) {
	rows := make([]query.Row, 200_000)
	for i := range rows {
		rows[i].ID = span.SpanIDFromUint64(7)
	}
	ids := query.UniqueIDs(rows)
	seen := make(map[span.SpanID]bool, len(ids))
	for _, id := range ids {
		if seen[id] || id.IsZero() {
			t.Fatalf("id %s twice", id)
		}
		seen[id] = true
	}
	if ids[0] != rows[0].ID {
		t.Errorf("the first row has id %s", ids[0])
	}
	if query.UniqueIDs(rows[:1]) != nil {
		t.Error("ids that differ were copied")
	}
}

func TestEncodings(t *testing.T) {
	api := testAPI(t, bigTrace(40))
	small := ask(t, api, "GET", "/api/services", "Accept-Encoding: gzip")
	if e := small.Header().Get("Content-Encoding"); e != "" || small.Header().Get("Content-Length") != fmt.Sprint(small.Body.Len()) {
		t.Errorf("a small answer: %v", small.Header())
	}
	for accept, zipped := range map[string]bool{"": false, "gzip": true, "br, gzip;q=0.5": true, "gzip;q=0": false, "*": true, "identity": false, "GZIP": true} {
		w := ask(t, api, "GET", "/api/traces/abc", "Accept-Encoding: "+accept)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != zipped {
			t.Errorf("Accept-Encoding %q: %v", accept, w.Header())
		}
		if ct := w.Header().Get("Content-Type"); ct != "application/json" {
			t.Errorf("content type %q", ct)
		}
	}

	plain := ask(t, api, "GET", "/api/traces/abc").Body.Bytes()
	var want bytes.Buffer
	if err := json.Indent(&want, plain, "", "    "); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, api, "GET", "/api/traces/abc?prettyPrint=true").Body.String(); got != want.String() {
		t.Errorf("pretty\n%s\nwant\n%s", got, &want)
	}
	if got := ask(t, api, "GET", "/api/traces/abc?prettyPrint=false").Body.Bytes(); !bytes.Equal(got, plain) {
		t.Error("prettyPrint=false is not plain")
	}
	// Parts may end anywhere.
	tricky := []byte(`{"a":[],"b":{},"c":["x\\","\"]{,:"],"d":[{"e":null},{}]}`)
	want.Reset()
	if err := json.Indent(&want, tricky, "", "    "); err != nil {
		t.Fatal(err)
	}
	for cut := range tricky {
		x := &indenter{}
		if got := x.append(x.append(nil, tricky[:cut]), tricky[cut:]); string(got) != want.String() {
			t.Fatalf("cut at %d: %s", cut, got)
		}
	}
}

// TestClientGone stops writing when the connection breaks.
func TestClientGone(t *testing.T) {
	engine := mem.New(mem.Options{Now: clock})
	if err := engine.Accept(t.Context(), storetest.Batch(t, bigTrace(2000))); err != nil {
		t.Fatal(err)
	}
	q := query.New(query.Options{Reader: engine, Now: clock})
	trace, err := q.Trace(t.Context(), store.Scope{}, span.TraceIDFromUint64s(0, 0xabc), store.TimeRange{})
	if err != nil {
		t.Fatal(err)
	}
	out := &answer{w: &countingWriter{limit: 100_000}}
	w := traceWriter{out: out}
	if w.next(trace) || out.err == nil {
		t.Error("a trace was written to nobody")
	}
}

func FuzzSearchParameters(f *testing.F) {
	f.Add(`service=x&start=1&end=2&minDuration=1us&tags={"a":"b"}&tag=c:d&limit=5`)
	f.Add("traceID=1&traceID=AAAAAAAAAAAAAAAAAAAAAQ==&raw=true")
	f.Add("service=x&start=-9223372036854775808&end=9223372036854775807")
	f.Add(`service=x&tags={"error":true,"span.kind":"server"}`)
	f.Fuzz(func(t *testing.T, raw string) {
		v, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		q, err := parseSearch(v, clock(), defaultLookback)
		if err != nil || len(q.ids) > 0 {
			return
		}
		if q.window.To < q.window.From || q.limit < 1 || q.limit > query.MaxSearchLimit || q.atLeast < 0 || q.atMost < 0 || q.service == "" {
			t.Fatalf("%q: %+v", raw, q)
		}
		api := testAPI(t, searched)
		if w := ask(t, api, "GET", "/api/traces?"+v.Encode()); w.Code != 200 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%q: %d %s", raw, w.Code, w.Body)
		}
	})
}

func FuzzTraceID(f *testing.F) {
	for _, s := range []string{"1", "0xAB", "AAAAAAAAAAAAAAAAAAAAAQ==", "AAAAAAAAAAAAAAAAAAAAAQ", "_-8AAAAAAAAAAAAAAAAAAQ", "", "0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseTraceID(s)
		if err != nil {
			return
		}
		if id.IsZero() {
			t.Fatalf("%q is the zero id", s)
		}
		if again, err := parseTraceID(string(appendTraceID(nil, id))); err != nil || again != id {
			t.Fatalf("%q is %s, read back %s, %v", s, id, again, err)
		}
	})
}

// countingWriter takes an answer and forgets it; beyond limit, if there is one, the connection is broken.
type countingWriter struct {
	head     http.Header
	n, limit int
}

func (w *countingWriter) Header() http.Header {
	if w.head == nil {
		w.head = make(http.Header)
	}
	return w.head
}

func (w *countingWriter) WriteHeader(int) {}

func (w *countingWriter) Write(p []byte) (int, error) {
	if w.n += len(p); w.limit > 0 && w.n > w.limit {
		return 0, errors.New("broken pipe")
	}
	return len(p), nil
}

func BenchmarkTrace(bm *testing.B) {
	for _, n := range []int{1000, 20_000} {
		bm.Run(fmt.Sprint(n), func(bm *testing.B) {
			engine := mem.New(mem.Options{Now: clock})
			if err := engine.Accept(bm.Context(), storetest.Batch(bm, bigTrace(n))); err != nil {
				bm.Fatal(err)
			}
			q := query.New(query.Options{Reader: engine, Now: clock})
			trace, err := q.Trace(bm.Context(), store.Scope{}, span.TraceIDFromUint64s(0, 0xabc), store.TimeRange{})
			if err != nil {
				bm.Fatal(err)
			}
			bm.ReportAllocs()
			size := 0
			for bm.Loop() {
				sink := &countingWriter{}
				out := &answer{w: sink}
				(&traceWriter{out: out}).next(trace)
				out.finish()
				size = sink.n
			}
			bm.ReportMetric(float64(bm.Elapsed().Nanoseconds())/float64(bm.N)/float64(n), "ns/span")
			bm.ReportMetric(float64(size)/float64(n), "B/span")
		})
	}
}

// FuzzRequest: whatever stands in a path and its parameters, the answer is JSON of the version's form, and its status no 5xx but
// 501.
func FuzzRequest(f *testing.F) {
	for _, path := range []string{"traces", "traces/1", "services", "services/front/operations", "operations", "dependencies", "metrics/calls",
		"v3/traces", "v3/traces/1", "v3/services", "v3/operations", "v3/trace-summaries", "v3/dependencies"} {
		for _, params := range []string{"", `service=front&start=1&end=2&minDuration=1us&tags={"a":"b"}&tag=c:d&limit=5`, "endTs=1&lookback=99999999999999",
			`query.serviceName=front&query.startTimeMin=2026-01-01T00:00:00 01:00&query.startTimeMax=2026-01-02T00:00:00Z&query.attributes={"a":1}&query.searchDepth=3`,
			"startTime=0001-01-01T00:00:00Z&endTime=9999-01-01T00:00:00Z&rawTraces=true"} {
			f.Add(path, params)
		}
	}
	f.Fuzz(func(t *testing.T, path, params string) {
		r := httptest.NewRequest("GET", "/api/", nil)
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/api/"+path, "", params
		w := httptest.NewRecorder()
		testAPI(t, searched).ServeHTTP(w, r)
		if !json.Valid(w.Body.Bytes()) || w.Code >= 500 && w.Code != 501 {
			t.Fatalf("%q %q: %d %s", path, params, w.Code, w.Body)
		}
		if isError := bytes.HasPrefix(w.Body.Bytes(), []byte(`{"error":`)); w.Code >= 400 && isError != strings.HasPrefix(path, "v3/") {
			t.Fatalf("%q: %d %s", path, w.Code, w.Body)
		}
	})
}
