package counters

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/demo"
	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/test/inprocess"
)

var update = flag.Bool("update", false, "write docs/demo-map.json")

const (
	requests = 10_000
	atATime  = 24
	seed     = 6
	mapFile  = "../../docs/demo-map.json"
)

// TestMapAgainstEnvoy plays the demo's mix of requests at three sampling rates. Envoys count every request, traced or not, so
// that their counters are the truth of the sampled runs too.
func TestMapAgainstEnvoy(t *testing.T) {
	if os.Getenv("SPANLOOM_LONG") != "1" {
		t.Skip("SPANLOOM_LONG=1 sends 10,000 requests through eight Envoys, three times")
	}
	envoy := realparts.Get(t, "envoy")
	for _, percent := range []float64{100, 10, 1} {
		t.Run(fmt.Sprint(percent, " percent"), func(t *testing.T) {
			s := inprocess.Start(t, inprocess.Setup{Flags: map[string]string{"mesh-sampling-percent": fmt.Sprint(percent)}})
			mesh, err := demo.StartMesh(t.Context(), demo.Options{
				Envoy: envoy, WorkDir: t.TempDir(), KeepRequestIDs: true, Percent: percent,
				Collector: demo.Collector{Zipkin: s.Zipkin, OTLPGRPC: s.OTLPGRPC, OTLPHTTP: s.OTLPHTTP}, Flush: demo.Flush{Interval: 200 * time.Millisecond},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(mesh.Stop)
			played, err := mesh.Play(t.Context(), seed, requests, atATime)
			if err != nil {
				t.Fatal(err)
			}
			for kind, p := range played {
				if len(p.Unexpected) > 0 { // on a busy machine timeouts strike where they should not; calls stay calls
					t.Logf("%s: %v of %d", kind, p.Unexpected, p.Sent)
				}
			}
			// Nothing says when the last span is in: ten flushes without a new one will do.
			quiet, last := time.Now(), 0.0
			wait.For(t, time.Minute, "the last span", func() bool {
				var status struct{ Store struct{ Spans float64 } }
				get(t, s.HTTP, "status", &status)
				if n := status.Store.Spans; n != last {
					quiet, last = time.Now(), n
				}
				return last > 0 && time.Since(quiet) > wait.Scale(2*time.Second)
			})
			c := &comparison{t: t, p: percent / 100, envoys: readCounters(t, mesh)}
			c.ask(s.HTTP)
			c.againstEnvoy()
			c.againstTruth(truth(played))
			if percent == 100 {
				c.document(s.HTTP)
			}
			t.Logf("%d numbers compared, %.0f spans", c.compared, last)
			if c.compared < 35 {
				t.Errorf("only %d numbers were compared", c.compared)
			}
		})
	}
}

// truth is the calls that the requests make, known from their kind alone. Whether reviews ask ratings depends on the version
// that a load balancer chose: that the generator does not know.
func truth(played map[string]demo.Played) map[string]float64 {
	const (
		gateway, page = "gateway/istio-system/istio-ingressgateway", "service/bookinfo/productpage"
		reviews       = "service/bookinfo/reviews"
	)
	parts := []string{gateway + " " + page, page + " service/bookinfo/details", page + " " + reviews, page + " service/bookinfo/stock", reviews + " database//postgresql"}
	of := map[string][]string{
		"only one part": {parts[0], parts[2], parts[4]}, "timeout": {parts[0], parts[2], parts[4]}, "application error": {parts[0]},
		"no healthy upstream": {parts[0], page + " service/bookinfo/recommendations"}, "no route": {}, "grpc": {gateway + " service/bookinfo/stock"},
		"external host, trace cut": append(slices.Clone(parts), "service/bookinfo/details external//books.example.com"),
	}
	calls := make(map[string]float64)
	for kind, p := range played {
		edges, known := of[kind]
		if !known {
			edges = parts
		}
		for _, e := range append(slices.Clone(edges), "client// "+gateway) {
			calls[e] += float64(p.Sent)
		}
	}
	return calls
}

// counters are those of one workload: the sum over its Envoys.
type counters struct {
	served    float64 // requests that its listeners for others took: downstream_rq_total
	errors    float64 // of a gateway: what its clients saw as errors, answers 5xx and none at all
	sent      float64 // requests of its own application: downstream_rq_total of the listeners that take these
	abandoned float64 // of these, those whose client did not wait for the answer: downstream_rq_rx_reset
	unsent    float64 // calls of which only the application knows, at most: see readCounters
	to        map[string]*cluster
}

// cluster is one destination.
type cluster struct{ completed, total, retries float64 }

// readCounters sums what the Envoys count, by workload. What they send to Spanloom is left out, and their admin ports are not
// among these names.
//
// One kind of call never reaches an Envoy. Where the caller of reviews gives up while these wait for their database, they go on
// and call ratings, with a context that has ended: the SDK makes a span of a call that fails before it is sent. There are as
// many as requests that were reset at the versions that call ratings, less those of a busy machine that were reset later.
func readCounters(t *testing.T, mesh *demo.Mesh) map[string]*counters {
	t.Helper()
	all := make(map[string]*counters)
	for i, e := range mesh.Envoys() {
		node := "service/bookinfo/" + e.Pod()[:strings.Index(e.Pod(), "-")]
		inbound := "inbound_"
		if i == 0 {
			node, inbound = "gateway/istio-system/istio-ingressgateway", "outbound_"
		}
		c := all[node]
		if c == nil {
			c = &counters{to: make(map[string]*cluster)}
			all[node] = c
		}
		var reset float64
		http, err := e.Stats(t.Context(), "http.")
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range http {
			switch listener, counter, _ := strings.Cut(strings.TrimPrefix(name, "http."), ";."); {
			case strings.HasPrefix(listener, inbound):
				switch counter {
				case "downstream_rq_total":
					c.served += float64(n)
				case "downstream_rq_5xx":
					c.errors += float64(n)
				case "downstream_rq_rx_reset":
					c.errors += float64(n)
					reset = float64(n)
				}
			case counter == "downstream_rq_total":
				c.sent += float64(n)
			case counter == "downstream_rq_rx_reset":
				c.abandoned += float64(n)
			}
		}
		clusters, err := e.Stats(t.Context(), "cluster.outbound|")
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range clusters {
			name, counter, _ := strings.Cut(strings.TrimPrefix(name, "cluster.outbound|"), ";.")
			_, host, _ := strings.Cut(name, "||")
			if strings.HasPrefix(host, "spanloom.") {
				continue
			}
			to := "external//" + host
			if service, ok := strings.CutSuffix(host, ".bookinfo.svc.cluster.local"); ok {
				to = "service/bookinfo/" + service
			}
			if c.to[to] == nil {
				c.to[to] = new(cluster)
			}
			if node == "service/bookinfo/reviews" {
				c.unsent += reset
				reset = 0 // once for each version
			}
			switch counter {
			case "upstream_rq_completed":
				c.to[to].completed += float64(n)
			case "upstream_rq_total":
				c.to[to].total += float64(n)
			case "upstream_rq_retry":
				c.to[to].retries += float64(n)
			}
		}
	}
	return all
}

// figures are those of the own API.
type figures struct {
	Calls, Weight, Errors float64
	N                     float64
	Estimated             bool
}

type edge struct {
	figures
	From, To       string
	Client, Server *figures
	Flags          []struct {
		Flag string
		N    float64
	}
}

type comparison struct {
	t        *testing.T
	p        float64 // of the requests that were traced
	envoys   map[string]*counters
	compared int

	nodes    map[string]figures
	edges    map[string]edge
	services map[string]figures // by service
}

func get(t *testing.T, host, path string, into any) {
	t.Helper()
	res, err := http.Get("http://" + host + "/api/spanloom/v1/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v %s", path, res.Status, err, body)
	}
	if raw, ok := into.(*[]byte); ok {
		*raw = body
	} else if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
}

// lastHour is a window that holds the run.
func lastHour() string {
	now := time.Now()
	return fmt.Sprintf("start=%d&end=%d", now.Add(-time.Hour).UnixNano(), now.Add(time.Minute).UnixNano())
}

func (c *comparison) ask(host string) {
	c.t.Helper()
	var m struct {
		Nodes []struct {
			ID string
			figures
		}
		Edges    []edge
		Complete bool
	}
	get(c.t, host, "map?"+lastHour(), &m)
	var services struct {
		Items []struct {
			Name string
			Red  figures
		}
		Complete bool
	}
	get(c.t, host, "services?red=true&"+lastHour(), &services)
	if !m.Complete || !services.Complete {
		c.t.Fatal("the answers are not complete")
	}
	c.nodes, c.edges, c.services = make(map[string]figures), make(map[string]edge), make(map[string]figures)
	for _, n := range m.Nodes {
		c.nodes[n.ID] = n.figures
	}
	for _, e := range m.Edges {
		c.edges[e.From+" "+e.To] = e
	}
	for _, s := range services.Items {
		c.services[s.Name] = s.Red
	}
}

// equal holds a number against the truth: exactly where everything was traced, else within the interval that holds the
// numbers of all comparisons at once in 999 of 1,000 runs. most is how many calls of that kind one trace can have. Bernstein's
// bound: rare calls are not normal.
func (c *comparison) equal(what string, got, want, most float64) {
	c.t.Helper()
	c.compared++
	const comparisons = 60
	bound, l := 0.0, math.Log(2*comparisons/0.001)
	if c.p < 1 {
		bound = math.Sqrt(2*l*(1-c.p)/c.p*want*most) + most/c.p*l/3
	}
	if math.Abs(got-want) > bound {
		c.t.Errorf("%s: the map says %g, there were %g ± %.0f", what, got, want, bound)
	}
}

// upTo is equal where some calls may be missing of the most there can be.
func (c *comparison) upTo(what string, got, most, missing, perTrace float64) {
	c.t.Helper()
	if c.p == 1 && got < most {
		most = max(got, most-missing)
	}
	c.equal(what, got, most, perTrace)
}

func (c *comparison) againstEnvoy() {
	c.t.Helper()
	whole := c.p == 1
	for node, e := range c.envoys {
		// What a workload served: each try of a retried call counts.
		c.equal(node+" served", c.nodes[node].Calls, e.served, 3)
		service := node[strings.LastIndex(node, "/")+1:] + "." + strings.Split(node, "/")[1]
		c.equal(service+" in the list of services", c.services[service].Weight, e.served, 3)
		gateway := strings.HasPrefix(node, "gateway")
		if gateway {
			c.equal("errors at the gateway", c.edges["client// "+node].Errors, e.errors, 1)
		}
		var calls, completed float64
		for to, cluster := range e.to {
			edge, ok := c.edges[node+" "+to]
			if !ok && (whole || cluster.completed*c.p > 20) {
				c.t.Errorf("the map has no edge %s %s", node, to)
			}
			calls, completed = calls+edge.Calls, completed+cluster.completed
			name := node + " -> " + to
			switch {
			case gateway: // its client spans are tries, and it gave up none
				c.equal(name+", tries", edge.Calls, cluster.total, 1)
			case e.abandoned == 0:
				c.upTo(name, edge.Calls, cluster.completed+e.unsent, e.unsent, 1)
			case whole:
				c.upTo(name, edge.Calls, cluster.completed+e.abandoned+e.unsent, e.abandoned+e.unsent, 1)
			}
			if edge.Server != nil { // calls to what sends spans
				c.equal(name+", tries at the server", count(edge.Server), cluster.total, 3)
				if whole {
					c.upTo(name+", calls and retries", count(edge.Client)+cluster.retries, count(edge.Server)+e.unsent, e.unsent, 3)
				}
			} else if cluster.total > 0 {
				c.equal(name+", tries", edge.Calls, cluster.total, 1)
			}
			if edge.Estimated == whole && ok {
				c.t.Errorf("%s: estimated is %v", name, edge.Estimated)
			}
		}
		if !gateway && len(e.to) > 0 {
			c.upTo(node+", all it called", calls, e.sent+e.unsent, e.unsent, 3)
			if whole {
				c.upTo(node+", completed and abandoned", calls, completed+e.abandoned+e.unsent, e.unsent, 3)
			}
		}
	}
}

// count is a figure of the own API: Σ weight.
func count(f *figures) float64 {
	if f == nil {
		return 0
	}
	return f.Weight
}

func (c *comparison) againstTruth(calls map[string]float64) {
	c.t.Helper()
	for e, want := range calls {
		c.equal(e+", as sent", c.edges[e].Calls, want, 1)
	}
	if c.p < 1 {
		return
	}
	for e := range c.edges { // nothing else is on the map but what the generator does not know
		switch _, known := calls[e]; {
		case known, e == "service/bookinfo/reviews service/bookinfo/ratings", e == "service/bookinfo/ratings external//books.example.com":
		default:
			c.t.Errorf("nobody makes the calls of the edge %s", e)
		}
	}
}

// document keeps the map in docs/demo-map.json, which docs/topology.md explains: the same nodes and edges as in this run.
func (c *comparison) document(host string) {
	c.t.Helper()
	var raw []byte
	get(c.t, host, "map?"+lastHour(), &raw)
	if *update {
		var indented any
		if err := json.Unmarshal(raw, &indented); err != nil {
			c.t.Fatal(err)
		}
		text, err := json.MarshalIndent(indented, "", "  ")
		if err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(mapFile, append(text, '\n'), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	text, err := os.ReadFile(mapFile)
	if err != nil {
		c.t.Fatal(err)
	}
	shape := func(p []byte) string {
		var m struct {
			Nodes []struct{ ID, Kind string }
			Edges []struct{ From, To, Class, Seen string }
		}
		if err := json.Unmarshal(p, &m); err != nil {
			c.t.Fatal(err)
		}
		return fmt.Sprintf("%+v", m)
	}
	if kept, now := shape(text), shape(raw); kept != now {
		c.t.Errorf("%s has other nodes or edges than this run: go test ./test/counters -update, and explain them in docs/topology.md\n%s\n%s", mapFile, kept, now)
	}
}
