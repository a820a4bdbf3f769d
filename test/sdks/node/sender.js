// Sends one trace by each exporter of OpenTelemetry's SDK for Node, and one by Zipkin's own library, and prints what it sent:
// protocol, service, trace id.
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { OTLPTraceExporter as GRPCExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as JSONExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtoExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { ZipkinExporter } from "@opentelemetry/exporter-zipkin";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import zipkin from "zipkin";
import { HttpLogger } from "zipkin-transport-http";

const { OTLP_GRPC, OTLP_HTTP, ZIPKIN } = process.env;

const exporters = {
  "otlp-grpc": () => new GRPCExporter({ url: `http://${OTLP_GRPC}` }),
  "otlp-json": () => new JSONExporter({ url: `${OTLP_HTTP}/v1/traces` }),
  "otlp-http": () => new ProtoExporter({ url: `${OTLP_HTTP}/v1/traces` }),
  zipkin: () => new ZipkinExporter({ url: `${ZIPKIN}/api/v2/spans` }),
};

for (const [protocol, exporter] of Object.entries(exporters)) {
  const service = `node-${protocol}`;
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ "service.name": service }),
    spanProcessors: [new BatchSpanProcessor(exporter())],
  });
  const tracer = provider.getTracer("sender", "1");
  const root = tracer.startSpan("GET /checkout", {
    kind: SpanKind.SERVER,
    attributes: { "http.request.method": "GET", "http.response.status_code": 503 },
  });
  const inside = trace.setSpan(ROOT_CONTEXT, root);
  const call = tracer.startSpan(
    "charge",
    { kind: SpanKind.CLIENT, attributes: { "peer.service": "payment", retried: true } },
    inside,
  );
  call.addEvent("retry", { attempt: 2 });
  call.setStatus({ code: SpanStatusCode.ERROR, message: "card refused" });
  call.end();
  tracer.startSpan("render", {}, inside).end();
  root.end();
  await provider.shutdown();
  console.log(protocol, service, root.spanContext().traceId);
}

// Zipkin's own library.
const { Annotation, BatchRecorder, ExplicitContext, Tracer, jsonEncoder } = zipkin;
const service = "node-zipkin-js";
const logger = new HttpLogger({ endpoint: `${ZIPKIN}/api/v2/spans`, jsonEncoder: jsonEncoder.JSON_V2, httpInterval: 50 });
const tracer = new Tracer({
  ctxImpl: new ExplicitContext(),
  recorder: new BatchRecorder({ logger }),
  localServiceName: service,
  traceId128Bit: true,
});
let traceId;
tracer.scoped(() => {
  const root = tracer.createRootId();
  traceId = root.traceId;
  tracer.letId(root, () => {
    tracer.recordServiceName(service);
    tracer.recordRpc("GET /checkout");
    tracer.recordBinary("http.request.method", "GET");
    tracer.recordBinary("http.response.status_code", "503");
    tracer.recordAnnotation(new Annotation.ServerRecv());
    tracer.letId(tracer.createChildId(), () => {
      tracer.recordServiceName(service);
      tracer.recordRpc("charge");
      tracer.recordAnnotation(new Annotation.ClientSend());
      tracer.recordAnnotation(new Annotation.ServerAddr({ serviceName: "payment" }));
      tracer.recordBinary("retried", "true");
      tracer.recordMessage("retry");
      tracer.recordBinary("error", "card refused");
      tracer.recordAnnotation(new Annotation.ClientRecv());
    });
    tracer.letId(tracer.createChildId(), () => {
      tracer.recordServiceName(service);
      tracer.recordAnnotation(new Annotation.LocalOperationStart("render"));
      tracer.recordAnnotation(new Annotation.LocalOperationStop());
    });
    tracer.recordAnnotation(new Annotation.ServerSend());
  });
});
// The logger sends in the background, by a timer that keeps no process alive, and has no end: its success is the event.
const alive = setInterval(() => {}, 1000);
await new Promise((resolve, reject) => {
  logger.on("success", resolve);
  logger.on("error", reject);
});
clearInterval(alive);
console.log("zipkin-js", service, traceId);
process.exit(0);
