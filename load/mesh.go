package load

import (
	"fmt"
	"math"
)

// The shape of the mesh and of its traces.
const (
	Services    = 12
	PodsEach    = 3
	Pods        = Services * PodsEach
	MinSpans    = 8
	MaxSpans    = 40
	gateway     = 0 // index of the ingress gateway in services
	errorShare  = 0.01
	pathNumbers = 100_000 // distinct numbers in URL paths, uniform
)

// envoyVersion stands in the resource and the scope of every span that Envoy sends by OTLP.
const envoyVersion = "9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL"

// service is one workload. Calls names the services it calls; a service without any calls only external hosts.
type service struct {
	name, namespace string
	port            int
	agent           string // user agent of the calls it makes
	median          float64
	versions        [PodsEach]string
	calls           []int
	routes          []route
}

// route is one HTTP route: Istio's decorator makes the span name of its prefix, the URL has a number after the path.
type route struct {
	method, prefix, path string
	request, response    float64 // medians of the body sizes in bytes; a request median of 0 means no body
}

// external is a host outside of the mesh, called through the sidecar: a client span without a server span.
type external struct {
	host string
	route
}

var one = [PodsEach]string{"v1", "v1", "v1"}

func services() []service {
	return []service{
		{"istio-ingressgateway", "istio-system", 8080, "", 90, one, []int{1}, nil},
		{"storefront", "shop", 8080, "node", 1400, one, []int{2, 3, 4, 5, 6, 9, 10}, []route{
			{"GET", "/", "/product/", 0, 18200}, {"GET", "/cart", "/cart/", 0, 6100}, {"POST", "/checkout", "/checkout/", 840, 1500}}},
		{"catalog", "shop", 9080, "Go-http-client/1.1", 700, one, []int{3, 4, 10}, []route{
			{"GET", "/", "/api/v1/products/", 0, 2400}, {"GET", "/api/v1/categories", "/api/v1/categories/", 0, 5200}}},
		{"reviews", "shop", 9080, "okhttp/4.12.0", 950, [PodsEach]string{"v1", "v2", "v3"}, []int{9}, []route{
			{"GET", "/", "/api/v1/reviews/product/", 0, 3100}}},
		{"search", "shop", 9200, "python-requests/2.32.3", 2600, one, []int{2}, []route{{"POST", "/", "/index/products/search/", 310, 7800}}},
		{"cart", "orders", 7070, "Go-http-client/2.0", 420, one, []int{2, 9}, []route{
			{"GET", "/", "/carts/", 0, 900}, {"POST", "/", "/carts/items/", 260, 120}}},
		{"checkout", "orders", 5050, "Go-http-client/1.1", 1900, one, []int{5, 7, 8, 11}, []route{{"POST", "/", "/orders/", 1100, 640}}},
		{"payment", "orders", 5051, "axios/1.7.9", 3200, [PodsEach]string{"v1", "v1", "v2"}, []int{9}, []route{{"POST", "/", "/charges/", 530, 410}}},
		{"shipping", "orders", 5052, "Java/21.0.5", 1100, one, []int{9, 11}, []route{
			{"GET", "/", "/quotes/", 0, 380}, {"POST", "/shipments", "/shipments/", 700, 330}}},
		{"accounts", "platform", 8443, "okhttp/5.0.0", 600, one, []int{11}, []route{
			{"GET", "/", "/v2/accounts/", 0, 1250}, {"GET", "/v2/sessions", "/v2/sessions/", 0, 420}}},
		{"recommendations", "platform", 8090, "python-httpx/0.28.1", 4100, one, []int{2, 9}, []route{{"GET", "/", "/recommend/", 0, 1700}}},
		{"notifications", "platform", 8070, "Go-http-client/1.1", 500, one, []int{9}, []route{{"POST", "/", "/messages/", 620, 90}}},
	}
}

