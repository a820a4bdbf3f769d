package doctor

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/mesh/istio"
)

// place is where something stands: file and line, else the object and field.
func place(r istio.Ref) string {
	s := r.String()
	if r.Path != "" {
		s = strings.TrimSpace(s + " " + r.Path)
	}
	if r.File == "" {
		return s
	}
	if r.Line > 0 {
		return fmt.Sprintf("%s (%s:%d)", s, r.File, r.Line)
	}
	return fmt.Sprintf("%s (%s)", s, r.File)
}

// number writes a percentage or a port without needless zeros.
func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// diff is a change as a person reads it: the place, what goes and what comes.
func diff(at istio.Ref, old, now string) string {
	var b strings.Builder
	b.WriteString("--- " + place(at) + "\n")
	for _, l := range lines(old) {
		b.WriteString("-" + l + "\n")
	}
	for _, l := range lines(now) {
		b.WriteString("+" + l + "\n")
	}
	return b.String()
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

func removeField(at istio.Ref, field string) Fix {
	name, _, _ := strings.Cut(field, ":")
	return Fix{text: say("Remove %s from %s.", name, at), Command: editCommand(at), Diff: diff(at, field, "")}
}

// editCommand opens the object in the cluster; a file is edited where it lies.
func editCommand(r istio.Ref) string {
	switch r.Kind {
	case "", "SpringConfig", "KialiConfig", "GrafanaDatasources", "File", "Application", "Collector", "Proxy":
		return "" // no object of a cluster
	case "HelmValues":
		return "helm upgrade istiod istio/istiod -n istio-system -f " + firstOf(r.File, "values.yaml")
	case "MeshConfig", "Bootstrap", "ConfigMap":
		if r.Kind == "ConfigMap" {
			return "kubectl edit configmap -n " + r.Namespace + " " + r.Name
		}
		return "kubectl edit configmap -n istio-system istio"
	case "IstioOperator":
		return "istioctl install -f " + firstOf(r.File, "FILE")
	}
	s := "kubectl edit " + strings.ToLower(r.Kind)
	if r.Namespace != "" {
		s += " -n " + r.Namespace
	}
	return s + " " + r.Name
}

func patchSampling(at istio.Ref) string {
	if at.Kind != "Telemetry" {
		return editCommand(at)
	}
	index := "0"
	if _, rest, ok := strings.Cut(at.Path, "tracing["); ok {
		index, _, _ = strings.Cut(rest, "]")
	}
	return fmt.Sprintf(`kubectl patch telemetry -n %s %s --type json -p '[{"op":"add","path":"/spec/tracing/%s/randomSamplingPercentage","value":100}]'`, at.Namespace, at.Name, index)
}

func telemetryYAML(root, provider string) string {
	return fmt.Sprintf("+apiVersion: telemetry.istio.io/v1\n+kind: Telemetry\n+metadata:\n+  name: mesh-default\n+  namespace: %s\n+spec:\n+  tracing:\n+  - providers:\n+    - name: %s\n+    randomSamplingPercentage: 100\n", root, provider)
}

func providerAndTelemetry(root string) string {
	return "--- MeshConfig\n+extensionProviders:\n+- name: spanloom\n+  opentelemetry:\n+    service: spanloom.observability.svc.cluster.local\n+    port: 4317\n--- telemetry.yaml\n" + telemetryYAML(root, "spanloom")
}

func sidecarFix(namespace, kind, name string) Fix {
	return Fix{text: say("Label the namespace %s for injection, remove what opts the pod out, and restart it.", namespace),
		Command: fmt.Sprintf("kubectl label namespace %s istio-injection=enabled --overwrite && kubectl rollout restart -n %s %s/%s", namespace, namespace, strings.ToLower(firstOf(kind, "deployment")), name)}
}

func filterFix(e *istio.EnvoyFilter, p *istio.Patch) Fix {
	f := Fix{text: say("Use an extension provider and a Telemetry instead. If it must be an EnvoyFilter: applyTo NETWORK_FILTER, operation MERGE, the tracing block under typed_config of the HttpConnectionManager."), Command: editCommand(e.Ref)}
	if p.ApplyTo != "NETWORK_FILTER" {
		f.Diff = diff(e.Ref.At("spec.configPatches", p.Line), "applyTo: "+p.ApplyTo, "applyTo: NETWORK_FILTER")
	} else if p.Operation != "MERGE" {
		f.Diff = diff(e.Ref.At("spec.configPatches", p.Line), "operation: "+p.Operation, "operation: MERGE")
	}
	return f
}
