package kit;

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.ContextKey;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.opentelemetry.context.propagation.TextMapPropagator;
import io.opentelemetry.context.propagation.TextMapSetter;
import io.opentelemetry.sdk.autoconfigure.spi.AutoConfigurationCustomizerProvider;
import io.opentelemetry.sdk.trace.data.LinkData;
import io.opentelemetry.sdk.trace.samplers.Sampler;
import io.opentelemetry.sdk.trace.samplers.SamplingResult;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

/**
 * What OpenTelemetry's Spring Boot starter lacks beside an Envoy sidecar. Copy it with ForwardHeaders.java and the otel part of
 * application.yml, where the settings are: all are the SDK's own variables.
 */
@Configuration(proxyBeanMethods = false)
public class Tracing {
  /** Paths that make no span. */
  private static final Set<String> EXCLUDED = Set.of("/health", "/ready", "/metrics", "/actuator/health", "/actuator/prometheus");

  @Bean
  AutoConfigurationCustomizerProvider besideSidecar() {
    return sdk -> {
      sdk.addPropagatorCustomizer((propagator, config) -> new MeshPropagator(propagator));
      sdk.addSamplerCustomizer((sampler, config) -> new Excluding(sampler));
    };
  }

  /**
   * Sends a family of headers only where it came with the request, or where the trace begins here. The SDK's own propagators send every family
   * always; a sidecar renews only the one that its tracer speaks (Zipkin: B3; OpenTelemetry: traceparent), and the next application may read
   * the other, which still names the caller's span: one trace, out of order.
   */
  record MeshPropagator(TextMapPropagator one) implements TextMapPropagator {
    private static final ContextKey<Boolean> B3 = ContextKey.named("mesh-b3");
    private static final ContextKey<Boolean> W3C = ContextKey.named("mesh-w3c");

    @Override
    public <C> Context extract(Context context, C carrier, TextMapGetter<C> getter) {
      boolean b3 = getter.get(carrier, "b3") != null || getter.get(carrier, "x-b3-traceid") != null;
      boolean w3c = getter.get(carrier, "traceparent") != null;
      return one.extract(context, carrier, getter).with(B3, b3).with(W3C, w3c);
    }

    @Override
    public <C> void inject(Context context, C carrier, TextMapSetter<C> setter) {
      boolean b3 = Boolean.TRUE.equals(context.get(B3));
      boolean w3c = Boolean.TRUE.equals(context.get(W3C));
      boolean begins = !b3 && !w3c;
      boolean isW3C = one.fields().contains("traceparent");
      boolean isB3 = one.fields().stream().anyMatch(name -> name.toLowerCase().contains("b3"));
      if (begins || (isB3 && b3) || (isW3C && w3c) || (!isB3 && !isW3C)) {
        one.inject(context, carrier, setter);
      }
    }

    @Override
    public Collection<String> fields() {
      return one.fields();
    }
  }

  record Excluding(Sampler others) implements Sampler {
    private static final AttributeKey<String> PATH = AttributeKey.stringKey("url.path");

    @Override
    public SamplingResult shouldSample(Context parent, String trace, String name, SpanKind kind, Attributes attributes, List<LinkData> links) {
      String path = kind == SpanKind.SERVER ? attributes.get(PATH) : null;
      return path != null && EXCLUDED.contains(path) ? SamplingResult.drop() : others.shouldSample(parent, trace, name, kind, attributes, links);
    }

    @Override
    public String getDescription() {
      return "Excluding{" + others.getDescription() + "}";
    }
  }
}
