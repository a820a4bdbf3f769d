package jaegerapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// defaultLimit is the number of traces a search answers if it names none.
const defaultLimit = 100

// searchQuery is the parameters of GET /api/traces.
type searchQuery struct {
	ids                []span.TraceID // if any: all but raw is ignored
	service, operation string
	window             store.TimeRange
	atLeast, atMost    time.Duration // of a span; 0 is open
	limit              int
	tags               []tag
	raw                bool
}

type tag struct{ key, value string }

func invalid(hint, format string, args ...any) error {
	return problem.New(problem.Invalid, fmt.Sprintf(format, args...), hint)
}

// parseSearch reads the parameters of a search; now is the end of a search without end.
func parseSearch(v url.Values, now time.Time, lookback time.Duration) (q searchQuery, err error) {
	if q.raw, err = parseBool(v, "raw"); err != nil {
		return q, err
	}
	for _, text := range v["traceID"] {
		id, err := parseTraceID(text)
		if err != nil {
			return q, err
		}
		if !slices.Contains(q.ids, id) {
			q.ids = append(q.ids, id)
		}
	}
	if len(q.ids) > 0 {
		return q, nil
	}
	if q.service = v.Get("service"); q.service == "" {
		return q, invalid("", "parameter 'service' is required")
	}
	q.operation = v.Get("operation")
	if q.window, err = parseWindow(v, now, lookback); err != nil {
		return q, err
	}
	if q.atLeast, err = parseDuration(v, "minDuration"); err != nil {
		return q, err
	}
	if q.atMost, err = parseDuration(v, "maxDuration"); err != nil {
		return q, err
	}
	if q.atMost > 0 && q.atMost < q.atLeast {
		return q, invalid("drop one of them", "'maxDuration' %s is less than 'minDuration' %s", q.atMost, q.atLeast)
	}
	if q.limit, err = parseLimit(v); err != nil {
		return q, err
	}
	q.tags, err = parseTags(v)
	return q, err
}

// parseWindow reads start and end, both inclusive. The end is now if absent, the start a lookback before the end.
func parseWindow(v url.Values, now time.Time, lookback time.Duration) (store.TimeRange, error) {
	start, hasStart, err := parseInstant(v, "start")
	if err != nil {
		return store.TimeRange{}, err
	}
	end, hasEnd, err := parseInstant(v, "end")
	if err != nil {
		return store.TimeRange{}, err
	}
	if !hasEnd {
		end = now.UnixNano()
	}
	if !hasStart {
		start = min(end, now.UnixNano()) - int64(lookback)
	}
	if hasStart && hasEnd && end < start {
		return store.TimeRange{}, invalid("both are microseconds since the epoch", "'end' %s is before 'start' %s", v.Get("end"), v.Get("start"))
	}
	return store.TimeRange{From: start, To: after(end)}, nil
}

// after is the first instant that an end in microseconds leaves out.
func after(end int64) int64 {
	if end > math.MaxInt64-1000 {
		return math.MaxInt64
	}
	return end + 1000
}

// millisBelow tells milliseconds from microseconds since the epoch: Grafana sends the one where Jaeger takes the other.
// As microseconds it is March 1973, as milliseconds the year 5138.
const millisBelow = 100_000_000_000_000

// parseInstant reads an instant in microseconds or milliseconds since the epoch as nanoseconds. Instants beyond the year 2262
// become that year.
func parseInstant(v url.Values, name string) (ns int64, given bool, err error) {
	text := v.Get(name)
	if text == "" {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, false, invalid("give microseconds or milliseconds since the epoch", "unable to parse param '%s': %q is not an integer", name, text)
	}
	unit := int64(1000)
	if n > -millisBelow && n < millisBelow {
		unit = 1_000_000
	}
	switch {
	case n > math.MaxInt64/unit:
		return math.MaxInt64, true, nil
	case n < math.MinInt64/unit:
		return math.MinInt64, true, nil
	}
	return n * unit, true, nil
}

func parseDuration(v url.Values, name string) (time.Duration, error) {
	text := v.Get(name)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, invalid("durations have a unit: 500us, 20ms, 1.2s", "unable to parse param '%s': %q is not a duration", name, text)
	}
	return d, nil
}

// parseLimit reads the number of traces; 0 is the default, as over gRPC.
func parseLimit(v url.Values) (int, error) {
	text := v.Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 || n > query.MaxSearchLimit {
		return 0, invalid(fmt.Sprintf("use 1 to %d", query.MaxSearchLimit), "unable to parse param 'limit': %q", text)
	}
	if n == 0 {
		return defaultLimit, nil
	}
	return int(n), nil
}

func parseBool(v url.Values, name string) (bool, error) {
	text := v.Get(name)
	if text == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, invalid("use true or false", "unable to parse param '%s': %q is not a boolean", name, text)
	}
	return b, nil
}

// parseTags reads tag=key:value and tags={"key":"value"}, in that order, objects by key.
func parseTags(v url.Values) (tags []tag, err error) {
	for _, text := range v["tag"] {
		key, value, ok := strings.Cut(text, ":")
		if !ok || key == "" {
			return nil, invalid("write tag=http.status_code:503", "malformed 'tag' parameter, expecting key:value, received: %s", text)
		}
		tags = append(tags, tag{key, value})
	}
	for _, text := range v["tags"] {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			return nil, invalid(`write tags={"http.status_code":"503"}`, "malformed 'tags' parameter, expecting a JSON object of strings: %v", err)
		}
		for _, key := range slices.Sorted(maps.Keys(object)) {
			value, ok := scalarText(object[key])
			if !ok || key == "" {
				return nil, invalid(`write tags={"http.status_code":"503"}`, "malformed 'tags' parameter, expecting a JSON object of strings: %q is %s", key, object[key])
			}
			tags = append(tags, tag{key, value})
		}
	}
	return tags, nil
}

// scalarText is a JSON string's text; numbers and booleans are taken as they are written.
func scalarText(raw json.RawMessage) (string, bool) {
	switch raw[0] {
	case '{', '[', 'n':
		return "", false
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err == nil
	default:
		return string(raw), true
	}
}

// parseTraceID reads a trace id as it stands in paths: 1 to 32 hexadecimal digits, or base64 of 16 bytes in either alphabet,
// padded or not.
func parseTraceID(text string) (span.TraceID, error) {
	id, err := span.ParseTraceID(text)
	if err == nil {
		return id, nil
	}
	if raw := strings.TrimSuffix(text, "=="); len(raw) == 22 {
		raw = strings.NewReplacer("-", "+", "_", "/").Replace(raw)
		if p, err := base64.RawStdEncoding.DecodeString(raw); err == nil && len(p) == len(id) {
			copy(id[:], p)
			if !id.IsZero() {
				return id, nil
			}
		}
	}
	return span.TraceID{}, invalid("give 1 to 32 hexadecimal digits", "cannot parse trace id %q", text)
}
