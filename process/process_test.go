package process

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/span"
)

// keepSink clones the last batch it was handed.
type keepSink struct{ last *span.Batch }

func (s *keepSink) Accept(_ context.Context, b *span.Batch) error {
	s.last = b.Clone()
	return nil
}

// row adds a span whose attributes are written key=value.
func row(b *span.Batch, trace uint64, resource, attrs string) int {
	i := b.AddRow()
	b.TraceID[i] = span.TraceIDFromUint64s(1, trace)
	b.SpanID[i] = span.SpanIDFromUint64(uint64(i + 1))
	b.Name[i] = b.AddText("GET /x")
	b.SpanAttrs[i] = addAttrs(b, attrs)
	if strings.Contains(attrs, "component=proxy") {
		b.Mark[i] |= span.MarkProxy
	}
	b.Resources = append(b.Resources, span.Resource{Attrs: addAttrs(b, resource)})
	b.Scopes = append(b.Scopes, span.Scope{})
	b.Resource[i], b.Scope[i] = uint32(len(b.Resources)-1), uint32(len(b.Scopes)-1)
	return i
}

func addAttrs(b *span.Batch, text string) span.Range {
	mark := b.AttrMark()
	for _, pair := range strings.Split(text, "|") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			b.AddTextAttr(k, v)
		}
	}
	return b.AttrsSince(mark)
}

func run(t *testing.T, rules Rules, b *span.Batch) (*span.Batch, *Pipeline) {
	t.Helper()
	sink := &keepSink{}
	p, err := New(rules, sink)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return sink.last, p
}

func TestServiceAndGroup(t *testing.T) {
	const node = "node_id=sidecar~10.0.0.7~reviews-v2-66756cddfd-7rz4s.bookinfo~bookinfo.svc.cluster.local"
	for _, c := range []struct{ name, resource, attrs, service, group, namespace string }{
		{"sdk", "service.name=productpage", "", "productpage", "productpage", ""},
		{"sdk with namespace", "service.name=productpage|k8s.namespace.name=bookinfo", "", "productpage", "productpage", "bookinfo"},
		{"sdk name with a dot", "service.name=my.app", "", "my.app", "my.app", ""},
		{"envoy", "service.name=productpage.bookinfo", "component=proxy", "productpage.bookinfo", "productpage", "bookinfo"},
		{"envoy with labels", "service.name=pp.bookinfo", "component=proxy|istio.canonical_service=productpage|istio.namespace=books", "pp.bookinfo", "productpage", "books"},
		{"no name, labels", "", "component=proxy|istio.canonical_service=reviews|istio.namespace=bookinfo", "reviews.bookinfo", "reviews", "bookinfo"},
		{"no name, node", "", "component=proxy|" + node, "reviews-v2.bookinfo", "reviews-v2", "bookinfo"},
		{"unknown_service", "service.name=unknown_service:go", "", "unknown (10.0.0.9)", "unknown (10.0.0.9)", ""},
		{"blank name", "service.name=  ", "", "unknown (10.0.0.9)", "unknown (10.0.0.9)", ""},
		{"upstream is the other side", "", "upstream_cluster=outbound|9080||details.bookinfo.svc.cluster.local", "unknown (10.0.0.9)", "unknown (10.0.0.9)", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &span.Batch{Sender: netip.MustParseAddr("10.0.0.9")}
			i := row(b, 1, c.resource, c.attrs)
			out, _ := run(t, DefaultRules(), b)
			got := []string{out.String(out.Service[i]), out.String(out.Group[i]), out.String(out.Namespace[i])}
			if want := []string{c.service, c.group, c.namespace}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("service, group, namespace = %q, want %q", got, want)
			}
		})
	}
}

