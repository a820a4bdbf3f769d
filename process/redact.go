package process

import (
	"bytes"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/span"
)

// RedactRules take secrets out of spans before anything is stored. What is taken out is gone: no log, segment, forwarded frame
// or answer holds it.
type RedactRules struct {
	Enabled  bool
	Query    bool     // replace the values of URL query parameters and passwords in URLs
	Keys     []string // attributes whose key, or its last part after a dot, is one of these: the whole value goes
	Keep     []string // keys never touched; wins over everything else
	Patterns []string // additional regular expressions; what they match goes
}

// DefaultRedact is what is on unless configured otherwise: Envoy's http.url carries query strings with tokens, and custom
// tags made from the authorization header carry the bearer token itself.
func DefaultRedact() RedactRules {
	return RedactRules{Enabled: true, Query: true, Keys: []string{
		"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "apikey", "api_key",
		"x-auth-token", "x-csrf-token", "password", "passwd", "secret", "client_secret", "access_token", "refresh_token",
		"id_token", "private_key",
	}}
}

// Redacted stands where a value was.
const Redacted = "***"

type redactPatterns struct{ patterns []*regexp.Regexp }

// keyClass is how the values of a key are treated.
type keyClass uint8

const (
	scanValue keyClass = iota // look for secret patterns
	leave                     // never touched: Keep, or a key Envoy fills from its own configuration
	wholeURL                  // a URL: its query values and user info go, the rest is scanned
	queryOnly                 // a bare query string
	wholeGone                 // a secret by its name
)

// urlKeys hold URLs or paths with queries, by OpenTelemetry's old and new conventions and Envoy's names.
var urlKeys = map[string]keyClass{
	"http.url": wholeURL, "url.full": wholeURL, "http.target": wholeURL, "url.path": wholeURL, "http.path": wholeURL,
	"url.original": wholeURL, "http.referer": wholeURL, "http.request.header.referer": wholeURL,
	"http.response.header.location": wholeURL, "http.route": wholeURL, "grpc.path": wholeURL, "url.query": queryOnly,
	"http.query": queryOnly,
}

// envoyKeys are filled by Envoy from its own state: nothing a client sends gets into them, and skipping them saves most of
// the scan on mesh traffic.
var envoyKeys = map[string]bool{
	"node_id": true, "guid:x-request-id": true, "component": true, "upstream_cluster": true, "upstream_cluster.name": true,
	"downstream_cluster": true, "response_flags": true, "request_size": true, "response_size": true, "http.status_code": true,
	"http.method": true, "http.protocol": true, "peer.address": true, "upstream_address": true, "zone": true, "istio.mesh_id": true,
	"istio.cluster_id": true, "istio.namespace": true, "istio.canonical_service": true, "istio.canonical_revision": true,
	"service.name": true, "telemetry.sdk.name": true, "telemetry.sdk.language": true, "telemetry.sdk.version": true,
	"span.kind": true, "error": true, "grpc.status_code": true,
}

