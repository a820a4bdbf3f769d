// Command kit is a service that answers which trace headers it got, and calls the next one if there is one: GET /call/http by net/http to
// NEXT_URL, GET /call/grpc by gRPC to NEXT_GRPC. tracing.go and headers.go are what to copy.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	tracing, err := NewTracing(ctx, env("OTEL_SERVICE_NAME", "go-kit"), "1.0.0", "dev")
	if err != nil {
		return err
	}
	k := &kit{service: env("OTEL_SERVICE_NAME", "go-kit"), next: os.Getenv("NEXT_URL"), client: http.Client{Transport: tracing.Transport(http.DefaultTransport)}}
	if next := os.Getenv("NEXT_GRPC"); next != "" {
		conn, err := grpc.NewClient(next, grpc.WithTransportCredentials(insecure.NewCredentials()), tracing.DialOption())
		if err != nil {
			return err
		}
		defer conn.Close()
		k.grpc = conn
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("GET /call/http", k.overHTTP)
	mux.HandleFunc("GET /call/grpc", k.overGRPC)
	web := &http.Server{Addr: net.JoinHostPort(os.Getenv("HOST"), env("PORT", "8080")), Handler: tracing.Handler(mux), ReadHeaderTimeout: 10 * time.Second}
	rpc := grpc.NewServer(tracing.ServerOption())
	rpc.RegisterService(description, k)
	listener, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("HOST"), env("GRPC_PORT", "9090")))
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- rpc.Serve(listener) }()
	go func() { ended <- web.ListenAndServe() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
	}

	// Requests first, then what they left to send.
	finish, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stopped := make(chan struct{})
	go func() { rpc.GracefulStop(); close(stopped) }()
	err = errors.Join(err, web.Shutdown(finish))
	select {
	case <-stopped:
	case <-finish.Done():
		rpc.Stop()
	}
	return errors.Join(err, tracing.Shutdown(finish))
}

type kit struct {
	service, next string
	client        http.Client
	grpc          *grpc.ClientConn // nil: nothing comes next
}

type answer struct {
	Service string            `json:"service"`
	Headers map[string]string `json:"headers"`
	Next    json.RawMessage   `json:"next"`
}

func (k *kit) answer(get func(string) string, next json.RawMessage) []byte {
	a := answer{k.service, make(map[string]string), next}
	for _, name := range traceHeaders {
		if value := get(name); value != "" {
			a.Headers[name] = value
		}
	}
	text, _ := json.Marshal(a) // of strings and of JSON that was decoded
	return text
}

func (k *kit) overHTTP(w http.ResponseWriter, r *http.Request) {
	var next json.RawMessage
	if k.next != "" {
		ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, k.next+"/call/http", nil)
		if err == nil {
			var res *http.Response
			if res, err = k.client.Do(ask); err == nil {
				defer res.Body.Close()
				err = json.NewDecoder(res.Body).Decode(&next)
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
	}
	_, _ = w.Write(k.answer(r.Header.Get, next)) // the caller may be gone
}

func (k *kit) overGRPC(w http.ResponseWriter, r *http.Request) {
	var next json.RawMessage
	if k.grpc != nil {
		var reply wrapperspb.BytesValue
		if err := k.grpc.Invoke(r.Context(), "/kit.Kit/Call", &emptypb.Empty{}, &reply); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		next = reply.Value
	}
	_, _ = w.Write(k.answer(r.Header.Get, next))
}

// call is the gRPC method; its messages are protobuf's own, so that no code is generated.
func (k *kit) call(ctx context.Context) *wrapperspb.BytesValue {
	came, _ := metadata.FromIncomingContext(ctx)
	return wrapperspb.Bytes(k.answer(func(name string) string {
		if values := came.Get(name); len(values) > 0 {
			return values[0]
		}
		return ""
	}, nil))
}

var description = &grpc.ServiceDesc{ServiceName: "kit.Kit", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Call",
	Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		in := new(emptypb.Empty)
		if err := decode(in); err != nil {
			return nil, err
		}
		call := func(ctx context.Context, _ any) (any, error) { return srv.(*kit).call(ctx), nil }
		if intercept == nil {
			return call(ctx, in)
		}
		return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/kit.Kit/Call"}, call)
	}}}}
