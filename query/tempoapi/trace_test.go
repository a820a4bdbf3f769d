package tempoapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

const acceptProtobuf = "Accept=application/protobuf"

// traceByID is a TraceByIDResponse as a client decodes it.
type traceByID struct {
	present bool // the field trace was there
	trace   *tracev1.TracesData
	partial bool
	message string
}

func decodeByID(t testing.TB, p []byte) (r traceByID) {
	t.Helper()
	r.trace = &tracev1.TracesData{}
	for len(p) > 0 {
		num, typ, n := protowire.ConsumeTag(p)
		if n < 0 {
			t.Fatalf("bad tag in %x", p)
		}
		p = p[n:]
		if typ == protowire.VarintType {
			v, n := protowire.ConsumeVarint(p)
			if num != 3 || n < 0 {
				t.Fatalf("field %d is a number", num)
			}
			r.partial, p = v == 1, p[n:]
			continue
		}
		body, n := protowire.ConsumeBytes(p)
		if n < 0 {
			t.Fatalf("bad field %d", num)
		}
		switch p = p[n:]; num {
		case 1:
			r.present = true
			if err := proto.Unmarshal(body, r.trace); err != nil {
				t.Fatal(err)
			}
		case 2:
		case 4:
			r.message = string(body)
		default:
			t.Fatalf("unknown field %d", num)
		}
	}
	return r
}

// decodeJSON reads the trace of a v1 or v2 answer in JSON, refusing what OTLP's messages do not have.
func decodeJSON(t testing.TB, body []byte) *tracev1.TracesData {
	t.Helper()
	var a struct {
		Batches json.RawMessage
		Trace   *struct{ ResourceSpans json.RawMessage }
		Metrics *struct{ InspectedBytes string }
		Status  string
		Message string
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	raw := a.Batches
	if raw == nil && a.Trace != nil {
		raw = a.Trace.ResourceSpans
	}
	if raw == nil {
		raw = json.RawMessage("[]")
	}
	out := &tracev1.TracesData{}
	if err := protojson.Unmarshal([]byte(`{"resourceSpans":`+string(raw)+`}`), out); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return out
}

// TestTraceFormsAgree: the same trace in four forms is the same OTLP message, every span is in it once, and every span's parent is
// there or is as it was sent.
func TestTraceFormsAgree(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, 1))
	for round := range 50 {
		api := newAPI(t, storetest.RandomText(r, 40, 4, 0))
		for id := range 6 {
			url := fmt.Sprintf("traces/%x", id+1)
			v2 := ask(t, api, "GET", "/api/v2/"+url, acceptProtobuf)
			if v2.Code != http.StatusOK || v2.Header().Get("Content-Type") != "application/protobuf" {
				t.Fatalf("seed %d round %d: %d %v %s", seed, round, v2.Code, v2.Header(), v2.Body)
			}
			want := decodeByID(t, v2.Body.Bytes())
			if !want.present {
				t.Fatal("no trace in the answer: Grafana reads it without looking")
			}
			if d := difference(decodeJSON(t, ask(t, api, "GET", "/api/v2/"+url).Body.Bytes()), want.trace); d != "" {
				t.Fatalf("seed %d round %d: JSON against protobuf: %s", seed, round, d)
			}
			v1 := ask(t, api, "GET", "/api/"+url, acceptProtobuf)
			if len(want.trace.ResourceSpans) == 0 {
				if v1.Code != http.StatusNotFound || v1.Body.Len() > 0 {
					t.Fatalf("no trace: %d %s", v1.Code, v1.Body)
				}
				continue
			}
			got := &tracev1.TracesData{}
			if err := proto.Unmarshal(v1.Body.Bytes(), got); err != nil || difference(got, want.trace) != "" {
				t.Fatalf("seed %d round %d: v1 against v2: %v %s", seed, round, err, difference(got, want.trace))
			}
			if d := difference(decodeJSON(t, ask(t, api, "GET", "/api/"+url).Body.Bytes()), want.trace); d != "" {
				t.Fatalf("seed %d round %d: v1 JSON against protobuf: %s", seed, round, d)
			}
			checkBatches(t, want.trace)
		}
	}
}

// difference is where two traces differ, in their text form. An absent value and an empty one are the same: JSON has the second
// only.
func difference(got, want *tracev1.TracesData) string {
	plain := func(m proto.Message) string {
		return strings.NewReplacer("value:{}", "", " ", "").Replace(fmt.Sprint(m))
	}
	g, w := plain(got), plain(want)
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("…%.200s\nwant …%.200s", g[max(0, i-40):], w[max(0, i-40):])
		}
	}
	if len(g) != len(w) {
		return fmt.Sprintf("%d bytes of text, want %d", len(g), len(w))
	}
	return ""
}

