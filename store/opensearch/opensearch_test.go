package opensearch_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/searchserver"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/opensearch"
	"github.com/spanloom/spanloom/store/storetest"
)

var prefixes atomic.Int64

// target names indices of its own on a server, which go with the test.
func target(t testing.TB, server *searchserver.Server, addr string) *opensearch.Target {
	t.Helper()
	to, err := opensearch.ParseURL(fmt.Sprintf("http://%s/?index_prefix=test%d", addr, prefixes.Add(1)), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Remove(t, "/"+to.Prefix+"-spans*,"+to.Prefix+"-documents?ignore_unavailable=true")
		for _, template := range opensearch.Schema(to.Prefix) {
			server.Remove(t, "/_index_template/"+template.Name)
		}
	})
	return to
}

func open(t testing.TB, o opensearch.Options) *opensearch.Engine {
	t.Helper()
	e, err := opensearch.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// servers are those that the whole suite runs on; the older Elasticsearch runs the conformance cases alone.
var servers = []searchserver.Kind{searchserver.Elasticsearch, searchserver.OpenSearch}

func TestConformance(t *testing.T) {
	for _, kind := range append(servers, searchserver.OldElasticsearch) {
		t.Run(string(kind), func(t *testing.T) {
			server := searchserver.Start(t, kind, "")
			storetest.Run(t, func(t *testing.T, now func() time.Time) store.Engine {
				return open(t, opensearch.Options{Target: target(t, server, server.Addr), Now: now})
			})
		})
	}
}

// TestModel runs random operations over tiny answers, with the process restarted in between.
func TestModel(t *testing.T) {
	for _, kind := range servers {
		t.Run(string(kind), func(t *testing.T) {
			server := searchserver.Start(t, kind, "")
			targets := make(map[store.Engine]*opensearch.Target)
			again := func(t *testing.T, to *opensearch.Target, now func() time.Time) store.Engine {
				e := open(t, opensearch.Options{Target: to, Now: now, Rows: 3})
				targets[e] = to
				return e
			}
			storetest.Model(t, func(t *testing.T, now func() time.Time) store.Engine {
				return again(t, target(t, server, server.Addr), now)
			}, storetest.ModelOptions{
				Reopen: func(t *testing.T, e store.Engine, now func() time.Time) store.Engine {
					if err := e.Close(); err != nil {
						t.Fatal(err)
					}
					return again(t, targets[e], now)
				},
				Hidden: map[string]func(*testing.T, store.Engine){
					"merge": func(t *testing.T, e store.Engine) {
						server.Do(t, http.MethodPost, "/"+targets[e].Prefix+"-spans-*/_forcemerge?max_num_segments=1", "")
					},
				},
			})
		})
	}
}
