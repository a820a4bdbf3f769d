package render_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/mesh/render"
)

// Envoy itself takes the connection manager that each patch of a rendered EnvoyFilter makes, with every kind of tag.
func TestEnvoyTakesTheFilter(t *testing.T) {
	if os.Getenv("SPANLOOM_LONG") == "" {
		t.Skip("starts a real Envoy: set SPANLOOM_LONG=1")
	}
	envoy := realparts.Get(t, "envoy")
	for _, protocol := range []string{"otlp", "zipkin"} {
		text := rendered(t, render.Words{Protocol: protocol, Sampling: "0.1", Istio: "1.31", For: []string{"envoyfilter"},
			Tags: []string{"a=literal", "b=header:x-b:none", "c=env:HOME:none", "d=format:%REQ(:PATH)%"}}, nil)
		var filter struct {
			Spec struct {
				ConfigPatches []struct {
					Match struct{ Context string }
					Patch struct{ Value map[string]any }
				} `yaml:"configPatches"`
			}
		}
		if err := yaml.Unmarshal([]byte(text), &filter); err != nil {
			t.Fatal(err)
		}
		if len(filter.Spec.ConfigPatches) != 3 {
			t.Fatalf("%d patches, want 3", len(filter.Spec.ConfigPatches))
		}
		for _, p := range filter.Spec.ConfigPatches {
			t.Run(protocol+" "+p.Match.Context, func(t *testing.T) {
				manager := map[string]any{"stat_prefix": "x", "route_config": map[string]any{"name": "x"},
					"http_filters": []any{map[string]any{"name": "envoy.filters.http.router", "typed_config": map[string]any{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}}}
				for k, v := range p.Patch.Value["typed_config"].(map[string]any) {
					manager[k] = v
				}
				port := map[string]string{"otlp": "4317", "zipkin": "9411"}[protocol]
				config := map[string]any{"static_resources": map[string]any{
					"listeners": []any{map[string]any{"name": "l", "address": map[string]any{"socket_address": map[string]any{"address": "127.0.0.1", "port_value": 0}},
						"filter_chains": []any{map[string]any{"filters": []any{map[string]any{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}}}}}},
					"clusters": []any{map[string]any{"name": "outbound|" + port + "||spanloom.istio-system.svc.cluster.local", "connect_timeout": "1s"}},
				}}
				data, err := json.Marshal(config)
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), "envoy.json")
				if err := os.WriteFile(file, data, 0o600); err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), envoy, "--mode", "validate", "-c", file, "--service-cluster", "x", "--service-node", "x")
				if said, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(said), "OK") {
					t.Errorf("%v\n%s", err, said)
				}
			})
		}
	}
}
