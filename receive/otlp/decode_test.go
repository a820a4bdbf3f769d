package otlp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// envoyBodies are requests as real Envoys sent them.
func envoyBodies(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/envoy/*.pb")
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	out := make(map[string][]byte)
	for _, name := range names {
		p, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(name)] = p
	}
	return out
}

func decode(t testing.TB, body []byte) *span.Batch {
	t.Helper()
	b := new(span.Batch)
	if err := Decode(b, body); err != nil {
		t.Fatal(err)
	}
	check(t, b)
	return b
}

// check verifies what every batch of this package must fulfil.
func check(t testing.TB, b *span.Batch) {
	t.Helper()
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, k := range b.Keys {
		if seen[b.String(k)] {
			t.Fatalf("key %q twice", b.String(k))
		}
		seen[b.String(k)] = true
	}
}

func TestEnvoyRequests(t *testing.T) {
	for name, body := range envoyBodies(t) {
		b := decode(t, body)
		td, err := pdataDecode(body)
		if err != nil {
			t.Fatal(err)
		}
		sameText(t, name, batchText(b), pdataText(td))
		for i := range b.Len() {
			if b.Mark[i] != span.MarkProxy {
				t.Errorf("%s: row %d has marks %b, want proxy only", name, i, b.Mark[i])
			}
		}
		again := AppendRequest(nil, b)
		sameText(t, name+" encoded", batchText(decode(t, again)), batchText(b))
		td, err = pdataDecode(again)
		if err != nil {
			t.Fatal(err)
		}
		sameText(t, name+" encoded, by pdata", pdataText(td), batchText(b))
	}
}

// TestRandomRequests compares with the collector's decoder, and where fields are mixed up with protobuf's own first: its
// output is the same message in plain order.
func TestRandomRequests(t *testing.T) {
	for seed := range uint64(400) {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), mixed: seed%2 == 1, keys: 26 + int(seed%3)*100}
		body := g.request(1 + int(seed%7))
		plain := body
		if g.mixed {
			plain = inPlainOrder(t, body)
		}
		td, err := pdataDecode(plain)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		b := decode(t, body)
		sameText(t, fmt.Sprintf("seed %d", seed), batchText(b), pdataText(td))
		sameText(t, fmt.Sprintf("seed %d encoded", seed), batchText(decode(t, AppendRequest(nil, b))), batchText(b))
	}
}

func inPlainOrder(t testing.TB, body []byte) []byte {
	t.Helper()
	var req collector.ExportTraceServiceRequest
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, &req); err != nil {
		t.Fatal(err)
	}
	plain, err := proto.Marshal(&req)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// TestEncodeGroups encodes rows whose resources alternate.
func TestEncodeGroups(t *testing.T) {
	g := &generator{Rand: rand.New(rand.NewPCG(1, 2)), keys: 26}
	b := decode(t, g.request(12))
	n := b.Len()
	for i := range n {
		b.Resource[i] = uint32(i % len(b.Resources))
		b.Scope[i] = uint32(i % 3 % len(b.Scopes))
	}
	body := AppendRequest([]byte("head"), b)
	if !bytes.HasPrefix(body, []byte("head")) {
		t.Fatal("what stood in dst is gone")
	}
	back := decode(t, body[4:])
	if back.Len() != n {
		t.Fatalf("%d rows, want %d", back.Len(), n)
	}
	// The rows are the same, grouped: sort both by span id.
	sameText(t, "grouped", strings.Join(sortedRows(back), ""), strings.Join(sortedRows(b), ""))
	if len(back.Resources) > len(b.Resources) {
		t.Errorf("%d resources written for %d", len(back.Resources), len(b.Resources))
	}
}

func sortedRows(b *span.Batch) []string {
	out := make([]string, 0, b.Len())
	for _, row := range strings.SplitAfter(batchText(b), "\nspan ") {
		out = append(out, strings.TrimPrefix(strings.TrimSuffix(row, "span "), "span "))
	}
	for i := range out {
		for j := i; j > 0 && out[j] < out[j-1]; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// msg writes protobuf by hand.
func msg(fields ...[]byte) []byte { return bytes.Join(fields, nil) }

// lv is a length-delimited field.
func lv(num protowire.Number, body ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), msg(body...))
}

func TestRefusedSpans(t *testing.T) {
	id16, id8 := bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 8)
	good := msg(lv(1, id16), lv(2, id8), lv(5, []byte("good")))
	tests := []struct {
		name   string
		span   []byte
		reason receive.Reason
		says   string
	}{
		{"no ids", nil, receive.BadID, "resource_spans.scope_spans.spans.trace_id: byte 42: is absent or zero"},
		{"short trace id", msg(lv(1, id8), lv(2, id8)), receive.BadID, "trace_id"},
		{"zero trace id", msg(lv(1, make([]byte, 16)), lv(2, id8)), receive.BadID, "zero"},
		{"zero span id", msg(lv(1, id16), lv(2, make([]byte, 8))), receive.BadID, "span_id"},
		{"long span id", msg(lv(1, id16), lv(2, id16)), receive.BadID, "is 16 bytes long, must be 8"},
		{"short parent", msg(good, lv(4, []byte{1, 2})), receive.BadID, "parent_span_id"},
		{"link with a short id", msg(good, lv(13, lv(1, id8))), receive.BadID, "links.trace_id"},
		{"cut attribute", msg(good, lv(9, []byte{0x0a, 200})), receive.Malformed, "attributes"},
		{"cut span", msg(good, []byte{0x2a, 100}), receive.Malformed, "byte 77: a length of 100"},
		{"cut value in an array", msg(good, lv(9, lv(1, []byte("k")), lv(2, lv(5, lv(1, []byte{0x0a, 9}))))), receive.Malformed, "attributes.value.values"},
		{"cut event", msg(good, lv(11, []byte{0x09, 1})), receive.Malformed, "events"},
		{"field number 0", msg(good, []byte{0x02, 0}), receive.Malformed, "field number"},
		{"group without an end", msg(good, []byte{0x4b, 0x08, 1}), receive.Malformed, "ends within"},
		{"end of no group", msg(good, []byte{0x4c}), receive.Malformed, "wire type 4"},
		{"wire type 7", msg(good, []byte{0x4f}), receive.Malformed, "wire type 7"},
		{"varint of 11 bytes", msg(good, []byte{0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}), receive.Malformed, "longer than 64 bits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d Decoder
			b := new(span.Batch)
			body := lv(1, lv(2, lv(2, good), lv(2, tt.span), lv(2, good)))
			if err := d.Protobuf(b, body); err != nil {
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

func TestUndecodable(t *testing.T) {
	tests := []struct {
		name string
		body []byte
		says string
	}{
		{"cut length", []byte{0x0a}, "byte 1: the message ends within a varint"},
		{"cut request", []byte{0x0a, 5, 0x0a, 0}, "byte 1: a length of 5 where 2 bytes are left"},
		{"cut resource", lv(1, []byte{0x0a, 3, 1}), "resource_spans: byte 3: a length of 3"},
		{"cut attribute of a resource", lv(1, lv(1, lv(1, []byte{0x0a, 9}))), "resource_spans.resource.attributes: byte 7"},
		{"cut scope", lv(1, lv(2, lv(1, []byte{0x0a, 9}))), "resource_spans.scope_spans.scope: byte 7"},
		{"span longer than its scope", lv(1, lv(2, []byte{0x12, 9, 1})), "resource_spans.scope_spans: byte 5"},
		{"text", []byte("hello, collector"), "byte "},
		{"deep groups", bytes.Repeat([]byte{0x0b}, 100), "groups nest deeper than 32"},
		{"groups crossed", []byte{0x0b, 0x13, 0x0c, 0x14}, "group 1 ends where group 2 should"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Decode(new(span.Batch), tt.body)
			if err == nil || problem.Of(err).Kind != problem.Invalid || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an invalid problem that says %q", err, tt.says)
			}
		})
	}
}

// TestTruncated cuts a request at every byte: an error, or (where the cut falls between spans of the outermost list) less.
func TestTruncated(t *testing.T) {
	body := envoyBodies(t)["grpc-01-ok-chain.pb"]
	for n := range len(body) {
		b := new(span.Batch)
		if err := Decode(b, body[:n]); err == nil && b.Len() == 5 {
			t.Fatalf("all spans from %d of %d bytes", n, len(body))
		}
	}
}

func TestText(t *testing.T) {
	id16, id8 := bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 8)
	head := msg(lv(1, id16), lv(2, id8))
	one := func(span []byte) []byte { return lv(1, lv(2, lv(2, span))) }
	str := func(key, value string) []byte { return msg(lv(1, []byte(key)), lv(2, lv(1, []byte(value)))) }

	b := decode(t, one(msg(head, lv(5, []byte("a\xff\xfeb")), lv(9, str("k\xff", "\xc3")), lv(9, str("half", "\xa9\xc3")), lv(9, str("ok", "\u00e9")),
		lv(11, lv(2, []byte("\xf0"))), lv(9, lv(1, []byte("l")), lv(2, lv(5, lv(1, lv(1, []byte("x\x80")))))))))
	want := `span 01010101010101010101010101010101 0202020202020202 parent 0000000000000000 "a` + "\uFFFD" + `b" kind 0
 time 0 0 state "" flags 0 dropped 0 0 0
 status 0 ""
 "k` + "\uFFFD" + `" = "` + "\uFFFD" + `"
 "half" = "` + "\uFFFD" + `"
 "ok" = "é"
 "l" = array 6 ["x` + "\uFFFD" + `"]
 event 0 "` + "\uFFFD" + `" dropped 0
 resource "" dropped 0
 scope "" "" "" dropped 0
`
	sameText(t, "repaired", batchText(b), want)
	if b.Mark[0] != span.MarkCut {
		t.Errorf("mark %b, want cut", b.Mark[0])
	}
	if b := decode(t, one(msg(head, lv(5, []byte("größer"))))); b.Mark[0] != 0 || b.String(b.Name[0]) != "größer" {
		t.Errorf("good text: mark %b, name %q", b.Mark[0], b.String(b.Name[0]))
	}
	// A resource's repair marks its rows, and no others.
	bad := lv(1, lv(1, lv(1, str("service.name", "\xff"))), lv(2, lv(2, head)))
	b = decode(t, msg(bad, one(head)))
	if b.Mark[0] != span.MarkCut || b.Mark[1] != 0 {
		t.Errorf("marks %b, want cut for the first row only", b.Mark)
	}
}

func TestNesting(t *testing.T) {
	head := msg(lv(1, bytes.Repeat([]byte{1}, 16)), lv(2, bytes.Repeat([]byte{2}, 8)))
	nested := func(levels int) []byte {
		v := lv(1, []byte("bottom"))
		for range levels {
			v = lv(5, lv(1, v))
		}
		return lv(1, lv(2, lv(2, head, lv(9, lv(1, []byte("k")), lv(2, v)))))
	}
	if b := decode(t, nested(maxNesting)); b.Mark[0] != 0 || !strings.Contains(batchText(b), "bottom") {
		t.Errorf("%d levels were cut", maxNesting)
	}
	for _, levels := range []int{maxNesting + 1, 2000} {
		b := decode(t, nested(levels))
		if b.Mark[0] != span.MarkCut || strings.Contains(batchText(b), "bottom") {
			t.Errorf("%d levels were not cut", levels)
		}
		if got := strings.Count(batchText(b), "["); got != maxNesting+1 {
			t.Errorf("%d levels are left, want %d and an empty one", got, maxNesting)
		}
	}
}

func TestProxyMark(t *testing.T) {
	head := msg(lv(1, bytes.Repeat([]byte{1}, 16)), lv(2, bytes.Repeat([]byte{2}, 8)))
	str := func(key, value string) []byte { return msg(lv(1, []byte(key)), lv(2, lv(1, []byte(value)))) }
	tests := []struct {
		name           string
		resource, attr []byte
		want           bool
	}{
		{"sdk", str("telemetry.sdk.name", "envoy"), str("a", "b"), true},
		{"another sdk", str("telemetry.sdk.name", "opentelemetry"), str("a", "b"), false},
		{"component", str("a", "b"), str("component", "proxy"), true},
		{"another component", str("a", "b"), str("component", "grpc"), false},
		{"node", str("a", "b"), str("node_id", "sidecar~10.0.0.1~a.b~b.svc"), true},
		{"a resource with a component", str("component", "proxy"), str("a", "b"), false},
	}
	for _, tt := range tests {
		// The resource stands behind the spans: marks must not depend on the order.
		body := lv(1, lv(2, lv(2, head, lv(9, tt.attr))), lv(1, lv(1, tt.resource)))
		if got := decode(t, body).Mark[0]&span.MarkProxy != 0; got != tt.want {
			t.Errorf("%s: proxy %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestOldScopes(t *testing.T) {
	head := msg(lv(1, bytes.Repeat([]byte{1}, 16)), lv(2, bytes.Repeat([]byte{2}, 8)))
	b := decode(t, lv(1, lv(1000, lv(1, lv(1, []byte("lib")), lv(2, []byte("1.0"))), lv(2, head))))
	if b.Len() != 1 || b.String(b.Scopes[0].Name) != "lib" {
		t.Errorf("instrumentation library spans: %d rows", b.Len())
	}
}

// TestRoom lets a batch ask for memory: bodies that blow up are stopped, ordinary ones never ask twice.
func TestRoom(t *testing.T) {
	head := msg(lv(1, bytes.Repeat([]byte{1}, 16)), lv(2, bytes.Repeat([]byte{2}, 8)))
	one := func(fields []byte) []byte { return lv(1, lv(2, lv(2, head, fields))) }
	const n = 1 << 20
	for name, body := range map[string][]byte{
		"attributes": one(bytes.Repeat([]byte{9<<3 | bytes_, 0}, n)),
		"events":     one(bytes.Repeat([]byte{11<<3 | bytes_, 0}, n)),
		"links":      one(bytes.Repeat([]byte{13<<3 | bytes_, 0}, n)),
		"spans":      lv(1, lv(2, bytes.Repeat(lv(2, head), n/16))),
		"resources":  bytes.Repeat([]byte{0x0a, 0}, n),
		"scopes":     lv(1, bytes.Repeat([]byte{0x12, 0}, n)),
	} {
		asked, b := 0, new(span.Batch)
		d := Decoder{Room: func(bytes int) bool { asked += bytes; return asked < 2*len(body) }}
		if err := d.Protobuf(b, body); err == nil || problem.Of(err).Kind != problem.Overloaded {
			t.Errorf("%s: got %v, want overloaded", name, err)
		}
		if b.Size() > 2*len(body)+1<<20 {
			t.Errorf("%s: the batch holds %d bytes of %d", name, b.Size(), 2*len(body))
		}
	}
	for name, body := range envoyBodies(t) {
		asked := 0
		d := Decoder{Room: func(int) bool { asked++; return true }}
		if err := d.Protobuf(new(span.Batch), body); err != nil || asked != 1 {
			t.Errorf("%s: asked %d times, error %v", name, asked, err)
		}
	}
}

func TestDecodeAllocates(t *testing.T) {
	var d Decoder
	b := new(span.Batch)
	for name, body := range envoyBodies(t) {
		run := func() {
			b.Reset()
			if err := d.Protobuf(b, body); err != nil {
				t.Fatal(err)
			}
		}
		run()
		if n := testing.AllocsPerRun(20, run); n != 0 {
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
}

func FuzzProtobuf(f *testing.F) {
	for _, body := range envoyBodies(f) {
		f.Add(body)
	}
	for seed := range uint64(8) {
		f.Add((&generator{Rand: rand.New(rand.NewPCG(seed, 3)), mixed: seed%2 == 1, keys: 200}).request(2))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b := new(span.Batch)
		err := Decode(b, body)
		var req collector.ExportTraceServiceRequest
		protoErr := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, &req)
		if err != nil {
			if protoErr == nil {
				t.Fatalf("refused what protobuf takes: %v", err)
			}
			return
		}
		check(t, b)
		again := AppendRequest(nil, b)
		back := decode(t, again)
		sameRows(t, "encoded and decoded", back, b)
		if protoErr != nil || len(b.Refused) > 0 || cut(b) {
			return
		}
		plain, err := proto.Marshal(&req)
		if err != nil {
			t.Fatal(err)
		}
		td, err := pdataDecode(plain)
		if err != nil {
			return // the collector's library refuses some of protobuf's freedom
		}
		sameText(t, "against pdata", batchText(b), pdataText(td))
		direct := ptraceotlp.NewExportRequest()
		if err := direct.UnmarshalProto(again); err != nil {
			t.Fatalf("pdata refuses our encoding: %v", err)
		}
	})
}

// sameRows compares batches whose rows may be grouped differently.
func sameRows(t *testing.T, what string, got, want *span.Batch) {
	t.Helper()
	if g, w := batchText(got), batchText(want); g != w {
		sameText(t, what, strings.Join(sortedRows(got), ""), strings.Join(sortedRows(want), ""))
	}
}

func cut(b *span.Batch) bool {
	for _, m := range b.Mark {
		if m&span.MarkCut != 0 {
			return true
		}
	}
	return false
}
