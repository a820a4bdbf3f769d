// Trace headers beside an Envoy sidecar, for OpenTelemetry's SDK.
//
// OTEL_PROPAGATORS=b3,tracecontext,baggage with the SDK's own propagators keeps one trace, but not its order: an application then sends both
// families, a sidecar renews only the one that its tracer speaks (Zipkin: B3; OpenTelemetry: traceparent), and the next application may read
// the other, which still names the caller's span. MeshPropagator reads both and answers in the family it was asked in.
import { createContextKey } from "@opentelemetry/api";
import { W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";
import { B3InjectEncoding, B3Propagator } from "@opentelemetry/propagator-b3";
import { NAMES } from "./headers.js";

const CAME = createContextKey("mesh-headers");
// b3 stands for the family: both forms are read, the b3 header first as Envoy does, and x-b3-* is sent.
const b3 = () => ["x-b3-traceid", new B3Propagator({ injectEncoding: B3InjectEncoding.MULTI_HEADER })];
const KNOWN = {
  b3,
  b3multi: b3,
  tracecontext: () => ["traceparent", new W3CTraceContextPropagator()],
  baggage: () => ["baggage", new W3CBaggagePropagator()],
};

/**
 * Reads the families of OTEL_PROPAGATORS (where several came, the last one named wins, as in the SDK) and sends those that came with the
 * request; all of them where the trace begins here. Hands x-request-id on, by which Envoy samples.
 */
export class MeshPropagator {
  #parts;

  constructor(names) {
    this.#parts = names.split(",").map((name) => {
      const make = KNOWN[name.trim()];
      if (!make) throw new Error(`OTEL_PROPAGATORS=${names}: "${name}" is not known here: use ${Object.keys(KNOWN).join(", ")}`);
      return make();
    });
  }

  extract(context, carrier, getter) {
    const came = new Set(NAMES.filter((name) => getter.get(carrier, name) !== undefined));
    if (came.has("b3")) came.add("x-b3-traceid"); // the family came, in its other form
    for (const [, part] of this.#parts) context = part.extract(context, carrier, getter);
    return context.setValue(CAME, { came, requestId: getter.get(carrier, "x-request-id") });
  }

  inject(context, carrier, setter) {
    const { came, requestId } = context.getValue(CAME) ?? { came: new Set() };
    const begins = !came.has("x-b3-traceid") && !came.has("traceparent");
    for (const [mark, part] of this.#parts) if (begins || came.has(mark) || mark === "baggage") part.inject(context, carrier, setter);
    if (requestId !== undefined) setter.set(carrier, "x-request-id", String(requestId));
  }

  fields() {
    return NAMES;
  }
}
