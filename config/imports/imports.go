// Package imports turns configuration of other tracing systems into settings of `spanloom serve`, and says of everything
// else why it was not taken over: an OpenTelemetry Collector's configuration, the Jaeger operator's resource, Helm values of
// SigNoz and Tempo. Pure functions of the files' bytes. Of what is dropped only the place is told, never the value: it may be
// a password.
package imports

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/yamldoc"
)

// Result is what files gave.
type Result struct {
	Settings []Setting `json:"settings"`
	Dropped  []Drop    `json:"dropped"`
	Sources  []Source  `json:"sources"`
}

// Source is a document that was recognised.
type Source struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Kind string `json:"kind"`
}

// Setting is one setting of serve and where it comes from.
type Setting struct {
	Name   string   `json:"name"`
	Values []string `json:"values"` // several of a list only
	From   []Place  `json:"from"`
}

// Place is a value in a file.
type Place struct {
	File string `json:"file"`
	Path string `json:"path"`
	Line int    `json:"line"`
}

// String is "otel.yaml:5 receivers.otlp".
func (p Place) String() string { return fmt.Sprintf("%s:%d %s", p.File, p.Line, p.Path) }

// Drop is something that Spanloom has no setting for.
type Drop struct {
	Place
	Why string `json:"why"`
}

// The kinds of documents that are known.
const (
	kindCollector = "OpenTelemetry Collector configuration"
	kindJaeger    = "resource of the Jaeger operator"
	kindSigNoz    = "Helm values of SigNoz"
	kindTempo     = "Helm values or configuration of Tempo"
	kindValues    = "Helm values with a collector's configuration"
)

// Importer collects from one file after the other. The zero value is ready.
type Importer struct {
	result  Result
	file    string
	nesting int
}

// File reads one file. The error says that nothing in it is known, or that it is no YAML.
func (im *Importer) File(name string, data []byte) error {
	docs, err := yamldoc.Read(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	im.file = name
	before := len(im.result.Sources)
	for _, d := range docs {
		if d.Err != nil {
			return &problem.Problem{Kind: problem.Invalid, Field: name, Message: d.Err.Error(), Hint: "mend the YAML first"}
		}
		im.document(d.Root, "")
	}
	if len(im.result.Sources) == before {
		return &problem.Problem{Kind: problem.Invalid, Field: name, Message: "nothing in it is known", Hint: "give an OpenTelemetry Collector configuration (receivers, processors, exporters), a kind: Jaeger resource, or Helm values of SigNoz or Tempo"}
	}
	return nil
}

// Result is what was found so far: settings in the order of the reference page, drops in the order of the files.
func (im *Importer) Result() Result {
	im.settle()
	order := make(map[string]int)
	for i, s := range config.Settings() {
		order[s.Name] = i
	}
	slices.SortStableFunc(im.result.Settings, func(a, b Setting) int { return order[a.Name] - order[b.Name] })
	return im.result
}

// settle takes out what serve itself would refuse.
func (im *Importer) settle() {
	kept := im.result.Settings[:0:0]
	for _, s := range im.result.Settings {
		if strings.HasPrefix(s.Name, "tls-") {
			kept = append(kept, s) // of a pair, which is checked as a whole below
			continue
		}
		if err := accepts(s); err != nil {
			for _, p := range s.From {
				im.result.Dropped = append(im.result.Dropped, Drop{Place: p, Why: s.Name + " does not take it: " + strings.TrimPrefix(err.Error(), "--"+s.Name+": "+s.Name+": ")})
			}
			continue
		}
		kept = append(kept, s)
	}
	im.result.Settings = kept
	if err := accepts(kept...); err == nil {
		return
	}
	// Half a pair of certificate and key.
	im.result.Settings = slices.DeleteFunc(kept, func(s Setting) bool {
		if !strings.HasPrefix(s.Name, "tls-") {
			return false
		}
		for _, p := range s.From {
			im.result.Dropped = append(im.result.Dropped, Drop{Place: p, Why: "certificate and key belong together, and one of them is missing"})
		}
		return true
	})
}

func accepts(settings ...Setting) error {
	flags := make(map[string][]string)
	for _, s := range settings {
		flags[s.Name] = s.Values
	}
	_, err := config.Load(config.Source{Flags: flags, Env: func(string) (string, bool) { return "", false }})
	return err
}

// maxNesting of configuration inside of configuration: a ConfigMap with a collector's is one level.
const maxNesting = 4

// document recognises one document, or a part that holds one.
func (im *Importer) document(v *yamldoc.Value, prefix string) {
	if v == nil || v.Kind != yamldoc.Map || im.nesting > maxNesting {
		return
	}
	im.nesting++
	defer func() { im.nesting-- }()
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return v.Exact(n) != nil })
	}
	kind := v.Exact("kind").Str()
	switch {
	case kind == "Jaeger":
		im.known(v, kindJaeger)
		im.jaeger(v)
	case kind == "OpenTelemetryCollector":
		im.inner(v.Exact("spec", "config"), join(prefix, "spec.config"))
	case kind == "ConfigMap":
		if data := v.Exact("data"); data != nil {
			for _, f := range data.Fields {
				im.inner(f.Value, join(prefix, "data."+f.Name))
			}
		}
	case strings.HasSuffix(kind, "List") && v.Exact("items") != nil:
		for i, item := range v.Exact("items").List() {
			im.document(item, join(prefix, fmt.Sprintf("items[%d]", i)))
		}
	case kind != "":
	case has("receivers") && has("exporters", "service", "processors"):
		im.known(v, kindCollector)
		im.collector(v, prefix)
	case has("tempo") || has("distributor") && has("storage", "compactor", "ingester") || has("traces") && has("compactor", "ingester", "distributor"):
		im.known(v, kindTempo)
		im.tempo(v, prefix)
	case has("otelCollector", "signoz", "clickhouse"):
		im.known(v, kindSigNoz)
		im.signoz(v, prefix)
	case v.Exact("config", "receivers") != nil:
		im.known(v, kindValues)
		im.signoz(v, prefix)
	}
}

