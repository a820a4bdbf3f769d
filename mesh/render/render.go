package render

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/spanloom/spanloom/deploy"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/schema"
)

//go:embed templates/*.yaml
var files embed.FS

// Part is what one target is written as: one or more YAML documents with comments, or comments alone where nothing is to
// be written.
type Part struct {
	Target Target `json:"target"`
	YAML   string `json:"yaml"`
}

// MeshName is the name of the extension provider; Telemetry names it.
const MeshName = "spanloom"

// FlushSpans is how many spans a sidecar puts in a request. Envoy's own default is 5, of which each costs the receiver
// about four times as much; docs/measurements has the figures.
const FlushSpans = 100

// Ports of Spanloom's Service by protocol.
var ports = map[string]int{"otlp": 4317, "zipkin": 9411}

// Render writes the intent for each of its targets, in the order of Targets. present is what was read of the mesh, or nil
// if nothing was.
func Render(in Intent, present *istio.Objects) ([]Part, error) {
	parts := make([]Part, 0, len(in.Targets))
	for _, t := range in.Targets {
		text, err := one(in, t, present)
		if err != nil {
			return nil, fmt.Errorf("render %s: %w", t, err)
		}
		parts = append(parts, Part{Target: t, YAML: text})
	}
	return parts, nil
}

// Merges tells whether a target's part is a piece of something larger, which an apply of the part alone would take away: a
// document that holds more, or a Telemetry that exists already.
func Merges(in Intent, t Target, present *istio.Objects) bool {
	switch t {
	case ConfigMap, IstioOperator, Helm, SDKEnv, Kiali:
		return true
	case Telemetry:
		return view{Intent: in, present: present}.Exists()
	}
	return false
}

// Write joins parts into one stream of documents.
func Write(w io.Writer, parts []Part) error {
	for i, p := range parts {
		if i > 0 {
			if _, err := io.WriteString(w, "---\n"); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w, p.YAML); err != nil {
			return err
		}
	}
	return nil
}

func one(in Intent, t Target, present *istio.Objects) (string, error) {
	v := view{Intent: in, present: present}
	switch t {
	case ConfigMap, IstioOperator, Helm:
		mesh, err := execute("mesh.yaml", v)
		if err != nil {
			return "", err
		}
		v.Mesh = strings.TrimRight(mesh, "\n")
	case Kiali:
		v.KialiConfigMap = present != nil && slices.ContainsFunc(present.Kialis, func(k istio.Kiali) bool { return k.Kind == "ConfigMap" })
	case Grafana:
		sources, err := deploy.DataSources()
		if err != nil {
			return "", err
		}
		v.DataSources = strings.ReplaceAll(strings.TrimRight(sources, "\n"), deploy.Host, v.Short())
		if v.Dashboards, err = deploy.Dashboards(); err != nil {
			return "", err
		}
	}
	return execute(string(t)+".yaml", v)
}

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"q":      quote,
	"number": number,
	"indent": indent,
}).ParseFS(files, "templates/*.yaml"))

func indent(n int, text string) string {
	pad := strings.Repeat(" ", n)
	return blank.ReplaceAllString(pad+strings.ReplaceAll(text, "\n", "\n"+pad), "")
}

var blank = regexp.MustCompile(`(?m)^ +$`)

func execute(name string, v view) (string, error) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, v); err != nil {
		return "", err
	}
	return b.String(), nil
}

// quote writes a string as YAML's double-quoted form, of which JSON's is one.
func quote(s string) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(s)
	return strings.TrimRight(b.String(), "\n"), err
}

// view is what templates see.
type view struct {
	Intent
	Mesh           string // the mesh configuration's part
	KialiConfigMap bool
	DataSources    string
	Dashboards     []deploy.File
	present        *istio.Objects
}

// Host is the full name of Spanloom's Service: Istio finds providers by it.
func (i Intent) Host() string { return i.Service + "." + i.Namespace + ".svc." + istio.Domain }

// Short is the Service's name as pods of any namespace resolve it.
func (i Intent) Short() string { return i.Service + "." + i.Namespace }

// Port is the Service's port for spans of the protocol.
func (i Intent) Port() int { return ports[i.Protocol] }

