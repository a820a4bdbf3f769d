package main

import (
	"context"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// This file hands the headers of a trace on from the request that came in to the requests it causes, over HTTP and gRPC. It needs no
// OpenTelemetry: copy it alone where an application is to keep the mesh's traces together and send no spans of its own.

// traceHeaders is what Envoy reads: Zipkin's B3 in both forms, the W3C's headers, and the id that its sampling goes by.
var traceHeaders = []string{"x-request-id", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "b3",
	"traceparent", "tracestate", "baggage"}

type headersKey struct{}

// Forwarded is the headers of the request being served, by lower-case name. Read only.
func Forwarded(ctx context.Context) map[string]string {
	came, _ := ctx.Value(headersKey{}).(map[string]string)
	return came
}

func remember(ctx context.Context, get func(name string) string) context.Context {
	came := make(map[string]string)
	for _, name := range traceHeaders {
		if value := get(name); value != "" {
			came[name] = value
		}
	}
	return context.WithValue(ctx, headersKey{}, came)
}

// KeepHeaders remembers the headers of each request in its context.
func KeepHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(remember(r.Context(), r.Header.Get)))
	})
}

// ForwardHeaders sends what the request's context remembers; a header that is set already stays.
type ForwardHeaders struct{ http.RoundTripper }

func (f ForwardHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range Forwarded(r.Context()) {
		if r.Header.Get(name) == "" {
			r.Header.Set(name, value)
		}
	}
	return f.RoundTripper.RoundTrip(r)
}

// KeepMetadata is KeepHeaders for gRPC.
func KeepMetadata(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	came, _ := metadata.FromIncomingContext(ctx)
	return handle(remember(ctx, func(name string) string {
		if values := came.Get(name); len(values) > 0 {
			return values[0]
		}
		return ""
	}), req)
}

// ForwardMetadata is ForwardHeaders for gRPC.
func ForwardMetadata(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	for name, value := range Forwarded(ctx) {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	return invoke(ctx, method, req, reply, conn, opts...)
}
