// Package deploy holds the files that install Spanloom and connect others to it; those that `spanloom mesh render` writes
// too are embedded here, so that there is one of each.
package deploy

import (
	_ "embed"
	"strings"
)

// Host stands in these files for the host under which others reach Spanloom.
const Host = "spanloom.istio-system"

//go:embed grafana/datasources.yaml
var dataSources string

// DataSources is Grafana's provisioning of data sources, without the comment at its head.
var DataSources = strings.TrimLeft(dataSources[strings.Index(dataSources, "\napiVersion"):], "\n")

// Dashboard is Grafana's dashboard of Spanloom itself, as JSON.
//
//go:embed helm/spanloom/files/dashboard.json
var Dashboard string

// Rules are Prometheus' recording and alerting rules: a YAML map with the key groups.
//
//go:embed helm/spanloom/files/rules.yaml
var Rules string
