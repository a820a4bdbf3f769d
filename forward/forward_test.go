package forward_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/forward"
	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/receive/door"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/storetest"
)

// backend is Spanloom's own OTLP receivers with a fault before the HTTP one. It counts what it takes.
type backend struct {
	address string
	mu      sync.Mutex
	spans   map[string]int
	tokens  map[string]int
	fault   func(w http.ResponseWriter, r *http.Request) bool
	server  *httptest.Server
	stop    func()
}

func (b *backend) Accept(_ context.Context, batch *span.Batch) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for row := range batch.Len() {
		b.spans[batch.TraceID[row].String()+batch.SpanID[row].String()]++
	}
	return nil
}

func (b *backend) auth(_ context.Context, authorization string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens[authorization]++
	if authorization != "" && authorization != "Bearer right" {
		return &problem.Problem{Kind: problem.Unauthenticated, Message: "who is it"}
	}
	return nil
}

// found is the spans and the copies among them.
func (b *backend) found() (spans, copies int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.spans {
		copies += n - 1
	}
	return len(b.spans), copies
}

func (b *backend) set(fault func(w http.ResponseWriter, r *http.Request) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = fault
}

func newBackend() (*backend, *receive.Intake) {
	b := &backend{spans: make(map[string]int), tokens: make(map[string]int)}
	log := slog.New(slog.DiscardHandler)
	return b, &receive.Intake{Sink: b, Ledger: receive.NewLedger(time.Now, log), Budget: receive.NewBudget(64 << 20), Now: time.Now, MaxBody: 16 << 20}
}

func (b *backend) handler(in *receive.Intake) http.Handler {
	own := otlp.Handler(in, otlp.Options{Auth: b.auth})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		fault := b.fault
		b.mu.Unlock()
		if fault == nil || !fault(w, r) {
			own.ServeHTTP(w, r)
		}
	})
}

func httpBackend(t *testing.T, secure bool) *backend {
	t.Helper()
	b, in := newBackend()
	if secure {
		b.server = httptest.NewTLSServer(b.handler(in))
	} else {
		b.server = httptest.NewServer(b.handler(in))
	}
	b.address = b.server.URL
	t.Cleanup(b.server.Close)
	return b
}

// grpcBackend listens at an address; stop ends it and its connections.
func grpcBackend(t *testing.T, at string, conf *tls.Config) *backend {
	t.Helper()
	b, in := newBackend()
	b.listen(t, in, at, conf)
	return b
}

func (b *backend) listen(t *testing.T, in *receive.Intake, at string, conf *tls.Config) {
	t.Helper()
	server, err := otlp.NewGRPC(in, otlp.GRPCOptions{Auth: b.auth})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	b.address = "grpc://" + l.Addr().String()
	behind := door.NewGRPC(server, http.NotFoundHandler(), conf, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = behind.Serve(l)
	}()
	b.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = behind.Shutdown(ctx)
		<-done
	})
	t.Cleanup(b.stop)
}

func targets(t testing.TB, addresses ...string) (list []*forward.Target) {
	t.Helper()
	for _, a := range addresses {
		to, err := forward.ParseTarget(a, func(name string) string {
			return map[string]string{"TOKEN": "Bearer right"}[name]
		})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, to)
	}
	return list
}

func options(fsys faultfs.FS, to ...*forward.Target) forward.Options {
	return forward.Options{Dir: "/data/forward", FS: fsys, Targets: to, Sync: time.Second, Linger: 4 * time.Millisecond, Rows: 100,
		Wait: func(ctx context.Context, _ time.Duration) error { return pause.For(ctx, 5*time.Millisecond) }}
}

func open(t testing.TB, o forward.Options) *forward.Forwarder {
	t.Helper()
	f, err := forward.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func flush(t testing.TB, f *forward.Forwarder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Scale(time.Minute))
	defer cancel()
	if err := f.Flush(ctx); err != nil {
		t.Fatal(err, f.Stats())
	}
}

// send accepts n batches of two spans with an attribute of some bytes, and answers the number of spans.
func send(t testing.TB, f *forward.Forwarder, from, n, bytes int) int {
	t.Helper()
	for i := from; i < from+n; i++ {
		f.Accept(storetest.Batch(t, fmt.Sprintf("%x a - front server get 0s 1ms v=%s\n%x b a cart client get 0s 1ms", i+1, filler(i, bytes), i+1)))
	}
	return 2 * n
}

