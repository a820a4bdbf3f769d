// Package render writes the objects that bring a mesh's spans to Spanloom, from a short intent, for one minor of Istio.
// Pure functions of the intent and of what was read of the mesh; no cluster, no clock: the same intent gives the same
// bytes.
package render

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/internal/nearest"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/schema"
)

// Words are an intent as a person writes it: the values of flags. Empty ones take their default.
type Words struct {
	Protocol      string   // otlp (default) or zipkin
	Sampling      string   // a preset or a percentage
	Tags          []string // NAME=VALUE, NAME=header:H[:default], NAME=env:V[:default], NAME=format:%…%
	Namespace     string   // of Spanloom; istio-system
	Service       string   // of Spanloom; spanloom
	RootNamespace string   // of Istio; istio-system
	Istio         string   // version, "1.28" or "1.28.3"
	Hosts         []string // outside hosts for ServiceEntries: HOST[:PORT] or a URL
	ExternalURL   string   // where browsers reach Spanloom
	Workloads     []string // for opentelemetry-env in a plan: NAMESPACE/NAME or NAMESPACE/NAME/CONTAINER
	For           []string // targets; telemetry and configmap if empty
}

// Intent is a checked intent.
type Intent struct {
	Protocol      string // otlp or zipkin
	Sampling      float64
	Tags          []Tag
	Namespace     string
	Service       string
	RootNamespace string
	Minor         string // "1.28"; empty if no target needs it and none was given
	Hosts         []Host
	ExternalURL   string
	Workloads     []Workload
	Targets       []Target
}

// Workload names a Deployment or the like, and one of its containers; empty is its first.
type Workload struct{ Namespace, Name, Container string }

// String is "shop/web".
func (w Workload) String() string { return w.Namespace + "/" + w.Name }

// Tag is a custom tag of every span.
type Tag struct {
	Name    string
	From    string // literal, header, environment, formatter
	Of      string // the literal, header, variable or format
	Default string
}

// Host is a host outside of the mesh.
type Host struct {
	Name     string // may begin with *.
	Port     int
	Protocol string // HTTP, TLS or TCP
}

// Target is one form in which the intent can be written.
type Target string

// The targets.
const (
	Telemetry     Target = "telemetry"
	IstioOperator Target = "istiooperator"
	Helm          Target = "helm"
	ConfigMap     Target = "configmap"
	EnvoyFilter   Target = "envoyfilter"
	Kiali         Target = "kiali"
	Grafana       Target = "grafana"
	Prometheus    Target = "prometheus"
	NetworkPolicy Target = "networkpolicy"
	ServiceEntry  Target = "serviceentry"
	SDKEnv        Target = "opentelemetry-env"
)

// Targets are all of them, in the order in which they are written.
var Targets = []Target{ConfigMap, IstioOperator, Helm, Telemetry, EnvoyFilter, NetworkPolicy, ServiceEntry, SDKEnv, Kiali, Grafana, Prometheus}

// versioned are the targets whose form depends on the version of Istio.
var versioned = []Target{ConfigMap, IstioOperator, Helm, Telemetry, EnvoyFilter, ServiceEntry}

// The oldest and newest minors that can be rendered for: mesh/schema knows 1.19 and later, and what is written for older
// ones has been in Istio since 1.16.
const (
	Oldest = "1.17"
	Newest = "1.31"
)

// Presets are names of rates, in percent, in the order of the help.
var Presets = []struct {
	Name    string
	Percent float64
}{{"dev", 100}, {"staging", 10}, {"prod", 1}, {"prod-high", 0.1}}

// minPercent is the finest rate that istiod passes on: it counts in hundredths of a percent.
const minPercent = 0.01

