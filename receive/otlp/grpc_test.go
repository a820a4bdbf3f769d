package otlp

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	reflectv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// rawCodec sends and receives bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return grpcproto.Name }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// export sends a request's bytes and returns the answer's.
func export(t testing.TB, c *grpc.ClientConn, body []byte, options ...grpc.CallOption) ([]byte, error) {
	t.Helper()
	var reply []byte
	err := c.Invoke(testContext(t), exportPath, body, &reply, append(options, grpc.ForceCodecV2(rawCodec{}))...)
	return reply, err
}

func parse(t testing.TB, body []byte) *collector.ExportTraceServiceRequest {
	t.Helper()
	req := new(collector.ExportTraceServiceRequest)
	if err := proto.Unmarshal(body, req); err != nil {
		t.Fatal(err)
	}
	return req
}

func TestGRPCExport(t *testing.T) {
	s := new(sink)
	in := newIntake(s)
	client := collector.NewTraceServiceClient(listenGRPC(t, in, GRPCOptions{}))
	big, _ := bigRequest(t, 2000) // several HTTP/2 frames, so several buffers
	bodies := [][]byte{nil, envoyBodies(t)["grpc-01-ok-chain.pb"], big}
	for i, body := range bodies {
		for _, encoding := range []string{"", "gzip", "zstd"} {
			before := len(s.taken())
			var options []grpc.CallOption
			if encoding != "" {
				options = append(options, grpc.UseCompressor(encoding))
			}
			reply, err := client.Export(testContext(t), parse(t, body), options...)
			if err != nil {
				t.Fatalf("body %d, %q: %v", i, encoding, err)
			}
			if reply.PartialSuccess != nil {
				t.Errorf("partial success is set: %v", reply)
			}
			if len(body) == 0 {
				continue
			}
			taken := s.taken()[before:]
			if len(taken) != 1 || taken[0].Protocol != span.ProtocolOTLPGRPC || taken[0].Sender != netip.MustParseAddr("127.0.0.1") {
				t.Fatalf("body %d, %q: %d batches", i, encoding, len(taken))
			}
			sameText(t, encoding, batchText(taken[0]), batchText(decode(t, body)))
		}
	}
	givenBack(t, in)
	if totals := in.Ledger.Totals(span.ProtocolOTLPGRPC); len(totals.Refused)+len(totals.Misuses) > 0 {
		t.Errorf("refused %v, misused %v", totals.Refused, totals.Misuses)
	}
}

