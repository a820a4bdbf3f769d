// Package jaeger reads spans that Jaeger wrote: the traces of its HTTP API and of its UI's download, and the documents of its
// Elasticsearch and OpenSearch indices (jaeger-span-*). No sender uses these forms; they are how people's data leaves Jaeger.
//
// The mapping inverts what Jaeger does to OpenTelemetry's spans:
//
//   - parentSpanID, which Jaeger writes since 2.20, is the parent; else the first CHILD_OF reference to a span of the same trace is.
//     Every other reference is a link. A CHILD_OF one has the attribute opentracing.ref_type=child_of, as OpenTelemetry writes it.
//   - The tags span.kind, otel.status_code, otel.status_description, otel.scope.name, otel.scope.version and w3c.tracestate become
//     the fields they were made of. error=true becomes the status Error, unless otel.status_code says otherwise.
//   - A log is an event; its field "event" is the event's name if it is a string, every other field an attribute.
//   - The process is the resource, serviceName its service.name.
//   - Times are in microseconds. Binary values are base64 in the API and hexadecimal in documents; values of documents may all be text.
//   - tag objects, which documents have for --es.tags-as-fields, are read with @ for the dots of their keys.
//
// What had to be guessed or left out is counted in Notes by kind.
package jaeger
