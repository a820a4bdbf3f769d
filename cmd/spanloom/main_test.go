package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

func TestExitCodesAndErrors(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/echo":
			_, _ = w.Write([]byte(r.Header.Get("X-Test")))
		case strings.HasSuffix(r.URL.Path, "/traces/abc"), strings.HasSuffix(r.URL.Path, "/traces/00000000000000000000000000000abc"):
			_, _ = w.Write([]byte(`{"traceId":"0abc","duration":2500000,"spanCount":2,"errorCount":1,"services":[{"name":"web"},{"name":"api"}],"names":["get /","query"],
				"spans":{"id":["01","02"],"parent":[-1,0],"start":[0,1000],"duration":[2500000,900],"service":[0,1],"name":[0,1],"kind":[2,3],"flags":[2,1]},"warnings":[]}`))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"error":{"kind":"notFound","message":"no such trace","hint":"it may still arrive"}}`))
		}
	}))
	defer server.Close()
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("retenton: 3d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"version"}, 0, "spanloom dev"},
		{[]string{"version", "-o", "json"}, 0, `"version":"dev"`},
		{[]string{"version", "-o", "yaml"}, 0, "version: dev"},
		{[]string{"version", "-o", "xml"}, 2, "none of [text json yaml]"},
		{[]string{"nothing"}, 2, "unknown command"},
		{[]string{"serve", "--nothing"}, 2, "unknown flag"},
		{[]string{"serve", "--retention", "soon"}, 2, "--retention: retention: \"soon\" is not a positive duration"},
		{[]string{"serve", "--store", "badger"}, 2, "none of local, memory"},
		{[]string{"config", "check", bad}, 1, "bad.yaml:1: unknown setting retenton, did you mean retention?"},
		{[]string{"config", "check", "--resource-attribute", "upsert:a=b"}, 0, "fine"},
		{[]string{"config", "check", "--resource-attribute", "a=b"}, 1, "upsert:key=value"},
		{[]string{"config", "check", "--redact-pattern", "("}, 1, "redaction pattern"},
		{[]string{"get", server.URL + "/echo", "-H", "X-Test: hello"}, 0, "hello"},
		{[]string{"get", server.URL + "/missing"}, 1, "404"},
		{[]string{"get", "http://127.0.0.1:1/"}, 2, "refused"},
		{[]string{"get", server.URL, "-H", "nonsense"}, 2, "Name: value"},
		{[]string{"trace", "abc", "--server", server.URL}, 0, "web get /     +0s   2.5ms  [████████████████████████]  proxy\n└─ api query  +1µs  1µs    [█                       ]  error"},
		{[]string{"trace", "def", "--server", server.URL}, 1, "no such trace (it may still arrive)"},
		{[]string{"trace", "traceparent: 00-00000000000000000000000000000abc-00f067aa0ba902b7-01", "--server", server.URL}, 0, "trace 0abc: 2.5ms, 2 spans, 1 error, 2 services"},
		{[]string{"trace", "abc", "--server", "http://127.0.0.1:1"}, 2, "is `spanloom serve` running"},
		{[]string{"fsck", "--data-dir", "does-not-exist"}, 2, "does-not-exist"},
		{[]string{"fsck", "--data-dir", t.TempDir()}, 0, "0 damaged parts"},
		{[]string{"load", "send", "--protocol", "smoke"}, 2, "smoke"},
		{[]string{"load", "verify", "--manifest", "does-not-exist"}, 2, "does-not-exist"},
	} {
		code, stdout, stderr := command(t, c.args...)
		if code != c.code || !strings.Contains(stdout+stderr, c.says) {
			t.Errorf("spanloom %v: exit code %d\n%s%s\nwant %d, saying %q", c.args, code, stdout, stderr, c.code, c.says)
		}
	}
}

func TestEverySubcommandHasHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"serve"}, {"demo"}, {"load", "send"}, {"load", "verify"}, {"config", "check"}, {"fsck"}, {"trace"}, {"get"}, {"version"}} {
		code, stdout, _ := command(t, append(args, "--help")...)
		if code != 0 || !strings.Contains(stdout, "Usage:") {
			t.Errorf("spanloom %v --help: %d %q", args, code, stdout)
		}
	}
}