func TestGRPCAnswers(t *testing.T) {
	overloaded := &problem.Problem{Kind: problem.Overloaded, Message: "full", RetryAfter: 3 * time.Second}
	tests := []struct {
		name     string
		body     []byte
		options  []grpc.CallOption
		sink     *sink
		code     codes.Code
		retry    time.Duration // of RetryInfo; 0 is none
		bad      bool          // BadRequest is there
		reason   receive.Reason
		rejected int64
		says     string
	}{
		{name: "cut", body: []byte{0x0a, 9, 1}, code: codes.InvalidArgument, bad: true, reason: receive.Malformed, says: "byte 1"},
		{name: "text", body: []byte("hello, hello"), code: codes.InvalidArgument, bad: true, reason: receive.Malformed},
		{name: "overloaded", body: request(goodSpan("a")), sink: &sink{err: overloaded}, code: codes.ResourceExhausted, retry: 3 * time.Second, reason: receive.TooBusy, says: "full"},
		{name: "unavailable", body: request(goodSpan("a")), sink: &sink{err: problem.New(problem.Unavailable, "disk", "")}, code: codes.Unavailable, retry: time.Second, reason: receive.StoreRefused},
		{name: "internal", body: request(goodSpan("a")), sink: &sink{err: io.ErrUnexpectedEOF}, code: codes.Internal, reason: receive.NotStoredReason},
		{name: "partly refused", body: request(goodSpan("a"), lv(2), lv(2), goodSpan("b")), code: codes.OK, rejected: 2, reason: receive.BadID, says: "bad_id: 2; the first: resource_spans.scope_spans.spans.trace_id"},
		{name: "refused by a step", body: request(goodSpan("a"), goodSpan("b")), sink: &sink{refuse: string(receive.TraceTooLarge)}, code: codes.OK, rejected: 1, reason: receive.TraceTooLarge, says: "trace_too_large: 1"},
		{name: "too large", body: make([]byte, testMaxBody+1), code: codes.ResourceExhausted, reason: receive.BodyTooLarge},
		{name: "too large when unpacked", body: make([]byte, testMaxBody+1), options: []grpc.CallOption{grpc.UseCompressor("gzip")}, code: codes.ResourceExhausted, reason: receive.BodyTooLarge},
		{name: "zstd bomb", body: make([]byte, testMaxBody+1), options: []grpc.CallOption{grpc.UseCompressor("zstd")}, code: codes.ResourceExhausted, reason: receive.BodyTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.sink
			if s == nil {
				s = new(sink)
			}
			in := newIntake(s)
			c := listenGRPC(t, in, GRPCOptions{})
			reply, err := export(t, c, tt.body, append(tt.options, grpc.MaxCallSendMsgSize(1<<30))...)
			st := status.Convert(err)
			if st.Code() != tt.code {
				t.Fatalf("%v, want %s", err, tt.code)
			}
			var retry time.Duration
			bad := false
			for _, d := range st.Details() {
				switch d := d.(type) {
				case *errdetails.RetryInfo:
					retry = d.GetRetryDelay().AsDuration()
				case *errdetails.BadRequest:
					bad = len(d.GetFieldViolations()) == 1
				}
			}
			if retry != tt.retry || bad != tt.bad {
				t.Errorf("retry after %s (want %s), bad request %t (want %t)", retry, tt.retry, bad, tt.bad)
			}
			message := st.Message()
			if tt.code == codes.OK {
				var res collector.ExportTraceServiceResponse
				if err := proto.Unmarshal(reply, &res); err != nil || res.GetPartialSuccess().GetRejectedSpans() != tt.rejected {
					t.Errorf("answer %v, %v", &res, err)
				}
				message = res.GetPartialSuccess().GetErrorMessage()
			}
			if !strings.Contains(message, tt.says) {
				t.Errorf("message %q does not say %q", message, tt.says)
			}
			wait.For(t, 10*time.Second, "one refusal for "+string(tt.reason), func() bool {
				n := in.Ledger.Totals(span.ProtocolOTLPGRPC).Refused
				return len(n) == 1 && n[tt.reason] > 0
			})
			givenBack(t, in)
		})
	}
}

func TestGRPCBudget(t *testing.T) {
	in := newIntake(new(sink))
	in.Budget = receive.NewBudget(unread)
	c := listenGRPC(t, in, GRPCOptions{})
	refused := func(body []byte, retries int) {
		t.Helper()
		if _, err := export(t, c, body); status.Code(err) != codes.ResourceExhausted || len(status.Convert(err).Details()) != retries {
			t.Errorf("%v", err)
		}
		givenBack(t, in)
	}
	refused(bytes.Repeat(request(goodSpan("a")), 1000), 1)                // the message
	refused(request(goodSpan("a"), lv(2, bytes.Repeat(lv(11), 4000))), 0) // the batch, which never fits
	if !in.Budget.Take(1) {
		t.Fatal("the budget is not free")
	}
	if _, err := export(t, c, request(goodSpan("a"))); status.Code(err) != codes.ResourceExhausted { // anything
		t.Errorf("%v", err)
	}
	in.Budget.Give(1)
	givenBack(t, in)
	if _, err := export(t, c, request(goodSpan("a"))); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	wait.For(t, 10*time.Second, "two refusals for the moment and one for good", func() bool {
		n := in.Ledger.Totals(span.ProtocolOTLPGRPC).Refused
		return n[receive.TooBusy] == 2 && n[receive.BodyTooLarge] == 1
	})
	givenBack(t, in)
}

