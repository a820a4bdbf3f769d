package span

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// text writes all that rows of a batch say, one line a thing, so that two batches can be compared whatever their tables
// look like.
func text(b *Batch) string {
	var w strings.Builder
	attrs := func(indent string, r Range) {
		for _, a := range b.AttrsOf(r) {
			fmt.Fprintf(&w, "%s%q %d ", indent, b.Key(a), a.Type)
			if a.Type.InArena() {
				fmt.Fprintf(&w, "%q\n", b.Bytes(a.Value().Str()))
			} else {
				fmt.Fprintf(&w, "%x\n", a.Bits)
			}
		}
	}
	fmt.Fprintf(&w, "%q %d %s %s, %d rows\n", b.Tenant, b.Received, b.Protocol, b.Sender, b.Len())
	for i := range b.Len() {
		fmt.Fprintf(&w, "%s %s %s kind %d status %d mark %d\n", b.TraceID[i], b.SpanID[i], b.Parent[i], b.Kind[i], b.Status[i], b.Mark[i])
		fmt.Fprintf(&w, " %d %d %d %q %q %q %q %q %q\n", b.Start[i], b.End[i], b.Time[i], b.String(b.Name[i]), b.String(b.StatusMessage[i]),
			b.String(b.TraceState[i]), b.String(b.Service[i]), b.String(b.Group[i]), b.String(b.Namespace[i]))
		fmt.Fprintf(&w, " %x %d %d %d %x\n", b.Flags[i], b.DroppedAttrs[i], b.DroppedEvents[i], b.DroppedLinks[i], math.Float64bits(b.Weight[i]))
		attrs("  ", b.SpanAttrs[i])
		for _, e := range b.EventsOf(i) {
			fmt.Fprintf(&w, "  event %d %q %d\n", e.Time, b.String(e.Name), e.Dropped)
			attrs("   ", e.Attrs)
		}
		for _, l := range b.LinksOf(i) {
			fmt.Fprintf(&w, "  link %s %s %q %d %x\n", l.TraceID, l.SpanID, b.String(l.TraceState), l.Dropped, l.Flags)
			attrs("   ", l.Attrs)
		}
		r := b.Resources[b.Resource[i]]
		fmt.Fprintf(&w, "  resource %d %q\n", r.Dropped, b.String(r.SchemaURL))
		attrs("   ", r.Attrs)
		s := b.Scopes[b.Scope[i]]
		fmt.Fprintf(&w, "  scope %q %q %d %q\n", b.String(s.Name), b.String(s.Version), s.Dropped, b.String(s.SchemaURL))
		attrs("   ", s.Attrs)
	}
	return w.String()
}

