package reference

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/envoyspans"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/test/inprocess"
)

// differences are what our answers may differ in, each with its reason. compare counts how often each was needed; one that
// was not needed fails the test, so that the list stays true.
var differences = map[string]string{
	"case":      "names keep the case they were sent in; Zipkin lower-cases them",
	"no name":   "a span without a name shows the one that every API of ours derives",
	"no local":  "a span without a local service shows the derived one",
	"order":     "spans of a trace stand in the order of its tree, not of their arrival",
	"service":   "lists of services hold derived ones too",
	"name list": "lists of span names hold derived ones too",
	"ids":       "an id in capitals is taken; Zipkin refuses it",
	"links":     "Zipkin counts a call from the root of a trace to a span whose parent never arrived; we make up none",
	"redacted":  "values in the query of a URL are redacted, which is on by default",
	"hint":      "texts of errors may add in brackets what to do",
}

// comparison asks both servers and compares.
type comparison struct {
	t            *testing.T
	zipkin, ours string
	needed       map[string]int
	asked        int
	sent         map[string]zipkinSpan // by trace, id, kind: what was posted
}

func (c *comparison) allow(difference string) {
	if differences[difference] == "" {
		c.t.Fatalf("%q is no known difference", difference)
	}
	c.needed[difference]++
}

func (c *comparison) both(path string) (code int, zipkin, ours string) {
	c.t.Helper()
	c.asked++
	code, zipkin = get(c.t, c.zipkin, path)
	ourCode, ours := get(c.t, c.ours, path)
	if code != ourCode {
		c.t.Errorf("%s: Zipkin answers %d %.200s, we %d %.200s", path, code, zipkin, ourCode, ours)
	}
	return code, zipkin, ours
}

