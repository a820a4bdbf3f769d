package tempoapi

import (
	"fmt"
	"testing"

	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
)

// TestGrafanaMetrics is the panels of Explore and of alerts, without streaming.
func TestGrafanaMetrics(t *testing.T) {
	s := newServer(t, bookinfo)
	series := strictly[strictRange](t, s.get("/api/metrics/query_range", params("q", "{} | rate() by (resource.service.name)", "step", "10s", "exemplars", "100")))
	if len(series.Series) != 4 || len(series.Series[0].Labels) != 1 || series.Series[0].Labels[0].Key != "resource.service.name" || len(series.Series[0].Samples) < 6 {
		t.Errorf("range: %+v", series.Series)
	}
	instant := strictly[strictInstant](t, s.get("/api/metrics/query", params("q", "{ status = error } | count_over_time()")))
	if len(instant.Series) != 1 || instant.Series[0].Value != 2 || instant.Series[0].Labels[0].Key != "__name__" {
		t.Errorf("instant: %+v", instant.Series)
	}
}

// TestGrafanaMetricsStreams is the same with streaming.
func TestGrafanaMetricsStreams(t *testing.T) {
	s := newServer(t, bookinfo)
	start, end := testWindow()
	ranged, err := s.client.MetricsQueryRange(s.context(), &tempopb.QueryRangeRequest{
		Query: "{} | count_over_time() by (name)", Start: uint64(start) * 1e9, End: uint64(end) * 1e9, Step: 10e9, Exemplars: 10,
	})
	counted := 0.0
	instants := make(map[string]bool)
	for _, m := range all(t, ranged, err) {
		for _, series := range m.Series {
			for _, p := range series.Samples {
				key := fmt.Sprint(series.Labels, p.TimestampMs)
				if instants[key] {
					t.Errorf("%s was sent twice: the first value stays", key)
				}
				instants[key] = true
				counted += p.Value
			}
			for _, e := range series.Exemplars {
				if len(e.Labels) == 0 || e.Value != e.Value {
					t.Errorf("exemplar %v", e)
				}
			}
		}
	}
	if counted != 7 {
		t.Errorf("%v spans counted, want 7", counted)
	}
	instant, err := s.client.MetricsQueryInstant(s.context(), &tempopb.QueryInstantRequest{Query: "{} | count_over_time()", Start: uint64(start) * 1e9, End: uint64(end) * 1e9})
	if list := all(t, instant, err); len(list) == 0 || len(list[len(list)-1].Series) != 1 || list[len(list)-1].Series[0].Value != 7 {
		t.Errorf("instant: %v", list)
	}
}

// TestDrilldownMetrics sends the queries of Traces Drilldown's panels.
func TestDrilldownMetrics(t *testing.T) {
	s := newServer(t, bookinfo)
	start, end := testWindow()
	for _, q := range []struct {
		text string
		want int // series; -1 for any but none
	}{
		{`{nestedSetParent<0 && true} | rate() with(sample=true)`, 1},
		{`{nestedSetParent<0 && true && status=error} | rate() by(resource.service.name) with(sample=true)`, 1},
		{`{nestedSetParent<0 && true && resource.service.name != nil} | rate() by(resource.service.name) with(sample=true)`, 2},
		{`{nestedSetParent<0 && true} | quantile_over_time(duration, 0.9) by(resource.service.name)`, 2},
		{`{nestedSetParent<0 && true} | histogram_over_time(duration) with(sample=true)`, -1},
		{fmt.Sprintf(`{nestedSetParent<0 && true} | compare({status = error}, 10, %d, %d)`, start*1e9, end*1e9), -1},
		{`{nestedSetParent<0 && true} | compare({duration >= 1s && duration <= 2s}, 10)`, -1},
	} {
		r := strictly[strictRange](t, s.get("/api/metrics/query_range", params("q", q.text, "step", "15s")))
		if len(r.Series) != q.want && (q.want >= 0 || len(r.Series) == 0) {
			t.Errorf("%s: %d series, want %d", q.text, len(r.Series), q.want)
		}
	}
}

// TestFilteredValues is what the value box shows while its query is typed.
func TestFilteredValues(t *testing.T) {
	s := newServer(t, bookinfo)
	filtered := strictly[strictValues](t, s.get("/api/v2/search/tag/name/values", params("limit", "5000", "tag", "name", "q", `{resource.service.name="checkout" && name=}`)))
	if len(filtered.TagValues) != 1 || filtered.TagValues[0].Value != "place order" {
		t.Errorf("filtered values: %+v", filtered.TagValues)
	}
}

// TestNamesOfOneService: names are filtered by the service that a filter names.
func TestNamesOfOneService(t *testing.T) {
	s := newServer(t, bookinfo)
	r := strictly[strictScopes](t, s.get("/api/v2/search/tags", params("scope", "span", "q", `{resource.service.name="checkout" && duration > 1ms}`)))
	if len(r.Scopes) != 1 || fmt.Sprint(r.Scopes[0].Tags) != "[http.status_code ok ratio]" {
		t.Errorf("%+v", r.Scopes)
	}
}
