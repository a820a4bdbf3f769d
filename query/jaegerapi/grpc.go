package jaegerapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/store"
)

const (
	maxQuery  = 1 << 20          // bytes of a request; Jaeger's are some hundred
	minPing   = 5 * time.Second  // between pings of a client, also without a call
	chunkRows = 10               // spans in a part of a stream, as in Jaeger: clients with a deadline keep what came
	chunkSize = 256 << 10        // bytes of a part, unless one span is larger; clients take 4 MiB
	idleFor   = 30 * time.Minute // after which a connection without calls is closed
)

// GRPCOptions are what the gRPC services stand on besides Options.
type GRPCOptions struct {
	Scope  func(context.Context) store.Scope // as Options.Scope, which is not asked
	Server []grpc.ServerOption               // such as interceptors that ask for tokens
}

// NewGRPC makes a server with jaeger.api_v2.QueryService, jaeger.api_v3.QueryService and Capabilities, health and reflection. Messages are read
// from and written to the wire by hand: spans go from columns to bytes.
func NewGRPC(o Options, g GRPCOptions) (*grpc.Server, error) {
	files, err := newSchema()
	if err != nil {
		return nil, err
	}
	a := newAPI(o)
	if g.Scope == nil {
		g.Scope = func(context.Context) store.Scope { return store.Scope{Tenant: store.DefaultTenant} }
	}
	s := grpc.NewServer(append([]grpc.ServerOption{
		grpc.ForceServerCodecV2(wireCodec{encoding.GetCodecV2(proto.Name)}),
		grpc.MaxRecvMsgSize(maxQuery),
		grpc.MaxConcurrentStreams(128),
		grpc.MaxHeaderListSize(64 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleFor}),
	}, g.Server...)...)
	service{a, g.Scope, "jaeger.api_v2.QueryService"}.register(s, "query.proto", map[string]unary{
		"GetServices": a.getServices, "GetOperations": a.getOperations, "ArchiveTrace": a.archiveTrace, "GetDependencies": a.getDependencies,
	}, map[string]streaming{"GetTrace": a.getTrace, "FindTraces": a.findTraces})
	service{a, g.Scope, "jaeger.api_v3.QueryService"}.register(s, "query_service.proto", map[string]unary{
		"GetServices": a.getServices, "GetOperations": a.getOperationsV3, "GetDependencies": a.getDependenciesV3,
	}, map[string]streaming{"GetTrace": a.getTraceV3, "FindTraces": a.findTracesV3, "FindTraceSummaries": a.findSummaries})
	service{a, g.Scope, "jaeger.api_v3.Capabilities"}.register(s, "capabilities.proto", map[string]unary{"GetCapabilities": a.getCapabilities}, nil)
	healthpb.RegisterHealthServer(s, health.NewServer())
	files.register(s)
	return s, nil
}

// unary answers a request's bytes with a message's.
type unary func(ctx context.Context, s store.Scope, request []byte) ([]byte, error)

// streaming answers with messages. A message belongs to send once it was given to it.
type streaming func(ctx context.Context, s store.Scope, request []byte, send func([]byte) error) error

// message is one message as bytes of the wire.
type message struct{ bytes []byte }

// wireCodec passes messages through; those of health and reflection go the usual way.
type wireCodec struct{ encoding.CodecV2 }

func (c wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*message); ok {
		return mem.BufferSlice{mem.SliceBuffer(m.bytes)}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c wireCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*message); ok {
		m.bytes = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// service is one gRPC service in the making.
type service struct {
	*api
	scope func(context.Context) store.Scope
	name  string
}

func (s service) register(server *grpc.Server, file string, calls map[string]unary, streams map[string]streaming) {
	d := &grpc.ServiceDesc{ServiceName: s.name, HandlerType: (*any)(nil), Metadata: file}
	for name, f := range calls {
		d.Methods = append(d.Methods, grpc.MethodDesc{MethodName: name, Handler: s.unary(name, f)})
	}
	for name, f := range streams {
		d.Streams = append(d.Streams, grpc.StreamDesc{StreamName: name, ServerStreams: true, Handler: s.stream(name, f)})
	}
	server.RegisterService(d, s.api)
}

func (s service) unary(name string, f unary) func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
	full := "/" + s.name + "/" + name
	return func(_ any, ctx context.Context, receive func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		request := new(message)
		if err := receive(request); err != nil {
			return nil, err
		}
		answer := func(ctx context.Context, request any) (any, error) {
			out, err := f(ctx, s.scope(ctx), request.(*message).bytes)
			if err != nil {
				return nil, s.grpcError(ctx, full, err)
			}
			return &message{out}, nil
		}
		if intercept == nil {
			return answer(ctx, request)
		}
		return intercept(ctx, request, &grpc.UnaryServerInfo{Server: s.api, FullMethod: full}, answer)
	}
}

func (s service) stream(name string, f streaming) grpc.StreamHandler {
	full := "/" + s.name + "/" + name
	return func(_ any, stream grpc.ServerStream) error {
		request := new(message)
		if err := stream.RecvMsg(request); err != nil {
			return err
		}
		ctx := stream.Context()
		err := f(ctx, s.scope(ctx), request.bytes, func(p []byte) error { return stream.SendMsg(&message{p}) })
		if err != nil {
			return s.grpcError(ctx, full, err)
		}
		return nil
	}
}

// partial says in a trailer that not everything could be read, as HTTP does in a header.
func partial(ctx context.Context, done store.Done) {
	if !done.Complete {
		_ = grpc.SetTrailer(ctx, metadata.Pairs(query.HeaderPartial, query.HeaderText(done.Reason))) // fails for calls that came by no stream
	}
}

// grpcError gives an error its code. The cause of an internal one is for our log.
func (a *api) grpcError(ctx context.Context, method string, err error) error {
	if _, ok := status.FromError(err); ok {
		return err // of the stream
	}
	if ended := ctx.Err(); ended != nil {
		return status.FromContextError(ended).Err()
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return status.FromContextError(err).Err()
	}
	p := problem.Of(err)
	if p.Kind == problem.Internal {
		a.Log.ErrorContext(ctx, "jaeger grpc api", "method", method, "error", err)
		return status.Error(codes.Internal, p.Message)
	}
	return status.Error(p.Kind.GRPCCode(), problemText(p))
}

// HTTPOnGRPCPort answers HTTP/1 on the port of gRPC. It is a 404, because Kiali takes any page that is none for Jaeger's.
func HTTPOnGRPCPort() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintln(w, "this port speaks gRPC (jaeger.api_v2 and api_v3 queries); UI and HTTP API are on --http-addr")
	})
}
