package otlp

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

func gzipped(p []byte) []byte {
	var w bytes.Buffer
	z := gzip.NewWriter(&w)
	_, _ = z.Write(p)
	_ = z.Close()
	return w.Bytes()
}

func zlibbed(p []byte) []byte {
	var w bytes.Buffer
	z := zlib.NewWriter(&w)
	_, _ = z.Write(p)
	_ = z.Close()
	return w.Bytes()
}

func zstded(t testing.TB, p []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(p, nil)
}

// goodSpan is a span of a request written by hand; badSpan has no ids.
func goodSpan(name string) []byte {
	return lv(2, lv(1, bytes.Repeat([]byte{1}, 16)), lv(2, bytes.Repeat([]byte{2}, 8)), lv(5, []byte(name)))
}

func request(spans ...[]byte) []byte { return lv(1, lv(2, spans...)) }

const oneSpanJSON = `{"resourceSpans":[{"scopeSpans":[{"spans":[{` + jsonIDs + `}]}]}]}`

func TestHTTP(t *testing.T) {
	envoy := envoyBodies(t)["http-01-ok-chain.pb"]
	spans := decode(t, envoy).Len()
	type want struct {
		status  int
		ctype   string
		body    string // exact, or a part of it where it begins with ~
		spans   int
		reason  receive.Reason
		refused int64
		misuse  receive.Misuse
	}
	const pb, js, text = "application/x-protobuf", "application/json", "text/plain; charset=utf-8"
	tests := []struct {
		name     string
		method   string // POST if empty
		path     string // /v1/traces if empty
		ctype    string
		encoding string
		body     []byte
		strict   bool
		want     want
	}{
		{name: "protobuf", ctype: pb, body: envoy, want: want{status: 200, ctype: pb, spans: spans}},
		{name: "protobuf with parameters", ctype: "Application/X-Protobuf; charset=utf-8", body: envoy, want: want{status: 200, ctype: pb, spans: spans}},
		{name: "json", ctype: js, body: []byte(oneSpanJSON), want: want{status: 200, ctype: js, body: "{}", spans: 1}},
		{name: "json with charset", ctype: "application/json; charset=utf-8", body: []byte(oneSpanJSON), want: want{status: 200, ctype: js, body: "{}", spans: 1}},
		{name: "empty protobuf", ctype: pb, want: want{status: 200, ctype: pb}},
		{name: "empty json object", ctype: js, body: []byte("{}"), want: want{status: 200, ctype: js, body: "{}"}},
		{name: "empty json", ctype: js, want: want{status: 400, ctype: js, body: `~{"code":3,"message":"`, reason: receive.Malformed, refused: 1}},
		{name: "gzip", ctype: pb, encoding: "gzip", body: gzipped(envoy), want: want{status: 200, ctype: pb, spans: spans}},
		{name: "zstd", ctype: pb, encoding: "zstd", body: zstded(t, envoy), want: want{status: 200, ctype: pb, spans: spans}},
		{name: "deflate", ctype: pb, encoding: "deflate", body: zlibbed(envoy), want: want{status: 200, ctype: pb, spans: spans}},
		{name: "empty gzip", ctype: pb, encoding: "gzip", want: want{status: 200, ctype: pb}},
		{name: "unknown encoding", ctype: pb, encoding: "br", body: envoy, want: want{status: 400, ctype: pb, body: `~unsupported Content-Encoding "br"`, reason: receive.BadEncoding, refused: 1}},
		{name: "not gzip", ctype: js, encoding: "gzip", body: []byte(oneSpanJSON), want: want{status: 400, ctype: js, body: `~cannot gunzip`, reason: receive.BadEncoding, refused: 1}},
		{name: "cut gzip", ctype: pb, encoding: "gzip", body: gzipped(envoy)[:200], want: want{status: 400, ctype: pb, body: `~does not decompress`, reason: receive.BadEncoding, refused: 1}},
		{name: "gzip without saying so", ctype: pb, body: gzipped(envoy), want: want{status: 400, ctype: pb, body: `~byte `, reason: receive.Malformed, refused: 1}},
		{name: "cut protobuf", ctype: pb, body: envoy[:len(envoy)-1], want: want{status: 400, ctype: pb, body: "~byte ", reason: receive.Malformed, refused: 1}},
		{name: "cut json", ctype: js, body: []byte(oneSpanJSON[:60]), want: want{status: 400, ctype: js, body: "~does not parse", reason: receive.Malformed, refused: 1}},
		{name: "bomb", ctype: pb, encoding: "gzip", body: gzipped(make([]byte, testMaxBody+1)), want: want{status: 413, ctype: pb, body: "~after decompression", reason: receive.BodyTooLarge, refused: 1}},
		{name: "too large", ctype: pb, body: make([]byte, testMaxBody+1), want: want{status: 413, ctype: pb, body: "~send smaller batches", reason: receive.BodyTooLarge, refused: 1}},
		{name: "partly refused", ctype: pb, body: request(goodSpan("a"), lv(2), goodSpan("b")), want: want{status: 200, ctype: pb, body: "~bad_id: 1", spans: 2, reason: receive.BadID, refused: 1}},
		{name: "partly refused json", ctype: js, body: []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{` + jsonIDs + `},{"name":"\"x\""}]}]}]}`),
			want: want{status: 200, ctype: js, body: `{"partialSuccess":{"rejectedSpans":"1","errorMessage":"bad_id: 1; the first: resourceSpans.scopeSpans.spans.traceId: is absent or zero (see the JSON encoding of OTLP)"}}`, spans: 1, reason: receive.BadID, refused: 1}},

		{name: "json announced as protobuf", ctype: pb, body: []byte(oneSpanJSON), want: want{status: 200, ctype: pb, spans: 1, misuse: receive.MisuseFormat}},
		{name: "json behind a line feed announced as protobuf", ctype: pb, body: []byte("\n" + oneSpanJSON), want: want{status: 200, ctype: pb, spans: 1, misuse: receive.MisuseFormat}},
		{name: "json behind a line feed", ctype: js, body: []byte("\n" + oneSpanJSON), want: want{status: 200, ctype: js, body: "{}", spans: 1}},
		{name: "protobuf announced as json", ctype: js, body: envoy, want: want{status: 200, ctype: js, body: "{}", spans: spans, misuse: receive.MisuseFormat}},
		{name: "json announced as protobuf, strict", ctype: pb, body: []byte(oneSpanJSON), strict: true, want: want{status: 400, ctype: pb, body: "~is not what the body is", reason: receive.Malformed, refused: 1}},
		{name: "beacon", ctype: "text/plain;charset=UTF-8", body: []byte(oneSpanJSON), want: want{status: 200, ctype: js, body: "{}", spans: 1, misuse: receive.MisuseFormat}},
		{name: "json without a type", body: []byte(oneSpanJSON), want: want{status: 200, ctype: js, body: "{}", spans: 1, misuse: receive.MisuseFormat}},
		{name: "protobuf without a type", body: envoy, want: want{status: 415, ctype: text, body: "415 unsupported media type, supported: [application/json, application/x-protobuf]", reason: receive.BadContentType, refused: 1}},
		{name: "other type", ctype: "application/x-thrift", body: envoy, want: want{status: 415, ctype: text, body: "~415 unsupported", reason: receive.BadContentType, refused: 1}},

		{name: "get", method: "GET", want: want{status: 405, ctype: text, body: "405 method not allowed, supported: [POST]"}},
		{name: "options without origins", method: "OPTIONS", want: want{status: 405, ctype: text, body: "405 method not allowed, supported: [POST]"}},
		{name: "slash behind the path", path: "/v1/traces/", ctype: pb, body: envoy, want: want{status: 200, ctype: pb, spans: spans, misuse: receive.MisusePath}},
		{name: "prefix before the path", path: "/otlp/v1/traces", ctype: pb, body: envoy, want: want{status: 200, ctype: pb, spans: spans, misuse: receive.MisusePath}},
		{name: "prefix before the path, strict", path: "/otlp/v1/traces", ctype: pb, body: envoy, strict: true, want: want{status: 404, ctype: pb, body: "~/v1/traces", reason: receive.WrongPath, refused: 1}},
		{name: "metrics", path: "/v1/metrics", ctype: js, body: []byte("{}"), want: want{status: 404, ctype: js, body: "~metrics are not stored here", reason: receive.Unsupported, refused: 1}},
		{name: "logs", path: "/v1/logs", ctype: pb, body: envoy, want: want{status: 404, ctype: pb, body: "~logs are not stored here", reason: receive.Unsupported, refused: 1}},
		{name: "no path", path: "/", ctype: pb, body: envoy, want: want{status: 404, ctype: pb, body: "~POST OTLP spans to /v1/traces", reason: receive.WrongPath, refused: 1}},
		{name: "look around", method: "GET", path: "/", want: want{status: 404, ctype: text, body: "~POST OTLP spans to /v1/traces"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := new(sink)
			in := newIntake(s)
			in.Strict = tt.strict
			method, path := tt.method, tt.path
			if method == "" {
				method = http.MethodPost
			}
			if path == "" {
				path = tracesPath
			}
			r := httptest.NewRequest(method, path, bytes.NewReader(tt.body))
			if tt.ctype != "" {
				r.Header.Set("Content-Type", tt.ctype)
			}
			if tt.encoding != "" {
				r.Header.Set("Content-Encoding", tt.encoding)
			}
			w := httptest.NewRecorder()
			Handler(in, Options{}).ServeHTTP(w, r)
			if w.Code != tt.want.status {
				t.Errorf("status %d, want %d", w.Code, tt.want.status)
			}
			if got := w.Header().Get("Content-Type"); got != tt.want.ctype {
				t.Errorf("content type %q, want %q", got, tt.want.ctype)
			}
			if part, ok := strings.CutPrefix(tt.want.body, "~"); ok && !strings.Contains(w.Body.String(), part) || !ok && w.Body.String() != tt.want.body {
				t.Errorf("body %q, want %q", w.Body, tt.want.body)
			}
			if w.Code >= 400 && tt.want.ctype == pb {
				var st rpcstatus.Status
				if err := proto.Unmarshal(w.Body.Bytes(), &st); err != nil || st.GetCode() == 0 || st.GetMessage() == "" {
					t.Errorf("the body is no google.rpc.Status: %v, %v", &st, err)
				}
			}
			if got := s.spans(); got != tt.want.spans {
				t.Errorf("%d spans taken, want %d", got, tt.want.spans)
			}
			totals := in.Ledger.Totals(span.ProtocolOTLPHTTP)
			if n := totals.Refused[tt.want.reason]; n != tt.want.refused || len(totals.Refused) > 1 || len(totals.Refused) == 1 && tt.want.reason == "" {
				t.Errorf("refusals %v, want %d for %q", totals.Refused, tt.want.refused, tt.want.reason)
			}
			if len(totals.Misuses) > 1 || (tt.want.misuse != "") != (totals.Misuses[tt.want.misuse] == 1) {
				t.Errorf("misuses %v, want %q", totals.Misuses, tt.want.misuse)
			}
			if used := in.Budget.Used(); used != 0 {
				t.Errorf("%d bytes of the budget were not given back", used)
			}
		})
	}
}

func TestHTTPPartialSuccessForPdata(t *testing.T) {
	w := httptest.NewRecorder()
	writeSuccess(w, protobufForm, 3, "three")
	res := ptraceotlp.NewExportResponse()
	if err := res.UnmarshalProto(w.Body.Bytes()); err != nil || res.PartialSuccess().RejectedSpans() != 3 || res.PartialSuccess().ErrorMessage() != "three" {
		t.Errorf("pdata reads %d %q, %v", res.PartialSuccess().RejectedSpans(), res.PartialSuccess().ErrorMessage(), err)
	}
}

// TestHTTPBackPressure: who may retry is told when, in both forms.
func TestHTTPBackPressure(t *testing.T) {
	tests := []struct {
		err    error
		status int
		code   codes.Code
		after  string
	}{
		{&problem.Problem{Kind: problem.Overloaded, Message: "full", RetryAfter: 1500 * time.Millisecond}, 429, codes.ResourceExhausted, "2"},
		{&problem.Problem{Kind: problem.Unavailable, Message: "disk"}, 503, codes.Unavailable, "1"},
		{io.ErrUnexpectedEOF, 500, codes.Internal, ""},
	}
	for _, tt := range tests {
		for _, ctype := range []string{protobufType, jsonType} {
			in := newIntake(&sink{err: tt.err})
			body := request(goodSpan("a"))
			if ctype == jsonType {
				body = []byte(oneSpanJSON)
			}
			r := httptest.NewRequest(http.MethodPost, tracesPath, bytes.NewReader(body))
			r.Header.Set("Content-Type", ctype)
			w := httptest.NewRecorder()
			Handler(in, Options{}).ServeHTTP(w, r)
			if w.Code != tt.status || w.Header().Get("Retry-After") != tt.after || w.Header().Get("Content-Type") != ctype {
				t.Errorf("%v: %d, Retry-After %q, %s", tt.err, w.Code, w.Header().Get("Retry-After"), w.Header().Get("Content-Type"))
			}
			if ctype == protobufType {
				var st rpcstatus.Status
				if err := proto.Unmarshal(w.Body.Bytes(), &st); err != nil || codes.Code(st.GetCode()) != tt.code {
					t.Errorf("%v: status %v", tt.err, &st)
				}
				if got := len(status.FromProto(&st).Details()) == 1; got != (tt.after != "") {
					t.Errorf("%v: RetryInfo is there: %t", tt.err, got)
				}
			}
		}
	}
}

func TestHTTPBudget(t *testing.T) {
	const budget = 4 << 20
	for _, tt := range []struct {
		name   string
		body   []byte
		others int64 // bytes that other requests hold
		want   int
	}{
		{"a small request", request(goodSpan("a")), 0, 200},
		{"a body beyond the budget", make([]byte, budget+1), 0, 429},
		{"a request whose batch blows up", bytes.Repeat(request(goodSpan("a")), 20_000), 0, 413},
		{"a request beside others", bytes.Repeat(request(goodSpan("a")), 100), budget - 10<<10, 429},
		{"the same alone", bytes.Repeat(request(goodSpan("a")), 100), 0, 200},
	} {
		in := newIntake(new(sink)) // its own pools: what a request reserves depends on the buffer it gets
		in.MaxBody = 2 * budget
		in.Budget = receive.NewBudget(budget)
		in.Budget.Take(tt.others)
		r := httptest.NewRequest(http.MethodPost, tracesPath, bytes.NewReader(tt.body))
		r.Header.Set("Content-Type", protobufType)
		w := httptest.NewRecorder()
		Handler(in, Options{}).ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s: %d %q, want %d", tt.name, w.Code, w.Body, tt.want)
		}
		if used := in.Budget.Used(); used != tt.others {
			t.Errorf("%s: %d bytes not given back", tt.name, used-tt.others)
		}
	}
}

// TestSlowSender begins a body and never goes on: the server's read deadline ends it with a reason.
func TestSlowSender(t *testing.T) {
	in := newIntake(new(sink))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: Handler(in, Options{}), ReadTimeout: 50 * time.Millisecond}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	_ = c.SetReadDeadline(time.Now().Add(wait.Scale(10 * time.Second)))
	answer, _ := io.ReadAll(c)
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) || !bytes.Contains(answer, []byte("did not arrive in time")) {
		t.Errorf("answer %q", answer)
	}
	if n := in.Ledger.Totals(span.ProtocolOTLPHTTP).Refused[receive.TimedOut]; n != 1 {
		t.Errorf("%d refusals", n)
	}
}

// TestManyKeys: 100,000 keys and a value of a megabyte are taken; the batch is not kept for later requests.
func TestManyKeys(t *testing.T) {
	const n = 100_000
	var attrs []byte
	for i := range n {
		attrs = append(attrs, lv(9, lv(1, fmt.Appendf(nil, "key-%d", i)), lv(2, lv(1, []byte("v"))))...)
	}
	attrs = append(attrs, lv(9, lv(1, []byte("long")), lv(2, lv(1, bytes.Repeat([]byte("x"), 1<<20))))...)
	s := new(sink)
	in := newIntake(s)
	h := Handler(in, Options{})
	for _, body := range [][]byte{request(lv(2, lv(1, bytes.Repeat([]byte{1}, 16)), lv(2, bytes.Repeat([]byte{2}, 8)), attrs)), request(goodSpan("a"))} {
		r := httptest.NewRequest(http.MethodPost, tracesPath, bytes.NewReader(body))
		r.Header.Set("Content-Type", protobufType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if b := s.taken()[0]; len(b.Keys) != n+1 || b.SpanAttrs[0].Len != n+1 {
		t.Errorf("%d keys, %d attributes", len(b.Keys), b.SpanAttrs[0].Len)
	}
	if b := in.Batch(); cap(b.Keys) >= n {
		t.Errorf("a pooled batch holds %d keys", cap(b.Keys))
	}
}

// zeros is ten gigabytes.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	return int(n), nil
}

// TestBomb streams ten gigabytes that are ten megabytes on the wire: the server gives up after its limit.
func TestBomb(t *testing.T) {
	in := newIntake(new(sink))
	addr := listen(t, Handler(in, Options{}))
	from, to := io.Pipe()
	source := &zeros{left: 10 << 30}
	go func() {
		z, err := gzip.NewWriterLevel(to, gzip.BestSpeed)
		if err == nil {
			_, err = io.Copy(z, source)
		}
		_ = to.CloseWithError(err)
	}()
	r, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+addr+tracesPath, from)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", protobufType)
	r.Header.Set("Content-Encoding", "gzip")
	res, err := http.DefaultClient.Do(r)
	if err == nil { // the connection may also be cut before the client has read its answer
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", res.StatusCode)
		}
		_ = res.Body.Close()
	}
	_ = from.Close()
	if n := in.Ledger.Totals(span.ProtocolOTLPHTTP).Refused[receive.BodyTooLarge]; n != 1 {
		t.Errorf("%d refusals, want 1", n)
	}
	if in.Budget.Used() != 0 {
		t.Errorf("%d bytes not given back", in.Budget.Used())
	}
}

func TestHTTPAuth(t *testing.T) {
	in := newIntake(new(sink))
	h := Handler(in, Options{AllowedOrigins: []string{"*"}, Auth: func(_ context.Context, authorization string) error {
		if authorization == "Bearer right" {
			return nil
		}
		return problem.New(problem.Unauthenticated, "no token", "send one")
	}})
	for token, want := range map[string]int{"": 401, "Bearer wrong": 401, "Bearer right": 200} {
		r := httptest.NewRequest(http.MethodPost, tracesPath, strings.NewReader(oneSpanJSON))
		r.Header.Set("Content-Type", jsonType)
		r.Header.Set("Authorization", token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || (want == 401) != (w.Header().Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%q: %d, %v", token, w.Code, w.Header())
		}
	}
	if n := in.Ledger.Totals(span.ProtocolOTLPHTTP).Refused[receive.NotAllowed]; n != 2 {
		t.Errorf("%d refusals", n)
	}
	r := httptest.NewRequest(http.MethodOptions, tracesPath, nil)
	r.Header.Set("Origin", "https://shop.example")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent {
		t.Errorf("preflight: %d", w.Code)
	}
}

func TestCORS(t *testing.T) {
	tests := []struct {
		origins     []string
		credentials bool
		origin      string
		want        string // Access-Control-Allow-Origin
	}{
		{[]string{"*"}, false, "https://shop.example", "*"},
		{[]string{"*"}, true, "https://shop.example", "https://shop.example"},
		{[]string{"https://shop.example/"}, false, "https://Shop.example", "https://Shop.example"},
		{[]string{"https://shop.example"}, false, "https://shop.example.evil", ""},
		{[]string{"https://*.example"}, false, "https://a.b.example", "https://a.b.example"},
		{[]string{"https://*.example"}, false, "https://example", ""},
		{[]string{"http://localhost:*"}, false, "http://localhost:3000", "http://localhost:3000"},
		{[]string{"https://a", "https://*.b:*"}, false, "https://x.b:1", "https://x.b:1"},
		{nil, false, "https://shop.example", ""},
	}
	for _, tt := range tests {
		h := Handler(newIntake(new(sink)), Options{AllowedOrigins: tt.origins, AllowCredentials: tt.credentials, AllowedHeaders: []string{"X-Shop"}})
		r := httptest.NewRequest(http.MethodOptions, tracesPath, nil)
		r.Header.Set("Origin", tt.origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != tt.want {
			t.Errorf("%v allows %s as %q, want %q", tt.origins, tt.origin, got, tt.want)
		}
		headers := w.Header().Get("Access-Control-Allow-Headers")
		if (tt.want != "") != (strings.Contains(headers, "traceparent") && strings.HasSuffix(headers, "x-shop")) {
			t.Errorf("%v: headers %q", tt.origins, headers)
		}
		if (w.Header().Get("Access-Control-Allow-Credentials") == "true") != tt.credentials {
			t.Errorf("%v: credentials %v", tt.origins, w.Header())
		}
		r = httptest.NewRequest(http.MethodPost, tracesPath, strings.NewReader(oneSpanJSON))
		r.Header.Set("Origin", tt.origin)
		r.Header.Set("Content-Type", jsonType)
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != tt.want || w.Code != 200 {
			t.Errorf("%v answers %s as %q, %d", tt.origins, tt.origin, got, w.Code)
		}
	}
}

func TestSender(t *testing.T) {
	s := new(sink)
	in := newIntake(s)
	in.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's peer
	r := httptest.NewRequest(http.MethodPost, tracesPath, bytes.NewReader(request(goodSpan("a"))))
	r.Header.Set("Content-Type", protobufType)
	r.Header.Set("X-Forwarded-For", "10.1.2.3")
	Handler(in, Options{}).ServeHTTP(httptest.NewRecorder(), r)
	if got := s.taken()[0].Sender; got != netip.MustParseAddr("10.1.2.3") {
		t.Errorf("sender %s", got)
	}
}

// TestHTTPConnection talks to a real server, over both versions of HTTP.
func TestHTTPConnection(t *testing.T) {
	s := new(sink)
	addr := listen(t, Handler(newIntake(s), Options{}))
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	for _, client := range []*http.Client{{Transport: new(http.Transport)}, {Transport: &http.Transport{Protocols: &p}}} {
		for range 3 {
			res, err := client.Post("http://"+addr+tracesPath, protobufType, bytes.NewReader(request(goodSpan("a"))))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != 200 || len(body) != 0 || res.ContentLength != 0 || res.Header.Get("Date") != "" {
				t.Errorf("%s: %d %q %d %v", res.Proto, res.StatusCode, body, res.ContentLength, res.Header)
			}
		}
		client.CloseIdleConnections()
	}
	if s.spans() != 6 {
		t.Errorf("%d spans", s.spans())
	}
}
