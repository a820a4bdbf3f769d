package otlp

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

func decodeJSON(t testing.TB, body string) *span.Batch {
	t.Helper()
	b := new(span.Batch)
	if err := DecodeJSON(b, []byte(body)); err != nil {
		t.Fatal(err)
	}
	check(t, b)
	return b
}

// TestJSONAgainstPdata writes requests as JSON with the collector's library and reads them back with ours.
func TestJSONAgainstPdata(t *testing.T) {
	bodies := envoyBodies(t)
	for seed := range uint64(100) {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 4)), keys: 40}
		bodies[fmt.Sprint("seed ", seed)] = g.request(1 + int(seed%5))
	}
	for name, body := range bodies {
		td, err := pdataDecode(body)
		if err != nil {
			t.Fatal(err)
		}
		text, err := new(ptrace.JSONMarshaler).MarshalTraces(td)
		if err != nil {
			t.Fatal(err)
		}
		again, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces(text)
		if err != nil {
			t.Fatal(err)
		}
		sameText(t, name, batchText(decodeJSON(t, string(text))), pdataText(again))
	}
}

const jsonIDs = `"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174"`

// oneJSON is a request of one span with more fields.
func oneJSON(fields string) string {
	return `{"resourceSpans":[{"scopeSpans":[{"spans":[{` + jsonIDs + fields + `}]}]}]}`
}

