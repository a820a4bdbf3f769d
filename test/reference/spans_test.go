package reference

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// zipkinSpan is a span as reporters send it.
type zipkinSpan struct {
	TraceID        string            `json:"traceId"`
	ParentID       string            `json:"parentId,omitempty"`
	ID             string            `json:"id"`
	Kind           string            `json:"kind,omitempty"`
	Name           string            `json:"name,omitempty"`
	Timestamp      int64             `json:"timestamp,omitempty"`
	Duration       int64             `json:"duration,omitempty"`
	LocalEndpoint  *endpoint         `json:"localEndpoint,omitempty"`
	RemoteEndpoint *endpoint         `json:"remoteEndpoint,omitempty"`
	Annotations    []annotation      `json:"annotations,omitempty"`
	Tags           map[string]string `json:"tags,omitempty"`
	Debug          bool              `json:"debug,omitempty"`
	Shared         bool              `json:"shared,omitempty"`
}

type endpoint struct {
	ServiceName string `json:"serviceName,omitempty"`
	IPv4        string `json:"ipv4,omitempty"`
	IPv6        string `json:"ipv6,omitempty"`
	Port        int    `json:"port,omitempty"`
}

type annotation struct {
	Timestamp int64  `json:"timestamp"`
	Value     string `json:"value"`
}

// maker draws traces. Each starts in a minute of its own, so that windows that end between minutes cut no trace.
type maker struct {
	*rand.Rand
	minute time.Time
	trace  string
	at     int64
	spans  []zipkinSpan
	// lost draws parents that never arrive.
	lost bool
}

var services = []string{"frontend", "Cart", "checkout.shop", "reviews.default", "müller", "db"}

// traces draws n traces that start a minute apart, the last one a minute before end.
func (m *maker) traces(n int, end time.Time) (all [][]zipkinSpan) {
	for i := range n {
		m.minute = end.Add(-time.Duration(n-i) * time.Minute).Truncate(time.Minute)
		m.trace = fmt.Sprintf("%016x", m.Uint64()|1)
		if m.IntN(2) == 0 {
			m.trace = fmt.Sprintf("%016x", m.Uint64()|1<<63) + m.trace
		}
		m.at, m.spans = m.minute.UnixMicro()+m.Int64N(1_000_000), nil
		m.serve(services[m.IntN(3)], "", 0)
		all = append(all, m.spans)
	}
	return all
}

func (m *maker) id() string { return fmt.Sprintf("%016x", m.Uint64()|1) }

func (m *maker) endpoint(service string) *endpoint {
	e := &endpoint{ServiceName: service}
	switch m.IntN(4) {
	case 0:
		e.IPv4, e.Port = fmt.Sprintf("10.0.%d.%d", len(service), m.IntN(2)), 8080
	case 1:
		e.IPv6 = "2001:db8::" + fmt.Sprint(len(service))
	}
	return e
}

func (m *maker) later() int64 {
	m.at += 100 + m.Int64N(1000)
	return m.at
}

// add appends a span with tags and annotations.
func (m *maker) add(s zipkinSpan) *zipkinSpan {
	s.TraceID, s.Timestamp, s.Duration = m.trace, m.later(), m.Int64N(50_000)
	s.Tags = map[string]string{"http.method": []string{"GET", "POST"}[m.IntN(2)], "env": []string{"prod", "dev", "Stage 2"}[m.IntN(3)]}
	switch m.IntN(6) {
	case 0:
		s.Tags["error"] = ""
	case 1:
		s.Tags["error"] = "no \"cart\" for ü"
	case 2:
		s.Tags["http.path"] = "/items/" + fmt.Sprint(m.IntN(3))
	case 3:
		s.Debug = true
	}
	for range m.IntN(3) {
		s.Annotations = append(s.Annotations, annotation{s.Timestamp + m.Int64N(100), []string{"cache miss", "retry", "ws"}[m.IntN(3)]})
	}
	m.spans = append(m.spans, s)
	return &m.spans[len(m.spans)-1]
}

// serve draws a server's span and what it does. shared is the id of the client's span if both have one.
func (m *maker) serve(service, parent string, depth int) {
	s := zipkinSpan{ID: m.id(), ParentID: parent, Kind: "SERVER", Name: []string{"get /items", "POST /Cart", "call"}[m.IntN(3)], LocalEndpoint: m.endpoint(service)}
	if m.lost && parent != "" && m.IntN(4) == 0 {
		s.ParentID = m.id()
	}
	m.work(service, m.add(s).ID, depth)
}

