package opensearch_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/searchserver"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/opensearch"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/test/engines"
)

// proxy stands between an engine and a server. Its faults are asked of every request, in order, until one handles it.
type proxy struct {
	*httptest.Server
	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request, forward http.Handler) bool
	bulks atomic.Int64
	to    *httputil.ReverseProxy
}

func startProxy(t *testing.T, server *searchserver.Server, secure bool) *proxy {
	t.Helper()
	to, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{to: httputil.NewSingleHostReverseProxy(to)}
	p.to.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_bulk") {
			p.bulks.Add(1)
		}
		p.mu.Lock()
		fault := p.fault
		p.mu.Unlock()
		if fault == nil || !fault(w, r, p.to) {
			p.to.ServeHTTP(w, r)
		}
	})
	if secure {
		p.Server = httptest.NewTLSServer(handler)
	} else {
		p.Server = httptest.NewServer(handler)
	}
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) set(fault func(w http.ResponseWriter, r *http.Request, forward http.Handler) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// times makes a fault of bulks that happens n times.
func times(n int64, fault func(w http.ResponseWriter, r *http.Request, forward http.Handler)) func(http.ResponseWriter, *http.Request, http.Handler) bool {
	var left atomic.Int64
	left.Store(n)
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) bool {
		if !strings.HasSuffix(r.URL.Path, "/_bulk") || left.Add(-1) < 0 {
			return false
		}
		fault(w, r, forward)
		return true
	}
}

func (p *proxy) addr() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.URL, "http://"), "https://")
}

