package doctor_test

import (
	"fmt"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// large is a mesh of n pods, three of each workload, made from one recorded sidecar; every tenth workload calls ten others.
func large(t testing.TB, n int) *doctor.Facts {
	t.Helper()
	f, err := collect.Files(t.Context(), []string{"testdata/cases/h01-otel-grpc"}, collect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	web := f.Proxies[2]
	f.Received = nil
	f.Proxies = f.Proxies[:1]
	for i := range n {
		w := i / 3
		p := web
		p.Namespace, p.Workload, p.Name = fmt.Sprintf("ns%d", w%40), fmt.Sprintf("w%d", w), fmt.Sprintf("w%d-%d", w, i%3)
		p.Node = fmt.Sprintf("sidecar~%s~%s.%s~x", address(i), p.Name, p.Namespace)
		p.Labels = map[string]string{"app": p.Workload}
		p.Hosts = append([]envoy.Host(nil), web.Hosts...)
		for j := range 10 {
			to := (w + j) % (n / 3)
			p.Hosts = append(p.Hosts, envoy.Host{Cluster: fmt.Sprintf("outbound|80||w%d.ns%d.svc.cluster.local", to, to%40), Address: address(to*3) + ":80", Total: 5, Success: 5, Connects: 1})
		}
		f.Proxies = append(f.Proxies, p)
		if i%3 == 0 {
			f.Objects.Workloads = append(f.Objects.Workloads, istio.Workload{Ref: istio.Ref{Kind: "Deployment", Namespace: p.Namespace, Name: p.Workload}, Labels: p.Labels})
			f.Objects.Services = append(f.Objects.Services, istio.Service{Ref: istio.Ref{Kind: "Service", Namespace: p.Namespace, Name: p.Workload}, Hosts: []string{p.Workload + "." + p.Namespace + ".svc.cluster.local"}, Selector: p.Labels, Ports: []istio.Port{{Number: 80, Name: "http"}}})
		}
	}
	return f
}

func address(pod int) string { return fmt.Sprintf("10.%d.%d.%d", 100+pod/65536, pod/256%256, pod%256) }

func TestLargeMesh(t *testing.T) {
	f := large(t, 600)
	r := doctor.Diagnose(f, doctor.Options{})
	if r.State != doctor.Healthy || len(grave(r)) != 0 || len(r.Stations) != 201 {
		t.Errorf("%s %v, %d chains", r.State, grave(r), len(r.Stations))
	}
	f.Objects.Telemetries = nil
	for i := range f.Proxies {
		bare(1)(&f.Proxies[i])
	}
	r = doctor.Diagnose(f, doctor.Options{})
	if r.State != doctor.Broken || len(grave(r)) != 1 || len(r.Findings[0].Workloads) != 201 {
		t.Errorf("%s %v: one cause for all workloads", r.State, grave(r))
	}
}

func BenchmarkDiagnose(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		f := large(b, n)
		b.Run(fmt.Sprint(n, "pods"), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				doctor.Diagnose(f, doctor.Options{})
			}
		})
	}
}

// One silent workload among many is named once, whatever its number of pods.
func TestOneSilentWorkload(t *testing.T) {
	f := large(t, 300)
	by := make(map[string]int)
	for _, p := range f.Proxies {
		by[p.Workload+"."+p.Namespace] = 10
	}
	delete(by, "w5.ns5")
	f.Received = &doctor.Received{Spans: 1000, Traces: 100, Roots: 100, ByService: by, Traffic: 2000}
	r := doctor.Diagnose(f, doctor.Options{})
	if r.State != doctor.Partial || len(grave(r)) != 1 || len(r.Findings[0].Workloads) != 1 || r.Findings[0].Workloads[0] != "ns5/w5" {
		t.Errorf("%s %v\n%s", r.State, grave(r), text(r))
	}
}
