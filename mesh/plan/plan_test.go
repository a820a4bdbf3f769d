package plan

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/render"
)

// words reads an intent written as lines "flag value".
func words(t testing.TB, text string) render.Words {
	t.Helper()
	w := render.Words{Istio: "1.28"}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		flag, value, _ := strings.Cut(line, " ")
		switch flag {
		case "protocol":
			w.Protocol = value
		case "sampling":
			w.Sampling = value
		case "istio-version":
			w.Istio = value
		case "namespace":
			w.Namespace = value
		case "host":
			w.Hosts = strings.Split(value, ",")
		case "workload":
			w.Workloads = strings.Split(value, ",")
		case "for":
			w.For = strings.Split(value, ",")
		case "":
		default:
			t.Fatalf("no flag %q", flag)
		}
	}
	return w
}

func planned(t testing.TB, w render.Words, files []File) *Plan {
	t.Helper()
	r := istio.Reader{Minor: istio.MinorOf(w.Istio)}
	for _, f := range files {
		if err := r.File(f.Name, []byte(f.Text)); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.For) == 0 {
		w.For = Forms(&r.Objects)
	}
	in, err := render.Parse(w)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Make(in, files, State{Objects: &r.Objects})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each file of testdata/plan holds an intent, files, and the plan as it is printed. A patch made of the plan is taken by
// git, and then nothing is left to do.
func TestPlan(t *testing.T) {
	names, err := filepath.Glob("testdata/plan/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			head, want, ok := strings.Cut(string(data), "-- want --\n")
			if !ok {
				t.Fatal("no -- want --")
			}
			intent, files := sections(head)
			p := planned(t, words(t, intent), files)
			var b strings.Builder
			Print(&b, p)
			if *update {
				if err := os.WriteFile(name, []byte(head+"-- want --\n"+b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if b.String() != want {
				t.Errorf("got\n%s\nwant\n%s", b.String(), want)
			}
			patched := patch(t, p, files)
			for _, c := range planned(t, words(t, intent), patched).Changes {
				if !strings.Contains(b.String(), "a patch of the file leaves it out") {
					t.Errorf("after the patch there is still to %s %s:\n%s", c.Action, c.Object, c.Diff)
				}
			}
		})
	}
}

// sections cuts "intent, -- NAME --, text, …" apart.
func sections(text string) (intent string, files []File) {
	for i, part := range strings.Split(text, "-- file ") {
		if i == 0 {
			intent = part
			continue
		}
		name, body, _ := strings.Cut(part, " --\n")
		files = append(files, File{Name: name, Text: body})
	}
	return intent, files
}

// patch lets git apply the plan's patch in a folder of its own and reads the files back.
func patch(t *testing.T, p *Plan, files []File) []File {
	t.Helper()
	text := p.Patch()
	if text == "" {
		return files
	}
	folder := t.TempDir()
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(folder, f.Name), []byte(f.Text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "git", "apply", "--whitespace=nowarn", "-")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(folder))
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git apply: %v: %s\n%s", err, out, text)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var out []File
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, File{Name: e.Name(), Text: string(data)})
	}
	return out
}

// A plan that cannot be made in place says what to merge by hand, and where.
func TestWhatCannotBeEdited(t *testing.T) {
	for text, says := range map[string]string{
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    x: &x {}\n    defaultConfig: *x\n": "istio.yaml:1 data.mesh: this cannot be edited in place: an anchor or alias stands where defaultConfig is (merge by hand:\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata: {mesh: 'rootNamespace: istio-system'}\n":                                    "istio.yaml:1 data.mesh: this cannot be edited in place: it stands in braces (merge by hand:\nmesh: |-\n  rootNamespace: istio-system\n  enableTracing: true\n",
		"{kind: IstioOperator, apiVersion: install.istio.io/v1alpha1}\n":                                                                             "istio.yaml:1: this cannot be edited in place: it stands in braces (merge by hand:\nspec:\n  meshConfig:\n",
	} {
		var r istio.Reader
		if err := r.File("istio.yaml", []byte(text)); err != nil {
			t.Fatal(err)
		}
		target := "configmap"
		if strings.Contains(text, "IstioOperator") {
			target = "istiooperator"
		}
		in, err := render.Parse(render.Words{Istio: "1.28", For: []string{target}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Make(in, []File{{"istio.yaml", text}}, State{Objects: &r.Objects})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
}

// Whatever a file holds, a plan is made or refused, the files of a plan without changes are as they were, and what is
// changed is still YAML with as many documents.
func FuzzMake(f *testing.F) {
	names, _ := filepath.Glob("testdata/plan/*.txt")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		head, _, _ := strings.Cut(string(data), "-- want --\n")
		_, files := sections(head)
		for _, file := range files {
			f.Add(file.Text)
		}
	}
	in, err := render.Parse(render.Words{Istio: "1.28", For: []string{"configmap", "istiooperator", "helm", "telemetry", "kiali", "networkpolicy"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		var r istio.Reader
		if r.File("x.yaml", []byte(text)) != nil {
			return
		}
		p, err := Make(in, []File{{"x.yaml", text}}, State{Objects: &r.Objects})
		if err != nil {
			return
		}
		if p.Empty() && p.files[0].after() != text {
			t.Errorf("no change, and the file is another:\n%q\n%q", text, p.files[0].after())
		}
		_ = p.Patch()
		again := parse(File{"x.yaml", p.files[0].after()})
		if len(again.docs) != len(p.files[0].docs) {
			t.Errorf("%d documents became %d:\n%s", len(p.files[0].docs), len(again.docs), p.files[0].after())
		}
		for i, d := range p.files[0].docs {
			if (d.root == nil) != (again.docs[i].root == nil) && d.root != nil {
				t.Errorf("document %d is no YAML any more:\n%s", i, again.docs[i].text)
			}
		}
	})
}
