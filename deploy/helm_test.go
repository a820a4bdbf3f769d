package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/internal/golden"
	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/render"
)

// helm is Helm itself, built by tools/get.
func helm(t *testing.T) string {
	t.Helper()
	if os.Getenv("SPANLOOM_LONG") != "1" {
		t.Skip("runs Helm: set SPANLOOM_LONG=1")
	}
	return realparts.Get(t, "helm")
}

// template renders the chart with values; the error is what Helm says.
func template(t *testing.T, helm, values string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), helm, "template", "spanloom", "helm/spanloom", "--namespace", "istio-system", "--kube-version", "1.31.0", "-f", "-")
	cmd.Stdin = strings.NewReader(values)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", errors.New(stderr.String())
	}
	return string(out), nil
}

func TestHelmLint(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), helm(t), "lint", "--strict", "helm/spanloom").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Each file of testdata/values holds values and what they change of the chart's default objects, line by line. Whatever the
// values, the objects keep what all of them must have (checkObjects).
func TestHelmValues(t *testing.T) {
	tool := helm(t)
	base, err := template(t, tool, "{}")
	if err != nil {
		t.Fatal(err)
	}
	checkObjects(t, base)
	golden.Files(t, "testdata/values/*.txt", func(t *testing.T, values string) string {
		text, err := template(t, tool, values)
		if err != nil {
			t.Fatal(err)
		}
		checkObjects(t, text)
		got := changed(base, named(t, text))
		if got == "" {
			t.Error("these values change nothing")
		}
		return got
	})
}

// Every value of the chart stands in some case.
func TestEveryValueIsTried(t *testing.T) {
	data, err := os.ReadFile("helm/spanloom/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var defaults map[string]any
	if err := yaml.Unmarshal(data, &defaults); err != nil {
		t.Fatal(err)
	}
	tried := make(map[string]bool)
	names, _ := filepath.Glob("testdata/values/*.txt")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut(string(data), "-- want --\n")
		var values map[string]any
		if err := yaml.Unmarshal([]byte(text), &values); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		paths(values, "", func(p string) { tried[p] = true })
	}
	paths(defaults, "", func(p string) {
		if !tried[p] {
			t.Errorf("value %s is in no file of testdata/values", p)
		}
	})
}

// paths calls back for each value that is set: maps that are empty by default take what their owner likes.
func paths(v map[string]any, prefix string, f func(string)) {
	for k, x := range v {
		f(prefix + k)
		if m, ok := x.(map[string]any); ok && len(m) > 0 && k != "labels" && k != "requests" && k != "limits" {
			paths(m, prefix+k+".", f)
		}
	}
}

func TestHelmRefusals(t *testing.T) {
	tool := helm(t)
	for _, c := range []struct{ values, says string }{
		{"replicas: 2", "replicas: 2 with store: local: this engine keeps spans in or beside one process"},
		{"{replicas: 2, store: memory}", "replicas: 2 with store: memory"},
		{"replics: 2", "additional properties 'replics' not allowed"},
		{"persistance: {size: 1Gi}", "additional properties 'persistance' not allowed"},
		{"persistence: {sise: 1Gi}", "additional properties 'sise' not allowed"},
		{"store: clickhaus", "at '/store': value must be one of 'local', 'memory'"},
		{"store: clickhouse", "engine.url is empty with store: clickhouse"},
		{"{store: clickhouse, engine: {url: 'https://me@search:9200'}}", "engine.url: https://search:9200 with store: clickhouse"},
		{"{store: opensearch, engine: {url: 'clickhouse://me@search:9000/db'}}", "clickhouse:// is for store: clickhouse"},
		{"{engine: {url: 'https://search:9200'}}", "engine.url is set with store: local"},
		{"{store: opensearch, engine: {url: 'https://me:secret@search:9200'}}", "engine.url holds a password"},
		{"{store: opensearch, engine: {url: 'search:9200'}}", "at '/engine/url'"},
		{"{replicas: 2, store: opensearch, engine: {url: 'http://search:9200'}, persistence: {existingClaim: mine}}", "each replica needs a volume of its own"},
		{"config: {clickhouse-dsn: x}", "config.clickhouse-dsn: the chart sets this itself"},
		{"retention: forever", "at '/retention': 'forever' does not match pattern"},
		{"maxDisk: 120%", "at '/maxDisk'"},
		{"maxMemory: lots", "at '/maxMemory'"},
		{"basePath: traces", "at '/basePath'"},
		{"externalUrl: traces.example.com", "at '/externalUrl'"},
		{"config: {data-dir: /data}", "config.data-dir: the chart sets this itself"},
		{"config: {tls-cert: /x}", "config.tls-cert: the chart sets this itself. Use tls.existingSecret"},
		{"tls: {listeners: [https]}", "at '/tls/listeners/0'"},
		{"tls: {certManager: {enabled: true}}", "tls.certManager.issuerRef.name is empty"},
		{"tls: {existingSecret: x, clientCA: true, listeners: [http, admin]}", "the kubelet shows no certificate"},
		{"ingress: {enabled: true}", "ingress.hosts is empty"},
		{"ingress: {enabled: true, hosts: [a.b], className: nginx, annotations: {kubernetes.io/ingress.class: nginx}}", "are both set"},
		{"httpRoute: {enabled: true}", "httpRoute.parentRefs is empty"},
		{"service: {nodePort: 30004}", "service.nodePort needs service.type NodePort"},
		{"service: {type: Headless}", "at '/service/type'"},
		{"aliasServices: [{name: x, ports: [otlp]}]", "at '/aliasServices/0/ports/0'"},
		{"{addonServices: true, fullnameOverride: zipkin}", "Service is called zipkin already"},
		{"doctor: {level: 4}", "at '/doctor/level'"},
		{"{doctor: {level: 1}, serviceAccount: {create: false}}", "would give its rights to the service account default"},
		{"terminationGracePeriodSeconds: 5", "at '/terminationGracePeriodSeconds'"},
	} {
		t.Run(c.values, func(t *testing.T) {
			_, err := template(t, tool, c.values)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %s", err, c.says)
			}
		})
	}
}