// filler is a text that does not pack.
func filler(seed, bytes int) string {
	var w strings.Builder
	x := uint64(seed)*0x9e3779b97f4a7c15 + 1
	for w.Len() < bytes {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		fmt.Fprintf(&w, "%016x", x)
	}
	return "x" + w.String()[:bytes]
}

func expect(t *testing.T, b *backend, want, mostCopies int) {
	t.Helper()
	if spans, copies := b.found(); spans != want || copies > mostCopies {
		t.Errorf("%s has %d spans and %d copies of some, want %d", b.address, spans, copies, want)
	}
}

// TestForward sends the same to four backends, over both protocols, packed and not, with TLS and tokens.
func TestForward(t *testing.T) {
	dir := t.TempDir()
	token, ca := filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
	overGRPC, overHTTP, secure := grpcBackend(t, "127.0.0.1:0", nil), httpBackend(t, false), httpBackend(t, true)
	for name, text := range map[string][]byte{token: []byte("Bearer right\n"), ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.server.Certificate().Raw})} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secureGRPC := grpcBackend(t, "127.0.0.1:0", &tls.Config{Certificates: secure.server.TLS.Certificates, NextProtos: []string{"h2"}})
	f := open(t, options(faultfs.NewMem(1), targets(t, overGRPC.address+"?header_file.Authorization="+url.QueryEscape(token),
		overHTTP.address+"?compression=none&name=plain", secure.address+"/v1/traces?header_env.Authorization=TOKEN&ca_file="+url.QueryEscape(ca),
		strings.Replace(secureGRPC.address, "grpc:", "grpcs:", 1)+"?server_name=example.com&ca_file="+url.QueryEscape(ca))...))
	sent := send(t, f, 0, 500, 20)
	// One batch that no request may hold.
	var w strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&w, "%x c - front server get 0s 1ms v=%s\n", 100_000+i, filler(i, 600))
	}
	big := storetest.Batch(t, strings.TrimSpace(w.String()))
	f.Accept(big)
	sent += big.Len()
	flush(t, f)
	for _, b := range []*backend{overGRPC, overHTTP, secure, secureGRPC} {
		expect(t, b, sent, 0)
	}
	for _, b := range []*backend{overGRPC, secure} {
		if b.tokens["Bearer right"] == 0 || len(b.tokens) != 1 {
			t.Errorf("%s heard %v", b.address, b.tokens)
		}
	}
	for _, s := range f.Stats().Targets {
		if s.SentSpans != int64(sent) || s.Spans != 0 || s.RefusedSpans+s.DroppedSpans+s.UnreadableSpans != 0 || s.LastError != "" {
			t.Errorf("%+v", s)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAway has one backend away: the other one gets everything meanwhile, and it gets the rest when it is back, also after restarts.
func TestAway(t *testing.T) {
	away, there := grpcBackend(t, "127.0.0.1:0", nil), httpBackend(t, false)
	to := targets(t, away.address, there.address)
	disk := faultfs.NewMem(1)
	o := options(disk, to...)
	f := open(t, o)
	sent := send(t, f, 0, 200, 20)
	flush(t, f)
	away.stop()
	sent += send(t, f, 200, 500, 20)
	wait.For(t, 30*time.Second, "the other backend to have all", func() bool {
		n, _ := there.found()
		return n == sent && f.Stats().Targets[1].Spans == 0
	})
	wait.For(t, 30*time.Second, "the failure", func() bool { return f.Stats().Targets[0].LastError != "" })
	if s := f.Stats(); s.Targets[0].Spans != 1000 || s.Targets[0].Oldest == 0 || s.Targets[1].Spans != 0 || s.Targets[1].LastError != "" {
		t.Errorf("%+v", s)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, o) // the backend is away at the start too
	sent += send(t, f, 700, 100, 20)
	if s := f.Stats().Targets[0]; s.Spans != 1200 {
		t.Errorf("after a restart: %+v", s)
	}
	_, in := newBackend()
	in.Sink = away
	away.listen(t, in, strings.TrimPrefix(away.address, "grpc://"), nil)
	flush(t, f)
	expect(t, away, sent, 0)
	expect(t, there, sent, 0)
	if s := f.Stats(); s.Targets[0].LastError != "" || s.Targets[0].SentSpans != 1200 {
		t.Errorf("%+v", s)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if files := disk.Files("/data/forward/log/"); len(files) > 1 {
		t.Errorf("the log keeps %v", files)
	}
}

// TestPowerCut ends the process at some moments: nothing that was accepted is missing, and at most a run of copies comes twice.
func TestPowerCut(t *testing.T) {
	b := httpBackend(t, false)
	disk := faultfs.NewMem(5)
	sent := 0
	for life := range 5 {
		o := options(disk, targets(t, b.address)...)
		o.Sync = 0
		f := open(t, o)
		sent += send(t, f, sent/2, 150, 20)
		if life%2 == 0 {
			wait.For(t, 30*time.Second, "some spans", func() bool { n, _ := b.found(); return n > sent-250 })
		}
		after := disk.PowerCut()
		_ = f.Close()
		disk = after
	}
	f := open(t, options(disk, targets(t, b.address)...))
	flush(t, f)
	if n, copies := b.found(); n != sent {
		t.Errorf("%d of %d are there, %d copies", n, sent, copies)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLimit fills the disk while a backend is away: the oldest spans go and are counted, for it alone, and senders hear nothing of it.
func TestLimit(t *testing.T) {
	there, away := httpBackend(t, false), httpBackend(t, false)
	away.set(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	o := options(faultfs.NewMem(1), targets(t, there.address, away.address)...)
	o.MaxDisk = 4 << 20
	f := open(t, o)
	sent := 0
	for range 20 {
		sent += send(t, f, sent/2, 200, 4000)
		wait.For(t, 30*time.Second, "the other backend", func() bool { return f.Stats().Targets[0].SentSpans == int64(sent) })
		if s := f.Stats(); s.Bytes > o.MaxDisk+(1<<20) {
			t.Errorf("the log has %d bytes", s.Bytes)
		}
	}
	if s := f.Stats().Targets[1]; s.DroppedSpans < int64(sent)/2 || s.Spans == 0 {
		t.Errorf("%d sent, %+v", sent, s)
	}
	away.set(nil)
	flush(t, f)
	expect(t, there, sent, 0)
	got, copies := away.found()
	if s := f.Stats().Targets[1]; int64(got)+s.DroppedSpans != int64(sent) || s.SentSpans != int64(got) || got == 0 || copies != 0 || s.Spans != 0 {
		t.Errorf("%d sent, %d are there, %+v", sent, got, s)
	}
	if s := f.Stats().Targets[0]; s.DroppedSpans != 0 {
		t.Errorf("%+v", s)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDiskFull: copies that cannot be written are counted as dropped.
func TestDiskFull(t *testing.T) {
	b := httpBackend(t, false)
	disk := faultfs.NewMem(1)
	f := open(t, options(disk, targets(t, b.address)...))
	sent := send(t, f, 0, 10, 20)
	flush(t, f)
	disk.SetCapacity(disk.Bytes())
	lost := send(t, f, 10, 10, 20)
	if s := f.Stats().Targets[0]; s.DroppedSpans != int64(lost) {
		t.Errorf("%d could not be written, %+v", lost, s)
	}
	disk.SetCapacity(1 << 40)
	wait.For(t, 30*time.Second, "the log to look again", func() bool {
		before := f.Stats().Targets[0].DroppedSpans
		n := send(t, f, 1000+sent, 1, 20)
		if f.Stats().Targets[0].DroppedSpans > before {
			return false
		}
		sent += n
		return true
	})
	flush(t, f)
	expect(t, b, sent, 0)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRefusals has a backend that refuses: for good, which is counted and passed over, or for a while, which is waited for as long as it says.
func TestRefusals(t *testing.T) {
	answer := func(times, status int, headers ...string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if times--; times < 0 {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			for i := 0; i+1 < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "says the test")
			return true
		}
	}
	for _, c := range []struct {
		name    string
		fault   func(w http.ResponseWriter, r *http.Request) bool
		refused int
		waits   []time.Duration
	}{
		{"400", answer(1, 400), 20, nil},
		{"500", answer(1, 500), 20, nil},
		{"too large", func(w http.ResponseWriter, r *http.Request) bool {
			if r.ContentLength < 900 {
				return false
			}
			return answer(1, 413)(w, r)
		}, 0, nil},
		{"429", answer(2, 429, "Retry-After", "7"), 0, []time.Duration{7 * time.Second, 7 * time.Second}},
		{"503", answer(2, 503), 0, []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}},
		{"401", answer(1, 401), 0, []time.Duration{30 * time.Second}},
		{"404", answer(1, 404), 0, []time.Duration{30 * time.Second}},
		{"redirect", answer(1, 307, "Location", "http://127.0.0.1:1/"), 0, []time.Duration{30 * time.Second}},
		{"part of it", func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = w.Write([]byte{1<<3 | 2, 7, 1 << 3, 5, 2<<3 | 2, 3, 'b', 'a', 'd'})
			return true
		}, 5, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := httpBackend(t, false)
			b.set(c.fault)
			var mu sync.Mutex
			var waits []time.Duration
			o := options(faultfs.NewMem(1), targets(t, b.address+"?compression=none")...)
			o.Linger = time.Hour // one run
			o.Wait = func(_ context.Context, d time.Duration) error {
				mu.Lock()
				defer mu.Unlock()
				waits = append(waits, d)
				return nil
			}
			f := open(t, o)
			sent := send(t, f, 0, 10, 20)
			flush(t, f)
			s := f.Stats().Targets[0]
			if s.RefusedSpans != int64(c.refused) || s.SentSpans != int64(sent-c.refused) || s.Spans != 0 || s.Failures != int64(len(c.waits)) || (s.LastRefusal == "") != (c.refused == 0) {
				t.Errorf("%+v", s)
			}
			if fmt.Sprint(waits) != fmt.Sprint(c.waits) {
				t.Errorf("waits %v, want %v", waits, c.waits)
			}
			if c.refused == 0 {
				expect(t, b, sent, 0)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestTargetsChange: one that is new gets what comes from then on, one that is gone is forgotten.
func TestTargetsChange(t *testing.T) {
	one, two := httpBackend(t, false), httpBackend(t, false)
	disk := faultfs.NewMem(1)
	f := open(t, options(disk, targets(t, one.address)...))
	sent := send(t, f, 0, 50, 20)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, options(disk, targets(t, one.address, two.address)...))
	sent += send(t, f, 50, 30, 20)
	flush(t, f)
	expect(t, one, sent, 0)
	expect(t, two, 60, 0)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, options(disk, targets(t, two.address)...))
	if files := disk.Files("cursor-"); len(files) != 1 {
		t.Errorf("cursors %v", files)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]string{
		"grpc://tempo":                         "grpc://tempo:4317 tempo:4317",
		"https://[::1]/":                       "https://[::1]:4318/v1/traces [::1]:4318",
		"http://c:1/otlp/v1/traces?name=other": "http://c:1/otlp/v1/traces other",
		"":                                     "is no address",
		"tempo:4317":                           "is no address",
		"ftp://tempo":                          "is none of grpc, grpcs, http and https",
		"grpc://tempo/v1/traces":               "gRPC has none",
		"https://me:secret@tempo":              "header_file.Authorization=",
		"grpc://tempo?ca_file=/x":              "without TLS",
		"grpcs://tempo?ca_file=/missing":       "name a file in PEM form",
		"http://tempo?nmae=x":                  "the options are",
		"http://tempo?name=a/b":                "letters, digits",
		"http://tempo?compression=zstd":        "gzip or none",
		"http://tempo?header_env.X=MISSING":    "MISSING is not set",
		"http://tempo?header_file.X=/missing":  "no such file",
		"http://tempo?header.a:b=c":            "no header that may be set",
		"http://tempo?header.X=a%0Ab":          "line breaks",
		"https://tempo?skip_verify=yes":        "true or false",
		"https://tempo?cert_file=/x":           "belong together",
	} {
		to, err := forward.ParseTarget(text, func(string) string { return "" })
		if err != nil {
			if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Field != "forward-to" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v, want %q", text, err, want)
			}
			continue
		}
		if got := to.Address + " " + to.Name; got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if to := targets(t, "https://x?skip_verify=true&header.Authorization=y")[0]; len(to.Warnings) != 2 {
		t.Errorf("warnings %q", to.Warnings)
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("grpcs://tempo:4317?name=x&header.a=b&skip_verify=true")
	f.Add("https://[::1]/v1/traces?compression=none")
	f.Fuzz(func(t *testing.T, text string) {
		to, err := forward.ParseTarget(text, func(string) string { return "v" })
		if err == nil && (to.Name == "" || strings.ContainsAny(to.Name, "/\\ \n")) {
			t.Errorf("%q is called %q", text, to.Name)
		}
	})
}
