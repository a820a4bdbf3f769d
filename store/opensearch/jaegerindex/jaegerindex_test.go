package jaegerindex_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/searchserver"
	"github.com/spanloom/spanloom/process"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/beside"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/opensearch"
	"github.com/spanloom/spanloom/store/opensearch/jaegerindex"
	"github.com/spanloom/spanloom/store/storetest"
)

// servers are those that everything runs on.
var servers = []searchserver.Kind{searchserver.Elasticsearch, searchserver.OpenSearch}

// proxy stands before a server and sees to it that nothing of Jaeger's is written.
type proxy struct {
	*httptest.Server
	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request) bool
}

func startProxy(t *testing.T, server *searchserver.Server) *proxy {
	t.Helper()
	to, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(to)
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "jaeger") {
			read := r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/_mapping") || r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/_search")
			if !read {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			p.mu.Lock()
			fault := p.fault
			p.mu.Unlock()
			if fault != nil && fault(w, r) {
				return
			}
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) set(fault func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

var prefixes atomic.Int64

// place is a prefix of Jaeger's on a server, and an engine beside it.
type place struct {
	server *searchserver.Server
	prefix string // with its hyphen
	engine *opensearch.Engine
	reader *jaegerindex.Reader
	told   []string
}

func newPlace(t *testing.T, server *searchserver.Server, p *proxy, rows int) *place {
	t.Helper()
	n := prefixes.Add(1)
	x := &place{server: server, prefix: fmt.Sprintf("t%d-", n)}
	server.Do(t, http.MethodPut, "/_index_template/"+x.prefix+"jaeger-span", template(x.prefix))
	to, err := opensearch.ParseURL(fmt.Sprintf("%s/?index_prefix=own%d&jaeger=t%d", p.URL, n, n), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if x.engine, err = opensearch.Open(t.Context(), opensearch.Options{Target: to}); err != nil {
		t.Fatal(err)
	}
	x.reader = jaegerindex.New(jaegerindex.Options{Client: x.engine.Client(), Prefix: *to.Jaeger, Rows: rows, Settle: process.Settle,
		Log: func(message string, err error) { x.told = append(x.told, fmt.Sprint(message, ": ", err)) }})
	t.Cleanup(func() {
		x.engine.Close()
		server.Remove(t, "/"+x.prefix+"jaeger-span-*,"+to.Prefix+"-*?ignore_unavailable=true")
		server.Remove(t, "/_index_template/"+x.prefix+"jaeger-span")
		for _, s := range opensearch.Schema(to.Prefix) {
			server.Remove(t, "/_index_template/"+s.Name)
		}
	})
	return x
}

// store stores documents as Jaeger does: into the index of their day, or into a given one.
func (x *place) store(t *testing.T, into string, docs ...string) {
	t.Helper()
	var bulk strings.Builder
	for _, d := range docs {
		name := into
		if name == "" {
			name = index(x.prefix, d)
		}
		fmt.Fprintf(&bulk, "{\"index\":{\"_index\":%q}}\n%s\n", name, strings.ReplaceAll(d, "\n", " "))
	}
	if text := x.server.Do(t, http.MethodPost, "/_bulk?refresh=true", bulk.String()); strings.Contains(text, `"errors":true`) {
		t.Fatalf("%.2000s", text)
	}
}

// check compares all answers of a reader with those of mem.
type check struct {
	t        *testing.T
	got      store.Reader
	want     *mem.Engine
	received bool // receipts are the same
	counts   bool // and lists: no copies
}

func (c *check) search(q store.Search) {
	c.t.Helper()
	all := func(r store.Reader) (list []store.Summary) {
		q := q
		for {
			page, err := r.Search(c.t.Context(), store.Scope{}, &q)
			if err != nil || !page.Complete {
				c.t.Fatalf("%#v: %+v %v", q, page, err)
			}
			if list = append(list, page.Traces...); page.Next == "" {
				break
			}
			q.Page = page.Next
		}
		if !c.received {
			for i := range list {
				list[i].Received = 0
			}
		}
		return list
	}
	got, want := all(c.got), all(c.want)
	if storetest.Summaries(got) != storetest.Summaries(want) || fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("%#v\n%s", q, difference(storetest.Summaries(got), storetest.Summaries(want)))
	}
}

// difference shows the lines that one of two texts lacks.
func difference(got, want string) string {
	var w strings.Builder
	for _, side := range []struct{ mark, in, not string }{{"+", got, want}, {"-", want, got}} {
		lines := strings.Split(side.not, "\n")
		for line := range strings.Lines(side.in) {
			if !slices.Contains(lines, strings.TrimSuffix(line, "\n")) {
				fmt.Fprintf(&w, "%s %s\n", side.mark, strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return w.String()
}

func (c *check) scan(q store.Scan) {
	c.t.Helper()
	q.Need = store.Everything()
	count := func(r store.Reader) map[span.Identity]int {
		n := make(map[span.Identity]int)
		for rows, err := range r.Scan(c.t.Context(), store.Scope{}, &q) {
			if err != nil {
				c.t.Fatal(err)
			}
			for _, row := range rows.Rows {
				n[rows.Batch.Identity(int(row))]++
			}
		}
		return n
	}
	if got, want := count(c.got), count(c.want); !maps.Equal(got, want) {
		c.t.Errorf("scan %#v: %d spans, want %d", q, len(got), len(want))
		for id := range want {
			if got[id] != want[id] {
				c.t.Fatalf("%v: %d, want %d", id, got[id], want[id])
			}
		}
	}
}

func (c *check) trace(id span.TraceID) {
	c.t.Helper()
	read := func(r store.Reader) string {
		var list []*span.Batch
		for b, err := range r.Trace(c.t.Context(), store.Scope{}, id, store.TimeRange{}) {
			if err != nil {
				c.t.Fatal(err)
			}
			if err := b.Check(); err != nil {
				c.t.Fatal(err)
			}
			list = append(list, b.Clone())
		}
		return storetest.Print(list...)
	}
	if got, want := read(c.got), read(c.want); got != want {
		c.t.Errorf("trace %s:\n%s", id, difference(got, want))
	}
}

func (c *check) lists(r store.TimeRange) {
	c.t.Helper()
	s := store.Scope{}
	same := func(what string, ask func(r store.Reader) (any, store.Done, error)) {
		c.t.Helper()
		got, d1, err1 := ask(c.got)
		want, d2, err2 := ask(c.want)
		if err1 != nil || err2 != nil || !d1.Complete || !d2.Complete {
			c.t.Fatalf("%s: %v %v, %v %v", what, d1, err1, d2, err2)
		}
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			c.t.Errorf("%s in %v:\n%s", what, r, difference(strings.ReplaceAll(fmt.Sprintf("%+v", got), "} {", "}\n{"), strings.ReplaceAll(fmt.Sprintf("%+v", want), "} {", "}\n{")))
		}
	}
	ctx := c.t.Context()
	services, _, err := c.want.Services(ctx, s, r)
	if err != nil {
		c.t.Fatal(err)
	}
	same("services", func(x store.Reader) (any, store.Done, error) { return done3(x.Services(ctx, s, r)) })
	for _, sv := range services {
		same("operations of "+sv.Name, func(x store.Reader) (any, store.Done, error) { return done3(x.Operations(ctx, s, sv.Name, r)) })
	}
	same("keys", func(x store.Reader) (any, store.Done, error) { return done3(x.Keys(ctx, s, store.KeysQuery{Range: r})) })
	for _, f := range []store.Field{{In: store.Intrinsic, Key: store.FieldService}, {In: store.Intrinsic, Key: store.FieldName}, {In: store.Intrinsic, Key: store.FieldGroup},
		{In: store.InAny, Key: "a"}, {In: store.InSpan, Key: "b"}} {
		same("values of "+f.Key, func(x store.Reader) (any, store.Done, error) {
			return done3(x.Values(ctx, s, store.ValuesQuery{Range: r, Field: f, Limit: 20}))
		})
	}
}

func done3[T any](list T, d store.Done, err error) (any, store.Done, error) { return list, d, err }

func randomRange(r *rand.Rand) (tr store.TimeRange) {
	if r.IntN(2) == 0 {
		tr.From = storetest.At(time.Duration(r.IntN(2_500_000)) * time.Microsecond)
	}
	if r.IntN(2) == 0 {
		tr.To = storetest.At(time.Duration(r.IntN(4_000_000)) * time.Microsecond)
	}
	return tr
}

func randomSearch(r *rand.Rand) store.Search {
	q := store.Search{Match: storetest.RandomExpr(r, 2), Limit: 1 + r.IntN(12), Mode: store.TimeMode(r.IntN(2)), Range: randomRange(r)}
	if r.IntN(4) == 0 {
		q.TraceDuration.Min = int64(r.IntN(1500)) * 1e6
		q.TraceDuration.Max = q.TraceDuration.Min * int64(r.IntN(3))
	}
	return q
}

// distinct drops rows that would be copies of others in microseconds: which one counts is not told by Jaeger's documents.
func distinct(docs []string, t *testing.T) (kept []string) {
	seen := make(map[span.Identity]bool)
	for _, d := range docs {
		if id := decoded(t, d, process.Settle).Identity(0); !seen[id] {
			seen[id] = true
			kept = append(kept, d)
		}
	}
	return kept
}

// randomDocuments are spans in all forms of Jaeger's.
func randomDocuments(t *testing.T, r *rand.Rand, n int) (docs []string) {
	b := storetest.Batch(t, storetest.RandomText(r, n, 40, 0))
	for row := range b.Len() {
		if b.Start[row] > uint64(1<<62) {
			continue
		}
		docs = append(docs, document(b, row, form(r.IntN(int(forms)))))
	}
	return distinct(docs, t)
}

func load(t *testing.T, e *mem.Engine, docs ...string) {
	t.Helper()
	for _, d := range docs {
		if err := e.Accept(t.Context(), decoded(t, d, process.Settle)); err != nil {
			t.Fatal(err)
		}
	}
}

func newMem() *mem.Engine { return mem.New(mem.Options{MaxBytes: 1 << 30}) }

func seeds() []uint64 {
	if seed, err := strconv.ParseUint(os.Getenv("SPANLOOM_SEED"), 10, 64); err == nil {
		return []uint64{seed}
	}
	return []uint64{1, 2, 3, uint64(time.Now().UnixNano())}
}

func TestServers(t *testing.T) {
	for _, kind := range servers {
		t.Run(string(kind), func(t *testing.T) {
			server := searchserver.Start(t, kind, "")
			p := startProxy(t, server)
			t.Run("nothing is there", func(t *testing.T) {
				x := newPlace(t, server, p, 0)
				c := check{t: t, got: x.reader, want: newMem(), received: true}
				c.search(store.Search{Limit: 5})
				c.scan(store.Scan{})
				c.trace(span.TraceIDFromUint64s(0, 7))
				c.lists(store.TimeRange{})
			})
			for _, seed := range seeds() {
				t.Run(fmt.Sprintf("random spans, SPANLOOM_SEED=%d", seed), func(t *testing.T) { random(t, newPlace(t, server, p, 7), seed) })
			}
			for _, seed := range seeds() {
				t.Run(fmt.Sprintf("beside an engine, SPANLOOM_SEED=%d", seed), func(t *testing.T) { united(t, newPlace(t, server, p, 50), seed) })
			}
			t.Run("rollover and archive", func(t *testing.T) { rollover(t, newPlace(t, server, p, 0)) })
			t.Run("days", func(t *testing.T) { days(t, newPlace(t, server, p, 0), p) })
			t.Run("limits of servers", func(t *testing.T) { limits(t, newPlace(t, server, p, 0), p) })
		})
	}
}

// random asks the same of Jaeger's documents and of mem that was given what they hold.
func random(t *testing.T, x *place, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 13))
	docs := append(randomDocuments(t, r, 300), odd...)
	x.store(t, "", docs[:len(docs)/2]...)
	x.store(t, "", docs[len(docs)/2:]...)
	x.store(t, x.prefix+"jaeger-span-unreadable", unreadable)
	want := newMem()
	load(t, want, docs...)
	c := check{t: t, got: x.reader, want: want, received: true, counts: true}
	for range 40 {
		q := randomSearch(r)
		c.search(q)
		c.scan(store.Scan{Match: q.Match, Mode: q.Mode, Range: q.Range})
		c.trace(span.TraceIDFromUint64s(uint64(r.IntN(2))<<60, 1+r.Uint64N(45)))
		if t.Failed() {
			t.FailNow()
		}
	}
	for _, id := range []uint64{0xab, 0xad} {
		c.trace(span.TraceIDFromUint64s(0, id))
	}
	c.search(store.Search{Limit: 3})
	long := store.Cond{Field: store.Field{In: store.InSpan, Key: "a"}, Op: store.Eq, Value: store.Text(strings.Repeat("v", 300))}
	c.search(store.Search{Limit: 3, Match: long})
	c.search(store.Search{Limit: 3, Match: store.ServiceIs(strings.Repeat("s", 300))})
	c.search(store.Search{Limit: 3, Match: store.ServiceIs("cart.shop")})
	// The server counts what is no span, too.
	x.server.Remove(t, "/"+x.prefix+"jaeger-span-unreadable")
	c.lists(store.TimeRange{})
	for range 3 {
		c.lists(randomRange(r))
	}
	if len(x.told) != 1 || !strings.Contains(x.told[0], "cannot be read") {
		t.Errorf("told %q", x.told)
	}
	other := store.Scope{Tenant: "other"}
	if page, err := x.reader.Search(t.Context(), other, &store.Search{Limit: 3}); err != nil || len(page.Traces) != 0 {
		t.Errorf("another tenant: %v %v", page, err)
	}
}

// united asks an engine with some spans beside Jaeger's documents with others, some with both, and mem with all of them.
func united(t *testing.T, x *place, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 17))
	docs := append(randomDocuments(t, r, 200), odd...)
	want := newMem()
	load(t, want, docs...)
	var there []string
	for _, d := range docs {
		place := r.IntN(5) // 4: both
		if place != 0 {
			b := decoded(t, d, process.Settle)
			if place == 1 || place == 4 {
				if err := x.engine.Accept(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
		}
		if place != 1 {
			there = append(there, d)
		}
	}
	x.store(t, "", there...)
	e := &beside.Engine{Writing: x.engine, Reader: beside.New(x.engine, x.reader, "Jaeger's indices", time.Now, func(m string, err error) { t.Error(m, err) })}
	c := check{t: t, got: e, want: want, received: true}
	for range 30 {
		c.search(randomSearch(r))
		c.trace(span.TraceIDFromUint64s(uint64(r.IntN(2))<<60, 1+r.Uint64N(45)))
		if t.Failed() {
			t.FailNow()
		}
	}
	// A page sees what was there with its first one.
	q := store.Search{Limit: 2}
	page, err := e.Search(t.Context(), store.Scope{}, &q)
	if err != nil || page.Next == "" {
		t.Fatal(page, err)
	}
	newer := storetest.Batch(t, "77 1 - front server get -3s 1ms")
	if err := e.Accept(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	for q.Page = page.Next; q.Page != ""; q.Page = page.Next {
		if page, err = e.Search(t.Context(), store.Scope{}, &q); err != nil {
			t.Fatal(err)
		}
		for _, sum := range page.Traces {
			if sum.TraceID.Low() == 0x77 {
				t.Error("a later span shows on a later page")
			}
		}
	}
	// Services of both.
	list, done, err := e.Services(t.Context(), store.Scope{}, store.TimeRange{})
	wanted, _, _ := want.Services(t.Context(), store.Scope{}, store.TimeRange{})
	if err != nil || !done.Complete || len(list) != len(wanted) {
		t.Errorf("%d services, want %d: %v %v", len(list), len(wanted), done, err)
	}
}

// rollover: indices with numbers behind an alias, archived traces, and names of reindexed data.
func rollover(t *testing.T, x *place) {
	day := func(n int, trace uint64, id string) string {
		return fmt.Sprintf(`{"traceID":"%032x","spanID":"%s","operationName":"op","references":[],"startTime":%d,"startTimeMillis":%d,"duration":5,"tags":[],"logs":[],"process":{"serviceName":"front","tags":[]}}`,
			trace, id, 1767225600000000+int64(n)*86_400_000_000, 1767225600000+int64(n)*86_400_000)
	}
	x.store(t, x.prefix+"jaeger-span-000001", day(0, 1, "000000000000000a"), day(1, 2, "000000000000000a"))
	x.server.Do(t, http.MethodPost, "/_aliases", `{"actions":[{"add":{"index":"`+x.prefix+`jaeger-span-000001","alias":"`+x.prefix+`jaeger-span-write","is_write_index":true}}]}`)
	x.server.Do(t, http.MethodPost, "/"+x.prefix+"jaeger-span-write/_rollover", "")
	x.store(t, x.prefix+"jaeger-span-write", day(2, 3, "000000000000000a"), day(2, 1, "000000000000000b"))
	x.store(t, x.prefix+"jaeger-span-archive", day(-50, 9, "000000000000000a"), day(0, 1, "000000000000000a"))
	found := func(q store.Search) (ids []uint64) {
		q.Limit = 10
		page, err := x.reader.Search(t.Context(), store.Scope{}, &q)
		if err != nil || !page.Complete {
			t.Fatal(page, err)
		}
		for _, s := range page.Traces {
			ids = append(ids, s.TraceID.Low())
		}
		return ids
	}
	if got := found(store.Search{}); !slices.Equal(got, []uint64{1, 3, 2}) {
		t.Errorf("found %v", got)
	}
	second := time.UnixMicro(1767225600000000 + 86_400_000_000).UnixNano()
	if got := found(store.Search{Range: store.TimeRange{From: second, To: second + 1e9}}); !slices.Equal(got, []uint64{2}) {
		t.Errorf("found %v on the second day", got)
	}
	for id, want := range map[uint64]int{9: 1, 1: 3, 4: 0} {
		n := 0
		for b, err := range x.reader.Trace(t.Context(), store.Scope{}, span.TraceIDFromUint64s(0, id), store.TimeRange{}) {
			if err != nil {
				t.Fatal(err)
			}
			n += b.Len()
		}
		if n != want {
			t.Errorf("trace %d has %d rows, want %d", id, n, want)
		}
	}
	list, _, err := x.reader.Services(t.Context(), store.Scope{}, store.TimeRange{})
	if err != nil || len(list) != 1 || list[0].Spans != 4 {
		t.Error(list, err)
	}
}

// days: only indices are asked whose names tell of a day that may have spans of the range.
func days(t *testing.T, x *place, p *proxy) {
	const first = 1767225600000000
	for n := range 5 {
		start := first + int64(n)*86_400_000_000
		x.store(t, "", fmt.Sprintf(`{"traceID":"%032x","spanID":"000000000000000a","operationName":"op","references":[],"startTime":%d,"startTimeMillis":%d,"duration":90000000000,"tags":[],"logs":[],"process":{"serviceName":"front","tags":[]}}`,
			n+1, start, start/1000))
	}
	defer p.set(nil)
	for _, c := range []struct {
		mode  store.TimeMode
		asked string
		found int
	}{
		{store.Start, "2026-01-03", 1},
		{store.Overlap, "2026-01-01 2026-01-02 2026-01-03", 2}, // that of the day before takes 25 hours
	} {
		var asked []string
		p.set(func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/_search") {
				names := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/_search")
				asked = strings.Split(strings.ReplaceAll(names, x.prefix+"jaeger-span-", ""), ",")
			}
			return false
		})
		from := (first + int64(2)*86_400_000_000) * 1000
		n := 0
		for rows, err := range x.reader.Scan(t.Context(), store.Scope{}, &store.Scan{Mode: c.mode, Range: store.TimeRange{From: from, To: from + 1e9}}) {
			if err != nil {
				t.Fatal(err)
			}
			n += len(rows.Rows)
		}
		if got := strings.Join(asked, " "); got != c.asked || n != c.found {
			t.Errorf("mode %d: asked %s, found %d", c.mode, got, n)
		}
	}
}

// limits: what a server refuses is said, and an engine beside goes on.
func limits(t *testing.T, x *place, p *proxy) {
	defer p.set(nil)
	var docs []string
	want := newMem()
	for i := range 300 {
		docs = append(docs, fmt.Sprintf(`{"traceID":"%032x","spanID":"000000000000000a","operationName":"op","references":[],"startTime":%d,"startTimeMillis":1767225600000,"duration":5,"tags":[{"key":"k","type":"string","value":"v"}],"logs":[],"process":{"serviceName":"front","tags":[]}}`,
			i+1, 1767225600000000+int64(i/3)))
	}
	x.store(t, "", docs...)
	load(t, want, docs...)
	c := check{t: t, got: x.reader, want: want, received: true}
	x.server.Do(t, http.MethodPut, "/"+x.prefix+"jaeger-span-*/_settings", `{"index.max_result_window":40}`)
	c.search(store.Search{Limit: 70})
	c.scan(store.Scan{})
	x.server.Do(t, http.MethodPut, "/"+x.prefix+"jaeger-span-*/_settings", `{"index.max_result_window":null}`)

	e := &beside.Engine{Writing: x.engine, Reader: beside.New(x.engine, x.reader, "Jaeger's indices", time.Now, func(string, error) {})}
	if err := e.Accept(t.Context(), storetest.Batch(t, "fff 1 - own server get 0s 1ms k=v")); err != nil {
		t.Fatal(err)
	}
	match := store.Cond{Field: store.Field{In: store.InSpan, Key: "k"}, Op: store.Eq, Value: store.Text("v")}
	partly := func(what, says string, traces int) {
		t.Helper()
		page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 1000, Match: match})
		if err != nil || page.Complete || !strings.Contains(page.Reason, says) || len(page.Traces) != traces {
			t.Errorf("%s: %d traces, want %d, complete %t: %s, %v", what, len(page.Traces), traces, page.Complete, page.Reason, err)
		}
		list, done, err := e.Services(t.Context(), store.Scope{}, store.TimeRange{})
		if err != nil || done.Complete || !strings.Contains(done.Reason, says) || !slices.ContainsFunc(list, func(s store.Service) bool { return s.Name == "own" }) {
			t.Errorf("%s: %v, %v %v", what, list, done, err)
		}
		var last error
		n := 0
		for rows, err := range e.Scan(t.Context(), store.Scope{}, &store.Scan{Match: match}) {
			if last = err; err == nil {
				n += len(rows.Rows)
			}
		}
		if pr := problem.Of(last); pr == nil || pr.Kind != problem.Unavailable || !strings.Contains(last.Error(), says) || n < 1 {
			t.Errorf("%s: a scan has %d rows and ends with %v", what, n, last)
		}
	}
	answers := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	p.set(answers(http.StatusTooManyRequests, `{"error":{"type":"circuit_breaking_exception","reason":"[parent] Data too large"},"status":429}`))
	partly("a breaker", "Data too large", 1)
	p.set(answers(http.StatusForbidden, `{"error":{"type":"security_exception","reason":"action [indices:data/read/search] is unauthorized"},"status":403}`))
	partly("no right", "view_index_metadata on "+x.prefix+"jaeger-span-*", 1)
	p.set(func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/_search") && answers(http.StatusOK, `{"_shards":{"total":2,"successful":1,"skipped":0,"failed":1,"failures":[{"reason":{"type":"x","reason":"disk"}}]},"hits":{"hits":[]}}`)(w, r)
	})
	partly("a shard", "1 of 2 shards of Jaeger's indices did not answer: disk", 1)
	p.set(nil)
	// An index that was made without the template.
	x.server.Remove(t, "/_index_template/"+x.prefix+"jaeger-span")
	foreign := x.prefix + "jaeger-span-2026-02-01"
	x.server.Do(t, http.MethodPut, "/"+foreign, `{"mappings":{"properties":{"tags":{"type":"object"},"spanID":{"type":"keyword"},"traceID":{"type":"text"}}}}`)
	x.server.Do(t, http.MethodPut, "/"+x.prefix+"jaeger-span-2026-02-02", `{"mappings":{"_source":{"enabled":false}}}`)
	partly("other mappings", "is not mapped as Jaeger maps spans", 301)
	x.server.Remove(t, "/"+foreign+","+x.prefix+"jaeger-span-2026-02-02")
	c.search(store.Search{Limit: 1000, Match: match})

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if page, err := x.reader.Search(ctx, store.Scope{}, &store.Search{Limit: 1}); err != nil || page.Complete || page.Reason != "cancelled" {
		t.Error(page, err)
	}
	if _, done, err := x.reader.Services(ctx, store.Scope{}, store.TimeRange{}); err != nil || done.Complete || done.Reason != "cancelled" {
		t.Error(done, err)
	}
	if _, err := x.reader.Search(t.Context(), store.Scope{}, &store.Search{Limit: 1, Page: "x"}); problem.Of(err) == nil || problem.Of(err).Field != "page" {
		t.Error(err)
	}
	var none answer.Moment
	if part, err := x.reader.SearchAfter(t.Context(), store.Scope{}, &store.Search{Limit: 5}, none, &answer.Rank{Start: 1767225600000000000}); err != nil || part.More || len(part.Traces) != 3 {
		t.Error(part, err)
	}
}
