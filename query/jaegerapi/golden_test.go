package jaegerapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/store/queue/queuetest"
	"github.com/spanloom/spanloom/store/storetest"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// clock is the time of all tests: spans in text form were received then.
func clock() time.Time { return storetest.Epoch.Add(storetest.DefaultReceived) }

// testAPI makes the API over an engine that holds spans in text form.
func testAPI(t testing.TB, spans string) http.Handler {
	t.Helper()
	o, _ := optionsOf(t, spans)
	return New(o)
}

// awayAPI is the API over a queue that holds spans in text form and whose engine is away.
func awayAPI(t testing.TB, spans string) http.Handler {
	t.Helper()
	return New(optionsOver(t, queuetest.Away(t, clock), spans))
}

func ask(t testing.TB, api http.Handler, method, url string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	return w
}

// Files in testdata are sections. The first one, spans, is in storetest's text form; every other is a request and its
// answer: the status, headers that matter, and the JSON. Where the first one is called waiting, its spans wait in a queue whose engine
// is away. START in a URL is the epoch of the spans in microseconds.
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
			got, err := answerSections(t, string(text))
			if err != nil {
				t.Fatal(err)
			}
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
func answerSections(t testing.TB, text string) (string, error) {
	name, over := "-- spans --\n", testAPI
	head, rest, ok := strings.Cut(text, name)
	if !ok {
		name, over = "-- waiting --\n", awayAPI
		if head, rest, ok = strings.Cut(text, name); !ok {
			return "", fmt.Errorf("no section spans")
		}
	}
	spans, rest, more := cutSection(rest)
	api := over(t, spans)
	var out strings.Builder
	out.WriteString(head + name + spans)
	for more {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		words := strings.Fields(strings.TrimSuffix(line, " --"))
		if len(words) < 2 {
			return "", fmt.Errorf("%q is no request", line)
		}
		_, rest, more = cutSection(rest)
		url := strings.ReplaceAll(words[1], "START", fmt.Sprint(storetest.Epoch.UnixMicro()))
		w := ask(t, api, words[0], url, strings.ReplaceAll(strings.Join(words[2:], " "), "=", ": "))
		fmt.Fprintf(&out, "-- %s --\n%d\n", strings.Join(words, " "), w.Code)
		for _, h := range []string{"Allow", "Retry-After", "Spanloom-Partial"} {
			if v := w.Header().Get(h); v != "" {
				fmt.Fprintf(&out, "%s: %s\n", h, v)
			}
		}
		body, err := folded(w.Body.Bytes())
		if err != nil {
			return "", fmt.Errorf("%s: %w: %s", line, err, w.Body)
		}
		out.WriteString(body)
	}
	return out.String(), nil
}

func cutSection(text string) (section, rest string, more bool) {
	if strings.HasPrefix(text, "-- ") {
		return "", text[len("-- "):], true
	}
	section, rest, more = strings.Cut(text, "\n-- ")
	if more {
		section += "\n"
	}
	return section, rest, more
}

// folded is JSON with line breaks, short objects and lists on one line.
func folded(body []byte) (string, error) {
	var indented bytes.Buffer
	if err := json.Indent(&indented, body, "", "  "); err != nil {
		return "", err
	}
	var fold func(p []byte) []byte
	fold = func(p []byte) []byte {
		var out []byte
		for len(p) > 0 {
			line, rest, _ := bytes.Cut(p, []byte("\n"))
			last := line[max(0, len(line)-1):]
			if len(last) == 0 || last[0] != '{' && last[0] != '[' {
				out, p = append(append(out, line...), '\n'), rest
				continue
			}
			// The part ends at the first line that is indented no deeper.
			depth := len(line) - len(bytes.TrimLeft(line, " "))
			end := 0
			for {
				l, _, _ := bytes.Cut(rest[end:], []byte("\n"))
				end += len(l) + 1
				if len(l)-len(bytes.TrimLeft(l, " ")) <= depth {
					break
				}
			}
			var one bytes.Buffer
			one.Write(line)
			for l := range bytes.SplitSeq(bytes.TrimSuffix(rest[:end], []byte("\n")), []byte("\n")) {
				if one.Bytes()[one.Len()-1] == ',' {
					one.WriteByte(' ')
				}
				one.Write(bytes.TrimLeft(l, " "))
			}
			if one.Len() < 150 {
				out, p = append(append(out, one.Bytes()...), '\n'), rest[end:]
			} else {
				out, p = append(append(out, line...), '\n'), rest
			}
		}
		return out
	}
	return string(fold(append(indented.Bytes(), '\n'))), nil
}

func readAll(t testing.TB, r io.Reader) []byte {
	t.Helper()
	p, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
