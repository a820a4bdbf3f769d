package opensearch

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/remote"
)

// Target is where the servers are and who asks them.
type Target struct {
	remote.Login
	Hosts  []string // http(s)://host:port/path, tried in order
	Prefix string   // of the names of indices and templates
	Jaeger *string  // prefix of Jaeger's indices, which are read beside ours, empty for none; nil: they are not
}

// passwordVariable is where a password may stand that no file holds.
const passwordVariable = "SPANLOOM_OPENSEARCH_PASSWORD"

const urlHelp = "write https://user@host:9200,host2:9200/?index_prefix=spanloom&ca_file=/path&password_file=/path"

func (t *Target) String() string { return strings.Join(t.Hosts, ",") }

// ParseURL reads --opensearch-url:
//
//	https://user@host:9200,host2:9200/path?index_prefix=P&jaeger=P&ca_file=F&cert_file=F&key_file=F&server_name=N&skip_verify=true&password_file=F
//
// A port that is left out is 9200; the index prefix is spanloom. jaeger names the index prefix of a Jaeger whose spans are read too: `jaeger=`
// for one without a prefix. The password stands in password_file or in the environment; one in
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
	t := &Target{Login: remote.Login{Setting: "opensearch-url", Variable: passwordVariable}}
	if hosts, ok = t.TakeUser(hosts); !ok {
		return invalid("user or password are not written as in an address (%%40 for @)")
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
	t.TakeVariable(getenv)
	if t.User == "" && t.HasPassword() {
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
		case "index_prefix", "password_file", "jaeger":
		case "skip_verify", "ca_file", "cert_file", "key_file", "server_name":
			certificates = true
		default:
			return bad(name, "the options are index_prefix, jaeger, password_file, skip_verify, ca_file, cert_file, key_file and server_name")
		}
	}
	t.PasswordFile = q.Get("password_file")
	t.Prefix = "spanloom"
	if q.Has("index_prefix") {
		t.Prefix = q.Get("index_prefix")
	}
	if q.Has("jaeger") {
		prefix := q.Get("jaeger")
		t.Jaeger = &prefix
	}
	const letters = "lower-case letters, digits and - _ . behind them"
	switch {
	case !nameOfIndex(t.Prefix):
		return bad("index_prefix", letters)
	case t.Prefix == "" || len(t.Prefix) > 100:
		return bad("index_prefix", "1 to 100 characters")
	case t.Jaeger != nil && (!nameOfIndex(*t.Jaeger) || len(*t.Jaeger) > 100):
		return bad("jaeger", "give Jaeger's index prefix as it has it, without jaeger-span: "+letters)
	}
	if !secure {
		if certificates {
			return &problem.Problem{Kind: problem.Invalid, Field: "opensearch-url", Message: "certificates without TLS", Hint: "write https://"}
		}
		return nil
	}
	switch skip := q.Get("skip_verify"); skip {
	case "", "false", "true":
		t.Secure(q, skip == "true")
	default:
		return bad("skip_verify", "write true or false")
	}
	if q.Has("cert_file") != q.Has("key_file") {
		return bad("cert_file", "cert_file and key_file belong together")
	}
	return t.LoadFiles(q)
}

// nameOfIndex reports whether an index's name may begin with a text.
func nameOfIndex(text string) bool {
	for i, c := range text {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return true
}
