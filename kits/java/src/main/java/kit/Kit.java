package kit;

import jakarta.servlet.http.HttpServletRequest;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.web.client.RestTemplateBuilder;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestTemplate;
import org.springframework.web.reactive.function.client.WebClient;

/** A service that answers which trace headers it got, and calls the next one (NEXT_URL) if there is one. */
@SpringBootApplication
@RestController
public class Kit {
  private final String service;
  private final String next;
  private final RestTemplate rest;
  private final WebClient web;

  Kit(@Value("${OTEL_SERVICE_NAME:java-kit}") String service, @Value("${NEXT_URL:}") String next, RestTemplateBuilder rest, WebClient.Builder web) {
    this.service = service;
    this.next = next;
    this.rest = rest.connectTimeout(Duration.ofSeconds(5)).readTimeout(Duration.ofSeconds(10)).build();
    this.web = web.build();
  }

  public static void main(String[] args) {
    SpringApplication.run(Kit.class, args);
  }

  @GetMapping("/health")
  String health() {
    return "ok";
  }

  @GetMapping("/call/resttemplate")
  Map<String, Object> byRestTemplate(HttpServletRequest request) {
    return answer(request, next.isEmpty() ? null : rest.getForObject(next + "/call/resttemplate", Map.class));
  }

  @GetMapping("/call/webclient")
  Map<String, Object> byWebClient(HttpServletRequest request) {
    return answer(request, next.isEmpty() ? null : web.get().uri(next + "/call/webclient").retrieve().bodyToMono(Map.class).block(Duration.ofSeconds(10)));
  }

  private Map<String, Object> answer(HttpServletRequest request, Object after) {
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("service", service);
    answer.put("headers", ForwardHeaders.pick(request, ForwardHeaders.NAMES));
    answer.put("next", after);
    return answer;
  }
}