func TestJSONForms(t *testing.T) {
	tests := []struct {
		name, fields, want string // want is a line of the row's text
	}{
		{"enum names", `,"kind":"SPAN_KIND_SERVER","status":{"code":"STATUS_CODE_ERROR","message":"m"}`, ` status 2 "m"`},
		{"enum numbers", `,"status":{"code":2}`, ` status 2 ""`},
		{"enum in quotes", `,"status":{"code":"2"}`, ` status 2 ""`},
		{"unknown enum", `,"status":{"code":"STATUS_CODE_NEW"}`, ` status 0 ""`},
		{"times as strings", `,"startTimeUnixNano":"1544712660300000000","endTimeUnixNano":"18446744073709551615"`, ` time 1544712660300000000 18446744073709551615 state "" flags 0 dropped 0 0 0`},
		{"times as numbers", `,"startTimeUnixNano":1544712660300000000,"endTimeUnixNano":1.5447126613e18`, ` time 1544712660300000000 1544712661300000000 state "" flags 0 dropped 0 0 0`},
		{"nulls", `,"name":null,"attributes":null,"events":null,"links":null,"status":null,"startTimeUnixNano":null,"parentSpanId":null`, ` time 0 0 state "" flags 0 dropped 0 0 0`},
		{"parent of zeros", `,"parentSpanId":"0000000000000000"`, `span 5b8efff798038103d269b633813fc60c eee19b7ec3c1b174 parent 0000000000000000 "" kind 0`},
		{"empty parent", `,"parentSpanId":"","name":"a\u00e9\n"`, `span 5b8efff798038103d269b633813fc60c eee19b7ec3c1b174 parent 0000000000000000 "aé\n" kind 0`},
		{"counts and flags", `,"flags":257,"droppedAttributesCount":"1","droppedEventsCount":2.0,"droppedLinksCount":4294967295,"traceState":"a=b"`, ` time 0 0 state "a=b" flags 101 dropped 1 2 4294967295`},
		{"unknown fields", `,"future":{"a":[1,{"b":null}]},"name":"n"`, `span 5b8efff798038103d269b633813fc60c eee19b7ec3c1b174 parent 0000000000000000 "n" kind 0`},
		{"repeated fields", `,"name":"first","name":"last"`, `span 5b8efff798038103d269b633813fc60c eee19b7ec3c1b174 parent 0000000000000000 "last" kind 0`},
		{"int as string", `,"attributes":[{"key":"k","value":{"intValue":"-9223372036854775808"}}]`, ` "k" = int -9223372036854775808`},
		{"int as number", `,"attributes":[{"key":"k","value":{"intValue":42}}]`, ` "k" = int 42`},
		{"int as float", `,"attributes":[{"key":"k","value":{"intValue":-4.2e1}}]`, ` "k" = int -42`},
		{"value before key", `,"attributes":[{"value":{"stringValue":"v"},"key":"k"}]`, ` "k" = "v"`},
		{"double", `,"attributes":[{"key":"k","value":{"doubleValue":1.5}}]`, ` "k" = double 3ff8000000000000`},
		{"double in quotes", `,"attributes":[{"key":"k","value":{"doubleValue":"-Infinity"}}]`, ` "k" = double fff0000000000000`},
		{"not a number", `,"attributes":[{"key":"k","value":{"doubleValue":"NaN"}}]`, ` "k" = double 7ff8000000000001`},
		{"bool", `,"attributes":[{"key":"k","value":{"boolValue":true}}]`, ` "k" = bool true`},
		{"bytes", `,"attributes":[{"key":"k","value":{"bytesValue":"/+8="}}]`, ` "k" = bytes ffef`},
		{"bytes of the other alphabet", `,"attributes":[{"key":"k","value":{"bytesValue":"_-8"}}]`, ` "k" = bytes ffef`},
		{"null value", `,"attributes":[{"key":"k","value":null},{"key":"l","value":{}},{"key":"m","value":{"stringValue":null}},{"key":"n"}]`, ` "m" = null`},
		{"strings", `,"attributes":[{"key":"k","value":{"arrayValue":{"values":[{"stringValue":"a"},{"stringValue":"b"}]}}}]`, ` "k" = array 6 ["a" "b"]`},
		{"empty array", `,"attributes":[{"key":"k","value":{"arrayValue":{}}}]`, ` "k" = array 6 []`},
		{"mixed array", `,"attributes":[{"key":"k","value":{"arrayValue":{"values":[{"intValue":1},{},{"boolValue":false},{"bytesValue":"AA=="}]}}}]`, ` "k" = array 10 [int 1 null bool false bytes 00]`},
		{"list", `,"attributes":[{"key":"k","value":{"kvlistValue":{"values":[{"value":{"doubleValue":2},"key":"x"},{"key":"y"},{"key":"z","value":{"kvlistValue":{"values":[{"value":{"stringValue":"deep"},"key":"w"}]}}}]}}}]`,
			` "k" = list ["x":double 4000000000000000 "y":null "z":["w":"deep"]]`},
		{"long list", `,"attributes":[{"key":"k","value":{"kvlistValue":{"values":[{"value":{"stringValue":"` + strings.Repeat("x", 200) + `"},"key":"` + strings.Repeat("k", 130) + `"}]}}}]`,
			` "k" = list ["` + strings.Repeat("k", 130) + `":"` + strings.Repeat("x", 200) + `"]`},
		{"event", `,"events":[{"timeUnixNano":"7","name":"e","attributes":[],"droppedAttributesCount":3}]`, ` event 7 "e" dropped 3`},
		{"link", `,"links":[{"traceId":"1","spanId":"0x2","traceState":"s","flags":1,"droppedAttributesCount":9}]`, ` link 00000000000000000000000000000001 0000000000000002 "s" flags 1 dropped 9`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := decodeJSON(t, oneJSON(tt.fields))
			if b.Len() != 1 || !strings.Contains("\n"+batchText(b), "\n"+tt.want+"\n") {
				t.Errorf("no line\n%s\nin\n%s", tt.want, batchText(b))
			}
			back := decode(t, AppendRequest(nil, b))
			sameText(t, "as protobuf", batchText(back), batchText(b))
		})
	}
}