// randomBatch makes a batch that uses every field, with garbage between what rows refer to.
func randomBatch(r *rand.Rand, rows int) *Batch {
	b := &Batch{Tenant: []string{"default", "a", ""}[r.IntN(3)], Received: r.Int64(), Protocol: Protocol(r.IntN(int(NumProtocols)))}
	switch r.IntN(4) {
	case 0:
		b.Sender = netip.MustParseAddr("10.1.2.3")
	case 1:
		b.Sender = netip.MustParseAddr("fe80::1%eth0")
	case 2:
		b.Sender = netip.MustParseAddr("2001:db8::1")
	}
	word := func() Str {
		switch r.IntN(6) {
		case 0:
			return Str{}
		case 1:
			p := make([]byte, r.IntN(300))
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			return b.AddString(p)
		}
		return b.AddText(strings.Repeat("word", r.IntN(6)) + fmt.Sprint(r.IntN(20)))
	}
	attrs := func() Range {
		m := b.AttrMark()
		for range r.IntN(8) {
			k := b.InternKey(fmt.Append(nil, "key", r.IntN(40)))
			t := Type(r.IntN(int(NumTypes)))
			v := Value{Type: t}
			switch {
			case t.InArena():
				v = StrValue(t, word())
			case t == TypeInt || t == TypeDouble:
				v.Bits = r.Uint64() >> r.IntN(64)
			case t == TypeBool:
				v = BoolValue(r.IntN(2) == 0)
			}
			b.AddAttr(k, v)
		}
		return b.AttrsSince(m)
	}
	for range 1 + r.IntN(4) {
		b.Resources = append(b.Resources, Resource{attrs(), uint32(r.IntN(3)), word()})
		b.Scopes = append(b.Scopes, Scope{word(), word(), attrs(), uint32(r.IntN(3)), word()})
	}
	sparse := r.IntN(2) == 0
	for range rows {
		i := b.AddRow()
		for j := range b.TraceID[i] {
			b.TraceID[i][j] = byte(r.Uint32())
		}
		b.SpanID[i] = SpanIDFromUint64(r.Uint64())
		b.Start[i] = 1790000000_000000000 + uint64(r.IntN(1e12))
		b.End[i] = b.Start[i] + uint64(r.IntN(1e9))
		b.Time[i] = int64(b.Start[i])
		b.Name[i], b.Service[i], b.Group[i] = word(), word(), word()
		b.SpanAttrs[i] = attrs()
		b.Resource[i], b.Scope[i] = uint32(r.IntN(len(b.Resources))), uint32(r.IntN(len(b.Scopes)))
		b.Kind[i] = Kind(r.IntN(6))
		if sparse {
			continue
		}
		b.Parent[i] = SpanIDFromUint64(r.Uint64())
		b.Status[i], b.Mark[i] = Status(r.IntN(3)), Mark(r.Uint32())
		if r.IntN(3) == 0 {
			b.Start[i], b.End[i], b.Time[i] = r.Uint64(), r.Uint64(), r.Int64()
		}
		b.StatusMessage[i], b.TraceState[i], b.Namespace[i] = word(), word(), word()
		b.Flags[i], b.Weight[i] = r.Uint32(), 1+r.Float64()*100
		b.DroppedAttrs[i], b.DroppedEvents[i], b.DroppedLinks[i] = r.Uint32N(9), r.Uint32N(9), r.Uint32N(9)
		first := uint32(len(b.Events))
		for range r.IntN(4) {
			b.Events = append(b.Events, Event{b.Start[i] + uint64(r.IntN(1e6)), word(), attrs(), r.Uint32N(3)})
		}
		b.SpanEvents[i] = Range{first, uint32(len(b.Events)) - first}
		first = uint32(len(b.Links))
		for range r.IntN(3) {
			b.Links = append(b.Links, Link{TraceIDFromUint64s(r.Uint64(), r.Uint64()), SpanIDFromUint64(r.Uint64()), word(), attrs(), r.Uint32N(3), r.Uint32()})
		}
		b.SpanLinks[i] = Range{first, uint32(len(b.Links)) - first}
	}
	return b
}

func TestBinaryRoundTrip(t *testing.T) {
	var got Batch // reused, so that what one round leaves behind would show in the next
	var p []byte
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := randomBatch(r, r.IntN(60))
		if err := b.Check(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		p = b.AppendBinary(append(p[:0], "before"...))
		if !bytes.HasPrefix(p, []byte("before")) {
			t.Fatalf("seed %d: AppendBinary changed what was there", seed)
		}
		if err := got.DecodeBinary(p[len("before"):]); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if want, have := text(b), text(&got); want != have {
			t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, have, want)
		}
		again := got.AppendBinary(nil)
		if !bytes.Equal(again, p[len("before"):]) {
			t.Fatalf("seed %d: a decoded batch is written in other bytes", seed)
		}
	}
}

func TestDecodedBatchInterns(t *testing.T) {
	b := &Batch{}
	b.Resources, b.Scopes = []Resource{{}}, []Scope{{}}
	m := b.AttrMark()
	for i := range 100 {
		b.AddTextAttr(fmt.Sprint("key", i), "v")
	}
	b.SpanAttrs[b.AddRow()] = b.AttrsSince(m)
	for _, used := range []int{0, 1, 1000} { // keys in the intern table of the batch before
		var got Batch
		for i := range used {
			got.InternKey(fmt.Append(nil, "other", i))
		}
		if err := got.DecodeBinary(b.AppendBinary(nil)); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			if k := got.InternKey(fmt.Append(nil, "key", i)); got.String(got.Keys[k]) != fmt.Sprint("key", i) || len(got.Keys) != 100 {
				t.Fatalf("key%d became number %d of %d", i, k, len(got.Keys))
			}
		}
		if k := got.InternKey([]byte("new")); k != 100 {
			t.Fatalf("a new key became number %d", k)
		}
		got.Reset()
		if k := got.InternKey([]byte("key1")); k != 0 {
			t.Fatalf("after Reset a key became number %d", k)
		}
	}
}

