package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/searchserver"
)

// mapping is that of Jaeger's index template for spans, as far as sorting and searching need it.
const mapping = `{"index_patterns":["jaeger-span-*"],"template":{"mappings":{"properties":{
"traceID":{"type":"keyword"},"spanID":{"type":"keyword"},"parentSpanID":{"type":"keyword"},"operationName":{"type":"keyword"},
"startTime":{"type":"long"},"startTimeMillis":{"type":"date","format":"epoch_millis"},"duration":{"type":"long"},"flags":{"type":"integer"},
"tags":{"type":"nested","dynamic":false,"properties":{"key":{"type":"keyword"},"type":{"type":"keyword"},"value":{"type":"keyword"}}},
"references":{"type":"nested","dynamic":false},"logs":{"type":"nested","dynamic":false},
"process":{"properties":{"serviceName":{"type":"keyword"},"tags":{"type":"nested","dynamic":false}}}}}}}`

// document is a span as Jaeger 1 (text values) or 2 (typed values, parentSpanID) writes it.
func document(i int, two bool) string {
	start := 1767225600000000 + int64(i/7) // many documents start at the same microsecond
	if two {
		return fmt.Sprintf(`{"traceID":"%032x","spanID":"%016x","parentSpanID":"%016x","flags":257,"operationName":"two","references":null,"startTime":%d,"startTimeMillis":%d,"duration":10,"tags":[{"key":"n","type":"int64","value":%d},{"key":"span.kind","type":"string","value":"server"}],"logs":null,"process":{"serviceName":"v2","tags":null}}`,
			i/10+1, i+1, i+1000000, start, start/1000, i)
	}
	return fmt.Sprintf(`{"traceID":"%016x","spanID":"%016x","flags":1,"operationName":"one","references":[{"refType":"CHILD_OF","traceID":"%016x","spanID":"%016x"}],"startTime":%d,"startTimeMillis":%d,"duration":10,"tags":[{"key":"n","type":"int64","value":"%d"},{"key":"span.kind","type":"string","value":"server"}],"logs":[],"process":{"serviceName":"v1","tags":[]}}`,
		i/10+1, i+1, i/10+1, i+1000000, start, start/1000, i)
}

