package zipkin

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/span"
)

// TestOTLPBorn writes a span that no Zipkin sender made: values of every type, no status but its own.
func TestOTLPBorn(t *testing.T) {
	b := new(span.Batch)
	b.Scopes = append(b.Scopes, span.Scope{Name: b.AddText("io.lib")})
	mark := b.AttrMark()
	b.AddTextAttr("service.name", "app")
	b.AddTextAttr("k8s.pod.name", "app-0")
	b.AddTextAttr("both", "resource")
	b.Resources = append(b.Resources, span.Resource{Attrs: b.AttrsSince(mark)})
	row := b.AddRow()
	b.TraceID[row], b.SpanID[row] = span.TraceIDFromUint64s(0, 1), span.SpanIDFromUint64(2)
	b.Kind[row], b.Status[row], b.StatusMessage[row] = span.KindClient, span.StatusError, b.AddText("timeout")
	b.Start[row], b.End[row] = 1793534400_000000_999, 1793534400_000001_500

	bytesOf := func(digits string) span.Str {
		p, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b.AddString(p)
	}
	mark = b.AttrMark()
	for _, a := range []struct {
		key string
		v   span.Value
	}{
		{"server.address", span.StrValue(span.TypeString, b.AddText("db.example"))},
		{"both", span.IntValue(-3)},
		{"double", span.DoubleValue(2)},
		{"nan", span.DoubleValue(math.NaN())},
		{"bool", span.BoolValue(true)},
		{"bytes", span.StrValue(span.TypeBytes, bytesOf("0102"))},
		{"null", span.Value{}},
		{"strings", span.StrValue(span.TypeStrings, bytesOf("0a03 0a0161 0a03 0a0122"))},
		{"mixed", span.StrValue(span.TypeArray, bytesOf("0a02 1805 0a00 0a02 1001 0a09 21 000000000000f83f 0a04 2a02 0a00 0a04 3a02 0102"))},
		{"map", span.StrValue(span.TypeKVList, bytesOf("0a07 0a016b 1202 1807"))},
		{"broken", span.StrValue(span.TypeArray, bytesOf("0a05 18"))},
		{"net.host.port", span.IntValue(81)},
	} {
		b.AddAttr(b.InternKey([]byte(a.key)), a.v)
	}
	b.SpanAttrs[row] = b.AttrsSince(mark)
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	want := `{"traceId":"0000000000000001","id":"0000000000000002","kind":"CLIENT","timestamp":1793534400000000,"duration":1,` +
		`"localEndpoint":{"serviceName":"app","port":81},"remoteEndpoint":{"serviceName":"db.example"},` +
		`"tags":{"server.address":"db.example","both":"-3","double":"2","nan":"NaN","bool":"true","bytes":"AQI=","null":"",` +
		`"strings":"[\"a\",\"\\\"\"]","mixed":"[5,null,true,1.5,[null],\"AQI=\"]","map":"{\"k\":7}","broken":"[]",` +
		`"k8s.pod.name":"app-0","otel.status_code":"ERROR","error":"timeout","otel.scope.name":"io.lib"}}`
	if got := string(AppendJSONv2(nil, b, row)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDerivedServiceIsShown(t *testing.T) {
	b := decodeBody(t, []byte(`[{"traceId":"1","id":"1","tags":{"k8s.deployment.name":"d"}}]`), JSONv2)
	if got := string(AppendJSONv2(nil, b, 0)); !strings.Contains(got, `"serviceName":"d"`) || !strings.Contains(got, tagServiceSource) {
		t.Error(got)
	}
	b.Mark[0] |= span.MarkServiceDerived
	b.Service[0] = b.AddText("web.shop")
	if got := string(AppendJSONv2(nil, b, 0)); !strings.Contains(got, `"serviceName":"web.shop"`) || !strings.Contains(got, `"k8s.deployment.name":"d"`) {
		t.Error(got)
	}
}
