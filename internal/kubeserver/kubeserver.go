// Package kubeserver runs etcd and a real kube-apiserver for a test and writes objects to it. Controllers, kubelets and schedulers
// there are none: a test plays those that it needs.
package kubeserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
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

// Cluster is one API server. Its methods fail the test where they cannot do what they are asked.
type Cluster struct {
	URL string

	t    testing.TB
	dir  string
	http *http.Client
}

// Admin is the user that may do everything.
const Admin = "admin"

// token of a user.
func token(user string) string { return user + "token" }

// Start runs the servers until the test ends. The API server listens at host, an address of this machine, so that others than this
// machine reach it too; its files, logs and kubeconfigs are in dir. It knows the administrator, and users who may nothing at first.
func Start(t testing.TB, dir, host string, users ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, dir: dir, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}}
	etcd, peer := realparts.FreeAddr(t), realparts.FreeAddr(t)
	c.start(realparts.Get(t, "etcd"), "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", "http://"+etcd, "--advertise-client-urls", "http://"+etcd,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer, "--initial-cluster", "default=http://"+peer, "--unsafe-no-fsync")
	c.keys()
	tokens := token(Admin) + "," + Admin + ",uid0,\"system:masters\"\n"
	for i, u := range users {
		tokens += fmt.Sprintf("%s,%s,uid%d,\"testers\"\n", token(u), u, i+1)
	}
	c.write("tokens.csv", tokens)
	port := freePort(t, host)
	c.start(realparts.Get(t, "kube-apiserver"), "--etcd-servers=http://"+etcd, "--bind-address="+host, "--secure-port="+port, "--cert-dir="+filepath.Join(dir, "certs"),
		"--service-account-key-file="+filepath.Join(dir, "sa.pub"), "--service-account-signing-key-file="+filepath.Join(dir, "sa.key"), "--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC", "--token-auth-file="+filepath.Join(dir, "tokens.csv"), "--disable-admission-plugins=ServiceAccount")
	c.URL = "https://" + net.JoinHostPort(host, port)
	wait.For(t, 3*time.Minute, "the API server", func() bool {
		code, _ := c.Try("GET", "/readyz", "", "")
		return code == http.StatusOK
	})
	return c
}

func freePort(t testing.TB, host string) string {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return realparts.Port(l.Addr().String())
}