func TestBinaryLeavesOutWhatNobodyRefersTo(t *testing.T) {
	b := &Batch{}
	for _, secret := range []string{"secret-in-unused-resource", "secret-in-used-resource"} {
		m := b.AttrMark()
		b.AddTextAttr("r", secret)
		b.Resources = append(b.Resources, Resource{Attrs: b.AttrsSince(m), SchemaURL: b.AddText(secret)})
	}
	b.Scopes = []Scope{{Name: b.AddText("secret-in-unused-scope")}, {}}
	b.AddText("secret-in-arena")
	m := b.AttrMark()
	b.AddTextAttr("secret-key", "secret-value")
	b.AddTextAttr("url", "/?token=secret-token")
	row := b.AddRow()
	b.SpanAttrs[row] = b.AttrsSince(m)
	b.Resource[row], b.Scope[row] = 1, 1
	b.Events = []Event{{Name: b.AddText("secret-event")}}
	// What a redacting step does: the attribute list is written anew behind the old one.
	b.Resources[1] = Resource{}
	m = b.AttrMark()
	b.AddTextAttr("url", "/?token=***")
	b.SpanAttrs[row] = b.AttrsSince(m)
	p := b.AppendBinary(nil)
	if bytes.Contains(p, []byte("secret")) {
		t.Errorf("a redacted value is written: %q", p)
	}
	if !bytes.Contains(p, []byte("token=***")) {
		t.Errorf("the redacted attribute is missing: %q", p)
	}
}