// givenBack waits for the whole budget: grpc-go answers a message it cannot take before our side of the call has ended.
func givenBack(t *testing.T, in *receive.Intake) {
	t.Helper()
	wait.For(t, 10*time.Second, "all bytes of the budget to be given back", func() bool { return in.Budget.Used() == 0 })
}

func TestGRPCOtherServices(t *testing.T) {
	in := newIntake(new(sink))
	c := listenGRPC(t, in, GRPCOptions{})
	ctx := testContext(t)
	if _, err := collectormetrics.NewMetricsServiceClient(c).Export(ctx, new(collectormetrics.ExportMetricsServiceRequest)); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "tracing system") {
		t.Errorf("metrics: %v", err)
	}
	if _, err := collectorlogs.NewLogsServiceClient(c).Export(ctx, new(collectorlogs.ExportLogsServiceRequest)); status.Code(err) != codes.Unimplemented {
		t.Errorf("logs: %v", err)
	}
	if n := in.Ledger.Totals(span.ProtocolOTLPGRPC).Refused[receive.Unsupported]; n != 2 {
		t.Errorf("%d refusals", n)
	}
	if err := c.Invoke(ctx, "/a.B/C", new(collector.ExportTraceServiceRequest), new(collector.ExportTraceServiceResponse)); status.Code(err) != codes.Unimplemented {
		t.Errorf("unknown: %v", err)
	}
	if h, err := grpc_health_v1.NewHealthClient(c).Check(ctx, new(grpc_health_v1.HealthCheckRequest)); err != nil || h.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", h, err)
	}
	stream, err := reflectv1.NewServerReflectionClient(c).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, symbol := range []string{"opentelemetry.proto.collector.trace.v1.TraceService", "opentelemetry.proto.trace.v1.Span", "grpc.health.v1.Health"} {
		if err := stream.Send(&reflectv1.ServerReflectionRequest{MessageRequest: &reflectv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol}}); err != nil {
			t.Fatal(err)
		}
		res, err := stream.Recv()
		if err != nil || len(res.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("reflection of %s: %v, %v", symbol, res, err)
		}
	}
}

func TestGRPCAuth(t *testing.T) {
	in := newIntake(new(sink))
	seen := 0
	c := listenGRPC(t, in, GRPCOptions{
		Auth: func(_ context.Context, authorization string) error {
			if authorization != "Bearer right" {
				return problem.New(problem.Unauthenticated, "no token", "")
			}
			return nil
		},
		Server: []grpc.ServerOption{grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			seen++
			return next(ctx, req)
		})},
	})
	if _, err := export(t, c, request(goodSpan("a"))); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v", err)
	}
	client := collector.NewTraceServiceClient(c)
	ctx := metadata.AppendToOutgoingContext(testContext(t), "authorization", "Bearer right")
	if _, err := client.Export(ctx, parse(t, request(goodSpan("a")))); err != nil || seen != 1 {
		t.Errorf("with a token: %v, interceptor ran %d times", err, seen)
	}
	if in.Ledger.Totals(span.ProtocolOTLPGRPC).Refused[receive.NotAllowed] != 1 {
		t.Error("the refusal was not counted")
	}
}

func TestGRPCForwardedFor(t *testing.T) {
	s := new(sink)
	in := newIntake(s)
	in.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	client := collector.NewTraceServiceClient(listenGRPC(t, in, GRPCOptions{}))
	ctx := metadata.AppendToOutgoingContext(testContext(t), "x-forwarded-for", "10.9.8.7")
	if _, err := client.Export(ctx, parse(t, request(goodSpan("a")))); err != nil {
		t.Fatal(err)
	}
	if got := s.taken()[0].Sender; got != netip.MustParseAddr("10.9.8.7") {
		t.Errorf("sender %s", got)
	}
}