// checkBatches checks what Kiali takes for granted.
func checkBatches(t *testing.T, trace *tracev1.TracesData) {
	t.Helper()
	seen := make(map[string]bool)
	for _, batch := range trace.ResourceSpans {
		if len(batch.ScopeSpans) != 1 || len(batch.ScopeSpans[0].Spans) == 0 {
			t.Fatalf("a batch with %d scopes", len(batch.ScopeSpans))
		}
		services := 0
		for _, a := range batch.Resource.Attributes {
			if a.Key == "service.name" && a.Value.GetStringValue() != "" {
				services++
			}
		}
		if services == 0 {
			t.Fatalf("a batch without a service: %v", batch.Resource)
		}
		for _, s := range batch.ScopeSpans[0].Spans {
			if seen[string(s.SpanId)] {
				t.Fatalf("span %x twice", s.SpanId)
			}
			seen[string(s.SpanId)] = true
			if s.EndTimeUnixNano < s.StartTimeUnixNano || s.Name == "" {
				t.Fatalf("span %v", s)
			}
		}
	}
}

// bigTrace is a trace of n spans below one root.
func bigTrace(n int) string {
	var b strings.Builder
	b.WriteString("1 1 - front server root 0s 1s\n")
	for i := range n - 1 {
		fmt.Fprintf(&b, "1 %x 1 front internal step %dus 1ms n=%d\n", i+2, i, i)
	}
	return b.String()
}

func TestLargeTraces(t *testing.T) {
	api := newAPI(t, bigTrace(3000))
	want := decodeByID(t, ask(t, api, "GET", "/api/v2/traces/1", acceptProtobuf).Body.Bytes())
	spans := 0
	for _, batch := range want.trace.ResourceSpans {
		if n := len(batch.ScopeSpans[0].Spans); n > groupSpans {
			t.Errorf("a batch of %d spans", n)
		}
		spans += len(batch.ScopeSpans[0].Spans)
	}
	if spans != 3000 {
		t.Errorf("%d spans", spans)
	}
	if d := difference(decodeJSON(t, ask(t, api, "GET", "/api/traces/1").Body.Bytes()), want.trace); d != "" {
		t.Errorf("JSON against protobuf: %s", d)
	}
}

// TestPartialTrace: a trace over the limits is refused by v1 and cut by v2, which says so.
func TestPartialTrace(t *testing.T) {
	engine := mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { _ = engine.Close() })
	if err := engine.Accept(t.Context(), storetest.Batch(t, bigTrace(20))); err != nil {
		t.Fatal(err)
	}
	api := New(Options{Query: query.New(query.Options{Reader: engine, Now: clock, Limits: query.Limits{TraceSpans: 10}})})
	if w := ask(t, api, "GET", "/api/traces/1"); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "more than 10 spans") {
		t.Errorf("v1: %d %s", w.Code, w.Body)
	}
	r := decodeByID(t, ask(t, api, "GET", "/api/v2/traces/1", acceptProtobuf).Body.Bytes())
	if !r.partial || !strings.Contains(r.message, "more than 10 spans") || len(r.trace.ResourceSpans[0].ScopeSpans[0].Spans) != 10 {
		t.Errorf("v2: %+v", r)
	}
	if w := ask(t, api, "GET", "/api/v2/traces/1"); !strings.Contains(w.Body.String(), `"status":"PARTIAL","message":"the trace has more than 10 spans`) {
		t.Errorf("v2 JSON: %s", w.Body)
	}
}

// TestTextThatIsNotUTF8: protobuf's decoders refuse a whole message for one bad byte.
func TestTextThatIsNotUTF8(t *testing.T) {
	b := storetest.Batch(t, `1 a - front server "GET /" 1s 10ms key=value resource:pod=x`)
	b.Name[0] = b.AddText("caf\xe9")
	for i := range b.Attrs {
		if b.Attrs[i].Type == span.TypeString && string(b.Key(b.Attrs[i])) == "key" {
			b.Attrs[i].Bits = span.StrValue(span.TypeString, b.AddText("\xff")).Bits
		}
	}
	engine := mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { _ = engine.Close() })
	if err := engine.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	api := New(Options{Query: query.New(query.Options{Reader: engine, Now: clock})})
	r := decodeByID(t, ask(t, api, "GET", "/api/v2/traces/1", acceptProtobuf).Body.Bytes())
	s := r.trace.ResourceSpans[0].ScopeSpans[0].Spans[0]
	if s.Name != "caf\uFFFD" || s.Attributes[0].Value.GetStringValue() != "\uFFFD" {
		t.Errorf("%v", s)
	}
	if w := ask(t, api, "GET", "/api/v2/search/tag/span.key/values"); !strings.Contains(w.Body.String(), "\uFFFD") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
