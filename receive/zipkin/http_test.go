package zipkin

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// sink keeps what it is given, or refuses with err.
type sink struct {
	mu  sync.Mutex
	got []*span.Batch
	err error
}

func (s *sink) Accept(_ context.Context, b *span.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.got = append(s.got, b.Clone())
	return nil
}

func (s *sink) spans() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.got {
		n += b.Len()
	}
	return n
}

var testNow = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func newIntake(s receive.Sink) *receive.Intake {
	now := func() time.Time { return testNow }
	return &receive.Intake{Sink: s, Ledger: receive.NewLedger(now, slog.New(slog.DiscardHandler)), Budget: receive.NewBudget(256 << 20),
		MaxBody: 8 << 20, Now: now}
}

const (
	oneSpan = `[{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"a2fb4a1d1a96d312","kind":"SERVER","timestamp":1793534400000000,"duration":5,"tags":{"a":"b"}}]`
	oneV1   = `[{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"a2fb4a1d1a96d312","annotations":[{"timestamp":1793534400000000,"value":"sr","endpoint":{"serviceName":"a"}}],"binaryAnnotations":[]}]`
	mixed   = `[{"traceId":"1","id":"1"},{"traceId":"0","id":"1"},{"traceId":"1","id":"2","duration":-4}]`
)