var (
	dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	hostRule = regexp.MustCompile(`^(\*\.)?([a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	tagName  = regexp.MustCompile(`^[A-Za-z0-9_.\-/]+$`)
	header   = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`)
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// secretHeaders carry credentials: a tag made of one would write them into every span.
var secretHeaders = []string{"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token", "x-csrf-token", "x-forwarded-client-cert"}

// Parse checks an intent. The error names the flag, its value and what to write instead.
func Parse(w Words) (Intent, error) {
	in := Intent{Protocol: or(w.Protocol, "otlp"), Namespace: or(w.Namespace, "istio-system"), Service: or(w.Service, "spanloom"), RootNamespace: or(w.RootNamespace, "istio-system"), ExternalURL: strings.TrimSuffix(w.ExternalURL, "/")}
	if in.Protocol != "otlp" && in.Protocol != "zipkin" {
		return in, invalid("--protocol", fmt.Sprintf("%q is no protocol that proxies send spans in", w.Protocol), "write otlp (W3C headers) or zipkin (B3 headers)")
	}
	var err error
	if in.Sampling, err = percent(w.Sampling); err != nil {
		return in, err
	}
	for _, n := range []struct{ flag, value string }{{"--namespace", in.Namespace}, {"--service", in.Service}, {"--root-namespace", in.RootNamespace}} {
		if !dnsLabel.MatchString(n.value) {
			return in, invalid(n.flag, fmt.Sprintf("%q is no name that Kubernetes takes", n.value), "lower-case letters, digits and dashes, at most 63 of them")
		}
	}
	if in.Targets, err = targets(w.For); err != nil {
		return in, err
	}
	if in.Minor, err = minor(w.Istio, in.Targets); err != nil {
		return in, err
	}
	if in.Tags, err = tags(w.Tags, in.Minor); err != nil {
		return in, err
	}
	if in.Hosts, err = hosts(w.Hosts); err != nil {
		return in, err
	}
	for _, word := range w.Workloads {
		parts := strings.Split(word, "/")
		if len(parts) < 2 || len(parts) > 3 || slices.ContainsFunc(parts, func(p string) bool { return !dnsLabel.MatchString(p) }) {
			return in, invalid("--workload", fmt.Sprintf("%q is no workload", word), "write NAMESPACE/NAME, or NAMESPACE/NAME/CONTAINER")
		}
		in.Workloads = append(in.Workloads, Workload{parts[0], parts[1], strings.Join(parts[2:], "")})
	}
	if slices.Contains(in.Targets, ServiceEntry) && len(in.Hosts) == 0 {
		return in, invalid("--host", "no outside host is given", "name each: --host api.example.com:443, --host '*.example.com'")
	}
	if in.ExternalURL != "" {
		u, err := url.Parse(in.ExternalURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.ContainsAny(in.ExternalURL, "\"\\\n") {
			return in, invalid("--external-url", fmt.Sprintf("%q is no URL", w.ExternalURL), "write https://traces.example.com")
		}
	}
	return in, nil
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func invalid(field, message, hint string) error {
	return &problem.Problem{Kind: problem.Invalid, Field: field, Message: message, Hint: hint}
}

func percent(text string) (float64, error) {
	text = strings.TrimSuffix(strings.TrimSpace(or(text, "prod")), "%")
	var names []string
	for _, p := range Presets {
		if p.Name == text {
			return p.Percent, nil
		}
		names = append(names, fmt.Sprintf("%s (%s %%)", p.Name, number(p.Percent)))
	}
	presets := strings.Join(names, ", ")
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		return 0, invalid("--sampling", fmt.Sprintf("%q is neither a preset nor a percentage", text), "write "+presets+" or a percentage from 0.01 to 100")
	case !(f <= 100):
		return 0, invalid("--sampling", fmt.Sprintf("%q is more than everything: Istio takes 1 %% instead", text), "write a percentage up to 100")
	case f <= 0:
		return 0, invalid("--sampling", fmt.Sprintf("%q traces nothing", text), "write "+presets+" or a percentage from 0.01 to 100; to stop reporting, set disableSpanReporting in the Telemetry")
	case f < minPercent:
		return 0, invalid("--sampling", fmt.Sprintf("%q is below what Istio passes on: it counts in hundredths of a percent and would trace nothing", text), "write 0.01 (one request in 10,000) or more")
	}
	return f, nil
}

func targets(words []string) ([]Target, error) {
	if len(words) == 0 {
		return []Target{ConfigMap, Telemetry}, nil
	}
	names := make([]string, len(Targets))
	for i, t := range Targets {
		names[i] = string(t)
	}
	wanted := make(map[Target]bool)
	for _, w := range words {
		if !slices.Contains(names, w) {
			return nil, invalid("--for", fmt.Sprintf("%q is no form to render%s", w, nearest.Hint(w, names)), "write one or more of "+strings.Join(names, ", "))
		}
		wanted[Target(w)] = true
	}
	if wanted[EnvoyFilter] && wanted[Telemetry] {
		return nil, invalid("--for", "envoyfilter and telemetry do the same and get in each other's way", "take telemetry; envoyfilter is for meshes where that cannot be used")
	}
	var out []Target
	for _, t := range Targets {
		if wanted[t] {
			out = append(out, t)
		}
	}
	return out, nil
}

func minor(text string, of []Target) (string, error) {
	span := "write one from " + Oldest + " to " + Newest
	if text == "" {
		for _, t := range of {
			if slices.Contains(versioned, t) {
				return "", invalid("--istio-version", fmt.Sprintf("%s is written differently by version, and none is given", t), span+", or give -f DIR with a proxy's dump")
			}
		}
		return "", nil
	}
	m := schema.Minor(strings.TrimPrefix(text, "v"))
	if m == "" {
		return "", invalid("--istio-version", fmt.Sprintf("%q is no version", text), span)
	}
	if schema.Less(m, Oldest) || schema.Less(Newest, m) {
		return "", invalid("--istio-version", fmt.Sprintf("%q is not among the versions whose fields are known", text), span)
	}
	return m, nil
}

func tags(words []string, minor string) ([]Tag, error) {
	var out []Tag
	form := "write NAME=VALUE, NAME=header:HEADER[:default], NAME=env:VARIABLE[:default]"
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || !tagName.MatchString(name) || value == "" {
			return nil, invalid("--tags", fmt.Sprintf("%q is no tag", w), form)
		}
		if slices.ContainsFunc(out, func(t Tag) bool { return t.Name == name }) {
			return nil, invalid("--tags", fmt.Sprintf("%q is given twice", name), "leave one out")
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, invalid("--tags", fmt.Sprintf("%q holds a control character", w), form)
		}
		t := Tag{Name: name, From: "literal", Of: value}
		source, rest, has := strings.Cut(value, ":")
		switch {
		case has && source == "header":
			t.From = "header"
			t.Of, t.Default, _ = strings.Cut(rest, ":")
			if slices.Contains(secretHeaders, strings.ToLower(t.Of)) {
				return nil, invalid("--tags", fmt.Sprintf("%q would write the header %s of every request into its spans; a default does not replace it, it stands in only where the header is absent", w, t.Of), "leave the tag out")
			}
			if !header.MatchString(t.Of) {
				return nil, invalid("--tags", fmt.Sprintf("%q names no header", w), form)
			}
		case has && (source == "env" || source == "environment"):
			t.From = "environment"
			t.Of, t.Default, _ = strings.Cut(rest, ":")
			if !variable.MatchString(t.Of) {
				return nil, invalid("--tags", fmt.Sprintf("%q names no environment variable", w), form)
			}
		case has && source == "format":
			t.From, t.Of = "formatter", rest
			if !strings.Contains(rest, "%") {
				return nil, invalid("--tags", fmt.Sprintf("%q has no command operator", w), "write NAME=format:%REQ(X-NAME)%")
			}
			for _, h := range secretHeaders {
				if strings.Contains(strings.ToLower(rest), "req("+h) {
					return nil, invalid("--tags", fmt.Sprintf("%q would write the header %s of every request into its spans", w, h), "leave the tag out")
				}
			}
			if minor != "" && schema.Less(minor, "1.29") {
				return nil, invalid("--tags", fmt.Sprintf("%q needs Istio 1.29, this is %s", w, minor), "use header: or env:")
			}
		}
		out = append(out, t)
	}
	return out, nil
}

func hosts(words []string) ([]Host, error) {
	var out []Host
	for _, w := range words {
		h, err := host(w)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out, nil
}

func host(word string) (Host, error) {
	form := "write a host with its port, and what it speaks where the port does not tell: api.example.com:443, *.example.com:80, http://api.example.com:8000, tcp://db.example.com:5432"
	scheme, rest := cutScheme(word)
	rest, _, _ = strings.Cut(rest, "/")
	name, port, has := strings.Cut(rest, ":")
	h := Host{Name: strings.ToLower(name)}
	switch {
	case has:
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return h, invalid("--host", fmt.Sprintf("%q has no port from 1 to 65535", word), form)
		}
		h.Port = n
	case scheme == "http":
		h.Port = 80
	case scheme == "tcp":
		return h, invalid("--host", fmt.Sprintf("%q has no port", word), form)
	default:
		h.Port = 443
	}
	protocol, known := map[string]string{"http": "HTTP", "https": "TLS", "tcp": "TCP"}[scheme]
	switch {
	case known:
		h.Protocol = protocol
	case scheme != "":
		return h, invalid("--host", fmt.Sprintf("%q: scheme %s is unknown", word, scheme), form)
	case h.Port == 443 || h.Port == 8443:
		h.Protocol = "TLS"
	case h.Port == 80 || h.Port == 8080:
		h.Protocol = "HTTP"
	default:
		return h, invalid("--host", fmt.Sprintf("%q: port %d does not tell what it speaks", word, h.Port), form)
	}
	if _, err := netip.ParseAddr(h.Name); err != nil && (!hostRule.MatchString(h.Name) || len(h.Name) > 253) {
		return h, invalid("--host", fmt.Sprintf("%q is no host", word), form)
	}
	if strings.HasSuffix(h.Name, ".svc.cluster.local") {
		return h, invalid("--host", fmt.Sprintf("%q is a Service of the cluster: Istio knows it already", word), "name hosts outside of the cluster only")
	}
	return h, nil
}

func cutScheme(word string) (scheme, rest string) {
	if scheme, rest, ok := strings.Cut(word, "://"); ok {
		return scheme, rest
	}
	return "", word
}

// number writes 100, 0.1: never an exponent.
func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
