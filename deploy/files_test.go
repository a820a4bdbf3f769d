package deploy

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var metric = regexp.MustCompile(`\b(spanloom|otelcol)_[a-z_]+\b`)

// exposed are the names of Spanloom's metrics, as app/ writes them.
func exposed(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("../app/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`desc\("([a-z_]+)"`).FindAllStringSubmatch(string(data), -1)
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = n[1]
	}
	if len(out) < 20 {
		t.Fatalf("only %d metrics found in app/metrics.go", len(out))
	}
	return out
}

// A dashboard or rule about a metric that does not exist is empty for ever.
func TestDashboardAndRulesAskForMetricsThatExist(t *testing.T) {
	known := exposed(t)
	for name, text := range map[string]string{"dashboard.json": Dashboard, "rules.yaml": Rules} {
		found := metric.FindAllString(text, -1)
		if len(found) < 5 {
			t.Errorf("%s asks for %d metrics only", name, len(found))
		}
		for _, m := range found {
			if !slices.Contains(known, m) {
				t.Errorf("%s asks for %s, which is not among the metrics", name, m)
			}
		}
	}
}

func TestFilesParse(t *testing.T) {
	var dashboard struct {
		UID    string
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(Dashboard), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		if p.Title == "" || len(p.Targets) == 0 || p.Targets[0].Expr == "" {
			t.Errorf("panel %+v asks nothing", p)
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Record, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(Rules), &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert+r.Record == "" || r.Expr == "" {
				t.Errorf("rule %+v says nothing", r)
			}
		}
	}
	if !strings.Contains(DataSources, "http://"+Host+":3200") || !strings.HasPrefix(DataSources, "apiVersion: 1\n") {
		t.Errorf("data sources:\n%s", DataSources)
	}
}

// A chart reads files of its own folder only, so it has a copy.
func TestChartHasTheSameDataSources(t *testing.T) {
	data, err := os.ReadFile("helm/spanloom/files/datasources.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != dataSources {
		t.Error("helm/spanloom/files/datasources.yaml is not grafana/datasources.yaml: copy it")
	}
}