func compressed(t *testing.T, w io.WriteCloser, buf *bytes.Buffer, body string) []byte {
	t.Helper()
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func gzipped(t *testing.T, body string) string {
	var buf bytes.Buffer
	return string(compressed(t, gzip.NewWriter(&buf), &buf, body))
}

func deflated(t *testing.T, body string) string {
	var buf bytes.Buffer
	return string(compressed(t, zlib.NewWriter(&buf), &buf, body))
}

func protoBody(t *testing.T) string {
	return string(AppendRequestProto(nil, decodeBody(t, []byte(oneSpan), JSONv2)))
}

// TestHTTP posts bodies over a real connection and looks at answer, sink and ledger.
func TestHTTP(t *testing.T) {
	long := `[{"traceId":"1","id":"1","tags":{"big":"` + strings.Repeat("x", 1<<20) + `"}}]`
	tests := []struct {
		name, method, path string
		header             string // "Name: value" lines
		body               string
		strict             bool
		status             int
		answer             string // a part of the answer's text
		spans              int
		refused            string // "reason n" list in order of Reasons
		misuse             string
	}{
		{name: "v2", body: oneSpan, status: 202, spans: 1},
		{name: "charset", header: "Content-Type: application/json; charset=UTF-8", body: oneSpan, status: 202, spans: 1},
		{name: "no content type", header: "Content-Type:", body: oneSpan, status: 202, spans: 1},
		{name: "foreign content type", header: "Content-Type: text/plain", body: oneSpan, status: 202, spans: 1},
		{name: "empty body", status: 202},
		{name: "empty gzip", header: "Content-Encoding: gzip", status: 202},
		{name: "empty list", body: "[]", status: 202},
		{name: "white space", body: " \r\n\t", status: 202},
		{name: "single object", body: oneSpan[1 : len(oneSpan)-1], status: 202, spans: 1},
		{name: "v1", path: "/api/v1/spans", body: oneV1, status: 202, spans: 1},
		{name: "v2 on the v1 path", path: "/api/v1/spans", body: oneSpan, status: 202, spans: 1, misuse: "mislabelled_body 1"},
		{name: "v1 on the v2 path", body: oneV1, status: 202, spans: 1, misuse: "mislabelled_body 1"},
		{name: "Envoy behind a prefix", path: "/zipkin/api/v1/spans", body: oneSpan, status: 202, spans: 1, misuse: "mislabelled_body 1, wrong_path 1"},
		{name: "slash behind", path: "/api/v2/spans/", body: oneSpan, status: 202, spans: 1, misuse: "wrong_path 1"},
		{name: "prefix, strict", path: "/zipkin/api/v2/spans", body: oneSpan, strict: true, status: 404, answer: "POST Zipkin spans to /api/v2/spans", refused: "wrong_path 1"},
		{name: "other path", path: "/api/spans", body: oneSpan, status: 404, answer: `path: "/api/spans" receives nothing (POST Zipkin spans to /api/v2/spans or /api/v1/spans)`, refused: "wrong_path 1"},
		{name: "protobuf", header: "Content-Type: application/x-protobuf", body: protoBody(t), status: 202, spans: 1},
		{name: "protobuf said to be JSON", body: protoBody(t), status: 202, spans: 1, misuse: "mislabelled_body 1"},
		{name: "JSON said to be protobuf", header: "Content-Type: application/x-protobuf", body: oneSpan, status: 202, spans: 1, misuse: "mislabelled_body 1"},
		{name: "JSON said to be protobuf, strict", strict: true, header: "Content-Type: application/x-protobuf", body: oneSpan, status: 400,
			answer: "Expected a PROTO3 encoded list, but received: JSON_V2", refused: "malformed 1"},
		{name: "v2 on the v1 path, strict", strict: true, path: "/api/v1/spans", body: oneSpan, status: 400,
			answer: "Expected a JSON_V1 encoded list, but received: JSON_V2", refused: "malformed 1"},
		{name: "gzip", header: "Content-Encoding: gzip", body: gzipped(t, oneSpan), status: 202, spans: 1},
		{name: "deflate", header: "Content-Encoding: deflate", body: deflated(t, oneSpan), status: 202, spans: 1},
		{name: "gzip not labelled", body: gzipped(t, oneSpan), status: 400, answer: "gzip without Content-Encoding", refused: "malformed 1"},
		{name: "labelled gzip, is not", header: "Content-Encoding: gzip", body: oneSpan, status: 400, answer: "cannot gunzip", refused: "bad_encoding 1"},
		{name: "gzip cut off", header: "Content-Encoding: gzip", body: gzipped(t, oneSpan)[:40], status: 400, answer: "does not decompress", refused: "bad_encoding 1"},
		{name: "unknown encoding", header: "Content-Encoding: br", body: oneSpan, status: 400, answer: `Content-Encoding "br"`, refused: "bad_encoding 1"},
		{name: "mixed", body: mixed, status: 202, spans: 1, refused: "bad_id 1, bad_span 1"},
		{name: "mixed, strict", strict: true, body: mixed, status: 400, answer: `span 1 traceId: "0" is not`, refused: "bad_id 1, bad_span 1"},
		{name: "none good", body: `[{"traceId":"1"}]`, status: 400, answer: "span 0 id: is missing", refused: "bad_id 1"},
		{name: "cut off", body: oneSpan[:len(oneSpan)-1] + `,{"traceId":"1",`, status: 202, spans: 1, refused: "malformed 1"},
		{name: "cut off in the first", body: oneSpan[:50], status: 400, answer: "byte 50", refused: "malformed 1"},
		{name: "text", body: "hello", status: 400, answer: "neither JSON nor protobuf nor thrift", refused: "malformed 1"},
		{name: "a form", header: "Content-Type: application/x-www-form-urlencoded", body: "a=b", status: 415, answer: "Content-Type", refused: "bad_content_type 1"},
		{name: "OTLP", body: `{"resourceSpans":[]}`, status: 400, answer: "/v1/traces", refused: "bad_id 1"},
		{name: "invalid UTF-8", body: strings.Replace(oneSpan, `"b"`, "\"\xff\xfe\"", 1), status: 202, spans: 1},
		{name: "over-long id", body: `[{"traceId":"463ac35c9f6413ad48485a3953bb61240","id":"1"}]`, status: 400, answer: "1 to 32 hexadecimal digits", refused: "bad_id 1"},
		{name: "capitals", body: strings.ToUpper(oneSpan[:44]) + oneSpan[44:], status: 400, refused: "bad_id 1"},
		{name: "capital id", body: strings.Replace(oneSpan, "463ac", "463AC", 1), status: 202, spans: 1, misuse: "upper_case_id 1"},
		{name: "absurd time", body: strings.Replace(oneSpan, "1793534400000000", "99999999999999999999", 1), status: 202, spans: 1},
		{name: "1 MB tag", body: long, status: 202, spans: 1},
		{name: "deep", body: `[{"traceId":"1","id":"1","x":` + strings.Repeat("[", 100000), status: 400, answer: "nested deeper", refused: "malformed 1"},
		{name: "too large", body: "[" + strings.Repeat(" ", 9<<20) + "]", status: 413, answer: "limit is 8388608", refused: "body_too_large 1"},
		{name: "bare GET", method: "GET", status: 200, answer: "[]"},
		{name: "GET of names", method: "GET", path: "/api/v2/spans?serviceName=a", status: 405},
		{name: "GET v1", method: "GET", path: "/api/v1/spans", status: 405, answer: "POST"},
		{name: "PUT", method: "PUT", body: oneSpan, status: 405},
		{name: "health", method: "GET", path: "/health", status: 200, answer: `{"status":"UP"}`},
		{name: "GET elsewhere", method: "GET", path: "/x", status: 404, answer: "/api/v2/spans"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			to := &sink{}
			in := newIntake(to)
			in.Strict = tc.strict
			srv := httptest.NewServer(Handler(in, Options{}))
			defer srv.Close()
			path, method := tc.path, tc.method
			if path == "" {
				path = "/api/v2/spans"
			}
			if method == "" {
				method = http.MethodPost
			}
			// A reader of unknown length makes the client send chunks, as Envoy does.
			req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, io.MultiReader(strings.NewReader(tc.body)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			if name, value, ok := strings.Cut(tc.header, ": "); ok {
				req.Header.Set(name, value)
			} else if tc.header != "" {
				req.Header.Del("Content-Type")
			}
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != tc.status || !strings.Contains(string(answer), tc.answer) {
				t.Errorf("answer %d %q, want %d %q", res.StatusCode, answer, tc.status, tc.answer)
			}
			if res.StatusCode == 202 && len(answer) > 0 {
				t.Errorf("202 with a body: %q", answer)
			}
			if res.StatusCode >= 400 && !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("content type %q", res.Header.Get("Content-Type"))
			}
			totals := in.Ledger.Totals(span.ProtocolZipkin)
			if to.spans() != tc.spans || int(totals.Spans) != tc.spans {
				t.Errorf("%d spans, ledger %d, want %d", to.spans(), totals.Spans, tc.spans)
			}
			var refused, misuse []string
			for _, r := range receive.Reasons() {
				if n := totals.Refused[r]; n > 0 {
					refused = append(refused, fmt.Sprint(r, " ", n))
				}
			}
			for _, m := range []receive.Misuse{receive.MisuseFormat, receive.MisuseUpperCaseID, receive.MisusePath} {
				if n := totals.Misuses[m]; n > 0 {
					misuse = append(misuse, fmt.Sprint(m, " ", n))
				}
			}
			if !sameSet(refused, tc.refused) || strings.Join(misuse, ", ") != tc.misuse {
				t.Errorf("refused %q, want %q; misuse %q, want %q", refused, tc.refused, misuse, tc.misuse)
			}
			if used := in.Budget.Used(); used != 0 {
				t.Errorf("%d bytes of budget not given back", used)
			}
		})
	}
}