// A collector may put spans of many proxies under one resource: each keeps its own workload.
func TestProxiesOfOneResourceKeepTheirWorkloads(t *testing.T) {
	b := &span.Batch{}
	for _, app := range []string{"reviews", "reviews", "ratings", "reviews"} {
		i := row(b, 1, "", "component=proxy|istio.canonical_service="+app+"|istio.namespace=books")
		b.Resource[i] = 0
	}
	b.Resources = b.Resources[:1]
	b.Resources[0].Attrs = addAttrs(b, "service.name=istio-proxy")
	out, _ := run(t, DefaultRules(), b)
	var got []string
	for i := range out.Len() {
		got = append(got, out.String(out.Service[i])+"="+out.String(out.Group[i])+"."+out.String(out.Namespace[i]))
	}
	if want := "istio-proxy=reviews.books istio-proxy=reviews.books istio-proxy=ratings.books istio-proxy=reviews.books"; strings.Join(got, " ") != want {
		t.Errorf("got %s", got)
	}
}

func TestSenderNamesItsNamelessSpans(t *testing.T) {
	sink := &keepSink{}
	p, err := New(DefaultRules(), sink)
	if err != nil {
		t.Fatal(err)
	}
	send := func(resource string) string {
		b := &span.Batch{Sender: netip.MustParseAddr("10.0.0.9")}
		row(b, 1, resource, "component=proxy")
		if err := p.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		return sink.last.String(sink.last.Service[0])
	}
	send("service.name=reviews.bookinfo")
	if got := send(""); got != "reviews.bookinfo" {
		t.Errorf("after one name the sender's nameless span is %q", got)
	}
	send("service.name=ratings.bookinfo")
	if got := send(""); got != "unknown (10.0.0.9)" {
		t.Errorf("a sender of two services names its nameless span %q", got)
	}
}

func TestPodNames(t *testing.T) {
	for pod, want := range map[string]string{
		"productpage-v1-66756cddfd-7rz4s": "productpage-v1",
		"web-0":                           "web",
		"node-agent-x7k2p":                "node-agent",
		"api":                             "api",
		"payment-queue":                   "payment-queue",
		"svc-hello":                       "svc-hello", // vowels: a name, not a hash
	} {
		if got := string(trimPodHash([]byte(pod))); got != want {
			t.Errorf("trimPodHash(%q) = %q, want %q", pod, got, want)
		}
	}
}

func TestRedaction(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	for _, c := range []struct{ key, in, want string }{
		{"http.url", "http://shop/login?token=abc&page=2", "http://shop/login?token=***&page=***"},
		{"http.url", "http://shop/login", "http://shop/login"},
		{"url.full", "https://bob:pw@shop/x?a=#frag", "https://***@shop/x?a=#frag"},
		{"url.full", "https://shop/x?flag&b=1", "https://shop/x?flag&b=***"},
		{"url.query", "a=1;b=2", "a=***;b=***"},
		{"http.target", "/x?password=hunter2", "/x?password=***"},
		{"http.request.header.authorization", "Bearer abc", "***"},
		{"Authorization", "anything", "***"},
		{"auth_tag", "Bearer abcdefghijkl", "Bearer ***"},
		{"note", "got bearer abcdefghijkl, then left", "got bearer ***, then left"},
		{"note", jwt, "***"},
		{"note", "key AKIAIOSFODNN7EXAMPLE used", "key *** used"},
		{"note", "key ghp_abcdefghijklmnopqrstuvwxyz0123", "key ***"},
		{"note", "-----BEGIN RSA PRIVATE KEY-----\nMIIE", "***"},
		{"db.statement", "connect password=hunter2 host=a", "connect password=*** host=a"},
		{"note", "the bearer came by", "the bearer came by"},
		{"note", "eyJust a word", "eyJust a word"},
		{"user_agent", "curl/8.1 (basic)", "curl/8.1 (basic)"},
		{"upstream_cluster", "outbound|9080||token=.svc", "outbound|9080||token=.svc"},
		{"set-cookie", "a=b", "***"},
	} {
		b := &span.Batch{}
		i := row(b, 1, "service.name=a", "")
		mark := b.AttrMark()
		b.AddTextAttr(c.key, c.in)
		b.SpanAttrs[i] = b.AttrsSince(mark)
		out, p := run(t, DefaultRules(), b)
		got := string(out.FindString(out.SpanAttrs[i], c.key))
		if got != c.want {
			t.Errorf("%s: %q became %q, want %q", c.key, c.in, got, c.want)
		}
		if changed := p.Counts().Redacted > 0; changed != (c.in != c.want) {
			t.Errorf("%s: %q counted as changed: %v", c.key, c.in, changed)
		}
	}
}

