package sender;

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Sends one trace by each exporter of OpenTelemetry's SDK for Java and prints what it sent: protocol, service, trace id. */
public final class Sender {
  public static void main(String[] args) {
    Map<String, SpanExporter> exporters = new LinkedHashMap<>();
    exporters.put("otlp-grpc", OtlpGrpcSpanExporter.builder().setEndpoint("http://" + System.getenv("OTLP_GRPC")).build());
    exporters.put("otlp-http", OtlpHttpSpanExporter.builder().setEndpoint(System.getenv("OTLP_HTTP") + "/v1/traces").build());
    exporters.forEach(Sender::send);
  }

  private static void send(String protocol, SpanExporter exporter) {
    String service = "java-" + protocol;
    SdkTracerProvider provider =
        SdkTracerProvider.builder()
            .setResource(Resource.create(Attributes.of(AttributeKey.stringKey("service.name"), service)))
            .addSpanProcessor(BatchSpanProcessor.builder(exporter).build())
            .build();
    Tracer tracer = provider.get("sender", "1");
    Span root = tracer.spanBuilder("GET /checkout").setSpanKind(SpanKind.SERVER).setNoParent().startSpan();
    root.setAttribute("http.request.method", "GET");
    root.setAttribute("http.response.status_code", 503);
    Context inside = Context.root().with(root);
    Span call = tracer.spanBuilder("charge").setSpanKind(SpanKind.CLIENT).setParent(inside).startSpan();
    call.setAttribute("peer.service", "payment");
    call.setAttribute("retried", true);
    call.addEvent("retry", Attributes.of(AttributeKey.longKey("attempt"), 2L));
    call.setStatus(StatusCode.ERROR, "card refused");
    call.end();
    tracer.spanBuilder("render").setParent(inside).startSpan().end();
    root.end();
    if (!provider.shutdown().join(20, TimeUnit.SECONDS).isSuccess()) {
      throw new IllegalStateException(service + " was not exported");
    }
    System.out.println(protocol + " " + service + " " + root.getSpanContext().getTraceId());
  }
}
