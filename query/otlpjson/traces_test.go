package otlpjson

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/storetest"
)

// byCollector reads OTLP JSON as the collector does and takes the spans back by protobuf.
func byCollector(t testing.TB, body []byte) *span.Batch {
	t.Helper()
	traces, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(body)
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	proto, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(traces)
	if err != nil {
		t.Fatal(err)
	}
	b := new(span.Batch)
	if err := otlp.Decode(b, proto); err != nil {
		t.Fatal(err)
	}
	return b
}

// byProtobuf takes a batch through our own protobuf, which leaves out what OTLP cannot say.
func byProtobuf(t testing.TB, b *span.Batch) *span.Batch {
	t.Helper()
	out := new(span.Batch)
	if err := otlp.Decode(out, otlp.AppendRequest(nil, b)); err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t testing.TB, what string, b *span.Batch) {
	t.Helper()
	body := AppendTracesData(nil, b, nil)
	if !json.Valid(body) {
		t.Fatalf("%s: no JSON: %s", what, body)
	}
	if got, want := storetest.Print(byCollector(t, body)), storetest.Print(byProtobuf(t, b)); got != want {
		t.Fatalf("%s: the collector reads\n%s\nwant\n%s\nin %s", what, got, want, body)
	}
}

func TestAgainstCollector(t *testing.T) {
	names, err := filepath.Glob("testdata/*.pb")
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, name := range names {
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b := new(span.Batch)
		if err := otlp.Decode(b, body); err != nil {
			t.Fatal(err)
		}
		same(t, name, b)
	}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		same(t, fmt.Sprintf("seed %d", seed), storetest.Batch(t, storetest.RandomText(r, 60, 10, 0)))
	}
}

// TestEveryField writes one span with everything set, and one with nothing.
func TestEveryField(t *testing.T) {
	b := storetest.Batch(t, `
ab000000000000000000000000000001 a b front server "GET /" =1 =18446744073709551615 s="a\"\\\n\x01ü" i=-9223372036854775808 d=72.5 w=1e21 nan=NaN inf=-Inf t=true n=null e="" bin=bytes:00ff l=["x","y"] empty=[] resource:pod=p1 @resource.url=ru @resource.dropped=1 scope:k=v @scope=lib @scope.version=1.0 @scope.url=su @scope.dropped=2 @status=error @message=boom @state=k=v @flags=257 @dropped=3,4,5
  event exception 1ms type=Timeout @dropped=6
  event - none
  link ab000000000000000000000000000002 c k=v @state=x=y @flags=1 @dropped=7
  link - -
1 2 - - unspecified - none none
`)
	const want = `{"resourceSpans":[` +
		`{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"front"}},{"key":"pod","value":{"stringValue":"p1"}}],"droppedAttributesCount":1},` +
		`"scopeSpans":[{"scope":{"name":"lib","version":"1.0","attributes":[{"key":"k","value":{"stringValue":"v"}}],"droppedAttributesCount":2},` +
		`"spans":[{"traceId":"ab000000000000000000000000000001","spanId":"000000000000000a","traceState":"k=v","parentSpanId":"000000000000000b","flags":257,` +
		`"name":"GET /","kind":2,"startTimeUnixNano":"1","endTimeUnixNano":"18446744073709551615","attributes":[` +
		`{"key":"s","value":{"stringValue":"a\"\\\n\u0001ü"}},{"key":"i","value":{"intValue":"-9223372036854775808"}},{"key":"d","value":{"doubleValue":72.5}},` +
		`{"key":"w","value":{"doubleValue":1e+21}},{"key":"nan","value":{"doubleValue":"NaN"}},{"key":"inf","value":{"doubleValue":"-Infinity"}},` +
		`{"key":"t","value":{"boolValue":true}},{"key":"n","value":{}},{"key":"e","value":{"stringValue":""}},{"key":"bin","value":{"bytesValue":"AP8="}},` +
		`{"key":"l","value":{"arrayValue":{"values":[{"stringValue":"x"},{"stringValue":"y"}]}}},{"key":"empty","value":{"arrayValue":{"values":[]}}}],` +
		`"droppedAttributesCount":3,"events":[{"timeUnixNano":"1767225600001000000","name":"exception","attributes":[{"key":"type","value":{"stringValue":"Timeout"}}],"droppedAttributesCount":6},{}],` +
		`"droppedEventsCount":4,"links":[{"traceId":"ab000000000000000000000000000002","spanId":"000000000000000c","traceState":"x=y","attributes":[{"key":"k","value":{"stringValue":"v"}}],` +
		`"droppedAttributesCount":7,"flags":1},{}],"droppedLinksCount":5,"status":{"message":"boom","code":2}}],"schemaUrl":"su"}],"schemaUrl":"ru"},` +
		`{"resource":{},"scopeSpans":[{"scope":{},"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000002"}]}]}]}`
	if got := string(AppendTracesData(nil, b, nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	same(t, "every field", b)
}

// TestGroups puts rows of one resource together, in the order of their first rows, and writes the rows asked for only.
func TestGroups(t *testing.T) {
	b := storetest.Batch(t, `
1 1 - a internal r1 0s 1ms @scope=x
1 2 - b internal r2 0s 1ms @scope=x
1 3 - a internal r3 0s 1ms @scope=y
1 4 - a internal r4 0s 1ms @scope=x
1 5 - c internal r5 0s 1ms @scope=x
`)
	out := new(span.Batch)
	c := span.NewCopier(out)
	c.Begin(b)
	for i := range b.Len() {
		c.Row(i)
	}
	var got struct {
		ResourceSpans []struct {
			ScopeSpans []struct {
				Spans []struct{ Name string }
			}
		}
	}
	if err := json.Unmarshal(AppendTracesData(nil, out, []int32{1, 0, 3, 2}), &got); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(got.ResourceSpans); text != "[{[{[{r2}]}]} {[{[{r1} {r4}]} {[{r3}]}]}]" {
		t.Errorf("groups are %s", text)
	}
	if got := string(AppendTracesData(nil, new(span.Batch), nil)); got != `{"resourceSpans":[]}` {
		t.Errorf("an empty batch is %s", got)
	}
}

func BenchmarkAppendTracesData(bm *testing.B) {
	b := storetest.Batch(bm, storetest.RandomText(rand.New(rand.NewPCG(1, 1)), 1000, 50, 0))
	dst := AppendTracesData(nil, b, nil)
	bm.ReportAllocs()
	bm.SetBytes(int64(len(dst)))
	for bm.Loop() {
		dst = AppendTracesData(dst[:0], b, nil)
	}
}