func TestRedactionRulesOfTheUser(t *testing.T) {
	rules := DefaultRules()
	rules.Redact.Keep = []string{"http.url"}
	rules.Redact.Patterns = []string{`card-\d{4}`}
	rules.Redact.Keys = append(rules.Redact.Keys, "x-tenant")
	b := &span.Batch{}
	row(b, 1, "service.name=a", "http.url=http://a/?q=1|note=card-1234 paid|http.request.header.x-tenant=acme")
	out, _ := run(t, rules, b)
	attrs := out.SpanAttrs[0]
	for key, want := range map[string]string{"http.url": "http://a/?q=1", "note": "*** paid", "http.request.header.x-tenant": "***"} {
		if got := string(out.FindString(attrs, key)); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
}

func TestResourceRules(t *testing.T) {
	for _, c := range []struct {
		rule ResourceRule
		want string
	}{
		{ResourceRule{"cluster", Upsert, "a"}, "service.name=x|cluster=a"},
		{ResourceRule{"service.name", Upsert, "y"}, "service.name=y"},
		{ResourceRule{"service.name", Insert, "y"}, "service.name=x"},
		{ResourceRule{"env", Insert, "prod"}, "service.name=x|env=prod"},
		{ResourceRule{"service.name", Delete, ""}, ""},
		{ResourceRule{"absent", Delete, ""}, "service.name=x"},
	} {
		rules := DefaultRules()
		rules.Resource = []ResourceRule{c.rule}
		b := &span.Batch{}
		row(b, 1, "service.name=x", "a=b")
		out, _ := run(t, rules, b)
		var got []string
		for _, a := range out.AttrsOf(out.Resources[0].Attrs) {
			got = append(got, string(out.Key(a))+"="+out.String(a.Value().Str()))
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%v: resource is %q, want %q", c.rule, got, c.want)
		}
		if v := string(out.FindString(out.SpanAttrs[0], "a")); v != "b" {
			t.Errorf("%v: span attribute became %q", c.rule, v)
		}
	}
}

func TestSamplingIsConsistentAndWeighted(t *testing.T) {
	rules := DefaultRules()
	rules.SamplePercent = 25
	b := &span.Batch{}
	const n = 4000
	for i := range n {
		r := row(b, 0, "service.name=x", "")
		b.TraceID[r] = span.TraceIDFromUint64s(7, uint64(i)*0x9e3779b97f4a7c15)
	}
	out, p := run(t, rules, b)
	if got := out.Len(); got < n/4-150 || got > n/4+150 {
		t.Errorf("25 %% of %d traces kept %d", n, got)
	}
	if got := p.Counts().SampledOut; got != int64(n-out.Len()) {
		t.Errorf("counted %d sampled out, want %d", got, n-out.Len())
	}
	for i := range out.Len() {
		if out.Weight[i] != 4 {
			t.Fatalf("weight %v, want 4", out.Weight[i])
		}
		if out.TraceID[i].Low()&(randomness-1) < threshold(25) {
			t.Fatalf("trace %s is below the threshold and was kept", out.TraceID[i])
		}
	}
}

// Of a mesh that samples 2 % a span stands for 50, for more where it is sampled again; what says its own rate keeps it.
func TestKnownSamplingOfTheMesh(t *testing.T) {
	for _, c := range []struct {
		own, mesh float64
		state     string
		want      float64
	}{
		{100, 2, "", 50}, {25, 2, "", 200}, {100, 2, "ot=th:8", 2}, {100, 2, "vendor=x", 50}, {100, 2, "ot=rv:fffffffffffffe", 50}, {100, 100, "", 1}, {100, 0, "", 1},
	} {
		rules := DefaultRules()
		rules.SamplePercent, rules.MeshPercent = c.own, c.mesh
		b := &span.Batch{}
		r := row(b, 0, "service.name=x", "")
		b.TraceID[r], b.TraceState[r] = span.TraceIDFromUint64s(7, randomness-1), b.AddText(c.state)
		if out, _ := run(t, rules, b); out.Len() != 1 || out.Weight[0] != c.want {
			t.Errorf("%+v: %d spans of weight %v", c, out.Len(), out.Weight)
		}
	}
}

func TestSamplingOfTheSender(t *testing.T) {
	for _, c := range []struct {
		state  string
		weight float64
	}{
		{"ot=th:8", 2}, {"ot=th:c", 4}, {"vendor=1,ot=rv:abcdefabcdefab;th:8", 2}, {"ot=th:0", 1}, {"ot=th:zz", 1}, {"other=th:8", 1},
		{"ot=th:123456789012345", 1},
	} {
		b := &span.Batch{}
		i := row(b, 1<<55+5, "service.name=x", "")
		b.TraceState[i] = b.AddText(c.state)
		out, _ := run(t, DefaultRules(), b)
		if out.Len() != 1 || out.Weight[0] != c.weight {
			t.Errorf("%s: %d rows, weight %v, want %v", c.state, out.Len(), out.Weight, c.weight)
		}
	}
}

func TestLimits(t *testing.T) {
	rules := DefaultRules()
	rules.Limits = Limits{ValueBytes: 16, SpanAttrs: 2, SpanEvents: 1, SpansPerTrace: 3}
	b := &span.Batch{}
	i := row(b, 1, "service.name=x", "a="+strings.Repeat("é", 20)+"|b=2|c=3")
	b.Events = append(b.Events, span.Event{Time: 1}, span.Event{Time: 2})
	b.SpanEvents[i] = span.Range{Off: 0, Len: 2}
	out, p := run(t, rules, b)
	if got := string(out.FindString(out.SpanAttrs[i], "a")); got != strings.Repeat("é", 8) {
		t.Errorf("long value became %q", got)
	}
	if out.DroppedAttrs[i] != 1 || out.DroppedEvents[i] != 1 || out.Mark[i]&span.MarkCut == 0 || p.Counts().Cut != 1 {
		t.Errorf("dropped %d attributes, %d events, marks %b, counts %+v", out.DroppedAttrs[i], out.DroppedEvents[i], out.Mark[i], p.Counts())
	}

	giant := &span.Batch{}
	for range 5 {
		row(giant, 9, "service.name=x", "")
	}
	row(giant, 10, "service.name=x", "")
	out, p = run(t, rules, giant)
	if out.Len() != 1 || out.TraceID[0].Low() != 10 || p.Counts().TraceTooLarge != 5 {
		t.Errorf("giant trace: %d rows left, %d refused", out.Len(), p.Counts().TraceTooLarge)
	}
	if len(out.Refused) != 1 || out.Refused[0] != (span.Refusal{Reason: "trace_too_large", Spans: 5}) {
		t.Errorf("refusals %v", out.Refused)
	}
}

func TestBadRulesNameTheField(t *testing.T) {
	for want, change := range map[string]func(*Rules){
		"percent":          func(r *Rules) { r.SamplePercent = 101 },
		"mesh sampling":    func(r *Rules) { r.MeshPercent = -1 },
		"action":           func(r *Rules) { r.Resource = []ResourceRule{{"k", "replace", "v"}} },
		"matches the empt": func(r *Rules) { r.Redact.Patterns = []string{"a*"} },
		"missing closing":  func(r *Rules) { r.Redact.Patterns = []string{"("} },
		"limits":           func(r *Rules) { r.Limits.ValueBytes = 0 },
	} {
		rules := DefaultRules()
		change(&rules)
		if _, err := New(rules, &keepSink{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not mention %q", err, want)
		}
	}
}

type nullSink struct{}

func (nullSink) Accept(context.Context, *span.Batch) error { return nil }

func envoyBatch(n int) *span.Batch {
	b := &span.Batch{Sender: netip.MustParseAddr("10.0.0.9")}
	for i := range n {
		row(b, uint64(i), "service.name=reviews.bookinfo", "component=proxy|node_id=sidecar~10.0.0.7~reviews-v2-66756cddfd-7rz4s.bookinfo~bookinfo.svc.cluster.local|"+
			"guid:x-request-id=230b8ad2-6d67-9887-8744-9e4c10c7e9dd|http.url=http://reviews:9080/reviews/0|http.method=GET|http.protocol=HTTP/1.1|"+
			"downstream_cluster=-|user_agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36|peer.address=10.0.0.3|request_size=0|response_size=129|http.status_code=200|"+
			"response_flags=-|upstream_cluster=outbound|9080||reviews.bookinfo.svc.cluster.local|upstream_cluster.name=outbound|9080||reviews.bookinfo.svc.cluster.local;|"+
			"istio.canonical_service=reviews|istio.canonical_revision=v2|istio.mesh_id=cluster.local|istio.namespace=bookinfo|istio.cluster_id=Kubernetes|zone=a")
	}
	return b
}

func TestStepsAllocateNothingPerSpan(t *testing.T) {
	p, err := New(DefaultRules(), nullSink{})
	if err != nil {
		t.Fatal(err)
	}
	b := envoyBatch(100)
	arena := len(b.Arena)
	once := func() {
		b.Arena = b.Arena[:arena]
		if err := p.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	once()
	if n := testing.AllocsPerRun(20, once); n > 2 {
		t.Errorf("%v allocations for a batch of 100 spans", n)
	}
}

func BenchmarkSteps(bench *testing.B) {
	p, _ := New(DefaultRules(), nullSink{})
	b := envoyBatch(512)
	arena := len(b.Arena)
	ctx := bench.Context()
	bench.ReportAllocs()
	for bench.Loop() {
		b.Arena = b.Arena[:arena]
		_ = p.Accept(ctx, b)
	}
	bench.ReportMetric(float64(bench.Elapsed().Nanoseconds())/float64(bench.N)/512, "ns/span")
}

func FuzzRedact(f *testing.F) {
	f.Add("http://a?b=c#d", uint8(2))
	f.Add("Bearer abcdefghijk eyJa.b.c", uint8(0))
	f.Fuzz(func(t *testing.T, text string, class uint8) {
		b := &span.Batch{}
		s := b.AddText(text)
		out, changed := (&redactPatterns{}).text(b, s, keyClass(class%4))
		if !changed && b.String(out) != text {
			t.Fatalf("%q became %q without being counted", text, b.String(out))
		}
		again, changed := (&redactPatterns{}).text(b, out, keyClass(class%4))
		if changed && keyClass(class%4) != queryOnly {
			t.Fatalf("%q became %q, and then %q", text, b.String(out), b.String(again))
		}
	})
}

// Rows that another system stored get the names and marks that they would have got on their way in, all but what a sender's address tells.
func TestSettle(t *testing.T) {
	for _, c := range []struct{ resource, attrs, want string }{
		{"service.name=productpage|k8s.namespace.name=bookinfo", "", "productpage productpage bookinfo false"},
		{"service.name=productpage.bookinfo", "component=proxy", "productpage.bookinfo productpage bookinfo true"},
		{"service.name=a.b|telemetry.sdk.name=envoy", "", "a.b a b true"},
		{"", "node_id=sidecar~10.0.0.7~reviews-v2-66756cddfd-7rz4s.bookinfo~x", "reviews-v2.bookinfo reviews-v2 bookinfo true"},
		{"service.name=unknown_service:go", "", "unknown (no address) unknown (no address)  false"},
	} {
		b := &span.Batch{}
		i := row(b, 1, c.resource, c.attrs)
		Settle(b)
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %s %s %t", b.String(b.Service[i]), b.String(b.Group[i]), b.String(b.Namespace[i]), b.Mark[i]&span.MarkProxy != 0)
		if got != c.want {
			t.Errorf("%s %s: %s, want %s", c.resource, c.attrs, got, c.want)
		}
	}
}
