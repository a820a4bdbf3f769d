package lab

import (
	"encoding/json"
	"fmt"
	"os"
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

// doctor runs the binary against the cluster and Spanloom.
func (l *Lab) doctor() *doctor.Report {
	l.t.Helper()
	code, out, errs := l.Spanloom("doctor", "-o", "json", "--server", l.server())
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
		tag := newTag("healthy")
		l.send(tag, 10)
		l.until(10*time.Second, c.name+": ten whole traces", func() bool { return l.arrived(tag).Whole == 10 })
		t.Logf("%s: first whole trace after %.1f s; %s", c.name, after.Seconds(), l.arrived(tag))
		r := l.doctor()
		text, _ := json.MarshalIndent(r, "", " ")
		t.Logf("doctor: %s, %s", r.State, r.Reason)
		if r.State != doctor.Healthy || r.Worst() == doctor.Error {
			t.Errorf("%s: the doctor says %s", c.name, text)
		}
	}
}
