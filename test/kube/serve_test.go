package kube

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/internal/wait"
)

// build makes the program that is tested.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spanloom")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/spanloom")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// spanloom runs a command to its end.
func spanloom(t *testing.T, path string, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if _, exit := err.(*exec.ExitError); err != nil && !exit {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// The real program: serve reads the cluster by itself, sees the fix, and judges what the command line collects.
func TestProgram(t *testing.T) {
	m := newMesh(t, "f08-otlp-port-4317-missing-in-service")
	path, data := build(t), t.TempDir()
	args := []string{"serve", "--data-dir", data, "--kubeconfig", m.Kubeconfig("level3"), "--max-memory", "256MiB"}
	for _, name := range []string{"http", "jaeger-grpc", "tempo", "tempo-grpc", "zipkin", "otlp-grpc", "otlp-http", "admin"} {
		args = append(args, "--"+name+"-addr", "127.0.0.1:0")
	}
	var log bytes.Buffer
	serve := exec.Command(path, args...)
	serve.Stdout, serve.Stderr = &log, &log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.Process.Signal(syscall.SIGTERM)
		if err := serve.Wait(); err != nil || t.Failed() {
			t.Errorf("serve ended with %v\n%s", err, log.String())
		}
	})
	var ends struct{ HTTP string }
	wait.For(t, 30*time.Second, "serve", func() bool {
		text, err := os.ReadFile(filepath.Join(data, "endpoints.json"))
		return err == nil && json.Unmarshal(text, &ends) == nil && ends.HTTP != ""
	})
	report := func() *doctor.Report {
		res, err := http.Get("http://" + ends.HTTP + "/api/spanloom/v1/doctor")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		r := new(doctor.Report)
		if err != nil || json.Unmarshal(body, r) != nil {
			t.Fatalf("%v %s", err, body)
		}
		return r
	}
	has := func(r *doctor.Report, cause string) bool {
		return slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Cause == cause })
	}
	wait.For(t, time.Minute, "the cluster in the server's report", func() bool { return report().Source == "cluster" })
	r := report()
	if !has(r, "provider-port-missing") || len(r.Stations) != 3 {
		t.Errorf("%s %s, causes %v, chains %v", r.State, r.Reason, r.Findings, names(r))
	}
	for _, c := range r.Stations { // silent workloads are suspects, so Envoy itself was asked
		if c.Stations[2].State != doctor.Green {
			t.Errorf("%s: %+v", c.Workload, c.Stations)
		}
	}

	// The mesh screen's diff: what apply would write, by the rights of the doctor, and nothing is written.
	ask := func(path string) string {
		t.Helper()
		res, err := http.Get("http://" + ends.HTTP + "/api/spanloom/v1/mesh/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s %v", path, res.StatusCode, body, err)
		}
		t.Logf("%s: %s", path, body)
		return string(body)
	}
	rendered := ask("render?sampling=staging")
	if !strings.Contains(rendered, `"command":"spanloom mesh apply --sampling staging"`) || !strings.Contains(rendered, `"versionFrom":"proxies"`) {
		t.Error(rendered)
	}
	for range 2 {
		planned := ask("plan?sampling=staging&for=configmap,telemetry,networkpolicy")
		for _, says := range []string{`"object":"ConfigMap istio-system/istio"`, `"object":"Telemetry istio-system/`, `"action":"change"`, "randomSamplingPercentage: 10", `"collected":"1`, `"workload":"shop/web"`} {
			if !strings.Contains(planned, says) {
				t.Errorf("the plan does not say %s\n%s", says, planned)
			}
		}
	}

	facts := filepath.Join(t.TempDir(), "facts.json")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"doctor", "--kubeconfig", m.Kubeconfig("level3"), "--save", facts}, 1, "T0301 error"},
		{[]string{"doctor", "--facts", facts}, 1, "T0301 error"},
		{[]string{"doctor", "--facts", facts, "--server", "http://" + ends.HTTP, "-o", "json"}, 1, `"window": {`},
		{[]string{"doctor", "--kubeconfig", m.Kubeconfig("level1"), "-n", "shop", "--workload", "web"}, 1, "shop/web"},
		{[]string{"doctor", "--kubeconfig", m.Kubeconfig("nobody")}, 0, "T0128 not-read"},
		{[]string{"why", "shop/web", "--kubeconfig", m.Kubeconfig("level3")}, 1, "!  5 cluster   tempo.monitoring.svc.cluster.local has no port 4317"},
	} {
		if code, out := spanloom(t, path, c.args...); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("spanloom %s: exit %d, want %d with %q\n%s", strings.Join(c.args, " "), code, c.code, c.says, out)
		}
	}
	watch := exec.Command(path, "doctor", "--watch", "--level", "1", "--kubeconfig", m.Kubeconfig("level1"), "-o", "json")
	lines, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = watch.Process.Kill() })
	watched := json.NewDecoder(lines)
	next := func() *doctor.Report {
		t.Helper()
		r := new(doctor.Report)
		if err := watched.Decode(r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if !has(next(), "provider-port-missing") {
		t.Error("the watch begins with a fine mesh")
	}
	m.Do("PATCH", m.Path("ServiceEntry", "monitoring", "tempo"), "application/json-patch+json", `[{"op":"add","path":"/spec/ports/-","value":{"name":"grpc-otlp","number":4317,"protocol":"GRPC"}}]`)
	wait.For(t, time.Minute, "a report that knows the new port", func() bool { r := report(); return r.Collected > 0 && !hasObject(r, "ServiceEntry") })
	if has(next(), "provider-port-missing") {
		t.Error("the watch does not see the fix")
	}
	_ = watch.Process.Signal(os.Interrupt)
	if err := watch.Wait(); watch.ProcessState.ExitCode() != 1 { // a warning is left
		t.Errorf("the watch ended with %v", err)
	}
}

func names(r *doctor.Report) (out []string) {
	for _, c := range r.Stations {
		out = append(out, c.Workload)
	}
	return out
}

// hasObject: the recorded Envoys still lack the cluster, but the ServiceEntry is no longer at fault.
func hasObject(r *doctor.Report, kind string) bool {
	return slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool {
		return f.Object.Kind == kind && f.Cause == "provider-port-missing"
	})
}
