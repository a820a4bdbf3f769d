// Package rules holds rules about the code itself, as tests: which room may import which, and which licences may come in.
package rules

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/spanloom/spanloom/"

// arrows says what each room may import of ours, and why not more. A room is the longest matching prefix. internal/problem,
// internal/wait, internal/nearest and internal/faultfs may be imported by everyone.
var arrows = []struct {
	room   string
	may    []string
	reason string
}{
	{"span", nil, "the vocabulary imports nothing of ours"},
	{"receive/otlp", []string{"span", "receive"}, "receivers decode; they know neither steps nor engines"},
	{"receive/zipkin", []string{"span", "receive"}, "receivers decode; they know neither steps nor engines"},
	{"receive/jaeger", []string{"span", "receive"}, "files of Jaeger are decoded as receivers decode; it knows neither steps nor engines"},
	{"receive/door", []string{"span", "receive"}, "ports know no engine"},
	{"receive", []string{"span"}, "receive declares the Sink it needs"},
	{"process", []string{"span"}, "steps know neither receivers nor engines"},
	{"store/storetest", []string{"span", "store"}, "the suite tests the contract, not an engine"},
	{"store/match", []string{"span", "store"}, "shared by engines"},
	{"store/answer", []string{"span", "store"}, "shared by engines"},
	{"store/remote", nil, "shared by engines of servers elsewhere: who asks them, and how"},
	{"store/rollup", []string{"span", "store"}, "shared by engines and query: what is counted of spans"},
	{"store/mem", []string{"span", "store"}, "engines know the contract only"},
	{"store/wal", []string{"span"}, "the log knows batches, not who keeps them"},
	{"store/queue", []string{"span", "store", "store/mem", "store/wal", "store/remote"}, "the queue keeps what was not sent in the log and, to be read, in mem; it knows the contract of remote engines and what they say of refused spans, not them"},
	{"store/local", []string{"span", "store", "store/mem", "store/wal"}, "the embedded engine keeps its memory part in mem and its log in wal"},
	{"store/clickhouse", []string{"span", "store", "query/otlpjson"}, "engines know the contract only; lists and maps are written as JSON into the tables of OpenTelemetry's exporter"},
	{"store/opensearch", []string{"span", "store", "receive/jaeger"}, "engines know the contract only; Jaeger's documents are read where they are by the decoder of its files"},
	{"store/merge", []string{"span", "store"}, "shared by who makes one answer of several readers'"},
	{"store/beside", []string{"span", "store"}, "it reads two parts by their methods and knows neither"},
	{"store", []string{"span"}, "the contract knows no engine"},
	{"query/tempoapi", []string{"span", "store", "query"}, "dialects decode, call query, encode"},
	{"query/jaegerapi", []string{"span", "store", "query", "receive/otlp"}, "dialects decode, call query, encode; this one with OTLP's encoder for api_v3"},
	{"query/zipkinapi", []string{"span", "store", "query", "receive/zipkin"}, "dialects decode, call query, encode; this one with the encoder that inverts its receiver"},
	{"query/tracemetrics", []string{"span", "store", "query"}, "a dialect: it encodes what query answers"},
	{"query/uiapi", []string{"span", "store", "query", "doctor", "mesh"}, "dialects decode, call query, encode; this one also the doctor's facts and reports, and what the mesh screen renders and plans"},
	{"query/traceql", []string{"span", "store", "query"}, "the language knows neither engines nor dialects"},
	{"query", []string{"span", "store", "query"}, "query is engine-neutral: it imports the contract, never an engine"},
	{"forward", []string{"span", "store/wal", "store/remote", "receive/otlp"}, "copies go from a log of batches by OTLP's encoder: forwarding knows no engine; how an address has certificates it shares with engines of servers elsewhere"},
	{"export", []string{"span", "store"}, "export reads any engine through the contract"},
	{"mesh/yamldoc", nil, "reading knows no schema"},
	{"mesh/schema", []string{"mesh/yamldoc"}, "tables of fields know no objects"},
	{"mesh/istio", []string{"mesh/yamldoc", "mesh/schema"}, "configuration knows nothing of running proxies"},
	{"mesh/envoy", []string{"mesh/yamldoc", "mesh/istio"}, "Envoy's state is data; judging is the doctor's"},
	{"mesh/render", []string{"mesh/schema", "mesh/istio", "deploy"}, "what is written is a function of the intent and of the objects that were read; the files that deploy ships are the ones it writes"},
	{"deploy/observe", nil, "files for Grafana and Prometheus: names of metrics are what it shares with their rooms"},
	{"mesh/plan", []string{"mesh/yamldoc", "mesh/istio", "mesh/envoy", "mesh/render"}, "a plan is a function of the intent and of files; it reaches no cluster"},
	{"mesh/apply", []string{"mesh/yamldoc", "mesh/istio", "mesh/render", "mesh/plan"}, "what is written is what the plan shows; it reads the mesh for itself, and the doctor's facts are handed in"},
	{"deploy", nil, "files, embedded"},
	{"doctor/headers", nil, "headers are text"},
	{"doctor/live", []string{"doctor", "mesh", "query", "store", "span"}, "the doctor inside of serve reads through query, never an engine"},
	{"doctor/prescribe", []string{"doctor", "mesh"}, "what is planned is a function of facts and of the objects that would be written; command line and server share it"},
	{"doctor/collect", []string{"doctor", "mesh"}, "collecting makes facts"},
	{"doctor", []string{"mesh"}, "judging is a pure function of facts: it collects nothing"},
	{"web", nil, "the UI is files"},
	{"config/imports", []string{"config", "mesh/yamldoc"}, "files of others become settings; they are read by the bounded reader that the doctor has"},
	{"config", nil, "settings are plain data"},
	{"transfer", []string{"span", "receive", "store/remote"}, "import and export are clients: they decode with the receivers' decoders and talk to servers by their ports; remote is how logins are written"},
	{"load", []string{"span", "receive/otlp", "receive/zipkin"}, "load is a client: it uses encoders, never the server"},
	{"demo", nil, "the demo is a mesh beside Spanloom, reached by its ports"},
}

