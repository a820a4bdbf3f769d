package kube

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/wait"
)

// cluster is etcd and kube-apiserver of one test.
type cluster struct {
	t    *testing.T
	dir  string
	url  string
	http *http.Client
}

// users of the cluster; each token is its name with "token" behind.
var users = []string{"admin", "level1", "level2", "level3", "nobody", "shopper"}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Getenv("SPANLOOM_KUBE") == "" {
		t.Skip("needs kube-apiserver, which is built from source for some minutes: `make kube` does it")
	}
	c := &cluster{t: t, dir: t.TempDir(), http: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}}
	etcd, peer := realparts.FreeAddr(c.t), realparts.FreeAddr(c.t)
	c.start(realparts.Get(t, "etcd"), "--data-dir", filepath.Join(c.dir, "etcd"), "--listen-client-urls", "http://"+etcd, "--advertise-client-urls", "http://"+etcd,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer, "--initial-cluster", "default=http://"+peer, "--unsafe-no-fsync")
	c.keys()
	var tokens strings.Builder
	for i, u := range users {
		group := "testers"
		if u == "admin" {
			group = "system:masters"
		}
		fmt.Fprintf(&tokens, "%stoken,%s,uid%d,%q\n", u, u, i, group)
	}
	c.write("tokens.csv", tokens.String())
	api := realparts.FreeAddr(c.t)
	_, port, _ := net.SplitHostPort(api)
	c.start(realparts.Get(t, "kube-apiserver"), "--etcd-servers=http://"+etcd, "--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+filepath.Join(c.dir, "certs"),
		"--service-account-key-file="+filepath.Join(c.dir, "sa.pub"), "--service-account-signing-key-file="+filepath.Join(c.dir, "sa.key"), "--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC", "--token-auth-file="+filepath.Join(c.dir, "tokens.csv"), "--disable-admission-plugins=ServiceAccount")
	c.url = "https://" + api
	wait.For(t, 3*time.Minute, "the API server", func() bool {
		code, _ := c.try("GET", "/readyz", "", "")
		return code == 200
	})
	return c
}

func (c *cluster) start(path string, args ...string) {
	c.t.Helper()
	name := filepath.Base(path)
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
		if text, _ := os.ReadFile(log.Name()); c.t.Failed() {
			c.t.Logf("end of %s's log:\n%s", name, text[max(0, len(text)-1500):])
		}
	})
}

func (c *cluster) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// keys are those of service account tokens.
func (c *cluster) keys() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		c.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write("sa.key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	c.write("sa.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
}

// kubeconfig of a user.
func (c *cluster) kubeconfig(user string) string {
	path := filepath.Join(c.dir, user+".kubeconfig")
	c.write(user+".kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}], users: [{name: u, user: {token: %stoken}}]}`, c.url, user))
	return path
}

func (c *cluster) try(method, path, contentType, body string) (int, []byte) {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer admintoken")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer res.Body.Close()
	data, _ := io.ReadAll(res.Body)
	return res.StatusCode, data
}

func (c *cluster) do(method, path, contentType, body string) []byte {
	c.t.Helper()
	code, answer := c.try(method, path, contentType, body)
	if code < 200 || code > 299 {
		c.t.Fatalf("%s %s: %d %s", method, path, code, answer)
	}
	return answer
}

// paths of the kinds that tests write.
var paths = map[string]string{
	"Namespace": "/api/v1/namespaces", "Node": "/api/v1/nodes", "Pod": "/api/v1/%s/pods", "Service": "/api/v1/%s/services", "ConfigMap": "/api/v1/%s/configmaps", "Secret": "/api/v1/%s/secrets",
	"Deployment": "/apis/apps/v1/%s/deployments", "EndpointSlice": "/apis/discovery.k8s.io/v1/%s/endpointslices", "NetworkPolicy": "/apis/networking.k8s.io/v1/%s/networkpolicies",
	"ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles", "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
	"Role": "/apis/rbac.authorization.k8s.io/v1/%s/roles", "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/%s/rolebindings",
	"ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
	"CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
	"Telemetry":                "/apis/telemetry.istio.io/v1/%s/telemetries", "ServiceEntry": "/apis/networking.istio.io/v1/%s/serviceentries", "Sidecar": "/apis/networking.istio.io/v1/%s/sidecars",
	"Gateway": "/apis/networking.istio.io/v1/%s/gateways", "VirtualService": "/apis/networking.istio.io/v1/%s/virtualservices",
	"EnvoyFilter": "/apis/networking.istio.io/v1alpha3/%s/envoyfilters", "DestinationRule": "/apis/networking.istio.io/v1/%s/destinationrules",
}

// apply writes YAML documents by server-side apply as a manager, state too.
func (c *cluster) apply(manager, text string) {
	c.t.Helper()
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var v map[string]any
		if err := d.Decode(&v); err != nil {
			if err != io.EOF {
				c.t.Fatal(err)
			}
			return
		}
		if v == nil {
			continue
		}
		kind, _ := v["kind"].(string)
		meta, _ := v["metadata"].(map[string]any)
		path := paths[kind]
		if path == "" {
			c.t.Fatalf("no path for kind %q", kind)
		}
		if strings.Contains(path, "%s") {
			ns, _ := meta["namespace"].(string)
			path = fmt.Sprintf(path, "namespaces/"+ns)
		}
		body, err := json.Marshal(v)
		if err != nil {
			c.t.Fatal(err)
		}
		path += "/" + meta["name"].(string)
		c.do("PATCH", path+"?force=true&fieldManager="+manager, "application/apply-patch+yaml", string(body))
		if state, ok := v["status"]; ok {
			body, err := json.Marshal(map[string]any{"status": state})
			if err != nil {
				c.t.Fatal(err)
			}
			c.do("PATCH", path+"/status", "application/merge-patch+json", string(body))
		}
	}
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
	c.apply("istio", string(text))
	wait.For(c.t, time.Minute, "Istio's kinds", func() bool {
		for _, k := range []string{"Telemetry", "ServiceEntry", "EnvoyFilter", "Sidecar", "DestinationRule"} {
			if code, _ := c.try("GET", fmt.Sprintf(paths[k], "namespaces/default"), "", ""); code != 200 {
				return false
			}
		}
		return true
	})
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
