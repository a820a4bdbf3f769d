package app

import (
	"bytes"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/config"
)

// provisioned is a file of data sources with the settings that Grafana knows; anything else is a typing error.
type provisioned struct {
	APIVersion  int `yaml:"apiVersion"`
	Datasources []datasource
}

type datasource struct {
	Name, UID, Type, Access, URL string
	JSONData                     struct {
		StreamingEnabled            *struct{ Search, Metrics bool } `yaml:"streamingEnabled"`
		ServiceMap                  *reference                      `yaml:"serviceMap"`
		NodeGraph                   *struct{ Enabled bool }         `yaml:"nodeGraph"`
		Search                      *struct{ Hide bool }
		SpanBar                     *struct{ Type, Tag string } `yaml:"spanBar"`
		TagLimit                    int                         `yaml:"tagLimit"`
		TimeRangeForTags            int                         `yaml:"timeRangeForTags"`
		TraceQuery                  *traceQuery                 `yaml:"traceQuery"`
		TraceIDTimeParams           *struct{ Enabled bool }     `yaml:"traceIdTimeParams"`
		TracesToLogsV2              *tracesToLogs               `yaml:"tracesToLogsV2"`
		TracesToMetrics             *tracesToMetrics            `yaml:"tracesToMetrics"`
		DerivedFields               []derivedField              `yaml:"derivedFields"`
		ExemplarTraceIDDestinations []exemplarDestination       `yaml:"exemplarTraceIdDestinations"`
	} `yaml:"jsonData"`
}

type reference struct {
	DatasourceUID string `yaml:"datasourceUid"`
}

type traceQuery struct {
	TimeShiftEnabled   bool   `yaml:"timeShiftEnabled"`
	SpanStartTimeShift string `yaml:"spanStartTimeShift"`
	SpanEndTimeShift   string `yaml:"spanEndTimeShift"`
}

type tagName struct{ Key, Value string }

type tracesToLogs struct {
	DatasourceUID      string `yaml:"datasourceUid"`
	SpanStartTimeShift string `yaml:"spanStartTimeShift"`
	SpanEndTimeShift   string `yaml:"spanEndTimeShift"`
	FilterByTraceID    bool   `yaml:"filterByTraceID"`
	FilterBySpanID     bool   `yaml:"filterBySpanID"`
	CustomQuery        bool   `yaml:"customQuery"`
	Tags               []tagName
}

type tracesToMetrics struct {
	DatasourceUID      string `yaml:"datasourceUid"`
	SpanStartTimeShift string `yaml:"spanStartTimeShift"`
	SpanEndTimeShift   string `yaml:"spanEndTimeShift"`
	Tags               []tagName
	Queries            []struct{ Name, Query string }
}

type derivedField struct {
	Name          string
	MatcherRegex  string `yaml:"matcherRegex"`
	DatasourceUID string `yaml:"datasourceUid"`
	URL           string `yaml:"url"`
}

type exemplarDestination struct {
	Name          string
	DatasourceUID string `yaml:"datasourceUid"`
}

func readProvisioning(t *testing.T, data []byte) (p provisioned) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	if p.APIVersion != 1 {
		t.Errorf("apiVersion %d", p.APIVersion)
	}
	return p
}

