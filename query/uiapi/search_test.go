package uiapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/store/storetest"
)

// line is one of a stream.
type line struct {
	Type  string
	Trace struct {
		TraceID string
		Matched int
	}
	Found    int
	Next     string
	Complete bool
	Read     struct{ Blocks, Of int64 }
}

// stream asks for lines and checks each against the document.
func stream(t *testing.T, d *document, s *server, request string) (lines []line) {
	t.Helper()
	w := s.get(request)
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%s: %d %s %s", request, w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	schema := d.at("paths", "/search/stream", "get", "responses", "200", "content", "application/x-ndjson", "schema").(map[string]any)
	for text := range bytes.Lines(w.Body.Bytes()) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if err := d.validate(schema, "/search/stream", decode(t, text)); err != nil {
			t.Errorf("%v: %s", err, text)
		}
		lines = append(lines, l)
	}
	return lines
}

// TestStreamIsThePage reads the same traces by pages and by streams, for filters and for TraceQL.
func TestStreamIsThePage(t *testing.T) {
	d := readDocument(t)
	s := serve(t, nil)
	var text strings.Builder
	for i := range 150 {
		fmt.Fprintf(&text, "%x 1 - front server \"GET /\" %ds 5ms n=%d\n", i+100, 3000+i, i)
	}
	if err := s.engine.Accept(t.Context(), storetest.Batch(t, text.String())); err != nil {
		t.Fatal(err)
	}
	for _, ask := range []string{filter("service=front"), "q=" + url.QueryEscape(`{ resource.service.name = "front" }`), "q=" + url.QueryEscape(`{ resource.service.name = "front" } | count() > 0`)} {
		var want []string
		next := ""
		for {
			w := s.get("/search?limit=64&" + ask + "&page=" + url.QueryEscape(next))
			var a struct {
				Items []struct{ TraceID string }
				Next  string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 {
				t.Fatalf("%s: %d %s", ask, w.Code, w.Body)
			}
			for _, i := range a.Items {
				want = append(want, i.TraceID)
			}
			if next = a.Next; next == "" {
				break
			}
		}
		if len(want) != 151 {
			t.Errorf("%s: %d traces in pages", ask, len(want))
		}
		var got []string
		parts := 0
		for next = ""; ; {
			lines := stream(t, d, s, "/search/stream?limit=140&"+ask+"&page="+url.QueryEscape(next))
			for i, l := range lines {
				switch l.Type {
				case "trace":
					got = append(got, l.Trace.TraceID)
				case "progress":
					if parts++; l.Found == 0 && next == "" || l.Read.Of == 0 {
						t.Errorf("%s: %+v", ask, l)
					}
				case "end":
					if i != len(lines)-1 || !l.Complete {
						t.Errorf("%s: line %d of %d is %+v", ask, i, len(lines), l)
					}
				}
			}
			if next = lines[len(lines)-1].Next; next == "" {
				break
			}
		}
		if parts < 2 {
			t.Errorf("%s: %d parts", ask, parts)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: the stream has %d traces, the pages %d, or in another order", ask, len(got), len(want))
		}
	}
}

func TestStreamOfNothing(t *testing.T) {
	lines := stream(t, readDocument(t), serve(t, nil), "/search/stream?"+filter("service=nobody"))
	if len(lines) != 1 || lines[0].Type != "end" || !lines[0].Complete {
		t.Errorf("%+v", lines)
	}
}

// TestFiltersAsTraceQL asks both forms of each case: the answers must be the same.
func TestFiltersAsTraceQL(t *testing.T) {
	data, err := os.ReadFile("testdata/filters.txt")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, nil)
	found, cases := 0, 0
	for text := range strings.Lines(string(data)) {
		text = strings.TrimSpace(text)
		if text == "" || text[0] == '#' {
			continue
		}
		chips, query, ok := strings.Cut(text, "  =>  ")
		if !ok {
			t.Fatalf("%q is no case", text)
		}
		cases++
		var filters []string
		if err := json.Unmarshal([]byte(chips), &filters); err != nil {
			t.Fatalf("%q: %v", chips, err)
		}
		ids := func(request string) []string {
			w := s.get(request)
			var a struct {
				Items []struct {
					TraceID string
					Matched int
				}
			}
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 {
				t.Fatalf("%s: %d %s", request, w.Code, w.Body)
			}
			var out []string
			for _, i := range a.Items {
				out = append(out, fmt.Sprintf("%s/%d", i.TraceID, i.Matched))
			}
			return out
		}
		want, got := ids("/search?"+filter(filters...)), ids("/search?q="+url.QueryEscape(query))
		if strings.Join(want, " ") != strings.Join(got, " ") {
			t.Errorf("%s: chips find %v, %s finds %v", chips, want, query, got)
		}
		found += len(want)
	}
	if cases < 10 || found < cases {
		t.Errorf("%d cases found %d traces: they show little", cases, found)
	}
}

func TestSavedSearches(t *testing.T) {
	s := serve(t, nil)
	json := "Content-Type: application/json"
	for _, c := range []struct {
		method, body string
		headers      []string
		status       int
		want         string
	}{
		{"GET", "", nil, 200, `{"items":[],"version":0}`},
		{"POST", `{"items":[{"name":"slow","query":"q=duration>1s"}],"ifVersion":0}`, []string{json}, 200, `{"version":1}`},
		{"GET", "", nil, 200, `{"items":[{"name":"slow","query":"q=duration>1s"}],"version":1}`},
		{"POST", `{"items":[],"ifVersion":0}`, []string{json}, 400, `"field":"ifVersion"`},
		{"POST", `{"items":[]}`, []string{json}, 400, `with the version that was read`},
		{"POST", `{"items":[{"nam":"x"}],"ifVersion":1}`, []string{json}, 400, `unknown field`},
		{"POST", `{"items":[{"name":" ","query":""}],"ifVersion":1}`, []string{json}, 400, `"field":"items[0].name"`},
		{"POST", `{"items":[{"name":"a","query":""},{"name":"a","query":""}],"ifVersion":1}`, []string{json}, 400, `is given twice`},
		{"POST", `{"items":[{"name":"a","query":"` + strings.Repeat("x", 5000) + `"}],"ifVersion":1}`, []string{json}, 400, `"field":"items[0].query"`},
		{"POST", `{"items":[` + strings.Repeat(`{"name":"a","query":""},`, 200) + `{"name":"a","query":""}],"ifVersion":1}`, []string{json}, 413, `keep at most 200`},
		{"POST", `{"items":[],"ifVersion":1}`, nil, 403, `"field":"Content-Type"`},
		{"POST", `{"items":[],"ifVersion":1}`, []string{json, "Origin: http://evil.example"}, 403, `"field":"Origin"`},
	} {
		if w := s.ask(c.method, "/searches", c.body, c.headers...); w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %.60s: %d %s", c.method, c.body, w.Code, w.Body)
		}
	}
}

func TestTraceQLMistakesHaveAPlace(t *testing.T) {
	s := serve(t, nil)
	for text, want := range map[string]string{
		"{ name = `a` }":              `{"ok":true,"kind":"spans"}`,
		"{} > {}":                     `{"ok":true,"kind":"search"}`,
		"{} | rate()":                 `{"ok":true,"kind":"metrics"}`,
		"{ staus = error }":           `"hint":"did you mean status?","line":1,"column":3}}`,
		"{\n  name = \"주문\" && kin }": `"line":2,"column":18}}`,
		"{ name = ":                   `"line":1,"column":`,
	} {
		if w := s.get("/traceql?q=" + url.QueryEscape(text)); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q: %d %s", text, w.Code, w.Body)
		}
	}
}
