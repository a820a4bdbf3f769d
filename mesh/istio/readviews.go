package istio

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/mesh/yamldoc"
)

func (r *Reader) kialiObject(v *yamldoc.Value, ref Ref) {
	ref.Path = "spec"
	before := len(r.Kialis)
	r.kiali(v.Get("spec"), ref)
	for i := before; i < len(r.Kialis); i++ {
		r.Kialis[i].Owner = owner(v)
	}
}

// wrongKeys are keys that people write into Kiali's tracing section and that no release of it knew. Others are left
// alone: a list of right ones would be wrong with the next release.
var wrongKeys = []string{"custom_url", "endpoint", "address", "service"}

// kiali reads Kiali's configuration: the tracing section, and what hides namespaces from it.
func (r *Reader) kiali(v *yamldoc.Value, ref Ref) {
	if v == nil {
		return
	}
	k := Kiali{Ref: ref, Anonymous: v.Get("auth", "strategy").Str() == "anonymous"}
	for _, s := range v.Get("deployment", "discovery_selectors", "default").List() {
		k.Selected = append(k.Selected, s.Get("matchLabels").StringMap()["kubernetes.io/metadata.name"])
	}
	services := v.Get("external_services")
	t := services.Get("tracing")
	if t == nil {
		if top := v.Get("tracing"); top != nil {
			k.Misplaced, k.Line = "tracing", top.Line
		}
	} else {
		k.Line = t.Line
		if on, ok := t.Get("enabled").Bool(); ok {
			k.Enabled = &on
			k.Line = t.Get("enabled").Line
		}
		k.Provider = t.Get("provider").Str()
		k.Internal = host(firstText(t.Get("internal_url"), t.Get("in_cluster_url")))
		k.External = host(firstText(t.Get("external_url"), t.Get("url")))
		if on, ok := t.Get("use_grpc").Bool(); ok {
			k.GRPC = &on
		}
		for _, f := range t.Fields {
			if slices.Contains(wrongKeys, f.Name) {
				k.Unknown = append(k.Unknown, Field{Name: f.Name, Line: f.Line})
			}
		}
	}
	r.Kialis = append(r.Kialis, k)
}

// host keeps host and port of a URL: the rest may hold secrets.
func host(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !hostName.MatchString(u.Hostname()) {
		return ""
	}
	return u.Host
}

func (r *Reader) grafanaDatasource(v *yamldoc.Value, ref Ref) {
	r.dataSource(v.Get("spec", "datasource"), ref)
}

func (r *Reader) dataSources(v *yamldoc.Value, ref Ref) {
	for _, d := range v.Get("datasources").List() {
		r.dataSource(d, ref)
	}
}

func (r *Reader) dataSource(v *yamldoc.Value, ref Ref) {
	d := DataSource{Ref: ref, Title: v.Get("name").Str(), Type: v.Get("type").Str(), Line: v.At()}
	switch d.Type {
	case "tempo", "jaeger", "zipkin":
	default:
		return
	}
	hostPort := host(v.Get("url").Str())
	name, port, _ := strings.Cut(hostPort, ":")
	d.Host = name
	d.Port, _ = strconv.Atoi(port)
	r.DataSources = append(r.DataSources, d)
}
