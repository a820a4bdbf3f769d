package otlp

import (
	"net/http"
	"strings"
)

// What browsers may send besides the simple headers.
const (
	corsHeaders = "content-type, content-encoding, authorization, traceparent, tracestate, baggage, x-requested-with"
	corsMaxAge  = "7200" // seconds; Chromium takes no more
)

// cors answers other origins where AllowedOrigins is set; without it browsers may not post from elsewhere.
type cors struct {
	origins     []string
	headers     string
	credentials bool
}

func newCORS(o Options) *cors {
	if len(o.AllowedOrigins) == 0 {
		return nil
	}
	c := &cors{headers: corsHeaders, credentials: o.AllowCredentials}
	for _, origin := range o.AllowedOrigins {
		c.origins = append(c.origins, strings.ToLower(strings.TrimSuffix(origin, "/")))
	}
	for _, h := range o.AllowedHeaders {
		c.headers += ", " + strings.ToLower(h)
	}
	return c
}

// allow names the origin in the answer if it is one of ours. A list of origins makes answers differ by origin: Vary.
func (c *cors) allow(w http.ResponseWriter, origin string) bool {
	h := w.Header()
	h.Add("Vary", "Origin")
	if !c.known(strings.ToLower(origin)) {
		return false
	}
	if c.origins[0] == "*" && len(c.origins) == 1 && !c.credentials {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	return true
}

// preflight answers OPTIONS. It asks for no token: browsers send none.
func (c *cors) preflight(w http.ResponseWriter, origin string) {
	if c.allow(w, origin) {
		h := w.Header()
		h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
		h.Set("Access-Control-Allow-Methods", "POST")
		h.Set("Access-Control-Allow-Headers", c.headers)
		h.Set("Access-Control-Max-Age", corsMaxAge)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *cors) known(origin string) bool {
	for _, pattern := range c.origins {
		if matches(pattern, origin) {
			return true
		}
	}
	return false
}

// matches compares with a pattern in which each * stands for any text.
func matches(pattern, s string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s, rest = s[at+len(part):], after
	}
}