// The rights that the chart gives at each level are those that the doctor says it needs.
func TestDoctorsRights(t *testing.T) {
	tool := helm(t)
	for level := 1; level <= 3; level++ {
		text, err := template(t, tool, fmt.Sprintf("doctor: {level: %d, istioNamespace: mesh}", level))
		if err != nil {
			t.Fatal(err)
		}
		got, want := rights(t, text), rights(t, collect.Roles(level, "mesh"))
		if len(want) < 10 || !slices.Equal(got, want) {
			t.Errorf("level %d: the chart gives\n%s\nthe doctor needs\n%s", level, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// rights are the rules of all roles in a text: "kind namespace group/resource verbs", in order.
func rights(t *testing.T, text string) []string {
	t.Helper()
	var out []string
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var o struct {
			Kind     string
			Metadata struct{ Namespace string }
			Rules    []struct {
				Groups    []string `yaml:"apiGroups"`
				Resources []string
				Verbs     []string
			}
		}
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if o.Kind != "ClusterRole" && o.Kind != "Role" {
			continue
		}
		for _, r := range o.Rules {
			for _, resource := range r.Resources {
				out = append(out, fmt.Sprintf("%s %s %s/%s %v", o.Kind, o.Metadata.Namespace, strings.Join(r.Groups, ","), resource, r.Verbs))
			}
		}
	}
	slices.Sort(out)
	return out
}

// The plain manifests are the chart's output: spanloom.yaml with its defaults, addon.yaml in the shape of Istio's Jaeger addon.
func TestPlainManifests(t *testing.T) {
	tool := helm(t)
	for _, c := range []struct{ file, head, values string }{
		{"kubernetes/spanloom.yaml", "# Spanloom on a volume. Made from the chart in deploy/helm: change that, then run\n# SPANLOOM_LONG=1 go test ./deploy -run TestPlainManifests -update\n", "{}"},
		{"kubernetes/addon.yaml", "# Spanloom in the place of Istio's Jaeger addon: the same Services (tracing, zipkin, jaeger-collector), spans in memory.\n# kubectl apply -f addon.yaml. Made from the chart in deploy/helm like spanloom.yaml.\n", "{store: memory, addonServices: true, resources: {requests: {cpu: 10m, memory: 128Mi}, limits: {memory: 512Mi}}}"},
	} {
		text, err := template(t, tool, c.values)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		out.WriteString(c.head)
		for i, line := range strings.SplitAfter(text, "\n") {
			if strings.HasPrefix(line, "# Source: ") || strings.Contains(line, "app.kubernetes.io/managed-by: Helm") || strings.Contains(line, "helm.sh/chart: ") || i == 0 && line == "---\n" {
				continue
			}
			out.WriteString(line)
		}
		checkObjects(t, out.String())
		if *golden.Update {
			if err := os.WriteFile(c.file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		if string(data) != out.String() {
			t.Errorf("%s is not what the chart gives: run this test with -update", c.file)
		}
	}
}

// The doctor finds nothing wrong in a mesh that `mesh render` configured for the rendered chart.
func TestDoctorTakesTheChartForAHealthyReceiver(t *testing.T) {
	for _, file := range []string{"kubernetes/spanloom.yaml", "kubernetes/addon.yaml"} {
		for protocol, service := range map[string]string{"otlp": "spanloom", "zipkin": "spanloom", "otlp to the addon's name": "jaeger-collector", "zipkin to the addon's name": "zipkin"} {
			if file == "kubernetes/spanloom.yaml" && service != "spanloom" {
				continue
			}
			t.Run(file+" "+protocol, func(t *testing.T) {
				word, _, _ := strings.Cut(protocol, " ")
				in, err := render.Parse(render.Words{Protocol: word, Sampling: "dev", Service: service, Istio: "1.28", For: []string{"configmap", "telemetry", "networkpolicy"}})
				if err != nil {
					t.Fatal(err)
				}
				parts, err := render.Render(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				var mesh bytes.Buffer
				if err := render.Write(&mesh, parts); err != nil {
					t.Fatal(err)
				}
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				r := istio.Reader{Minor: "1.28"}
				for name, text := range map[string]string{"mesh.yaml": mesh.String(), "spanloom.yaml": string(data), "shop.yaml": "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {template: {metadata: {labels: {app: web}}}}}"} {
					if err := r.File("objects-"+name, []byte(text)); err != nil {
						t.Fatal(err)
					}
				}
				report := doctor.Diagnose(&doctor.Facts{Istio: "1.28", Objects: r.Objects, Complete: true}, doctor.Options{})
				if w := report.Worst(); w == doctor.Error || w == doctor.Warning {
					var b strings.Builder
					doctor.Print(&b, report)
					t.Error(b.String())
				}
				for _, c := range report.Stations {
					for _, s := range c.Stations {
						if slices.Contains([]string{"policy", "cluster", "endpoint"}, s.Name) && s.State != doctor.Green {
							t.Errorf("%s: %s is %s: %s", c.Workload, s.Name, s.State, s.Reason)
						}
					}
				}
				if len(report.Stations) != 1 {
					t.Errorf("%d workloads, want shop/web alone: Spanloom is the collector", len(report.Stations))
				}
			})
		}
	}
}

// object is what the checks below look at.
type object struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Data map[string]string
	Spec struct {
		Replicas  *int
		ClusterIP string `yaml:"clusterIP"`
		Selector  any
		Ports     []struct {
			Name        string
			Port        int
			TargetPort  any    `yaml:"targetPort"`
			AppProtocol string `yaml:"appProtocol"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				HostNetwork                  bool  `yaml:"hostNetwork"`
				HostPID                      bool  `yaml:"hostPID"`
				HostIPC                      bool  `yaml:"hostIPC"`
				AutomountServiceAccountToken *bool `yaml:"automountServiceAccountToken"`
				SecurityContext              struct {
					RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
					RunAsUser      int64                 `yaml:"runAsUser"`
					SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
				} `yaml:"securityContext"`
				Containers []struct {
					SecurityContext struct {
						AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
						ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
						Privileged               bool
						Capabilities             struct{ Add, Drop []string }
					} `yaml:"securityContext"`
					Ports []struct {
						Name          string
						ContainerPort int `yaml:"containerPort"`
						HostPort      int `yaml:"hostPort"`
					}
					VolumeMounts []struct{ Name string } `yaml:"volumeMounts"`
				}
				Volumes []map[string]any
			}
		}
		VolumeClaimTemplates []struct{ Metadata struct{ Name string } } `yaml:"volumeClaimTemplates"`
	}
}

// checkObjects looks at what must hold whatever the values: the restricted level of pod security, ports that istiod
// understands, Services that have an address, settings that serve takes.
func checkObjects(t *testing.T, text string) {
	t.Helper()
	var objects []object
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if o.Kind != "" {
			objects = append(objects, o)
		}
	}
	byNumber, byName := make(map[int]bool), make(map[string]int)
	workloads, services := 0, 0
	var labels map[string]string
	for _, o := range objects {
		if o.Kind != "StatefulSet" && o.Kind != "Deployment" {
			continue
		}
		workloads++
		pod := o.Spec.Template.Spec
		labels = o.Spec.Template.Metadata.Labels
		if o.Spec.Replicas == nil || *o.Spec.Replicas > 1 && (o.Kind != "StatefulSet" || strings.Contains(text, "store: local")) {
			t.Error("replicas: one at most where the engine is the process")
		}
		s := pod.SecurityContext
		if pod.HostNetwork || pod.HostPID || pod.HostIPC || !s.RunAsNonRoot || s.RunAsUser == 0 || s.SeccompProfile.Type != "RuntimeDefault" {
			t.Errorf("the pod is not restricted: %+v", s)
		}
		if a := pod.AutomountServiceAccountToken; a == nil || *a != strings.Contains(text, "kind: ClusterRoleBinding") {
			t.Error("the pod has a token of its service account without rights to use, or rights without a token")
		}
		mounts := make(map[string]bool)
		for _, c := range pod.Containers {
			s := c.SecurityContext
			if s.Privileged || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) || len(s.Capabilities.Add) > 0 || !s.ReadOnlyRootFilesystem {
				t.Errorf("the container is not restricted: %+v", s)
			}
			for _, p := range c.Ports {
				if p.HostPort != 0 {
					t.Errorf("host port %d", p.HostPort)
				}
				if len(p.Name) > 15 {
					t.Errorf("port name %s is longer than the 15 that Kubernetes takes", p.Name)
				}
				byNumber[p.ContainerPort], byName[p.Name] = true, p.ContainerPort
			}
			for _, m := range c.VolumeMounts {
				mounts[m.Name] = true
			}
		}
		for _, v := range pod.Volumes {
			for kind := range v {
				if !slices.Contains([]string{"name", "configMap", "secret", "emptyDir", "persistentVolumeClaim"}, kind) {
					t.Errorf("volume of kind %s", kind)
				}
			}
			delete(mounts, fmt.Sprint(v["name"]))
		}
		for _, c := range o.Spec.VolumeClaimTemplates {
			delete(mounts, c.Metadata.Name)
		}
		for m := range mounts {
			t.Errorf("volume %s is mounted and not there", m)
		}
	}
	var r istio.Reader
	if err := r.File("chart.yaml", []byte(text)); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		switch o.Kind {
		case "Service":
			services++
			if o.Spec.ClusterIP == "None" {
				t.Errorf("Service %s is headless", o.Metadata.Name)
			}
			for k, v := range o.Spec.Selector.(map[string]any) {
				if labels[k] != v {
					t.Errorf("Service %s selects %s=%v, the pods have %q", o.Metadata.Name, k, v, labels[k])
				}
			}
			for _, p := range o.Spec.Ports {
				number, isNumber := p.TargetPort.(int)
				if !isNumber {
					number = byName[fmt.Sprint(p.TargetPort)]
				}
				if p.Name == "" || p.AppProtocol == "" || !byNumber[number] || len(p.Name) > 63 {
					t.Errorf("Service %s: port %+v", o.Metadata.Name, p)
				}
			}
		case "ConfigMap":
			if text, ok := o.Data["spanloom.yaml"]; ok && o.Metadata.Labels["grafana_datasource"] == "" {
				file := filepath.Join(t.TempDir(), "spanloom.yaml")
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				c, err := config.Load(config.Source{File: file, Env: func(string) (string, bool) { return "", false }})
				if err != nil {
					t.Errorf("serve does not take its settings: %v", err)
				} else if c.ListenHost != "0.0.0.0" {
					t.Errorf("listen host %s", c.ListenHost)
				}
			}
		}
	}
	if workloads != 1 || services == 0 {
		t.Errorf("%d workloads, %d services", workloads, services)
	}
	for i := range r.Services {
		s := &r.Services[i]
		for number, want := range map[int]string{4317: "grpc", 4318: "http", 9411: "http"} {
			if p := s.Port(number); p != nil && p.Protocol(false) != want && p.App != "https" {
				t.Errorf("istiod takes port %d of %s for %s", number, s.Name, p.Protocol(false))
			}
		}
	}
}

// named puts the names of long files in the place of their lines; each must be there whole.
func named(t *testing.T, text string) string {
	t.Helper()
	for _, pattern := range []string{"helm/spanloom/files/dashboards/*.json", "helm/spanloom/files/*.yaml"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, pad := range []string{"    ", "  "} {
				lines := pad + strings.ReplaceAll(strings.TrimRight(string(data), "\n"), "\n", "\n"+pad) + "\n"
				text = strings.ReplaceAll(text, lines, pad+"("+strings.TrimPrefix(name, "helm/spanloom/")+")\n")
			}
		}
	}
	return text
}

// changed is the difference of two texts: lines that went and lines that came, in order, without those that stayed. The
// checksum of the settings follows from them.
func changed(before, after string) string {
	a, b := lines(before), lines(after)
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out strings.Builder
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			fmt.Fprintf(&out, "- %s\n", a[i])
			i++
		default:
			fmt.Fprintf(&out, "+ %s\n", b[j])
			j++
		}
	}
	return out.String()
}

func lines(text string) []string {
	var out []string
	for _, l := range strings.Split(text, "\n") {
		if l != "" && !strings.Contains(l, "checksum/config: ") {
			out = append(out, l)
		}
	}
	return out
}
