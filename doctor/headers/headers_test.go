package headers

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite what the tests want")

func decode(t *testing.T, in string) Decoded {
	t.Helper()
	hs, err := Parse([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	return Decode(hs)
}

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		name, in, trace, span, sampled string
		warnings                       []string // parts of them, in order
	}{
		{"W3C", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "yes", nil},
		{"W3C, not sampled", "< Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "no", []string{"decided not to trace"}},
		{"B3 in several headers, 64 bits", "X-B3-TraceId: 463ac35c9f6413ad\nX-B3-SpanId: a2fb4a1d1a96d312\nX-B3-Sampled: 1", "0000000000000000463ac35c9f6413ad", "a2fb4a1d1a96d312", "yes", nil},
		{"B3 in one header", "b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d-05e3ac9a4f6e3b90", "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1", "forced", nil},
		{"B3 says no and nothing else", "b3: 0", "", "", "no", []string{"decided not to trace"}},
		{"two families, two traces", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nx-b3-traceid: 80f198ee56343ba864fe8b2a57d3eff7", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "yes", []string{"different traces"}},
		{"two families, one trace in two lengths", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nx-b3-traceid: a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "yes", nil},
		{"malformed", "traceparent: 00-xyz", "", "", "deferred", []string{"malformed"}},
		{"zero", "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01", "", "", "yes", []string{"zero"}},
		{"no hex", "x-b3-traceid: zz", "", "", "deferred", []string{"hex digits"}},
		{"a request id that is no UUID", "x-request-id: order-17", "", "", "deferred", []string{"no UUID"}},
		{"Jaeger's own", "uber-trace-id: 5b2b4ddc44a94ee9:a2fb4a1d1a96d312:0:1", "00000000000000005b2b4ddc44a94ee9", "a2fb4a1d1a96d312", "yes", []string{"uber-trace-id"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := decode(t, c.in)
			if d.TraceID != c.trace || d.SpanID != c.span || d.Sampled != c.sampled || len(d.Warnings) != len(c.warnings) {
				t.Fatalf("%+v", d)
			}
			for i, w := range c.warnings {
				if !strings.Contains(d.Warnings[i], w) {
					t.Errorf("warning %q, want %q", d.Warnings[i], w)
				}
			}
		})
	}
}

// The answer of an echo service behind a mesh, as set-up 2 printed it: B3 and Envoy's peer metadata.
func TestEcho(t *testing.T) {
	data, err := os.ReadFile("testdata/echo.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(decode(t, string(data)), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/echo.want.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/echo.want.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got\n%s", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{"": "no header", "{": "begins like JSON", strings.Repeat("x", MaxInput+1): "bytes"} {
		if _, err := Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v", in, err)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	data, err := os.ReadFile("testdata/echo.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nb3: 1\nx-envoy-peer-metadata: CgA=\nx-request-id: 1\nuber-trace-id: 1:2:3:4"))
	f.Fuzz(func(t *testing.T, data []byte) {
		hs, err := Parse(data)
		if err != nil {
			return
		}
		d := Decode(hs)
		if d.TraceID != "" && len(d.TraceID) != 32 {
			t.Errorf("trace id %q", d.TraceID)
		}
	})
}
