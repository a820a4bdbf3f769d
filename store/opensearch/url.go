package opensearch

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
)

// Target is where the servers are and who asks them.
type Target struct {
	Hosts        []string // http(s)://host:port/path, tried in order
	Prefix       string   // of the names of indices and templates
	User         string
	PasswordFile string // read at every request, so that a changed password needs no restart
	password     string
	TLS          *tls.Config
	Warnings     []string // what a start log should say
}

// passwordVariable is where a password may stand that no file holds.
const passwordVariable = "SPANLOOM_OPENSEARCH_PASSWORD"

const urlHelp = "write https://user@host:9200,host2:9200/?index_prefix=spanloom&ca_file=/path&password_file=/path"

func (t *Target) String() string { return strings.Join(t.Hosts, ",") }

// ParseURL reads --opensearch-url:
//
//	https://user@host:9200,host2:9200/path?index_prefix=P&ca_file=F&cert_file=F&key_file=F&server_name=N&skip_verify=true&password_file=F
//
// A port that is left out is 9200; the index prefix is spanloom. The password stands in password_file or in the environment; one in
// the address itself is taken with a warning, because command lines are seen by all.
func ParseURL(text string, getenv func(string) string) (*Target, error) {
	invalid := func(format string, args ...any) (*Target, error) {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "opensearch-url", Message: fmt.Sprintf(format, args...), Hint: urlHelp}
	}
	if text == "" {
		return invalid("it is missing")
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || scheme != "http" && scheme != "https" {
		return invalid("it does not begin with http:// or https://")
	}
	hosts, after := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		hosts, after = rest[:i], rest[i:]
	}
	t := &Target{}
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		user, password, given := strings.Cut(hosts[:i], ":")
		var err1, err2 error
		t.User, err1 = url.PathUnescape(user)
		t.password, err2 = url.PathUnescape(password)
		if err1 != nil || err2 != nil || t.User == "" {
			return invalid("user or password are not written as in an address (%%40 for @)")
		}
		if given {
			t.Warnings = append(t.Warnings, "the password stands in --opensearch-url, where every process of the machine can read it: use ?password_file= or "+passwordVariable)
		}
		hosts = hosts[i+1:]
	}
	tail, err := url.Parse(scheme + "://x" + after)
	if err != nil || tail.Fragment != "" {
		return invalid("%q is no path with options", after)
	}
	for h := range strings.SplitSeq(hosts, ",") {
		u, err := url.Parse(scheme + "://" + h)
		if err != nil || u.Hostname() == "" {
			return invalid("%q is no host with a port", h)
		}
		if u.Port() == "" {
			u.Host += ":9200"
		}
		t.Hosts = append(t.Hosts, scheme+"://"+u.Host+strings.TrimRight(tail.EscapedPath(), "/"))
	}
	if err := t.options(tail.Query(), scheme == "https"); err != nil {
		return nil, err
	}
	if t.password == "" && t.PasswordFile == "" {
		t.password = getenv(passwordVariable)
	}
	if t.User == "" && (t.password != "" || t.PasswordFile != "") {
		return invalid("there is a password and no user")
	}
	_, err = t.Password()
	return t, err
}

func (t *Target) options(q url.Values, secure bool) error {
	bad := func(name, hint string) error {
		return &problem.Problem{Kind: problem.Invalid, Field: "opensearch-url", Message: fmt.Sprintf("%s=%s", name, q.Get(name)), Hint: hint}
	}
	certificates := false
	for name := range q {
		switch name {
		case "index_prefix", "password_file":
		case "skip_verify", "ca_file", "cert_file", "key_file", "server_name":
			certificates = true
		default:
			return bad(name, "the options are index_prefix, password_file, skip_verify, ca_file, cert_file, key_file and server_name")
		}
	}
	t.PasswordFile = q.Get("password_file")
	t.Prefix = "spanloom"
	if q.Has("index_prefix") {
		t.Prefix = q.Get("index_prefix")
	}
	for i, c := range t.Prefix {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (i == 0 || c != '-' && c != '_' && c != '.') {
			return bad("index_prefix", "lower-case letters, digits and - _ . behind them")
		}
	}
	if t.Prefix == "" || len(t.Prefix) > 100 {
		return bad("index_prefix", "1 to 100 characters")
	}
	if !secure {
		if certificates {
			return &problem.Problem{Kind: problem.Invalid, Field: "opensearch-url", Message: "certificates without TLS", Hint: "write https://"}
		}
		return nil
	}
	t.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: q.Get("server_name")}
	switch q.Get("skip_verify") {
	case "", "false":
	case "true":
		t.TLS.InsecureSkipVerify = true
		t.Warnings = append(t.Warnings, "skip_verify=true: whoever answers at the address is taken for the server; use ca_file")
	default:
		return bad("skip_verify", "write true or false")
	}
	if q.Has("cert_file") != q.Has("key_file") {
		return bad("cert_file", "cert_file and key_file belong together")
	}
	unreadable := func(name string, err error) error {
		return &problem.Problem{Kind: problem.Invalid, Field: "opensearch-url", Message: name, Err: err, Hint: "name a file in PEM form that this process may read"}
	}
	if file := q.Get("ca_file"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return unreadable("ca_file", err)
		}
		t.TLS.RootCAs = x509.NewCertPool()
		if !t.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return unreadable("ca_file", fmt.Errorf("%s holds no certificate", file))
		}
	}
	if file := q.Get("cert_file"); file != "" {
		pair, err := tls.LoadX509KeyPair(file, q.Get("key_file"))
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
		return "", &problem.Problem{Kind: problem.Unavailable, Field: "opensearch-url", Message: "password_file", Err: err,
			Hint: "name a file that this process may read", RetryAfter: time.Minute}
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
