package clickhouse

import (
	"errors"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/problem"
)

func TestParseDSN(t *testing.T) {
	getenv := func(name string) string {
		if name == passwordVariable {
			return "from the environment"
		}
		return ""
	}
	for _, c := range []struct{ dsn, want string }{
		{"clickhouse://host", "default@host:9000 spanloom"},
		{"clickhouse://host/", "default@host:9000 spanloom"},
		{"clickhouse://me@one:9001,two/traces", "me@one:9001,two:9000 traces"},
		{"clickhouse://me%40corp@[::1]:9000,[::2]", "me@corp@[::1]:9000,[::2]:9000 spanloom"},
		{"clickhouse://host?secure=true", "default@host:9440 spanloom TLS"},
		{"clickhouse://host?secure=true&skip_verify=true", "default@host:9440 spanloom TLS warns"},
		{"clickhouse://host/db?schema=otel", "default@host:9000 db otel_traces"},
		{"clickhouse://host/db?schema=otel&table=spans", "default@host:9000 db spans"},
		{"clickhouse://me:secret@host", "me@host:9000 spanloom warns"},
		{"clickhouse://host/traces?cluster=two", "default@host:9000 traces cluster two"},
	} {
		to, err := ParseDSN(c.dsn, getenv)
		if err != nil {
			t.Errorf("%s: %v", c.dsn, err)
			continue
		}
		got := to.User + "@" + strings.Join(to.Hosts, ",") + " " + to.Database
		if to.Table != "" {
			got += " " + to.Table
		}
		if to.TLS != nil {
			got += " TLS"
		}
		if to.Cluster != "" {
			got += " cluster " + to.Cluster
		}
		if len(to.Warnings) > 0 {
			got += " warns"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.dsn, got, c.want)
		}
		password, err := to.Password()
		if want := map[bool]string{true: "secret", false: "from the environment"}[strings.Contains(c.dsn, "secret")]; err != nil || password != want {
			t.Errorf("%s: password %q %v, want %q", c.dsn, password, err, want)
		}
	}
	for _, c := range []struct{ dsn, want string }{
		{"", "it is missing"},
		{"http://host:8123", "does not begin with clickhouse://"},
		{"clickhouse://", "a host is missing"},
		{"clickhouse://one,,two", "a host is missing"},
		{"clickhouse://:9000", "has no host"},
		{"clickhouse://@host", "user or password"},
		{"clickhouse://a%zz@host", "user or password"},
		{"clickhouse://host/a`b", "no name of a database"},
		{"clickhouse://host/a/b", "no name of a database"},
		{"clickhouse://host?compress=lz4", "the options are cluster, secure"},
		{"clickhouse://host?cluster=", "name a cluster"},
		{"clickhouse://host?cluster=a'b", "option cluster=a'b"},
		{"clickhouse://host?cluster=a&schema=otel", "option cluster=a"},
		{"clickhouse://host?schema=zipkin", "option schema=zipkin"},
		{"clickhouse://host?table=otel_traces", "option table=otel_traces"},
		{"clickhouse://host?schema=otel&table=a.b", "option table=a.b"},
		{"clickhouse://host?secure=yes", "write true or false"},
		{"clickhouse://host?ca_file=/x", "certificates are for secure=true"},
		{"clickhouse://host?secure=true&cert_file=/x", "belong together"},
		{"clickhouse://host?secure=true&ca_file=/nonexistent/ca.pem", "ca_file"},
		{"clickhouse://host?password_file=/nonexistent/password", "password_file"},
	} {
		_, err := ParseDSN(c.dsn, getenv)
		var p *problem.Problem
		if !errors.As(err, &p) || p.Field != "clickhouse-dsn" || p.Hint == "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.dsn, err, c.want)
		}
	}
}
