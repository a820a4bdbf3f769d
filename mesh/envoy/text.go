package envoy

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-faster/jx"
)

// maxLine of the text forms; Envoy's own lines have a few hundred bytes.
const maxLine = 1 << 20

// ReadClusters reads the text of Envoy's /clusters: which endpoints there are and what happened to requests. Istio's
// filter of statistics does not hide these lines.
func (p *Proxy) ReadClusters(r io.Reader) error {
	in, err := Reader(r)
	if err != nil {
		return err
	}
	p.Has.Hosts = true
	known := make(map[string]bool, len(p.Clusters))
	for _, c := range p.Clusters {
		known[c.Name] = true
	}
	type key struct{ cluster, address string }
	index := make(map[key]int)
	for i, h := range p.Hosts {
		index[key{h.Cluster, h.Address}] = i
	}
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 64<<10), maxLine)
	for s.Scan() {
		line := s.Text()
		cluster, rest, ok := strings.Cut(line, "::")
		if !ok {
			continue
		}
		if !known[cluster] && !p.Has.Clusters {
			known[cluster] = true
			p.Clusters = append(p.Clusters, Cluster{Name: cluster})
		}
		head, value, ok := cutLast(rest, "::")
		if !ok {
			continue
		}
		address, stat, ok := cutLast(head, "::")
		if !ok || !strings.Contains(address, ":") && !strings.Contains(address, "/") {
			continue
		}
		k := key{cluster, address}
		i, seen := index[k]
		if !seen {
			i = len(p.Hosts)
			index[k] = i
			p.Hosts = append(p.Hosts, Host{Cluster: cluster, Address: address, Total: -1, Success: -1, Error: -1, Connects: -1, ConnectFail: -1})
		}
		p.Hosts[i].set(stat, value)
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read clusters: %w", err)
	}
	return nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (h *Host) set(stat, value string) {
	if stat == "health_flags" {
		h.Unhealthy = value != "healthy"
		return
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return
	}
	switch stat {
	case "rq_total":
		h.Total = n
	case "rq_success":
		h.Success = n
	case "rq_error":
		h.Error = n
	case "rq_timeout":
		h.Timeout = n
	case "cx_total":
		h.Connects = n
	case "cx_connect_fail":
		h.ConnectFail = n
	}
}

// keptStats are parts of names of statistics that say something about tracing.
var keptStats = []string{"tracing.", ".upstream_cx_connect_fail", ".upstream_cx_connect_timeout", ".upstream_cx_none_healthy", ".upstream_cx_protocol_error",
	".upstream_rq_rx_reset", ".upstream_rq_total", ".upstream_rq_pending_failure_eject", ".upstream_rq_2", ".upstream_rq_3", ".upstream_rq_4", ".upstream_rq_5",
	".ssl.fail", ".ssl.connection_error", "update_rejected", "server.uptime", ".membership_total"}

// ReadStats reads the text of /stats: "name: value" lines, or the Prometheus form.
func (p *Proxy) ReadStats(r io.Reader) error {
	in, err := Reader(r)
	if err != nil {
		return err
	}
	p.Has.Stats = true
	if p.Stats == nil {
		p.Stats = make(map[string]int64)
	}
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 64<<10), maxLine)
	for s.Scan() {
		name, value, ok := strings.Cut(s.Text(), ": ")
		if !ok {
			name, value, ok = promLine(s.Text())
		}
		if ok && name == RequestsStat { // one for each of many sets of labels
			if n, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
				p.Stats[name] += int64(n)
			}
			continue
		}
		if !ok || strings.Contains(name, ".internal.") || !kept(name) {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || len(p.Stats) > 200_000 {
			continue
		}
		p.Stats[name] = int64(n)
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read stats: %w", err)
	}
	return nil
}

// RequestsStat is Istio's own count of requests through the proxy, both ways, over all labels.
const RequestsStat = "istio_requests_total"

func kept(name string) bool {
	for _, k := range keptStats {
		if strings.Contains(name, k) {
			return true
		}
	}
	return false
}

// promLine turns envoy_tracing_zipkin_reports_dropped{} 4 and envoy_cluster_upstream_rq_total{cluster_name="x"} 4 into
// the names of the text form.
func promLine(line string) (name, value string, ok bool) {
	if strings.HasPrefix(line, RequestsStat+"{") {
		_, value, ok := cutLast(line, "}")
		return RequestsStat, value, ok
	}
	rest, ok := strings.CutPrefix(line, "envoy_")
	if !ok {
		return "", "", false
	}
	metric, rest, ok := strings.Cut(rest, "{")
	if !ok {
		return "", "", false
	}
	i := strings.LastIndexByte(rest, '}')
	if i < 0 {
		return "", "", false
	}
	labels, value := rest[:i], rest[i+1:]
	switch {
	case strings.HasPrefix(metric, "tracing_"):
		p := strings.SplitN(metric, "_", 3)
		if len(p) == 3 {
			return "tracing." + p[1] + "." + p[2], value, true
		}
	case metric == "listener_manager_lds_update_rejected":
		return "listener_manager.lds.update_rejected", value, true
	case metric == "cluster_upstream_rq" || metric == "cluster_upstream_rq_xx":
		code, class := label(labels, "response_code"), ""
		if metric == "cluster_upstream_rq_xx" {
			code, class = label(labels, "response_code_class"), "xx"
		}
		if c := label(labels, "cluster_name"); c != "" && code != "" {
			return "cluster." + strings.TrimSuffix(c, ";") + ".upstream_rq_" + code + class, value, true
		}
	case strings.HasPrefix(metric, "cluster_upstream_"):
		if c := label(labels, "cluster_name"); c != "" {
			return "cluster." + strings.TrimSuffix(c, ";") + "." + strings.TrimPrefix(metric, "cluster_"), value, true
		}
	case strings.HasPrefix(metric, "http_tracing_"):
		return "http." + label(labels, "http_conn_manager_prefix") + ".tracing." + strings.TrimPrefix(metric, "http_tracing_"), value, true
	}
	return "", "", false
}

// label is the value of a label of the Prometheus form.
func label(labels, name string) string {
	_, v, ok := strings.Cut(","+labels, ","+name+`="`)
	if !ok {
		return ""
	}
	v, _, _ = strings.Cut(v, `"`)
	return v
}

// ServerInfo reads /server_info: version and node, for when there is no dump.
func (p *Proxy) ServerInfo(r io.Reader) error {
	in, err := Reader(r)
	if err != nil {
		return err
	}
	d := jx.Decode(in, 16<<10)
	if d.Next() != jx.Object {
		return fmt.Errorf("server_info is a JSON object")
	}
	err = d.Obj(func(d *jx.Decoder, key string) error {
		switch plain(key) {
		case "version":
			v, err := text(d)
			if parts := strings.Split(v, "/"); len(parts) > 1 && p.Envoy == "" {
				p.Envoy = parts[1]
			}
			return err
		case "node":
			v, err := small(d)
			if v != nil && p.Node == "" {
				p.node(v)
			}
			return err
		}
		return d.Skip()
	})
	if err != nil {
		return fmt.Errorf("server_info breaks off: %w", err)
	}
	return nil
}
