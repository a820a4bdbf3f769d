package envoy

import (
	"fmt"
	"strings"

	"github.com/go-faster/jx"

	"github.com/spanloom/spanloom/mesh/yamldoc"
)

// listenerEntry reads one item of static_listeners or dynamic_listeners.
func (x *dumper) listenerEntry(d *jx.Decoder) error {
	name := ""
	return object(d, func(d *jx.Decoder, key string) error {
		switch plain(key) {
		case "name":
			var err error
			name, err = text(d)
			return err
		case "listener":
			return x.listener(d, name, false)
		case "activestate", "warmingstate":
			return object(d, func(d *jx.Decoder, key string) error {
				if plain(key) == "listener" {
					return x.listener(d, name, false)
				}
				return d.Skip()
			})
		case "errorstate":
			return object(d, func(d *jx.Decoder, key string) error {
				switch plain(key) {
				case "failedconfiguration":
					return x.listener(d, name, true)
				case "details":
					s, err := text(d)
					if s != "" {
						x.p.Rejections = append(x.p.Rejections, Rejection{Resource: name, Details: cut(s, 300)})
					}
					return err
				}
				return d.Skip()
			})
		}
		return d.Skip()
	})
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// chain is one filter chain of a listener.
type chain struct {
	port     int
	managers []Manager
	tcp      bool
}

func (x *dumper) listener(d *jx.Decoder, name string, rejected bool) error {
	var chains []chain
	direction, address := "", 0
	one := func(d *jx.Decoder) error {
		c, err := x.chain(d)
		chains = append(chains, c)
		return err
	}
	err := object(d, func(d *jx.Decoder, key string) error {
		var err error
		switch plain(key) {
		case "name":
			name, err = text(d)
		case "trafficdirection":
			direction, err = text(d)
		case "address":
			v, e := small(d)
			address, _ = v.Get("socketAddress", "portValue").Int()
			return e
		case "filterchains":
			return array(d, one)
		case "defaultfilterchain":
			return one(d)
		default:
			return d.Skip()
		}
		return err
	})
	// Envoy's own listeners (health, Prometheus) have no direction and never trace.
	if direction == "" && (address == 15090 || address == 15021 || address == 15020 || address == 15000) {
		return err
	}
	if direction == "" {
		direction = "OUTBOUND"
	}
	for _, c := range chains {
		if direction == "INBOUND" && c.port > 0 && c.port != 15006 && c.port != 15001 {
			switch {
			case len(c.managers) > 0:
				x.p.HTTPPorts = append(x.p.HTTPPorts, c.port)
			case c.tcp:
				x.p.TCPPorts = append(x.p.TCPPorts, c.port)
			}
		}
		for _, m := range c.managers {
			m.Direction, m.Listener, m.Rejected = direction, name, rejected
			x.manager(m)
		}
	}
	return err
}

// manager counts equal managers instead of keeping thousands.
func (x *dumper) manager(m Manager) {
	t := Tracer{}
	if m.Tracer != nil {
		t = *m.Tracer
	}
	key := fmt.Sprint(m.Direction, m.Tracing, m.Tracer != nil, t, m.Sampling, m.Rejected, strings.Join(m.Tags, ","))
	if i, ok := x.seen[key]; ok {
		x.p.Managers[i].Count++
		return
	}
	x.seen[key] = len(x.p.Managers)
	m.Count = 1
	x.p.Managers = append(x.p.Managers, m)
}

func (x *dumper) chain(d *jx.Decoder) (chain, error) {
	c := chain{}
	err := object(d, func(d *jx.Decoder, key string) error {
		switch plain(key) {
		case "filterchainmatch":
			v, err := small(d)
			c.port, _ = v.Get("destinationPort").Int()
			return err
		case "filters":
			return array(d, func(d *jx.Decoder) error { return x.filter(d, &c) })
		}
		return d.Skip()
	})
	return c, err
}

func (x *dumper) filter(d *jx.Decoder, c *chain) error {
	name := ""
	isManager := false
	m := Manager{}
	err := object(d, func(d *jx.Decoder, key string) error {
		switch plain(key) {
		case "name":
			var err error
			name, err = text(d)
			return err
		case "typedconfig", "config":
			return object(d, func(d *jx.Decoder, key string) error {
				switch plain(key) {
				case "@type":
					t, err := text(d)
					isManager = isManager || strings.HasSuffix(t, ".HttpConnectionManager")
					return err
				case "tracing":
					v, err := small(d)
					if v != nil && v.Kind == yamldoc.Map {
						m.tracing(v)
					}
					return err
				}
				return d.Skip()
			})
		}
		return d.Skip()
	})
	switch {
	case isManager || name == "envoy.filters.network.http_connection_manager" || name == "envoy.http_connection_manager":
		c.managers = append(c.managers, m)
	case strings.HasSuffix(name, "tcp_proxy"):
		c.tcp = true
	}
	return err
}

func (m *Manager) tracing(v *yamldoc.Value) {
	m.Tracing, m.Sampling = true, 100
	for _, f := range v.Fields {
		switch plain(f.Name) {
		case "randomsampling":
			m.Sampling, _ = f.Value.Get("value").Float() // {} is 0: JSON leaves zeros out
		case "provider":
			m.Tracer = tracer(f.Value)
		case "customtags":
			for _, t := range f.Value.List() {
				if h := t.Get("requestHeader", "name").Str(); h != "" {
					m.Tags = append(m.Tags, h)
				}
			}
		}
	}
}
