package demo

import (
	"context"
	"net"
	"strconv"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// stockMethod is the one method of the gRPC service; its messages are protobuf's own wrappers, so that no code is
// generated for it.
const stockMethod = "/bookinfo.Stock/Check"

// stockServer is what the method needs; grpc checks the implementation against it.
type stockServer interface {
	check(context.Context, *wrapperspb.StringValue) (*wrapperspb.Int64Value, error)
}

func stockService() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "bookinfo.Stock",
		HandlerType: (*stockServer)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Check",
			Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				book := new(wrapperspb.StringValue)
				if err := decode(book); err != nil {
					return nil, err
				}
				return srv.(stockServer).check(ctx, book)
			},
		}},
	}
}

// serveStock runs the service that knows how many copies there are: SDK and gRPC.
func serveStock(p pod) (server, error) {
	s := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(p.telemetry.provider),
		otelgrpc.WithPropagators(p.telemetry.propagator))))
	s.RegisterService(stockService(), shelf{})
	return server{serve: s.Serve, stop: s.Stop}, nil
}

type shelf struct{}

func (shelf) check(ctx context.Context, book *wrapperspb.StringValue) (*wrapperspb.Int64Value, error) {
	work(ctx, 2*time.Millisecond)
	switch book.Value {
	case strconv.Itoa(bookSoldOut):
		return nil, status.Error(codes.FailedPrecondition, "sold out, and not to be ordered")
	case strconv.Itoa(bookNoStock):
		return nil, status.Error(codes.Unavailable, "stock is being counted")
	}
	return wrapperspb.Int64(17), nil
}

// stockClient calls the service with spans, trace headers and request id.
type stockClient struct{ *grpc.ClientConn }

func newStockClient(p pod) (*stockClient, error) {
	conn, err := grpc.NewClient("passthrough:///stock:7000",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return p.dial(ctx, "tcp", address)
		}),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(
			otelgrpc.WithTracerProvider(p.telemetry.provider),
			otelgrpc.WithPropagators(p.telemetry.propagator))))
	if err != nil {
		return nil, err
	}
	return &stockClient{conn}, nil
}

func (c *stockClient) check(ctx context.Context, book string) (int64, error) {
	if id := requestID(ctx); id != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, requestIDHeader, id)
	}
	copies := new(wrapperspb.Int64Value)
	if err := c.Invoke(ctx, stockMethod, wrapperspb.String(book), copies); err != nil {
		return 0, err
	}
	return copies.Value, nil
}
