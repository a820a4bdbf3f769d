// Package deploy holds the files that install Spanloom and connect others to it; those that `spanloom mesh render` writes
// too are embedded here, so that there is one of each.
package deploy

import (
	"embed"
	"io/fs"
	"strings"
)

// Host stands in these files for the host under which others reach Spanloom.
const Host = "spanloom.istio-system"

//go:embed grafana/datasources.yaml grafana/dashboards/*.json prometheus/*.yaml
var files embed.FS

// File is one embedded file.
type File struct{ Name, Text string }

// DataSources is Grafana's provisioning of data sources, without the comment at its head.
func DataSources() (string, error) {
	text, err := files.ReadFile("grafana/datasources.yaml")
	_, body, _ := strings.Cut(string(text), "\napiVersion")
	return "apiVersion" + body, err
}

// Dashboards are Grafana's dashboards as JSON, named as files are, in the order of their names.
func Dashboards() ([]File, error) {
	entries, err := fs.ReadDir(files, "grafana/dashboards")
	if err != nil {
		return nil, err
	}
	out := make([]File, len(entries))
	for i, e := range entries {
		text, err := files.ReadFile("grafana/dashboards/" + e.Name())
		if err != nil {
			return nil, err
		}
		out[i] = File{e.Name(), string(text)}
	}
	return out, nil
}

// Alerts are Prometheus' alerts, a YAML map with the key groups.
func Alerts() (string, error) {
	text, err := files.ReadFile("prometheus/alerts.yaml")
	return string(text), err
}

// EnvoyNames are recording rules that give names which older dashboards ask for, a YAML map with the key groups.
func EnvoyNames() (string, error) {
	text, err := files.ReadFile("prometheus/recording.yaml")
	return string(text), err
}
