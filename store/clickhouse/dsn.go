package clickhouse

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/remote"
)

// Target is where the servers are and who asks them.
type Target struct {
	remote.Login
	Hosts    []string // host:port of the native protocol, tried in order
	Database string
	Cluster  string // of the servers, whose shards share the rows; empty for none
	Table    string // of spans in the form of the OpenTelemetry exporter; empty: Spanloom's own tables
}

// passwordVariable is where a password may stand that no file holds.
const passwordVariable = "SPANLOOM_CLICKHOUSE_PASSWORD"

// dsnHelp is how a DSN is written.
const dsnHelp = "write clickhouse://user@host:9000,host2:9000/database?cluster=name&secure=true&ca_file=/path&password_file=/path, or ?schema=otel&table=otel_traces"

// ParseDSN reads --clickhouse-dsn:
//
//	clickhouse://user@host:9000,host2:9000/database?cluster=N&secure=true&ca_file=F&cert_file=F&key_file=F&server_name=N&skip_verify=true&password_file=F&schema=otel&table=T
//
// A port that is left out is 9000, with secure=true 9440; the database is spanloom, the user default. cluster names a cluster of the servers, whose
// shards share the rows; their hosts and ports are the cluster's. The password stands in
// password_file or in the environment; one in the DSN itself is taken with a warning, because command lines are seen by all.
// schema=otel reads and writes the tables of the OpenTelemetry Collector's exporter, named after table (otel_traces).
func ParseDSN(dsn string, getenv func(string) string) (*Target, error) {
	invalid := func(format string, args ...any) (*Target, error) {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "clickhouse-dsn", Message: fmt.Sprintf(format, args...), Hint: dsnHelp}
	}
	scheme, rest, ok := strings.Cut(dsn, "://")
	if dsn == "" {
		return invalid("it is missing")
	}
	if !ok || scheme != "clickhouse" {
		return invalid("it does not begin with clickhouse://")
	}
	hosts, after := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		hosts, after = rest[:i], rest[i:]
	}
	t := &Target{Database: "spanloom", Login: remote.Login{Setting: "clickhouse-dsn", Variable: passwordVariable, User: "default"}}
	if hosts, ok = t.TakeUser(hosts); !ok {
		return invalid("user or password are not written as in an address (%%40 for @)")
	}
	u, err := url.Parse("clickhouse://x" + after)
	if err != nil {
		return invalid("%q is no path with options", after)
	}
	if db := strings.Trim(u.Path, "/"); db != "" {
		t.Database = db
	}
	if strings.ContainsAny(t.Database, "`'\"\\/;. ") {
		return invalid("%q is no name of a database", t.Database)
	}
	if err := t.options(u.Query()); err != nil {
		return nil, err
	}
	port := "9000"
	if t.TLS != nil {
		port = "9440"
	}
	for h := range strings.SplitSeq(hosts, ",") {
		if h == "" {
			return invalid("a host is missing")
		}
		if host, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(strings.Trim(h, "[]"), port)
		} else if host == "" {
			return invalid("%q has no host", h)
		}
		t.Hosts = append(t.Hosts, h)
	}
	t.TakeVariable(getenv)
	if _, err := t.Password(); err != nil {
		return nil, err
	}
	return t, t.LoadFiles(u.Query())
}

func (t *Target) options(q url.Values) error {
	bad := func(name, hint string) error {
		return &problem.Problem{Kind: problem.Invalid, Field: "clickhouse-dsn", Message: fmt.Sprintf("option %s=%s", name, q.Get(name)), Hint: hint}
	}
	flag := func(name string) (bool, error) {
		switch q.Get(name) {
		case "", "false":
			return false, nil
		case "true":
			return true, nil
		}
		return false, bad(name, "write true or false")
	}
	for name := range q {
		switch name {
		case "cluster", "secure", "skip_verify", "ca_file", "cert_file", "key_file", "server_name", "password_file", "schema", "table":
		default:
			return bad(name, "the options are cluster, secure, skip_verify, ca_file, cert_file, key_file, server_name, password_file, schema and table")
		}
	}
	t.Cluster = q.Get("cluster")
	if q.Has("cluster") && t.Cluster == "" || strings.ContainsAny(t.Cluster, "`'\"\\;\n") {
		return bad("cluster", "name a cluster of the servers: SELECT DISTINCT cluster FROM system.clusters")
	}
	switch t.Table = q.Get("table"); q.Get("schema") {
	case "otel":
		if t.Table == "" {
			t.Table = "otel_traces"
		}
		if strings.ContainsAny(t.Table, "`'\"\\/;. ") {
			return bad("table", "it is no name of a table")
		}
		if t.Cluster != "" {
			return bad("cluster", "the tables of schema=otel are those of one server or its replicas: leave cluster out")
		}
	case "", "spanloom":
		if t.Table != "" {
			return bad("table", "only the tables of schema=otel have other names")
		}
	default:
		return bad("schema", "write otel for the tables of the OpenTelemetry Collector's exporter, or leave it out")
	}
	secure, err := flag("secure")
	if err != nil {
		return err
	}
	skip, err := flag("skip_verify")
	if err != nil {
		return err
	}
	t.PasswordFile = q.Get("password_file")
	certificates := slices.ContainsFunc([]string{"ca_file", "cert_file", "key_file", "server_name"}, func(name string) bool { return q.Get(name) != "" })
	if !secure {
		if skip || certificates {
			return bad("secure", "certificates are for secure=true")
		}
		return nil
	}
	if (q.Get("cert_file") == "") != (q.Get("key_file") == "") {
		return bad("cert_file", "cert_file and key_file belong together")
	}
	t.Secure(q, skip)
	return nil
}
