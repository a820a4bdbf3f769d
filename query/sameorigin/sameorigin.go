// Package sameorigin keeps other sites' pages from changing state with a reader's browser. Every dialect asks it before a
// call that changes something.
package sameorigin

import (
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
)

// Check passes requests that a page of another origin cannot have sent: the content type is JSON, which a form cannot send
// and fetch only after a preflight that nobody answers, and Origin is absent (not a browser), our own, or one of origins,
// such as the URL under which a proxy serves us. The error is a Forbidden problem.
func Check(r *http.Request, origins ...string) error {
	if origin := r.Header.Get("Origin"); origin != "" {
		if !own(origin, r.Host, origins) {
			return foreign("Origin", origin)
		}
	} else if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return foreign("Sec-Fetch-Site", site)
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return &problem.Problem{Kind: problem.Forbidden, Field: "Content-Type", Message: "a call that changes something needs a JSON content type",
			Hint: "send Content-Type: application/json, with {} as body where there is nothing to say"}
	}
	return nil
}

func own(origin, host string, origins []string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if strings.EqualFold(u.Host, host) {
		return true
	}
	for _, o := range origins {
		if allowed, err := url.Parse(o); err == nil && strings.EqualFold(allowed.Scheme, u.Scheme) && strings.EqualFold(allowed.Host, u.Host) {
			return true
		}
	}
	return false
}

func foreign(field, value string) error {
	return &problem.Problem{Kind: problem.Forbidden, Field: field, Message: "a page of another origin (" + value + ") may not change anything here",
		Hint: "open Spanloom under the address it is asked by, or set --external-url to the one it is opened under"}
}
