package kit;

import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletRequest;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.springframework.boot.web.client.RestTemplateCustomizer;
import org.springframework.boot.web.reactive.function.client.WebClientCustomizer;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.http.HttpHeaders;
import org.springframework.util.ClassUtils;
import org.springframework.web.reactive.function.client.ClientRequest;

/**
 * Hands the headers of a trace on from the request that came in to the requests it causes by RestTemplate and WebClient, which must come of
 * Spring's RestTemplateBuilder and WebClient.Builder. Needs no OpenTelemetry: copy this file alone where an application is to keep the mesh's
 * traces together and send no spans of its own.
 *
 * <p>Beside OpenTelemetry only x-request-id is handed on, as the SDK sets the others. Headers are kept by thread:
 * a call on another thread, and a WebFlux server, has none.
 */
@Configuration(proxyBeanMethods = false)
public class ForwardHeaders {
  /** What Envoy reads: the id that its sampling goes by, Zipkin's B3 in both forms, and the W3C's headers. */
  static final List<String> NAMES =
      List.of("x-request-id", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "b3", "traceparent", "tracestate", "baggage");

  private static final ThreadLocal<Map<String, String>> CAME = ThreadLocal.withInitial(Map::of);

  private static final List<String> FORWARDED = openTelemetry() ? NAMES.subList(0, 1) : NAMES;

  /** Whether OpenTelemetry's starter or Java agent makes spans here. */
  private static boolean openTelemetry() {
    if ("true".equals(System.getenv("OTEL_SDK_DISABLED"))) {
      return false;
    }
    ClassLoader classes = ForwardHeaders.class.getClassLoader();
    return ClassUtils.isPresent("io.opentelemetry.instrumentation.spring.autoconfigure.OpenTelemetryAutoConfiguration", classes)
        || (ClassUtils.isPresent("io.opentelemetry.javaagent.OpenTelemetryAgent", classes) && !"false".equals(System.getenv("OTEL_JAVAAGENT_ENABLED")));
  }

  static Map<String, String> pick(HttpServletRequest request, List<String> names) {
    Map<String, String> picked = new LinkedHashMap<>();
    for (String name : names) {
      if (request.getHeader(name) != null) {
        picked.put(name, request.getHeader(name));
      }
    }
    return picked;
  }

  private static void add(HttpHeaders headers, Map<String, String> came) {
    came.forEach((name, value) -> {
      if (headers.getFirst(name) == null) {
        headers.set(name, value);
      }
    });
  }

  @Bean
  Filter keepTraceHeaders() {
    return new Filter() {
      @Override
      public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain) throws IOException, ServletException {
        CAME.set(pick((HttpServletRequest) request, FORWARDED));
        try {
          chain.doFilter(request, response);
        } finally {
          CAME.remove();
        }
      }
    };
  }

  @Bean
  RestTemplateCustomizer forwardByRestTemplate() {
    return template -> template.getInterceptors().add((request, body, execution) -> {
      add(request.getHeaders(), CAME.get());
      return execution.execute(request, body);
    });
  }

  @Bean
  WebClientCustomizer forwardByWebClient() {
    return client -> client.filter((request, next) -> {
      Map<String, String> came = CAME.get(); // of the thread that makes the call
      return next.exchange(ClientRequest.from(request).headers(headers -> add(headers, came)).build());
    });
  }
}
