// Package load makes the traffic of a service mesh, sends it and verifies that a server holds every span of it.
//
// The data are what Envoy sidecars configured by Istio send: twelve services with three pods each in four namespaces, traces of
// 8 to 40 spans (20 on average), random ids, times in microseconds with log-normal jitter, 21 to 23 attributes a span with
// Istio's keys and value lengths, one span in a hundred an error. Everything follows from a seed: Data.Trace rebuilds trace
// number n at any time, so Verify needs no record of what Send sent beyond a small manifest.
//
// URLs hold no query strings and no value looks like a secret, so that the default redaction changes nothing and a
// stored span must equal the generated one.
//
// The package imports the encoders of the receivers and the vocabulary of span; it knows no engine and asks a server only
// what its public APIs answer.
package load
