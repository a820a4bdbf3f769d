package jaegerapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	gogo "github.com/gogo/protobuf/proto"
	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/queue/queuetest"
	"github.com/spanloom/spanloom/store/storetest"
)

// gogoCodec is the codec that Jaeger's own clients use with the types Jaeger generates.
type gogoCodec struct{}

func (gogoCodec) Name() string                       { return "proto" }
func (gogoCodec) Marshal(v any) ([]byte, error)      { return gogo.Marshal(v.(gogo.Message)) }
func (gogoCodec) Unmarshal(data []byte, v any) error { return gogo.Unmarshal(data, v.(gogo.Message)) }

func optionsOf(t testing.TB, spans string) (Options, *mem.Engine) {
	t.Helper()
	engine := mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { _ = engine.Close() })
	return optionsOver(t, engine, spans), engine
}

func optionsOver(t testing.TB, engine store.Engine, spans string) Options {
	t.Helper()
	if b := storetest.Batch(t, spans); b.Len() > 0 {
		if err := engine.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return Options{Query: query.New(query.Options{Reader: engine, Keeper: engine, Now: clock}), Reader: engine}
}

// TestV2EngineAway: a trace of which a part could not be read says so in a trailer and with its first span.
func TestV2EngineAway(t *testing.T) {
	o := optionsOver(t, queuetest.Away(t, clock), searched)
	var trailer metadata.MD
	stream, err := dialV2(t, o).GetTrace(t.Context(), &api_v2.GetTraceRequest{TraceID: model.NewTraceID(0, 3)}, grpc.Trailer(&trailer))
	spans, _, failed := chunks(t, stream, err)
	if got := strings.Join(trailer.Get("spanloom-partial"), ""); failed != nil || len(spans) == 0 || len(spans[0].Warnings) != 1 || got == "" || spans[0].Warnings[0] != got {
		t.Errorf("%v, trailer %v: %v", failed, trailer, spans)
	}
	stream, err = dialV2(t, o).GetTrace(t.Context(), &api_v2.GetTraceRequest{TraceID: model.NewTraceID(0, 99)})
	if _, _, failed := chunks(t, stream, err); status.Code(failed) != codes.Unavailable {
		t.Errorf("a trace that may be there: %v", failed)
	}
}

// dialGRPC serves the gRPC API on a free port and connects to it.
func dialGRPC(t testing.TB, o Options, dial ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	server, err := NewGRPC(o, GRPCOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	conn, err := grpc.NewClient(l.Addr().String(), append(dial, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func dialV2(t testing.TB, o Options) api_v2.QueryServiceClient {
	return api_v2.NewQueryServiceClient(dialGRPC(t, o, grpc.WithDefaultCallOptions(grpc.ForceCodec(gogoCodec{}))))
}

// chunks reads a stream of spans to its end.
func chunks(t testing.TB, stream interface {
	Recv() (*api_v2.SpansResponseChunk, error)
}, err error) (spans []model.Span, parts int, failed error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return spans, parts, nil
		}
		if err != nil {
			return spans, parts, err
		}
		parts++
		spans = append(spans, part.Spans...)
	}
}

// TestV2Search asks what TestSearch asks of HTTP in the words of gRPC.
func TestV2Search(t *testing.T) {
	o, _ := optionsOf(t, searched)
	v2 := dialV2(t, o)
	at := storetest.Epoch
	for _, c := range []struct {
		name  string
		query api_v2.TraceQueryParameters
		want  string
	}{
		{"service", api_v2.TraceQueryParameters{ServiceName: "front"}, "6 4 3 2 1"},
		{"every service", api_v2.TraceQueryParameters{}, "6 4 3 2 1"},
		{"unknown", api_v2.TraceQueryParameters{ServiceName: "nobody"}, ""},
		{"depth", api_v2.TraceQueryParameters{ServiceName: "front", SearchDepth: 2}, "6 4"},
		{"operation", api_v2.TraceQueryParameters{ServiceName: "front", OperationName: "GET /"}, "6 2 1"},
		{"tags", api_v2.TraceQueryParameters{ServiceName: "front", Tags: map[string]string{"http.status_code": "200", "istio.cluster_id": "Kubernetes"}}, "2 1"},
		{"error", api_v2.TraceQueryParameters{ServiceName: "front", Tags: map[string]string{"error": "true"}}, "3 2"},
		{"durations", api_v2.TraceQueryParameters{ServiceName: "front", DurationMin: 20 * time.Millisecond, DurationMax: 20 * time.Millisecond}, "2"},
		{"end included", api_v2.TraceQueryParameters{ServiceName: "front", StartTimeMin: at.Add(2 * time.Second), StartTimeMax: at.Add(3 * time.Second)}, "3 2"},
		{"end in between", api_v2.TraceQueryParameters{ServiceName: "front", StartTimeMin: at.Add(2 * time.Second), StartTimeMax: at.Add(3*time.Second - 1)}, "2"},
		{"raw", api_v2.TraceQueryParameters{ServiceName: "cart", RawTraces: true}, "4"},
	} {
		stream, err := v2.FindTraces(t.Context(), &api_v2.FindTracesRequest{Query: &c.query})
		spans, _, failed := chunks(t, stream, err)
		if got := tracesOf(spans); failed != nil || got != c.want {
			t.Errorf("%s: %q, want %q: %v", c.name, got, c.want, failed)
		}
	}
}

func tracesOf(spans []model.Span) string {
	var ids []string
	for _, s := range spans {
		if id := fmt.Sprintf("%x", s.TraceID.Low); len(ids) == 0 || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
	}
	return strings.Join(ids, " ")
}

func TestV2Lists(t *testing.T) {
	o, _ := optionsOf(t, searched+"7 1 - front client call 41m 2ms\n7 2 1 cart server call 41m 1ms\n")
	v2 := dialV2(t, o)
	services, err := v2.GetServices(t.Context(), &api_v2.GetServicesRequest{})
	if err != nil || fmt.Sprint(services.Services) != "[cart front]" {
		t.Errorf("%v %v", services, err)
	}
	ops, err := v2.GetOperations(t.Context(), &api_v2.GetOperationsRequest{Service: "cart"})
	if err != nil || len(ops.OperationNames) != 2 || len(ops.Operations) != 2 || ops.OperationNames[1] != "call" || ops.Operations[0].Name != "GET /" || ops.Operations[0].SpanKind != "server" {
		t.Errorf("%v %v", ops, err)
	}
	ops, err = v2.GetOperations(t.Context(), &api_v2.GetOperationsRequest{Service: "front", SpanKind: "client"})
	if err != nil || fmt.Sprint(ops.OperationNames) != "[POST /cart call]" {
		t.Errorf("%v %v", ops, err)
	}
	deps, err := v2.GetDependencies(t.Context(), &api_v2.GetDependenciesRequest{StartTime: storetest.Epoch, EndTime: clock()})
	if err != nil || len(deps.Dependencies) != 2 || !reflect.DeepEqual(deps.Dependencies[1], model.DependencyLink{Parent: "front", Child: "cart", CallCount: 1}) {
		t.Errorf("%+v %v", deps, err)
	}
	if _, err := v2.ArchiveTrace(t.Context(), &api_v2.ArchiveTraceRequest{TraceID: model.NewTraceID(0, 7)}); err != nil {
		t.Error(err)
	}
}

// TestGRPCErrors: each malformed request has the code of Jaeger's own server, and none ends a connection.
func TestGRPCErrors(t *testing.T) {
	o, _ := optionsOf(t, searched)
	conn := dialGRPC(t, o)
	times := "\x22\x00\x2a\x02\x08\x01" // start 0, end 1 s
	for _, c := range []struct {
		method, request string
		want            codes.Code
	}{
		{"2/GetTrace", "", codes.InvalidArgument},
		{"2/GetTrace", "\x0a\x10" + strings.Repeat("\x00", 16), codes.InvalidArgument},
		{"2/GetTrace", "\x0a\x03abc", codes.InvalidArgument},
		{"2/GetTrace", "\x0a\x10" + strings.Repeat("\x00", 15) + "\x63", codes.NotFound},
		{"2/GetTrace", "\x0a\x08" + strings.Repeat("\x00", 7) + "\x01", codes.OK},
		{"2/GetTrace", "\x08\x01", codes.InvalidArgument},
		{"2/GetTrace", "\xff", codes.InvalidArgument},
		{"2/FindTraces", "", codes.InvalidArgument},
		{"2/FindTraces", "\x0a\x00", codes.OK},
		{"2/FindTraces", "\x0a\x02\x40\x00", codes.OK},                          // search_depth 0
		{"2/FindTraces", "\x0a\x04\x32\x02\x08\x00", codes.OK},                  // a present duration of zero
		{"2/FindTraces", "\x0a\x04\x32\x02\x10\x01\x00", codes.InvalidArgument}, // a byte too many
		{"2/FindTraces", "\x0a\x0b\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", codes.InvalidArgument},
		{"2/FindTraces", "\x0a\x04\x40\xff\xff\x7f", codes.InvalidArgument}, // beyond the limit
		{"2/FindTraces", "\x0a\x08\x22\x02\x08\x02\x2a\x02\x08\x01", codes.InvalidArgument},
		{"2/FindTraces", "\x0a\x08\x32\x02\x08\x02\x3a\x02\x08\x01", codes.InvalidArgument},
		{"2/FindTraces", "\x0a\x02\x1a\x00", codes.InvalidArgument}, // a tag without key
		{"2/FindTraces", "\x0a\x02\x08\x01", codes.InvalidArgument},
		{"2/GetOperations", "", codes.InvalidArgument},
		{"2/GetOperations", "\x0a\x01x\x12\x03odd", codes.InvalidArgument},
		{"2/GetOperations", "\x08\x01", codes.InvalidArgument},
		{"2/GetServices", "", codes.OK},
		{"2/GetDependencies", "", codes.InvalidArgument},
		{"2/GetDependencies", "\x0a\x02\x08\x01", codes.InvalidArgument},
		{"2/GetDependencies", "\x0a\x02\x08\x02\x12\x02\x08\x01", codes.InvalidArgument},
		{"2/GetDependencies", "\x0a\x02\x08\x01\x12\x02\x08\x02", codes.OK},
		{"2/ArchiveTrace", "", codes.InvalidArgument},
		{"2/ArchiveTrace", "\x0a\x10" + strings.Repeat("\x00", 15) + "\x63", codes.NotFound},
		{"2/Nope", "", codes.Unimplemented},
		{"3/GetTrace", "", codes.InvalidArgument},
		{"3/GetTrace", "\x0a\x03xyz", codes.InvalidArgument},
		{"3/GetTrace", "\x0a\x0299", codes.NotFound},
		{"3/GetTrace", "\x0a\x011", codes.OK},
		{"3/GetTrace", "\x08\x01", codes.InvalidArgument},
		{"3/FindTraces", "", codes.InvalidArgument},
		{"3/FindTraces", "\x0a\x00", codes.InvalidArgument},
		{"3/FindTraces", "\x0a\x06" + times, codes.OK},
		{"3/FindTraces", "\x0a\x08" + times + "\x52\x00", codes.InvalidArgument}, // filter
		{"3/FindTraces", "\x0a\x08" + times + "\x5a\x00", codes.InvalidArgument}, // pages
		{"3/FindTraceSummaries", "\x0a\x06" + times, codes.OK},
		{"3/FindTraceSummaries", "\x0a\x0a" + times + "\x5a\x02\x08\x01", codes.OK},
		{"3/FindTraceSummaries", "\x0a\x08" + times + "\x5a\x00", codes.InvalidArgument},
		{"3/FindTraceSummaries", "\x0a\x0b" + times + "\x5a\x03\x12\x01x", codes.InvalidArgument},
		{"3/GetOperations", "", codes.InvalidArgument},
		{"3/GetDependencies", "", codes.InvalidArgument},
		{"3/FindSpans", "", codes.Unimplemented},
		{"3C/GetCapabilities", "", codes.OK},
	} {
		method := strings.NewReplacer("3C/", "3.Capabilities/", "3/", "3.QueryService/", "2/", "2.QueryService/").Replace(c.method)
		if got := codeOf(t.Context(), conn, "/jaeger.api_v"+method, c.request); got != c.want {
			t.Errorf("%s %q: %v, want %v", c.method, c.request, got, c.want)
		}
	}
}

// rawCodec sends and receives bytes.
type rawCodec struct{}

func (rawCodec) Name() string                       { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }

// codeOf sends a request and reads the answers to their end.
func codeOf(ctx context.Context, conn *grpc.ClientConn, method, request string) codes.Code {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method, grpc.ForceCodec(rawCodec{}))
	if err != nil {
		return status.Code(err)
	}
	in := []byte(request)
	_ = stream.SendMsg(&in) // the status says why
	_ = stream.CloseSend()
	for {
		var out []byte
		if err := stream.RecvMsg(&out); errors.Is(err, io.EOF) {
			return codes.OK
		} else if err != nil {
			return status.Code(err)
		}
	}
}

func TestHealthAndReflection(t *testing.T) {
	o, _ := optionsOf(t, "")
	conn := dialGRPC(t, o)
	if h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil || h.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("%v %v", h, err)
	}
	stream, err := reflectv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, symbol := range []string{"jaeger.api_v2.QueryService", "jaeger.api_v3.QueryService", "jaeger.api_v3.Capabilities", "opentelemetry.proto.trace.v1.TracesData"} {
		if err := stream.Send(&reflectv1.ServerReflectionRequest{MessageRequest: &reflectv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol}}); err != nil {
			t.Fatal(err)
		}
		if r, err := stream.Recv(); err != nil || len(r.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("%s: %v %v", symbol, r, err)
		}
	}
}