// inner reads configuration that stands in a string, or as a map, of an object.
func (im *Importer) inner(v *yamldoc.Value, prefix string) {
	if v == nil {
		return
	}
	if v.Kind == yamldoc.Map {
		im.document(v, prefix)
		return
	}
	docs, err := yamldoc.Read([]byte(v.Text))
	if err != nil {
		return
	}
	for _, d := range docs {
		if d.Err == nil && d.Root != nil && d.Root.Kind == yamldoc.Map {
			shift(d.Root, v)
			im.document(d.Root, prefix)
		}
	}
}

// shift moves the lines of what stood in a block scalar to those of the file.
func shift(v, outer *yamldoc.Value) {
	if v == nil {
		return
	}
	if outer.Block {
		v.Line += outer.Line
	} else {
		v.Line = outer.Line
	}
	for _, item := range v.Items {
		shift(item, outer)
	}
	for i := range v.Fields {
		if outer.Block {
			v.Fields[i].Line += outer.Line
		} else {
			v.Fields[i].Line = outer.Line
		}
		shift(v.Fields[i].Value, outer)
	}
}

func join(prefix, path string) string { return strings.TrimPrefix(prefix+"."+path, ".") }

func (im *Importer) known(v *yamldoc.Value, kind string) {
	im.result.Sources = append(im.result.Sources, Source{File: im.file, Line: v.At(), Kind: kind})
}

func (im *Importer) place(path string, line int) Place {
	return Place{File: im.file, Path: path, Line: line}
}

func (im *Importer) drop(path string, line int, why string) {
	im.result.Dropped = append(im.result.Dropped, Drop{Place: im.place(path, line), Why: why})
}