// AtLeast tells whether the mesh's minor is that or a later one.
func (i Intent) AtLeast(minor string) bool { return !schema.Less(i.Minor, minor) }

// OneIn says a rate as people count it.
func (i Intent) OneIn() string {
	switch {
	case i.Sampling == 100:
		return "every request"
	case i.Sampling >= 50:
		return fmt.Sprintf("%s requests of 100", number(i.Sampling))
	default:
		return fmt.Sprintf("about one request in %s", number(float64(int64(100/i.Sampling*10+0.5))/10))
	}
}

// Ratio is the rate as OpenTelemetry SDKs write it.
func (i Intent) Ratio() string { return number(float64(int64(i.Sampling*1e4+0.5)) / 1e6) }

// PresetName is the preset's name with a space behind it, if the rate is one.
func (i Intent) PresetName() string {
	for _, p := range Presets {
		if p.Percent == i.Sampling {
			return p.Name + ": "
		}
	}
	return ""
}

func (v view) FlushSpans() int    { return FlushSpans }
func (v view) Provider() string   { return MeshName }
func (v view) MinorRegex() string { return strings.ReplaceAll(v.Minor, ".", `\.`) }

// Contexts are all that a patch of connection managers must name: the gateway's is the first hop, which decides about
// sampling.
func (v view) Contexts() []string { return []string{"GATEWAY", "SIDECAR_OUTBOUND", "SIDECAR_INBOUND"} }

// TelemetryName is that of the Telemetry which counts for the whole mesh: of several without selector in the root
// namespace istiod takes the oldest, so an existing one is changed rather than joined by another.
func (v view) TelemetryName() string {
	if t := v.meshWide(); t != nil {
		return t.Name
	}
	return "mesh-default"
}

func (v view) meshWide() *istio.Telemetry {
	if v.present == nil {
		return nil
	}
	used, _ := v.present.Applicable(v.RootNamespace, istio.Proxy{Namespace: v.RootNamespace})
	for _, t := range used {
		if len(t.Selector) == 0 && len(t.Targets) == 0 {
			return t
		}
	}
	return nil
}

// Exists tells whether that Telemetry was read.
func (v view) Exists() bool { return v.meshWide() != nil }

// Overrides are the Telemetries that decide for a part of the mesh whatever the mesh-wide one says.
func (v view) Overrides() []string {
	var out []string
	if v.present == nil {
		return nil
	}
	for _, t := range v.present.Telemetries {
		if len(t.Tracing) > 0 && (t.Namespace != v.RootNamespace || len(t.Selector)+len(t.Targets) > 0) {
			out = append(out, t.Namespace+"/"+t.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Address tells whether a host is an address, which Istio resolves otherwise than a name.
func (h Host) Address() bool {
	_, err := netip.ParseAddr(h.Name)
	return err == nil
}

// Wildcard tells whether a host stands for many: those cannot be resolved.
func (h Host) Wildcard() bool { return strings.HasPrefix(h.Name, "*.") }

// EntryHost is what a ServiceEntry calls the host: one known by its address needs some name.
func (h Host) EntryHost() string {
	if h.Address() {
		return h.EntryName() + ".external"
	}
	return h.Name
}

// PortName begins with the protocol, as Istio has it.
func (h Host) PortName() string { return fmt.Sprintf("%s-%d", strings.ToLower(h.Protocol), h.Port) }

// EntryName is a name that Kubernetes takes.
func (h Host) EntryName() string {
	s := strings.NewReplacer("*.", "any-", ".", "-", ":", "-").Replace(h.Name)
	return "external-" + strings.Trim(s, "-") + fmt.Sprintf("-%d", h.Port)
}

// KialiTracing is Kiali's part, which its resource and its ConfigMap have at different places.
func (v view) KialiTracing() (string, error) {
	text, err := execute("kialitracing.yaml", v)
	return strings.TrimRight(text, "\n"), err
}

// Alerts and EnvoyNames are Prometheus' rules, to stand under spec.
func (v view) Alerts() (string, error)     { return rules(deploy.Alerts()) }
func (v view) EnvoyNames() (string, error) { return rules(deploy.EnvoyNames()) }

func rules(text string, err error) (string, error) {
	return strings.TrimRight(text, "\n"), err
}
