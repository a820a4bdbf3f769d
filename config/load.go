package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/internal/nearest"
)

// Source is where Load finds settings besides their defaults.
type Source struct {
	Flags map[string][]string              // settings given on the command line, by name
	Env   func(name string) (string, bool) // os.LookupEnv
	File  string                           // --config; empty for none
}

// Load reads all sources and checks the whole. The error lists every mistake, each with where it stands and what would be right.
func Load(src Source) (*Config, error) {
	c := &Config{ListenerTLS: make(map[string]TLS), File: src.File, Given: src.Flags}
	var file map[string]fileValue
	var errs []error
	if src.File != "" {
		data, err := os.ReadFile(src.File)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		if file, err = parseFile(src.File, data); err != nil {
			errs = append(errs, err)
		}
	}
	for _, s := range Settings() {
		values, where := splitDefault(s), "default"
		if v, ok := file[s.Name]; ok {
			values, where = v.values, fmt.Sprintf("%s:%d", src.File, v.line)
		}
		if v, ok := src.Env(s.Env()); ok {
			values, where = []string{v}, s.Env()
			if s.list {
				values = splitList(v)
			}
		}
		if v, ok := src.Flags[s.Name]; ok {
			values, where = v, "--"+s.Name
		}
		if !s.list && len(values) > 1 {
			errs = append(errs, fmt.Errorf("%s: %s takes one value, got %d", where, s.Name, len(values)))
			continue
		}
		for _, v := range values {
			if err := s.set(c, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", where, s.Name, err))
			}
		}
	}
	if len(errs) == 0 {
		errs = c.check()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

func splitDefault(s Setting) []string {
	if s.Default == "" {
		return nil
	}
	return []string{s.Default}
}

func splitList(v string) (out []string) {
	for _, part := range strings.Split(v, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

type fileValue struct {
	values []string
	line   int
}

// parseFile reads the YAML file. `tls:` may also be written as a block per listener, tls: {otlp-grpc: {cert: …, key: …}}, and `forward:` as one:
// forward: {to: [grpc://…], max-disk: 2GiB}.
func parseFile(name string, data []byte) (map[string]fileValue, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out := make(map[string]fileValue)
	if len(doc.Content) == 0 {
		return out, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: the file must be a map of settings such as `http-addr: :16686`", name, root.Line)
	}
	known := make([]string, 0, 64)
	isList := make(map[string]bool)
	for _, s := range Settings() {
		known = append(known, s.Name)
		isList[s.Name] = s.list
	}
	var errs []error
	var walk func(prefix string, m *yaml.Node)
	walk = func(prefix string, m *yaml.Node) {
		for i := 0; i+1 < len(m.Content); i += 2 {
			k, v := m.Content[i], m.Content[i+1]
			full := prefix + k.Value
			if v.Kind == yaml.MappingNode && (full == "tls" || strings.HasPrefix(full, "tls-") || full == "forward") {
				walk(full+"-", v)
				continue
			}
			list, ok := isList[full]
			if !ok {
				errs = append(errs, fmt.Errorf("%s:%d: unknown setting %s%s", name, k.Line, full, nearest.Hint(full, known)))
				continue
			}
			if old, ok := out[full]; ok {
				errs = append(errs, fmt.Errorf("%s:%d: %s stands at line %d already", name, k.Line, full, old.line))
				continue
			}
			values, err := scalars(v, list)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s:%d: %s: %w", name, v.Line, full, err))
				continue
			}
			out[full] = fileValue{values, k.Line}
		}
	}
	walk("", root)
	return out, errors.Join(errs...)
}

func scalars(v *yaml.Node, list bool) ([]string, error) {
	if v.Kind == yaml.AliasNode {
		v = v.Alias
	}
	switch {
	case v.Kind == yaml.ScalarNode && v.Tag == "!!null":
		return nil, nil
	case v.Kind == yaml.ScalarNode:
		return []string{v.Value}, nil
	case v.Kind == yaml.SequenceNode && list:
		var out []string
		for _, item := range v.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a list of plain values is expected", item.Line)
			}
			out = append(out, item.Value)
		}
		return out, nil
	case list:
		return nil, errors.New("a value or a list of values is expected")
	default:
		return nil, errors.New("a single value is expected")
	}
}

// check looks at what no single setting can see.
func (c *Config) check() (errs []error) {
	for _, p := range c.TrustedProxy {
		if _, err := parsePrefix(p); err != nil {
			errs = append(errs, fmt.Errorf("trusted-proxy: %q is neither an address nor a CIDR such as 10.0.0.0/8", p))
		}
	}
	for _, name := range c.AuthExempt {
		if name != "zipkin" && name != "otlp-grpc" && name != "otlp-http" {
			errs = append(errs, fmt.Errorf("auth-exempt: %q is no receiver: use zipkin, otlp-grpc or otlp-http", name))
		}
	}
	for _, name := range append([]string{""}, Listeners...) {
		t, what := c.TLS, "tls"
		if name != "" {
			t, what = c.ListenerTLS[name], "tls-"+name
		}
		if (t.Cert == "") != (t.Key == "") {
			errs = append(errs, fmt.Errorf("%s-cert and %s-key belong together: one of them is missing", what, what))
		}
		if t.ClientCA != "" && t.Cert == "" {
			errs = append(errs, fmt.Errorf("%s-client-ca needs %s-cert and %s-key", what, what, what))
		}
	}
	return errs
}

func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// TrustedProxies as prefixes; Load has checked them.
func (c *Config) TrustedProxies() (out []netip.Prefix) {
	for _, s := range c.TrustedProxy {
		if p, err := parsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}
