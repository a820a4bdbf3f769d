package tempoapi

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/queue/queuetest"
	"github.com/spanloom/spanloom/store/storetest"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// ownCosts are the engine's business.
var ownCosts = regexp.MustCompile(`"inspectedBytes":"[0-9]+"`)

func clock() time.Time { return storetest.Epoch.Add(storetest.DefaultReceived) }

// newAPI is an API over spans in storetest's text form.
func newAPI(t testing.TB, spans string) *API {
	t.Helper()
	engine := mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { _ = engine.Close() })
	return newAPIOver(t, engine, spans)
}

func newAPIOver(t testing.TB, engine store.Engine, spans string) *API {
	t.Helper()
	if b := storetest.Batch(t, spans); b.Len() > 0 {
		if err := engine.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return New(Options{Query: query.New(query.Options{Reader: engine, Now: clock}), TraceQL: traceql.New(engine, traceql.Options{Now: clock}), Build: Build{Version: "1.2.3", Commit: "abc", Date: "2026-01-01"}})
}

func ask(t testing.TB, api http.Handler, method, url string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	for _, h := range headers {
		k, v, _ := strings.Cut(h, "=")
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	return w
}

// Files in testdata are sections. The first one, spans, is in storetest's text form; called waiting, its spans wait in a queue whose
// engine is away. Every other is a request and its answer: the status, the content type, headers that matter and the body, broken
// between objects. START in a URL is the epoch of the spans in
// seconds, so that START+5 is five seconds later.
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := answerSections(t, string(text))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("got\n%s\nwant\n%s", got, text)
			}
		})
	}
}

// answerSections writes a case with the answers that the API gives now.
func answerSections(t testing.TB, text string) string {
	name, over := "-- spans --\n", newAPI
	head, rest, ok := strings.Cut(text, name)
	if !ok {
		name, over = "-- waiting --\n", func(t testing.TB, spans string) *API { return newAPIOver(t, queuetest.Away(t, clock), spans) }
		if head, rest, ok = strings.Cut(text, name); !ok {
			t.Fatal("no section spans")
		}
	}
	sections := strings.Split(rest, "\n-- ")
	spans := sections[0]
	api := over(t, spans)
	var out strings.Builder
	out.WriteString(head + name + strings.TrimSuffix(spans, "\n") + "\n")
	for _, section := range sections[1:] {
		line, _, _ := strings.Cut(section, "\n")
		words := strings.Fields(strings.TrimSuffix(line, " --"))
		if len(words) < 2 {
			t.Fatalf("%q is no request", line)
		}
		w := ask(t, api, words[0], withTimes(words[1]), words[2:]...)
		fmt.Fprintf(&out, "-- %s --\n%d %s\n", strings.Join(words, " "), w.Code, w.Header().Get("Content-Type"))
		for _, h := range []string{"Retry-After", query.HeaderPartial} {
			if v := w.Header().Get(h); v != "" {
				fmt.Fprintf(&out, "%s: %s\n", h, v)
			}
		}
		body := strings.ReplaceAll(strings.TrimSuffix(w.Body.String(), "\n"), "},{", "},\n  {")
		body = ownCosts.ReplaceAllString(body, `"inspectedBytes":"N"`)
		if body != "" {
			out.WriteString(body + "\n")
		}
	}
	return out.String()
}

// withTimes replaces START+N by seconds since the epoch.
func withTimes(url string) string {
	for {
		before, after, ok := strings.Cut(url, "START")
		if !ok {
			return url
		}
		seconds, rest := 0, after
		if after, ok := strings.CutPrefix(after, "+"); ok {
			n := 0
			for n < len(after) && after[n] >= '0' && after[n] <= '9' {
				seconds = seconds*10 + int(after[n]-'0')
				n++
			}
			rest = after[n:]
		}
		url = before + fmt.Sprint(storetest.Epoch.Unix()+int64(seconds)) + rest
	}
}
