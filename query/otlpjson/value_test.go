package otlpjson

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/span"
)

func field(num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
}

func TestPlainValues(t *testing.T) {
	text := func(s string) []byte { return field(1, []byte(s)) }
	number := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 1<<63-1)
	pair := field(1, append(field(1, []byte("k")), field(2, number)...))
	nested := field(1, append(field(1, []byte("deep")), field(2, field(6, pair))...))
	b := new(span.Batch)
	for _, c := range []struct {
		typ         span.Type
		raw         []byte
		plain, otlp string
	}{
		{span.TypeString, []byte("a\xffb"), `"a\ufffdb"`, `{"stringValue":"a\ufffdb"}`},
		{span.TypeBytes, nil, `""`, `{"bytesValue":""}`},
		{span.TypeStrings, nil, `[]`, `{"arrayValue":{"values":[]}}`},
		{span.TypeArray, append(field(1, text("x")), field(1, nil)...), `["x",null]`, `{"arrayValue":{"values":[{"stringValue":"x"},{}]}}`},
		{span.TypeArray, field(1, field(5, field(1, number))), `[[9223372036854775807]]`,
			`{"arrayValue":{"values":[{"arrayValue":{"values":[{"intValue":"9223372036854775807"}]}}]}}`},
		{span.TypeKVList, append(bytes.Clone(pair), nested...), `{"k":9223372036854775807,"deep":{"k":9223372036854775807}}`,
			`{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"9223372036854775807"}},{"key":"deep","value":{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"9223372036854775807"}}]}}}]}}`},
		{span.TypeArray, []byte{0x0a, 0xff}, `[]`, `{"arrayValue":{"values":[]}}`},
		{span.TypeKVList, []byte{0x0a, 0x00, 0x10, 0x01}, `{"":null}`, `{"kvlistValue":{"values":[{"key":"","value":{}}]}}`},
	} {
		v := span.StrValue(c.typ, b.AddString(c.raw))
		if got := string(AppendValue(nil, b, v)); got != c.plain {
			t.Errorf("%x plain is %s, want %s", c.raw, got, c.plain)
		}
		if got := string(AppendAnyValue(nil, b, v)); got != c.otlp {
			t.Errorf("%x is %s, want %s", c.raw, got, c.otlp)
		}
	}
	if got := string(AppendValue(nil, b, span.Value{})); got != "null" {
		t.Errorf("null is %s", got)
	}
}

// TestNesting: a bomb of arrays costs neither stack nor time, and what is too deep is absent.
func TestNesting(t *testing.T) {
	var raw []byte
	for range 2000 {
		raw = field(1, field(5, raw))
	}
	b := new(span.Batch)
	v := span.StrValue(span.TypeArray, b.AddString(raw))
	got := AppendValue(nil, b, v)
	if depth := bytes.Count(got, []byte("[")); !json.Valid(got) || depth != maxNesting {
		t.Errorf("%d levels: %s", depth, got)
	}
}

// FuzzValue: whatever stands in a value, what is written is JSON and the collector's reader takes it.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{"", "0a00", "0a030a0178", "0a0a0a0378797a12030a0178", "0a022a000a0232000a04180112ff"} {
		p, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		b := new(span.Batch)
		s := b.AddString(p)
		row := b.AddRow()
		b.TraceID[row], b.SpanID[row] = span.TraceIDFromUint64s(1, 2), span.SpanIDFromUint64(3)
		b.Resources, b.Scopes = make([]span.Resource, 1), make([]span.Scope, 1)
		mark := b.AttrMark()
		for _, typ := range []span.Type{span.TypeString, span.TypeBytes, span.TypeStrings, span.TypeArray, span.TypeKVList} {
			v := span.StrValue(typ, s)
			if got := AppendValue(nil, b, v); !json.Valid(got) {
				t.Fatalf("type %d of %x is %s", typ, p, got)
			}
			b.AddAttr(b.InternKey(p), v)
		}
		b.SpanAttrs[row] = b.AttrsSince(mark)
		byCollector(t, AppendTracesData(nil, b, nil))
	})
}
