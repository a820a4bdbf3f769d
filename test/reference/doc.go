// Package reference holds Spanloom's Zipkin dialect against Zipkin's own server: the same spans are posted to both and every
// answer of /api/v2 is compared. What may differ is a list in the test, each entry with its reason and a count.
package reference
