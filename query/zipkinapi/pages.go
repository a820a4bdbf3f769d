package zipkinapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query/otlpjson"
)

// config answers /zipkin/config.json, what Zipkin's UI asks first.
func (a *api) config(c *call) error {
	c.out.header().Set("Cache-Control", "max-age=600")
	c.out.buf = append(c.out.buf, `{"environment":"","queryLimit":10,"defaultLookback":900000,"searchEnabled":true,"logsUrl":null,"supportUrl":null,`+
		`"archivePostUrl":null,"archiveUrl":null,"dependency":{"enabled":true,"lowErrorRate":0.5,"highErrorRate":0.75}}`...)
	return nil
}

// health answers UP, or DOWN with 503 while the store takes no spans.
func (a *api) health(c *call) error {
	name, refusing := a.Health()
	state := "UP"
	if refusing != "" {
		state, c.out.status = "DOWN", http.StatusServiceUnavailable
	}
	dst := append(c.out.buf, `{"status":"`+state+`","zipkin":{"status":"`+state+`","details":{`...)
	dst = append(otlpjson.AppendQuoted(dst, name), `:{"status":"`+state+`"`...)
	if refusing != "" {
		dst = append(otlpjson.AppendQuoted(append(dst, `,"details":{"error":`...), refusing), '}')
	}
	c.out.buf = append(dst, `}}}}`...)
	return nil
}

func (a *api) info(c *call) error {
	dst := otlpjson.AppendQuoted(append(c.out.buf, `{"zipkin":{"version":`...), a.Version)
	c.out.buf = append(otlpjson.AppendQuoted(append(dst, `,"commit":`...), a.Commit), `}}`...)
	return nil
}

// page leads links that were made for Zipkin's own UI to ours: /zipkin/traces/{id}, /zipkin/dependency, and the search
// page, whose parameters become those of a Jaeger link, which our UI reads.
func (a *api) page(c *call) error {
	if a.UI == "" {
		return problem.New(problem.NotFound, "no UI is served on this port", "open the one on --http-addr, or set --external-url to have links lead there")
	}
	path := strings.TrimPrefix(c.URL.Path, prefix)
	to := strings.TrimSuffix(a.UI, "/") + "/"
	switch id, isTrace := strings.CutPrefix(path, "/traces/"); {
	case isTrace:
		parsed, err := parseTraceID(id)
		if err != nil {
			return err
		}
		to += "trace/" + shortID(parsed)
	case path == "/dependency":
		to += "dependencies"
	case c.params.Get("serviceName") != "":
		to += "search?" + searchLink(c.params)
	}
	c.out.header().Set("Location", to)
	c.out.status = http.StatusFound
	return nil
}

func searchLink(v url.Values) string {
	link := url.Values{"service": {v.Get("serviceName")}}
	if name := v.Get("spanName"); name != "" && name != "all" {
		link.Set("operation", name)
	}
	for _, bound := range []string{"minDuration", "maxDuration"} {
		if _, given, err := number(v, bound, 64); given && err == nil {
			link.Set(bound, v.Get(bound)+"us")
		}
	}
	if _, given, err := positive(v, "limit", 32); given && err == nil {
		link.Set("limit", v.Get("limit"))
	}
	return link.Encode()
}