func deployed(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("../deploy/grafana/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestGrafanaDataSources loads the files that people copy, strictly, and asks a server what each data source asks when it is
// saved, on the port that its URL names.
func TestGrafanaDataSources(t *testing.T) {
	defaults := make(map[string]string)
	for _, s := range config.Settings() {
		defaults[s.Name] = s.Default
	}
	r := startServe(t, nil, nil)
	if code, body := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", zipkinSpan(7, time.Now())); code != 202 {
		t.Fatalf("%d %s", code, body)
	}
	checks := map[string]struct{ setting, addr, path, says string }{
		"tempo":  {"tempo-addr", r.Tempo, "/api/echo", "echo"},
		"jaeger": {"http-addr", r.HTTP, "/api/services", "web"},
		"zipkin": {"zipkin-addr", r.Zipkin, "/", ""},
	}
	file := deployed(t, "datasources.yaml")
	p := readProvisioning(t, file)
	uids := make(map[string]bool)
	for _, d := range p.Datasources {
		check, ok := checks[d.Type]
		if !ok {
			t.Errorf("%s: type %q", d.Name, d.Type)
			continue
		}
		delete(checks, d.Type)
		if u, err := url.Parse(d.URL); err != nil || ":"+u.Port() != defaults[check.setting] {
			t.Errorf("%s: %s is not the port of --%s", d.Name, d.URL, check.setting)
		}
		if d.UID == "" || uids[d.UID] || d.Access != "proxy" {
			t.Errorf("%s: uid %q, access %q", d.Name, d.UID, d.Access)
		}
		uids[d.UID] = true
		if l := d.JSONData.TracesToLogsV2; l == nil || l.DatasourceUID == "" || !l.FilterByTraceID || len(l.Tags) == 0 {
			t.Errorf("%s has no way to logs: %+v", d.Name, l)
		}
		if d.JSONData.NodeGraph == nil || !d.JSONData.NodeGraph.Enabled {
			t.Errorf("%s has no node graph", d.Name)
		}
		if check.says == "" {
			continue
		}
		if code, body := r.do("GET", "http://"+check.addr+check.path, ""); code != 200 || !strings.Contains(body, check.says) {
			t.Errorf("%s: GET %s: %d %s", d.Name, check.path, code, body)
		}
	}
	if len(checks) > 0 {
		t.Errorf("no data source for %v", checks)
	}
	if tempo := p.Datasources[0]; tempo.Type != "tempo" || tempo.JSONData.ServiceMap == nil || tempo.JSONData.ServiceMap.DatasourceUID == "" {
		t.Errorf("the first data source has no service graph: %+v", tempo)
	}
	if single := regexp.MustCompile(`(^|[^$])\$[{\w]`).Find(withoutComments(file)); single != nil {
		t.Errorf("%q: Grafana takes a single $ for an environment variable", single)
	}

	back := readProvisioning(t, deployed(t, "back-links.yaml"))
	for _, d := range back.Datasources {
		for _, f := range d.JSONData.DerivedFields {
			if m := regexp.MustCompile(f.MatcherRegex).FindStringSubmatch(`{"method":"GET","traceID":"4bf92f3577b34da6"}`); m == nil || m[1] != "4bf92f3577b34da6" || !uids[f.DatasourceUID] || f.URL != "$${__value.raw}" {
				t.Errorf("derived field %+v found %v", f, m)
			}
		}
		for _, e := range d.JSONData.ExemplarTraceIDDestinations {
			if !uids[e.DatasourceUID] {
				t.Errorf("exemplars lead to %q", e.DatasourceUID)
			}
		}
	}
}

func withoutComments(file []byte) []byte {
	return regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAll(file, nil)
}

// TestGrafanaConfigMap: the ConfigMap holds the same data sources.
func TestGrafanaConfigMap(t *testing.T) {
	var m struct {
		Kind     string
		Metadata struct{ Labels map[string]string }
		Data     map[string]string
	}
	if err := yaml.Unmarshal(deployed(t, "configmap.yaml"), &m); err != nil {
		t.Fatal(err)
	}
	inside := readProvisioning(t, []byte(m.Data["spanloom.yaml"]))
	outside := readProvisioning(t, deployed(t, "datasources.yaml"))
	if asText(t, inside) != asText(t, outside) {
		t.Error("configmap.yaml is not datasources.yaml")
	}
	if m.Kind != "ConfigMap" || m.Metadata.Labels["grafana_datasource"] != "1" {
		t.Errorf("%s with labels %v is not what Grafana's sidecar takes", m.Kind, m.Metadata.Labels)
	}
}

func asText(t *testing.T, p provisioned) string {
	t.Helper()
	text, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
