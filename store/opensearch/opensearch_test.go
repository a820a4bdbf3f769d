package opensearch_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/searchserver"
	"github.com/spanloom/spanloom/span"
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

// TestMappingIsBounded stores 100,000 different attribute keys with values of every type: the indices have the fields of the template, not one more. What the
// servers call a mapping explosion (1,000 fields by default, then documents are refused) cannot happen.
func TestMappingIsBounded(t *testing.T) {
	const keys, perSpan, spans = 100_000, 100, 1_000
	for _, kind := range servers {
		t.Run(string(kind), func(t *testing.T) {
			server := searchserver.Start(t, kind, "")
			to := target(t, server, server.Addr)
			e := open(t, opensearch.Options{Target: to})
			defer e.Close()
			b := &span.Batch{Tenant: store.DefaultTenant, Received: storetest.At(storetest.DefaultReceived)}
			b.Resources, b.Scopes = []span.Resource{{}}, []span.Scope{{}}
			for i := 0; i < keys; i += perSpan {
				row := b.AddRow()
				b.TraceID[row], b.SpanID[row] = span.TraceIDFromUint64s(0, 7), span.SpanIDFromUint64(uint64(i+1))
				b.Start[row] = uint64(storetest.At(time.Duration(i)))
				b.Time[row] = int64(b.Start[row])
				mark := b.AttrMark()
				for k := range perSpan {
					values := []span.Value{span.StrValue(span.TypeString, b.AddText("text")), span.IntValue(int64(k)), span.DoubleValue(0.5), span.BoolValue(true)}
					b.AddAttr(b.InternKey(fmt.Appendf(nil, "key%d.of.many", i+k)), values[k%len(values)])
				}
				b.SpanAttrs[row] = b.AttrsSince(mark)
			}
			if err := e.Accept(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			if n := count(t, server, to); n != spans {
				t.Errorf("%d documents, want %d", n, spans)
			}
			var template struct{ Template mapping }
			if err := json.Unmarshal([]byte(opensearch.Schema(to.Prefix)[0].Body), &template); err != nil {
				t.Fatal(err)
			}
			var indices map[string]mapping
			if err := json.Unmarshal([]byte(server.Do(t, http.MethodGet, "/"+to.Prefix+"-spans-*/_mapping", "")), &indices); err != nil {
				t.Fatal(err)
			}
			want := slices.Sorted(maps.Keys(template.Template.Mappings.Properties))
			if len(indices) == 0 || len(want) == 0 {
				t.Fatalf("%d indices, %d fields in the template", len(indices), len(want))
			}
			for name, m := range indices {
				if got := slices.Sorted(maps.Keys(m.Mappings.Properties)); !slices.Equal(got, want) {
					t.Errorf("%s has %d fields, the template %d", name, len(got), len(want))
				}
			}
			t.Logf("%d keys in %d documents: %d fields", keys, spans, len(want))
		})
	}
}

type mapping struct {
	Mappings struct{ Properties map[string]json.RawMessage }
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
