package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Each book shows one thing that happens in meshes. The number is the product id in every URL.
const (
	bookFine        = 0 // everything works
	bookFlaky       = 1 // serveRatings answer 503 twice, then 200: the sidecar's retries help
	bookUnrated     = 2 // ratings answer 500 however often the sidecar tries
	bookLongReviews = 3 // serveReviews take longer than the route's timeout: 504 UT
	bookLongDetails = 4 // serveDetails take so long that an impatient client gives up: DC
	bookMissing     = 5 // details answer 404
	bookSoldOut     = 6 // stock answers the gRPC status FAILED_PRECONDITION
	bookNoStock     = 7 // stock answers UNAVAILABLE, which Istio's default policy retries
	bookAbroad      = 8 // details ask books.example.com and hand no headers on: a trace of its own
	bookBroken      = 9 // serveProductpage fails by itself, with an exception event
)

// reviewsTimeout is the timeout that a VirtualService gives the route to reviews.
const reviewsTimeout = time.Second

// productpage is the front end: SDK, HTTP and gRPC clients.
func serveProductpage(p pod) (server, error) {
	stock, err := newStockClient(p)
	if err != nil {
		return server{}, err
	}
	page := &page{client: p.instrumentedClient(), stock: stock, tracer: p.telemetry.provider.Tracer("bookinfo/productpage")}
	mux := http.NewServeMux()
	p.instrumented(mux, "GET /productpage", page.show)
	p.instrumented(mux, "GET /api/v1/products/{id}", page.part("http://details:9080/details/"))
	p.instrumented(mux, "GET /api/v1/products/{id}/reviews", page.part("http://reviews:9080/reviews/"))
	p.instrumented(mux, "GET /api/v1/products/{id}/recommendations", page.part("http://recommendations:9080/recommendations/"))
	s := httpServer(mux)
	stop := s.stop
	s.stop = func() { stop(); stock.Close() }
	return s, nil
}

type page struct {
	client *http.Client
	stock  *stockClient
	tracer trace.Tracer
}

// show asks for all parts of the page at once. A part that fails leaves a gap in the page, a missing book is a 404.
func (pg *page) show(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	trace.SpanFromContext(r.Context()).SetAttributes(attribute.String("book.id", id))
	if id == strconv.Itoa(bookBroken) {
		span := trace.SpanFromContext(r.Context())
		err := errors.New("template productpage: index out of range [9] with length 9")
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var details, reviews reply
	var copies int64
	var stockErr error
	var parts sync.WaitGroup
	parts.Go(func() { details = get(r.Context(), pg.client, "http://details:9080/details/"+id, nil) })
	parts.Go(func() { reviews = get(r.Context(), pg.client, "http://reviews:9080/reviews/"+id, nil) })
	parts.Go(func() { copies, stockErr = pg.stock.check(r.Context(), id) })
	parts.Wait()

	_, span := pg.tracer.Start(r.Context(), "render page", trace.WithAttributes(attribute.String("page.template", "productpage.html")))
	defer span.End()
	if details.status == http.StatusNotFound {
		http.Error(w, "no such book", http.StatusNotFound)
		return
	}
	for name, missing := range map[string]bool{"details": details.status != 200, "reviews": reviews.status != 200, "stock": stockErr != nil} {
		if missing {
			span.AddEvent("part left out", trace.WithAttributes(attribute.String("page.part", name)))
		}
	}
	work(r.Context(), 2*time.Millisecond)
	fmt.Fprintf(w, "<html><h1>%s</h1><p>%s</p><p>%d in stock</p></html>\n", details.body, reviews.body, copies)
}

// part answers what one service behind answers, with its status.
func (pg *page) part(url string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer := get(r.Context(), pg.client, url+r.PathValue("id"), nil)
		w.WriteHeader(answer.status)
		w.Write(answer.body)
	}
}

// details has no SDK and hands no header on.
func serveDetails(p pod) (server, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /details/{id}", func(w http.ResponseWriter, r *http.Request) {
		work(r.Context(), 3*time.Millisecond)
		answer := map[string]any{"id": r.PathValue("id"), "title": "The Comedy of Errors", "pages": 200}
		switch bookID(r) {
		case bookMissing:
			http.Error(w, "no such book", http.StatusNotFound)
			return
		case bookLongDetails:
			work(r.Context(), 2*time.Second)
		case bookAbroad:
			answer["isbn"] = string(get(r.Context(), p.client, "http://books.example.com/isbn/"+r.PathValue("id"), nil).body)
		}
		writeJSON(w, answer)
	})
	return httpServer(mux), nil
}

