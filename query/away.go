package query

import (
	"context"
	"strings"
	"unicode"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
)

// awayText bounds the reason in bytes: dialects put it into headers.
const awayText = 500

// Away is what an error behind rows of the store makes of them: where the store, or a part of it, is away they are an answer that is
// not complete. ok is false for any other error. Where no row came nothing is known, and the error is the answer: that is the
// caller's to decide, who counts them.
func Away(err error) (done store.Done, ok bool) {
	p := problem.Of(err)
	if p == nil || !p.Kind.Retryable() {
		return store.Done{}, false
	}
	text := HeaderText(p.Error())
	if len(text) > awayText {
		text = strings.ToValidUTF8(text[:awayText], "") + " ..."
	}
	return store.Done{Away: true, Reason: "some spans could not be read: " + text}, true
}

// HeaderPartial is the header of HTTP, and in lower case the trailer of gRPC, that says by HeaderText why an answer is not everything.
const HeaderPartial = "Spanloom-Partial"

// HeaderText is a reason as a header or a trailer may hold it: one line of ASCII. Clients of gRPC refuse control characters with all of the answer, and its
// metadata holds no others.
func HeaderText(reason string) string {
	ascii := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r):
			return ' '
		case r > unicode.MaxASCII:
			return '?'
		}
		return r
	}, reason)
	return strings.Join(strings.Fields(ascii), " ")
}

// without is what an error at the end of a part makes of all that was read: of some rows an answer that is not complete, of none the error.
func without(ctx context.Context, done store.Done, err error, some bool) (store.Done, error) {
	away, ok := Away(err)
	if !ok || !some || ctx.Err() != nil {
		return done, err
	}
	return joinDone(done, away), nil
}

// unknown is the error of what is not found in an answer that lacks spans: it may be in those.
func unknown(done store.Done, field, what string) error {
	return &problem.Problem{Kind: problem.Unavailable, Field: field, Message: "no " + what + " in what could be read of this window", Hint: done.Reason}
}