// values compares lists as they are.
func (c *comparison) values(path string) {
	c.t.Helper()
	_, zipkin, ours := c.both(path)
	var want, got []string
	if json.Unmarshal([]byte(zipkin), &want) != nil || json.Unmarshal([]byte(ours), &got) != nil {
		c.t.Fatalf("%s: %s\n%s", path, zipkin, ours)
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(got, want) {
		c.t.Errorf("%s: Zipkin has %q, we %q", path, want, got)
	}
}

// names compares lists of names; derived reports names that only we have.
func (c *comparison) names(path, difference string, derived func(string) bool) []string {
	c.t.Helper()
	_, zipkin, ours := c.both(path)
	var want, got []string
	if json.Unmarshal([]byte(zipkin), &want) != nil || json.Unmarshal([]byte(ours), &got) != nil {
		c.t.Fatalf("%s: %s\n%s", path, zipkin, ours)
	}
	raw := slices.Clone(got)
	got = slices.DeleteFunc(got, func(n string) bool {
		if derived != nil && derived(n) {
			c.allow(difference)
			return true
		}
		return false
	})
	for i, n := range got {
		if low := strings.ToLower(n); low != n {
			c.allow("case")
			got[i] = low
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		c.t.Errorf("%s: Zipkin has %q, we %q", path, want, got)
	}
	return raw
}

func key(s *zipkinSpan) string {
	return fmt.Sprint(strings.TrimLeft(s.TraceID, "0"), " ", strings.TrimLeft(s.ID, "0"), " ", s.Kind)
}

// traces compares lists of traces as sets and answers the ids in our order.
func (c *comparison) traces(path string) (ids []string) {
	c.t.Helper()
	_, zipkin, ours := c.both(path)
	var want, got [][]zipkinSpan
	if err := cmp.Or(json.Unmarshal([]byte(zipkin), &want), json.Unmarshal([]byte(ours), &got)); err != nil {
		c.t.Fatalf("%s: %v %.300s\n%.300s", path, err, zipkin, ours)
	}
	for _, spans := range got {
		ids = append(ids, spans[0].TraceID)
	}
	byID := func(x, y []zipkinSpan) int { return strings.Compare(x[0].TraceID, y[0].TraceID) }
	slices.SortFunc(want, byID)
	slices.SortFunc(got, byID)
	if len(got) != len(want) {
		c.t.Errorf("%s: Zipkin has %d traces, we %d", path, len(want), len(got))
		return ids
	}
	for i := range got {
		c.spans(path, want[i], got[i])
	}
	return ids
}

// spans compares the spans of a trace.
func (c *comparison) spans(path string, want, got []zipkinSpan) {
	c.t.Helper()
	for i := range got {
		c.normalize(&got[i])
	}
	order := func(x, y zipkinSpan) int {
		return cmp.Or(strings.Compare(x.ID, y.ID), strings.Compare(x.Kind, y.Kind), cmp.Compare(x.Timestamp, y.Timestamp))
	}
	if !reflect.DeepEqual(want, got) {
		slices.SortStableFunc(want, order)
		slices.SortStableFunc(got, order)
		if reflect.DeepEqual(want, got) {
			c.allow("order")
			return
		}
		for i := range min(len(want), len(got)) {
			if !reflect.DeepEqual(want[i], got[i]) {
				w, _ := json.Marshal(want[i])
				g, _ := json.Marshal(got[i])
				c.t.Errorf("%s: Zipkin has\n%s\nwe\n%s", path, w, g)
				return
			}
		}
		c.t.Errorf("%s: Zipkin has %d spans, we %d", path, len(want), len(got))
	}
}

// normalize brings one of our spans into Zipkin's form, noting what for.
func (c *comparison) normalize(s *zipkinSpan) {
	lower := func(text *string) {
		if low := strings.ToLower(*text); low != *text {
			c.allow("case")
			*text = low
		}
	}
	sent, ok := c.sent[key(s)]
	if !ok {
		c.t.Errorf("nobody sent span %s", key(s))
	}
	if sent.Name == "" && s.Name != "" {
		c.allow("no name")
		s.Name = ""
	}
	lower(&s.Name)
	if (sent.LocalEndpoint == nil || sent.LocalEndpoint.ServiceName == "") && s.LocalEndpoint != nil {
		c.allow("no local")
		s.LocalEndpoint.ServiceName = ""
		if *s.LocalEndpoint == (endpoint{}) {
			s.LocalEndpoint = nil
		}
	}
	for k, v := range s.Tags {
		before, _, _ := strings.Cut(sent.Tags[k], "?")
		if strings.HasPrefix(v, before+"?") && strings.Contains(v, "=***") {
			c.allow("redacted")
			s.Tags[k] = sent.Tags[k]
		}
	}
	for _, e := range []*endpoint{s.LocalEndpoint, s.RemoteEndpoint} {
		if e != nil {
			lower(&e.ServiceName)
		}
	}
}

type link struct {
	Parent, Child         string
	CallCount, ErrorCount int64
}

// dependencies asks both for their links; ours are summed by lower-cased names.
func (c *comparison) dependencies(path string) (zipkin, ours map[[2]string]link) {
	c.t.Helper()
	_, z, o := c.both(path)
	var want, got []link
	if err := cmp.Or(json.Unmarshal([]byte(z), &want), json.Unmarshal([]byte(o), &got)); err != nil {
		c.t.Fatalf("%s: %v %s\n%s", path, err, z, o)
	}
	zipkin, ours = make(map[[2]string]link), make(map[[2]string]link)
	for _, l := range want {
		zipkin[[2]string{l.Parent, l.Child}] = l
	}
	for _, l := range got {
		parent, child := strings.ToLower(l.Parent), strings.ToLower(l.Child)
		if parent != l.Parent || child != l.Child {
			c.allow("case")
		}
		s := ours[[2]string{parent, child}]
		ours[[2]string{parent, child}] = link{parent, child, s.CallCount + l.CallCount, s.ErrorCount + l.ErrorCount}
	}
	return zipkin, ours
}

// links compares dependencies; those of services that only we have are left out.
func (c *comparison) links(path string, without func(parent, child string) bool) int {
	c.t.Helper()
	want, got := c.dependencies(path)
	for k := range got {
		if without != nil && without(k[0], k[1]) {
			c.allow("no local")
			delete(got, k)
		}
	}
	if !maps.Equal(got, want) {
		c.t.Errorf("%s: Zipkin has\n%+v\nwe\n%+v", path, want, got)
	}
	return len(want)
}

// lostLinks compares dependencies of traces of which spans are missing: Zipkin has ours and more.
func (c *comparison) lostLinks(path string) {
	c.t.Helper()
	want, got := c.dependencies(path)
	if len(got) == 0 || maps.Equal(got, want) {
		c.t.Errorf("%s: no difference: %+v", path, got)
	}
	for k, l := range got {
		if z := want[k]; l.CallCount > z.CallCount {
			c.t.Errorf("%s: we have %+v, Zipkin %+v", path, l, z)
		}
	}
	c.allow("links")
}

// fails compares an error: the status, and that our text begins with Zipkin's.
func (c *comparison) fails(path string, want int) {
	c.t.Helper()
	code, zipkin, ours := c.both(path)
	if code != want {
		c.t.Errorf("%s: %d, want %d", path, code, want)
	}
	if ours != zipkin {
		if !strings.HasPrefix(ours, zipkin) {
			c.t.Errorf("%s: Zipkin says %q, we %q", path, zipkin, ours)
		}
		c.allow("hint")
	}
}

// TestZipkinReference posts the same spans to Zipkin's server and to Spanloom: drawn ones, those that real sidecars sent, and
// those at the edges of the format; and compares every answer.
func TestZipkinReference(t *testing.T) {
	skipUnlessLong(t)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SPANLOOM_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("seed %d (SPANLOOM_SEED)", seed)
	completed := []string{"env", "http.method", "http.path"}
	now := time.Now()
	c := &comparison{t: t, zipkin: startZipkin(t, completed), ours: "http://" + inprocess.Serve(t).Zipkin, needed: make(map[string]int), sent: make(map[string]zipkinSpan)}

	m := &maker{Rand: rand.New(rand.NewPCG(seed, 1))}
	traces := m.traces(200, now.Add(-20*time.Minute))
	drawn := len(traces)
	traces = append(traces, odd(now.Add(-10*time.Minute))...)
	spans := 0
	lossy := &maker{Rand: m.Rand, lost: true}
	traces = append(traces, lossy.traces(40, now.Add(-6*time.Hour))...)
	for _, trace := range traces {
		// Spans arrive in any order.
		trace := slices.Clone(trace)
		m.Shuffle(len(trace), func(i, j int) { trace[i], trace[j] = trace[j], trace[i] })
		body, err := json.Marshal(trace)
		if err != nil {
			t.Fatal(err)
		}
		c.note(trace)
		spans += len(trace)
		post(t, c.zipkin, body)
		post(t, c.ours, body)
	}
	// Recorded spans are far in the past: no search finds them but one that looks back far enough.
	recorded := envoyBodies(t)
	var sidecars [][]zipkinSpan
	for _, body := range recorded {
		var trace []zipkinSpan
		if err := json.Unmarshal(body, &trace); err != nil {
			t.Fatal(err)
		}
		c.note(trace)
		sidecars = append(sidecars, trace)
		post(t, c.zipkin, body)
		post(t, c.ours, body)
	}
	// Zipkin answers before it has stored.
	last := "/api/v2/trace/" + lastTrace(t, recorded)
	wait.For(t, 30*time.Second, "Zipkin to have stored everything", func() bool {
		code, _ := get(t, c.zipkin, last)
		return code == 200
	})

	nobody := func(n string) bool { return strings.HasPrefix(n, "unknown (") || n == "fc" }
	ours := c.names("/api/v2/services", "service", nobody)
	for _, s := range ours {
		if nobody(s) {
			continue
		}
		of := "?serviceName=" + url.QueryEscape(s)
		c.names("/api/v2/spans"+of, "name list", func(n string) bool { return n == "span "+s })
		c.names("/api/v2/remoteServices"+of, "", nil)
		c.names("/api/v2/spans?serviceName="+url.QueryEscape(strings.ToUpper(s)), "name list", func(n string) bool { return n == "span "+s })
	}
	c.names("/api/v2/spans?serviceName=nobody", "", nil)
	for _, k := range completed {
		c.values("/api/v2/autocompleteValues?key=" + k)
	}
	ids := make(map[string]bool)
	for _, trace := range append(traces, sidecars...) {
		for _, s := range trace {
			ids[s.TraceID] = true
		}
	}
	for id := range ids {
		_, zipkin, ours := c.both("/api/v2/trace/" + id)
		var want, got []zipkinSpan
		if err := cmp.Or(json.Unmarshal([]byte(zipkin), &want), json.Unmarshal([]byte(ours), &got)); err != nil {
			t.Fatalf("%s: %v %s", id, err, ours)
		}
		c.spans(id, want, got)
	}
	c.traces("/api/v2/traceMany?traceIds=" + traces[0][0].TraceID + "," + traces[1][0].TraceID + ",abcdef")
	c.searches(m, now, drawn)

	end := now.Add(-15 * time.Minute).UnixMilli()
	withoutOdd := fmt.Sprintf("/api/v2/dependencies?endTs=%d&lookback=%d", end, (4 * time.Hour).Milliseconds())
	if c.links(withoutOdd, nil) == 0 {
		t.Error("no dependencies")
	}
	c.links(fmt.Sprintf("/api/v2/dependencies?endTs=%d&lookback=%d", now.Add(-time.Hour).Truncate(time.Minute).Add(30*time.Second).UnixMilli(), (30*time.Minute).Milliseconds()), nil)
	c.links(fmt.Sprintf("/api/v2/dependencies?endTs=%d&lookback=1", end), nil)
	c.links(fmt.Sprintf("/api/v2/dependencies?endTs=%d&lookback=%d", now.UnixMilli(), (4*time.Hour).Milliseconds()),
		func(parent, child string) bool { return nobody(parent) || nobody(child) })
	c.lostLinks(fmt.Sprintf("/api/v2/dependencies?endTs=%d&lookback=%d", now.Add(-5*time.Hour).UnixMilli(), (3 * time.Hour).Milliseconds()))

	for path, code := range map[string]int{
		"/api/v2/remoteServices": 400, "/api/v2/traces?limit=x": 400, "/api/v2/traces?limit=0": 400, "/api/v2/traces?limit=-1": 400,
		"/api/v2/traces?limit=99999999999": 400, "/api/v2/traces?endTs=0": 400, "/api/v2/traces?endTs=abc": 400, "/api/v2/traces?lookback=0": 400,
		"/api/v2/traces?minDuration=0": 400, "/api/v2/traces?maxDuration=5": 400, "/api/v2/traces?minDuration=5&maxDuration=4": 400,
		"/api/v2/traces?minDuration=1ms": 400, "/api/v2/traces?minDuration=1.5": 400, "/api/v2/trace/b": 404, "/api/v2/trace/xyz": 400, "/api/v2/trace/0xa": 400,
		"/api/v2/trace/0": 400, "/api/v2/trace/0000000000000000000000000000000000a": 400, "/api/v2/trace/": 404, "/api/v2/traceMany": 400,
		"/api/v2/traceMany?traceIds=": 400, "/api/v2/traceMany?traceIds=a": 400, "/api/v2/traceMany?traceIds=a,a": 400, "/api/v2/traceMany?traceIds=a,b,": 400,
		"/api/v2/traceMany?traceIds=a,zz": 400, "/api/v2/traceMany?traceIds=,": 400, "/api/v2/dependencies": 400, "/api/v2/dependencies?endTs=x": 400,
		"/api/v2/dependencies?endTs=0": 400, "/api/v2/dependencies?endTs=-1": 400, "/api/v2/dependencies?endTs=1&lookback=0": 400,
		"/api/v2/dependencies?endTs=1&lookback=x": 400, "/api/v2/autocompleteValues": 400, "/api/v2/autocompleteValues?key=": 400, "/api/v2/nope": 404, "/zipkin/nope": 404,
	} {
		c.fails(path, code)
	}
	// Of /api/v2/spans without serviceName nothing is compared: some senders probe the receiver so, and get an empty list.
	if code, _ := get(t, c.ours, "/api/v2/trace/FE"); code == 200 {
		c.allow("ids")
	}

	for name, why := range differences {
		if c.needed[name] == 0 {
			t.Errorf("difference %q was not seen (%s): take it off the list", name, why)
		}
		t.Logf("%6d × %s: %s", c.needed[name], name, why)
	}
	t.Logf("%d spans in %d traces, %d requests of sidecars, %d answers compared", spans, len(traces), len(recorded), c.asked)
}

// note remembers what was sent.
func (c *comparison) note(trace []zipkinSpan) {
	for _, s := range trace {
		c.sent[key(&s)] = s
	}
}

// searches compares random combinations of all parameters.
func (c *comparison) searches(m *maker, now time.Time, traces int) {
	pick := func(v url.Values, name string, oneIn int, list ...string) {
		if m.IntN(oneIn) == 0 {
			v.Set(name, list[m.IntN(len(list))])
		}
	}
	found := 0
	for range 300 {
		v := url.Values{"limit": {"1000"}}
		pick(v, "serviceName", 2, "frontend", "CART", "checkout.shop", "MÜLLER", "db", "nobody")
		pick(v, "spanName", 3, "get /items", "post /cart", "Call", "select", "all", "nope")
		pick(v, "remoteServiceName", 5, "postgres", "KAFKA", "db", "nope")
		pick(v, "annotationQuery", 2, "env=prod", "env=Stage 2", "error", "error=", "cache miss", "retry and env=dev", "error and http.method=GET and ws", "http.path=/items/1", "env=none", `error=no "cart" for ü`)
		if pick(v, "minDuration", 3, "1", "10000", "49000"); v.Has("minDuration") {
			pick(v, "maxDuration", 2, "49999", "60000")
		}
		// Windows end between the minutes in which traces start.
		end := now.Add(-20 * time.Minute).Truncate(time.Minute).Add(-time.Duration(m.IntN(traces))*time.Minute - 30*time.Second)
		v.Set("endTs", fmt.Sprint(end.UnixMilli()))
		v.Set("lookback", fmt.Sprint((time.Duration(1+m.IntN(traces)) * time.Minute).Milliseconds()))
		found += len(c.traces("/api/v2/traces?" + v.Encode()))
	}
	if found < 1000 {
		c.t.Errorf("300 searches found %d traces", found)
	}
	// With a limit the newest ones are answered, in order.
	for _, of := range []string{"", "&serviceName=frontend"} {
		path := fmt.Sprintf("/api/v2/traces?limit=7&lookback=%d&endTs=%d%s", (8 * time.Hour).Milliseconds(), now.Add(-15*time.Minute).UnixMilli(), of)
		ids := c.traces(path)
		_, zipkin := get(c.t, c.zipkin, path)
		var want [][]zipkinSpan
		if err := json.Unmarshal([]byte(zipkin), &want); err != nil {
			c.t.Fatal(err)
		}
		for i := range min(len(ids), len(want)) {
			if want[i][0].TraceID != ids[i] {
				c.t.Errorf("%s: trace %d is %s, we have %s", path, i, want[i][0].TraceID, ids[i])
			}
		}
	}
}

// envoyBodies are requests of sidecars in Zipkin's JSON.
func envoyBodies(t *testing.T) (bodies [][]byte) {
	for _, r := range envoyspans.Requests(t) {
		if r.Proto == "zipkin" && len(r.Body) > 0 && r.Body[0] == '[' && strings.Contains(r.Folder, "1.31") {
			bodies = append(bodies, r.Body)
		}
	}
	if len(bodies) < 10 {
		t.Fatalf("%d recorded requests", len(bodies))
	}
	return bodies
}

func lastTrace(t *testing.T, bodies [][]byte) string {
	var spans []zipkinSpan
	if err := json.Unmarshal(bodies[len(bodies)-1], &spans); err != nil {
		t.Fatal(err)
	}
	return spans[0].TraceID
}
