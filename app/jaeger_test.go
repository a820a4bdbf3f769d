package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// TestJaegerGRPCPort: tokens guard calls and streams, keeping a trace takes the admin's; HTTP/1 is told where to go.
func TestJaegerGRPCPort(t *testing.T) {
	tokenFile := writeFile(t, "ingest aaaaaaaaaaaaaaaa\nread bbbbbbbbbbbbbbbb\nadmin cccccccccccccccc\n")
	r := startServe(t, nil, map[string][]string{"auth-token-file": {tokenFile}})
	conn, err := grpc.NewClient(r.JaegerGRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// An empty message asks for nothing, which is a bad request where something must be asked for.
	call := func(method, token string) codes.Code {
		ctx := t.Context()
		if token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		}
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
		if err != nil {
			return status.Code(err)
		}
		_ = stream.SendMsg(new(emptypb.Empty)) // the status says why
		_ = stream.CloseSend()
		for err == nil {
			err = stream.RecvMsg(new(emptypb.Empty))
		}
		if err.Error() == "EOF" {
			return codes.OK
		}
		return status.Code(err)
	}
	for _, c := range []struct {
		method, token string
		want          codes.Code
	}{
		{"v2.QueryService/GetServices", "", codes.Unauthenticated},
		{"v2.QueryService/GetServices", "aaaaaaaaaaaaaaaa", codes.PermissionDenied},
		{"v2.QueryService/GetServices", "bbbbbbbbbbbbbbbb", codes.OK},
		{"v3.QueryService/GetServices", "bbbbbbbbbbbbbbbb", codes.OK},
		{"v2.QueryService/FindTraces", "", codes.Unauthenticated},
		{"v2.QueryService/FindTraces", "bbbbbbbbbbbbbbbb", codes.InvalidArgument},
		{"v2.QueryService/ArchiveTrace", "bbbbbbbbbbbbbbbb", codes.PermissionDenied},
		{"v2.QueryService/ArchiveTrace", "cccccccccccccccc", codes.InvalidArgument},
	} {
		if got := call("/jaeger.api_"+c.method, c.token); got != c.want {
			t.Errorf("%s with %q: %v, want %v", c.method, c.token, got, c.want)
		}
	}
	if h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil || h.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v %v", h, err)
	}
	if code, body := r.do("GET", "http://"+r.JaegerGRPC+"/jaeger", ""); code != http.StatusNotFound {
		t.Errorf("HTTP/1: %d %s", code, body)
	}
}

func TestJaegerGRPCOverTLS(t *testing.T) {
	files, pool, _ := selfSigned(t, "queries")
	r := startServe(t, nil, map[string][]string{"tls-jaeger-grpc-cert": {files.Cert}, "tls-jaeger-grpc-key": {files.Key}})
	check := func(pool *x509.CertPool) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		conn, err := grpc.NewClient(r.JaegerGRPC, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool})))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		return err
	}
	if err := check(pool); err != nil {
		t.Error(err)
	}
	if err := check(x509.NewCertPool()); status.Code(err) != codes.Unavailable {
		t.Errorf("an unknown certificate: %v", err)
	}
}