// count is the documents of a target, after a refresh.
func count(t *testing.T, server *searchserver.Server, to *opensearch.Target) int {
	t.Helper()
	server.Do(t, http.MethodPost, "/"+to.Prefix+"-spans-*/_refresh", "")
	var answer struct{ Count int }
	if err := json.Unmarshal([]byte(server.Do(t, http.MethodGet, "/"+to.Prefix+"-spans-*/_count", "")), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Count
}

func refuse(status int, body string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const busy = `{"error":{"root_cause":[{"type":"es_rejected_execution_exception","reason":"rejected execution of coordinating operation"}],"type":"es_rejected_execution_exception","reason":"rejected execution of coordinating operation"},"status":429}`

const breaker = `{"error":{"root_cause":[{"type":"circuit_breaking_exception","reason":"[parent] Data too large"}],"type":"circuit_breaking_exception","reason":"[parent] Data too large","bytes_wanted":1,"bytes_limit":0,"durability":"PERMANENT"},"status":429}`

func spansText(n int) string {
	var w strings.Builder
	for i := range n {
		fmt.Fprintf(&w, "%x 1 - front server get 0s 1ms http.url=http://example.test/%d\n", i+1, i*7919)
	}
	return w.String()
}

// TestFaults cuts, delays and refuses what an engine sends: nothing that was acknowledged is lost, nothing is stored twice.
func TestFaults(t *testing.T) {
	for _, kind := range servers {
		t.Run(string(kind), func(t *testing.T) {
			server := searchserver.Start(t, kind, "")
			p := startProxy(t, server, false)
			waits := 0
			engine := func(t *testing.T) (*opensearch.Engine, *opensearch.Target) {
				waits = 0
				p.set(nil)
				to := target(t, server, p.addr())
				e := open(t, opensearch.Options{Target: to, Wait: func(ctx context.Context, _ time.Duration) error { waits++; return ctx.Err() }})
				t.Cleanup(func() { p.set(nil); e.Close() })
				p.bulks.Store(0)
				return e, to
			}
			stored := func(t *testing.T, to *opensearch.Target, want int) {
				t.Helper()
				if n := count(t, server, to); n != want {
					t.Errorf("%d documents, want %d", n, want)
				}
			}
			kindOf := func(t *testing.T, err error, want problem.Kind, says string) {
				t.Helper()
				var pr *problem.Problem
				if !errors.As(err, &pr) || pr.Kind != want || !strings.Contains(err.Error(), says) {
					t.Errorf("%v, want %s with %q", err, want, says)
				}
			}
			t.Run("the answer is lost", func(t *testing.T) {
				e, to := engine(t)
				p.set(times(1, func(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
					forward.ServeHTTP(httptest.NewRecorder(), r)
					panic(http.ErrAbortHandler)
				}))
				if err := e.Accept(t.Context(), storetest.Batch(t, spansText(500))); err != nil {
					t.Fatal(err)
				}
				if p.bulks.Load() != 2 {
					t.Errorf("%d bulks, want 2", p.bulks.Load())
				}
				stored(t, to, 500)
			})
			t.Run("cut in the middle of a bulk", func(t *testing.T) {
				e, to := engine(t)
				p.set(times(1, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
					_, _ = io.CopyN(io.Discard, r.Body, 20_000)
					panic(http.ErrAbortHandler)
				}))
				if err := e.Accept(t.Context(), storetest.Batch(t, spansText(500))); err != nil {
					t.Fatal(err)
				}
				stored(t, to, 500)
			})
			t.Run("half of a bulk is stored and the rest cut, three times", func(t *testing.T) {
				e, to := engine(t)
				half := func(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
					body, _ := io.ReadAll(r.Body)
					lines := bytes.SplitAfter(body, []byte("\n"))
					body = bytes.Join(lines[:len(lines)/4*2], nil)
					r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
					forward.ServeHTTP(httptest.NewRecorder(), r)
					panic(http.ErrAbortHandler)
				}
				p.set(times(3, half))
				b := storetest.Batch(t, spansText(500))
				kindOf(t, e.Accept(t.Context(), b), problem.Unavailable, "check that the server runs")
				stored(t, to, 250)
				// The same batch keeps its number: only what is missing is added. The first try uses up the last fault.
				if err := e.Accept(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				stored(t, to, 500)
			})
			t.Run("busy twice", func(t *testing.T) {
				for _, body := range []string{busy, breaker} {
					e, to := engine(t)
					p.set(times(2, refuse(http.StatusTooManyRequests, body)))
					if err := e.Accept(t.Context(), storetest.Batch(t, spansText(10))); err != nil {
						t.Fatal(err)
					}
					if waits != 2 || p.bulks.Load() != 3 {
						t.Errorf("%d waits, %d bulks", waits, p.bulks.Load())
					}
					stored(t, to, 10)
				}
			})
			t.Run("busy for ever", func(t *testing.T) {
				e, to := engine(t)
				p.set(times(1000, refuse(http.StatusTooManyRequests, breaker)))
				kindOf(t, e.Accept(t.Context(), storetest.Batch(t, spansText(10))), problem.Overloaded, "circuit breaker")
				p.set(nil)
				if page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 5}); err != nil || len(page.Traces) != 0 {
					t.Error(page, err)
				}
				stored(t, to, 0)
			})
			t.Run("some items are refused as busy", func(t *testing.T) {
				e, to := engine(t)
				var sent []int
				p.set(func(w http.ResponseWriter, r *http.Request, forward http.Handler) bool {
					if !strings.HasSuffix(r.URL.Path, "/_bulk") {
						return false
					}
					body, _ := io.ReadAll(r.Body)
					lines := bytes.SplitAfter(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
					lines[len(lines)-1] = append(lines[len(lines)-1], '\n')
					documents := len(lines) / 2
					sent = append(sent, documents)
					// All but the first half are refused, as a server does whose queue is full.
					kept := (documents + 1) / 2
					body = bytes.Join(lines[:2*kept], nil)
					r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
					r.Header.Del("Accept-Encoding")
					answer := httptest.NewRecorder()
					forward.ServeHTTP(answer, r)
					if kept == documents {
						w.WriteHeader(answer.Code)
						_, _ = w.Write(answer.Body.Bytes())
						return true
					}
					items := []string{}
					for i := range documents {
						if i < kept {
							items = append(items, `{"create":{"status":201}}`)
						} else {
							items = append(items, `{"create":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"rejected execution"}}}`)
						}
					}
					_, _ = io.WriteString(w, `{"errors":true,"items":[`+strings.Join(items, ",")+`]}`)
					return true
				})
				if err := e.Accept(t.Context(), storetest.Batch(t, spansText(20))); err != nil {
					t.Fatal(err)
				}
				if want := []int{20, 10, 5, 2, 1}; !slices.Equal(sent, want) {
					t.Errorf("sent %v, want %v", sent, want)
				}
				stored(t, to, 20)
			})
			t.Run("a bulk that is too large for a proxy", func(t *testing.T) {
				e, to := engine(t)
				p.set(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
					if !strings.HasSuffix(r.URL.Path, "/_bulk") || r.ContentLength < 100_000 {
						return false
					}
					refuse(http.StatusRequestEntityTooLarge, "<html>413 Request Entity Too Large</html>")(w, r, nil)
					return true
				})
				if err := e.Accept(t.Context(), storetest.Batch(t, spansText(501))); err != nil {
					t.Fatal(err)
				}
				if p.bulks.Load() < 5 {
					t.Errorf("%d bulks", p.bulks.Load())
				}
				stored(t, to, 501)
			})
			t.Run("a slow server", func(t *testing.T) {
				e, to := engine(t)
				release := make(chan struct{})
				p.set(times(1, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
					<-release
					forward.ServeHTTP(w, r)
				}))
				done := make(chan error)
				go func() { done <- e.Accept(t.Context(), storetest.Batch(t, spansText(3))) }()
				wait.For(t, 30*time.Second, "the bulk", func() bool { return p.bulks.Load() == 1 })
				// What is on its way is not seen by who asks meanwhile, and he is not held up.
				page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 5})
				if err != nil || len(page.Traces) != 0 {
					t.Error(page, err)
				}
				close(release)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 5}); err != nil || len(page.Traces) != 3 {
					t.Error(page, err)
				}
				stored(t, to, 3)
			})
			t.Run("a full disk there", func(t *testing.T) {
				e, to := engine(t)
				if err := e.Accept(t.Context(), storetest.Batch(t, spansText(1))); err != nil {
					t.Fatal(err)
				}
				block := func(v string) {
					server.Do(t, http.MethodPut, "/"+to.Prefix+"-spans-*/_settings", `{"index.blocks.read_only_allow_delete":`+v+`}`)
				}
				block("true")
				kindOf(t, e.Accept(t.Context(), storetest.Batch(t, spansText(2))), problem.Unavailable, "disk is nearly full")
				block("null")
				server.Do(t, http.MethodPut, "/"+to.Prefix+"-spans-*/_settings", `{"index.blocks.write":true}`)
				kindOf(t, e.Accept(t.Context(), storetest.Batch(t, spansText(2))), problem.Unavailable, "index.blocks.write")
				server.Do(t, http.MethodPut, "/"+to.Prefix+"-spans-*/_settings", `{"index.blocks.write":null}`)
				if err := e.Accept(t.Context(), storetest.Batch(t, spansText(2))); err != nil {
					t.Fatal(err)
				}
				stored(t, to, 3)
			})
			t.Run("two processes", func(t *testing.T) {
				one, to := engine(t)
				two := open(t, opensearch.Options{Target: to})
				defer two.Close()
				for i, e := range []*opensearch.Engine{one, two, one, two} {
					if err := e.Accept(t.Context(), storetest.Batch(t, fmt.Sprintf("%d a - front server get %ds 1ms", i+1, i))); err != nil {
						t.Fatal(err)
					}
				}
				count(t, server, to) // refreshes
				first, err := one.Search(t.Context(), store.Scope{}, &store.Search{Limit: 2})
				if err != nil || len(first.Traces) != 2 || first.Next == "" {
					t.Fatal(first, err)
				}
				if err := one.Accept(t.Context(), storetest.Batch(t, "9 a - front server get 500ms 1ms")); err != nil {
					t.Fatal(err)
				}
				count(t, server, to)
				second, err := two.Search(t.Context(), store.Scope{}, &store.Search{Limit: 2, Page: first.Next})
				if err != nil || len(second.Traces) != 2 || second.Traces[0].TraceID[15] != 2 || second.Traces[1].TraceID[15] != 1 {
					t.Fatal(second, err)
				}
			})
			t.Run("indices of others", func(t *testing.T) {
				for _, c := range []struct{ path, body, want string }{
					{"/%s-spans-2026.01.01", `{"mappings":{"properties":{"x":{"type":"long"}}}}`, "is not Spanloom's"},
					{"/%s-spans", `{}`, "is not Spanloom's"},
					{"/%s-documents", `{"mappings":{"_meta":{"spanloom":7}}}`, "has schema 7, this Spanloom writes 1"},
					{"/_index_template/%s-spans", `{"index_patterns":["other-*"]}`, "is not Spanloom's"},
				} {
					to := target(t, server, server.Addr)
					server.Do(t, http.MethodPut, fmt.Sprintf(c.path, to.Prefix), c.body)
					_, err := opensearch.Open(t.Context(), opensearch.Options{Target: to})
					var pr *problem.Problem
					if !errors.As(err, &pr) || pr.Kind != problem.Invalid || pr.Field != "opensearch-url" || !strings.Contains(err.Error(), c.want) {
						t.Errorf("%s: %v, want %q", c.path, err, c.want)
					}
				}
			})
			t.Run("retention", func(t *testing.T) {
				to := target(t, server, server.Addr)
				e := open(t, opensearch.Options{Target: to})
				for _, received := range []string{"0s", "24h", "96h"} {
					if err := e.Accept(t.Context(), storetest.Batch(t, "received "+received+"\n1 a - front server get 0s 1ms")); err != nil {
						t.Fatal(err)
					}
				}
				e.Close()
				// A foreign index among them stays.
				now := time.Unix(0, storetest.At(96*time.Hour))
				expirer := open(t, opensearch.Options{Target: to, Retention: 48 * time.Hour, Now: func() time.Time { return now }})
				defer expirer.Close()
				wait.For(t, 30*time.Second, "old days to go", func() bool {
					if _, err := expirer.Expire(t.Context()); err != nil {
						t.Fatal(err)
					}
					return count(t, server, to) < 3
				})
				if n := count(t, server, to); n == 0 {
					t.Error("nothing is left")
				}
			})
			t.Run("TLS", func(t *testing.T) {
				secure := startProxy(t, server, true)
				ca := filepath.Join(t.TempDir(), "ca.pem")
				text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
				if err := os.WriteFile(ca, text, 0o600); err != nil {
					t.Fatal(err)
				}
				prefix := target(t, server, server.Addr).Prefix
				at := func(url string) *opensearch.Target {
					to, err := opensearch.ParseURL(url+"&index_prefix="+prefix, func(string) string { return "" })
					if err != nil {
						t.Fatal(err)
					}
					return to
				}
				e := open(t, opensearch.Options{Target: at("https://" + secure.addr() + "/?ca_file=" + ca)})
				if err := e.Accept(t.Context(), storetest.Batch(t, spansText(1))); err != nil {
					t.Error(err)
				}
				e.Close()
				skip := at("https://" + secure.addr() + "/?skip_verify=true")
				if len(skip.Warnings) != 1 {
					t.Errorf("warnings %q", skip.Warnings)
				}
				open(t, opensearch.Options{Target: skip}).Close()
				other := otherAuthority(t)
				for url, want := range map[string]string{
					"https://" + secure.addr() + "/?ca_file=":                                 "by ca_file",
					"https://" + secure.addr() + "/?ca_file=" + other:                         "by ca_file",
					"https://" + secure.addr() + "/?server_name=elsewhere.test&ca_file=" + ca: "by server_name",
					"https://" + server.Addr + "/?ca_file=" + ca:                              "write http://",
				} {
					_, err := opensearch.Open(t.Context(), opensearch.Options{Target: at(url)})
					if p := problem.Of(err); p == nil || p.Field != "opensearch-url" || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %v, want %q", url, err, want)
					}
				}
			})
			t.Run("killed under load", func(t *testing.T) {
				e := open(t, opensearch.Options{Target: target(t, server, server.Addr)})
				defer e.Close()
				engines.Killed(t, e, server, 1, 120*time.Second)
			})
		})
	}
}

