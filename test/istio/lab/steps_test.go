package lab

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/doctor"
)

// What cases may leave behind where they fail.
var leftovers = [][3]string{{"Telemetry", "istio-system", "mesh-default"}, {"Telemetry", "default", "mesh-default"}, {"Telemetry", "shop", "tracing"}, {"Sidecar", "shop", "default"},
	{"DestinationRule", "istio-system", "spanloom"}, {"EnvoyFilter", "istio-system", "tracing"}, {"NetworkPolicy", "istio-system", "spanloom"}, {"Deployment", "istio-system", "other"}, {"Service", "istio-system", "other"}}

// bring makes the mesh what a case begins with, and looks that it is healthy.
func (l *Lab) bring(b base) {
	l.t.Helper()
	for _, o := range leftovers {
		l.kube.Delete(o[0], o[1], o[2])
	}
	for _, chain := range []string{"INPUT", "OUTPUT"} {
		if out, err := l.pod("istio-system", "spanloom").Command(l.ctx, "iptables", "-w", "-F", chain).CombinedOutput(); err != nil {
			l.t.Fatalf("iptables: %v: %s", err, out)
		}
	}
	service := l.kube.Path("Service", "istio-system", "spanloom")
	l.kube.Merge(service, "spec: {selector: {app: spanloom}}")
	l.kube.Merge(service, ports("{name: grpc-otlp, port: 4317}, "))
	l.kube.Merge(l.kube.Path("Deployment", "shop", "backend"), `spec: {template: {metadata: {labels: {sidecar.istio.io/inject: null}}}}`)
	var flags []string
	if b.strict {
		flags = []string{"--strict-ingest"}
	}
	l.Apply(configMap(b.mesh) + "\n---\n" + collector(flags...) + "\n---\n" + b.telemetry)
	if _, ok := l.whole(time.Minute); !ok {
		l.t.Fatal("the mesh is not healthy before it is broken")
	}
}

// settle waits until what was changed is what proxies do.
func (l *Lab) settle(c liveCase) {
	l.t.Helper()
	if c.lost == none {
		l.until(30*time.Second, "listeners with "+c.seen, func() bool { return l.listeners(c.seen) })
		return
	}
	missed := 0
	l.until(time.Minute, "requests without a whole trace", func() bool {
		tag := newTag("settle")
		if _, err := l.request("/" + tag + "/0"); err != nil || l.within(patience, func() bool { return l.arrived(tag).Whole == 1 }) {
			missed = 0
			return false
		}
		missed++
		return missed == 2
	})
}

// judge holds the doctor's report against a case, and answers the finding; nil if it is not there.
func judge(t testing.TB, c liveCase, r *doctor.Report) *doctor.Finding {
	t.Helper()
	severity := doctor.Error
	if c.warns {
		severity = doctor.Warning
	}
	var found *doctor.Finding
	for i := range r.Findings {
		f := &r.Findings[i]
		switch {
		case f.Cause == c.cause && f.Severity == severity && found == nil:
			found = f
		case f.Severity == doctor.Error || f.Severity == doctor.Warning && found == nil:
			t.Errorf("the doctor names %s %s besides %s: %s; %v %s", f.Severity, f.Cause, c.cause, f.Detail, f.Workloads, strings.Join(f.Evidence, "; "))
		}
	}
	if found == nil {
		t.Errorf("the doctor does not name %s: %s", c.cause, told(r))
		return nil
	}
	if how := found.Fix.Text + "\n" + found.Fix.Command + "\n" + found.Fix.Diff; !strings.Contains(how, c.fix) {
		t.Errorf("the fix says nothing of %q: %s", c.fix, how)
	}
	if want := map[loss]doctor.State{all: doctor.Broken, part: doctor.Partial, none: doctor.Healthy}[c.lost]; r.State != want && !c.warns {
		t.Errorf("state %s (%s), want %s", r.State, r.Reason, want)
	}
	return found
}

// said is a report in a cell.
func said(r *doctor.Report) string {
	out := []string{string(r.State)}
	for _, f := range r.Findings {
		if f.Severity != doctor.Info {
			out = append(out, fmt.Sprintf("%s %s %s: %s", f.Severity, f.Code, f.Cause, f.Detail))
		}
	}
	return strings.Join(out, "; ")
}

// told is a report for a person who looks why it is wrong: findings that count, and lights.
func told(r *doctor.Report) string {
	out := []string{said(r), r.Reason}
	for _, f := range r.Findings {
		if f.Severity != doctor.Info {
			out = append(out, f.Evidence...)
		}
	}
	for _, c := range r.Stations {
		text, err := json.Marshal(c)
		if err != nil {
			return err.Error()
		}
		out = append(out, string(text))
	}
	for _, u := range r.Unread {
		out = append(out, u.Name+": "+u.Why)
	}
	return strings.Join(out, "\n")
}
