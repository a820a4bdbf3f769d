package tempoapi

import (
	"bytes"
	"encoding/json"
	"testing"
)

// What clients decode answers into: the fields of Tempo 2.8 and nothing else. Grafana's decoder refuses unknown fields, Kiali's
// wants numbers where numbers are and decimal texts where they are not.

type strictSearch struct {
	Traces  []strictTrace `json:"traces"`
	Metrics strictMetrics `json:"metrics"`
}

type strictMetrics struct {
	InspectedTraces int    `json:"inspectedTraces"`
	InspectedBytes  string `json:"inspectedBytes"`
	TotalBlocks     int    `json:"totalBlocks"`
	CompletedJobs   int    `json:"completedJobs"`
	TotalJobs       int    `json:"totalJobs"`
	TotalBlockBytes string `json:"totalBlockBytes"`
	InspectedSpans  string `json:"inspectedSpans"`
}

type strictTrace struct {
	TraceID           string      `json:"traceID"`
	RootServiceName   string      `json:"rootServiceName"`
	RootTraceName     string      `json:"rootTraceName"`
	StartTimeUnixNano string      `json:"startTimeUnixNano"`
	DurationMs        int         `json:"durationMs"`
	SpanSet           *strictSet  `json:"spanSet"`
	SpanSets          []strictSet `json:"spanSets"`
	ServiceStats      map[string]struct {
		SpanCount  int `json:"spanCount"`
		ErrorCount int `json:"errorCount"`
	} `json:"serviceStats"`
}

type strictSet struct {
	Spans      []strictSpan     `json:"spans"`
	Matched    int              `json:"matched"`
	Attributes []strictKeyValue `json:"attributes"`
}

type strictSpan struct {
	SpanID            string           `json:"spanID"`
	Name              string           `json:"name"`
	StartTimeUnixNano string           `json:"startTimeUnixNano"`
	DurationNanos     string           `json:"durationNanos"`
	Attributes        []strictKeyValue `json:"attributes"`
}

type strictKeyValue struct {
	Key   string      `json:"key"`
	Value strictValue `json:"value"`
}

type strictValue struct {
	StringValue *string  `json:"stringValue"`
	IntValue    *string  `json:"intValue"`
	DoubleValue *float64 `json:"doubleValue"`
	BoolValue   *bool    `json:"boolValue"`
	ArrayValue  *struct {
		Values []strictValue `json:"values"`
	} `json:"arrayValue"`
}

// text is a string value, empty for any other: all that Kiali reads.
func (v strictValue) text() string {
	if v.StringValue == nil {
		return ""
	}
	return *v.StringValue
}

func attribute(list []strictKeyValue, key string) (strictValue, bool) {
	for _, a := range list {
		if a.Key == key {
			return a.Value, true
		}
	}
	return strictValue{}, false
}

type strictListMetrics struct {
	InspectedBytes  string `json:"inspectedBytes"`
	TotalJobs       int    `json:"totalJobs"`
	CompletedJobs   int    `json:"completedJobs"`
	TotalBlocks     int    `json:"totalBlocks"`
	TotalBlockBytes string `json:"totalBlockBytes"`
}

type strictScopes struct {
	Scopes []struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	} `json:"scopes"`
	Metrics strictListMetrics `json:"metrics"`
}

type strictValues struct {
	TagValues []struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"tagValues"`
	Metrics strictListMetrics `json:"metrics"`
}

type strictRange struct {
	Series []struct {
		Labels  []strictKeyValue `json:"labels"`
		Samples []struct {
			TimestampMs string  `json:"timestampMs"`
			Value       float64 `json:"value"`
		} `json:"samples"`
		Exemplars []struct {
			Labels      []strictKeyValue `json:"labels"`
			Value       float64          `json:"value"`
			TimestampMs string           `json:"timestampMs"`
		} `json:"exemplars"`
	} `json:"series"`
	Metrics strictMetrics `json:"metrics"`
	Status  string        `json:"status"`
	Message string        `json:"message"`
}

type strictInstant struct {
	Series []struct {
		Labels []strictKeyValue `json:"labels"`
		Value  float64          `json:"value"`
	} `json:"series"`
	Metrics strictMetrics `json:"metrics"`
	Status  string        `json:"status"`
	Message string        `json:"message"`
}

// strictly decodes JSON, refusing fields that are not in the type.
func strictly[T any](t testing.TB, body []byte) (v T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}
