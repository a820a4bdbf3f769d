package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A scenario is one kind of request through the gateway, and what comes of it.
type scenario struct {
	name    string
	share   int    // of a hundred
	path    string // "" is the gRPC call
	patient time.Duration
	want    string // status that the client sees
}

// scenarios is the mix of the traffic. Every share is large enough to be seen within a minute at five requests a second.
func scenarios() []scenario {
	page := func(book int) string { return "/productpage?id=" + strconv.Itoa(book) }
	api := func(book int, part string) string { return "/api/v1/products/" + strconv.Itoa(book) + part }
	return []scenario{
		{name: "ok", share: 43, path: page(bookFine), want: "200"},
		{name: "only one part", share: 8, path: api(bookFine, "/reviews"), want: "200"},
		{name: "retries help", share: 8, path: page(bookFlaky), want: "200"},
		{name: "retries don't help", share: 6, path: page(bookUnrated), want: "200"},
		{name: "timeout of a part", share: 3, path: page(bookLongReviews), want: "200"},
		{name: "timeout", share: 3, path: api(bookLongReviews, "/reviews"), want: "504"},
		{name: "client gives up", share: 3, path: page(bookLongDetails), patient: 700 * time.Millisecond, want: "aborted"},
		{name: "not found", share: 4, path: page(bookMissing), want: "404"},
		{name: "grpc part refused", share: 3, path: page(bookSoldOut), want: "200"},
		{name: "grpc part unavailable", share: 3, path: page(bookNoStock), want: "200"},
		{name: "external host, trace cut", share: 4, path: page(bookAbroad), want: "200"},
		{name: "application error", share: 3, path: page(bookBroken), want: "500"},
		{name: "no healthy upstream", share: 2, path: api(bookFine, "/recommendations"), want: "503"},
		{name: "no route", share: 2, path: "/checkout", want: "404"},
		{name: "grpc", share: 5, want: "OK"},
	}
}

// client is what stands before the mesh: no sidecar, no SDK, no trace headers.
type client struct {
	gateway string
	http    *http.Client
	grpc    *grpc.ClientConn
}

func newClient(gateway string) (*client, error) {
	conn, err := grpc.NewClient(gateway, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("bookinfo.example"), grpc.WithUserAgent("bookinfo-stocktaking/2.3"))
	if err != nil {
		return nil, fmt.Errorf("dial the gateway: %w", err)
	}
	return &client{
		gateway: gateway,
		http:    &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}},
		grpc:    conn,
	}, nil
}

func (c *client) close() {
	c.grpc.Close()
	c.http.CloseIdleConnections()
}

// do plays the scenario once and returns the status the client saw.
func (c *client) do(ctx context.Context, s scenario) string {
	patient := s.patient
	if patient == 0 {
		patient = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	id, _ := ctx.Value(idKey{}).(string)
	if s.path == "" {
		if id != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, requestIDHeader, id)
		}
		err := c.grpc.Invoke(ctx, stockMethod, wrapperspb.String(strconv.Itoa(bookFine)), new(wrapperspb.Int64Value))
		return status.Code(err).String()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.gateway+s.path, nil)
	if err != nil {
		return err.Error()
	}
	req.Host = "bookinfo.example"
	if id != "" {
		req.Header.Set(requestIDHeader, id)
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Bookinfo-Demo/1.0")
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return "aborted"
		}
		return err.Error()
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return strconv.Itoa(resp.StatusCode)
}

// Played is what became of the requests of one kind.
type Played struct {
	Sent       int
	Unexpected map[string]int // answers other than the kind's own, by status
}

// Play sends a number of requests of the usual mix, at most some at a time, and returns by the name of their kind what came
// of them when the last has its answer. The same seed gives the same requests with the same ids; whether the gateway keeps the
// ids is up to Options.KeepRequestIDs.
func (m *Mesh) Play(ctx context.Context, seed uint64, requests, atATime int) (map[string]Played, error) {
	c, err := newClient(m.Gateway())
	if err != nil {
		return nil, err
	}
	defer c.close()
	random := rand.New(rand.NewPCG(seed, 0))
	mix, played := scenarios(), make(map[string]Played)
	type request struct {
		scenario
		id string
	}
	due := make(chan request)
	var mu sync.Mutex // guards played
	var workers sync.WaitGroup
	for range atATime {
		workers.Go(func() {
			for r := range due {
				got := c.do(withID(ctx, r.id), r.scenario)
				mu.Lock()
				p := played[r.name]
				p.Sent++
				if got != r.want {
					if p.Unexpected == nil {
						p.Unexpected = make(map[string]int)
					}
					p.Unexpected[got]++
				}
				played[r.name] = p
				mu.Unlock()
			}
		})
	}
	for range requests {
		s := pick(mix, random.IntN(100))
		if ctx.Err() != nil {
			break
		}
		due <- request{s, uuid4(random)}
	}
	close(due)
	workers.Wait()
	return played, ctx.Err()
}

// uuid4 is a request id as Envoy makes them.
func uuid4(random *rand.Rand) string {
	hi, lo := random.Uint64(), random.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xfff, lo>>48&0x3fff|0x8000, lo&0xffffffffffff)
}

type idKey struct{}

// withID gives the request that is made with the context a request id of its own.
func withID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, idKey{}, id)
}

// Drive sends requests through the gateway, at Options.Rate and in a fixed mix of good and bad, until ctx ends, and
// returns when the last of them has its answer, so that no trace is cut short by the end.
func (m *Mesh) Drive(ctx context.Context) error {
	c, err := newClient(m.Gateway())
	if err != nil {
		return err
	}
	defer c.close()
	mix := scenarios()
	began, sent, odd := m.options.Now(), 0, 0
	var mu sync.Mutex // guards odd
	var requests sync.WaitGroup
	whole := context.WithoutCancel(ctx)
	tick := time.NewTicker(time.Duration(float64(time.Second) / m.options.Rate))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			sent++
			s := pick(mix, rand.IntN(100))
			requests.Go(func() {
				if got := c.do(whole, s); got != s.want {
					mu.Lock()
					odd++
					mu.Unlock()
					m.options.Log.Debug("unexpected answer", "request", s.name, "got", got, "want", s.want)
				}
			})
		}
	}
	requests.Wait()
	m.options.Log.Info("traffic ended", "requests", sent, "unexpected", odd, "took", m.options.Now().Sub(began).Round(time.Second))
	return nil
}

// pick finds the scenario that holds the n-th hundredth of the traffic.
func pick(mix []scenario, n int) scenario {
	for _, s := range mix {
		if n < s.share {
			return s
		}
		n -= s.share
	}
	return mix[0]
}
