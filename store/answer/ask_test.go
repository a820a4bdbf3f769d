package answer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

func TestFamily(t *testing.T) {
	short, long, other := span.TraceIDFromUint64s(0, 7), span.TraceIDFromUint64s(1, 7), span.TraceIDFromUint64s(2, 7)
	at := func(id span.TraceID, minutes int) answer.Sighting {
		return answer.Sighting{ID: id, Start: int64(minutes) * int64(time.Minute)}
	}
	for name, c := range map[string]struct {
		found []answer.Sighting
		id    span.TraceID
		want  string
	}{
		"itself alone":                    {[]answer.Sighting{at(long, 0)}, long, "[0]"},
		"nobody":                          {nil, long, "[]"},
		"itself first, then its twin":     {[]answer.Sighting{at(short, 60), at(long, 0)}, long, "[1 0]"},
		"a twin too far away":             {[]answer.Sighting{at(short, 61), at(long, 0)}, long, "[1]"},
		"two long ids are no twins":       {[]answer.Sighting{at(other, 0), at(long, 0)}, long, "[1]"},
		"both twins of a short id":        {[]answer.Sighting{at(short, 0), at(long, 5), at(other, -5)}, short, "[0 1 2]"},
		"the newest twin, and those near": {[]answer.Sighting{at(long, 100), at(other, 10)}, short, "[0]"},
	} {
		if got := fmt.Sprint(answer.Family(c.found, c.id)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestAskRefusesPages(t *testing.T) {
	for _, limit := range []int{-1, 0, answer.MaxLimit + 1} {
		if _, err := answer.Ask(store.Scope{}, &store.Search{Limit: limit}); problem.Of(err).Field != "limit" {
			t.Errorf("a page of %d: %v", limit, err)
		}
	}
}
