package otlp

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// TestSDKExporters sends with OpenTelemetry's own exporters, with and without gzip.
func TestSDKExporters(t *testing.T) {
	s := new(sink)
	in := newIntake(s)
	server, err := NewGRPC(in, GRPCOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	defer func() {
		server.GracefulStop()
		<-done
	}()
	web := listen(t, Handler(in, Options{}))
	ctx := testContext(t)
	for name, client := range map[string]otlptrace.Client{
		"grpc":      otlptracegrpc.NewClient(otlptracegrpc.WithEndpoint(l.Addr().String()), otlptracegrpc.WithInsecure()),
		"grpc gzip": otlptracegrpc.NewClient(otlptracegrpc.WithEndpoint(l.Addr().String()), otlptracegrpc.WithInsecure(), otlptracegrpc.WithCompressor("gzip")),
		"http":      otlptracehttp.NewClient(otlptracehttp.WithEndpoint(web), otlptracehttp.WithInsecure()),
		"http gzip": otlptracehttp.NewClient(otlptracehttp.WithEndpoint(web), otlptracehttp.WithInsecure(), otlptracehttp.WithCompression(otlptracehttp.GzipCompression)),
	} {
		before := s.spans()
		exporter, err := otlptrace.New(ctx, client)
		if err != nil {
			t.Fatal(err)
		}
		provider := trace.NewTracerProvider(trace.WithSyncer(exporter), trace.WithResource(resource.NewSchemaless(attribute.String("service.name", name))))
		makeSpans(ctx, provider)
		if err := provider.Shutdown(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		taken := s.taken()
		if got := s.spans() - before; got != 2 {
			t.Errorf("%s: %d spans, want 2", name, got)
			continue
		}
		text := batchText(taken[len(taken)-2])
		for _, want := range []string{`"child" kind 3`, `"strings" = array 6 ["a" "b"]`, `"floats" = array 8`, ` event `, `"exception.message" = "boom"`, `"service.name" = "` + name + `"`, ` scope "lib" "1.2"`} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %s in\n%s", name, want, text)
			}
		}
	}
}

func makeSpans(ctx context.Context, p *trace.TracerProvider) {
	tracer := p.Tracer("lib", oteltrace.WithInstrumentationVersion("1.2"))
	ctx, root := tracer.Start(ctx, "root")
	_, child := tracer.Start(ctx, "child", oteltrace.WithSpanKind(oteltrace.SpanKindClient), oteltrace.WithLinks(oteltrace.LinkFromContext(ctx)),
		oteltrace.WithAttributes(attribute.StringSlice("strings", []string{"a", "b"}), attribute.Float64Slice("floats", []float64{1.5}), attribute.Bool("yes", true)))
	child.RecordError(errors.New("boom"))
	child.SetStatus(codes.Error, "failed")
	child.End()
	root.End()
}
