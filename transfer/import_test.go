package transfer

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/storetest"
)

// receiver is an OTLP/HTTP receiver that keeps what it gets; answer, where set, may refuse a request.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []*span.Batch
	asked  int
	answer func(n int, w http.ResponseWriter) bool // of the nth request; true if it answered
}

func listen(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked++
		body, err := io.ReadAll(req.Body)
		if err != nil || r.answer != nil && r.answer(r.asked, w) {
			return
		}
		b := new(span.Batch)
		if err := otlp.Decode(b, body); err != nil {
			t.Error(err)
		}
		r.got = append(r.got, b)
	}))
	t.Cleanup(r.Close)
	return r
}

// spans is everything received in text form.
func (r *receiver) spans() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.got {
		for row, start := range b.Start {
			b.Time[row] = int64(start)
		}
	}
	return storetest.Print(r.got...)
}

const spans = `ab000000000000000000000000000001 a - front server "GET /" 0s 12ms n=1 t=true @scope=lib @flags=257
  event second 3ms b=2
  link ab000000000000000000000000000002 c k=v
ab000000000000000000000000000001 b a cart client read 1ms 5ms s=x
ab000000000000000000000000000003 c - cart internal work 2ms 1ms`

// sent is the text form of spans once OTLP has carried them.
func sent(t *testing.T, text string) string {
	t.Helper()
	b := new(span.Batch)
	if err := otlp.Decode(b, otlp.AppendRequest(nil, storetest.Batch(t, text))); err != nil {
		t.Fatal(err)
	}
	for row, start := range b.Start {
		b.Time[row] = int64(start)
	}
	return storetest.Print(b)
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

func zipped(t *testing.T, p []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Every form in which OTLP lies in files gives the same spans.
func TestFormsOfOTLP(t *testing.T) {
	b := storetest.Batch(t, spans)
	request, json := otlp.AppendRequest(nil, b), otlpjson.AppendTracesData(nil, b, nil)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	line := append(json[:len(json):len(json)], '\n')
	for name, data := range map[string][]byte{
		"request":            request,
		"JSON":               json,
		"JSON with a mark":   append([]byte("\xef\xbb\xbf\n "), json...),
		"list of requests":   append(append([]byte("["), json...), ']'),
		"answer of API v3":   append(append([]byte(`{"result":`), json...), '}'),
		"lines":              line,
		"frames":             frame(request),
		"frames of zstd":     frame(z.EncodeAll(request, nil)),
		"frames of JSON":     frame(z.EncodeAll(json, nil)),
		"gzip of lines":      zipped(t, line),
		"gzip of a request":  zipped(t, request),
		"zstd of lines":      z.EncodeAll(line, nil),
		"other fields first": append([]byte{5<<3 | 2, 2, 'x', 'y', 6 << 3, 1}, request...),
	} {
		t.Run(name, func(t *testing.T) {
			to := listen(t)
			format := Detect
			if name == "other fields first" {
				format = OTLPProto
			}
			r, err := Import(t.Context(), Options{Sources: []string{write(t, t.TempDir(), "f", data)}, Format: format, To: to.URL, Fault: func(f Fault) { t.Error(f) }})
			if err != nil || r.Sent != 3 || r.Read != 3 || !r.Whole() {
				t.Errorf("%+v, %v", r, err)
			}
			if got, want := to.spans(), sent(t, spans); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Zipkin's spans come as its receiver takes them.
func TestZipkin(t *testing.T) {
	b := storetest.Batch(t, "ab a - front server get 0s 12ms k=v\nab b a cart client read 1ms 5ms")
	list := zipkin.AppendRequestJSON(nil, b)
	want := new(span.Batch)
	if _, err := new(zipkin.Decoder).Decode(want, bytes.Clone(list), zipkin.JSONv2); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"list":   string(list),
		"traces": "[" + string(list) + ",[]]",
		"lines":  string(list) + "\n" + "[]\n",
	} {
		to := listen(t)
		r, err := Import(t.Context(), Options{Sources: []string{"-"}, Stdin: strings.NewReader(data), To: to.URL})
		if err != nil || r.Sent != 2 || !r.Whole() || len(r.Lacks) == 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		back := new(span.Batch)
		if err := otlp.Decode(back, otlp.AppendRequest(nil, want)); err != nil {
			t.Fatal(err)
		}
		for row, start := range back.Start {
			back.Time[row] = int64(start)
		}
		if got := to.spans(); got != storetest.Print(back) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, storetest.Print(back))
		}
	}
}

// What cannot be read is named with its place, and the rest comes.
func TestUnreadablePieces(t *testing.T) {
	good := func(id string) string {
		return `{"traceID":"1","spanID":"` + id + `","operationName":"x","startTime":1767225600000000,"duration":1,"process":{"serviceName":"a"}}`
	}
	for name, c := range map[string]struct {
		data   string
		sent   int64
		faults []string
	}{
		"a line cut off":          {good("1") + "\n" + good("2")[:60] + "\n" + good("3") + "\n", 2, []string{"line 2, byte 121"}},
		"a line cut after a word": {good("1") + "\n{\"_source\":{\"traceID\":\"1\"\n" + good("3") + "\n", 2, []string{"line 2, byte 121"}},
		"the last line cut off":   {good("1") + "\n" + good("2")[:60], 1, []string{"line 2, byte 121"}},
		"a bad id":                {good("1") + "\n" + good("zz") + "\n" + good("3"), 2, []string{`line 2, byte 121: spanID: "zz" is no id`}},
		"something else":          {good("1") + "\n{\"level\":\"info\"}\n" + good("3"), 2, []string{"line 2, byte 121: neither spans of"}},
		"no JSON at all":          {"<html>", 0, []string{"line 1, byte 0: no JSON"}},
		"Jaeger's trace": {`{"data":[{"traceID":"1","spans":[{"traceID":"1","spanID":"1"},{"traceID":"1"}]},{"traceID":"2"}],"errors":null}`, 1,
			[]string{"line 1, byte 9: spans[1].spanID: is missing", "line 1, byte 80: the trace has no list of spans"}},
		"a cut trace": {`{"data":[{"traceID":"1","spans":[{"traceID":"1","spanID":"1"}]},{"traceID":"2",`, 1, []string{"what follows is not read"}},
	} {
		t.Run(name, func(t *testing.T) {
			to := listen(t)
			path := write(t, t.TempDir(), "f.json", []byte(c.data))
			var faults []string
			o := Options{Sources: []string{path}, To: to.URL, Fault: func(f Fault) { faults = append(faults, f.At+": "+f.What) }}
			r, err := Import(t.Context(), o)
			if err != nil || r.Sent != c.sent || r.Unreadable != int64(len(c.faults)) {
				t.Errorf("%+v, %v", r, err)
			}
			if len(faults) != len(c.faults) {
				t.Fatalf("faults %q", faults)
			}
			for i, want := range c.faults {
				if !strings.Contains(faults[i], want) {
					t.Errorf("fault %q, want %q", faults[i], want)
				}
			}
			o.Strict = true
			if _, err := Import(t.Context(), o); !errors.Is(err, errStrict) {
				t.Errorf("strict: %v", err)
			}
		})
	}
}

// A receiver that is full is waited for as long as it says, and nothing is lost; one that stays away ends the import, which goes on
// where it was.
func TestBackPressureAndResume(t *testing.T) {
	var lines strings.Builder
	const n = 5 * batchRows
	for i := range n {
		fmt.Fprintf(&lines, `{"traceID":"%x","spanID":"1","operationName":"x","startTime":1767225600000000,"process":{"serviceName":"a"}}`+"\n", i+1)
	}
	dir := t.TempDir()
	path := write(t, dir, "f.jsonl", []byte(lines.String()))
	var mu sync.Mutex
	now, waited := time.Unix(1767225600, 0), time.Duration(0)
	to := listen(t)
	o := Options{Sources: []string{path}, To: to.URL, State: filepath.Join(dir, "state"), RetryFor: time.Minute,
		now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		wait: func(ctx context.Context, d time.Duration) error {
			mu.Lock()
			defer mu.Unlock()
			now, waited = now.Add(d), waited+d
			return ctx.Err()
		}}
	to.answer = func(i int, w http.ResponseWriter) bool {
		if i == 2 {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}
		if i > 4 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return i == 2 || i > 4
	}
	r, err := Import(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "503") || r.Sent != 3*batchRows || waited < 7*time.Second {
		t.Fatalf("%+v, %v, waited %s", r, err, waited)
	}
	to.answer = nil
	r, err = Import(t.Context(), o)
	if err != nil || !r.Resumed || r.Sent < 2*batchRows || r.Sent >= n {
		t.Fatalf("went on: %+v, %v", r, err)
	}
	seen := make(map[span.TraceID]bool)
	for _, b := range to.got {
		for _, id := range b.TraceID {
			seen[id] = true
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d spans", len(seen), n)
	}
	if _, err := os.Stat(o.State); !os.IsNotExist(err) {
		t.Error("the state of an import that is done is still there")
	}
}

// A state file of another import is not followed.
func TestForeignState(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "f", []byte("{}"))
	s := write(t, dir, "state", []byte(`{"import":"other","source":1}`))
	if _, err := Import(t.Context(), Options{Sources: []string{path}, To: "http://127.0.0.1:1", State: s}); err == nil || !strings.Contains(err.Error(), "another import") {
		t.Error(err)
	}
	if err := (state{Import: "x", Offset: 7, Since: 5}).save(s); err != nil {
		t.Fatal(err)
	}
	if got, err := loadState(s, "x", 6); err != nil || got.Offset != 7 || got.Since != 5 {
		t.Error(got, err)
	}
	if _, err := loadState(s, "x", 4); err == nil || !strings.Contains(err.Error(), "--since") {
		t.Error("what starts before the place of a later beginning would be left out:", err)
	}
}

// Refused spans are counted, whether the receiver refuses some of a request or all of it.
func TestRefusals(t *testing.T) {
	data := otlp.AppendRequest(nil, storetest.Batch(t, spans))
	for name, c := range map[string]struct {
		answer        func(w http.ResponseWriter)
		sent, refused int64
	}{
		"some": {func(w http.ResponseWriter) { _, _ = w.Write([]byte{0x0a, 6, 0x08, 2, 0x12, 2, 'n', 'o'}) }, 1, 2},
		"all":  {func(w http.ResponseWriter) { http.Error(w, "no", http.StatusBadRequest) }, 0, 3},
	} {
		to := listen(t)
		to.answer = func(_ int, w http.ResponseWriter) bool { c.answer(w); return true }
		var faults []Fault
		r, err := Import(t.Context(), Options{Sources: []string{"-"}, Stdin: bytes.NewReader(data), To: to.URL, Fault: func(f Fault) { faults = append(faults, f) }})
		if err != nil || r.Sent != c.sent || r.Refused != c.refused || r.Whole() || len(faults) != 1 || !strings.Contains(faults[0].What, "no") {
			t.Errorf("%s: %+v, %v, %v", name, r, err, faults)
		}
	}
	to := listen(t)
	to.answer = func(_ int, w http.ResponseWriter) bool { w.WriteHeader(http.StatusUnauthorized); return true }
	if _, err := Import(t.Context(), Options{Sources: []string{"-"}, Stdin: bytes.NewReader(data), To: to.URL}); err == nil || !strings.Contains(err.Error(), "--token-file") {
		t.Error(err)
	}
	// What answers 200 without being a receiver, as a login page does, has not stored anything.
	to = listen(t)
	to.answer = func(_ int, w http.ResponseWriter) bool { _, _ = w.Write([]byte("<html>")); return true }
	if r, err := Import(t.Context(), Options{Sources: []string{"-"}, Stdin: bytes.NewReader(data), To: to.URL}); err == nil || !strings.Contains(err.Error(), "--to") || r.Sent != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A list of any length is read in the memory of its pieces.
func TestMemoryIsThatOfAPiece(t *testing.T) {
	s := newStream(io.MultiReader(strings.NewReader("["), repeat(`{"a":[1,"x\"]"]},`, 100_000), strings.NewReader("{}]")), 1000)
	n := 0
	w := walker{s, Zipkin, func(r record) error { n++; return nil }, func(at Position, what string) error { return errors.New(what) }}
	if err := w.walk(); err != nil || n != 100_001 || cap(s.buf) > 256<<10 {
		t.Errorf("%d pieces, %d bytes, %v", n, cap(s.buf), err)
	}
}

// A piece over the limit is passed over and named.
func TestLongPiece(t *testing.T) {
	s := newStream(io.MultiReader(strings.NewReader(`{"data":[{"a":"`), repeat("x", 300_000), strings.NewReader(`"},{"b":1}]}`)), 100_000)
	var got, bad []string
	w := walker{s, Detect, func(r record) error { got = append(got, string(r.body)); return nil }, func(at Position, what string) error { bad = append(bad, what); return nil }}
	if err := w.walk(); err != nil || len(got) != 1 || got[0] != `{"b":1}` || len(bad) != 1 {
		t.Errorf("%v %q %q", err, got, bad)
	}
}

func repeat(s string, n int) io.Reader { return &repeater{[]byte(s), n, 0} }

type repeater struct {
	s     []byte
	n, at int
}

func (r *repeater) Read(p []byte) (n int, err error) {
	for n < len(p) && r.n > 0 {
		c := copy(p[n:], r.s[r.at:])
		n += c
		if r.at += c; r.at == len(r.s) {
			r.at, r.n = 0, r.n-1
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// FuzzFile reads anything: it ends, every span it makes is sound, and reading one byte at a time finds the same records.
func FuzzFile(f *testing.F) {
	b := storetest.Batch(f, spans)
	request, json := otlp.AppendRequest(nil, b), otlpjson.AppendTracesData(nil, b, nil)
	for _, seed := range [][]byte{request, json, frame(request), append(append(json, '\n'), json...), []byte(`[[{"traceId":"1","id":"2"}]]`),
		[]byte(`{"data":[{"traceID":"1","spans":[{"traceID":"1","spanID":"1"}],"processes":{}}]}`), []byte(`{"took":1,"hits":{"total":{},"hits":[{"_source":{}}]}}`),
		[]byte(`{"batches":[{"scopeSpans":[{"spans":[{"traceId":"AAAAAAAAAAAAAAAAAAAAAQ==","spanId":"AAAAAAAAAAE="}]}]}]}`), []byte("{\"a\":\"b\n{\"c\":1}\n")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(r io.Reader) (out []string) {
			d := newDecoder()
			err := readRecords(r, Detect, func(r record) error {
				bad := d.add(r)
				out = append(out, fmt.Sprint(r.format, r.at, r.end, len(r.body), bad))
				return nil
			}, func(at Position, what string) error { out = append(out, at.String()+what); return nil })
			out = append(out, fmt.Sprint(err))
			if err := d.b.Check(); err != nil {
				t.Fatal(err)
			}
			return out
		}
		whole, bytewise := read(bytes.NewReader(data)), read(&slow{data})
		if fmt.Sprint(whole) != fmt.Sprint(bytewise) {
			t.Errorf("whole %q\nbyte by byte %q", whole, bytewise)
		}
	})
}

// slow gives a byte at a time.
type slow struct{ p []byte }

func (s *slow) Read(p []byte) (int, error) {
	if len(s.p) == 0 || len(p) == 0 {
		return 0, io.EOF
	}
	p[0], s.p = s.p[0], s.p[1:]
	return 1, nil
}
