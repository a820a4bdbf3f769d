package lab

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/internal/kubelet"
	"github.com/spanloom/spanloom/internal/kubeserver"
	"github.com/spanloom/spanloom/test/istio/lab/pods"
)

const node = "node-1"

// pod is one that runs, or ran.
type pod struct {
	*pods.Pod
	namespace, workload, name, hash string
	labels                          map[string]string
	started                         time.Time
	ready, proxied                  bool
	http                            *http.Client // from within the pod
	probes                          []string     // address and path of each container that has one
	logs                            []string

	mu     sync.Mutex
	failed []string
	ended  []func()
}

func (p *pod) result(probe string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ok {
		p.failed = append(p.failed, probe)
	}
}

// tails are the ends of the containers' logs.
func (p *pod) tails() string {
	var b strings.Builder
	for _, path := range p.logs {
		text, _ := os.ReadFile(path)
		fmt.Fprintf(&b, "== %s\n%s\n", filepath.Base(path), text[max(0, len(text)-3000):])
	}
	return b.String()
}

// newPod makes a pod of a Deployment: its object, its network namespace, its processes. It is not ready yet.
func (l *Lab) newPod(d deployment, hash string) *pod {
	l.t.Helper()
	l.serial++
	p := &pod{namespace: d.Metadata.Namespace, workload: d.Metadata.Name, hash: hash, name: fmt.Sprintf("%s-%s-%05d", d.Metadata.Name, hash, l.serial), started: time.Now(), labels: maps.Clone(d.Spec.Template.Metadata.Labels)}
	p.labels["pod-template-hash"] = hash
	annotations := d.Spec.Template.Metadata.Annotations
	containers := slices.Clone(d.Spec.Template.Spec.Containers)
	inject := l.injects(p.namespace, p.labels, annotations)
	var err error
	if p.Pod, err = l.net.Add(l.ctx, inject); err != nil {
		l.t.Fatal(err)
	}
	p.http = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return p.Dial(ctx, addr) }}}
	if inject {
		p.labels["security.istio.io/tlsMode"] = "istio"
		p.labels["service.istio.io/canonical-name"] = p.workload
		containers = append(containers, l.sidecar(p, annotations))
	} else if i := slices.IndexFunc(containers, func(c container) bool { return c.Name == "istio-proxy" }); i >= 0 {
		p.labels["service.istio.io/canonical-name"] = p.workload
		containers[i].Env = append(slices.Clone(containers[i].Env), l.proxyEnv(p)...)
	}
	text, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": p.name, "namespace": p.namespace, "labels": p.labels, "annotations": annotations,
			"ownerReferences": []any{map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": p.workload + "-" + hash, "uid": "0", "controller": true}}},
		"spec": map[string]any{"nodeName": node, "automountServiceAccountToken": false, "serviceAccountName": "default", "containers": plain(containers)}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.kube.Apply("controllers", string(text))
	l.status(p)
	for _, c := range containers {
		l.run(p, c, annotations)
	}
	return p
}

// plain turns a value into what YAML writes by its JSON names.
func plain(v any) (out any) {
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		panic(err) // it was made of JSON
	}
	return out
}

