package tempoapi

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
)

func invalid(field, hint, format string, args ...any) error {
	return &problem.Problem{Kind: problem.Invalid, Field: field, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// parseWindow reads start and end, seconds since the epoch. Without both it is all time; both says that one alone is wrong, as
// it is where Tempo's search stands.
func parseWindow(v url.Values, both bool) (store.TimeRange, error) {
	start, err := parseSeconds(v, "start")
	if err != nil {
		return store.TimeRange{}, err
	}
	end, err := parseSeconds(v, "end")
	if err != nil {
		return store.TimeRange{}, err
	}
	return window(start, end, both)
}

// window checks a range given in seconds; 0 is absent.
func window(start, end uint32, both bool) (store.TimeRange, error) {
	switch {
	case start == 0 && end == 0:
		return store.TimeRange{}, nil
	case both && (start == 0 || end == 0):
		return store.TimeRange{}, invalid("start", "give both or neither", "start is %d and end is %d: one of them is missing", start, end)
	case end != 0 && end <= start:
		return store.TimeRange{}, invalid("end", "both are seconds since the epoch", "http parameter start must be before end: start %d, end %d", start, end)
	}
	return store.TimeRange{From: int64(start) * int64(time.Second), To: int64(end) * int64(time.Second)}, nil
}

func parseSeconds(v url.Values, name string) (uint32, error) {
	text := v.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, invalid(name, "give whole seconds since the epoch", "%.50q is no such number", text)
	}
	return uint32(n), nil
}

// parseCount reads a number of things; absent is without.
func parseCount(v url.Values, name string, without int) (int, error) {
	text := v.Get(name)
	if text == "" {
		return without, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return 0, invalid(name, "give a whole number that is not negative", "%.50q is no such number", text)
	}
	return int(n), nil
}

// parseDuration reads a duration with its unit; absent is 0.
func parseDuration(v url.Values, name string) (time.Duration, error) {
	text := v.Get(name)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, invalid(name, "durations have a unit: 500us, 20ms, 1.2s", "%.50q is not a duration", text)
	}
	return d, nil
}
