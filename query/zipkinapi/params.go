package zipkinapi

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

const (
	defaultLimit    = 10
	defaultLookback = 24 * time.Hour
	maxTerms        = 100  // of an annotationQuery, as in Zipkin
	maxTraceIDs     = 1000 // of traceMany, as in Zipkin
)

// traceQuery is the parameters of GET /api/v2/traces. Empty texts and zero bounds are open.
type traceQuery struct {
	service, spanName, remote string
	terms                     []term
	atLeast, atMost           uint64 // µs, of a span
	window                    store.TimeRange
	limit                     int
}

// term is one condition of an annotationQuery: a tag with a value, or, without a value, an annotation or a tag's key.
type term struct{ key, value string }

func invalid(format string, args ...any) error {
	return problem.New(problem.Invalid, fmt.Sprintf(format, args...), "")
}

// required reads a parameter that must be given; it may be empty.
func required(v url.Values, name string) (string, error) {
	if !v.Has(name) {
		return "", invalid("Mandatory parameter/header/attribute is missing: %s", name)
	}
	return v.Get(name), nil
}

// number reads an integer; given is false where the parameter is absent or empty.
func number(v url.Values, name string, bits int) (n int64, given bool, err error) {
	text := v.Get(name)
	if text == "" {
		return 0, false, nil
	}
	if n, err = strconv.ParseInt(text, 10, bits); err != nil {
		return 0, false, problem.New(problem.Invalid, fmt.Sprintf("For input string: %q", text), name+" is an integer")
	}
	return n, true, nil
}

// positive is number for what must be above zero.
func positive(v url.Values, name string, bits int) (n int64, given bool, err error) {
	if n, given, err = number(v, name, bits); given && err == nil && n <= 0 {
		return 0, false, invalid("%s <= 0", name)
	}
	return n, given, err
}

// parseSearch reads the parameters of a search; now is the end of a search without endTs.
func parseSearch(v url.Values, now time.Time) (q traceQuery, err error) {
	q.service, q.remote, q.spanName = v.Get("serviceName"), v.Get("remoteServiceName"), v.Get("spanName")
	if strings.EqualFold(q.spanName, "all") {
		q.spanName = ""
	}
	if q.terms, err = parseTerms(v.Get("annotationQuery")); err != nil {
		return q, err
	}
	if q.window, err = parseWindow(v, now); err != nil {
		return q, err
	}
	limit, given, err := positive(v, "limit", 32)
	if err != nil {
		return q, err
	}
	if q.limit = defaultLimit; given {
		q.limit = int(min(limit, query.MaxSearchLimit))
	}
	atLeast, hasLeast, err := positive(v, "minDuration", 64)
	if err != nil {
		return q, err
	}
	atMost, hasMost, err := number(v, "maxDuration", 64)
	switch {
	case err != nil:
		return q, err
	case hasMost && !hasLeast:
		return q, invalid("maxDuration is only valid with minDuration")
	case hasMost && atMost < atLeast:
		return q, invalid("maxDuration < minDuration")
	}
	q.atLeast, q.atMost = uint64(atLeast), uint64(atMost)
	return q, nil
}

// parseWindow reads endTs and lookback, milliseconds. The end is inclusive: the microsecond that it names belongs to it.
func parseWindow(v url.Values, now time.Time) (store.TimeRange, error) {
	end, hasEnd, err := positive(v, "endTs", 64)
	if err != nil {
		return store.TimeRange{}, err
	}
	lookback, hasLookback, err := positive(v, "lookback", 64)
	if err != nil {
		return store.TimeRange{}, err
	}
	if !hasEnd {
		end = now.UnixMilli()
	}
	if !hasLookback {
		lookback = defaultLookback.Milliseconds()
	}
	const most = math.MaxInt64/1_000_000 - 1
	end = min(end, most)
	return store.TimeRange{From: max(end-min(lookback, most), 0) * 1_000_000, To: end*1_000_000 + 1000}, nil
}

// parseTerms reads `a and b=c`. A key given again replaces the one before, as in Zipkin.
func parseTerms(text string) (terms []term, err error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(text, " and ")
	if len(parts) > maxTerms {
		return nil, invalid("annotationQuery has %d conditions, more than %d", len(parts), maxTerms)
	}
next:
	for _, part := range parts {
		key, value, _ := strings.Cut(part, "=")
		t := term{strings.TrimSpace(key), strings.TrimSpace(value)}
		if t.key == "" {
			continue
		}
		for i := range terms {
			if terms[i].key == t.key {
				terms[i] = t
				continue next
			}
		}
		terms = append(terms, t)
	}
	return terms, nil
}

// parseTraceID reads an id as Zipkin does, in its words: trimmed, padded, never zero. Upper-case digits are taken.
func parseTraceID(text string) (span.TraceID, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return span.TraceID{}, invalid("traceId is empty")
	case len(text) > 32:
		return span.TraceID{}, invalid("traceId.length > 32")
	case strings.Trim(text, "0") == "":
		return span.TraceID{}, invalid("traceId is all zeros")
	}
	id, err := span.ParseTraceID(text)
	if err != nil || strings.ContainsAny(text, "xX") {
		return span.TraceID{}, invalid("%s should be lower-hex encoded with no prefix", text)
	}
	return id, nil
}

// shortID is an id as Zipkin writes it.
func shortID(id span.TraceID) string {
	if id.High() == 0 {
		return id.String()[16:]
	}
	return id.String()
}
