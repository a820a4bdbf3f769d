// Package problem is the one error type that crosses rooms and reaches people: a closed Kind that decides HTTP and
// gRPC status in one place, a message, and a hint that says what to do.
//
// Rooms wrap ordinary errors with their operation as usual; they return a *Problem where the caller must tell kinds
// apart or where a person reads the text.
package problem

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// Kind says who can mend a problem. It is closed: a new kind needs a status in both tables below.
type Kind uint8

// The kinds. Internal is the zero value, so that an error of no kind is never blamed on the sender.
const (
	Internal        Kind = iota // our fault; not to be retried
	Invalid                     // the request is wrong and stays wrong
	NotFound                    // no such thing
	TooLarge                    // over a size limit; not to be retried
	Overloaded                  // refused now, retry after RetryAfter
	Unavailable                 // the store cannot take or give data now, retry after RetryAfter
	Unsupported                 // this engine or build does not do that
	Unauthenticated             // no or bad credentials
	Forbidden                   // credentials without the right
	Expired                     // a page token or snapshot that is gone
)

var kinds = [...]struct {
	name string
	http int
	grpc codes.Code
}{
	Internal:        {"internal", http.StatusInternalServerError, codes.Internal},
	Invalid:         {"invalid", http.StatusBadRequest, codes.InvalidArgument},
	NotFound:        {"notFound", http.StatusNotFound, codes.NotFound},
	TooLarge:        {"tooLarge", http.StatusRequestEntityTooLarge, codes.ResourceExhausted},
	Overloaded:      {"overloaded", http.StatusTooManyRequests, codes.ResourceExhausted},
	Unavailable:     {"overloaded", http.StatusServiceUnavailable, codes.Unavailable},
	Unsupported:     {"unsupported", http.StatusNotImplemented, codes.Unimplemented},
	Unauthenticated: {"unauthenticated", http.StatusUnauthorized, codes.Unauthenticated},
	Forbidden:       {"forbidden", http.StatusForbidden, codes.PermissionDenied},
	Expired:         {"expired", http.StatusGone, codes.FailedPrecondition},
}

// String is the name used in JSON answers.
func (k Kind) String() string { return kinds[k].name }

// HTTPStatus is the status code every HTTP surface answers with.
func (k Kind) HTTPStatus() int { return kinds[k].http }

// GRPCCode is the code every gRPC surface answers with.
func (k Kind) GRPCCode() codes.Code { return kinds[k].grpc }

// Retryable reports whether the same request may succeed later; RetryAfter then says when.
func (k Kind) Retryable() bool { return k == Overloaded || k == Unavailable }

// Problem is an error that a person or a client acts on.
type Problem struct {
	Kind       Kind
	Message    string        // what is wrong, with the value
	Hint       string        // what to do; may be empty
	Field      string        // the parameter, flag or field at fault; may be empty
	RetryAfter time.Duration // for retryable kinds; 0 means a second
	Err        error         // cause; may be nil
}

// Error joins message and hint in one line.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.Field != "" {
		b.WriteString(p.Field)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Err != nil {
		b.WriteString(": ")
		b.WriteString(p.Err.Error())
	}
	if p.Hint != "" {
		b.WriteString(" (")
		b.WriteString(p.Hint)
		b.WriteString(")")
	}
	return b.String()
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.Err }

// New makes a problem of a kind with a message and a hint.
func New(k Kind, message, hint string) *Problem {
	return &Problem{Kind: k, Message: message, Hint: hint}
}

// Of finds the problem in an error chain; any other error becomes Internal with the error as its cause.
// Of(nil) is nil.
func Of(err error) *Problem {
	if err == nil {
		return nil
	}
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return &Problem{Kind: Internal, Message: "internal error", Err: err}
}

// Retry is the time a client should wait; one second when none was set.
func (p *Problem) Retry() time.Duration {
	if p.RetryAfter > 0 {
		return p.RetryAfter
	}
	return time.Second
}
