package istio

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/golden"
)

// Each file of testdata/policy holds configuration, the proxies asked about, and the policy of each:
//
//	-- NAME.yaml --   objects; mesh.yaml is the mesh configuration
//	-- ask --         lines "namespace label=value,… [gateway] [waypoint] [service=NS/NAME] [entry=NS/NAME] [injected={…}]
//	                  [env=N] [istio=1.19] [proxy=1.27]"
//	-- want --        a line per direction
func TestPolicy(t *testing.T) {
	golden.Files(t, "testdata/policy/*.txt", func(t *testing.T, in string) string {
		parts := sections(in)
		var r Reader
		var got strings.Builder
		for _, p := range parts {
			if strings.HasSuffix(p.name, ".yaml") {
				if err := r.File(p.name, []byte(p.text)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, n := range r.Notes {
			fmt.Fprintf(&got, "note %s:%d %s: %s\n", n.File, n.Line, n.Reason, n.Message)
		}
		var mesh *MeshConfig
		if len(r.Meshes) > 0 {
			mesh = &r.Meshes[0]
		}
		for _, p := range parts {
			if p.name != "ask" {
				continue
			}
			for _, line := range strings.Split(strings.TrimSpace(p.text), "\n") {
				proxy, env := r.asked(t, line)
				pol := r.PolicyOf(mesh, env, proxy)
				fmt.Fprintf(&got, "%s\n", line)
				if !proxy.Waypoint {
					fmt.Fprintf(&got, "  client %s\n", direction(pol.Client))
				}
				fmt.Fprintf(&got, "  server %s\n", direction(pol.Server))
			}
		}
		return got.String()
	})
}

type section struct{ name, text string }

// sections cuts text into parts that lines "-- NAME --" begin; what stands before the first is a comment.
func sections(text string) (out []section) {
	for _, line := range strings.SplitAfter(text, "\n") {
		if name, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "-- "); ok && strings.HasSuffix(name, " --") {
			out = append(out, section{name: strings.TrimSuffix(name, " --")})
		} else if len(out) > 0 {
			out[len(out)-1].text += line
		}
	}
	return out
}

func (r *Reader) asked(t *testing.T, line string) (p Proxy, env *float64) {
	t.Helper()
	r.Istio = ""
	for i, word := range strings.Fields(line) {
		switch {
		case i == 0:
			p.Namespace = word
		case word == "gateway":
			p.Gateway = true
		case word == "waypoint":
			p.Waypoint = true
		case strings.HasPrefix(word, "service="), strings.HasPrefix(word, "entry="):
			kind, name, _ := strings.Cut(word, "=")
			namespace, name, _ := strings.Cut(name, "/")
			p.Service = &ServiceName{Namespace: namespace, Name: name, Entry: kind == "entry"}
		case strings.HasPrefix(word, "istio="):
			r.Istio = word[6:]
		case strings.HasPrefix(word, "proxy="):
			p.Version = word[6:]
		case strings.HasPrefix(word, "injected="):
			p.Injected = DecodeProxyConfig(strings.TrimPrefix(word, "injected="))
			if p.Injected == nil {
				t.Fatalf("%q", word)
			}
		case strings.HasPrefix(word, "env="):
			f, err := strconv.ParseFloat(word[4:], 64)
			if err != nil {
				t.Fatal(err)
			}
			env = &f
		default:
			p.Labels = make(map[string]string)
			for _, l := range strings.Split(word, ",") {
				k, v, _ := strings.Cut(l, "=")
				p.Labels[k] = v
			}
		}
	}
	return p, env
}

func direction(d Direction) string {
	s := string(d.Decision)
	if d.Reason != "" {
		s += " " + d.Reason
	}
	if d.Provider != nil {
		s += " " + d.Provider.Type + " " + d.Provider.Name
	} else if d.Named != "" {
		s += " ?" + d.Named
	}
	s += fmt.Sprintf(" %g%% by %s", d.Sampling, d.SampledBy)
	if d.Invalid {
		s += " invalid"
	}
	if d.SamplingRef.Path != "" {
		s += fmt.Sprintf(" %s:%d %s", d.SamplingRef.File, d.SamplingRef.Line, d.SamplingRef.Path)
	}
	for _, t := range d.Tags {
		s += " tag:" + t.Name + "=" + t.From
	}
	if d.MaxTag > 0 {
		s += fmt.Sprintf(" longest:%d", d.MaxTag)
	}
	for _, x := range []struct {
		word string
		on   bool
	}{{" own-tags:no", !d.IstioTags}, {" silent", d.Silent}, {" request-id:no", !d.RequestID}} {
		if x.on {
			s += x.word
		}
	}
	return s
}

func FuzzFile(f *testing.F) {
	files, _ := filepath.Glob("testdata/policy/*.txt")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		parts := sections(string(data))
		for _, p := range parts {
			f.Add([]byte(p.text))
		}
	}
	f.Add([]byte("kind: Pod\napiVersion: v1\nmetadata: {annotations: {proxy.istio.io/config: \"tracing: {sampling: 1}\"}}\nspec: {containers: [{name: a, env: [{name: OTEL_EXPORTER_OTLP_ENDPOINT, value: 'http://u:p@h:1'}]}]}"))
	f.Add([]byte("kind: List\napiVersion: v1\nitems: [{kind: Service, apiVersion: v1}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Reader
		if r.File("x.yaml", data) != nil {
			return
		}
		var mesh *MeshConfig
		if len(r.Meshes) > 0 {
			mesh = &r.Meshes[0]
		}
		r.PolicyOf(mesh, nil, Proxy{Namespace: "a"})
	})
}

// istiod's fetchProvider compares names with strings.EqualFold and takes the first.
func TestProviderNameIgnoresCase(t *testing.T) {
	m := &MeshConfig{Providers: []Provider{{Name: "OTel", Index: 0}, {Name: "otel", Index: 1}}}
	if p := m.Provider("otel"); p == nil || p.Index != 0 {
		t.Errorf("Provider(otel) = %+v, want the first, OTel", p)
	}
	if p := m.Provider("other"); p != nil {
		t.Errorf("Provider(other) = %+v, want none", p)
	}
}
