// Hands the headers of a trace on from the request that came in to the requests it causes. Needs no OpenTelemetry: copy this file alone where
// an application is to keep the mesh's traces together and send no spans of its own.
//
//   http.createServer(keepHeaders(handler)), or app.use(keepHeaders()) of Express
//   fetch(url, { headers: outgoing() }), http.get(url, { headers: outgoing() })
import { AsyncLocalStorage } from "node:async_hooks";

// What Envoy reads: Zipkin's B3 in both forms, the W3C's headers, and the id that its sampling goes by.
export const NAMES = ["x-request-id", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "b3",
  "traceparent", "tracestate", "baggage"];

const came = new AsyncLocalStorage();

/** The trace headers among those of a request, which Node gives in lower case. */
export const pick = (headers) => Object.fromEntries(NAMES.filter((name) => headers[name]).map((name) => [name, headers[name]]));

/** Remembers the headers of each request: a handler of node:http is wrapped; without one, it is a middleware of Express. */
export function keepHeaders(handler) {
  if (handler) return (request, response) => came.run(pick(request.headers), handler, request, response);
  return (request, _response, next) => came.run(pick(request.headers), next);
}

/** The headers for a request that is caused by the one being served; empty outside of one. */
export const outgoing = () => ({ ...came.getStore() });
