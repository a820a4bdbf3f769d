// Sends one trace by each exporter of OpenTelemetry's SDK for Go, and one by each form of zipkin-go, and prints what it sent:
// protocol, service, trace id. It is a module of its own, so that Spanloom does not depend on it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/idgenerator"
	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/proto/zipkin_proto3"
	"github.com/openzipkin/zipkin-go/reporter"
	zipkinhttp "github.com/openzipkin/zipkin-go/reporter/http"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelzipkin "go.opentelemetry.io/otel/exporters/zipkin"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	grpc, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(os.Getenv("OTLP_GRPC")), otlptracegrpc.WithInsecure())
	if err != nil {
		return err
	}
	http, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(os.Getenv("OTLP_HTTP")+"/v1/traces"))
	if err != nil {
		return err
	}
	zipkinURL := os.Getenv("ZIPKIN") + "/api/v2/spans"
	viaZipkin, err := otelzipkin.New(zipkinURL)
	if err != nil {
		return err
	}
	return errors.Join(
		viaOTel(ctx, "otlp-grpc", grpc), viaOTel(ctx, "otlp-http", http), viaOTel(ctx, "zipkin", viaZipkin),
		viaZipkinGo("zipkin-json", zipkinhttp.NewReporter(zipkinURL), 128),
		viaZipkinGo("zipkin-proto", zipkinhttp.NewReporter(zipkinURL, zipkinhttp.Serializer(zipkin_proto3.SpanSerializer{})), 64),
	)
}

func viaOTel(ctx context.Context, protocol string, exporter sdk.SpanExporter) error {
	service := "go-" + protocol
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", service))))
	tracer := provider.Tracer("sender", trace.WithInstrumentationVersion("1"))
	inside, root := tracer.Start(ctx, "GET /checkout", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", "GET"), attribute.Int("http.response.status_code", 503)))
	_, call := tracer.Start(inside, "charge", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("peer.service", "payment"), attribute.Bool("retried", true)))
	call.AddEvent("retry", trace.WithAttributes(attribute.Int("attempt", 2)))
	call.SetStatus(codes.Error, "card refused")
	call.End()
	_, render := tracer.Start(inside, "render")
	render.End()
	root.End()
	if err := provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("%s: %w", service, err)
	}
	fmt.Println(protocol, service, root.SpanContext().TraceID())
	return nil
}

func viaZipkinGo(protocol string, r reporter.Reporter, bits int) error {
	service := "go-" + protocol
	local, err := zipkin.NewEndpoint(service, "10.0.0.7:8080")
	if err != nil {
		return err
	}
	ids := idgenerator.NewRandom128()
	if bits == 64 {
		ids = idgenerator.NewRandom64()
	}
	tracer, err := zipkin.NewTracer(r, zipkin.WithLocalEndpoint(local), zipkin.WithIDGenerator(ids), zipkin.WithTraceID128Bit(bits == 128))
	if err != nil {
		return err
	}
	root := tracer.StartSpan("GET /checkout", zipkin.Kind(model.Server))
	root.Tag("http.request.method", "GET")
	root.Tag("http.response.status_code", "503")
	call := tracer.StartSpan("charge", zipkin.Kind(model.Client), zipkin.Parent(root.Context()), zipkin.RemoteEndpoint(&model.Endpoint{ServiceName: "payment"}))
	call.Tag("retried", "true")
	call.Tag("error", "card refused")
	call.Annotate(time.Now(), "retry")
	call.Finish()
	tracer.StartSpan("render", zipkin.Parent(root.Context())).Finish()
	root.Finish()
	if err := r.Close(); err != nil {
		return fmt.Errorf("%s: %w", service, err)
	}
	fmt.Println(protocol, service, root.Context().TraceID)
	return nil
}
