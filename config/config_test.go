package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, yaml string, flags map[string][]string, env map[string]string) (*Config, error) {
	t.Helper()
	src := Source{Flags: flags, Env: func(k string) (string, bool) { v, ok := env[k]; return v, ok }}
	if yaml != "" {
		src.File = filepath.Join(t.TempDir(), "spanloom.yaml")
		if err := os.WriteFile(src.File, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(src)
}

func TestDefaults(t *testing.T) {
	c, err := load(t, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(c.ListenerAddr(c.HTTPAddr), c.ListenerAddr(c.JaegerGRPC), c.ListenerAddr(c.TempoAddr), c.ListenerAddr(c.TempoGRPC),
		c.ListenerAddr(c.ZipkinAddr), c.ListenerAddr(c.OTLPGRPCAddr), c.ListenerAddr(c.OTLPHTTPAddr), c.ListenerAddr(c.AdminAddr),
		"debug="+c.ListenerAddr(c.DebugAddr), c.DataDir, c.Store, c.Retention, c.WALSync, c.MaxDisk.Of(1000), c.Redact, c.SamplingPercent)
	want := "127.0.0.1:16686 127.0.0.1:16685 127.0.0.1:3200 127.0.0.1:9095 127.0.0.1:9411 127.0.0.1:4317 127.0.0.1:4318 127.0.0.1:8888" +
		" debug= ./spanloom-data local 360h0m0s 1s 800 true 100\n"
	if got != want {
		t.Errorf("defaults are\n%s, want\n%s", got, want)
	}
}

func TestPrecedence(t *testing.T) {
	const file = "zipkin-addr: :1\notlp-grpc-addr: :1\nhttp-addr: :1\nresource-attribute:\n  - upsert:cluster=a\n  - delete:host\n"
	c, err := load(t, file, map[string][]string{"http-addr": {":3"}}, map[string]string{"SPANLOOM_HTTP_ADDR": ":2", "SPANLOOM_OTLP_GRPC_ADDR": ":2", "SPANLOOM_REDACT_KEY": "a, b"})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ZipkinAddr + c.OTLPGRPCAddr + c.HTTPAddr + c.AdminAddr; got != ":1:2:3:8888" {
		t.Errorf("file, environment, flag, default gave %s", got)
	}
	if got := fmt.Sprint(c.ResourceRules, c.RedactKeys); got != "[upsert:cluster=a delete:host] [a b]" {
		t.Errorf("lists are %s", got)
	}
}

func TestMistakesNameTheirPlaceAndTheFix(t *testing.T) {
	for _, c := range []struct {
		yaml  string
		flags map[string][]string
		want  string
	}{
		{"htp-addr: :1\n", nil, "spanloom.yaml:1: unknown setting htp-addr, did you mean http-addr?"},
		{"store: local\n\nretention: [1d, 2d]\n", nil, "spanloom.yaml:3: retention: a single value is expected"},
		{"store: local\nstore: memory\n", nil, "spanloom.yaml:2: store stands at line 1 already"},
		{"store: badger\n", nil, "spanloom.yaml:1: store: \"badger\" is none of local, memory"},
		{"- a\n", nil, "must be a map"},
		{"retention: soon\n", nil, "not a positive duration"},
		{"max-memory: lots\n", nil, "not a size"},
		{"tls:\n  otlp-grpc:\n    crt: a\n", nil, "unknown setting tls-otlp-grpc-crt, did you mean tls-otlp-grpc-cert?"},
		{"tls:\n  otlp-grpc:\n    cert: a\n", nil, "tls-otlp-grpc-cert and tls-otlp-grpc-key belong together"},
		{"", map[string][]string{"http-addr": {"16686"}}, "--http-addr: http-addr: \"16686\" is neither host:port, :port nor off"},
		{"", map[string][]string{"sampling-percent": {"200"}}, "not a percentage"},
		{"", map[string][]string{"trusted-proxy": {"x"}}, "neither an address nor a CIDR"},
		{"", map[string][]string{"wal-sync": {"1ms"}}, "use always"},
	} {
		_, err := load(t, c.yaml, c.flags, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %v: error %v does not say %q", c.yaml, c.flags, err, c.want)
		}
	}
}

func TestTLSBlocks(t *testing.T) {
	c, err := load(t, "tls: {cert: a, key: b, zipkin: {cert: c, key: d}}\n", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.TLSOf("otlp-grpc") != (TLS{"a", "b", ""}) || c.TLSOf("zipkin") != (TLS{"c", "d", ""}) {
		t.Errorf("tls of listeners: %+v %+v", c.TLSOf("otlp-grpc"), c.TLSOf("zipkin"))
	}
}

func TestForwardBlock(t *testing.T) {
	c, err := load(t, "forward:\n  to: [grpc://tempo:4317, https://other/v1/traces]\n  max-disk: 2GiB\n", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.ForwardTo) != 2 || c.ForwardTo[0] != "grpc://tempo:4317" || c.ForwardDisk.Bytes != 2<<30 {
		t.Errorf("%q %+v", c.ForwardTo, c.ForwardDisk)
	}
	if _, err := load(t, "forward: {too: x}\n", nil, nil); err == nil || !strings.Contains(err.Error(), "unknown setting forward-too, did you mean forward-to?") {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]time.Duration{"15d": 360 * time.Hour, "2w": 336 * time.Hour, "1.5h": 90 * time.Minute} {
		if d, err := ParseDuration(text); err != nil || d != want {
			t.Errorf("ParseDuration(%q) = %v, %v", text, d, err)
		}
	}
	for text, want := range map[string]int64{"512MiB": 512 << 20, "20GB": 20e9, "1048576": 1 << 20, "1.5Gi": 3 << 29, "80%": 80} {
		if s, err := ParseSize(text); err != nil || s.Of(100) != want {
			t.Errorf("ParseSize(%q) = %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "-1d", "d", "0s", "MiB", "-5MiB", "101%", "5XB", "1e400"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v", text, d)
		}
		if s, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %v", text, s)
		}
	}
}

var update = flag.Bool("update", false, "write docs/configuration.md")

func TestReferencePageHasEverySetting(t *testing.T) {
	if *update {
		if err := os.WriteFile("../docs/configuration.md", []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := Reference(); string(page) != want {
		t.Errorf("docs/configuration.md is not what the table gives: run `go test ./config -update`")
	}
}