// everyone may import these.
var everyone = []string{"internal/problem", "internal/wait", "internal/nearest", "internal/faultfs", "internal/envoyspans", "internal/golden", "internal/realparts", "internal/clickhouseserver", "internal/searchserver", "internal/s3server", "internal/otlpclient", "internal/pause", "internal/repeated", "store/match", "store/answer", "store/rollup"}

func TestArrowsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-e", "-f", `{{.ImportPath}} {{join .Imports ","}}`, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		pkg, imports, _ := strings.Cut(line, " ")
		pkg = strings.TrimPrefix(pkg, module)
		for _, a := range arrows {
			if pkg != a.room && !strings.HasPrefix(pkg, a.room+"/") {
				continue
			}
			seen[a.room] = true
			for _, imp := range strings.Split(imports, ",") {
				imp, ours := strings.CutPrefix(imp, module)
				if !ours || inside(imp, a.room) || slices.Contains(everyone, imp) || slices.ContainsFunc(a.may, func(m string) bool { return inside(imp, m) && !isEngine(imp, a.may) }) {
					continue
				}
				t.Errorf("%s imports %s: %s", pkg, imp, a.reason)
			}
			break
		}
	}
	for _, a := range arrows {
		if !seen[a.room] {
			t.Errorf("no package in room %s: take it off the table or build it", a.room)
		}
	}
}

func inside(pkg, room string) bool { return pkg == room || strings.HasPrefix(pkg, room+"/") }

// isEngine: "may import store" means the contract, not the engines below it, unless they are named.
func isEngine(pkg string, may []string) bool {
	return (inside(pkg, "store/mem") || inside(pkg, "store/local") || inside(pkg, "store/clickhouse") || inside(pkg, "store/opensearch") || inside(pkg, "store/queue") || inside(pkg, "store/wal")) && !slices.ContainsFunc(may, func(m string) bool { return strings.HasPrefix(m, "store/") && inside(pkg, m) })
}

// phrases that only licences of the allowed families have.
var phrases = []struct{ licence, phrase string }{
	{"Apache-2.0", "Apache License"},
	{"MIT", "Permission is hereby granted, free of charge"},
	{"BSD", "Redistribution and use in source and binary forms"},
	{"MPL-2.0", "Mozilla Public License"},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software"},
	{"ISC", "Permission to use, copy, modify, and distribute this software"},
}

// refused families win over any phrase above.
var refused = []string{"GNU AFFERO GENERAL PUBLIC LICENSE", "Server Side Public License", "GNU GENERAL PUBLIC LICENSE", "Business Source License", "Elastic License"}

func TestLicencesOfGoModules(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-test", "-f", "{{with .Module}}{{.Path}} {{.Dir}}{{end}}", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := make(map[string]string)
	for _, line := range strings.Split(string(out), "\n") {
		if path, dir, ok := strings.Cut(line, " "); ok && path+"/" != module {
			modules[path] = dir
		}
	}
	if len(modules) < 5 {
		t.Fatalf("only %d modules found: the listing is broken", len(modules))
	}
	for path, dir := range modules {
		if licence, err := licenceOf(dir); err != nil {
			t.Errorf("%s: %v", path, err)
		} else {
			t.Logf("%s: %s", path, licence)
		}
	}
}

