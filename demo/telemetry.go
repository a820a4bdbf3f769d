package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"go.opentelemetry.io/contrib/propagators/b3"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
)

// telemetry is the OpenTelemetry SDK of one application: nothing of it is global, as several applications share
// this process.
type telemetry struct {
	provider   *trace.TracerProvider
	propagator propagation.TextMapPropagator
}

// newTelemetry sets up what OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_* and
// OTEL_PROPAGATORS=b3,tracecontext,baggage would. The order of the propagators matters: the later one wins, and behind
// an OpenTelemetry sidecar only traceparent is up to date.
func newTelemetry(ctx context.Context, p Proxy, sdk Tracer, c Collector, f Flush, log *slog.Logger) (*telemetry, error) {
	dialer := &net.Dialer{}
	var exporter *otlptrace.Exporter
	var err error
	switch sdk {
	case OTLPGRPC:
		address := dialable(c.OTLPGRPC)
		dialer.LocalAddr = sourceFor(address, p.Address)
		exporter, err = otlptracegrpc.New(ctx,
			otlptracegrpc.WithEndpoint(address),
			otlptracegrpc.WithInsecure(),
			otlptracegrpc.WithDialOption(grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) {
				return dialer.DialContext(ctx, "tcp", to)
			})))
	case OTLPHTTP:
		address := dialable(c.OTLPHTTP)
		dialer.LocalAddr = sourceFor(address, p.Address)
		exporter, err = otlptracehttp.New(ctx,
			otlptracehttp.WithEndpoint(address),
			otlptracehttp.WithInsecure(),
			otlptracehttp.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}))
	default:
		return nil, fmt.Errorf("sdk protocol %q of %s is unknown: use %s or %s", sdk, p.Pod, OTLPGRPC, OTLPHTTP)
	}
	if err != nil {
		return nil, fmt.Errorf("set up the sdk of %s: %w", p.Pod, err)
	}
	var batching []trace.BatchSpanProcessorOption
	if f.Interval > 0 {
		batching = append(batching, trace.WithBatchTimeout(f.Interval))
	}
	return &telemetry{
		provider: trace.NewTracerProvider(
			trace.WithBatcher(&loggingExporter{SpanExporter: exporter, log: log.With("app", p.Pod)}, batching...),
			trace.WithResource(resource.NewSchemaless(
				attribute.String("service.name", p.App),
				attribute.String("service.namespace", p.Namespace),
				attribute.String("service.version", p.Version),
				attribute.String("service.instance.id", p.Pod),
				attribute.String("k8s.namespace.name", p.Namespace),
				attribute.String("k8s.pod.name", p.Pod),
				attribute.String("deployment.environment.name", "demo"),
				attribute.String("telemetry.sdk.name", "opentelemetry"),
				attribute.String("telemetry.sdk.language", "go"),
			)),
		),
		propagator: propagation.NewCompositeTextMapPropagator(
			b3.New(),
			propagation.TraceContext{},
			propagation.Baggage{},
		),
	}, nil
}

// sourceFor is the pod's own address where it can reach the peer.
func sourceFor(peer, pod string) net.Addr {
	if !isLoopback(peer) {
		return nil
	}
	return &net.TCPAddr{IP: net.ParseIP(pod)}
}

// loggingExporter logs when spans cannot be sent, and when they can again, instead of handing every error to the handler
// that the whole process shares. The spans are lost, as in any application.
type loggingExporter struct {
	trace.SpanExporter
	log  *slog.Logger
	lost int // spans since the last one delivered; the processor exports one batch at a time
}

func (e *loggingExporter) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil:
		if e.lost == 0 {
			e.log.Warn("application spans are not delivered", "error", err)
		}
		e.lost += len(spans)
	case e.lost > 0:
		e.log.Info("application spans are delivered again", "lost", e.lost)
		e.lost = 0
	}
	return nil
}