// otherAuthority is the file of a valid certificate that signed nothing.
func otherAuthority(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestPasswords needs a server with security, which only Elasticsearch's zip has.
func TestPasswords(t *testing.T) {
	server := searchserver.Start(t, searchserver.Elasticsearch, "top secret")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("top secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(user, password, options string) *opensearch.Target {
		to, err := opensearch.ParseURL("http://"+user+server.Addr+"/?"+options, func(name string) string {
			if name != "SPANLOOM_OPENSEARCH_PASSWORD" {
				t.Errorf("asks for %s", name)
			}
			return password
		})
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	for name, to := range map[string]*opensearch.Target{"no user": at("", "", ""), "no password": at("elastic@", "", ""), "a wrong password": at("elastic@", "wrong", "")} {
		_, err := opensearch.Open(t.Context(), opensearch.Options{Target: to})
		var p *problem.Problem
		if !errors.As(err, &p) || p.Field != "opensearch-url" || !strings.Contains(err.Error(), "check user and password") || strings.Contains(err.Error(), "top secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	owner := open(t, opensearch.Options{Target: at("elastic@", "", "password_file="+file)})
	defer owner.Close()
	if err := owner.Accept(t.Context(), storetest.Batch(t, spansText(1))); err != nil {
		t.Fatal(err)
	}
	server.Do(t, http.MethodPost, "/spanloom-spans-*/_refresh", "")
	reader := open(t, opensearch.Options{Target: at(searchserver.Reader+"@", searchserver.ReaderPassword, "")})
	defer reader.Close()
	if page, err := reader.Search(t.Context(), store.Scope{}, &store.Search{Limit: 5}); err != nil || len(page.Traces) != 1 {
		t.Error(page, err)
	}
	err := reader.Accept(t.Context(), storetest.Batch(t, spansText(1)))
	var p *problem.Problem
	if !errors.As(err, &p) || p.Kind != problem.Unavailable || !strings.Contains(err.Error(), "grant the user") {
		t.Errorf("a reader stores: %v", err)
	}
	// A user without rights where nothing is yet.
	if _, err := opensearch.Open(t.Context(), opensearch.Options{Target: at(searchserver.Reader+"@", searchserver.ReaderPassword, "index_prefix=other")}); err == nil || !strings.Contains(err.Error(), "grant the user") {
		t.Errorf("a reader of indices that are not there: %v", err)
	}
}
