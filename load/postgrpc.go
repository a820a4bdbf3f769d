package load

import (
	"context"
	"crypto/tls"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// grpcPoster calls Export on one HTTP/2 connection each, with bodies that are encoded already.
type grpcPoster struct {
	token       string
	connections []*grpc.ClientConn
}

func newGRPCPoster(target, token string, tlsConfig *tls.Config, connections int) (*grpcPoster, error) {
	creds := insecure.NewCredentials()
	if tlsConfig != nil {
		creds = credentials.NewTLS(tlsConfig)
	}
	g := &grpcPoster{token: token}
	for range connections {
		c, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry())
		if err != nil {
			g.close()
			return nil, fmt.Errorf("connect to %s: %w", target, err)
		}
		g.connections = append(g.connections, c)
	}
	return g, nil
}

func (g *grpcPoster) post(ctx context.Context, connection int, body []byte) answer {
	if g.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+g.token)
	}
	var reply []byte
	if err := g.connections[connection].Invoke(ctx, exportMethod, &body, &reply); err != nil {
		return judgeStatus(status.Convert(err), ctx.Err() != nil)
	}
	rejected, message, err := partialSuccess(reply, false)
	if err != nil {
		return answer{message: fmt.Sprintf("answer is not an ExportTraceServiceResponse: %v", err)}
	}
	return answer{accepted: true, rejected: rejected, message: message}
}

// judgeStatus follows the OTLP specification: RESOURCE_EXHAUSTED may be retried only with a RetryInfo.
func judgeStatus(s *status.Status, cancelled bool) answer {
	a := answer{message: fmt.Sprintf("grpc-status %s: %s", s.Code(), s.Message())}
	hasInfo := false
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			hasInfo, a.after = true, info.GetRetryDelay().AsDuration()
		}
	}
	switch s.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		a.retry = !cancelled
	case codes.ResourceExhausted:
		a.retry = hasInfo
	}
	return a
}

func (g *grpcPoster) close() {
	for _, c := range g.connections {
		c.Close()
	}
}

// rawCodec passes encoded messages through: *[]byte out, a copy in *[]byte back.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	p, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("message of type %T is not encoded bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*p)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	p, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("message of type %T is not encoded bytes", v)
	}
	*p = data.Materialize()
	return nil
}
