package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/spanloom/spanloom/span"
)

// fakeClock moves only when somebody waits.
type fakeClock struct {
	mu     sync.Mutex
	at     time.Time
	waited []time.Duration
}

func (c *fakeClock) clock() clock {
	return clock{
		now: func() time.Time {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.at
		},
		wait: func(ctx context.Context, d time.Duration) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.at = c.at.Add(d)
			c.waited = append(c.waited, d)
			return ctx.Err()
		},
	}
}

func TestEverySpanArrivesOnce(t *testing.T) {
	for _, p := range Protocols() {
		for _, perRequest := range []int{5, 512} {
			t.Run(fmt.Sprintf("%s/%d", p, perRequest), func(t *testing.T) {
				s := newSink()
				manifest := filepath.Join(t.TempDir(), "sent.json")
				report, err := Send(t.Context(), SendOptions{Protocol: p, Target: s.serve(t, p), Spans: 3000, SpansPerRequest: perRequest,
					Connections: 3, Seed: 99, Manifest: manifest, chunkBytes: 200_000}, io.Discard)
				if err != nil {
					t.Fatal(err)
				}
				if report.Accepted != report.Spans || report.Spans < 3000 || report.Spans > 3000+MaxSpans || report.Refused != 0 {
					t.Errorf("report %+v", report)
				}
				m, err := ReadManifest(manifest)
				if err != nil {
					t.Fatal(err)
				}
				s.check(t, m, perRequest)
			})
		}
	}
}

// check compares what arrived with what the manifest rebuilds.
func (s *sink) check(t *testing.T, m *Manifest, perRequest int) {
	t.Helper()
	data, err := m.Data()
	if err != nil {
		t.Fatal(err)
	}
	var (
		tr    Trace
		b     span.Batch
		spans int
	)
	for no := range m.Traces {
		b.Reset()
		data.Trace(no, &tr)
		data.Rows(&b).All(&tr)
		want := expectOwn(&b)
		for i := range tr.Spans {
			spans++
			key := tr.ID.String() + " " + tr.Spans[i].ID.String()
			if s.spans[key] != 1 {
				t.Fatalf("span %s arrived %d times", key, s.spans[key])
			}
			got := s.attrs[key]
			if got == nil {
				continue
			}
			w := want[tr.Spans[i].ID.String()]
			for name, value := range w {
				if name == "kind" {
					value = fmt.Sprint(int(tr.Spans[i].Kind))
				}
				if _, compared := got[name]; (compared || strings.HasPrefix(name, "attribute ")) && got[name] != value {
					t.Fatalf("span %s %s: sent %s, arrived %s", key, name, value, got[name])
				}
			}
		}
	}
	if spans != len(s.spans) || int64(spans) != m.Spans {
		t.Errorf("%d spans rebuilt, %d in the manifest, %d arrived", spans, m.Spans, len(s.spans))
	}
	full := 0
	for _, n := range s.requests {
		if n > perRequest {
			t.Fatalf("a request of %d spans", n)
		}
		if n == perRequest {
			full++
		}
	}
	if rest := len(s.requests) - full; rest > Pods {
		t.Errorf("%d of %d requests are not full, at most one a proxy may be", rest, len(s.requests))
	}
}

func TestRequestsOfProxiesAreShuffledAndEndNow(t *testing.T) {
	s := newSink()
	now := time.Now()
	manifest := filepath.Join(t.TempDir(), "sent.json")
	if _, err := Send(t.Context(), SendOptions{Protocol: OTLPHTTP, Target: s.serve(t, OTLPHTTP), Spans: 5000, SpansPerRequest: 5, Connections: 1,
		Manifest: manifest, Chunked: true}, io.Discard); err != nil {
		t.Fatal(err)
	}
	m, err := ReadManifest(manifest)
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.Data()
	if err != nil {
		t.Fatal(err)
	}
	if end := time.Unix(0, data.Slot(m.Traces)); now.Sub(end) > 10*time.Second || end.Sub(now) > time.Second {
		t.Errorf("the last trace starts %s before now", now.Sub(end))
	}
	changes := 0
	for i := 1; i < len(s.senders); i++ {
		if s.senders[i] != s.senders[i-1] {
			changes++
		}
	}
	if changes < len(s.senders)/2 {
		t.Errorf("%d requests of %d senders in a row", len(s.senders), changes)
	}
	if !s.chunked {
		t.Error("bodies have a Content-Length though chunked was asked for")
	}
}

