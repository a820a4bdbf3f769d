package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/contrib/propagators/b3"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
)

// Spans of net/http and gRPC, beside an Envoy sidecar. Copy this file with headers.go.
//
//	OTEL_ENABLED                 true; false (or OTEL_SDK_DISABLED=true): no spans, headers only
//	OTEL_EXPORTER_OTLP_ENDPOINT  http://localhost:4317, OTLP over gRPC
//	OTEL_SAMPLING_RATE           1, of traces that begin here; the caller's decision comes first
//	OTEL_PROPAGATORS             b3,tracecontext,baggage: families of headers, see MeshPropagator
//	OTEL_EXCLUDED_PATHS          /health,/ready,/metrics: paths that make no span
//	OTEL_BSP_SCHEDULE_DELAY, OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES: as in the SDK

// Tracing wraps servers and clients. The zero value hands headers on and makes no spans.
type Tracing struct {
	provider *trace.TracerProvider
	excluded map[string]bool
}

// NewTracing reads the environment. An error names the variable.
func NewTracing(ctx context.Context, service, version, environment string) (Tracing, error) {
	if env("OTEL_ENABLED", "true") != "true" || env("OTEL_SDK_DISABLED", "false") == "true" {
		return Tracing{}, nil
	}
	rate, err := strconv.ParseFloat(env("OTEL_SAMPLING_RATE", "1"), 64)
	if err != nil || !(0 <= rate && rate <= 1) {
		return Tracing{}, fmt.Errorf("OTEL_SAMPLING_RATE=%s: use a number from 0 to 1 (0.01 is one trace in a hundred)", os.Getenv("OTEL_SAMPLING_RATE"))
	}
	propagator, err := NewMeshPropagator(env("OTEL_PROPAGATORS", "b3,tracecontext,baggage"))
	if err != nil {
		return Tracing{}, err
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")))
	if err != nil {
		return Tracing{}, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT=%s: %w", os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), err)
	}
	from, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attribute.String("service.name", service),
		attribute.String("service.version", version), attribute.String("deployment.environment.name", environment)), resource.WithFromEnv())
	if err != nil {
		return Tracing{}, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := Tracing{excluded: make(map[string]bool), provider: trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(from),
		// Parent-based: a ratio alone would contradict the gateway's decision and cut traces.
		trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(rate))))}
	for path := range strings.SplitSeq(env("OTEL_EXCLUDED_PATHS", "/health,/ready,/metrics"), ",") {
		t.excluded[path] = true
	}
	otel.SetTracerProvider(t.provider)
	otel.SetTextMapPropagator(propagator)
	return t, nil
}

// Handler makes a server span of every request.
func (t Tracing) Handler(next http.Handler) http.Handler {
	if t.provider == nil {
		return KeepHeaders(next)
	}
	return otelhttp.NewHandler(next, "http", otelhttp.WithFilter(func(r *http.Request) bool { return !t.excluded[r.URL.Path] }),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return r.Method }))
}

// Transport makes a client span of every request. Requests need the context of the one being served.
func (t Tracing) Transport(next http.RoundTripper) http.RoundTripper {
	if t.provider == nil {
		return ForwardHeaders{next}
	}
	return otelhttp.NewTransport(next)
}

// ServerOption is Handler for gRPC.
func (t Tracing) ServerOption() grpc.ServerOption {
	if t.provider == nil {
		return grpc.ChainUnaryInterceptor(KeepMetadata)
	}
	return grpc.StatsHandler(otelgrpc.NewServerHandler())
}

// DialOption is Transport for gRPC.
func (t Tracing) DialOption() grpc.DialOption {
	if t.provider == nil {
		return grpc.WithChainUnaryInterceptor(ForwardMetadata)
	}
	return grpc.WithStatsHandler(otelgrpc.NewClientHandler())
}

// Shutdown sends what is still queued. Call it when the last request is answered.
func (t Tracing) Shutdown(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// MeshPropagator reads the families of OTEL_PROPAGATORS (where several came, the last one named wins, as in the SDK) and sends those that
// came with the request; all of them where the trace begins here. It hands x-request-id on, by which Envoy samples.
//
// The SDK's own propagators send both families always. A sidecar renews only the one that its tracer speaks (Zipkin: B3; OpenTelemetry:
// traceparent), and the next application may read the other, which still names the caller's span: one trace, out of order.
type MeshPropagator []part

type part struct {
	family string // the header that shows that it came
	propagation.TextMapPropagator
}

// NewMeshPropagator takes names as OTEL_PROPAGATORS has them. b3 stands for the family: both forms are read, the b3 header first as Envoy
// does, and x-b3-* is sent.
func NewMeshPropagator(names string) (MeshPropagator, error) {
	var m MeshPropagator
	for name := range strings.SplitSeq(names, ",") {
		switch strings.TrimSpace(name) {
		case "b3", "b3multi":
			m = append(m, part{"x-b3-traceid", b3.New(b3.WithInjectEncoding(b3.B3MultipleHeader))})
		case "tracecontext":
			m = append(m, part{"traceparent", propagation.TraceContext{}})
		case "baggage":
			m = append(m, part{"", propagation.Baggage{}})
		default:
			return nil, fmt.Errorf("OTEL_PROPAGATORS=%s: %q is not known here: use b3, b3multi, tracecontext, baggage", names, name)
		}
	}
	return m, nil
}

func (m MeshPropagator) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	for _, p := range m {
		ctx = p.Extract(ctx, carrier)
	}
	return remember(ctx, carrier.Get)
}

func (m MeshPropagator) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	came := Forwarded(ctx)
	families := map[string]bool{"x-b3-traceid": came["x-b3-traceid"] != "" || came["b3"] != "", "traceparent": came["traceparent"] != ""}
	begins := !families["x-b3-traceid"] && !families["traceparent"]
	for _, p := range m {
		if begins || families[p.family] || p.family == "" {
			p.TextMapPropagator.Inject(ctx, carrier)
		}
	}
	if id := came["x-request-id"]; id != "" {
		carrier.Set("x-request-id", id)
	}
}

func (m MeshPropagator) Fields() []string { return traceHeaders }
