package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/searchserver"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/opensearch"
	"github.com/spanloom/spanloom/store/queue"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/store/wal"
)

type pinnableSearch struct{ *opensearch.Engine }

func (p pinnableSearch) Pin() queue.Reader { return p.Engine.Pin() }

func beforeSearch(t testing.TB, address string, now func() time.Time) queue.Options {
	t.Helper()
	target, err := opensearch.ParseURL(address, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	o := quick("opensearch", now)
	o.Away = opensearch.Away
	o.Connect = func(ctx context.Context) (queue.Engine, error) {
		e, err := opensearch.Open(ctx, opensearch.Options{Target: target, Now: now})
		if err != nil {
			return nil, err
		}
		return pinnableSearch{e}, nil
	}
	return o
}

// ownIndices is the address of indices of a test's own, which go with it.
func ownIndices(t testing.TB, server *searchserver.Server) (address, prefix string) {
	prefix = fmt.Sprintf("queue%d", databases.Add(1))
	t.Cleanup(func() {
		server.Remove(t, "/"+prefix+"-spans*,"+prefix+"-documents?ignore_unavailable=true")
		for _, template := range opensearch.Schema(prefix) {
			server.Remove(t, "/_index_template/"+template.Name)
		}
	})
	return server.URL() + "/?index_prefix=" + prefix, prefix
}

var searchServers = []searchserver.Kind{searchserver.OpenSearch, searchserver.Elasticsearch}

// TestSearchServers runs on both servers what TestConformanceClickHouse, TestServerStops and TestProcessKilled run on theirs, and what a
// server does that judges every document.
func TestSearchServers(t *testing.T) {
	for _, kind := range searchServers {
		t.Run(string(kind), func(t *testing.T) {
			server := searchserver.Start(t, kind, "")
			t.Run("refused", func(t *testing.T) { refused(t, server) })
			t.Run("full of shards", func(t *testing.T) { noShards(t, server) })
			t.Run("disk full", func(t *testing.T) { floodStage(t, server) })
			t.Run("conformance", func(t *testing.T) {
				storetest.Run(t, func(t *testing.T, now func() time.Time) store.Engine {
					address, _ := ownIndices(t, server)
					return &pinnedSometimes{Queue: open(t, beforeSearch(t, address, now))}
				})
			})
			t.Run("stops", func(t *testing.T) {
				address, _ := ownIndices(t, server)
				stops(t, beforeSearch(t, address, time.Now), server)
			})
			t.Run("process killed", func(t *testing.T) {
				address, _ := ownIndices(t, server)
				killed(t, "opensearch", address, server)
			})
		})
	}
}

// refused makes the server refuse some documents for what is in them: these are set aside, all others are there.
func refused(t *testing.T, server *searchserver.Server) {
	address, prefix := ownIndices(t, server)
	o := beforeSearch(t, address, time.Now)
	o.Dir, o.FS = filepath.Join(t.TempDir(), "queue"), nil
	q := open(t, o)
	// An index of the day in which names are numbers: GET is none.
	template := opensearch.Schema(prefix)[0].Body
	template = strings.Replace(template, `"name": {"type": "keyword"}`, `"name": {"type": "long"}`, 1)
	server.Do(t, http.MethodPut, "/_index_template/"+prefix+"-spans", template)
	sent, bad := 0, 0
	for i := range 300 {
		text := fmt.Sprintf("%x a - front server 200 0s 1ms", i+1)
		if i%10 == 3 {
			bad++
			text += fmt.Sprintf("\n%x b a cart client get 0s 1ms", i+1)
		}
		b := storetest.Batch(t, text)
		sent += b.Len()
		if err := q.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, q)
	s := q.Stats().Queue
	if s.PoisonSpans != int64(bad) || s.SentSpans != int64(sent-bad) || s.PoisonBytes == 0 || s.Spans != 0 || s.LastError != "" {
		t.Errorf("%d of %d sent are bad, %+v", bad, sent, s)
	}
	if got := spans(t, q); got != sent-bad {
		t.Errorf("%d spans are found, want %d", got, sent-bad)
	}
	reason, err := os.ReadFile(strings.TrimSuffix(s.PoisonFile, ".log") + ".txt")
	if err != nil || !strings.Contains(string(reason), "of type [long]") {
		t.Errorf("%s: %q, %v", s.PoisonFile, reason, err)
	}
	set := 0
	if _, _, _, err := wal.ReadFile(faultfs.OS{}, s.PoisonFile, func(b *span.Batch) error {
		for row := range b.Len() {
			if b.String(b.Name[row]) != "get" {
				t.Errorf("%q was set aside", b.String(b.Name[row]))
			}
			set++
		}
		return nil
	}); err != nil || set != bad {
		t.Errorf("%d spans in %s, want %d: %v", set, s.PoisonFile, bad, err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	// It is told after a restart too.
	q = open(t, o)
	if got := q.Stats().Queue.PoisonFile; got != s.PoisonFile {
		t.Errorf("after a restart the file is %q, it was %q", got, s.PoisonFile)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// noShards has a server that makes no more indices, which it says with status 400 of every document: nothing is set aside.
func noShards(t *testing.T, server *searchserver.Server) {
	limit := func(n string) {
		server.Do(t, http.MethodPut, "/_cluster/settings", `{"persistent":{"cluster.max_shards_per_node":`+n+`}}`)
	}
	address, prefix := ownIndices(t, server)
	q := open(t, beforeSearch(t, address, time.Now))
	server.Do(t, http.MethodPut, "/"+prefix+"-filler", `{"settings":{"number_of_replicas":0}}`)
	defer server.Remove(t, "/"+prefix+"-filler")
	limit("1")
	defer limit("null")
	sent := send(t, q, 0, 20)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := q.Flush(ctx); err == nil {
		t.Error("the server took spans that it has no shard for")
	}
	s := q.Stats().Queue
	if s.PoisonSpans != 0 || s.Spans != int64(sent) || !strings.Contains(s.LastError, "shards") {
		t.Errorf("%+v", s)
	}
	limit("null")
	flush(t, q)
	if got := spans(t, q); got != sent {
		t.Errorf("%d of %d found", got, sent)
	}
	var count struct{ Count int }
	if err := json.Unmarshal([]byte(server.Do(t, http.MethodGet, "/"+prefix+"-spans-*/_count", "")), &count); err != nil || count.Count != sent {
		t.Errorf("%d documents, %v", count.Count, err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// floodStage has a server whose disk passes the flood stage, as it sees it: it takes its indices out of writing. Spans wait, can be read, are
// not set aside, and go by themselves when the server lifts the block.
func floodStage(t *testing.T, server *searchserver.Server) {
	marks := func(low, high, flood string) {
		server.Do(t, http.MethodPut, "/_cluster/settings", fmt.Sprintf(`{"persistent":{"cluster.info.update.interval":"10s","cluster.routing.allocation.disk.threshold_enabled":true,
			"cluster.routing.allocation.disk.watermark.low":%s,"cluster.routing.allocation.disk.watermark.high":%s,"cluster.routing.allocation.disk.watermark.flood_stage":%s}}`, low, high, flood))
	}
	address, prefix := ownIndices(t, server)
	q := open(t, beforeSearch(t, address, time.Now))
	sent := send(t, q, 0, 20)
	flush(t, q)
	marks(`"100000gb"`, `"90000gb"`, `"80000gb"`) // that must stay free
	defer server.Do(t, http.MethodPut, "/_cluster/settings", `{"persistent":{"cluster.info.update.interval":null,"cluster.routing.allocation.disk.*":null}}`)
	wait.For(t, 2*time.Minute, "the server to block its indices", func() bool {
		return strings.Contains(server.Do(t, http.MethodGet, "/"+prefix+"-spans-*/_settings", ""), "read_only_allow_delete")
	})
	sent += send(t, q, 1000, 20)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _ = q.Flush(ctx) }() // asks for it to be sent now
	wait.For(t, time.Minute, "the queue to say what holds it up", func() bool {
		return strings.Contains(q.Stats().Queue.LastError, "the server's disk is nearly full")
	})
	cancel()
	if s := q.Stats().Queue; s.PoisonSpans != 0 || s.Spans == 0 {
		t.Errorf("%+v", s)
	}
	if got := spans(t, q); got != sent {
		t.Errorf("%d of %d can be read", got, sent)
	}
	marks("null", "null", "null")
	flush2, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	if err := q.Flush(flush2); err != nil {
		t.Fatal(err)
	}
	if got := spans(t, q); got != sent {
		t.Errorf("%d of %d found", got, sent)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