// take sets a setting. A second value of one that takes a single value is dropped.
func (im *Importer) take(name, path string, line int, value string) {
	at := im.place(path, line)
	list := slices.ContainsFunc(config.Settings(), func(s config.Setting) bool { return s.Name == name && s.IsList() })
	for i := range im.result.Settings {
		s := &im.result.Settings[i]
		if s.Name != name {
			continue
		}
		switch {
		case slices.Contains(s.Values, value):
		case list:
			s.Values, s.From = append(s.Values, value), append(s.From, at)
		default:
			im.drop(path, line, fmt.Sprintf("%s is %s already, from %s", name, s.Values[0], s.From[0]))
		}
		return
	}
	im.result.Settings = append(im.result.Settings, Setting{Name: name, Values: []string{value}, From: []Place{at}})
}

// A rule takes one field over, or drops it.
type rule func(im *Importer, path string, f yamldoc.Field)

// rules by field name.
type rules map[string]rule

// each applies rules to the fields of a map; what has none is dropped for the reason given.
func (im *Importer) each(v *yamldoc.Value, path string, r rules, otherwise string) {
	if v == nil {
		return
	}
	if v.Kind != yamldoc.Map {
		if v.Kind != yamldoc.Null {
			im.drop(path, v.At(), "a map is expected here")
		}
		return
	}
	for _, f := range v.Fields {
		at := join(path, f.Name)
		if apply, ok := r[f.Name]; ok {
			apply(im, at, f)
		} else {
			im.drop(at, f.Line, otherwise)
		}
	}
}

// because drops a field for a reason of its own.
func because(why string) rule {
	return func(im *Importer, path string, f yamldoc.Field) { im.drop(path, f.Line, why) }
}

// silently passes over what is the way Spanloom works anyway.
func silently(*Importer, string, yamldoc.Field) {}

// as takes a scalar over as a setting. format holds one %s.
func as(setting, format string) rule {
	return func(im *Importer, path string, f yamldoc.Field) {
		if f.Value == nil || f.Value.Kind == yamldoc.Map || f.Value.Kind == yamldoc.List || f.Value.Text == "" {
			im.drop(path, f.Line, "a single value is expected here")
			return
		}
		if strings.Contains(f.Value.Text, "${") {
			im.drop(path, f.Line, "it comes from the environment: set "+setting+" yourself, or its variable")
			return
		}
		im.take(setting, path, f.Line, fmt.Sprintf(format, f.Value.Text))
	}
}

// within applies rules to a map below a field.
func within(r rules, otherwise string) rule {
	return func(im *Importer, path string, f yamldoc.Field) { im.each(f.Value, path, r, otherwise) }
}

// Write writes settings as the file that serve takes, each with where it comes from, and what was dropped as comments.
func Write(w io.Writer, r Result) error {
	var b strings.Builder
	b.WriteString("# Settings of Spanloom; check them with `spanloom config check FILE`. They come from\n")
	for _, s := range r.Sources {
		fmt.Fprintf(&b, "#   %s:%d, %s\n", s.File, s.Line, s.Kind)
	}
	for _, s := range r.Settings {
		if len(s.Values) == 1 {
			text, err := scalar(s.Values[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s: %s # %s\n", s.Name, text, s.From[0])
			continue
		}
		fmt.Fprintf(&b, "%s:\n", s.Name)
		for i, v := range s.Values {
			text, err := scalar(v)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "- %s # %s\n", text, s.From[i])
		}
	}
	if len(r.Settings) == 0 {
		b.WriteString("# No setting differs from its default.\n")
	}
	if len(r.Dropped) > 0 {
		b.WriteString("\n# Not taken over:\n")
	}
	for _, d := range r.Dropped {
		fmt.Fprintf(&b, "#   %s: %s\n", d.Place, d.Why)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func scalar(text string) (string, error) {
	if strings.ContainsAny(text, "\n\r") {
		return fmt.Sprintf("%q", text), nil
	}
	out, err := yaml.Marshal(text)
	return strings.TrimRight(string(out), "\n"), err
}
