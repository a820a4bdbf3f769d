package load

import (
	"context"
	"crypto/tls"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/spanloom/spanloom/internal/otlpclient"
)

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
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(otlpclient.Codec{})), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry())
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
	err := g.connections[connection].Invoke(ctx, otlpclient.ExportMethod, &body, &reply)
	a := answerOf(otlpclient.OfGRPC(reply, err))
	a.retry = a.retry && ctx.Err() == nil
	return a
}

func (g *grpcPoster) close() {
	for _, c := range g.connections {
		c.Close()
	}
}
