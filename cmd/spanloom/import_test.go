package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/storetest"
)

// full has what OTLP can hold: kinds, status, scopes, events, links, dropped counts, all types of values, the ends of their ranges.
const full = `ab000000000000000000000000000001 a - front server "GET /" 0s 12.345678ms n=-1 big=9007199254740993 t=true d=72.5 nan=NaN s=x bin=bytes:00ff list=["x","y"] nul=null resource:service.name=front resource:pod=front-1 @scope=lib @scope.version=1.2 @state=k=v @flags=257
  event second 3ms b=2 a=1
  link ab000000000000000000000000000002 c k=v
ab000000000000000000000000000001 b a cart client query 1ms 900µs resource:service.name=cart @status=error @message=boom
00000000000000000000000000000003 c - cart internal work 2ms 1ms resource:service.name=cart`

// plain is what Jaeger, Zipkin and Tempo can hold of it.
const plain = `ab000000000000000000000000000001 a - front server "get /" 0s 12.345ms s=x resource:service.name=front
ab000000000000000000000000000001 b a cart client query 1ms 900µs resource:service.name=cart @status=error
ab000000000000000000000000000003 c - cart consumer work 2ms 1ms resource:service.name=cart`

// send posts spans in text form to the OTLP receiver of a server.
func send(t *testing.T, dir, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spans.pb")
	if err := os.WriteFile(path, otlp.AppendRequest(nil, storetest.Batch(t, text)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, stderr := command(t, "import", "--data-dir", dir, "--state", "", path); code != 0 {
		t.Fatal(code, out, stderr)
	}
}

// held is everything a server has, in text form.
func held(t *testing.T, address string) string {
	t.Helper()
	code, out, stderr := command(t, "export", "--server", "http://"+address, "--out", "-", "-q")
	if code != 0 {
		t.Fatal(code, stderr)
	}
	b := new(span.Batch)
	for line := range strings.Lines(out) {
		if err := otlp.DecodeJSON(b, []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	for row, start := range b.Start {
		b.Time[row] = int64(start)
	}
	return storetest.Print(b)
}

// Export, then import into an empty server: every field of every span is the same.
func TestExportThenImport(t *testing.T) {
	from, ends := serving(t)
	send(t, from, full)
	want := held(t, ends.HTTP)
	if got := strings.Count(want, "\n"); got != 5 {
		t.Fatalf("%d lines:\n%s", got, want)
	}
	for _, name := range []string{"spans.jsonl", "spans.jsonl.gz"} {
		file := filepath.Join(t.TempDir(), name)
		if code, _, stderr := command(t, "export", "--server", "http://"+ends.HTTP, "--out", file); code != 0 || !strings.Contains(stderr, "3 spans written") {
			t.Fatal(code, stderr)
		}
		to, other := serving(t)
		code, out, stderr := command(t, "import", "--data-dir", to, "--state", "", file)
		if code != 0 || !strings.Contains(out, "sent        3 spans") || strings.Contains(out, "guessed") {
			t.Fatal(code, out, stderr)
		}
		if got := held(t, other.HTTP); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
	code, out, _ := command(t, "export", "--server", "http://"+ends.HTTP, "--query", "{ status = error }", "--out", "-", "-q")
	if code != 0 || strings.Count(out, `"spanId"`) != 1 {
		t.Error(code, out)
	}
	if code, _, stderr := command(t, "export", "--server", "http://"+ends.HTTP, "--format", "csv", "--out", "-"); code != 2 || !strings.Contains(stderr, "--format") {
		t.Error(code, stderr)
	}
}

// What each dialect answers, imported, is what was there: the dialect's form holds all of these spans.
func TestImportOfEveryDialect(t *testing.T) {
	from, ends := serving(t)
	send(t, from, plain)
	start := storetest.Epoch
	for name, path := range map[string]string{
		"jaeger":  fmt.Sprintf("/api/traces?service=cart&start=%d&end=%d", start.UnixMicro(), start.UnixMicro()+1e6),
		"api v3":  fmt.Sprintf("/api/v3/traces?query.serviceName=cart&query.startTimeMin=%s&query.startTimeMax=%s", url.QueryEscape(start.Format("2006-01-02T15:04:05Z")), url.QueryEscape(start.AddDate(0, 0, 1).Format("2006-01-02T15:04:05Z"))),
		"zipkin":  fmt.Sprintf("/zipkin/api/v2/traces?serviceName=cart&endTs=%d&lookback=86400000", start.UnixMilli()+1000),
		"tempo":   "/tempo/api/traces/ab000000000000000000000000000001",
		"tempo 2": "/tempo/api/v2/traces/ab000000000000000000000000000001",
	} {
		t.Run(name, func(t *testing.T) {
			res, err := http.Get("http://" + ends.HTTP + path)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			answer, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusOK || !json.Valid(answer) {
				t.Fatalf("%s %s %v", res.Status, answer, err)
			}
			file := filepath.Join(t.TempDir(), "answer")
			if err := os.WriteFile(file, answer, 0o600); err != nil {
				t.Fatal(err)
			}
			to, other := serving(t)
			if code, out, stderr := command(t, "import", "--data-dir", to, "--state", "", file); code != 0 {
				t.Fatal(code, out, stderr)
			}
			got, want := held(t, other.HTTP), held(t, ends.HTTP)
			if strings.HasPrefix(name, "tempo") {
				want = regexp.MustCompile(`(?m)^ab0+3 .*\n`).ReplaceAllString(want, "") // it was not asked for
			}
			if name == "zipkin" {
				got = regexp.MustCompile(` (otel.status_code|error)=\S+`).ReplaceAllString(got, "") // a tag error stays an attribute
			}
			if got != want {
				t.Errorf("of %s\ngot\n%s\nwant\n%s", answer, got, want)
			}
		})
	}
}

func TestImportUsage(t *testing.T) {
	for _, args := range [][]string{{"import"}, {"import", "--from", "elasticsearch://h", "x"}, {"import", "--format", "xml", "x"}, {"import", "--to", "h:1", "x"}, {"import", "none-of-it"}, {"import", "--since", "-1h", "x"}} {
		if code, _, stderr := command(t, args...); code != 2 || stderr == "" {
			t.Errorf("%v: %d %s", args, code, stderr)
		}
	}
}

// Every command of the page is run as it stands, except that a real server stands in for all the systems it names.
func TestImportPage(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"import.md", "import.ko.md"} {
		t.Run(page, func(t *testing.T) {
			dir, ends := serving(t)
			data, err := os.ReadFile(filepath.Join(dir, "endpoints.json"))
			var all struct{ HTTP, Tempo, Zipkin string }
			if err != nil || json.Unmarshal(data, &all) != nil {
				t.Fatal(err)
			}
			now := time.Now().Add(-time.Minute).UnixMicro()
			report(t, ends.Zipkin, fmt.Sprintf(`[{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"a","name":"get","timestamp":%d,"duration":5,"localEndpoint":{"serviceName":"front"},"tags":{"error":"true"}}]`, now))
			folder := t.TempDir()
			for name, text := range map[string]string{"spanloom": "#!/bin/sh\nSPANLOOM_TEST_AS_COMMAND=1 exec '" + self + "' \"$@\"\n",
				"traces.json": `{"data":[{"traceID":"1","spans":[{"traceID":"0000000000000001","spanID":"0000000000000001","operationName":"x","startTime":1767225600000000,"processID":"p1"}],"processes":{"p1":{"serviceName":"a"}}}]}`} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(os.Symlink(dir, filepath.Join(folder, "spanloom-data")), os.Mkdir(filepath.Join(folder, "backup"), 0o700),
				os.Link(filepath.Join(folder, "traces.json"), filepath.Join(folder, "backup", "t"))); err != nil {
				t.Fatal(err)
			}
			for _, line := range blocks(t, page) {
				line = strings.NewReplacer("127.0.0.1:16686", all.HTTP, "127.0.0.1:9411", all.Zipkin, "127.0.0.1:3200", all.Tempo).Replace(line)
				cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
				cmd.Dir, cmd.Env = folder, append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"))
				out, err := cmd.CombinedOutput()
				if err != nil || strings.Contains(string(out), "\nsent        0 spans") {
					t.Errorf("%s: %v\n%s", line, err, out)
				}
			}
		})
	}
}