func (c *Cluster) start(path string, args ...string) {
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

func (c *Cluster) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// keys are those of service account tokens.
func (c *Cluster) keys() {
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

// Kubeconfig writes a user's and answers its path.
func (c *Cluster) Kubeconfig(user string) string {
	return c.kubeconfig(c.URL, user, token(user))
}

// KubeconfigAt is Kubeconfig for another way to the server.
func (c *Cluster) KubeconfigAt(server, user string) string {
	return c.kubeconfig(server, user, token(user))
}

// KubeconfigFor is one for a token that the server gave out.
func (c *Cluster) KubeconfigFor(name, token string) string {
	return c.kubeconfig(c.URL, name, token)
}

func (c *Cluster) kubeconfig(server, name, token string) string {
	c.t.Helper()
	dir, err := os.MkdirTemp(c.dir, "kubeconfig-")
	if err != nil {
		c.t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, fmt.Appendf(nil, `{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}], users: [{name: u, user: {token: %q}}]}`, server, token), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// Try sends a request as the administrator. Code 0 means that no answer came.
func (c *Cluster) Try(method, path, contentType, body string) (code int, answer []byte) {
	req, err := http.NewRequestWithContext(context.Background(), method, c.URL+path, strings.NewReader(body)) // cleaning up asks too: the client has a deadline
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token(Admin))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return res.StatusCode, answer
}

// Do is Try for requests that must succeed.
func (c *Cluster) Do(method, path, contentType, body string) []byte {
	c.t.Helper()
	code, answer := c.Try(method, path, contentType, body)
	if code < 200 || code > 299 {
		c.t.Fatalf("%s %s: %d %s", method, path, code, answer)
	}
	return answer
}

// Get reads an object or list into a value.
func (c *Cluster) Get(path string, into any) {
	c.t.Helper()
	if err := json.Unmarshal(c.Do("GET", path, "", ""), into); err != nil {
		c.t.Fatalf("GET %s: %v", path, err)
	}
}

// groups of the kinds that tests write, and whether they have a namespace.
var groups = map[string]struct {
	path       string
	namespaced bool
}{
	"Namespace": {"/api/v1", false}, "Node": {"/api/v1", false}, "Pod": {"/api/v1", true}, "Service": {"/api/v1", true}, "ConfigMap": {"/api/v1", true}, "Secret": {"/api/v1", true},
	"Deployment": {"/apis/apps/v1", true}, "EndpointSlice": {"/apis/discovery.k8s.io/v1", true}, "NetworkPolicy": {"/apis/networking.k8s.io/v1", true},
	"ClusterRole": {"/apis/rbac.authorization.k8s.io/v1", false}, "ClusterRoleBinding": {"/apis/rbac.authorization.k8s.io/v1", false},
	"Role": {"/apis/rbac.authorization.k8s.io/v1", true}, "RoleBinding": {"/apis/rbac.authorization.k8s.io/v1", true},
	"ValidatingAdmissionPolicy": {"/apis/admissionregistration.k8s.io/v1", false}, "ValidatingAdmissionPolicyBinding": {"/apis/admissionregistration.k8s.io/v1", false},
	"CustomResourceDefinition": {"/apis/apiextensions.k8s.io/v1", false},
	"Telemetry":                {"/apis/telemetry.istio.io/v1", true}, "EnvoyFilter": {"/apis/networking.istio.io/v1alpha3", true},
	"Gateway": {"/apis/networking.istio.io/v1", true}, "VirtualService": {"/apis/networking.istio.io/v1", true}, "Sidecar": {"/apis/networking.istio.io/v1", true},
	"DestinationRule": {"/apis/networking.istio.io/v1", true}, "ServiceEntry": {"/apis/networking.istio.io/v1", true}, "PeerAuthentication": {"/apis/security.istio.io/v1", true},
}

// plurals that are no kind in small letters with an s.
var plurals = map[string]string{"NetworkPolicy": "networkpolicies", "Telemetry": "telemetries", "ServiceEntry": "serviceentries", "ValidatingAdmissionPolicy": "validatingadmissionpolicies"}

// Path of an object; of the list without a name.
func (c *Cluster) Path(kind, namespace, name string) string {
	c.t.Helper()
	g, ok := groups[kind]
	if !ok {
		c.t.Fatalf("no path for kind %q", kind)
	}
	p := g.path
	if g.namespaced {
		p += "/namespaces/" + namespace
	}
	plural := plurals[kind]
	if plural == "" {
		plural = strings.ToLower(kind) + "s"
	}
	p += "/" + plural
	if name != "" {
		p += "/" + name
	}
	return p
}

// Apply writes YAML documents by server-side apply as a manager, state too.
func (c *Cluster) Apply(manager, text string) {
	c.t.Helper()
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var v map[string]any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			c.t.Fatal(err)
		}
		if v == nil {
			continue
		}
		kind, _ := v["kind"].(string)
		meta, _ := v["metadata"].(map[string]any)
		namespace, _ := meta["namespace"].(string)
		name, _ := meta["name"].(string)
		path := c.Path(kind, namespace, name)
		c.Do("PATCH", path+"?force=true&fieldManager="+manager, "application/apply-patch+yaml", c.json(v))
		if state, ok := v["status"]; ok {
			c.Do("PATCH", path+"/status", "application/merge-patch+json", c.json(map[string]any{"status": state}))
		}
	}
}

// IstioKinds applies the text of Istio's definitions and waits until the server knows them.
func (c *Cluster) IstioKinds(text []byte) {
	c.t.Helper()
	c.Apply("istio", string(text))
	wait.For(c.t, time.Minute, "Istio's kinds", func() bool {
		for kind, g := range groups {
			if strings.Contains(g.path, ".istio.io/") {
				if code, _ := c.Try("GET", c.Path(kind, "default", ""), "", ""); code != http.StatusOK {
					return false
				}
			}
		}
		return true
	})
}

// Merge changes an object by a merge patch in YAML.
func (c *Cluster) Merge(path, patch string) {
	c.t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(patch), &v); err != nil {
		c.t.Fatal(err)
	}
	c.Do("PATCH", path, "application/merge-patch+json", c.json(v))
}

// Delete removes an object; one that is not there is fine.
func (c *Cluster) Delete(kind, namespace, name string) {
	c.t.Helper()
	path := c.Path(kind, namespace, name)
	if code, answer := c.Try("DELETE", path+"?gracePeriodSeconds=0", "", ""); code != http.StatusNotFound && (code < 200 || code > 299) {
		c.t.Fatalf("DELETE %s: %d %s", path, code, answer)
	}
}

func (c *Cluster) json(v any) string {
	c.t.Helper()
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		c.t.Fatal(err)
	}
	return b.String()
}
