// Package otlp is the OpenTelemetry receiver: gRPC and HTTP, protobuf and JSON, decoded without an object per span into
// the columnar batch. It also writes protobuf requests back from a batch.
//
// What comes in goes out field by field. What the wire leaves open is decided here:
//
//   - A span whose trace or span id is absent, zero or of another length than 16 and 8 bytes is left out (bad_id), as is one
//     with a parent or link id of a wrong length. A parent of zeros means none.
//   - A span that does not decode inside its own frame is left out (malformed), the others stay. A resource, a scope or the
//     request itself that does not decode fails the request, with the offset of the first wrong byte.
//   - Repeated attribute keys are all kept, in order: the last one counts, as span.Batch.FindAttr reads them.
//   - Fields may come in any order, be interleaved, repeated and split, as protobuf allows: lists are joined, messages merged,
//     of single values the last counts. Fields of an unknown number or an unexpected wire type, groups too, are passed over.
//   - Text that is not UTF-8 gets U+FFFD for each run of wrong bytes; arrays and lists nested deeper than maxNesting lose what
//     lies deeper. Rows that this happened to carry span.MarkCut.
//   - Kinds and status codes outside the specification read as unspecified and unset.
//   - Arrays and lists become canonical bytes: known fields only, in order, shortest lengths, every element with a value.
//   - instrumentationLibrarySpans, which scopes replaced in 2022, are read like scopeSpans.
package otlp
