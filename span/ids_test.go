package span_test

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/span"
)

func TestParseTraceID(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"463ac35c9f6413ad48485a3953bb6124", "463ac35c9f6413ad48485a3953bb6124"},
		{"463AC35C9F6413AD48485A3953BB6124", "463ac35c9f6413ad48485a3953bb6124"},
		{"48485a3953bb6124", "000000000000000048485a3953bb6124"},
		{"0x1", "00000000000000000000000000000001"},
		{"0XaB", "000000000000000000000000000000ab"},
		{"abc", "00000000000000000000000000000abc"},
		{"00000000000000000000000000000001", "00000000000000000000000000000001"},
		{"0x463ac35c9f6413ad48485a3953bb6124", "463ac35c9f6413ad48485a3953bb6124"},
		{"", ""},
		{"0x", ""},
		{"0", ""},
		{"00000000000000000000000000000000", ""},
		{"000000000000000000000000000000001", ""}, // 33 digits, were they zeros
		{"463ac35c9f6413ad48485a3953bb61241", ""},
		{"g", ""},
		{"1 ", ""},
		{"-1", ""},
		{"x1", ""},
		{"0x0x1", ""},
		{"1\x00", ""},
		{"é1", ""},
		{"463ac35c-9f64-13ad-4848-5a3953bb6124", ""},
	} {
		id, err := span.ParseTraceID(c.in)
		if c.want == "" {
			if !errors.Is(err, span.ErrBadID) || !id.IsZero() {
				t.Errorf("%q: got %s, %v", c.in, id, err)
			}
			continue
		}
		if err != nil || id.String() != c.want {
			t.Errorf("%q: got %s, %v", c.in, id, err)
		}
		if again, err := span.ParseTraceID([]byte(c.in)); err != nil || again != id {
			t.Errorf("%q as bytes: got %s, %v", c.in, again, err)
		}
	}
}

func TestParseSpanID(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"48485a3953bb6124", "48485a3953bb6124"},
		{"0xA", "000000000000000a"},
		{"00f067aa0ba902b7", "00f067aa0ba902b7"},
		{"0", ""},
		{"", ""},
		{"48485a3953bb61241", ""},
		{"00000000000000001", ""},
		{"zz", ""},
	} {
		id, err := span.ParseSpanID(c.in)
		if c.want == "" {
			if !errors.Is(err, span.ErrBadID) || !id.IsZero() {
				t.Errorf("%q: got %s, %v", c.in, id, err)
			}
			continue
		}
		if err != nil || id.String() != c.want || span.SpanIDFromUint64(id.Uint64()) != id {
			t.Errorf("%q: got %s, %v", c.in, id, err)
		}
	}
}

func TestTwins(t *testing.T) {
	id := func(high, low uint64) span.TraceID { return span.TraceIDFromUint64s(high, low) }
	for _, c := range []struct {
		a, b span.TraceID
		want bool
	}{
		{id(0, 7), id(1, 7), true},
		{id(1, 7), id(0, 7), true},
		{id(1, 7), id(2, 7), false},
		{id(1, 7), id(1, 7), false},
		{id(0, 7), id(0, 7), false},
		{id(0, 7), id(1, 8), false},
	} {
		if c.a.IsTwin(c.b) != c.want {
			t.Errorf("%s and %s: got %v", c.a, c.b, !c.want)
		}
	}
	if a := id(1<<63|5, 1<<63|9); a.High() != 1<<63|5 || a.Low() != 1<<63|9 || a.String() != "80000000000000058000000000000009" {
		t.Errorf("halves of %s", a)
	}
}

func TestParsingAllocatesNothing(t *testing.T) {
	text := []byte("463ac35c9f6413ad48485a3953bb6124")
	if n := testing.AllocsPerRun(100, func() {
		if id, err := span.ParseTraceID(text); err != nil || id.IsZero() {
			t.Fail()
		}
		if _, err := span.ParseSpanID("not an id"); err == nil {
			t.Fail()
		}
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// referenceID is the rule in other words: strip 0x, pad to the full length, let the standard library read it.
func referenceID(s string, digits int) (raw []byte, ok bool) {
	if p := strings.ToLower(s); strings.HasPrefix(p, "0x") {
		s = s[2:]
	}
	if s == "" || len(s) > digits {
		return nil, false
	}
	raw, err := hex.DecodeString(strings.Repeat("0", digits-len(s)) + s)
	return raw, err == nil && slices.ContainsFunc(raw, func(c byte) bool { return c != 0 })
}

func FuzzParseTraceID(f *testing.F) {
	for _, s := range []string{"", "0x1", "463ac35c9f6413ad48485a3953bb6124", "0X", "00", "g", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := span.ParseTraceID(s)
		raw, ok := referenceID(s, 32)
		if ok != (err == nil) || ok && string(raw) != string(id[:]) || !ok && !id.IsZero() {
			t.Fatalf("%q: got %s, %v; want %x, %v", s, id, err, raw, ok)
		}
		if ok {
			if again, err := span.ParseTraceID(id.String()); err != nil || again != id {
				t.Fatalf("%q: %s reads back as %s, %v", s, id, again, err)
			}
		}
	})
}

func FuzzParseSpanID(f *testing.F) {
	for _, s := range []string{"", "0x1", "48485a3953bb6124", "0X", "00", "g", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := span.ParseSpanID(s)
		raw, ok := referenceID(s, 16)
		if ok != (err == nil) || ok && string(raw) != string(id[:]) || !ok && !id.IsZero() {
			t.Fatalf("%q: got %s, %v; want %x, %v", s, id, err, raw, ok)
		}
	})
}

func TestWords(t *testing.T) {
	for k, want := range map[span.Kind]string{0: "unspecified", 1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer", 6: "unspecified", 255: "unspecified"} {
		if k.String() != want {
			t.Errorf("kind %d is %s", k, k)
		}
	}
	for s, want := range map[span.Status]string{0: "unset", 1: "ok", 2: "error", 3: "unset"} {
		if s.String() != want {
			t.Errorf("status %d is %s", s, s)
		}
	}
	for p, want := range map[span.Protocol]string{0: "unknown", 1: "zipkin", 2: "otlp_grpc", 3: "otlp_http", 255: "otlp_http"} {
		if p < span.NumProtocols && p.String() != want {
			t.Errorf("protocol %d is %s", p, p)
		}
	}
}
