// Package config is the settings of `spanloom serve`: one table from which flags, SPANLOOM_… variables, the YAML file and
// the reference page (docs/configuration.md) come. A setting has the same name everywhere: --http-addr, SPANLOOM_HTTP_ADDR
// and `http-addr:` in the file. Flag > environment > file > default.
package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config is every setting of serve, read and checked. Addresses are host:port, or Off.
type Config struct {
	ListenHost    string
	HTTPAddr      string
	JaegerGRPC    string
	TempoAddr     string
	TempoGRPC     string
	ZipkinAddr    string
	OTLPGRPCAddr  string
	OTLPHTTPAddr  string
	AdminAddr     string
	DebugAddr     string
	DataDir       string
	Store         string
	ClickHouseDSN string
	OpenSearchURL string
	Bucket        string
	ReadOnly      bool
	Retention     time.Duration
	MaxDisk       Size
	MaxMemory     Size
	WALSync       string
	Strict        bool
	ForwardTo     []string
	ForwardDisk   Size
	AuthTokenFile string
	AuthExempt    []string
	TLS           TLS
	ListenerTLS   map[string]TLS // by listener name
	BasePath      string
	ExternalURL   string
	FrameAncestor string
	TrustedProxy  []string
	CORSOrigins   []string
	MaxBody       Size

	SamplingPercent float64
	MeshPercent     float64 // of mesh-sampling-percent
	ResourceRules   []string
	Redact          bool
	RedactQuery     bool
	RedactKeys      []string
	RedactKeep      []string
	RedactPatterns  []string
	MaxValueBytes   Size
	MaxSpanAttrs    int
	MaxTraceSpans   int

	Kubeconfig     string // file; Off: no cluster; empty: the pod's service account, if there is one
	IstioNamespace string

	LogLevel  string
	LogFormat string

	File  string              // the file read, empty if none
	Given map[string][]string // what the command line said, to load again on SIGHUP
}

// TLS is the certificate of a listener; all empty means plaintext.
type TLS struct{ Cert, Key, ClientCA string }

// Off closes a listener.
const Off = "off"

// Size is a number of bytes, or a share of something the program finds out (the volume, the cgroup limit).
type Size struct {
	Bytes   int64
	Percent float64 // used when Bytes is 0
}

// Of is the size in bytes given what a percentage refers to.
func (s Size) Of(whole int64) int64 {
	if s.Bytes > 0 || s.Percent == 0 {
		return s.Bytes
	}
	return int64(float64(whole) * s.Percent / 100)
}

// Listeners are the names of the listeners in logs, TLS settings and Status.
var Listeners = []string{"http", "jaeger-grpc", "tempo", "tempo-grpc", "zipkin", "otlp-grpc", "otlp-http", "admin"}

// Setting is one row of the table.
type Setting struct {
	Name    string
	Default string // as one would write it; several values joined by commas
	Value   string // what a value looks like, for the reference page
	Help    string
	Reload  bool // taken over on SIGHUP
	set     func(*Config, string) error
	list    bool // may be given several times; set is called once a value
	reset   func(*Config)
	isBool  bool
}

// IsBool reports whether the flag may stand without a value.
func (s Setting) IsBool() bool { return s.isBool }

// IsList reports whether the setting takes several values.
func (s Setting) IsList() bool { return s.list }

