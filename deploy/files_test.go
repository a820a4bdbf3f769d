package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A chart reads files of its own folder only, so it has copies of those that others use too.
func TestChartHasTheSameFiles(t *testing.T) {
	copies := map[string]string{"files/datasources.yaml": "grafana/datasources.yaml", "files/alerts.yaml": "prometheus/alerts.yaml", "files/recording.yaml": "prometheus/recording.yaml"}
	for _, folder := range []string{"grafana/dashboards/*.json", "helm/spanloom/files/dashboards/*.json"} {
		names, err := filepath.Glob(folder)
		if err != nil || len(names) == 0 {
			t.Fatalf("no dashboards in %s: %v", folder, err)
		}
		for _, n := range names {
			copies["files/dashboards/"+filepath.Base(n)] = "grafana/dashboards/" + filepath.Base(n)
		}
	}
	for copied, original := range copies {
		want, err := os.ReadFile(original)
		if err != nil {
			t.Error(err)
		}
		got, err := os.ReadFile(filepath.Join("helm/spanloom", copied))
		if err != nil || string(got) != string(want) {
			t.Errorf("helm/spanloom/%s is not %s: copy it (%v)", copied, original, err)
		}
	}
}

func TestEmbeddedFiles(t *testing.T) {
	sources, err := DataSources()
	if err != nil || !strings.HasPrefix(sources, "apiVersion: 1\n") || !strings.Contains(sources, "http://"+Host+":3200") {
		t.Errorf("data sources (%v):\n%s", err, sources)
	}
	boards, err := Dashboards()
	if err != nil || len(boards) < 4 {
		t.Errorf("%d dashboards, %v", len(boards), err)
	}
	for name, read := range map[string]func() (string, error){"alerts": Alerts, "names": EnvoyNames} {
		if text, err := read(); err != nil || !strings.Contains(text, "\ngroups:\n") {
			t.Errorf("%s (%v):\n%s", name, err, text)
		}
	}
}
