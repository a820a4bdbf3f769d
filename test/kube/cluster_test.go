package kube

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/kubeserver"
)

// cluster is the API server of one test.
type cluster struct {
	*kubeserver.Cluster
	t   *testing.T
	dir string
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Getenv("SPANLOOM_KUBE") == "" {
		t.Skip("needs kube-apiserver, which is built from source for some minutes: `make kube` does it")
	}
	dir := t.TempDir()
	return &cluster{kubeserver.Start(t, dir, "127.0.0.1", "level1", "level2", "level3", "nobody", "shopper"), t, dir}
}

// istioCRDs brings in Istio's own definitions.
func (c *cluster) istioCRDs() {
	c.t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "istio.io/api").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "kubernetes/customresourcedefinitions.gen.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.IstioKinds(text)
}

// address is one of this machine's that the API server proxies to: it refuses loopback.
func address(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address besides loopback, and the API server proxies to none of those")
	return ""
}

func compact(v any) string {
	var b bytes.Buffer
	_ = json.NewEncoder(&b).Encode(v)
	return b.String()
}
