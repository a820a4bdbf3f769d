package otlp

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	_ "google.golang.org/grpc/encoding/gzip" // grpc-go knows compressors by a table of the process only

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// GRPCOptions are the gRPC receiver's own settings.
type GRPCOptions struct {
	// Auth is asked with the authorization metadata before a request is read; its error is a *problem.Problem. Nil lets all
	// in. Health and reflection are never asked.
	Auth func(ctx context.Context, authorization string) error
	// Memory is how many bytes the process plans with; 0 is plenty. Windows are made to fit, and large messages are refused
	// while they are on their way where they would fill it.
	Memory int64
	// Server are options of the caller: transport credentials, interceptors. Interceptors see each Export, decoded.
	Server []grpc.ServerOption
}

// Times of a connection.
const (
	minPing          = 5 * time.Second // faster pings end the connection
	maxIdle          = time.Hour       // then GOAWAY: senders that are gone for good hold nothing
	pingAfter        = 2 * time.Minute // of silence: a peer that vanished without a word is found
	pingTimeout      = 20 * time.Second
	handshakeTimeout = 10 * time.Second
)

// unread is what a call takes of the budget while its message is on its way, in bytes.
const unread = 16 << 10

const notStored = "metrics, logs and profiles are not stored here: this is a tracing system"

// NewGRPC makes a server for native gRPC: TraceService/Export, health and reflection; the services of metrics, logs and profiles
// answer UNIMPLEMENTED. Messages are views of the transport's buffers until they are decoded. Settings are those that cost
// least with many small requests; windows are fixed, so that a connection holds at most 16 MiB unread, and less where memory
// is scarce.
func NewGRPC(in *receive.Intake, o GRPCOptions) (*grpc.Server, error) {
	files, err := newSchema()
	if err != nil {
		return nil, err
	}
	connection := int64(16 << 20)
	if o.Memory > 0 {
		connection = min(max(o.Memory/128, 512<<10), connection)
	}
	options := append([]grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(int(in.MaxBody)),
		grpc.SharedWriteBuffer(true),
		grpc.ReadBufferSize(32 << 10),
		grpc.WriteBufferSize(8 << 10),
		grpc.StaticStreamWindowSize(int32(min(connection, 1<<20))),
		grpc.StaticConnWindowSize(int32(connection)),
		grpc.MaxConcurrentStreams(128),
		grpc.NumStreamWorkers(4),
		// Exporters ping every 10 to 30 seconds, without a call in flight too.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: maxIdle, Time: pingAfter, Timeout: pingTimeout}),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.MaxHeaderListSize(64 << 10),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error { return unknownMethod(in, stream) }),
	}, o.Server...)
	s := grpc.NewServer(options...)
	service := &traceService{receiver: receiver{in: in}, auth: o.Auth, arrivals: newArrivals(o.Memory, in.Now)}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Export", Handler: service.export}},
		Metadata:    "opentelemetry/proto/collector/trace/v1/trace_service.proto",
	}, service)
	alive := health.NewServer()
	healthpb.RegisterHealthServer(s, alive)
	files.register(s)
	return s, nil
}

type traceService struct {
	receiver
	auth     func(ctx context.Context, authorization string) error
	arrivals *arrivals
}

// export is the method's handler. It decodes the message itself, after grpc-go has received and decompressed it.
func (s *traceService) export(_ any, ctx context.Context, receiveMsg func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	if s.auth != nil {
		if err := s.auth(ctx, first(ctx, "authorization")); err != nil {
			return nil, s.refuse(ctx, receive.NotAllowed, problem.Of(err))
		}
	}
	if overHTTP(ctx) && s.in.Strict {
		return nil, s.refuse(ctx, receive.WrongProtocol, problem.New(problem.Unsupported, "gRPC on the port of OTLP/HTTP", "send gRPC to port 4317"))
	}
	// How large the message is shows only when it is there. Until then each call counts for a little, so that a full house
	// takes no more in.
	if !s.in.Budget.Take(unread) {
		return nil, s.refuse(ctx, receive.TooBusy, receive.ErrBusy())
	}
	m := new(message)
	err, cut := s.arrivals.receive(receiveMsg, m)
	s.in.Budget.Give(unread)
	if cut != nil {
		return nil, s.refuse(ctx, cut.reason, cut.problem)
	}
	defer m.free()
	if err != nil {
		return nil, s.notReceived(ctx, err)
	}
	if intercept == nil {
		return s.take(ctx, m)
	}
	info := &grpc.UnaryServerInfo{Server: s, FullMethod: exportPath}
	return intercept(ctx, m, info, func(ctx context.Context, request any) (any, error) { return s.take(ctx, request.(*message)) })
}

