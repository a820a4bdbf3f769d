package demo

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var testCollector = Collector{Zipkin: "127.0.0.1:9411", OTLPGRPC: "0.0.0.0:4317", OTLPHTTP: "localhost:4318"}

func detailsProxy(tracer Tracer) Proxy {
	return Proxy{
		Pod: "details-v1-65cfcf56f9-hhgnt", App: "details", Version: "v1", Namespace: "bookinfo",
		Address: "127.0.0.1", Tracer: tracer,
		Inbound: []Inbound{{Host: "details.bookinfo.svc.cluster.local", Port: 9080, App: "127.0.0.1:39080"}},
	}
}

func reviewsProxy(tracer Tracer) Proxy {
	return Proxy{
		Pod: "reviews-v2-6f87c8594b-bfgxq", App: "reviews", Version: "v2", Namespace: "bookinfo",
		Address: "127.10.0.15", Tracer: tracer,
		Inbound: []Inbound{{Host: "reviews.bookinfo.svc.cluster.local", Port: 9080, App: "127.10.0.15:39080"}},
		Outbound: []Service{
			{
				Host: "ratings.bookinfo.svc.cluster.local", Port: 9080, Endpoints: []string{"127.10.0.17:41001"},
				Timeout: 1500 * time.Millisecond, Retries: 2, RetryOn: "5xx",
			},
			{Host: "books.example.com", Port: 80, Endpoints: []string{"127.0.0.1:41002"}},
			{Host: "stock.bookinfo.svc.cluster.local", Port: 7000, GRPC: true},
		},
	}
}

func gatewayProxy() Proxy {
	productpage := Service{Host: "productpage.bookinfo.svc.cluster.local", Port: 9080, Endpoints: []string{"127.10.0.12:41003"}}
	return Proxy{
		Router: true,
		Pod:    "istio-ingressgateway-7f57bc4f4f-4xs7d", App: "istio-ingressgateway", Version: "latest", Namespace: "istio-system",
		Address: "127.0.0.1", Port: 8080, Tracer: ZipkinB3W3C,
		Routes: []Route{{Exact: "/productpage", To: productpage}, {Prefix: "/api/v1/products", To: productpage}},
	}
}

func TestBootstrap(t *testing.T) {
	for name, proxy := range map[string]Proxy{
		"gateway":           gatewayProxy(),
		"sidecar-zipkin-b3": detailsProxy(ZipkinB3),
		"sidecar-otlp-grpc": reviewsProxy(OTLPGRPC),
		"sidecar-otlp-http": reviewsProxy(OTLPHTTP),
	} {
		t.Run(name, func(t *testing.T) {
			config, err := proxy.bootstrap(testCollector, Flush{Interval: 500 * time.Millisecond, Spans: 20})
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(config, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			golden := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("bootstrap differs from %s; go test ./demo -run TestBootstrap -update rewrites it, git diff shows it", golden)
			}
		})
	}
}

// The golden files are what Envoy itself takes, without a warning about a deprecated or unknown field.
func TestEnvoyAcceptsBootstrap(t *testing.T) {
	envoy := realEnvoy(t)
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("golden files: %v, %v", files, err)
	}
	for _, file := range files {
		cmd := exec.Command(envoy, "--mode", "validate", "--log-level", "warning", "--config-path", file)
		cmd.Env = append(os.Environ(), "OTEL_RESOURCE_ATTRIBUTES="+reviewsProxy(OTLPGRPC).resourceAttributes())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("envoy refuses %s: %v: %s", file, err, out)
		} else if bytes.Contains(out, []byte("[warning]")) {
			t.Errorf("envoy takes %s with a warning: %s", file, out)
		}
	}
}
