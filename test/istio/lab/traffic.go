package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// request sends one through the gateway and answers which applications it met. All of them is what "passes" means.
func (l *Lab) request(path string) ([]string, error) {
	gateway := l.pod("istio-system", "istio-ingressgateway")
	ctx, cancel := context.WithTimeout(l.ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+gateway.Addr.String()+":8080"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Host = "shop.example"
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var names []string
	if err := json.Unmarshal(data, &names); err != nil || !slices.Equal(names, []string{"frontend", "backend"}) {
		return names, fmt.Errorf("%s answered %s: %s", path, res.Status, data)
	}
	return names, nil
}

// send sends n requests under a path of its own, all of which must pass.
func (l *Lab) send(tag string, n int) {
	l.t.Helper()
	for i := range n {
		if _, err := l.request(fmt.Sprintf("/%s/%d", tag, i)); err != nil {
			l.t.Fatalf("a request does not pass: %v", err)
		}
	}
}

// traffic sends five requests a second until it is stopped: what a mesh in use has, so that the doctor sees counters move.
func (l *Lab) traffic() (stop func()) {
	ctx, cancel := context.WithCancel(l.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_, _ = l.request(fmt.Sprintf("/background/%d", n)) // a pod may restart meanwhile
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// arrival is what Spanloom has of the requests under one path.
type arrival struct {
	Traces, Spans int
	Whole         int // traces with every span that a request makes
	Workloads     []string
}

func (a arrival) String() string {
	if a.Spans == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%d spans in %d traces (%d whole) of %s", a.Spans, a.Traces, a.Whole, strings.Join(a.Workloads, ", "))
}

// With a provider a request makes five spans: the gateway's server and upstream, frontend's in and out, backend's in.
const spansOfRequest = 5

var serial atomic.Int64

// newTag is a path that nobody used.
func newTag(what string) string { return fmt.Sprintf("%s-%d", what, serial.Add(1)) }

// arrived asks Spanloom what came of the requests under a tag.
func (l *Lab) arrived(tag string) arrival {
	l.t.Helper()
	now := time.Now()
	query := url.Values{"q": {fmt.Sprintf("{ span.http.url =~ \".*/%s/.*\" }", tag)}, "limit": {"200"}, "spss": {"100"}, "start": {fmt.Sprint(now.Add(-time.Hour).Unix())}, "end": {fmt.Sprint(now.Unix() + 5)}}
	var found struct{ Traces []struct{ TraceID string } }
	l.ask("/tempo/api/search?"+query.Encode(), &found)
	var a arrival
	names := make(map[string]bool)
	for _, t := range found.Traces {
		var trace struct {
			Data []struct {
				Spans []struct {
					ProcessID string
				}
				Processes map[string]struct{ ServiceName string }
			}
		}
		l.ask("/api/traces/"+t.TraceID, &trace)
		for _, d := range trace.Data {
			a.Traces++
			a.Spans += len(d.Spans)
			services := make(map[string]bool)
			for _, s := range d.Spans {
				services[d.Processes[s.ProcessID].ServiceName] = true
				names[d.Processes[s.ProcessID].ServiceName] = true
			}
			if len(d.Spans) == spansOfRequest && len(services) == 3 {
				a.Whole++
			}
		}
	}
	for n := range names {
		a.Workloads = append(a.Workloads, n)
	}
	slices.Sort(a.Workloads)
	return a
}

// server is Spanloom's address for everything but spans.
func (l *Lab) server() string {
	return "http://" + l.pod("istio-system", "spanloom").Addr.String() + ":16686"
}

func (l *Lab) ask(path string, into any) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.server()+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, data)
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		l.t.Fatalf("GET %s: %v", path, err)
	}
}

// whole sends requests until one becomes a whole trace, and tells after how long; ok is false if none does within d.
func (l *Lab) whole(d time.Duration) (after time.Duration, ok bool) {
	began, tag := time.Now(), newTag("whole")
	for i := 0; time.Since(began) < d && l.ctx.Err() == nil; i++ {
		// One that does not pass is fine: proxies take new configuration meanwhile.
		_, _ = l.request(fmt.Sprintf("/%s/%d", tag, i))
		if l.within(pause, func() bool { return l.arrived(tag).Whole > 0 }) {
			return time.Since(began), true
		}
	}
	return time.Since(began), false
}

// pause is how long the next request waits for the trace of the one before.
const pause = 250 * time.Millisecond

// patience is how long a trace is waited for: proxies of the lab send at once, so that later means never.
const patience = 3 * time.Second

// tracers tells whether the listeners of every proxy trace by way of this cluster, as Envoy's admin port says.
func (l *Lab) tracers(cluster string) bool {
	for _, p := range l.proxies() {
		data, err := p.get("127.0.0.1:15000/config_dump?resource=dynamic_listeners")
		if err != nil {
			return false
		}
		named := regexp.MustCompile(`"(cluster_name|cluster|collector_cluster)": "(outbound\|[0-9]+\|\|spanloom\.[^"]*)"`).FindAllStringSubmatch(string(data), -1)
		if len(named) == 0 || slices.ContainsFunc(named, func(m []string) bool { return m[2] != cluster }) {
			return false
		}
	}
	return true
}

// listeners tells whether those of every proxy hold a text.
func (l *Lab) listeners(text string) bool {
	for _, p := range l.proxies() {
		data, err := p.get("127.0.0.1:15000/config_dump?resource=dynamic_listeners")
		if err != nil || !strings.Contains(string(data), text) {
			return false
		}
	}
	return true
}

// proxies are the pods with an Envoy.
func (l *Lab) proxies() []*pod {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*pod
	for _, p := range l.pods {
		if p.proxied {
			out = append(out, p)
		}
	}
	return out
}
