package opensearch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/remote"
)

// refusal is an answer that is not 2xx, or an item of a bulk that was not stored.
type refusal struct {
	status       int
	kind, reason string // of the server's error object; empty where it sent none
}

func (r *refusal) Error() string {
	if r.kind == "" && r.reason == "" {
		return fmt.Sprintf("the server says status %d", r.status)
	}
	return fmt.Sprintf("the server says %s (status %d): %.500s", r.kind, r.status, r.reason)
}

// refusalOf reads an error answer. A body of another form, as proxies send it, is told by its beginning.
func refusalOf(status int, body []byte) *refusal {
	var answer struct {
		Error json.RawMessage `json:"error"`
	}
	r := &refusal{status: status}
	if json.Unmarshal(body, &answer) == nil && len(answer.Error) > 0 {
		r.read(answer.Error)
	}
	if r.kind == "" && r.reason == "" {
		r.reason = strings.ToValidUTF8(string(body[:min(len(body), 200)]), "?")
	}
	return r
}

// read reads an error object; older paths send a text in its place.
func (r *refusal) read(p json.RawMessage) {
	var e struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
		Cause  []struct {
			Type   string `json:"type"`
			Reason string `json:"reason"`
		} `json:"root_cause"`
		Caused struct {
			Reason string `json:"reason"`
		} `json:"caused_by"`
	}
	if json.Unmarshal(p, &e) != nil {
		_ = json.Unmarshal(p, &r.reason)
		return
	}
	r.kind, r.reason = e.Type, e.Reason
	if len(e.Cause) > 0 && e.Cause[0].Reason != e.Reason {
		r.reason += ": " + e.Cause[0].Reason
	} else if e.Caused.Reason != "" {
		r.reason += ": " + e.Caused.Reason
	}
}

// full reports the block that a server sets on its indices when its disk is nearly full.
func (r *refusal) full() bool {
	return strings.Contains(r.reason, "read-only-allow-delete") || strings.Contains(r.reason, "read-only / allow delete") || strings.Contains(r.reason, "flood-stage")
}

// blocked reports a block that a person set.
func (r *refusal) blocked() bool { return r.kind == "cluster_block_exception" && !r.full() }

// poison reports a document that is refused for what is in it. Other answers of status 400 are about the index, its settings or pipelines:
// nearly every document would meet them, and a person mends them.
func (r *refusal) poison() bool {
	switch r.kind {
	case "mapper_parsing_exception", "document_parsing_exception", "max_bytes_length_exceeded_exception":
		return true
	case "illegal_argument_exception":
		return strings.Contains(r.reason, "immense term")
	}
	return r.status == http.StatusRequestEntityTooLarge
}

// class judges one refusal.
func (r *refusal) class() remote.Class {
	switch {
	case r.full():
		return remote.Retry
	case r.poison():
		return remote.Poison
	case r.status == http.StatusUnauthorized, r.status == http.StatusForbidden, r.blocked(), r.kind == "index_not_found_exception",
		r.status == http.StatusBadRequest:
		return remote.Fatal
	default:
		return remote.Retry
	}
}

// Away reports whether an error says that no server was reached, or that one is busy or starting: the same may go well later without
// anybody's doing.
func Away(err error) bool {
	if r := (*refusal)(nil); errors.As(err, &r) {
		return r.status == http.StatusTooManyRequests || r.status >= http.StatusBadGateway && r.status <= http.StatusGatewayTimeout
	}
	var record tls.RecordHeaderError
	var network net.Error
	return errors.As(err, &network) && !errors.As(err, &record) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// later makes of an error of a store that is not about the spans one that says to try again.
func later(err error) error {
	p, ok := errors.AsType[*problem.Problem](err)
	if ok && p.Kind == problem.Invalid && ClassOf(err) != remote.Poison {
		p.Kind, p.RetryAfter, p.Hint = problem.Unavailable, time.Minute, "the server refuses every document like this: mend its index, template or pipeline"
	}
	return err
}

// ClassOf judges the error of Accept.
func ClassOf(err error) remote.Class {
	var r *refusal
	if !errors.As(err, &r) {
		return remote.Retry
	}
	return r.class()
}

// explain makes of an error of the client what callers and people can act on. Errors of the context stay as they are.
func explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	var known *problem.Problem
	if errors.As(err, &known) {
		return err
	}
	p := &problem.Problem{Kind: problem.Unavailable, Message: what, Err: err, RetryAfter: time.Second}
	var r *refusal
	var unknown x509.UnknownAuthorityError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &r):
		r.advise(p)
	case errors.As(err, &unknown), errors.As(err, &verify):
		p.Field, p.Hint, p.RetryAfter = "opensearch-url", "name the file of who signed the server's certificate by ca_file, and its name by server_name", time.Minute
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		p.Field, p.Hint, p.RetryAfter = "opensearch-url", "the server speaks plain HTTP there: write http://", time.Minute
	default:
		p.Hint = "check that the server runs and that host and port of --opensearch-url are right (9200, with https:// where it has TLS)"
	}
	return p
}

func (r *refusal) advise(p *problem.Problem) {
	class := r.class()
	if class == remote.Fatal {
		p.RetryAfter = time.Minute
	}
	switch {
	case r.full():
		p.Hint, p.RetryAfter = "the server's disk is nearly full and it took its indices out of writing (read-only-allow-delete): free room or shorten --retention; it lifts the block by itself", 10*time.Second
	case r.status == http.StatusUnauthorized:
		p.Field, p.Hint = "opensearch-url", "check user and password: in a file named by ?password_file= or in "+passwordVariable
	case r.blocked():
		p.Hint = "the index is closed for writing: take index.blocks.write and index.blocks.read_only off it"
	case r.status == http.StatusForbidden:
		p.Hint = "grant the user read, create_index, write, maintenance and delete_index on <index_prefix>-*, or only read for a process that only answers questions; apply `spanloom store schema` where it may not manage index templates"
	case r.kind == "index_not_found_exception":
		p.Hint = "the server creates no indices by itself: allow <index_prefix>-* in action.auto_create_index"
	case r.status == http.StatusTooManyRequests:
		p.Kind, p.Hint = problem.Overloaded, "the server is busy"
		if r.kind == "circuit_breaking_exception" {
			p.Hint = "the server is short of memory (its circuit breaker): give it more heap or ask for less at once"
		}
	case class == remote.Poison, r.status == http.StatusBadRequest:
		p.Kind, p.Hint = problem.Invalid, "the server cannot take this"
	case r.status == http.StatusNotFound, r.status == http.StatusMethodNotAllowed, r.status == http.StatusNotAcceptable:
		p.Field, p.Hint, p.RetryAfter = "opensearch-url", "is this Elasticsearch 8 or OpenSearch 2 or newer?", time.Minute
	}
}