func (r *RedactRules) classOf(key []byte) keyClass {
	name := string(key)
	for _, k := range r.Keep {
		if name == k {
			return leave
		}
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	for _, k := range r.Keys {
		if strings.EqualFold(name, k) || strings.EqualFold(last, k) {
			return wholeGone
		}
	}
	if c, ok := urlKeys[name]; ok {
		if !r.Query {
			return scanValue
		}
		return c
	}
	if envoyKeys[name] {
		return leave
	}
	return scanValue
}

// redact rewrites a batch and answers how many values changed. Keys are classified once per batch; arrays and key-value
// lists that hold a secret anywhere go as a whole.
func redact(b *span.Batch, r *RedactRules, c *redactPatterns) (changed int64) {
	var few [128]keyClass
	classes := few[:0]
	for _, k := range b.Keys {
		classes = append(classes, r.classOf(b.Bytes(k)))
	}
	// Every attribute in the table belongs to somebody, so the table is walked instead of the owners.
	for i := range b.Attrs {
		a := &b.Attrs[i]
		class := classes[a.Key]
		switch {
		case class == leave:
		case class == wholeGone:
			if a.Type == span.TypeNull || a.Type == span.TypeString && string(b.Bytes(a.Value().Str())) == Redacted {
				continue
			}
			v := span.StrValue(span.TypeString, b.AddText(Redacted))
			a.Type, a.Bits = v.Type, v.Bits
			changed++
		case a.Type == span.TypeString:
			if s, ok := c.text(b, a.Value().Str(), class); ok {
				a.Bits = span.StrValue(span.TypeString, s).Bits
				changed++
			}
		case a.Type >= span.TypeBytes:
			if p := b.Bytes(a.Value().Str()); hasSecret(p) || c.match(p) || r.containsKey(p, a.Type, 0) {
				v := span.StrValue(span.TypeString, b.AddText(Redacted))
				a.Type, a.Bits = v.Type, v.Bits
				changed++
			}
		}
	}
	for i := range b.Len() {
		for _, s := range []*span.Str{&b.StatusMessage[i], &b.Name[i]} {
			if s.Len == 0 {
				continue
			}
			class := scanValue
			if r.Query && bytes.IndexByte(b.Bytes(*s), '?') >= 0 {
				class = wholeURL // span names such as "GET /login?token=…"
			}
			if t, ok := c.text(b, *s, class); ok {
				*s = t
				changed++
			}
		}
	}
	for i := range b.Events {
		if t, ok := c.text(b, b.Events[i].Name, scanValue); ok {
			b.Events[i].Name = t
			changed++
		}
	}
	return changed
}

// containsKey looks for secret keys in an encoded array or key-value list (OTLP's ArrayValue: values=1; KeyValueList:
// values=1 {key=1, value=2}; AnyValue: array_value=5, kvlist_value=6). Bytes that do not parse hold none.
func (r *RedactRules) containsKey(p []byte, t span.Type, depth int) bool {
	if depth > 16 {
		return true // nobody nests so deep but to hide something
	}
	for len(p) > 0 {
		num, typ, n := protowire.ConsumeTag(p)
		if n < 0 {
			return false
		}
		p = p[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, p); n < 0 {
				return false
			}
			p = p[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(p)
		if n < 0 {
			return false
		}
		p = p[n:]
		switch {
		case t == span.TypeKVList && num == 1: // a KeyValue: look at its key and, as at a list of two fields, its value
			if r.containsKey(v, kvEntry, depth+1) {
				return true
			}
		case t == kvEntry && num == 1:
			if r.classOf(v) == wholeGone {
				return true
			}
		case t == kvEntry && num == 2, t == span.TypeArray && num == 1:
			if r.containsKey(v, anyValue, depth+1) {
				return true
			}
		case t == anyValue && num == 5:
			if r.containsKey(v, span.TypeArray, depth+1) {
				return true
			}
		case t == anyValue && num == 6:
			if r.containsKey(v, span.TypeKVList, depth+1) {
				return true
			}
		}
	}
	return false
}

// Two more message types that containsKey walks through.
const (
	kvEntry  = span.NumTypes
	anyValue = span.NumTypes + 1
)

func (c *redactPatterns) match(p []byte) bool {
	for _, re := range c.patterns {
		if re.Match(p) {
			return true
		}
	}
	return false
}

// text redacts one text; ok reports a change. The common case, nothing found, allocates and copies nothing.
func (c *redactPatterns) text(b *span.Batch, s span.Str, class keyClass) (span.Str, bool) {
	p := b.Bytes(s)
	isURL := class == wholeURL && (bytes.IndexByte(p, '?') >= 0 || bytes.IndexByte(p, '@') >= 0)
	if !isURL && class != queryOnly && !hasSecret(p) && !c.match(p) {
		return s, false
	}
	start := len(b.Arena)
	b.Arena = appendRedacted(b.Arena, p, class)
	out := b.Arena[start:]
	for _, re := range c.patterns {
		if re.Match(out) {
			out = re.ReplaceAllLiteral(out, []byte(Redacted))
			b.Arena = append(b.Arena[:start], out...)
			out = b.Arena[start:]
		}
	}
	if bytes.Equal(out, p) {
		b.Arena = b.Arena[:start]
		return s, false
	}
	return span.Str{Off: uint32(start), Len: uint32(len(out))}, true
}

// appendRedacted appends p to dst without its secrets. p may lie in dst's own array: it is only read before dst grows over
// it, because the result is written behind it.
func appendRedacted(dst, p []byte, class keyClass) []byte {
	if class == wholeURL {
		p, dst = cutUserInfo(dst, p)
		q := bytes.IndexByte(p, '?')
		if q < 0 {
			return appendWithoutSecrets(dst, p)
		}
		dst = appendWithoutSecrets(dst, p[:q+1])
		query, fragment := p[q+1:], []byte(nil)
		if h := bytes.IndexByte(query, '#'); h >= 0 {
			query, fragment = query[:h], query[h:]
		}
		// A text such as "GET /x?token=1 HTTP/1.1" goes on after the query.
		rest := []byte(nil)
		if sp := bytes.IndexByte(query, ' '); sp >= 0 {
			query, rest = query[:sp], query[sp:]
		}
		dst = appendQuery(dst, query)
		dst = appendWithoutSecrets(dst, rest)
		return appendWithoutSecrets(dst, fragment)
	}
	if class == queryOnly {
		if len(p) > 0 && p[0] == '?' {
			dst, p = append(dst, '?'), p[1:]
		}
		return appendQuery(dst, p)
	}
	return appendWithoutSecrets(dst, p)
}

// cutUserInfo writes scheme://***@ and answers what follows the @.
func cutUserInfo(dst, p []byte) (rest, out []byte) {
	i := bytes.Index(p, []byte("://"))
	if i < 0 {
		return p, dst
	}
	host := p[i+3:]
	if end := bytes.IndexAny(host, "/?#"); end >= 0 {
		host = host[:end]
	}
	at := bytes.LastIndexByte(host, '@')
	if at < 0 {
		return p, dst
	}
	dst = append(dst, p[:i+3]...)
	dst = append(dst, Redacted...)
	return p[i+3+at:], dst
}

// appendQuery keeps the names of query parameters and replaces their values.
func appendQuery(dst, query []byte) []byte {
	for len(query) > 0 {
		end := bytes.IndexAny(query, "&;")
		pair := query
		if end >= 0 {
			pair = query[:end]
		}
		if eq := bytes.IndexByte(pair, '='); eq >= 0 {
			dst = append(dst, pair[:eq+1]...)
			if eq+1 < len(pair) {
				dst = append(dst, Redacted...)
			}
		} else if hasSecret(pair) {
			dst = append(dst, Redacted...)
		} else {
			dst = append(dst, pair...)
		}
		if end < 0 {
			return dst
		}
		dst = append(dst, query[end])
		query = query[end+1:]
	}
	return dst
}
