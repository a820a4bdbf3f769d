package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/doctor"
)

func TestMain(m *testing.M) {
	if os.Getenv(appVariable) != "" {
		fmt.Fprintln(os.Stderr, RunApp())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// doctor runs the binary against the cluster and Spanloom, of which it takes what came since a time.
func (l *Lab) doctor(since time.Time) *doctor.Report {
	l.t.Helper()
	code, out, errs := l.Spanloom("doctor", "-o", "json", "--server", l.server(), "--since", time.Since(since).String())
	r := new(doctor.Report)
	if err := json.Unmarshal([]byte(out), r); err != nil {
		l.t.Fatalf("doctor: exit %d: %v\n%s%s", code, err, out, errs)
	}
	return r
}

// Each protocol: a request through the gateway is one whole trace, and the doctor has nothing to say against it.
func TestLabHealthy(t *testing.T) {
	l := Start(t)
	StartMesh(l, meshWith(otlpGRPC), telemetry)
	for _, c := range []struct{ name, provider, cluster string }{{"OTLP over gRPC", otlpGRPC, "outbound|4317||"}, {"OTLP over HTTP", otlpHTTP, "outbound|4318||"}, {"Zipkin", zipkin, "outbound|9411||"}} {
		l.Apply(configMap(meshWith(c.provider)))
		l.until(30*time.Second, "listeners that trace by "+c.name, func() bool { return l.tracers(c.cluster + "spanloom.istio-system.svc.cluster.local") })
		after, ok := l.whole(time.Minute)
		if !ok {
			t.Fatalf("%s: no whole trace within a minute", c.name)
		}
		tag, began := newTag("healthy"), time.Now()
		l.send(tag, 10)
		l.until(10*time.Second, c.name+": ten whole traces", func() bool { return l.arrived(tag).Whole == 10 })
		t.Logf("%s: first whole trace after %.1f s; %s", c.name, after.Seconds(), l.arrived(tag))
		// The command counts from when it began to read: what arrived while it started must not fall out.
		r := l.doctor(began.Add(-5 * time.Second))
		text, _ := json.MarshalIndent(r, "", " ")
		t.Logf("doctor: %s, %s", r.State, r.Reason)
		if r.State != doctor.Healthy || r.Worst() == doctor.Error {
			t.Errorf("%s: the doctor says %s", c.name, text)
		}
	}
}

// Each case: from a healthy mesh, break it, see what arrives, ask the doctor, do what it says, see traces again and a doctor that is
// content. The log is a table.
func TestLabCases(t *testing.T) {
	l := Start(t)
	StartMesh(l, byGRPC.mesh, byGRPC.telemetry)
	rows := []string{"| case | broken by | what arrived of 10 requests | the doctor said | fix | whole traces again after |", "| --- | --- | --- | --- | --- | --- |"}
	stop := l.traffic()
	defer stop()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			was := l.t
			l.t = t
			defer func() { l.t = was }()
			rows = append(rows, l.try(c))
		})
	}
	t.Logf("\n%s", strings.Join(rows, "\n"))
}

// words of changes, for the table.
func words(list []change) string {
	var out []string
	for _, c := range list {
		out = append(out, c.words)
	}
	return strings.Join(out, "; ")
}

// try runs a case and answers its row.
func (l *Lab) try(c liveCase) string {
	l.t.Helper()
	l.bring(c.begin)
	for _, b := range c.broken {
		b.do(l, nil)
	}
	l.settle(c)
	began := time.Now()
	tag := newTag("broken")
	l.send(tag, 10)
	l.within(patience, func() bool { return l.arrived(tag).Whole == 10 })
	got := l.arrived(tag)
	if lost := lossOf(got); lost != c.lost {
		l.t.Errorf("of ten requests %s arrived", got)
	}
	r := l.doctor(began)
	found := judge(l.t, c, r)
	if found == nil {
		return fmt.Sprintf("| %s | %s | %s | **%s** | | |", c.name, words(c.broken), got, said(r))
	}
	began = time.Now()
	for _, m := range c.mended {
		m.do(l, found)
	}
	if _, ok := l.whole(time.Minute); !ok {
		l.t.Fatal("no whole trace within a minute after the fix")
	}
	again := time.Since(began)
	mended := time.Now()
	// Refused bodies are kept by the minute: the one of the fix has to be over.
	var last *doctor.Report
	if !l.within(90*time.Second, func() bool {
		since := time.Now().Add(-5 * time.Second)
		if since.Before(mended) {
			since = mended
		}
		last = l.doctor(since)
		return content(last)
	}) {
		l.t.Errorf("after the fix the doctor says %s", told(last))
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %.1f s |", c.name, words(c.broken), got, said(r), words(c.mended), again.Seconds())
}

// content: traces arrive, and nothing is wrong or odd.
func content(r *doctor.Report) bool {
	return r.State == doctor.Healthy && r.Worst() != doctor.Error && r.Worst() != doctor.Warning
}

func lossOf(a arrival) loss {
	switch {
	case a.Spans == 0:
		return all
	case a.Whole < 10:
		return part
	}
	return none
}

// From a mesh that traces nothing to the first whole trace in one command; then verify, in a healthy mesh and in one that is broken.
func TestLabDeadMesh(t *testing.T) {
	l := Start(t)
	StartMesh(l, meshWith(""), "")
	tag := newTag("dead")
	l.send(tag, 10)
	if l.within(patience, func() bool { return l.arrived(tag).Spans > 0 }) {
		t.Fatalf("a mesh that traces nothing sent spans: %s", l.arrived(tag))
	}
	began := time.Now()
	apply := spanloom("mesh", "apply", "--yes", "--sampling", "100")
	apply.do(l, nil)
	wrote := time.Since(began)
	if _, ok := l.whole(time.Minute); !ok {
		t.Fatal("no whole trace within a minute after mesh apply")
	}
	t.Logf("dead mesh: %s took %.1f s, the first whole trace was there %.1f s after it began", apply.words, wrote.Seconds(), time.Since(began).Seconds())
	verify := func() (int, string) {
		code, out, errs := l.Spanloom("mesh", "verify", "http://"+l.pod("istio-system", "istio-ingressgateway").Addr.String()+":8080/verify", "--server", l.server(), "--since", "10s",
			"--within", "20s", "--settle", "3s", "--expect", "shop/frontend", "--expect", "shop/backend")
		return code, out + errs
	}
	if code, out := verify(); code != 0 {
		t.Errorf("verify of a healthy mesh: exit %d\n%s", code, out)
	}
	l.Delete("Telemetry", "istio-system", "mesh-default")
	l.settle(liveCase{})
	if code, out := verify(); code == 0 {
		t.Errorf("verify of a mesh without Telemetry: exit 0\n%s", out)
	}
}
