package tempoapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
	"github.com/spanloom/spanloom/store/storetest"
)

// bookinfo is two requests through a mesh as sidecars report them, one of which fails, and an application's span with numbers.
const bookinfo = `
a1 1 - istio-ingressgateway.istio-system server "productpage.bookinfo.svc.cluster.local:9080/productpage" 10s 40ms http.method=GET http.status_code="200" http.url=http://x/productpage component=proxy node_id=router~10.0.0.1~istio-ingressgateway-abc.istio-system~istio-system.svc.cluster.local istio.cluster_id=Kubernetes istio.canonical_service=istio-ingressgateway istio.namespace=istio-system response_flags=- upstream_cluster=outbound|9080||productpage.bookinfo.svc.cluster.local
a1 2 1 productpage.bookinfo server "productpage.bookinfo.svc.cluster.local:9080/productpage" 10.005s 30ms http.method=GET http.status_code="200" http.url=http://x/productpage component=proxy node_id=sidecar~10.0.0.2~productpage-v1-abc.bookinfo~bookinfo.svc.cluster.local istio.cluster_id=Kubernetes istio.canonical_service=productpage istio.namespace=bookinfo response_flags=- upstream_cluster=inbound|9080||
a1 3 2 productpage.bookinfo client "reviews.bookinfo.svc.cluster.local:9080/*" 10.01s 20ms http.method=GET http.status_code="200" component=proxy node_id=sidecar~10.0.0.2~productpage-v1-abc.bookinfo~bookinfo.svc.cluster.local istio.cluster_id=Kubernetes istio.canonical_service=productpage istio.namespace=bookinfo upstream_cluster=outbound|9080||reviews.bookinfo.svc.cluster.local
a1 4 3 reviews.bookinfo server "reviews.bookinfo.svc.cluster.local:9080/*" 10.012s 15ms http.method=GET http.status_code="200" component=proxy node_id=sidecar~10.0.0.3~reviews-v1-abc.bookinfo~bookinfo.svc.cluster.local istio.cluster_id=Kubernetes istio.canonical_service=reviews istio.namespace=bookinfo
b2 5 - istio-ingressgateway.istio-system server "productpage.bookinfo.svc.cluster.local:9080/productpage" 20s 50ms http.method=GET http.status_code="503" component=proxy node_id=router~10.0.0.1~istio-ingressgateway-abc.istio-system~istio-system.svc.cluster.local istio.cluster_id=Kubernetes error=true @status=error
b2 6 5 productpage.bookinfo server "productpage.bookinfo.svc.cluster.local:9080/productpage" 20.005s 40ms http.method=POST http.status_code="503" component=proxy node_id=sidecar~10.0.0.2~productpage-v1-abc.bookinfo~bookinfo.svc.cluster.local istio.cluster_id=Kubernetes response_flags=UF error="true" @status=error
  event exception 20.006s exception.type=Timeout exception.message="no answer" exception.stacktrace="at x"
c3 7 - checkout internal "place order" 30s 5ms http.status_code=200 ratio=0.5 ok=true resource:host.name=checkout-1
`

// server is an API on real ports, as clients meet it.
type server struct {
	t      *testing.T
	url    string
	client tempopb.StreamingQuerierClient
}

func newServer(t *testing.T, spans string) *server {
	t.Helper()
	api := newAPI(t, spans)
	h := httptest.NewServer(api)
	t.Cleanup(h.Close)
	g := grpc.NewServer()
	api.Register(g)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &server{t: t, url: h.URL, client: tempopb.NewStreamingQuerierClient(conn)}
}

// get asks and wants 200. The query is sent as it stands.
func (s *server) get(path, query string, headers ...string) []byte {
	s.t.Helper()
	code, body := s.try(path, query, headers...)
	if code != http.StatusOK {
		s.t.Fatalf("GET %s?%s: %d %s", path, query, code, body)
	}
	return body
}

func (s *server) try(path, query string, headers ...string) (int, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.URL.RawQuery = query
	for _, h := range headers {
		k, v, _ := strings.Cut(h, "=")
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, body
}

// context ends with the test, or when a client would have given up.
func (s *server) context() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), wait.Scale(10*time.Second))
	s.t.Cleanup(cancel)
	return ctx
}

// all reads a stream to its end.
func all[M any](t *testing.T, stream grpc.ServerStreamingClient[M], err error) (list []*M) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
}

// window is the time of all spans, in seconds.
func testWindow() (start, end int64) { return storetest.Epoch.Unix(), storetest.Epoch.Unix() + 60 }

// params are parameters with the window of all spans.
func params(pairs ...string) string {
	start, end := testWindow()
	v := url.Values{"start": {fmt.Sprint(start)}, "end": {fmt.Sprint(end)}}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}
