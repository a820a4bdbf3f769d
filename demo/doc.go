// Package demo runs a small service mesh of real Envoys on the loopback device and keeps traffic flowing through it, so
// that a newcomer sees traces of a real mesh a minute after the first command, and end-to-end tests have real senders.
//
// The mesh is shaped like Istio's Bookinfo. Every box but the last is an application with its own Envoy sidecar, which is
// configured as istiod configures it (see bootstrap.go); traces leave each sidecar by the protocol named under it:
//
//	client ─► ingress gateway ─► productpage ─┬─► details ──────────────────┐
//	          zipkin, B3+W3C     zipkin,      │   zipkin, B3 only           │
//	                             B3+W3C       ├─► reviews v1, v2, v3 ─► ratings ─► books.example.com
//	                                          │   OTLP gRPC, gRPC, HTTP   OTLP     (no sidecar)
//	                                          └─► stock (gRPC), OTLP gRPC
//
// The applications stand for what meets in real clusters: productpage, reviews and stock use the OpenTelemetry SDK with
// the propagators b3, tracecontext and baggage; ratings has no SDK and hands the trace headers on; details hands nothing
// on, so that its call to the outside starts a trace of its own.
//
// Which tracer stands where is not arbitrary. Envoy's OpenTelemetry tracer reads and writes traceparent only and lets the
// caller's B3 headers pass. A Zipkin sidecar behind it prefers B3 and hangs its span below the calling application's span,
// beside the calling sidecar's. The traces join in either order; they nest fully only where the callers speak Zipkin with
// USE_B3_WITH_W3C_PROPAGATION and the called OpenTelemetry, as here.
//
// Without iptables nothing redirects an application's connections: its dialer is told the sidecar's outbound listeners
// instead. Every workload has a loopback address of its own (127.10.0.x), so that senders can be told apart by address
// as pods can. Nothing needs root, nothing listens beyond loopback, and every port is chosen by the kernel.
package demo