func sameSet(got []string, want string) bool {
	if want == "" {
		return len(got) == 0
	}
	for _, w := range strings.Split(want, ", ") {
		found := false
		for _, g := range got {
			found = found || g == w
		}
		if !found {
			return false
		}
	}
	return len(got) == len(strings.Split(want, ", "))
}

// zeros is an endless reader of zeros, less n bytes.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	clear(p[:n])
	z.n -= n
	return int(n), nil
}

// TestBomb streams a gzip body that would be 10 GB.
func TestBomb(t *testing.T) {
	in := newIntake(&sink{})
	srv := httptest.NewServer(Handler(in, Options{}))
	defer srv.Close()
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		z, _ := gzip.NewWriterLevel(pw, gzip.BestSpeed)
		_, err := io.Copy(z, &zeros{10 << 30})
		pw.CloseWithError(err)
	}()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/api/v2/spans", pr)
	req.Header.Set("Content-Encoding", "gzip")
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	pr.Close()
	<-done
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", res.StatusCode)
	}
	if n := in.Ledger.Totals(span.ProtocolZipkin).Refused[receive.BodyTooLarge]; n != 1 {
		t.Errorf("%d refusals", n)
	}
}

func TestBackPressure(t *testing.T) {
	for _, tc := range []struct {
		kind   problem.Kind
		status int
		after  string
	}{{problem.Overloaded, 429, "3"}, {problem.Unavailable, 503, "3"}, {problem.Internal, 500, ""}} {
		in := newIntake(&sink{err: &problem.Problem{Kind: tc.kind, Message: "no", RetryAfter: 2500 * time.Millisecond}})
		w := httptest.NewRecorder()
		Handler(in, Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v2/spans", strings.NewReader(oneSpan)))
		if w.Code != tc.status || w.Header().Get("Retry-After") != tc.after {
			t.Errorf("%s: %d, Retry-After %q", tc.kind, w.Code, w.Header().Get("Retry-After"))
		}
	}
}

// TestBatchBudget sends spans that need many times the body's bytes in memory.
func TestBatchBudget(t *testing.T) {
	to := &sink{}
	in := newIntake(to)
	in.Budget = receive.NewBudget(6 << 20)
	body := "[" + strings.Repeat(`{"traceId":"1","id":"1"},`, 80000) + `{"traceId":"1","id":"1"}]`
	w := httptest.NewRecorder()
	Handler(in, Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v2/spans", strings.NewReader(body)))
	if w.Code != http.StatusRequestEntityTooLarge || w.Header().Get("Retry-After") != "" || to.spans() != 0 || in.Budget.Used() != 0 {
		t.Errorf("a body that never fits: %d %q, %d spans, %d bytes held", w.Code, w.Body, to.spans(), in.Budget.Used())
	}
	in.Budget = receive.NewBudget(40 << 20)
	in.Budget.Take(33 << 20)
	w = httptest.NewRecorder()
	Handler(in, Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v2/spans", strings.NewReader(body)))
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || to.spans() != 0 || in.Budget.Used() != 33<<20 {
		t.Errorf("a body beside others: %d %q, %d spans, %d bytes held", w.Code, w.Body, to.spans(), in.Budget.Used())
	}
	in.Budget = receive.NewBudget(256 << 20)
	w = httptest.NewRecorder()
	Handler(in, Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v2/spans", strings.NewReader(body)))
	if w.Code != http.StatusAccepted || to.spans() != 80001 || in.Budget.Used() != 0 {
		t.Errorf("%d %q, %d spans, %d bytes held", w.Code, w.Body, to.spans(), in.Budget.Used())
	}
}

// TestBigBodies takes what is big in one direction each.
func TestBigBodies(t *testing.T) {
	var keys, services, trace strings.Builder
	keys.WriteString(`[{"traceId":"1","id":"1","tags":{"first":""`)
	for i := range 100_000 {
		fmt.Fprintf(&keys, `,"key-%d":"%d"`, i, i)
	}
	keys.WriteString("}}]")
	for i := range 200_000 {
		fmt.Fprintf(&trace, `{"traceId":"1","id":"%x","parentId":"%x"},`, i+1, i/2)
	}
	for i := range 50_000 {
		fmt.Fprintf(&services, `{"traceId":"1","id":"1","localEndpoint":{"serviceName":"s%d"}},`, i)
	}
	b := decodeBody(t, []byte(keys.String()), JSONv2)
	if b.Len() != 1 || b.SpanAttrs[0].Len != 100_002 {
		t.Errorf("%d spans, %d attributes", b.Len(), b.SpanAttrs[0].Len)
	}
	if again := decodeBody(t, AppendRequestJSON(nil, b), JSONv2); again.SpanAttrs[0].Len != 100_002 {
		t.Errorf("%d attributes come back", again.SpanAttrs[0].Len)
	}
	if b := decodeBody(t, []byte("["+strings.TrimSuffix(trace.String(), ",")+"]"), JSONv2); b.Len() != 200_000 {
		t.Errorf("%d spans of one trace", b.Len())
	}
	if b := decodeBody(t, []byte("["+strings.TrimSuffix(services.String(), ",")+"]"), JSONv2); len(b.Resources) != 50_000 {
		t.Errorf("%d resources", len(b.Resources))
	}
}

func TestCORS(t *testing.T) {
	tests := []struct {
		name, method, path, origin string
		allowed                    []string
		status                     int
		allow, vary, methods       string
	}{
		{"post", "POST", "/api/v2/spans", "http://a", nil, 202, "*", "", ""},
		{"no origin", "POST", "/api/v2/spans", "", nil, 202, "", "", ""},
		{"preflight", "OPTIONS", "/api/v2/spans", "http://a", nil, 204, "*", "", "POST"},
		{"get", "GET", "/api/v2/spans", "http://a", nil, 200, "", "", ""},
		{"elsewhere", "GET", "/health", "http://a", nil, 200, "", "", ""},
		{"configured", "POST", "/api/v1/spans", "http://a", []string{"http://a"}, 202, "http://a", "Origin", ""},
		{"another", "OPTIONS", "/api/v2/spans", "http://b", []string{"http://a"}, 204, "", "", ""},
	}
	for _, tc := range tests {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(tc.method, tc.path, nil)
		if tc.origin != "" {
			r.Header.Set("Origin", tc.origin)
		}
		Handler(newIntake(&sink{}), Options{AllowedOrigins: tc.allowed}).ServeHTTP(w, r)
		h := w.Header()
		if w.Code != tc.status || h.Get("Access-Control-Allow-Origin") != tc.allow || h.Get("Vary") != tc.vary ||
			h.Get("Access-Control-Allow-Methods") != tc.methods || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", tc.name, w.Code, h)
		}
	}
}
