package tempoapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
)

// TestAbsurdRequests: what is a thousand times too large is refused or answered, and never our fault.
func TestAbsurdRequests(t *testing.T) {
	s := &streams{API: newAPI(t, bookinfo)}
	alternatives := make([]string, 10_000)
	tags := make(map[string]string, 10_000)
	for i := range alternatives {
		alternatives[i] = fmt.Sprint("value", i)
		tags[fmt.Sprint("key", i)] = "x"
	}
	for name, r := range map[string]*tempopb.SearchRequest{
		"a text of 1 MB":         {Query: `{ name = "` + strings.Repeat("x", 1<<20) + `" }`},
		"1 MB of nonsense":       {Query: strings.Repeat("{", 1<<20)},
		"10,000 alternatives":    {Query: `{ name =~ "` + strings.Join(alternatives, "|") + `" }`},
		"10,000 conditions":      {Query: `{ .` + strings.Join(alternatives, " = 1 || .") + ` = 1 }`},
		"nesting":                {Query: `{ ` + strings.Repeat("(", 100_000) + "true" + strings.Repeat(")", 100_000) + ` }`},
		"negations":              {Query: `{ ` + strings.Repeat("!", 100_000) + `true }`},
		"a repeated expression":  {Query: `{ name =~ "(((a{100}){100}){100})" }`},
		"10,000 tags":            {Tags: tags},
		"limits":                 {Query: "{}", Limit: 1<<32 - 1},
		"spans":                  {Query: "{}", SpansPerSpanSet: 1<<32 - 1},
		"the end of time":        {Query: "{}", Start: 1<<32 - 2, End: 1<<32 - 1},
		"durations":              {Query: "{}", MinDurationMs: 1<<32 - 1, MaxDurationMs: 1<<32 - 1},
		"text that is not UTF-8": {Query: "{ name = \"\xff\" }"},
	} {
		err := s.Search(r, newSink[tempopb.SearchResponse](t.Context()))
		if c := status.Code(err); c != codes.OK && c != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, r := range map[string]*tempopb.QueryRangeRequest{
		"a step of 1 ns":    {Query: "{}|rate()", Start: 1, End: 1 << 61, Step: 1},
		"all time":          {Query: "{}|rate()", Start: 1, End: 1 << 61, Step: 1e9},
		"beyond all time":   {Query: "{}|rate()", Start: 1<<64 - 2, End: 1<<64 - 1, Step: 1<<64 - 1},
		"a step of ages":    {Query: "{}|rate()", Start: 1767225600e9, End: 1767225700e9, Step: 1 << 62},
		"series":            {Query: "{}|rate()", MaxSeries: 1<<32 - 1, Exemplars: 1<<32 - 1},
		"no query":          {},
		"not a metrics one": {Query: "{}"},
	} {
		err := s.MetricsQueryRange(r, newSink[tempopb.QueryRangeResponse](t.Context()))
		if c := status.Code(err); c != codes.OK && c != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{
		"/api/metrics/query_range?q={}|rate()&start=1&end=9999999999&step=1ms",
		"/api/metrics/query_range?q={}|rate()&start=1e400&end=9",
		"/api/metrics/query_range?q={}|rate()&start=0.5&end=1e30.",
		"/api/metrics/query_range?q={}|rate()&step=NaN",
		"/api/metrics/query_range?q={}|rate()&step=-5",
		"/api/metrics/query_range?q={}|rate()&since=99999999w",
		"/api/metrics/query?q={}|rate()&start=2026-01-01T00:00:00Z&end=2025-01-01T00:00:00Z",
		"/api/metrics/query?q={}",
		"/api/metrics/query",
	} {
		if w := ask(t, s.API, "GET", url); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", url, w.Code, w.Body)
		}
	}
}