func TestBinaryOfEmptyBatch(t *testing.T) {
	b := &Batch{Tenant: "t", Received: 7}
	var got Batch
	if err := got.DecodeBinary(b.AppendBinary(nil)); err != nil || got.Len() != 0 || got.Tenant != "t" || got.Received != 7 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestBinaryForm holds version 1 to the byte: what was written once must be read for ever.
func TestBinaryForm(t *testing.T) {
	b := &Batch{Tenant: "default", Received: 1790000000_000000001, Protocol: ProtocolZipkin, Sender: netip.MustParseAddr("10.0.0.7")}
	m := b.AttrMark()
	b.AddTextAttr("service.name", "reviews")
	b.Resources = append(b.Resources, Resource{Attrs: b.AttrsSince(m)})
	b.Scopes = append(b.Scopes, Scope{Name: b.AddText("lib")})
	for i := range 2 {
		row := b.AddRow()
		b.TraceID[row] = TraceIDFromUint64s(1, 2)
		b.SpanID[row] = SpanIDFromUint64(3 + uint64(i))
		b.Kind[row] = KindServer
		b.Start[row] = 1790000000_000000000
		b.End[row] = b.Start[row] + 5
		b.Time[row] = int64(b.Start[row])
		b.Name[row] = b.AddText("GET /")
		b.Service[row] = b.AddText("reviews")
		m := b.AttrMark()
		b.AddAttr(b.InternKey([]byte("n")), IntValue(-1))
		b.AddAttr(b.InternKey([]byte("d")), DoubleValue(1.5))
		b.AddAttr(b.InternKey([]byte("b")), BoolValue(true))
		b.AddAttr(b.InternKey([]byte("null")), Value{})
		b.SpanAttrs[row] = b.AttrsSince(m)
	}
	const want = "01 02 0764656661756c74 0100f323845bd718 01 04 0a000007" + // version, rows, tenant, receipt, protocol, sender
		"03 07 05 03 72657669657773 474554202f 6c6962" + // strings: reviews, GET /, lib
		"05 01 6e 01 64 01 62 04 6e756c6c 0c 736572766963652e6e616d65" + // keys
		"05 0002 0103 0204 0300 0401" + // fields: key, type
		"00000000000000010000000000000002 00000000000000010000000000000002" + // trace ids
		"0000000000000003 0000000000000004 00" + // span ids, no parents
		"0202 00 00" + // kind, status, mark
		"808098bf84e1add731 00 0a 0a 00" + // start, end, time
		"00 00 00 00 00 00 00" + // flags, dropped x 3, resource, scope, weight
		"0204 00 00" + // attributes, events, links
		"010102 00 00 010103 00 00" + // service, group, namespace, name, status message, trace state
		"00 00" + // events, links
		"01 0201 00 0100" + // resources: attributes, dropped, schema URL
		"01 0101 0100 00 00 0100" + // scopes: name, version, attributes, dropped, schema URL
		"00010203 00010203 04" + // attributes: fields
		"01 000000000000f83f 01 01 000000000000f83f 01 02" // and values
	p := b.AppendBinary(nil)
	if got := hex.EncodeToString(p); got != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	old, err := hex.DecodeString(strings.ReplaceAll(want, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	var got Batch
	if err := got.DecodeBinary(old); err != nil || text(&got) != text(b) {
		t.Errorf("read: %v\n%s", err, text(&got))
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := randomBatch(rand.New(rand.NewPCG(1, 1)), 20).AppendBinary(nil)
	var b Batch
	for n := range good {
		if err := b.DecodeBinary(good[:n]); !errors.Is(err, ErrBatchForm) || b.Len() != 0 {
			t.Fatalf("the first %d of %d bytes: %v, %d rows", n, len(good), err, b.Len())
		}
	}
	for name, p := range map[string][]byte{
		"empty":             nil,
		"other version":     append([]byte{9}, good[1:]...),
		"rest":              append(bytes.Clone(good), 0),
		"a billion rows":    {1, 0x80, 0x94, 0xeb, 0xdc, 0x03},
		"rows beyond int64": {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
	} {
		if err := b.DecodeBinary(p); !errors.Is(err, ErrBatchForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.DecodeBinary(good); err != nil {
		t.Errorf("after refusals: %v", err)
	}
}

func FuzzDecodeBinary(f *testing.F) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 2))
		f.Add(randomBatch(r, int(seed)).AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var b, again Batch
		if err := b.DecodeBinary(p); err != nil {
			if b.Len() != 0 {
				t.Fatalf("%d rows after %v", b.Len(), err)
			}
			return
		}
		if most := 40*len(p) + 4096; b.Size() > most {
			t.Fatalf("%d bytes became %d", len(p), b.Size())
		}
		if err := again.DecodeBinary(b.AppendBinary(nil)); err != nil {
			t.Fatalf("written and read again: %v", err)
		}
		if text(&b) != text(&again) {
			t.Fatalf("written and read again: got\n%s\nwant\n%s", text(&again), text(&b))
		}
	})
}

// envoyBatch is spans as Envoy's OpenTelemetry tracer sends them in an Istio mesh: 22 attributes, about 926 bytes in OTLP.
func envoyBatch(r *rand.Rand, rows int) *Batch {
	b := &Batch{Tenant: "default", Received: 1790000000_000000000, Protocol: ProtocolOTLPGRPC, Sender: netip.MustParseAddr("10.244.1.17")}
	services := []string{"productpage", "reviews", "ratings", "details", "cart", "checkout"}
	for _, s := range services {
		m := b.AttrMark()
		b.AddTextAttr("service.name", s+".bookinfo")
		b.AddTextAttr("telemetry.sdk.language", "cpp")
		b.AddTextAttr("telemetry.sdk.name", "envoy")
		b.AddTextAttr("telemetry.sdk.version", "2c9e0ae7e0a5ba2ff0cdb4bb6f3d9f3d7ac62a2b/1.36.4/Clean/RELEASE/BoringSSL")
		b.Resources = append(b.Resources, Resource{Attrs: b.AttrsSince(m)})
	}
	b.Scopes = []Scope{{}}
	var trace TraceID
	for i := range rows {
		if i%20 == 0 {
			trace = TraceIDFromUint64s(r.Uint64(), r.Uint64())
		}
		row := b.AddRow()
		n := r.IntN(len(services))
		s := services[n]
		b.TraceID[row], b.SpanID[row], b.Parent[row] = trace, SpanIDFromUint64(r.Uint64()), SpanIDFromUint64(r.Uint64())
		b.Start[row] = uint64(b.Received) - uint64(r.IntN(20e9))
		b.End[row] = b.Start[row] + uint64(r.IntN(30e6))
		b.Time[row] = int64(b.Start[row])
		b.Kind[row] = KindServer + Kind(i%2)
		b.Name[row] = b.AddText(s + ".bookinfo.svc.cluster.local:9080/*")
		b.Service[row], b.Group[row], b.Namespace[row] = b.AddText(s+".bookinfo"), b.AddText(s), b.AddText("bookinfo")
		b.Resource[row] = uint32(n)
		m := b.AttrMark()
		b.AddTextAttr("node_id", "sidecar~10.244.1.17~"+s+"-v1-7d5f8c9b6d-x2x4z.bookinfo~bookinfo.svc.cluster.local")
		b.AddTextAttr("zone", "")
		b.AddTextAttr("guid:x-request-id", fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<12), r.Uint32N(1<<12), r.Uint64N(1<<48)))
		b.AddTextAttr("http.url", fmt.Sprintf("http://%s:9080/%s/%d", s, s, r.IntN(10000)))
		b.AddTextAttr("http.method", "GET")
		b.AddTextAttr("downstream_cluster", "-")
		b.AddTextAttr("user_agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")
		b.AddTextAttr("http.protocol", "HTTP/1.1")
		b.AddTextAttr("peer.address", fmt.Sprintf("10.244.%d.%d", r.IntN(4), r.IntN(250)))
		b.AddTextAttr("request_size", "0")
		b.AddTextAttr("response_size", fmt.Sprint(r.IntN(9000)))
		b.AddTextAttr("component", "proxy")
		b.AddTextAttr("upstream_cluster", "inbound|9080||")
		b.AddTextAttr("upstream_cluster.name", "outbound|9080||"+s+".bookinfo.svc.cluster.local;")
		b.AddTextAttr("http.status_code", "200")
		b.AddTextAttr("response_flags", "-")
		b.AddTextAttr("istio.mesh_id", "cluster.local")
		b.AddTextAttr("istio.canonical_service", s)
		b.AddTextAttr("istio.canonical_revision", "v1")
		b.AddTextAttr("istio.cluster_id", "Kubernetes")
		b.AddTextAttr("istio.namespace", "bookinfo")
		b.AddTextAttr("env", "production")
		b.SpanAttrs[row] = b.AttrsSince(m)
	}
	return b
}

// TestBinaryAllocates holds the promise that reused buffers mean no allocation per span.
func TestBinaryAllocates(t *testing.T) {
	if raceDetector {
		t.Skip("pools are not kept under the race detector")
	}
	b := envoyBatch(rand.New(rand.NewPCG(1, 1)), 512)
	p := b.AppendBinary(nil)
	var got Batch
	if n := testing.AllocsPerRun(20, func() { p = b.AppendBinary(p[:0]) }); n > 8 { // a batch, not a span; the pool may be emptied
		t.Errorf("AppendBinary allocates %.0f times a batch", n)
	}
	if n := testing.AllocsPerRun(20, func() { _ = got.DecodeBinary(p) }); n > 8 {
		t.Errorf("DecodeBinary allocates %.0f times a batch", n)
	}
}

func BenchmarkEncode(bm *testing.B) {
	for _, rows := range []int{512, 5} {
		b := envoyBatch(rand.New(rand.NewPCG(1, 1)), rows)
		var p []byte
		bm.Run(fmt.Sprintf("spans=%d", rows), func(bm *testing.B) {
			bm.ReportAllocs()
			for bm.Loop() {
				p = b.AppendBinary(p[:0])
			}
			perSpan(bm, rows)
			bm.ReportMetric(float64(len(p))/float64(rows), "B/span")
		})
	}
}

func BenchmarkDecode(bm *testing.B) {
	for _, rows := range []int{512, 5} {
		p := envoyBatch(rand.New(rand.NewPCG(1, 1)), rows).AppendBinary(nil)
		var b Batch
		bm.Run(fmt.Sprintf("spans=%d", rows), func(bm *testing.B) {
			bm.ReportAllocs()
			for bm.Loop() {
				if err := b.DecodeBinary(p); err != nil {
					bm.Fatal(err)
				}
			}
			perSpan(bm, rows)
		})
	}
}

func perSpan(bm *testing.B, rows int) {
	bm.ReportMetric(float64(bm.Elapsed().Nanoseconds())/float64(bm.N)/float64(rows), "ns/span")
}
