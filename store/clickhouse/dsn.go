package clickhouse

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
)

// Target is where the servers are and who asks them.
type Target struct {
	Hosts        []string // host:port of the native protocol, tried in order
	Database     string
	User         string
	PasswordFile string // read at every connection, so that a changed password needs no restart
	password     string
	TLS          *tls.Config // nil for plain connections
	Warnings     []string    // what a start log should say
}

// passwordVariable is where a password may stand that no file holds.
const passwordVariable = "SPANLOOM_CLICKHOUSE_PASSWORD"

// dsnHelp is how a DSN is written.
const dsnHelp = "write clickhouse://user@host:9000,host2:9000/database?secure=true&ca_file=/path&password_file=/path"

// ParseDSN reads --clickhouse-dsn:
//
//	clickhouse://user@host:9000,host2:9000/database?secure=true&ca_file=F&cert_file=F&key_file=F&server_name=N&skip_verify=true&password_file=F
//
// A port that is left out is 9000, with secure=true 9440; the database is spanloom, the user default. The password stands in
// password_file or in the environment; one in the DSN itself is taken with a warning, because command lines are seen by all.
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
	t := &Target{Database: "spanloom", User: "default"}
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		user, password, given := strings.Cut(hosts[:i], ":")
		var err1, err2 error
		t.User, err1 = url.PathUnescape(user)
		t.password, err2 = url.PathUnescape(password)
		if err1 != nil || err2 != nil || t.User == "" {
			return invalid("user or password are not written as in an address (%%40 for @)")
		}
		if given {
			t.Warnings = append(t.Warnings, "the password stands in --clickhouse-dsn, where every process of the machine can read it: use ?password_file= or "+passwordVariable)
		}
		hosts = hosts[i+1:]
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
	files, err := t.options(u.Query())
	if err != nil {
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
	if t.password == "" && t.PasswordFile == "" {
		t.password = getenv(passwordVariable)
	}
	if _, err := t.Password(); err != nil {
		return nil, err
	}
	return t, files.load(t)
}

// tlsFiles are the files that options name.
type tlsFiles struct{ ca, cert, key string }

func (t *Target) options(q url.Values) (f tlsFiles, err error) {
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
		case "secure", "skip_verify", "ca_file", "cert_file", "key_file", "server_name", "password_file":
		default:
			return f, bad(name, "the options are secure, skip_verify, ca_file, cert_file, key_file, server_name and password_file")
		}
	}
	secure, err := flag("secure")
	if err != nil {
		return f, err
	}
	skip, err := flag("skip_verify")
	if err != nil {
		return f, err
	}
	f = tlsFiles{q.Get("ca_file"), q.Get("cert_file"), q.Get("key_file")}
	t.PasswordFile = q.Get("password_file")
	if !secure {
		if skip || f != (tlsFiles{}) || q.Get("server_name") != "" {
			return f, bad("secure", "certificates are for secure=true")
		}
		return f, nil
	}
	if (f.cert == "") != (f.key == "") {
		return f, bad("cert_file", "cert_file and key_file belong together")
	}
	t.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: q.Get("server_name"), InsecureSkipVerify: skip}
	if skip {
		t.Warnings = append(t.Warnings, "skip_verify=true: whoever answers at the address is taken for the server; use ca_file")
	}
	return f, nil
}

func (f tlsFiles) load(t *Target) error {
	unreadable := func(name string, err error) error {
		return &problem.Problem{Kind: problem.Invalid, Field: "clickhouse-dsn", Message: name, Err: err, Hint: "name a file in PEM form that this process may read"}
	}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return unreadable("ca_file", err)
		}
		t.TLS.RootCAs = x509.NewCertPool()
		if !t.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return unreadable("ca_file", fmt.Errorf("%s holds no certificate", f.ca))
		}
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return unreadable("cert_file, key_file", err)
		}
		t.TLS.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// Password is the password now.
func (t *Target) Password() (string, error) {
	if t.PasswordFile == "" {
		return t.password, nil
	}
	text, err := os.ReadFile(t.PasswordFile)
	if err != nil {
		return "", &problem.Problem{Kind: problem.Unavailable, Field: "clickhouse-dsn", Message: "password_file", Err: err,
			Hint: "name a file that this process may read", RetryAfter: time.Minute}
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
