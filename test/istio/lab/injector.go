package lab

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/test/istio/lab/pods"
)

// injects tells whether a pod gets a sidecar, as the webhook's namespace selector and policy have it.
func (l *Lab) injects(namespace string, labels, annotations map[string]string) bool {
	l.t.Helper()
	var ns object
	l.kube.Get(l.kube.Path("Namespace", "", namespace), &ns)
	switch {
	case labels["sidecar.istio.io/inject"] != "":
		return labels["sidecar.istio.io/inject"] == "true"
	case annotations["sidecar.istio.io/inject"] == "false":
		return false
	}
	return ns.Metadata.Labels["istio-injection"] == "enabled"
}

// sidecar is the container that injection adds.
func (l *Lab) sidecar(p *pod, annotations map[string]string) container {
	return container{Name: "istio-proxy", Image: "docker.io/istio/proxyv2:" + Version, Args: []string{"proxy", "sidecar", "--domain", p.namespace + ".svc.cluster.local", "--concurrency", "1"}, Env: l.proxyEnv(p)}
}

// proxyEnv is the environment that injection gives a proxy. As in a cluster, the mesh's defaultConfig in force is written down at
// this moment and stays.
func (l *Lab) proxyEnv(p *pod) []variable {
	l.t.Helper()
	istiod := l.pod("istio-system", "istiod")
	text, err := istiod.get("127.0.0.1:8080/debug/mesh")
	if err != nil {
		l.t.Fatalf("ask istiod for the mesh configuration: %v", err)
	}
	var mesh struct {
		DefaultConfig map[string]any `json:"defaultConfig"`
	}
	if err := json.Unmarshal(text, &mesh); err != nil {
		l.t.Fatalf("read istiod's mesh configuration: %v", err)
	}
	config := mesh.DefaultConfig
	if config == nil {
		config = make(map[string]any)
	}
	config["binaryPath"] = l.part["envoy"]
	config["controlPlaneAuthPolicy"] = "NONE"
	config["discoveryAddress"] = istiod.Addr.String() + ":15010" // plain text: the lab has no certificates of the control plane
	config["terminationDrainDuration"] = "0s"
	out, err := json.Marshal(config)
	if err != nil {
		l.t.Fatal(err)
	}
	return []variable{{"PROXY_CONFIG", string(out)}, {"ISTIO_BOOTSTRAP", l.part["bootstrap"]}, {"ISTIO_META_CLUSTER_ID", "Kubernetes"}, {"ISTIO_META_WORKLOAD_NAME", p.workload},
		{"ISTIO_META_OWNER", fmt.Sprintf("kubernetes://apis/apps/v1/namespaces/%s/deployments/%s", p.namespace, p.workload)}, {"ISTIO_META_MESH_ID", "cluster.local"}, {"ISTIO_META_INTERCEPTION_MODE", "REDIRECT"},
		{"TRUST_DOMAIN", "cluster.local"}}
}

// proxyFolder is an agent's working directory: what the downward API and a certificate volume put there.
func (l *Lab) proxyFolder(p *pod, dir string, annotations map[string]string) {
	l.t.Helper()
	files, err := l.ca.files(p.namespace, "default")
	if err != nil {
		l.t.Fatal(err)
	}
	content := map[string][]byte{"etc/istio/pod/labels": downward(p.labels), "etc/istio/pod/annotations": downward(annotations)}
	for name, data := range files {
		content["var/run/secrets/workload-spiffe-credentials/"+name] = data
	}
	for name, data := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			l.t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Chown(path, pods.ProxyUID, pods.ProxyUID)
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// downward writes labels or annotations as the downward API does.
func downward(m map[string]string) []byte {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s=%q\n", k, m[k])
	}
	return []byte(b.String())
}