func TestRefusalsAreRetriedAsTheProtocolSays(t *testing.T) {
	retryInfo := func(code codes.Code, d time.Duration) error {
		st, err := status.New(code, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
		if err != nil {
			t.Fatal(err)
		}
		return st.Err()
	}
	after := http.Header{"Retry-After": {"7"}}
	for _, c := range []struct {
		name     string
		protocol Protocol
		status   int
		header   http.Header
		err      error
		waited   time.Duration // before the second try; 0: refused for good
	}{
		{"429 with Retry-After", Zipkin, 429, after, nil, 7 * time.Second},
		{"503 without", OTLPHTTP, 503, nil, nil, firstPause},
		{"503 with Retry-After", OTLPHTTPJSON, 503, after, nil, 7 * time.Second},
		{"400", Zipkin, 400, nil, nil, 0},
		{"200 to Zipkin", Zipkin, 200, nil, nil, 0},
		{"202 to OTLP", OTLPHTTP, 202, nil, nil, 0},
		{"500", OTLPHTTP, 500, nil, nil, 0},
		{"unavailable with RetryInfo", OTLPGRPC, 0, nil, retryInfo(codes.Unavailable, 3*time.Second), 3 * time.Second},
		{"unavailable without", OTLPGRPC, 0, nil, status.Error(codes.Unavailable, "down"), firstPause},
		{"exhausted with RetryInfo", OTLPGRPC, 0, nil, retryInfo(codes.ResourceExhausted, 2*time.Second), 2 * time.Second},
		{"exhausted without", OTLPGRPC, 0, nil, status.Error(codes.ResourceExhausted, "too large"), 0},
		{"invalid", OTLPGRPC, 0, nil, status.Error(codes.InvalidArgument, "bad"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSink()
			s.refuse = func(n int) (int, http.Header, error) {
				if n == 2 {
					return c.status, c.header, c.err
				}
				return 0, nil, nil
			}
			clock := &fakeClock{at: testBase}
			report, err := Send(t.Context(), SendOptions{Protocol: c.protocol, Target: s.serve(t, c.protocol), Spans: 200, SpansPerRequest: 10,
				Connections: 1, Manifest: "-", clock: clock.clock()}, io.Discard)
			if c.waited == 0 {
				if !errors.Is(err, ErrMismatch) || report.Refused == 0 || report.Retried != 0 {
					t.Fatalf("refused %d, retried %d, error %v", report.Refused, report.Retried, err)
				}
				return
			}
			if err != nil || report.Retried != 1 || report.Accepted != report.Spans {
				t.Fatalf("report %+v, error %v", report, err)
			}
			if len(clock.waited) != 1 || clock.waited[0] != c.waited {
				t.Errorf("waited %v, want %s once", clock.waited, c.waited)
			}
		})
	}
}

func TestGivesUpAfterRetryFor(t *testing.T) {
	s := newSink()
	s.refuse = func(int) (int, http.Header, error) { return 503, nil, nil }
	clock := &fakeClock{at: testBase}
	report, err := Send(t.Context(), SendOptions{Protocol: Zipkin, Target: s.serve(t, Zipkin), Spans: 8, SpansPerRequest: 1000, Connections: 1,
		Manifest: "-", RetryFor: 20 * time.Second, clock: clock.clock()}, io.Discard)
	if !errors.Is(err, ErrMismatch) || report.Refused != report.Spans {
		t.Errorf("refused %d of %d, error %v", report.Refused, report.Spans, err)
	}
	if waited := clock.at.Sub(testBase); waited < 10*time.Second {
		t.Errorf("gave up after %s", waited)
	}
}

func TestPartialSuccessIsARefusal(t *testing.T) {
	for _, p := range []Protocol{OTLPGRPC, OTLPHTTP, OTLPHTTPJSON} {
		s := newSink()
		s.reject = 2
		report, err := Send(t.Context(), SendOptions{Protocol: p, Target: s.serve(t, p), Spans: 30, SpansPerRequest: 1000, Connections: 1, Manifest: "-"}, io.Discard)
		if !errors.Is(err, ErrMismatch) || report.Refused != 2*report.Requests {
			t.Errorf("%s: refused %d of %d requests, error %v", p, report.Refused, report.Requests, err)
		}
	}
}

func TestPaceHoldsTheRate(t *testing.T) {
	s := newSink()
	clock := &fakeClock{at: testBase}
	report, err := Send(t.Context(), SendOptions{Protocol: Zipkin, Target: s.serve(t, Zipkin), Rate: 1000, Duration: 4 * time.Second,
		SpansPerRequest: 10, Connections: 4, Manifest: "-", clock: clock.clock()}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if report.Spans < 4000 || report.Spans > 4000+MaxSpans || report.Accepted != report.Spans {
		t.Errorf("%d spans, %d accepted, want 4000", report.Spans, report.Accepted)
	}
	// The clock moves only by the pacer's waits: the last request is due just before four seconds.
	if took := clock.at.Sub(testBase); took < 3900*time.Millisecond || took > 4100*time.Millisecond {
		t.Errorf("paced over %s, want about 4 s", took)
	}
}

func TestCancelledSendEnds(t *testing.T) {
	s := newSink()
	ctx, cancel := context.WithCancel(t.Context())
	s.refuse = func(n int) (int, http.Header, error) {
		if n == 3 {
			cancel()
		}
		return 0, nil, nil
	}
	manifest := filepath.Join(t.TempDir(), "sent.json")
	_, err := Send(ctx, SendOptions{Protocol: Zipkin, Target: s.serve(t, Zipkin), Spans: 20_000, SpansPerRequest: 10, Manifest: manifest}, io.Discard)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := ReadManifest(manifest); err == nil {
		t.Error("a manifest was written for traces that are incomplete")
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, o := range []SendOptions{{Protocol: "thrift"}, {Spans: -1}, {Rate: -0.5}, {TracesPerSecond: 2_000_000}, {Endpoints: "missing.json"},
		{TokenFile: "missing"}, {CAFile: "missing"}} {
		o.Manifest = "-"
		if _, err := Send(t.Context(), o, io.Discard); err == nil || errors.Is(err, ErrMismatch) {
			t.Errorf("%+v: error %v", o, err)
		}
	}
}