func TestJSONOrder(t *testing.T) {
	b := decodeJSON(t, `{"resourceSpans":[{"scopeSpans":[{"spans":[{`+jsonIDs+`}],"scope":{"name":"s","version":"1","attributes":[{"key":"a","value":{"intValue":"1"}}]},"schemaUrl":"u"}],
		"schemaUrl":"v","resource":{"droppedAttributesCount":2,"attributes":[{"key":"telemetry.sdk.name","value":{"stringValue":"envoy"}}]}}, {"instrumentationLibrarySpans":[{"instrumentationLibrary":{"name":"old"},"spans":[{`+jsonIDs+`}]}]}]}  `)
	want := `span 5b8efff798038103d269b633813fc60c eee19b7ec3c1b174 parent 0000000000000000 "" kind 0
 time 0 0 state "" flags 0 dropped 0 0 0
 status 0 ""
 resource "v" dropped 2
  "telemetry.sdk.name" = "envoy"
 scope "s" "1" "u" dropped 0
  "a" = int 1
span 5b8efff798038103d269b633813fc60c eee19b7ec3c1b174 parent 0000000000000000 "" kind 0
 time 0 0 state "" flags 0 dropped 0 0 0
 status 0 ""
 resource "" dropped 0
 scope "old" "" "" dropped 0
`
	sameText(t, "order", batchText(b), want)
	if b.Mark[0] != span.MarkProxy || b.Mark[1] != 0 {
		t.Errorf("marks %b", b.Mark)
	}
}

func TestJSONRefusedSpans(t *testing.T) {
	tests := []struct {
		name, span string
		reason     receive.Reason
		says       string
	}{
		{"no ids", `{}`, receive.BadID, "resourceSpans.scopeSpans.spans.traceId: is absent or zero"},
		{"zero id", `{"traceId":"00","spanId":"1"}`, receive.BadID, "absent or zero"},
		{"long id", `{"traceId":"123456789012345678901234567890123","spanId":"1"}`, receive.BadID, "must be 32 hexadecimal digits"},
		{"base64 id", `{"traceId":"W47/95gDgQPSabYzgT/GDA==","spanId":"1"}`, receive.BadID, "W47/95gDgQPSabYzgT/GDA=="},
		{"parent", `{` + jsonIDs + `,"parentSpanId":"x"}`, receive.BadID, "parentSpanId"},
		{"name is a number", `{` + jsonIDs + `,"name":5}`, receive.Malformed, "spans.name: is a number, must be a string"},
		{"attributes is an object", `{` + jsonIDs + `,"attributes":{"a":"b"}}`, receive.Malformed, "attributes: is a object, must be an array"},
		{"attribute without the wrapper", `{` + jsonIDs + `,"attributes":[{"key":"a","value":"b"}]}`, receive.Malformed, "attributes.value: is a string, must be an object"},
		{"fraction", `{` + jsonIDs + `,"startTimeUnixNano":1.5}`, receive.Malformed, "unsigned 64-bit"},
		{"too big", `{` + jsonIDs + `,"startTimeUnixNano":"18446744073709551616"}`, receive.Malformed, "unsigned 64-bit"},
		{"int too big", `{` + jsonIDs + `,"attributes":[{"key":"a","value":{"intValue":"9223372036854775808"}}]}`, receive.Malformed, "signed 64-bit"},
		{"base64", `{` + jsonIDs + `,"attributes":[{"key":"a","value":{"bytesValue":"!"}}]}`, receive.Malformed, "base64"},
		{"a string", `"span"`, receive.Malformed, "must be an object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d Decoder
			b := new(span.Batch)
			good := `{` + jsonIDs + `}`
			body := `{"resourceSpans":[{"scopeSpans":[{"spans":[` + good + `,` + tt.span + `,` + good + `]}]}]}`
			if err := d.JSON(b, []byte(body)); err != nil {
				t.Fatal(err)
			}
			check(t, b)
			if b.Len() != 2 || len(b.Refused) != 1 || b.Refused[0] != (span.Refusal{Reason: string(tt.reason), Spans: 1}) {
				t.Errorf("%d rows, refused %v; want 2 rows and one refused as %s", b.Len(), b.Refused, tt.reason)
			}
			if p := d.Refusal(); p == nil || !strings.Contains(p.Error(), tt.says) {
				t.Errorf("refusal %v does not say %q", p, tt.says)
			}
		})
	}
}