// TestGRPCCancelled: a client that goes away gets its status, and the server goes on.
func TestGRPCCancelled(t *testing.T) {
	o, _ := optionsOf(t, bigTrace(20_000))
	v2 := dialV2(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := v2.GetTrace(ctx, &api_v2.GetTraceRequest{TraceID: model.NewTraceID(0, 0xabc)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, _, err := chunks(t, stream, nil); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := v2.GetServices(t.Context(), &api_v2.GetServicesRequest{}); err != nil {
		t.Error(err)
	}
}

// FuzzGRPCRequest: no bytes make a handler panic or fail with what is our fault.
func FuzzGRPCRequest(f *testing.F) {
	f.Add(uint8(0), []byte("\x0a\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x12\x02\x08\x01"))
	f.Add(uint8(1), []byte("\x0a\x1c\x0a\x05front\x1a\x09\x0a\x05error\x12\x00\x22\x02\x08\x01\x40\x05"))
	f.Add(uint8(2), []byte("\x0a\x04cart\x12\x06server"))
	f.Add(uint8(3), []byte("\x0a\x02\x08\x01\x12\x02\x08\x02"))
	f.Add(uint8(4), []byte("\x0a\x06\x22\x00\x2a\x02\x08\x01"))
	f.Fuzz(func(t *testing.T, method uint8, p []byte) {
		o, _ := optionsOf(t, searched)
		a := newAPI(o)
		scope := a.Scope(nil)
		send := func([]byte) error { return nil }
		ctx := t.Context()
		var err error
		switch method % 10 {
		case 0:
			err = a.getTrace(ctx, scope, p, send)
		case 1:
			err = a.findTraces(ctx, scope, p, send)
		case 2:
			_, err = a.getOperations(ctx, scope, p)
		case 3:
			_, err = a.getDependencies(ctx, scope, p)
		case 4:
			err = a.findTracesV3(ctx, scope, p, send)
		case 5:
			err = a.findSummaries(ctx, scope, p, send)
		case 6:
			err = a.getTraceV3(ctx, scope, p, send)
		case 7:
			_, err = a.archiveTrace(ctx, scope, p)
		case 8:
			_, err = a.getOperationsV3(ctx, scope, p)
		case 9:
			_, err = a.getDependenciesV3(ctx, scope, p)
		}
		if code := status.Code(a.grpcError(ctx, "fuzz", err)); err != nil && code != codes.InvalidArgument && code != codes.NotFound {
			t.Fatalf("%d %x: %v", method%10, p, err)
		}
	})
}

// broken fails for some traces, or for all.
type broken struct {
	store.Reader
	only span.TraceID // zero: all
}

func (b *broken) Trace(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) iter.Seq2[*span.Batch, error] {
	if b.only.IsZero() || b.only == id {
		return func(yield func(*span.Batch, error) bool) { yield(nil, errors.New("bad block")) }
	}
	return b.Reader.Trace(ctx, s, id, hint)
}

// TestSomeTracesCannotBeRead: the others are answered, with a note; if that is none, the error is ours and says nothing of its
// cause.
func TestSomeTracesCannotBeRead(t *testing.T) {
	o, engine := optionsOf(t, searched)
	for _, c := range []struct {
		only span.TraceID
		want string
		code codes.Code
	}{{span.TraceIDFromUint64s(0, 3), "6 4 2 1", codes.OK}, {span.TraceID{}, "", codes.Internal}} {
		o.Query = query.New(query.Options{Reader: &broken{engine, c.only}, Now: clock})
		var trailer metadata.MD
		stream, err := dialV2(t, o).FindTraces(t.Context(), &api_v2.FindTracesRequest{Query: &api_v2.TraceQueryParameters{ServiceName: "front"}}, grpc.Trailer(&trailer))
		spans, _, failed := chunks(t, stream, err)
		if got := tracesOf(spans); got != c.want || status.Code(failed) != c.code || c.code == codes.OK && len(trailer.Get("spanloom-partial")) == 0 {
			t.Errorf("%q, %v, trailer %v", got, failed, trailer)
		}
		if failed != nil && strings.Contains(failed.Error(), "bad block") {
			t.Errorf("the cause was told: %v", failed)
		}
		w := ask(t, New(o), "GET", "/api/v3/traces?query.serviceName=front&query.startTimeMin=2026-01-01T00:00:00Z&query.startTimeMax=2026-01-01T01:00:00Z")
		if wantCode := map[codes.Code]int{codes.OK: 200, codes.Internal: 500}[c.code]; w.Code != wantCode || c.code == codes.OK && w.Header().Get("Spanloom-Partial") == "" {
			t.Errorf("v3: %d %v %.200s", w.Code, w.Header(), w.Body)
		}
	}
}