// Env is the setting's variable.
func (s Setting) Env() string {
	return "SPANLOOM_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Settings is the table, in the order of the reference page.
func Settings() []Setting {
	text := func(field func(*Config) *string) func(*Config, string) error {
		return func(c *Config, v string) error { *field(c) = v; return nil }
	}
	addr := func(field func(*Config) *string) func(*Config, string) error {
		return func(c *Config, v string) error {
			if err := checkAddr(v); err != nil {
				return err
			}
			*field(c) = v
			return nil
		}
	}
	size := func(field func(*Config) *Size) func(*Config, string) error {
		return func(c *Config, v string) (err error) { *field(c), err = ParseSize(v); return err }
	}
	number := func(field func(*Config) *int) func(*Config, string) error {
		return func(c *Config, v string) error {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 {
				return fmt.Errorf("%q is not a number of 0 or more", v)
			}
			*field(c) = n
			return nil
		}
	}
	oneOf := func(field func(*Config) *string, words ...string) func(*Config, string) error {
		return func(c *Config, v string) error {
			for _, w := range words {
				if v == w {
					*field(c) = v
					return nil
				}
			}
			return fmt.Errorf("%q is none of %s", v, strings.Join(words, ", "))
		}
	}
	yes := func(name, def, help string, field func(*Config) *bool) Setting {
		return Setting{Name: name, Default: def, Value: "true or false", Help: help, isBool: true, set: func(c *Config, v string) error {
			b, err := strconv.ParseBool(v)
			if err != nil {
				return fmt.Errorf("%q is neither true nor false", v)
			}
			*field(c) = b
			return nil
		}}
	}
	list := func(name, def, value, help string, field func(*Config) *[]string) Setting {
		return Setting{Name: name, Default: def, Value: value, Help: help, list: true,
			set:   func(c *Config, v string) error { *field(c) = append(*field(c), v); return nil },
			reset: func(c *Config) { *field(c) = nil }}
	}
	reload := func(s Setting) Setting { s.Reload = true; return s }

	rows := []Setting{
		{Name: "listen-host", Default: "127.0.0.1", Value: "host", Help: "host of every listener whose address names none; 0.0.0.0 lets other machines in", set: text(func(c *Config) *string { return &c.ListenHost })},
		{Name: "http-addr", Default: ":16686", Value: "host:port or off", Help: "UI, own API, Jaeger HTTP API and mirrors of Zipkin's and Tempo's under /zipkin and /tempo", set: addr(func(c *Config) *string { return &c.HTTPAddr })},
		{Name: "jaeger-grpc-addr", Default: ":16685", Value: "host:port or off", Help: "Jaeger gRPC query API, api_v2 and api_v3", set: addr(func(c *Config) *string { return &c.JaegerGRPC })},
		{Name: "tempo-addr", Default: ":3200", Value: "host:port or off", Help: "Tempo query API over HTTP and, on the same port, gRPC", set: addr(func(c *Config) *string { return &c.TempoAddr })},
		{Name: "tempo-grpc-addr", Default: ":9095", Value: "host:port or off", Help: "Tempo query API over gRPC (StreamingQuerier), where Kiali looks for it", set: addr(func(c *Config) *string { return &c.TempoGRPC })},
		{Name: "zipkin-addr", Default: ":9411", Value: "host:port or off", Help: "Zipkin receiver and query API", set: addr(func(c *Config) *string { return &c.ZipkinAddr })},
		{Name: "otlp-grpc-addr", Default: ":4317", Value: "host:port or off", Help: "OTLP gRPC receiver", set: addr(func(c *Config) *string { return &c.OTLPGRPCAddr })},
		{Name: "otlp-http-addr", Default: ":4318", Value: "host:port or off", Help: "OTLP HTTP receiver", set: addr(func(c *Config) *string { return &c.OTLPHTTPAddr })},
		{Name: "admin-addr", Default: ":8888", Value: "host:port or off", Help: "/metrics, /healthz, /readyz", set: addr(func(c *Config) *string { return &c.AdminAddr })},
		{Name: "debug-addr", Default: "off", Value: "host:port or off", Help: "pprof", set: addr(func(c *Config) *string { return &c.DebugAddr })},
		{Name: "data-dir", Default: "./spanloom-data", Value: "folder", Help: "folder of the embedded engine; locked by one process", set: text(func(c *Config) *string { return &c.DataDir })},
		{Name: "store", Default: "local", Value: "local, memory, clickhouse or opensearch", Help: "engine: local keeps a durable log, memory forgets on restart, clickhouse (by way of a queue under data-dir) and opensearch (also elasticsearch: it is both) write to servers you run (docs/users/clickhouse.md, docs/users/opensearch.md)", set: oneOf(func(c *Config) *string { return &c.Store }, "local", "memory", "clickhouse", "opensearch", "elasticsearch")},
		{Name: "clickhouse-dsn", Value: "clickhouse://user@host:9000,host2:9000/database", Help: "servers of --store clickhouse; options: cluster, secure, skip_verify, ca_file, cert_file, key_file, server_name, password_file, schema=otel (the tables of the OpenTelemetry exporter; docs/users/clickhouse.md). A password may also stand in SPANLOOM_CLICKHOUSE_PASSWORD", set: text(func(c *Config) *string { return &c.ClickHouseDSN })},
		{Name: "opensearch-url", Value: "https://user@host:9200", Help: "servers of --store opensearch, several as host:9200,host2:9200; options: index_prefix, jaeger, password_file, ca_file, cert_file, key_file, server_name, skip_verify. jaeger=PREFIX (empty for none) reads the spans that Jaeger stored on them, too. A password may also stand in SPANLOOM_OPENSEARCH_PASSWORD", set: text(func(c *Config) *string { return &c.OpenSearchURL })},
		{Name: "bucket", Value: "s3://NAME/PREFIX?endpoint=https://HOST or file:///FOLDER", Help: "object storage of --store local: closed files of spans are copied there, and max-disk moves the oldest there instead of dropping them (docs/users/object-storage.md); options of s3: endpoint, region, ca_file, path_style. Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws or the role of the pod", set: text(func(c *Config) *string { return &c.Bucket })},
		yes("read-only", "false", "answer from bucket without receiving spans; data-dir holds a cache of at most max-disk", func(c *Config) *bool { return &c.ReadOnly }),
		{Name: "retention", Default: "15d", Value: "duration such as 12h or 15d", Help: "how long spans are kept at most", set: func(c *Config, v string) (err error) { c.Retention, err = ParseDuration(v); return err }},
		{Name: "max-disk", Default: "80%", Value: "size such as 20GiB, or a share of the volume", Help: "the oldest spans go before the data folder grows beyond", set: size(func(c *Config) *Size { return &c.MaxDisk })},
		{Name: "max-memory", Default: "80%", Value: "size such as 400MiB, or a share of the cgroup limit", Help: "memory the process plans with; half of it holds spans", set: size(func(c *Config) *Size { return &c.MaxMemory })},
		{Name: "wal-sync", Default: "1s", Value: "a duration, or always", Help: "always answers a sender only after fsync; else the log is synced so often (a killed process loses nothing either way)", set: func(c *Config, v string) error {
			if v != "always" {
				d, err := ParseDuration(v)
				if err != nil {
					return fmt.Errorf("%q is neither always nor a duration", v)
				}
				if d < 10*time.Millisecond {
					return fmt.Errorf("%q is below 10ms: use always", v)
				}
			}
			c.WALSync = v
			return nil
		}},
		yes("strict-ingest", "false", "refuse what the original receivers refuse (wrong paths, wrong protocol on a port)", func(c *Config) *bool { return &c.Strict }),
		list("forward-to", "", "grpc://host:4317, grpcs://, http:// or https://host:4318/v1/traces", "backend that gets a copy of every accepted span by OTLP (docs/users/forward.md); options: name, compression, header.NAME, header_file.NAME, header_env.NAME, ca_file, cert_file, key_file, server_name, skip_verify; repeatable", func(c *Config) *[]string { return &c.ForwardTo }),
		{Name: "forward-max-disk", Default: "1GiB", Value: "size, or a share of the volume", Help: "copies wait under data-dir while a backend is away; the oldest go, and are counted, before they take more", set: size(func(c *Config) *Size { return &c.ForwardDisk })},
		reload(Setting{Name: "auth-token-file", Default: "", Value: "file", Help: "bearer tokens, a line each: 'role token' with role ingest, read or admin", set: text(func(c *Config) *string { return &c.AuthTokenFile })}),
		list("auth-exempt", "", "listener", "listener that needs no token although auth-token-file is set (zipkin, otlp-grpc, otlp-http); repeatable", func(c *Config) *[]string { return &c.AuthExempt }),
		reload(Setting{Name: "tls-cert", Default: "", Value: "PEM file", Help: "certificate of every listener without its own", set: text(func(c *Config) *string { return &c.TLS.Cert })}),
		reload(Setting{Name: "tls-key", Default: "", Value: "PEM file", Help: "key of tls-cert", set: text(func(c *Config) *string { return &c.TLS.Key })}),
		reload(Setting{Name: "tls-client-ca", Default: "", Value: "PEM file", Help: "clients must show a certificate of this authority", set: text(func(c *Config) *string { return &c.TLS.ClientCA })}),
		{Name: "base-path", Default: "/", Value: "path", Help: "path under which a proxy serves the UI and the query APIs", set: func(c *Config, v string) error {
			if !strings.HasPrefix(v, "/") || strings.ContainsAny(v, "?#\"'<> ") {
				return fmt.Errorf("%q is not a path that begins with /", v)
			}
			c.BasePath = strings.TrimSuffix(v, "/") + "/"
			return nil
		}},
		{Name: "external-url", Default: "", Value: "URL", Help: "where users reach the UI through a proxy: its host and origin are let in", set: text(func(c *Config) *string { return &c.ExternalURL })},
		{Name: "frame-ancestors", Default: "'self'", Value: "CSP sources", Help: "who may embed the UI (Kiali, Grafana)", set: text(func(c *Config) *string { return &c.FrameAncestor })},
		list("trusted-proxy", "", "CIDR", "proxy whose X-Forwarded-For names the sender; repeatable", func(c *Config) *[]string { return &c.TrustedProxy }),
		list("cors-origin", "", "origin, * as wildcard", "origin of browsers that may send OTLP; repeatable", func(c *Config) *[]string { return &c.CORSOrigins }),
		{Name: "max-body", Default: "64MiB", Value: "size", Help: "largest request of a receiver, before and after decompression", set: size(func(c *Config) *Size { return &c.MaxBody })},
		reload(Setting{Name: "sampling-percent", Default: "100", Value: "0 to 100", Help: "traces kept, decided by trace id (a percentage: 1 keeps 1 in 100)", set: func(c *Config, v string) error {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || !(f >= 0 && f <= 100) {
				return fmt.Errorf("%q is not a percentage between 0 and 100", v)
			}
			c.SamplingPercent = f
			return nil
		}}),
		reload(Setting{Name: "mesh-sampling-percent", Default: "100", Value: "above 0, up to 100", Help: "requests that sidecars trace (Istio's randomSamplingPercentage), where their spans do not say so: map and rates are corrected by it", set: func(c *Config, v string) error {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || !(f > 0 && f <= 100) {
				return fmt.Errorf("%q is not a percentage above 0 and up to 100", v)
			}
			c.MeshPercent = f
			return nil
		}}),
		reload(list("resource-attribute", "", "upsert:key=value, insert:key=value or delete:key", "change every span's resource; repeatable, in order", func(c *Config) *[]string { return &c.ResourceRules })),
		reload(yes("redact", "true", "take secrets out of spans before they are stored", func(c *Config) *bool { return &c.Redact })),
		reload(yes("redact-query", "true", "replace the values of URL query parameters", func(c *Config) *bool { return &c.RedactQuery })),
		reload(list("redact-key", "", "attribute key", "further attributes whose whole value goes; repeatable", func(c *Config) *[]string { return &c.RedactKeys })),
		reload(list("redact-keep", "", "attribute key", "attributes that redaction never touches; repeatable", func(c *Config) *[]string { return &c.RedactKeep })),
		reload(list("redact-pattern", "", "regular expression", "further texts that go; repeatable", func(c *Config) *[]string { return &c.RedactPatterns })),
		reload(Setting{Name: "max-value-bytes", Default: "64KiB", Value: "size", Help: "longest attribute value; longer ones are cut and marked", set: size(func(c *Config) *Size { return &c.MaxValueBytes })}),
		reload(Setting{Name: "max-span-attributes", Default: "1024", Value: "number", Help: "attributes of one span; further ones are dropped and counted", set: number(func(c *Config) *int { return &c.MaxSpanAttrs })}),
		reload(Setting{Name: "max-trace-spans", Default: "1000000", Value: "number, 0 for no limit", Help: "spans of one trace; further ones are refused", set: number(func(c *Config) *int { return &c.MaxTraceSpans })}),
		{Name: "kubeconfig", Default: "", Value: "file, or off", Help: "cluster that the doctor reads continuously (it never writes); without one the service account of the pod Spanloom runs in, if there is one. Rights: spanloom doctor roles", set: text(func(c *Config) *string { return &c.Kubeconfig })},
		{Name: "istio-namespace", Default: "", Value: "namespace", Help: "namespace of istiod; without one where its Deployment is, else istio-system", set: text(func(c *Config) *string { return &c.IstioNamespace })},
		{Name: "log-level", Default: "info", Value: "debug, info, warn or error", Help: "least level that is logged", set: oneOf(func(c *Config) *string { return &c.LogLevel }, "debug", "info", "warn", "error")},
		{Name: "log-format", Default: "text", Value: "text or json", Help: "form of log lines", set: oneOf(func(c *Config) *string { return &c.LogFormat }, "text", "json")},
	}
	for _, name := range Listeners {
		for _, part := range []struct {
			suffix, help string
			field        func(*TLS) *string
		}{
			{"cert", "certificate of this listener", func(t *TLS) *string { return &t.Cert }},
			{"key", "key of its certificate", func(t *TLS) *string { return &t.Key }},
			{"client-ca", "authority of its clients' certificates", func(t *TLS) *string { return &t.ClientCA }},
		} {
			rows = append(rows, Setting{Name: "tls-" + name + "-" + part.suffix, Value: "PEM file", Help: part.help, Reload: true,
				set: func(c *Config, v string) error {
					t := c.ListenerTLS[name]
					*part.field(&t) = v
					c.ListenerTLS[name] = t
					return nil
				}})
		}
	}
	return rows
}

// ListenerAddr is the address a listener is configured with, completed by ListenHost; "" if it is off.
func (c *Config) ListenerAddr(addr string) string {
	if addr == Off || addr == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if host == "" {
		host = c.ListenHost
	}
	return net.JoinHostPort(host, port)
}

// TLSOf is a listener's certificate: its own, else the default.
func (c *Config) TLSOf(listener string) TLS {
	if t := c.ListenerTLS[listener]; t.Cert != "" {
		return t
	}
	return c.TLS
}

func checkAddr(v string) error {
	if v == Off {
		return nil
	}
	_, port, err := net.SplitHostPort(v)
	if err != nil {
		return fmt.Errorf("%q is neither host:port, :port nor off", v)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q has no port between 0 and 65535", v)
	}
	return nil
}

// ParseDuration is time.ParseDuration with days (15d) and weeks (2w).
func ParseDuration(s string) (time.Duration, error) {
	day := map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	for unit, length := range day {
		if n, ok := strings.CutSuffix(s, unit); ok {
			if f, err := strconv.ParseFloat(n, 64); err == nil && f > 0 && f < 36500 {
				return time.Duration(f * float64(length)), nil
			}
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a positive duration such as 90s, 12h or 15d", s)
	}
	return d, nil
}

// ParseSize reads 1048576, 512MiB, 20GB or 80%.
func ParseSize(s string) (Size, error) {
	bad := fmt.Errorf("%q is not a size such as 512MiB or 20GiB, or a share such as 80%%", s)
	if n, ok := strings.CutSuffix(s, "%"); ok {
		f, err := strconv.ParseFloat(n, 64)
		if err != nil || !(f > 0 && f <= 100) {
			return Size{}, bad
		}
		return Size{Percent: f}, nil
	}
	num := strings.TrimRight(s, "kKmMgGtTiBb")
	unit := strings.ToLower(strings.TrimSpace(s[len(num):]))
	factors := map[string]float64{"": 1, "b": 1, "k": 1 << 10, "kib": 1 << 10, "ki": 1 << 10, "kb": 1e3, "m": 1 << 20, "mib": 1 << 20, "mi": 1 << 20, "mb": 1e6,
		"g": 1 << 30, "gib": 1 << 30, "gi": 1 << 30, "gb": 1e9, "t": 1 << 40, "tib": 1 << 40, "ti": 1 << 40, "tb": 1e12}
	f, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	factor, ok := factors[unit]
	if err != nil || !ok || !(f > 0) || f*factor > 1<<62 {
		return Size{}, bad
	}
	return Size{Bytes: int64(f * factor)}, nil
}