// take decodes and accepts one message.
func (s *traceService) take(ctx context.Context, m *message) (any, error) {
	sender := s.sender(ctx)
	body := m.view()
	size := int64(len(body))
	if !s.in.Budget.Take(size) {
		pr := s.in.Refuse(span.ProtocolOTLPGRPC, sender, receive.TooBusy, len(body), body, receive.ErrBusy())
		return nil, statusOfProblem(pr).Err()
	}
	t := s.begin()
	defer t.done()
	t.nHead, t.size = copy(t.head[:], body), len(body)
	err := t.protobuf(body)
	m.free()
	s.in.Budget.Give(size)
	if err != nil {
		return nil, statusOfProblem(t.refuse(span.ProtocolOTLPGRPC, sender, err)).Err()
	}
	if overHTTP(ctx) {
		s.in.Ledger.Misused(span.ProtocolOTLPGRPC, sender, receive.MisuseGRPCOnHTTP, "gRPC on the port of OTLP/HTTP")
	}
	rejected, why, pr := t.accept(ctx, span.ProtocolOTLPGRPC, sender)
	if pr != nil {
		return nil, statusOfProblem(pr).Err()
	}
	if rejected == 0 {
		return nothing, nil
	}
	return &reply{appendResponse(nil, rejected, why)}, nil
}

// notReceived books a message that grpc-go did not deliver: it is over the limit, does not decompress, or its sender went away.
// grpc-go has answered with the error's own status by then.
func (s *traceService) notReceived(ctx context.Context, err error) error {
	st := status.Convert(err)
	switch {
	case st.Code() == codes.ResourceExhausted:
		s.refuse(ctx, receive.BodyTooLarge, problem.New(problem.TooLarge, st.Message(), "send smaller batches"))
	case st.Code() == codes.Unimplemented, strings.Contains(st.Message(), "ecompress"):
		s.refuse(ctx, receive.BadEncoding, problem.New(problem.Invalid, st.Message(), "send gzip, zstd or nothing compressed"))
	case st.Code() == codes.Canceled, st.Code() == codes.DeadlineExceeded:
	default:
		s.refuse(ctx, receive.Malformed, problem.New(problem.Invalid, st.Message(), ""))
	}
	return err
}

func (s *traceService) refuse(ctx context.Context, reason receive.Reason, pr *problem.Problem) error {
	return statusOfProblem(s.in.Refuse(span.ProtocolOTLPGRPC, s.sender(ctx), reason, 0, nil, pr)).Err()
}

// unknownMethod answers everything that is not served here.
func unknownMethod(in *receive.Intake, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	for _, signal := range []string{".metrics.", ".logs.", ".profiles."} {
		if strings.HasPrefix(method, "/opentelemetry.proto.collector"+signal) {
			s := traceService{receiver: receiver{in: in}}
			s.in.Refuse(span.ProtocolOTLPGRPC, s.sender(stream.Context()), receive.Unsupported, 0, nil, problem.New(problem.Unsupported, notStored, ""))
			return unimplemented(notStored).Err()
		}
	}
	return unimplemented("unknown method " + method[:min(len(method), 200)]).Err()
}

// sender is who called: the peer, or what a trusted proxy says.
func (rc *receiver) sender(ctx context.Context) netip.Addr {
	var addr netip.Addr
	if p, ok := peer.FromContext(ctx); ok {
		if tcp, ok := p.Addr.(*net.TCPAddr); ok {
			addr = tcp.AddrPort().Addr().Unmap()
		} else if p.Addr != nil {
			return rc.in.SenderOf(p.Addr.String(), rc.forwarded(ctx))
		}
	}
	return rc.in.SenderFrom(addr, rc.forwarded(ctx))
}

func (rc *receiver) forwarded(ctx context.Context) string {
	if len(rc.in.Trusted) == 0 {
		return ""
	}
	return strings.Join(metadata.ValueFromIncomingContext(ctx, "x-forwarded-for"), ",")
}

func first(ctx context.Context, key string) string {
	if v := metadata.ValueFromIncomingContext(ctx, key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// overHTTP reports that a call came through net/http, so by another port than gRPC's.
func overHTTP(ctx context.Context) bool { return ctx.Value(http.ServerContextKey) != nil }
