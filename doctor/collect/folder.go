// Package collect makes facts: from folders and files of configuration and dumps.
package collect

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/yamldoc"
)

// Options of reading files.
type Options struct {
	Istio     string             // version to judge fields by; empty: that of the proxies, if any
	Namespace string             // keep only proxies of this namespace
	Progress  func(done, of int) // called now and then
}

// Limits of a folder: a larger one is a mistake (a home directory) and takes minutes.
const (
	maxFiles = 100_000
	maxDepth = 16
)

// file is one file to be read.
type file struct{ path string }

// base is the name without .gz.
func (f file) base() string { return strings.TrimSuffix(filepath.Base(f.path), ".gz") }

// Files reads folders and files into facts. A file that cannot be read is a fact (Facts.Unread), not a failure; a path
// that does not exist is a failure.
func Files(ctx context.Context, paths []string, o Options) (*doctor.Facts, error) {
	files, err := list(ctx, paths)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, problem.New(problem.Invalid, "no YAML, JSON or dump in "+strings.Join(paths, ", "), "give a folder of manifests, or of what `spanloom doctor --save` or istioctl wrote")
	}
	f := &doctor.Facts{Version: doctor.FactsVersion, Source: "files", Files: len(files), Istio: o.Istio}
	var configs, dumps []file
	for _, x := range files {
		switch kindOf(x) {
		case "config":
			configs = append(configs, x)
		case "proxy":
			dumps = append(dumps, x)
		case "received":
			f.Received, err = received(x.path)
			if err != nil {
				f.Unread = append(f.Unread, doctor.Unread{Name: x.path, Why: err.Error()})
			}
		case "log":
			if err := warnings(f, x.path); err != nil {
				f.Unread = append(f.Unread, doctor.Unread{Name: x.path, Why: err.Error()})
			}
		}
	}
	if f.Istio == "" {
		f.Istio = versionOf(dumps)
	}
	if err := readConfigs(ctx, f, configs); err != nil {
		return nil, err
	}
	return f, readProxies(ctx, f, dumps, o)
}

// skipped are files that people and tools keep beside a mesh's state and that say nothing about it.
var skipped = []string{"expected.md", "signals.json", "package.json", "package-lock.json", "tsconfig.json"}

// list walks the paths in order; what is under a folder is sorted by name.
func list(ctx context.Context, paths []string) ([]file, error) {
	var out []file
	for _, root := range paths {
		info, err := os.Stat(root)
		if err != nil {
			return nil, &problem.Problem{Kind: problem.Invalid, Field: "-f", Message: fmt.Sprintf("%q cannot be read", root), Hint: "give a folder or a file", Err: err}
		}
		if !info.IsDir() {
			out = append(out, file{root})
			continue
		}
		err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // unreadable folders are passed over; files in them are unknown
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			name := d.Name()
			if d.IsDir() {
				rel, _ := filepath.Rel(root, path)
				if path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || strings.Count(rel, string(filepath.Separator)) >= maxDepth) {
					return fs.SkipDir
				}
				return nil
			}
			if slices.Contains(skipped, name) || !d.Type().IsRegular() {
				return nil
			}
			switch filepath.Ext(strings.TrimSuffix(name, ".gz")) {
			case ".yaml", ".yml", ".json", ".txt", ".log":
				out = append(out, file{path})
			}
			if len(out) > maxFiles {
				return problem.New(problem.TooLarge, fmt.Sprintf("%q has more than %d files", root, maxFiles), "name the folder of the mesh's configuration")
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// kindOf sorts files by name, and JSON files by how they begin.
func kindOf(x file) string {
	base := x.base()
	switch {
	case base == "received.json":
		return "received"
	case base == "effective_mesh.json":
		return "config"
	case base == "clusters.txt", base == "stats.txt", base == "listeners.txt", base == "server_info.json":
		return "proxy"
	case strings.HasSuffix(base, ".log"), strings.HasSuffix(base, ".txt"):
		if strings.Contains(base, "istiod") || strings.Contains(base, "pilot") {
			return "log"
		}
		return ""
	case strings.HasSuffix(base, ".json"):
		if strings.Contains(base, "config_dump") || looksLikeDump(x.path) {
			return "proxy"
		}
	}
	return "config"
}

// looksLikeDump tells dumps from objects by their first keys.
func looksLikeDump(path string) bool {
	head, err := headOf(path)
	if err != nil {
		return false
	}
	return strings.Contains(head, `"configs"`) && strings.Contains(head, "envoy.admin") || strings.HasPrefix(strings.TrimLeft(head, "{ \r\n\t"), `"bootstrap"`)
}

func headOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r, err := envoy.Reader(f)
	if err != nil {
		return "", err
	}
	head := make([]byte, 2048)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	return string(head[:n]), nil
}

func readConfigs(ctx context.Context, f *doctor.Facts, configs []file) error {
	r := istio.Reader{Minor: istio.MinorOf(f.Istio)}
	for _, x := range configs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		data, err := readAll(x.path, yamldoc.MaxBytes)
		if err == nil {
			if x.base() == "effective_mesh.json" {
				err = r.Effective(x.path, data)
			} else {
				err = r.File(x.path, data)
			}
		}
		if err != nil {
			f.Unread = append(f.Unread, doctor.Unread{Name: x.path, Why: err.Error()})
		}
	}
	f.Objects = r.Objects
	for i, m := range f.Objects.Meshes {
		if m.Form == "effective" {
			f.Effective = &m
			f.Objects.Meshes = slices.Delete(f.Objects.Meshes, i, i+1)
			break
		}
	}
	return nil
}

