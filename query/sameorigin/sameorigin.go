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
// and fetch only after a preflight that nobody answers, and Origin is absent (not a browser) or our own. The error is a
// Forbidden problem.
func Check(r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return foreign("Sec-Fetch-Site", site)
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || !strings.EqualFold(u.Host, r.Host) {
			return foreign("Origin", origin)
		}
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return &problem.Problem{Kind: problem.Forbidden, Field: "Content-Type", Message: "a call that changes something needs a JSON content type",
			Hint: "send Content-Type: application/json, with {} as body where there is nothing to say"}
	}
	return nil
}

func foreign(field, value string) error {
	return &problem.Problem{Kind: problem.Forbidden, Field: field, Message: "a page of another origin (" + value + ") may not change anything here",
		Hint: "open Spanloom under the address it is asked by, or set the proxy in front to keep the Host header"}
}
