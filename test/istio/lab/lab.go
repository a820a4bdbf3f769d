// Package lab is a small mesh of real parts: a kube-apiserver, istiod that reads it, Envoys with their agents as gateway and
// sidecars in network-namespace pods, applications that pass requests on, and the spanloom binary as the collector. The lab
// itself plays what a cluster has beside these: the Deployment and EndpointSlice controllers, the sidecar injector, and a kubelet.
//
// Everything is configured through the API server, so that a case is a change of objects and nothing else. It needs root,
// iproute2 and iptables; `make lab` runs it.
package lab

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/kubeserver"
	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/test/istio/lab/pods"
)

// Version of the Istio parts, as images of pods and Envoys say it.
const Version = "1.31.0"

// Lab is one mesh. Its methods fail the test where they cannot do what they are asked.
type Lab struct {
	t    testing.TB
	ctx  context.Context // ends somewhat before the test's own deadline, so that cleaning up still runs
	dir  string
	kube *kubeserver.Cluster
	net  *pods.Net
	part map[string]string // programs that pods run, by name
	ca   *authority

	mu     sync.Mutex
	pods   map[string]*pod // that run, by namespace/workload
	serial int
}

// Start brings up a cluster with a node, Istio's kinds and the namespaces, and nothing in it. All of it ends with the test.
func Start(t testing.TB) *Lab {
	t.Helper()
	if os.Getenv("SPANLOOM_LAB") == "" {
		t.Skip("needs root, network namespaces, kube-apiserver, istiod and Envoy, which are built or fetched for some minutes: `make lab` does it")
	}
	if os.Getuid() != 0 {
		t.Fatal("the lab makes network namespaces: run it as root")
	}
	l := &Lab{t: t, part: make(map[string]string), pods: make(map[string]*pod)}
	ctx, cancel := context.WithCancel(context.Background())
	if d, ok := t.(*testing.T).Deadline(); ok {
		ctx, cancel = context.WithDeadline(ctx, d.Add(-30*time.Second))
	}
	l.ctx = ctx
	t.Cleanup(cancel)
	l.folder()
	var err error
	// The process id keeps labs of one machine apart.
	id := os.Getpid()
	if l.net, err = pods.New(ctx, fmt.Sprintf("sl%d", id%1000000), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 214 + byte(id>>6&1), byte(id & 63 << 2), 0}), 22)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.net.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(l.killAll)
	l.programs()
	if l.ca, err = newAuthority(); err != nil {
		t.Fatal(err)
	}
	l.kube = kubeserver.Start(t, l.dir, l.net.Gateway().String())
	l.kinds()
	l.startKubelet()
	return l
}

// folder is readable by Envoy's user, which folders of the testing package are not.
func (l *Lab) folder() {
	dir, err := os.MkdirTemp("", "spanloom-lab-")
	if err != nil {
		l.t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	l.dir = dir
	l.t.Cleanup(func() {
		if l.t.Failed() && os.Getenv("SPANLOOM_LAB") == "keep" {
			l.t.Logf("logs are kept in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
}

// programs copies what pods run to where Envoy's user can read it, and builds spanloom.
func (l *Lab) programs() {
	for name, tool := range map[string]string{"pilot-discovery": "pilot-discovery", "pilot-agent": "pilot-agent", "envoy": "envoy"} {
		l.part[name] = l.copy(realparts.Get(l.t, tool), name, 0o755)
	}
	module, err := exec.CommandContext(l.ctx, "go", "list", "-m", "-f", "{{.Dir}}", "istio.io/istio").Output()
	if err != nil {
		l.t.Fatalf("where is istio.io/istio: %v", err)
	}
	l.part["istio"] = strings.TrimSpace(string(module))
	l.part["bootstrap"] = l.copy(filepath.Join(l.part["istio"], "tools/packaging/common/envoy_bootstrap.json"), "envoy_bootstrap.json", 0o644)
	l.part["spanloom"] = filepath.Join(l.dir, "spanloom")
	build := exec.CommandContext(l.ctx, "go", "build", "-trimpath", "-o", l.part["spanloom"], "./cmd/spanloom")
	build.Dir = realparts.Root()
	if out, err := build.CombinedOutput(); err != nil {
		l.t.Fatalf("build spanloom: %v: %s", err, out)
	}
	if l.part["app"], err = os.Executable(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *Lab) copy(from, name string, mode os.FileMode) string {
	in, err := os.Open(from)
	if err != nil {
		l.t.Fatal(err)
	}
	defer in.Close()
	to := filepath.Join(l.dir, name)
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, mode)
	if err == nil {
		_, err = io.Copy(out, in)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return to
}

// kinds writes Istio's definitions, of the very module that istiod is built from.
func (l *Lab) kinds() {
	text, err := os.ReadFile(filepath.Join(l.part["istio"], "manifests/charts/base/files/crd-all.gen.yaml"))
	if err != nil {
		l.t.Fatal(err)
	}
	l.kube.IstioKinds(text)
}

// until polls a condition, and gives up with the test after d.
func (l *Lab) until(d time.Duration, what string, cond func() bool) {
	l.t.Helper()
	if !l.within(d, cond) {
		l.t.Fatalf("gave up after %s waiting for %s", d, what)
	}
}

// within polls a condition and tells whether it came to hold.
func (l *Lab) within(d time.Duration, cond func() bool) bool {
	ctx, cancel := context.WithTimeout(l.ctx, d)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if cond() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// Spanloom runs the binary with the cluster's kubeconfig and answers its exit code and output.
func (l *Lab) Spanloom(args ...string) (int, string, string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.part["spanloom"], append(args, "--kubeconfig", l.kube.Kubeconfig(kubeserver.Admin))...)
	cmd.Dir = l.dir
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		l.t.Fatalf("spanloom %v: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}