// TestGRPCOverHTTP sends native gRPC to the port of OTLP/HTTP: to the handler's own frames, and to grpc-go behind net/http.
func TestGRPCOverHTTP(t *testing.T) {
	for _, strict := range []bool{false, true} {
		s := new(sink)
		in := newIntake(s)
		in.Strict = strict
		native, err := NewGRPC(in, GRPCOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for name, h := range map[string]http.Handler{"frames": Handler(in, Options{}), "grpc-go": native} {
			c := connect(t, listen(t, h))
			for _, encoding := range []string{encoding.Identity, gzip.Name, "zstd"} {
				before := s.spans()
				reply, err := export(t, c, request(goodSpan("a"), lv(2)), grpc.UseCompressor(encoding))
				if strict {
					if status.Code(err) != codes.Unimplemented {
						t.Errorf("%s, strict: %v", name, err)
					}
					continue
				}
				var res collector.ExportTraceServiceResponse
				if err == nil {
					err = proto.Unmarshal(reply, &res)
				}
				if err != nil || res.GetPartialSuccess().GetRejectedSpans() != 1 || s.spans() != before+1 {
					t.Errorf("%s, %s: %v, %v, %d spans", name, encoding, &res, err, s.spans()-before)
				}
			}
			if strict {
				continue
			}
			if _, err := export(t, c, []byte{0x0a, 9}); status.Code(err) != codes.InvalidArgument || len(status.Convert(err).Details()) != 1 {
				t.Errorf("%s, undecodable: %v", name, err)
			}
			if err := c.Invoke(testContext(t), "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", []byte{}, new([]byte), grpc.ForceCodecV2(rawCodec{})); status.Code(err) != codes.Unimplemented {
				t.Errorf("%s, metrics: %v", name, err)
			}
		}
		totals := in.Ledger.Totals(span.ProtocolOTLPGRPC)
		if strict && totals.Refused[receive.WrongProtocol] != 6 || !strict && totals.Misuses[receive.MisuseGRPCOnHTTP] != 6 {
			t.Errorf("strict %t: refused %v, misused %v", strict, totals.Refused, totals.Misuses)
		}
	}
}

// TestGRPCPortHandler sends over HTTP/1.1 to the gRPC port: frames, as Envoy does to a misnamed port, and OTLP/HTTP.
func TestGRPCPortHandler(t *testing.T) {
	payload := request(goodSpan("a"))
	frame := func(flag byte, p []byte) []byte {
		return append([]byte{flag, 0, 0, byte(len(p) >> 8), byte(len(p))}, p...)
	}
	tests := []struct {
		name, path, ctype, encoding string
		body                        []byte
		strict                      bool
		status                      string // grpc-status
		reason                      receive.Reason
		misuse                      receive.Misuse
		spans                       int
	}{
		{name: "frame", path: exportPath, ctype: "application/grpc", body: frame(0, payload), status: "0", misuse: receive.MisuseGRPCOnHTTP1, spans: 1},
		{name: "frame of a subtype", path: exportPath, ctype: "application/grpc+proto", body: frame(0, payload), status: "0", misuse: receive.MisuseGRPCOnHTTP1, spans: 1},
		{name: "two frames", path: exportPath, ctype: "application/grpc", body: append(frame(0, payload), frame(0, payload)...), status: "0", misuse: receive.MisuseGRPCOnHTTP1, spans: 2},
		{name: "empty frame", path: exportPath, ctype: "application/grpc", body: frame(0, nil), status: "0", misuse: receive.MisuseGRPCOnHTTP1},
		{name: "gzip", path: exportPath, ctype: "application/grpc", encoding: "gzip", body: frame(1, gzipped(payload)), status: "0", misuse: receive.MisuseGRPCOnHTTP1, spans: 1},
		{name: "compressed without a name", path: exportPath, ctype: "application/grpc", body: frame(1, gzipped(payload)), status: "3", reason: receive.BadEncoding},
		{name: "compressed by something", path: exportPath, ctype: "application/grpc", encoding: "snappy", body: frame(1, payload), status: "3", reason: receive.BadEncoding},
		{name: "bomb", path: exportPath, ctype: "application/grpc", encoding: "gzip", body: frame(1, gzipped(make([]byte, testMaxBody+1))), status: "8", reason: receive.BodyTooLarge},
		{name: "nothing", path: exportPath, ctype: "application/grpc", status: "3", reason: receive.Malformed},
		{name: "cut", path: exportPath, ctype: "application/grpc", body: frame(0, payload)[:20], status: "3", reason: receive.Malformed},
		{name: "bad flag", path: exportPath, ctype: "application/grpc", body: frame(7, payload), status: "3", reason: receive.Malformed},
		{name: "bad payload", path: exportPath, ctype: "application/grpc", body: frame(0, []byte("hello")), status: "3", reason: receive.Malformed},
		{name: "metrics", path: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", ctype: "application/grpc", body: frame(0, nil), status: "12", reason: receive.Unsupported},
		{name: "strict", path: exportPath, ctype: "application/grpc", body: frame(0, payload), strict: true, status: "12", reason: receive.WrongProtocol},
		{name: "http", path: tracesPath, ctype: protobufType, body: payload, misuse: receive.MisuseHTTPOnGRPC, spans: 1},
		{name: "http, strict", path: tracesPath, ctype: protobufType, body: payload, strict: true, reason: receive.WrongProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := new(sink)
			in := newIntake(s)
			in.Strict = tt.strict
			addr := listen(t, GRPCPortHandler(in, Options{}))
			r, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+addr+tt.path, io.NopCloser(bytes.NewReader(tt.body))) // chunked
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", tt.ctype)
			if tt.encoding != "" {
				r.Header.Set("Grpc-Encoding", tt.encoding)
			}
			res, err := new(http.Transport).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if tt.status != "" {
				if res.StatusCode != 200 || res.Header.Get("Grpc-Status") != tt.status || res.Header.Get("Content-Type") != "application/grpc" {
					t.Errorf("%d, %v, want grpc-status %s", res.StatusCode, res.Header, tt.status)
				}
				if tt.status == "0" && (res.Trailer.Get("Grpc-Status") != "0" || !bytes.Equal(body, make([]byte, frameHead))) {
					t.Errorf("trailers %v, body %x", res.Trailer, body)
				}
			} else if want := map[bool]int{false: 200, true: 400}[tt.strict]; res.StatusCode != want {
				t.Errorf("%d, want %d", res.StatusCode, want)
			}
			if s.spans() != tt.spans {
				t.Errorf("%d spans, want %d", s.spans(), tt.spans)
			}
			refused, misused := 0, 0
			for _, p := range []span.Protocol{span.ProtocolOTLPGRPC, span.ProtocolOTLPHTTP} {
				totals := in.Ledger.Totals(p)
				refused += int(totals.Refused[tt.reason])
				misused += int(totals.Misuses[tt.misuse])
			}
			if (tt.reason != "") != (refused == 1) || (tt.misuse != "") != (misused == 1) {
				t.Errorf("%d refused as %q, %d misused as %q", refused, tt.reason, misused, tt.misuse)
			}
			if in.Budget.Used() != 0 {
				t.Errorf("%d bytes not given back", in.Budget.Used())
			}
		})
	}
}

// TestGRPCConcurrent sends from many connections at once: pooled tasks and batches must not meet.
func TestGRPCConcurrent(t *testing.T) {
	s := new(sink)
	in := newIntake(s)
	c := listenGRPC(t, in, GRPCOptions{})
	want := make(map[string]bool)
	done := make(chan error)
	const senders, each = 8, 20
	for i := range senders {
		g := &generator{Rand: rand.New(rand.NewPCG(uint64(i), 9)), keys: 300}
		var bodies [][]byte
		for range each {
			body := g.request(3)
			bodies = append(bodies, body)
			want[batchText(decode(t, body))] = true
		}
		go func() {
			for _, body := range bodies {
				if _, err := export(t, c, body); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range senders {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range s.taken() {
		if !want[batchText(b)] {
			t.Fatalf("a batch that nobody sent:\n%s", batchText(b))
		}
	}
	if got := len(s.taken()); got != senders*each {
		t.Errorf("%d batches, want %d", got, senders*each)
	}
}
