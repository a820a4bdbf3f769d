package query

import (
	"strings"

	"github.com/spanloom/spanloom/span"
)

// DeriveName makes an operation name for a span that came without one, from what it says of itself, the first that is there:
//
//	http   method and route: "GET /reviews/{id}"; without a route the path with ids replaced by {id}
//	rpc    "package.Service/Method", or Envoy's grpc.path
//	db     operation and collection or system: "SELECT orders"
//	queue  operation and destination: "publish orders"
//	else   PlainName
func DeriveName(b *span.Batch, row int) string {
	attr := func(keys ...string) string {
		for _, key := range keys {
			if v := b.FindString(b.SpanAttrs[row], key); len(v) > 0 {
				return string(v)
			}
		}
		return ""
	}
	if rpc := attr("rpc.method"); rpc != "" {
		return join("/", attr("rpc.service"), rpc)
	}
	if path := attr("grpc.path"); path != "" {
		return strings.TrimPrefix(path, "/")
	}
	if method := attr("http.request.method", "http.method"); method != "" {
		path := attr("http.route", "url.template")
		if path == "" {
			path = templatePath(attr("url.path", "http.target", "http.url", "url.full"))
		}
		return join(" ", method, path)
	}
	if op := attr("db.operation.name", "db.operation"); op != "" {
		return join(" ", op, attr("db.collection.name", "db.sql.table", "db.system.name", "db.system"))
	}
	if queue := attr("messaging.destination.name", "messaging.destination"); queue != "" {
		return join(" ", attr("messaging.operation.name", "messaging.operation.type", "messaging.operation"), queue)
	}
	return PlainName(b.Kind[row], b.String(b.Service[row]))
}

// PlainName is the operation name of a span of which only kind and service are known: "server reviews". Lists of
// operations show it for spans without a name, where no attributes are at hand.
func PlainName(k span.Kind, service string) string {
	kind := k.String()
	if k == span.KindUnspecified {
		kind = "span"
	}
	return join(" ", kind, service)
}

func join(sep, a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + sep + b
}

// templatePath is the path of a URL or target without its query, with segments that look like ids as {id}.
func templatePath(url string) string {
	if i := strings.Index(url, "://"); i >= 0 {
		url = url[i+3:]
		if i = strings.IndexByte(url, '/'); i < 0 {
			return "/"
		}
		url = url[i:]
	}
	if i := strings.IndexAny(url, "?#"); i >= 0 {
		url = url[:i]
	}
	segments := strings.Split(url, "/")
	for i, s := range segments {
		if looksLikeID(s) {
			segments[i] = "{id}"
		}
	}
	return strings.Join(segments, "/")
}

// looksLikeID: numbers, and hexadecimal runs of at least 8 with a digit in them (UUIDs with their dashes too).
func looksLikeID(s string) bool {
	digits, hex := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			hex++
		case c == '-' && i > 0:
		default:
			return false
		}
	}
	return digits > 0 && hex == 0 || digits > 0 && digits+hex >= 8
}
