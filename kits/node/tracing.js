// Spans of node:http, Express and fetch, beside an Envoy sidecar. Copy it with propagator.js and headers.js, and load it before everything
// else: node --import ./tracing.js app.js
//
// Without OpenTelemetry's packages, or switched off, the service runs all the same and hands the trace headers on.
//
//   OTEL_ENABLED                 true; false (or OTEL_SDK_DISABLED=true): no spans, headers only
//   OTEL_EXPORTER_OTLP_ENDPOINT  http://localhost:4317, OTLP over gRPC
//   OTEL_SAMPLING_RATE           1, of traces that begin here; the caller's decision comes first
//   OTEL_PROPAGATORS             b3,tracecontext,baggage: families of headers, see propagator.js
//   OTEL_EXCLUDED_PATHS          /health,/ready,/metrics: paths that make no span
//   OTEL_BSP_SCHEDULE_DELAY, OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_RESOURCE_ATTRIBUTES: as in the SDK
import { outgoing as forwarded } from "./headers.js";

const { env } = process;

let provider = null; // null: headers only

if ((env.OTEL_ENABLED ?? "true") !== "true" || env.OTEL_SDK_DISABLED === "true") {
  console.info("tracing is switched off: trace headers are handed on");
} else {
  try {
    provider = await start();
    console.info("tracing is on");
  } catch (e) {
    if (e.code !== "ERR_MODULE_NOT_FOUND") throw e;
    console.warn(`tracing is off, trace headers are handed on: ${e.message}`);
  }
}

async function start() {
  const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-grpc");
  const { registerInstrumentations } = await import("@opentelemetry/instrumentation");
  const { ExpressInstrumentation, ExpressLayerType } = await import("@opentelemetry/instrumentation-express");
  const { HttpInstrumentation } = await import("@opentelemetry/instrumentation-http");
  const { UndiciInstrumentation } = await import("@opentelemetry/instrumentation-undici");
  const { defaultResource, detectResources, envDetector, resourceFromAttributes } = await import("@opentelemetry/resources");
  const node = await import("@opentelemetry/sdk-trace-node");
  const { MeshPropagator } = await import("./propagator.js");
  const { createRequire, syncBuiltinESMExports } = await import("node:module");

  const rate = Number(env.OTEL_SAMPLING_RATE ?? 1);
  if (!(rate >= 0 && rate <= 1)) {
    throw new Error(`OTEL_SAMPLING_RATE=${env.OTEL_SAMPLING_RATE}: use a number from 0 to 1 (0.01 is one trace in a hundred)`);
  }
  const excluded = (env.OTEL_EXCLUDED_PATHS ?? "/health,/ready,/metrics").split(",");
  const provider = new node.NodeTracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ "service.name": env.OTEL_SERVICE_NAME ?? "node-kit", "service.version": "1.0.0", "deployment.environment.name": "dev" }))
      .merge(detectResources({ detectors: [envDetector] })),
    // Parent-based: a ratio alone would contradict the gateway's decision and cut traces.
    sampler: new node.ParentBasedSampler({ root: new node.TraceIdRatioBasedSampler(rate) }),
    spanProcessors: [new node.BatchSpanProcessor(new OTLPTraceExporter())],
  });
  provider.register({ propagator: new MeshPropagator(env.OTEL_PROPAGATORS ?? "b3,tracecontext,baggage") });
  registerInstrumentations({
    tracerProvider: provider,
    instrumentations: [
      new HttpInstrumentation({ ignoreIncomingRequestHook: (request) => excluded.includes(request.url.split("?")[0]) }),
      new ExpressInstrumentation({ ignoreLayersType: [ExpressLayerType.MIDDLEWARE] }),
      new UndiciInstrumentation(),
    ],
  });
  // Instrumentation sees what is loaded by require; what is loaded now, a later import takes as it is. With the SDK's loader hook in its place,
  // a call by node:http has two spans.
  const require = createRequire(import.meta.url);
  for (const name of ["http", "https", "express"]) {
    try {
      require(name);
    } catch (e) {
      if (e.code !== "MODULE_NOT_FOUND") throw e; // the service has no Express
    }
  }
  syncBuiltinESMExports();
  return provider;
}

/** Headers to give every call: those that came, or none, as the SDK sets them itself (and fetch would keep both). */
export const outgoing = () => (provider ? {} : forwarded());

/** Sends what is still queued. Call it when the last request is answered. */
export const shutdownTracing = async () => provider?.shutdown();
