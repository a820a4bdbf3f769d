package jaegerapi

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
)

func post(t testing.TB, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	testAPI(t, "").ServeHTTP(w, httptest.NewRequest("POST", "/api/transform", strings.NewReader(body)))
	return w
}

// TestTransform shows what HTTP v3 answered as v1 would have shown it.
func TestTransform(t *testing.T) {
	api := testAPI(t, mapped)
	var v3 struct{ Result json.RawMessage }
	if err := json.Unmarshal(ask(t, api, "GET", "/api/v3/traces/1?rawTraces=true").Body.Bytes(), &v3); err != nil {
		t.Fatal(err)
	}
	w := post(t, string(v3.Result))
	got, want := decoded(t, w.Body.Bytes()), decoded(t, ask(t, api, "GET", "/api/traces/1").Body.Bytes())
	if w.Code != 200 || len(got.Data) != 1 || len(got.Data[0].Spans) != len(want.Data[0].Spans) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for i, s := range want.Data[0].Spans {
		o := got.Data[0].Spans[i]
		// OTLP does not say which spans shared an id, and has the start that was sent.
		if o.OperationName != s.OperationName || o.Duration != s.Duration || len(o.Tags) != len(s.Tags) ||
			got.Data[0].Processes[o.ProcessID].ServiceName != want.Data[0].Processes[s.ProcessID].ServiceName {
			t.Errorf("span %d is\n%+v\nwant\n%+v", i, o, s)
		}
	}
	two := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0000000000000000000000000000000a","spanId":"0000000000000001","name":"x"},
		{"traceId":"0000000000000000000000000000000b","spanId":"0000000000000001","name":"y","startTimeUnixNano":"1"}]}]}]}`
	if r := decoded(t, post(t, two).Body.Bytes()); len(r.Data) != 2 || r.Data[1].Spans[0].OperationName != "y" || r.Data[0].Processes["p1"].ServiceName != unnamedService {
		t.Errorf("%+v", r)
	}
	if r := decoded(t, post(t, "{}").Body.Bytes()); r.Data == nil || len(r.Data) != 0 {
		t.Errorf("nothing: %+v", r)
	}
}

func TestBadTransform(t *testing.T) {
	for body, code := range map[string]int{"": 400, "[]": 400, "x": 400, `{"resourceSpans":5}`: 400, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"x"}]}]}]}`: 200,
		`"` + strings.Repeat("a", maxTransformed) + `"`: 413} {
		w := post(t, body)
		if r := decoded(t, w.Body.Bytes()); w.Code != code || code != 200 && (len(r.Errors) != 1 || r.Errors[0].Code != code) {
			t.Errorf("%.50q: %d %.300s", body, w.Code, w.Body)
		}
	}
	if w := ask(t, testAPI(t, ""), "GET", "/api/transform"); w.Code != 405 {
		t.Errorf("GET: %d", w.Code)
	}
}

// FuzzTransform: whatever is posted, the answer is an envelope and its status 200 or 4xx.
func FuzzTransform(f *testing.F) {
	f.Add(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}]},"scopeSpans":[{"spans":[{"traceId":"0000000000000000000000000000000a","spanId":"0000000000000001","links":[{}],"events":[{"name":"e"}]}]}]}]}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, body string) {
		if w := post(t, body); w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}
