package tempoapi

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestWhatCameInGoesOut: spans that share their id with no other leave as OTLP has them, field by field, but for the times of spans
// that end before they start, derived names and services, and the ids of their trace's twins.
func TestWhatCameInGoesOut(t *testing.T) {
	const seed = 11
	r := rand.New(rand.NewPCG(seed, 1))
	compared := 0
	for round := range 100 {
		text := storetest.RandomText(r, 16, 4, 0)
		sent := &tracev1.TracesData{}
		if err := proto.Unmarshal(otlp.AppendRequest(nil, storetest.Batch(t, text)), sent); err != nil {
			t.Fatal(err)
		}
		want, times := make(map[string]string), make(map[string]int)
		for id, form := range spanForms(sent, times) {
			want[id] = form
		}
		api := newAPI(t, text)
		for id := range 6 {
			answer := ask(t, api, "GET", fmt.Sprintf("/api/v2/traces/%x", id+1), acceptProtobuf)
			got := decodeByID(t, answer.Body.Bytes()).trace
			for id, form := range spanForms(got, make(map[string]int)) {
				if times[id] != 1 || want[id] == "" {
					continue
				}
				compared++
				if form != want[id] {
					t.Fatalf("seed %d round %d span %x:\n%s\nwant\n%s", seed, round, id, form, want[id])
				}
			}
		}
	}
	if compared < 300 {
		t.Errorf("only %d spans were compared", compared)
	}
}

// spanForms is, per span id, what of a span nobody may change, as text. times counts the spans of an id.
func spanForms(d *tracev1.TracesData, times map[string]int) map[string]string {
	out := make(map[string]string)
	for _, resource := range d.ResourceSpans {
		var attrs []*commonv1.KeyValue // service.name may be derived
		for _, a := range resource.Resource.GetAttributes() {
			if a.Key != serviceKey {
				attrs = append(attrs, a)
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				key := string(s.TraceId[8:]) + string(s.SpanId) // twins are shown as one trace
				times[key]++
				s := proto.Clone(s).(*tracev1.Span)
				// Impossible starts are replaced by the time of receipt; the duration stays.
				s.EndTimeUnixNano = max(s.EndTimeUnixNano, s.StartTimeUnixNano) - s.StartTimeUnixNano
				s.TraceId, s.ParentSpanId, s.Name, s.StartTimeUnixNano = nil, nil, "", 0
				if s.Status == nil {
					s.Status = &tracev1.Status{}
				}
				scopeOf := scope.Scope
				if scopeOf == nil {
					scopeOf = &commonv1.InstrumentationScope{}
				}
				form := fmt.Sprint(s, attrs, resource.Resource.GetDroppedAttributesCount(), resource.SchemaUrl, scopeOf, scope.SchemaUrl)
				out[key] = strings.ReplaceAll(form, " ", "")
			}
		}
	}
	return out
}