// reviews has the SDK; all versions but v1 ask for ratings.
func serveReviews(p pod) (server, error) {
	client := p.instrumentedClient()
	tracer := p.telemetry.provider.Tracer("bookinfo/reviews")
	mux := http.NewServeMux()
	p.instrumented(mux, "GET /reviews/{id}", func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), "SELECT reviews", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("db.system.name", "postgresql"),
			attribute.String("db.query.text", "SELECT reviewer, text FROM reviews WHERE book = $1"),
			attribute.StringSlice("db.columns", []string{"reviewer", "text"})))
		work(ctx, 2*time.Millisecond)
		if bookID(r) == bookLongReviews {
			span.AddEvent("waiting for a lock")
			work(ctx, 3*reviewsTimeout)
		}
		span.SetAttributes(attribute.Int("db.response.returned_rows", 2))
		span.End()
		answer := map[string]any{"id": r.PathValue("id"), "reviews": []string{"An extremely entertaining play by Shakespeare."}}
		if p.Version != "v1" {
			ratings := get(r.Context(), client, "http://ratings:9080/ratings/"+r.PathValue("id"), nil)
			if ratings.status == http.StatusOK {
				answer["stars"], answer["color"] = json.RawMessage(ratings.body), map[string]string{"v2": "black", "v3": "red"}[p.Version]
			} else {
				answer["error"] = "ratings are currently unavailable"
			}
		}
		writeJSON(w, answer)
	})
	return httpServer(mux), nil
}

// ratings has no SDK but hands on what Istio asks for, so that the call to the outside stays in the trace.
func serveRatings(p pod) (server, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ratings/{id}", func(w http.ResponseWriter, r *http.Request) {
		work(r.Context(), 2*time.Millisecond)
		// Envoy counts its tries in this header, from 1.
		attempt, _ := strconv.Atoi(r.Header.Get("X-Envoy-Attempt-Count"))
		switch id := bookID(r); {
		case id == bookFlaky && attempt <= 2:
			http.Error(w, "ratings are starting up", http.StatusServiceUnavailable)
			return
		case id == bookUnrated:
			http.Error(w, "ratings have no connection to their database", http.StatusInternalServerError)
			return
		}
		votes := get(r.Context(), p.client, "http://books.example.com/votes/"+r.PathValue("id")+"?token=demo-secret", forwarded(r.Header))
		if votes.status != http.StatusOK {
			http.Error(w, "no votes", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(votes.body)
	})
	return httpServer(mux), nil
}

// forwarded picks the headers that Istio asks applications to hand on.
func forwarded(in http.Header) http.Header {
	out := make(http.Header)
	for _, name := range []string{
		requestIDHeader, "X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags", "B3",
		"Traceparent", "Tracestate", "Baggage",
	} {
		if values := in.Values(name); len(values) > 0 {
			out[http.CanonicalHeaderKey(name)] = values
		}
	}
	return out
}

// books stands for a service outside the mesh, which a ServiceEntry names: no sidecar, no spans of its own.
func books() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /votes/{id}", func(w http.ResponseWriter, r *http.Request) {
		work(r.Context(), 5*time.Millisecond)
		writeJSON(w, map[string]int{"reviewer1": 5, "reviewer2": 4})
	})
	mux.HandleFunc("GET /isbn/{id}", func(w http.ResponseWriter, r *http.Request) {
		work(r.Context(), 15*time.Millisecond)
		io.WriteString(w, "1234567890")
	})
	return mux
}

// serveBooks starts the external host on loopback.
func serveBooks() (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen for the external host: %w", err)
	}
	s := httpServer(books())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.serve(listener) // ends with ErrServerClosed, by stop
	}()
	return listener.Addr().String(), func() { s.stop(); <-ended }, nil
}

func bookID(r *http.Request) int {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		return bookFine
	}
	return id
}

// reply is an answer; a request that got none is a 502.
type reply struct {
	status int
	body   []byte
}

func get(ctx context.Context, client *http.Client, url string, header http.Header) reply {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return reply{http.StatusBadGateway, []byte(err.Error())}
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{http.StatusBadGateway, []byte(err.Error())}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return reply{http.StatusBadGateway, []byte(err.Error())}
	}
	return reply{resp.StatusCode, body}
}

// work takes about the given time, or until the caller has gone.
func work(ctx context.Context, about time.Duration) {
	timer := time.NewTimer(about/2 + rand.N(about))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
