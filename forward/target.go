package forward

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/remote"
)

// Target is a backend that gets copies.
type Target struct {
	remote.Login
	Name    string // in logs, metrics, Status and of its cursor
	Address string // as it was given, without options
	GRPC    bool
	host    string // of gRPC
	url     string // of HTTP
	plain   bool   // not compressed
	headers []header
}

// header is sent with every request.
type header struct {
	name, value string
	file        string // read whenever it is sent, so that a changed token needs no restart
}

const targetHelp = "write grpc://host:4317, grpcs://host:4317, http://host:4318 or https://host:4318/v1/traces, with options as ?name=tempo&header_file.Authorization=/run/token"

func (t *Target) invalid(message, hint string) error {
	return &problem.Problem{Kind: problem.Invalid, Field: "forward-to", Message: message, Hint: hint}
}

// ParseTarget reads a --forward-to:
//
//	grpc://host:4317?name=N&compression=none&header.NAME=VALUE&header_file.NAME=FILE&header_env.NAME=VARIABLE
//	https://host:4318/v1/traces?ca_file=F&cert_file=F&key_file=F&server_name=N&skip_verify=true
//
// grpcs is gRPC with TLS. Ports that are left out are 4317 and 4318, a path that is left out is /v1/traces. Requests are gzip.
func ParseTarget(text string, getenv func(string) string) (*Target, error) {
	t := &Target{Login: remote.Login{Setting: "forward-to"}}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Fragment != "" {
		return nil, t.invalid(fmt.Sprintf("%.200q is no address", text), targetHelp)
	}
	if u.User != nil {
		return nil, t.invalid("user and password stand in the address", "name a file or a variable that holds `Basic ...`: header_file.Authorization= or header_env.Authorization=")
	}
	port, secure := "4318", strings.HasSuffix(u.Scheme, "s")
	switch u.Scheme {
	case "grpc", "grpcs":
		t.GRPC, port = true, "4317"
		if strings.Trim(u.Path, "/") != "" {
			return nil, t.invalid(fmt.Sprintf("path %q: gRPC has none", u.Path), targetHelp)
		}
	case "http", "https":
		if strings.Trim(u.Path, "/") == "" {
			u.Path = "/v1/traces"
		}
	default:
		return nil, t.invalid(fmt.Sprintf("%q is none of grpc, grpcs, http and https", u.Scheme), targetHelp)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, t.invalid(fmt.Sprintf("%q are no options: %v", u.RawQuery, err), targetHelp)
	}
	t.host, t.Address = u.Host, u.Scheme+"://"+u.Host
	if !t.GRPC {
		t.url = u.Scheme + "://" + u.Host + u.EscapedPath()
		t.Address = t.url
	}
	t.Name = u.Host
	if secure {
		t.Secure(q, q.Get("skip_verify") == "true")
	}
	if err := t.options(q, getenv); err != nil {
		return nil, err
	}
	return t, t.LoadFiles(q)
}

func (t *Target) options(q url.Values, getenv func(string) string) error {
	names := make([]string, 0, len(q))
	for name := range q {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		v := q.Get(name)
		kind, of, _ := strings.Cut(name, ".")
		switch {
		case name == "name":
			t.Name = v
		case name == "compression":
			if v != "gzip" && v != "none" {
				return t.invalid("compression="+v, "write gzip or none")
			}
			t.plain = v == "none"
		case name == "skip_verify" && v != "true" && v != "false":
			return t.invalid("skip_verify="+v, "write true or false")
		case name == "skip_verify", name == "ca_file", name == "cert_file", name == "key_file", name == "server_name":
			if t.TLS == nil {
				return t.invalid(name+" without TLS", "write grpcs:// or https://")
			}
		case kind == "header" || kind == "header_file" || kind == "header_env":
			if err := t.header(kind, of, v, getenv); err != nil {
				return err
			}
		default:
			return t.invalid(fmt.Sprintf("option %s", name), "the options are name, compression, header.NAME, header_file.NAME, header_env.NAME, ca_file, cert_file, key_file, server_name and skip_verify")
		}
	}
	if q.Has("cert_file") != q.Has("key_file") {
		return t.invalid("cert_file", "cert_file and key_file belong together")
	}
	if len(t.Name) > 100 || !isName(strings.NewReplacer(":", "", "[", "", "]", "").Replace(t.Name)) {
		return t.invalid(fmt.Sprintf("name=%.200s", t.Name), "1 to 100 letters, digits, dots, underscores and hyphens")
	}
	return nil
}

func (t *Target) header(kind, name, v string, getenv func(string) string) error {
	h := header{name: name, value: v}
	if !isName(name) || strings.HasPrefix(strings.ToLower(name), "grpc-") {
		return t.invalid(fmt.Sprintf("%s.%s is no header that may be set", kind, name), "write header_file.Authorization=/run/token")
	}
	switch kind {
	case "header_file":
		h.value, h.file = "", v
		if _, err := h.read(); err != nil {
			return t.invalid(fmt.Sprintf("header_file.%s: %v", name, err), "name a file that this process may read")
		}
	case "header_env":
		if h.value = getenv(v); h.value == "" {
			return t.invalid(fmt.Sprintf("header_env.%s: the variable %s is not set", name, v), "set it, or name a file by header_file."+name)
		}
	case "header":
		if strings.EqualFold(name, "authorization") {
			t.Warnings = append(t.Warnings, "a token stands in --forward-to, where every process of the machine can read it: use header_file.Authorization= or header_env.Authorization=")
		}
	}
	if h.file == "" && !isValue(h.value) {
		return t.invalid(fmt.Sprintf("the value of header %s is none that a header can have", name), "take line breaks out of it")
	}
	t.headers = append(t.headers, h)
	return nil
}

// isName reports whether a text is letters, digits, dots, underscores and hyphens.
func isName(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

// isValue reports whether a text can be the value of a header.
func isValue(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' })
}

// read gives the value now.
func (h header) read() (string, error) {
	if h.file == "" {
		return h.value, nil
	}
	text, err := os.ReadFile(h.file)
	if err != nil {
		return "", err
	}
	v := strings.TrimSpace(string(text))
	if v == "" || !isValue(v) {
		return "", fmt.Errorf("%s holds no value of a header", h.file)
	}
	return v, nil
}
