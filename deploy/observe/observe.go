// Package observe builds what Grafana and Prometheus need to watch Spanloom and the mesh: dashboards, alerts and recording
// rules. The files in deploy/grafana/dashboards and deploy/prometheus are its output; a test holds them equal to it, and
// test/prometheus asks a real Prometheus every expression in them. To write them anew: go test ./deploy/observe -update.
package observe

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// A Board is one dashboard.
type Board struct {
	UID, Title, Description string
	Vars                    []Var
	Rows                    []Row
}

// A Var is a choice at the top of a board. Each but the constant ones is filled by a query of Prometheus.
type Var struct {
	Name, Label string
	Query       string // label_values(…); empty: a text box that begins with Default
	Default     string
	Multi       bool // several, or all
}

// A Row is panels under a headline, three beside each other.
type Row struct {
	Title  string
	Panels []Panel
}

// Kind is how a panel draws.
type Kind string

// The kinds, as Grafana names them.
const (
	Lines  Kind = "timeseries"
	Number Kind = "stat"
)

// A Panel is one chart.
type Panel struct {
	Title, Help string
	Kind        Kind // empty: Lines
	Unit        Unit
	Queries     []Query
}

// Unit is Grafana's id of a unit.
type Unit string

// The units in use.
const (
	Short     Unit = "short"
	PerSecond Unit = "cps"
	Seconds   Unit = "s"
	Bytes     Unit = "bytes"
	PerSecB   Unit = "Bps"
	Share     Unit = "percentunit"
	Cores     Unit = "none"
)

// A Query is one expression of a panel. $job, $service, $collector and $__rate_interval stand for what the reader chose.
type Query struct {
	Expr, Legend string
	Exemplars    bool // draw example traces too
}

// An Alert fires when Expr has had a value for the time For.
type Alert struct {
	Name, Expr, For, Severity string
	Summary, Description      string // may name labels as {{ $labels.x }} and the value as {{ $value }}
}

// A Recording keeps the value of Expr under another name.
type Recording struct{ Name, Expr, Help string }

// Files is every file by its path below deploy/.
func Files() map[string][]byte {
	files := map[string][]byte{
		"prometheus/alerts.yaml":    alertsYAML(Alerts()),
		"prometheus/recording.yaml": recordingYAML(Recordings()),
	}
	for _, b := range Boards() {
		files["grafana/dashboards/"+b.UID+".json"] = b.json()
	}
	return files
}

type obj = map[string]any

// json is the board in Grafana's dashboard model, version 39 (Grafana 10.4 and later read it).
func (b Board) json() []byte {
	source := obj{"type": "prometheus", "uid": "${datasource}"}
	vars := []obj{{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": obj{}, "hide": 0}}
	for _, v := range b.Vars {
		one := obj{"name": v.Name, "label": v.Label, "hide": 0}
		if v.Query == "" {
			one["type"], one["query"], one["current"] = "textbox", v.Default, obj{"text": v.Default, "value": v.Default}
		} else {
			one["type"], one["datasource"], one["definition"] = "query", source, v.Query
			one["query"] = obj{"query": v.Query, "refId": "variable"}
			one["refresh"], one["sort"], one["current"] = 2, 1, obj{}
			one["multi"], one["includeAll"] = v.Multi, v.Multi
			if v.Multi {
				one["allValue"], one["current"] = ".+", obj{"text": "All", "value": "$__all"}
			}
		}
		vars = append(vars, one)
	}
	const perLine, width, height = 3, 8, 8
	var panels []obj
	y, id := 0, 0
	next := func() int { id++; return id }
	for _, r := range b.Rows {
		panels = append(panels, obj{"id": next(), "type": "row", "title": r.Title, "collapsed": false, "panels": []obj{},
			"gridPos": obj{"x": 0, "y": y, "w": 24, "h": 1}})
		y++
		for i, p := range r.Panels {
			one := p.model(source)
			one["id"], one["gridPos"] = next(), obj{"x": i % perLine * width, "y": y + i/perLine*height, "w": width, "h": height}
			panels = append(panels, one)
		}
		y += (len(r.Panels) + perLine - 1) / perLine * height
	}
	return marshal(obj{
		"uid": b.UID, "title": b.Title, "description": b.Description, "tags": []string{"spanloom", "tracing"},
		"schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1, "refresh": "1m", "timezone": "browser",
		"time": obj{"from": "now-1h", "to": "now"}, "templating": obj{"list": vars}, "panels": panels,
		"annotations": obj{"list": []obj{}}, "links": []obj{{"type": "dashboards", "tags": []string{"spanloom"}, "title": "Spanloom",
			"asDropdown": true, "includeVars": false, "keepTime": true}},
	})
}

func (p Panel) model(source obj) obj {
	if p.Kind == "" {
		p.Kind = Lines
	}
	var targets []obj
	for i, q := range p.Queries {
		t := obj{"refId": string(rune('A' + i)), "datasource": source, "expr": q.Expr, "legendFormat": q.Legend, "range": p.Kind == Lines, "instant": p.Kind == Number}
		if q.Exemplars {
			t["exemplar"] = true
		}
		targets = append(targets, t)
	}
	m := obj{"type": string(p.Kind), "title": p.Title, "datasource": source, "targets": targets,
		"fieldConfig": obj{"defaults": obj{"unit": string(p.Unit), "min": 0}, "overrides": []obj{}}}
	if p.Help != "" {
		m["description"] = p.Help
	}
	if p.Kind == Lines {
		m["options"] = obj{"legend": obj{"displayMode": "list", "placement": "bottom"}, "tooltip": obj{"mode": "multi", "sort": "desc"}}
	} else {
		m["options"] = obj{"reduceOptions": obj{"calcs": []string{"lastNotNull"}}, "colorMode": "none"}
	}
	return m
}

// marshal keeps < and > readable; the model has no value that cannot be written.
func marshal(v any) []byte {
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("a dashboard holds what JSON has no form for: %v", err))
	}
	return w.Bytes()
}
