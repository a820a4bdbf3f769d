package zipkinapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/process"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/queue/queuetest"
	"github.com/spanloom/spanloom/store/storetest"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// clock is the time of all tests: an hour after storetest.Epoch.
func clock() time.Time { return storetest.Epoch.Add(storetest.DefaultReceived) }

// newAPI makes the API over an engine that holds spans in storetest's text form and others as Zipkin's receiver and the steps
// after it store them.
func newAPI(t testing.TB, texts, zipkinJSON string) http.Handler {
	t.Helper()
	engine := mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { _ = engine.Close() })
	return newAPIOver(t, engine, texts, zipkinJSON)
}

func newAPIOver(t testing.TB, engine store.Engine, texts, zipkinJSON string) http.Handler {
	t.Helper()
	if b := storetest.Batch(t, texts); b.Len() > 0 {
		if err := engine.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if strings.TrimSpace(zipkinJSON) != "" {
		steps, err := process.New(process.DefaultRules(), engine)
		if err != nil {
			t.Fatal(err)
		}
		b := &span.Batch{Protocol: span.ProtocolZipkin, Received: clock().UnixNano()}
		if _, err := new(zipkin.Decoder).Decode(b, []byte(zipkinJSON), zipkin.JSONv2); err != nil {
			t.Fatal(err)
		}
		for i, start := range b.Start {
			if b.Time[i] = int64(start); span.ImpossibleStart(start, b.Received) {
				b.Time[i] = b.Received
				b.Mark[i] |= span.MarkTimeReplaced
			}
		}
		if err := steps.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return New(Options{Query: query.New(query.Options{Reader: engine, Now: clock}), UI: "/", Version: "v1", Commit: "abc"})
}

func ask(t testing.TB, api http.Handler, method, url string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequest(method, url, nil))
	return w
}

// Files in testdata are sections. spans is in storetest's text form, as is waiting, whose spans wait in a queue before an engine that is
// away; zipkin is what is posted to the receiver; every other is a request and its answer: the status, headers that matter, and the body. US and MS in a section are the epoch of the
// spans in micro- and milliseconds.
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

// instants replaces US+n and MS+n by numbers.
func instants(text string) string {
	for word, epoch := range map[string]int64{"US+": storetest.Epoch.UnixMicro(), "MS+": storetest.Epoch.UnixMilli()} {
		for {
			before, after, ok := strings.Cut(text, word)
			if !ok {
				break
			}
			rest := strings.TrimLeft(after, "0123456789")
			var n int64
			_, _ = fmt.Sscan(after[:len(after)-len(rest)], &n)
			text = before + fmt.Sprint(epoch+n) + rest
		}
	}
	return text
}

type section struct{ head, body string }

func sections(t testing.TB, text string) (list []section) {
	for line := range strings.Lines(text) {
		if head, ok := strings.CutPrefix(line, "-- "); ok {
			list = append(list, section{head: strings.TrimSuffix(head, " --\n")})
		} else if len(list) == 0 {
			t.Fatalf("%q stands before the first section", line)
		} else {
			list[len(list)-1].body += line
		}
	}
	return list
}

// answerSections writes a case with the answers that the API gives now.
func answerSections(t testing.TB, text string) string {
	var texts, zipkinJSON string
	var out strings.Builder
	var api http.Handler
	away := false
	for _, s := range sections(t, text) {
		fmt.Fprintf(&out, "-- %s --\n", s.head)
		switch s.head {
		case "spans", "waiting":
			texts, away = s.body, s.head == "waiting"
			out.WriteString(s.body)
			continue
		case "zipkin":
			zipkinJSON = instants(s.body)
			out.WriteString(s.body)
			continue
		}
		switch {
		case api == nil && away:
			api = newAPIOver(t, queuetest.Away(t, clock), texts, zipkinJSON)
		case api == nil:
			api = newAPI(t, texts, zipkinJSON)
		}
		method, url, _ := strings.Cut(s.head, " ")
		w := ask(t, api, method, instants(url))
		fmt.Fprintln(&out, w.Code)
		for _, h := range []string{"Allow", "Cache-Control", "Location", "Retry-After", "Spanloom-Partial"} {
			if v := w.Header().Get(h); v != "" {
				fmt.Fprintf(&out, "%s: %s\n", h, v)
			}
		}
		if w.Body.Len() > 0 {
			out.WriteString(lines(t, w))
		}
	}
	return out.String()
}

// lines is a body with every span on a line of its own.
func lines(t testing.TB, w *httptest.ResponseRecorder) string {
	body := w.Body.String()
	if w.Header().Get("Content-Type") != "application/json" {
		return body + "\n"
	}
	if !json.Valid([]byte(body)) {
		t.Fatalf("no JSON: %s", body)
	}
	var b bytes.Buffer
	b.WriteString(strings.NewReplacer(`,{"traceId"`, ",\n"+`{"traceId"`, `],[{`, "],\n[{").Replace(body))
	b.WriteByte('\n')
	return b.String()
}
