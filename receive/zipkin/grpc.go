package zipkin

import (
	"context"
	"net/netip"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// RegisterGRPC adds zipkin.proto3.SpanService to a server. Spans that were taken are answered with the empty
// ReportResponse; a request without a good span is InvalidArgument, back-pressure RESOURCE_EXHAUSTED or UNAVAILABLE.
//
// The server must use grpc-go's own protobuf codec, and its limit on received messages is the limit on requests.
func RegisterGRPC(s *grpc.Server, in *receive.Intake) {
	g := &grpcService{in: in}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "zipkin.proto3.SpanService",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Report", Handler: g.report}},
		Metadata:    "zipkin.proto",
	}, g)
}

type grpcService struct {
	in      *receive.Intake
	workers workerPool
}

// report takes the request as an empty message: all its fields are unknown then, and the message keeps them as the bytes
// they came in. So the flat decoder reads them without generated types and without a codec of our own.
func (g *grpcService) report(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	request := new(emptypb.Empty)
	if err := decode(request); err != nil {
		return nil, err
	}
	if intercept == nil {
		return g.take(ctx, request)
	}
	info := &grpc.UnaryServerInfo{Server: g, FullMethod: "/zipkin.proto3.SpanService/Report"}
	return intercept(ctx, request, info, func(ctx context.Context, request any) (any, error) {
		return g.take(ctx, request.(*emptypb.Empty))
	})
}

func (g *grpcService) take(ctx context.Context, request *emptypb.Empty) (any, error) {
	body := request.ProtoReflect().GetUnknown()
	sender := g.sender(ctx)
	if !g.in.Budget.Take(int64(len(body))) {
		return nil, g.refuse(sender, receive.TooBusy, body, receive.ErrBusy())
	}
	defer g.in.Budget.Give(int64(len(body)))
	wk := g.workers.get(g.in, body)
	defer g.workers.put(wk)
	b := g.in.Batch()
	defer g.in.Release(b)

	if _, err := wk.Decode(b, body, Proto3); err != nil {
		pr := wk.problem(err)
		switch pr.Kind {
		case problem.Overloaded:
			return nil, g.refuse(sender, receive.TooBusy, body, pr)
		case problem.TooLarge:
			return nil, g.refuse(sender, receive.BodyTooLarge, body, pr)
		}
		countRefused(g.in, b, sender, len(body), wk.head(), pr)
		return nil, grpcError(pr)
	}
	if err := g.in.Accept(ctx, b, span.ProtocolZipkin, sender, len(body)); err != nil {
		return nil, grpcError(problem.Of(err))
	}
	return new(emptypb.Empty), nil
}

func (g *grpcService) refuse(sender netip.Addr, reason receive.Reason, body []byte, pr *problem.Problem) error {
	return grpcError(g.in.Refuse(span.ProtocolZipkin, sender, reason, len(body), body[:min(len(body), 16)], pr))
}

func grpcError(pr *problem.Problem) error {
	if pr.Kind == problem.Internal {
		return status.Error(pr.Kind.GRPCCode(), pr.Message)
	}
	return status.Error(pr.Kind.GRPCCode(), pr.Error())
}

func (g *grpcService) sender(ctx context.Context) netip.Addr {
	remote, forwarded := "", ""
	if p, ok := peer.FromContext(ctx); ok {
		remote = p.Addr.String()
	}
	if v := metadata.ValueFromIncomingContext(ctx, "x-forwarded-for"); len(v) > 0 {
		forwarded = v[0]
	}
	return g.in.SenderOf(remote, forwarded)
}
