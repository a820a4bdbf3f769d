package opensearch_test

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/searchserver"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/store/opensearch"
	"github.com/spanloom/spanloom/test/engines"
)

// BenchmarkAsk asks what people ask: see engines.Ask. SPANLOOM_SERVER sets of which server.
func BenchmarkAsk(b *testing.B) {
	kind := searchserver.Kind(os.Getenv("SPANLOOM_SERVER"))
	if kind == "" {
		kind = searchserver.Elasticsearch
	}
	server := searchserver.Start(b, kind, "")
	to := target(b, server, server.Addr)
	e := open(b, opensearch.Options{Target: to})
	defer e.Close()
	engines.Ask(b, e, server, func(spans int, spent func() float64) {
		size := func() float64 {
			var answer struct {
				All struct {
					Primaries struct {
						Store struct {
							Bytes int64 `json:"size_in_bytes"`
						}
					}
				} `json:"_all"`
			}
			if err := json.Unmarshal([]byte(server.Do(b, http.MethodGet, "/"+to.Prefix+"-spans-*/_stats/store", "")), &answer); err != nil {
				b.Fatal(err)
			}
			return float64(answer.All.Primaries.Store.Bytes) / float64(spans)
		}
		server.Do(b, http.MethodPost, "/"+to.Prefix+"-spans-*/_flush", "")
		b.Logf("%.1f bytes a span", size())
		server.Do(b, http.MethodPost, "/"+to.Prefix+"-spans-*/_forcemerge?max_num_segments=1&wait_for_completion=false", "")
		wait.For(b, 20*time.Minute, "the merge", func() bool {
			var answer struct {
				All struct {
					Primaries struct{ Segments, Merges struct{ Count, Current int } }
				} `json:"_all"`
				Indices map[string]any
			}
			if err := json.Unmarshal([]byte(server.Do(b, http.MethodGet, "/"+to.Prefix+"-spans-*/_stats/segments,merge", "")), &answer); err != nil {
				b.Fatal(err)
			}
			return answer.All.Primaries.Merges.Current == 0 && answer.All.Primaries.Segments.Count <= len(answer.Indices)
		})
		server.Do(b, http.MethodPost, "/"+to.Prefix+"-spans-*/_refresh", "") // lets go of what was merged
		server.Do(b, http.MethodPost, "/"+to.Prefix+"-spans-*/_flush?force=true", "")
		b.Logf("%.1f bytes a span after a merge; server CPU with it %.2f µs a span", size(), spent())
	})
}