// shippedPath is the list that the status page shows: the modules that are in the binary. It is data, because building the
// pages needs no Go.
const shippedPath = "../../web/src/status/goModules.json"

var update = flag.Bool("update", false, "rewrite "+shippedPath)

type shippedModule struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Licence string `json:"licence"`
}

func TestShippedModulesAreListed(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}} {{.Dir}}{{end}}", module+"cmd/spanloom").Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []shippedModule
	for _, line := range strings.Split(string(out), "\n") {
		name, rest, _ := strings.Cut(line, " ")
		version, dir, ok := strings.Cut(rest, " ")
		if !ok || version == "" || slices.ContainsFunc(list, func(m shippedModule) bool { return m.Name == name }) {
			continue
		}
		licence, err := licenceOf(dir)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list = append(list, shippedModule{Name: name, Version: version, Licence: licence})
	}
	slices.SortFunc(list, func(a, b shippedModule) int { return strings.Compare(a.Name, b.Name) })
	if len(list) < 5 {
		t.Fatalf("only %d modules found: the listing is broken", len(list))
	}
	want, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(shippedPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(shippedPath)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not what the binary is made of now; run: go test ./internal/rules -run Shipped -update", shippedPath)
	}
}

func licenceOf(dir string) (string, error) {
	for ; ; dir = filepath.Dir(dir) {
		files, _ := filepath.Glob(filepath.Join(dir, "[LlCc][IiOo][CcPp]*"))
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			plain := strings.Join(strings.Fields(string(text)), " ")
			for _, r := range refused {
				if strings.Contains(plain, r) {
					return "", errors.New("is under the " + r)
				}
			}
			for _, p := range phrases {
				if strings.Contains(plain, p.phrase) {
					return p.licence, nil
				}
			}
		}
		if !strings.Contains(filepath.Base(filepath.Dir(dir)), "@") && !strings.Contains(dir, "@") {
			return "", errors.New("no licence file that is known to be Apache-2.0, MIT, BSD, MPL or ISC")
		}
	}
}

// allowedNPM are the SPDX expressions of npm packages that may be in the tree (shipped or used to build).
var allowedNPM = []string{"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MPL-2.0", "0BSD", "Unlicense", "CC0-1.0", "BlueOak-1.0.0",
	"CC-BY-4.0", "MIT-0", "Python-2.0", "(MIT OR CC0-1.0)", "MIT OR Apache-2.0", "Apache-2.0 OR MIT", "(MIT AND Zlib)"}

func TestLicencesOfNPMPackages(t *testing.T) {
	data, err := os.ReadFile("../../web/node_modules/.package-lock.json")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("web/node_modules is not installed: `make web` installs it, `make lint` does so first")
	}
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct{ Version, License string }
	}
	if err := json.Unmarshal(data, &lock); err != nil {
		t.Fatal(err)
	}
	if len(lock.Packages) < 5 {
		t.Fatalf("only %d npm packages found", len(lock.Packages))
	}
	for path, p := range lock.Packages {
		licence := p.License
		if licence == "" {
			var own struct{ License string }
			if data, err := os.ReadFile(filepath.Join("../../web", path, "package.json")); err == nil {
				_ = json.Unmarshal(data, &own)
			}
			licence = own.License
		}
		if !slices.Contains(allowedNPM, licence) {
			t.Errorf("%s %s has licence %q", path, p.Version, licence)
		}
	}
}

// TestNothingPrivateIsCommitted looks for machine paths and registry hosts in what git tracks.
func TestNothingPrivateIsCommitted(t *testing.T) {
	out, err := exec.Command("git", "-C", "../..", "ls-files", "-z").Output()
	if err != nil {
		t.Skip("not a git checkout: " + err.Error())
	}
	words := []string{"/ro" + "ot/", "/wo" + "rk/", "registry." + "npmjs", "proxy.gol" + "ang.org", "pypi." + "org", "files.pythonhosted" + ".org"}
	n := 0
	for _, name := range strings.Split(string(out), "\x00") {
		data, err := os.ReadFile(filepath.Join("../..", name))
		if name == "" || err != nil || slices.Contains(data[:min(len(data), 8000)], 0) {
			continue
		}
		n++
		for _, w := range words {
			if strings.Contains(string(data), w) {
				t.Errorf("%s contains %q", name, w)
			}
		}
	}
	if n == 0 {
		t.Fatal("no file looked at")
	}
}