func TestJSONUndecodable(t *testing.T) {
	tests := []struct{ name, body, says string }{
		{"empty", ``, "does not parse"},
		{"cut", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x`, "does not parse"},
		{"array", `[]`, "must be an object"},
		{"garbage behind", `{} x`, "after the request"},
		{"two requests", `{}{}`, "a object after the request"},
		{"resource of a wrong type", `{"resourceSpans":[{"resource":[]}]}`, "resourceSpans.resource: is a array, must be an object"},
		{"spans of a wrong type", `{"resourceSpans":[{"scopeSpans":[{"spans":{}}]}]}`, "resourceSpans.scopeSpans.spans: is a object, must be an array"},
		{"list of a wrong type", `{"resourceSpans":5}`, "resourceSpans: is a number"},
		{"control character", "{\"a\":\"\x01\"}", "does not parse"},
		{"deep", strings.Repeat(`{"resourceSpans":[`, 20000), "does not parse"},
		{"deep unknown", `{"a":` + strings.Repeat(`[`, 20000), "does not parse"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := DecodeJSON(new(span.Batch), []byte(tt.body))
			if err == nil || problem.Of(err).Kind != problem.Invalid || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v, want an invalid problem that says %q", err, tt.says)
			}
			if len(err.Error()) > 400 {
				t.Errorf("%d bytes of message for senders and log lines", len(err.Error()))
			}
		})
	}
}

func TestJSONNesting(t *testing.T) {
	v := `{"stringValue":"bottom"}`
	for range maxNesting {
		v = `{"arrayValue":{"values":[` + v + `]}}`
	}
	if b := decodeJSON(t, oneJSON(`,"attributes":[{"key":"k","value":`+v+`}]`)); b.Mark[0] != 0 || !strings.Contains(batchText(b), "bottom") {
		t.Error("the deepest nesting was cut")
	}
	v = `{"kvlistValue":{"values":[{"key":"x","value":` + v + `}]}}`
	if b := decodeJSON(t, oneJSON(`,"attributes":[{"key":"k","value":`+v+`}]`)); b.Mark[0] != span.MarkCut || strings.Contains(batchText(b), "bottom") {
		t.Error("deeper nesting was not cut")
	}
}

func TestJSONAllocates(t *testing.T) {
	td, err := pdataDecode(envoyBodies(t)["grpc-01-ok-chain.pb"])
	if err != nil {
		t.Fatal(err)
	}
	body, err := new(ptrace.JSONMarshaler).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	var d Decoder
	b := new(span.Batch)
	run := func() {
		b.Reset()
		if err := d.JSON(b, body); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if n := testing.AllocsPerRun(20, run); n > float64(b.Len()) {
		t.Errorf("%.0f allocations for %d spans", n, b.Len())
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(oneJSON(`,"kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1","attributes":[{"key":"k","value":{"kvlistValue":{"values":[{"value":{"doubleValue":2},"key":"x"}]}}}]`)))
	f.Add([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{` + jsonIDs + `,"events":[{"timeUnixNano":7,"name":"e"}],"links":[{"traceId":"1","spanId":"2"}]}],"scope":{"name":"s"}}],"resource":{"attributes":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"},{}]}}}]}}]}`))
	for seed := range uint64(4) {
		td, err := pdataDecode((&generator{Rand: rand.New(rand.NewPCG(seed, 5)), keys: 40}).request(1))
		if err != nil {
			f.Fatal(err)
		}
		text, err := new(ptrace.JSONMarshaler).MarshalTraces(td)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var d Decoder
		b := new(span.Batch)
		if err := d.JSON(b, body); err != nil {
			return
		}
		check(t, b)
		sameRows(t, "as protobuf", decode(t, AppendRequest(nil, b)), b)
	})
}