// work draws what happens below a span.
func (m *maker) work(service, parent string, depth int) {
	for range m.IntN(4 - min(depth, 3)) {
		other := services[m.IntN(len(services))]
		switch m.IntN(6) {
		case 0: // a local span, and calls below it
			s := zipkinSpan{ID: m.id(), ParentID: parent, Name: "local", LocalEndpoint: m.endpoint(service)}
			m.work(service, m.add(s).ID, depth+1)
		case 1: // a call to something that does not report
			m.add(zipkinSpan{ID: m.id(), ParentID: parent, Kind: "CLIENT", Name: "select", LocalEndpoint: m.endpoint(service),
				RemoteEndpoint: &endpoint{ServiceName: "Postgres", IPv4: "10.9.9.9", Port: 5432}})
		case 2: // messages
			id := m.id()
			m.add(zipkinSpan{ID: id, ParentID: parent, Kind: "PRODUCER", Name: "send", LocalEndpoint: m.endpoint(service), RemoteEndpoint: &endpoint{ServiceName: "kafka"}})
			m.add(zipkinSpan{ID: m.id(), ParentID: id, Kind: "CONSUMER", Name: "poll", LocalEndpoint: m.endpoint(other), RemoteEndpoint: &endpoint{ServiceName: "kafka"}})
		case 3: // one id for both sides
			id := m.id()
			m.add(zipkinSpan{ID: id, ParentID: parent, Kind: "CLIENT", Name: "call", LocalEndpoint: m.endpoint(service), RemoteEndpoint: &endpoint{ServiceName: strings.ToUpper(other)}})
			s := m.add(zipkinSpan{ID: id, ParentID: parent, Kind: "SERVER", Shared: true, Name: "call", LocalEndpoint: m.endpoint(other)})
			m.work(other, s.ID, depth+1)
		default: // an id for each side
			id := m.id()
			m.add(zipkinSpan{ID: id, ParentID: parent, Kind: "CLIENT", Name: "call", LocalEndpoint: m.endpoint(service)})
			m.serve(other, id, depth+1)
		}
	}
}

// odd are spans at the edges of the format, in traces of their own.
func odd(at time.Time) [][]zipkinSpan {
	us := at.UnixMicro()
	e := &endpoint{ServiceName: "odd"}
	return [][]zipkinSpan{
		{{TraceID: "00000000000000ff", ID: "1", Timestamp: us, LocalEndpoint: e}},                         // no name, no kind
		{{TraceID: "fe", ID: "a", Name: "short id", Timestamp: us + 1, Duration: 1, LocalEndpoint: e}},    // padded to 16
		{{TraceID: "1000000000000000f", ID: "b", Name: "17 digits", Timestamp: us + 2, LocalEndpoint: e}}, // padded to 32
		{{TraceID: "000000000000000000000000000000fd", ID: "c", Name: "leading zeros", Timestamp: us + 3, LocalEndpoint: e}},
		{{TraceID: "fc", ID: "d", Name: "nobody", Timestamp: us + 4}}, // no endpoint
		{{TraceID: "fb", ID: "e", Name: "remote only", Kind: "CLIENT", Timestamp: us + 5, RemoteEndpoint: &endpoint{ServiceName: "elsewhere"}}},
		{{TraceID: "fa", ID: "f", Name: "client shared", Kind: "CLIENT", Shared: true, Timestamp: us + 6, LocalEndpoint: e}},
		{{TraceID: "f9", ID: "9", ParentID: "9", Name: "own parent", Timestamp: us + 7, LocalEndpoint: e}},
		{{TraceID: "f8", ID: "8", Name: "twice", Kind: "SERVER", Timestamp: us + 8, Duration: 5, LocalEndpoint: e, Annotations: []annotation{{us + 9, "b"}, {us + 8, "a"}, {us + 9, "b"}}}},
		{{TraceID: "f7", ID: "7", Name: "keys of our own", Timestamp: us + 9, LocalEndpoint: &endpoint{ServiceName: "odd", IPv4: "10.0.0.1", IPv6: "::1", Port: 1},
			RemoteEndpoint: &endpoint{ServiceName: "r", Port: 2},
			Tags:           map[string]string{"peer.service": "p", "net.host.ip": "x", "net.peer.port": "80", "service.name": "s", "span.kind": "internal", "zipkin.shared": "true", "host.name": "h", "otel.status_code": "OK"}}},
	}
}