// run starts a container: its image says which program that is.
func (l *Lab) run(p *pod, c container, annotations map[string]string) {
	l.t.Helper()
	image, _, _ := strings.Cut(c.Image[strings.LastIndexByte(c.Image, '/')+1:], ":")
	dir := filepath.Join(l.dir, p.name+"-"+c.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "POD_NAME=" + p.name, "POD_NAMESPACE=" + p.namespace, "INSTANCE_IP=" + p.Addr.String(), "HOST_IP=" + l.net.Gateway().String(), "SERVICE_ACCOUNT=default"}
	for _, v := range c.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	ip := p.Addr.String()
	var cmd *exec.Cmd
	switch image {
	case "app":
		cmd = p.Command(l.ctx, l.part["app"])
		p.probes = append(p.probes, "127.0.0.1:8080/healthz")
	case "spanloom":
		cmd = p.Command(l.ctx, l.part["spanloom"], c.Args...)
		p.probes = append(p.probes, ip+":8888/readyz")
	case "pilot":
		env = append(env, "KUBECONFIG="+l.kube.Kubeconfig(kubeserver.Admin))
		cmd = p.Command(l.ctx, l.part["pilot-discovery"], append(slices.Clone(c.Args), "--kubeconfig", l.kube.Kubeconfig(kubeserver.Admin))...)
		p.probes = append(p.probes, "127.0.0.1:8080/ready")
	case "proxyv2":
		p.proxied = true
		l.proxyFolder(p, dir, annotations)
		uid := strconv.Itoa(pods.ProxyUID)
		cmd = p.Command(l.ctx, "setpriv", append([]string{"--reuid=" + uid, "--regid=" + uid, "--clear-groups", l.part["pilot-agent"]}, c.Args...)...)
		p.probes = append(p.probes, ip+":15020/healthz/ready")
	default:
		l.t.Fatalf("no program for image %q", c.Image)
	}
	log, err := os.Create(dir + ".log")
	if err != nil {
		l.t.Fatal(err)
	}
	p.logs = append(p.logs, log.Name())
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, dir, log, log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	p.ended = append(p.ended, func() {
		_ = cmd.Wait()
		log.Close()
	})
}

// kill ends the processes of a pod.
func (l *Lab) kill(p *pod) {
	// Own deadline: the lab's context is often the one that ended.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Kill(ctx); err != nil {
		l.t.Error(err)
		return
	}
	for _, wait := range p.ended {
		wait()
	}
	p.ended, p.ready = nil, false
}

func (l *Lab) killAll() {
	for _, p := range l.pods {
		if l.t.Failed() {
			l.t.Logf("pod %s/%s:\n%s", p.namespace, p.name, p.tails())
		}
		l.kill(p)
	}
}

// pod of a workload that runs now.
func (l *Lab) pod(namespace, workload string) *pod {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pods[namespace+"/"+workload]
	if p == nil {
		l.t.Fatalf("no pod of %s/%s runs", namespace, workload)
	}
	return p
}

// startKubelet registers a node whose agent is this test: it carries port-forwards into pods.
func (l *Lab) startKubelet() {
	l.t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(l.net.Gateway().String(), "0"))
	if err != nil {
		l.t.Fatal(err)
	}
	agent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // portForward/NAMESPACE/POD
		to := l.byName(parts)
		if to == nil {
			http.NotFound(w, r)
			return
		}
		kubelet.PortForward(w, r, func(port int) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
			defer cancel()
			return to.Dial(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		})
	}))
	agent.Listener.Close()
	agent.Listener = listener
	agent.TLS = &tls.Config{NextProtos: []string{"http/1.1"}} // port-forwards upgrade HTTP/1.1
	agent.StartTLS()
	l.t.Cleanup(agent.Close)
	l.kube.Apply("kubelet", fmt.Sprintf(`{apiVersion: v1, kind: Node, metadata: {name: %s}, status: {addresses: [{type: InternalIP, address: %s}], daemonEndpoints: {kubeletEndpoint: {Port: %d}}, conditions: [{type: Ready, status: "True"}]}}`,
		node, l.net.Gateway(), listener.Addr().(*net.TCPAddr).Port))
}

func (l *Lab) byName(parts []string) *pod {
	if len(parts) != 3 || parts[0] != "portForward" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pods {
		if p.namespace == parts[1] && p.name == parts[2] {
			return p
		}
	}
	return nil
}

// get asks a port of a pod's loopback.
func (p *pod) get(address string) ([]byte, error) {
	res, err := p.http.Get("http://" + address)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s: %s", address, res.Status, data)
	}
	return data, err
}
