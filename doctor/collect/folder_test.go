package collect

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

const node = `{"configs":[{"bootstrap":{"node":{"id":"sidecar~10.0.0.1~web-0.shop~x","metadata":{"ISTIO_VERSION":"1.27.1","WORKLOAD_NAME":"web"}}}}`

// What cannot be read is a fact; the rest is read.
func TestFilesTakeWhatTheyCan(t *testing.T) {
	dir := t.TempDir()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(node + "]}"))
	z.Close()
	write(t, dir, "web/config_dump.json.gz", packed.Bytes())
	write(t, dir, "api/config_dump.json", []byte(node+`,{"static_clusters":[{"clus`))
	write(t, dir, "odd/config_dump.json", []byte("\x00\x01"))
	write(t, dir, "odd/stats.txt", []byte("\x00\xff: x\ntracing.zipkin.spans_sent: 1\n"))
	write(t, dir, "cut/clusters.txt.gz", packed.Bytes()[:20])
	write(t, dir, "web.config_dump.json", []byte(node+"]}"))
	write(t, dir, "received.json", []byte(`{"spans": 1}`))
	write(t, dir, "expected.md", []byte("not to be read"))
	write(t, dir, "signals.json", []byte(`{"not": "to be read"}`))
	write(t, dir, ".git/config.yaml", []byte("kind: Telemetry\napiVersion: telemetry.istio.io/v1"))
	write(t, dir, "bomb.yaml", []byte("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"))
	write(t, dir, "unknown.yaml", []byte("apiVersion: example.com/v1\nkind: Sidecar\nmetadata: {name: x}\nspec: 5\n---\napiVersion: x/v1\nkind: Unheard\n---\n- 1\n- a\n"))
	write(t, dir, "odd.yaml", []byte("apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: 5\nspec: [1]\n---\napiVersion: v1\nkind: Service\nspec: {ports: {a: 1}, selector: []}\n---\napiVersion: v1\nkind: Pod\nspec: {containers: x}\n"))
	write(t, dir, "istiod.log", []byte("info nothing\nwarn\tinvalid mesh config, using last known state: x\n"))
	f, err := Files(t.Context(), []string{dir}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var unread []string
	for _, u := range f.Unread {
		unread = append(unread, strings.TrimPrefix(u.Name, dir+"/"))
	}
	want := "received.json api/config_dump.json cut/clusters.txt.gz odd/config_dump.json"
	if got := strings.Join(unread, " "); got != want {
		t.Errorf("unread: %s, want %s", got, want)
	}
	if f.Istio != "1.27.1" || len(f.Proxies) != 5 || len(f.Warnings) != 1 || f.Received != nil {
		t.Errorf("%s, %d proxies, %v", f.Istio, len(f.Proxies), f.Warnings)
	}
	for _, p := range f.Proxies {
		if (p.Name == "web" || p.Name == "api" || p.Name == "web.config_dump") && p.Workload != "web" {
			t.Errorf("%s lost what its dump has: %+v", p.Name, p)
		}
	}
	if len(f.Objects.Sidecars) != 0 || len(f.Objects.Telemetries) != 1 || len(f.Objects.Services) != 1 {
		t.Errorf("%+v", f.Objects.Counts)
	}
}

func TestFilesOfOneNamespace(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "web/config_dump.json", []byte(node+"]}"))
	for ns, n := range map[string]int{"": 1, "shop": 1, "other": 0} {
		f, err := Files(t.Context(), []string{dir}, Options{Namespace: ns})
		if err != nil || len(f.Proxies) != n {
			t.Errorf("namespace %q: %v %v", ns, f.Proxies, err)
		}
	}
}

func TestFilesEndWhenToldTo(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", []byte("a: 1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Files(ctx, []string{dir}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