// Jaeger's daily indices of a real server are read whole, over the borders of pages on which many documents start at once, and in parts.
func TestJaegerIndices(t *testing.T) {
	for _, kind := range []searchserver.Kind{searchserver.Elasticsearch, searchserver.OpenSearch} {
		t.Run(string(kind), func(t *testing.T) {
			server := searchserver.Start(t, kind, "")
			put := func(method, path, body string) {
				t.Helper()
				req, err := http.NewRequestWithContext(t.Context(), method, "http://"+server.Addr+path, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/x-ndjson")
				if method == http.MethodPut {
					req.Header.Set("Content-Type", "application/json")
				}
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				answer, err := io.ReadAll(res.Body)
				if err != nil || res.StatusCode != http.StatusOK || bytes.Contains(answer, []byte(`"errors":true`)) {
					t.Fatalf("%s %s: %s %.500s %v", method, path, res.Status, answer, err)
				}
			}
			put(http.MethodPut, "/_index_template/jaeger-span", mapping)
			const n = 2500
			for day, two := range []bool{false, true} {
				var bulk strings.Builder
				for i := range n {
					fmt.Fprintf(&bulk, "{\"index\":{\"_index\":\"jaeger-span-2026-01-%02d\"}}\n%s\n", day+1, document(day*n+i, two))
				}
				put(http.MethodPost, "/_bulk?refresh=true", bulk.String())
			}
			to := listen(t)
			o := Options{From: "elasticsearch://" + server.Addr + "/jaeger-span-*", To: to.URL, State: filepath.Join(t.TempDir(), "state"), Fault: func(f Fault) { t.Error(f) }}
			r, err := Import(t.Context(), o)
			if err != nil || r.Sent != 2*n || r.OfRead != 2*n || !r.Whole() {
				t.Fatalf("%+v, %v", r, err)
			}
			seen := make(map[string]bool)
			for _, b := range to.got {
				for row := range b.Len() {
					a, ok := b.FindAttr(b.SpanAttrs[row], "n")
					if !ok || a.Value().Int()+1 != int64(b.SpanID[row].Uint64()) || a.Value().Int()+1000000 != int64(b.Parent[row].Uint64()) {
						t.Fatalf("span %s: n %v, parent %s", b.SpanID[row], a, b.Parent[row])
					}
					seen[b.SpanID[row].String()] = true
				}
			}
			if len(seen) != 2*n {
				t.Errorf("%d different spans of %d", len(seen), 2*n)
			}
			// From an instant on: the second index begins with document 2500.
			o.Since = (1767225600000000 + n/7 + 1) * 1000
			if r, err := Import(t.Context(), o); err != nil || r.Sent >= n+7 || r.Sent < n-7 {
				t.Errorf("since: %+v, %v", r, err)
			}
			o.From, o.Since = "elasticsearch://"+server.Addr+"/other-*", 0
			if _, err := Import(t.Context(), o); err == nil || !strings.Contains(err.Error(), "--from") {
				t.Errorf("no such index: %v", err)
			}
		})
	}
}

func TestParseElasticsearch(t *testing.T) {
	none := func(string) string { return "" }
	for address, want := range map[string]string{
		"elasticsearch://localhost:9200":           "http://localhost:9200 *jaeger-span-*",
		"opensearch://u@h:1/prod-jaeger-span-read": "http://h:1 prod-jaeger-span-read",
		"https://h/x": "https://h x",
		"elasticsearch://h:1/x?tls=true&server_name=es": "https://h:1 x",
	} {
		e, err := ParseElasticsearch(address, none)
		if err != nil || e.Base+" "+e.Index != want {
			t.Errorf("%s: %+v, %v", address, e, err)
		}
	}
	for _, address := range []string{"", "localhost:9200", "ftp://h", "elasticsearch://", "elasticsearch://h?tsl=true", "elasticsearch://h?ca_file=/none/of/them"} {
		if e, err := ParseElasticsearch(address, none); err == nil {
			t.Errorf("%q: %+v", address, e)
		}
	}
}

// What a test of the answers' decoding needs no server for: a shard that failed ends the import instead of shortening it.
func TestFailedShard(t *testing.T) {
	var page json.RawMessage
	to := listen(t)
	from := listen(t)
	from.answer = func(_ int, w http.ResponseWriter) bool { _, _ = w.Write(page); return true }
	page = json.RawMessage(`{"version":{"number":"8"},"id":"p","_shards":{"failed":1,"failures":[{"reason":{"reason":"disk"}}]},"hits":{"total":{"value":2},"hits":[]}}`)
	_, err := Import(t.Context(), Options{From: strings.Replace(from.URL, "http", "elasticsearch", 1), To: to.URL})
	if err == nil || !strings.Contains(err.Error(), "disk") {
		t.Error(err)
	}
}

// A certificate that nobody vouches for, and a redirect, are for a person to mend: neither is waited for, and no password goes on.
func TestWhomToTrust(t *testing.T) {
	to, other := listen(t), listen(t)
	other.answer = func(int, http.ResponseWriter) bool { t.Error("the redirect was followed"); return false }
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	moved := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusPermanentRedirect))
	defer secure.Close()
	defer moved.Close()
	for from, want := range map[string]string{
		strings.Replace(secure.URL, "https://", "https://u:p@", 1): "?ca_file=",
		strings.Replace(moved.URL, "http://", "http://u:p@", 1):    "308",
	} {
		_, err := Import(t.Context(), Options{From: from, To: to.URL, Waiting: func(why string) { t.Error("waiting:", why) }, wait: func(context.Context, time.Duration) error { return io.EOF }})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--from") {
			t.Errorf("%s: %v", from, err)
		}
	}
}