func externals() []external {
	return []external{
		{"api.payments.example", route{"POST", "/", "/v1/charges/", 480, 1300}},
		{"rates.carrier.example", route{"GET", "/", "/quotes/v3/", 0, 850}},
		{"objects.storage.example", route{"GET", "/", "/media/images/", 0, 14200}},
		{"mail.relay.example", route{"POST", "/", "/send/", 2100, 160}},
	}
}

// agents are the browsers and apps in front of the gateway.
func agents() []string {
	return []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
		"ShopApp/7.4.1 (android 15)",
		"ShopApp/7.4.0 (ios 18.6)",
		"curl/8.11.1",
		"kube-probe/1.34",
	}
}

// fault is one way in which a call ends badly, as both sides report it.
type fault struct {
	share                    float64
	clientCode, serverCode   string
	clientFlags, serverFlags string
	serverSilent             bool // the server's proxy marks the span with error=true but leaves the OTLP status unset
}

func faults() []fault {
	return []fault{
		{0.5, "503", "503", "-", "-", false},
		{0.3, "500", "500", "-", "-", false},
		{0.2, "504", "0", "UT", "DC", true},
	}
}

// externalFault is a connection refused by an external host after its retries.
var externalFault = fault{1, "503", "", "URX,UF", "", false}

// pod is one proxy with everything about it that does not change from span to span.
type pod struct {
	service  int
	id       string // name without namespace
	ip       string
	nodeID   string
	zone     string // empty in every third pod, as where nodes carry no topology labels
	revision string
	extraTag bool // a Telemetry resource of its namespace adds the request header user-agent as tag "ua"
}

// mesh is the fixed world of the generator: read-only after newMesh.
type mesh struct {
	services  []service
	externals []external
	agents    []string
	faults    []fault
	faultOdds []float64
	pods      []pod
	host      []string // per service, host:port
	sizes     []float64
}

func newMesh() *mesh {
	m := &mesh{services: services(), externals: externals(), agents: agents(), faults: faults(), sizes: sizeWeights()}
	for _, f := range m.faults {
		m.faultOdds = append(m.faultOdds, f.share)
	}
	for i, s := range m.services {
		m.host = append(m.host, fmt.Sprintf("%s.%s.svc.cluster.local:%d", s.name, s.namespace, s.port))
		for j := range PodsEach {
			m.pods = append(m.pods, newPod(i, j, s))
		}
	}
	return m
}

func newPod(i, j int, s service) pod {
	kind := "sidecar"
	if i == gateway {
		kind = "router"
	}
	p := pod{
		service:  i,
		ip:       fmt.Sprintf("10.244.%d.%d", j+1, 11+7*i),
		id:       fmt.Sprintf("%s-%s-%s", s.name, podHash(uint64(i), 9), podHash(uint64(100+3*i+j), 5)),
		zone:     [PodsEach]string{"", "eu-central-1a", "eu-central-1b"}[j],
		revision: s.versions[j],
		extraTag: s.namespace == "platform",
	}
	p.nodeID = fmt.Sprintf("%s~%s~%s.%s~%s.svc.cluster.local", kind, p.ip, p.id, s.namespace, s.namespace)
	return p
}

// podHash imitates the suffixes of Kubernetes: n letters of its alphabet.
func podHash(of uint64, n int) string {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	x := mix(of + 1)
	p := make([]byte, n)
	for i := range p {
		p[i] = alphabet[x%uint64(len(alphabet))]
		x /= uint64(len(alphabet))
	}
	return string(p)
}

// sizeWeights is the distribution of spans a trace: log-normal, cut to MinSpans..MaxSpans, with mean 20.
func sizeWeights() []float64 {
	const mu, sigma = 2.9506, 0.42
	w := make([]float64, MaxSpans-MinSpans+1)
	var sum float64
	for i := range w {
		n := float64(MinSpans + i)
		d := (math.Log(n) - mu) / sigma
		w[i] = math.Exp(-d*d/2) / n
		sum += w[i]
	}
	for i := range w {
		w[i] /= sum
	}
	return w
}
