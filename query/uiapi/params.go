package uiapi

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/nearest"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/store"
)

// checkParams refuses parameters that the endpoint does not know, and those given twice that stand once.
func checkParams(got url.Values, e endpoint) error {
	for _, name := range slices.Sorted(mapKeys(got)) {
		if !slices.Contains(e.params, name) {
			hint := "this path takes no parameters"
			if n := nearest.Word(name, e.params); n != "" {
				hint = "did you mean " + n + "?"
			} else if len(e.params) > 0 {
				hint = "its parameters are " + strings.Join(e.params, ", ")
			}
			return &problem.Problem{Kind: problem.Invalid, Field: name, Message: fmt.Sprintf("unknown parameter %.100q", name), Hint: hint}
		}
		if len(got[name]) > 1 && name != "filter" && name != "select" && name != "tags" {
			return &problem.Problem{Kind: problem.Invalid, Field: name, Message: fmt.Sprintf("%s is given %d times", name, len(got[name])), Hint: "give it once"}
		}
	}
	return nil
}

func mapKeys(v url.Values) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range v {
			if !yield(k) {
				return
			}
		}
	}
}

func badParam(name, value, want string) error {
	return &problem.Problem{Kind: problem.Invalid, Field: name, Message: fmt.Sprintf("%.100q is no %s", value, name), Hint: want}
}

// required is a parameter that must not be empty.
func (c *call) required(name string) (string, error) {
	v := c.params.Get(name)
	if v == "" {
		return "", &problem.Problem{Kind: problem.Invalid, Field: name, Message: name + " is missing", Hint: "add " + name + "=…"}
	}
	return v, nil
}

// number reads an integer inside of bounds.
func (c *call) number(name string, absent, least, most int) (int, error) {
	v := c.params.Get(name)
	if v == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return 0, badParam(name, v, fmt.Sprintf("it is a whole number from %d to %d", least, most))
	}
	return n, nil
}

func (c *call) boolean(name string) (bool, error) {
	switch v := c.params.Get(name); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, badParam(name, v, "it is true or false")
	}
}

// language is lang: that in which the doctor's sentences are wanted; empty is English.
func (c *call) language() (string, error) {
	language := c.params.Get("lang")
	if language != "" && language != "en" && language != "ko" {
		return "", badParam("lang", language, "it is en or ko")
	}
	return language, nil
}

// window reads start and end; the last hour without them.
func (c *call) window() (store.TimeRange, error) {
	from, err := c.instant("start", c.now.Add(-time.Hour))
	if err != nil {
		return store.TimeRange{}, err
	}
	to, err := c.instant("end", c.now)
	if err != nil {
		return store.TimeRange{}, err
	}
	if from >= to {
		return store.TimeRange{}, &problem.Problem{Kind: problem.Invalid, Field: "start", Message: "start does not lie before end", Hint: "the window is [start, end)"}
	}
	return store.TimeRange{From: from, To: to}, nil
}

// firstYear is the earliest instant taken for nanoseconds: 1975. Numbers below it are seconds, milliseconds or microseconds.
const firstYear = 157_766_400_000_000_000

// instant reads nanoseconds since the epoch, or a span of time before now.
func (c *call) instant(name string, absent time.Time) (int64, error) {
	v := c.params.Get(name)
	if v == "" {
		return absent.UnixNano(), nil
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		if n != 0 && n < firstYear {
			return 0, badParam(name, v, "instants are nanoseconds since 1970: 19 digits")
		}
		return n, nil
	}
	d, err := query.ParseDuration(v)
	if err != nil {
		return 0, badParam(name, v, "it is an instant in nanoseconds since 1970, or a span of time before now such as 15m, 1h, 7d")
	}
	return c.now.Add(-d).UnixNano(), nil
}

// attributeScope reads the word of a scope.
func (c *call) attributeScope() (store.FieldScope, error) {
	v := c.params.Get("scope")
	if v == "" {
		return store.InAny, nil
	}
	var words []string
	for s := store.InAny; s <= store.InLink; s++ {
		if s.String() == v {
			return s, nil
		}
		words = append(words, s.String())
	}
	hint := "it is one of " + strings.Join(words, ", ")
	if n := nearest.Word(v, words); n != "" {
		hint = "did you mean " + n + "?"
	}
	return 0, badParam("scope", v, hint)
}

// inField names another parameter as the one at fault.
func inField(err error, name string) error {
	p := *problem.Of(err)
	p.Field = name
	return &p
}