// readAll reads a whole (perhaps packed) file up to a limit.
func readAll(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := envoy.Reader(f)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = problem.New(problem.TooLarge, fmt.Sprintf("more than %d bytes", limit), "split it, or read one namespace")
	}
	return data, err
}

// versionOf finds Istio's version in the first proxy that tells it.
func versionOf(dumps []file) string {
	for _, x := range dumps {
		if x.base() != "server_info.json" && !strings.Contains(x.base(), "config_dump") {
			continue
		}
		var p envoy.Proxy
		readPart(&p, x)
		if p.Istio != "" {
			return p.Istio
		}
	}
	return ""
}

// readProxies reads the state of each proxy: a folder is one, and so is a dump that lies beside others.
func readProxies(ctx context.Context, f *doctor.Facts, dumps []file, o Options) error {
	wanted := collectorHosts(f)
	groups := make(map[string][]file)
	var order []string
	for _, x := range dumps {
		key := filepath.Dir(x.path)
		if b := x.base(); strings.HasSuffix(b, ".json") && b != "config_dump.json" && b != "server_info.json" {
			key = x.path // web.config_dump.json, bootstrap.json
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], x)
	}
	for i, key := range order {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p := envoy.Proxy{Name: strings.TrimSuffix(strings.TrimSuffix(filepath.Base(key), ".gz"), ".json")}
		for _, part := range []string{"config_dump", "", "clusters.txt", "stats.txt", "server_info"} {
			for _, x := range groups[key] {
				b := x.base()
				if part != "" && strings.HasPrefix(b, part) || part == "" && strings.HasSuffix(b, ".json") && !strings.HasPrefix(b, "config_dump") && !strings.HasPrefix(b, "server_info") {
					if err := readPart(&p, x); err != nil {
						f.Unread = append(f.Unread, doctor.Unread{Name: x.path, Why: err.Error()})
					}
				}
			}
		}
		p.Keep(wanted)
		if o.Namespace == "" || p.Namespace == "" || p.Namespace == o.Namespace {
			f.Proxies = append(f.Proxies, p)
		}
		if o.Progress != nil && i%50 == 49 {
			o.Progress(i+1, len(order))
		}
	}
	return nil
}

func readPart(p *envoy.Proxy, x file) error {
	in, err := os.Open(x.path)
	if err != nil {
		return err
	}
	defer in.Close()
	switch b := x.base(); {
	case b == "clusters.txt":
		return p.ReadClusters(in)
	case b == "stats.txt":
		return p.ReadStats(in)
	case b == "server_info.json":
		return p.ServerInfo(in)
	case b == "listeners.txt":
		return nil
	default:
		return p.Dump(in)
	}
}

// collectorHosts tells which hosts are those of collectors, as the configuration names them.
func collectorHosts(f *doctor.Facts) func(string) bool {
	hosts := make(map[string]bool)
	add := func(m *istio.MeshConfig) {
		if m == nil {
			return
		}
		for _, p := range m.Providers {
			if p.Traces() {
				hosts[istio.HostOf(p.Service)] = true
			}
		}
	}
	add(f.Effective)
	for i := range f.Objects.Meshes {
		add(&f.Objects.Meshes[i])
	}
	for _, e := range f.Objects.EnvoyFilters {
		for _, p := range e.Patches {
			if _, _, _, h, ok := envoy.SplitCluster(p.Cluster); ok {
				hosts[h] = true
			}
		}
	}
	return func(h string) bool { return hosts[h] }
}

// received reads what a collector got.
func received(path string) (*doctor.Received, error) {
	data, err := readAll(path, 16<<20)
	if err != nil {
		return nil, err
	}
	var in struct {
		Received *struct {
			Requests  map[string]int `json:"requests"`
			Spans     int            `json:"spans"`
			Traces    int            `json:"traces"`
			ByService map[string]int `json:"by_service"`
			PerTrace  map[string]int `json:"spans_per_trace"`
			Roots     int            `json:"roots"`
		} `json:"received"`
		Traffic map[string]any `json:"traffic"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, err
	}
	if in.Received == nil {
		return nil, errors.New("it has no field received")
	}
	r := &doctor.Received{Spans: in.Received.Spans, Traces: in.Received.Traces, Roots: in.Received.Roots, ByService: in.Received.ByService, PerTrace: in.Received.PerTrace, Requests: in.Received.Requests}
	for _, n := range in.Traffic {
		if v, ok := n.(float64); ok {
			r.Traffic += int(v)
		} else {
			r.Traffic++ // a single request with its status as a text
		}
	}
	return r, nil
}

// maxWarnings kept of istiod's log.
const maxWarnings = 200

// warnings keeps the lines of istiod's log that are about tracing or mesh configuration.
func warnings(f *doctor.Facts, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := envoy.Reader(in)
	if err != nil {
		return err
	}
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), 1<<20)
	for s.Scan() && len(f.Warnings) < maxWarnings {
		line := s.Text()
		for _, word := range []string{"tracing", "mesh config", "ACK ERROR", "multiple namespaces", "service registry"} {
			if strings.Contains(line, word) {
				if len(line) > 500 {
					line = line[:500]
				}
				f.Warnings = append(f.Warnings, line)
				break
			}
		}
	}
	return s.Err()
}
