package query

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/golden"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// batches is a reader of one trace that yields what it holds.
type batches struct {
	store.Reader
	list []*span.Batch
	err  error
}

func (r batches) Trace(context.Context, store.Scope, span.TraceID, store.TimeRange) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		for _, b := range r.list {
			if !yield(b.Clone(), nil) {
				return
			}
		}
		if r.err != nil {
			yield(nil, r.err)
		}
	}
}

const epoch = 1_700_000_000_000_000_000

var testClock = func() time.Time { return time.Unix(0, epoch).Add(time.Hour) }

var testTrace = span.TraceIDFromUint64s(0xa, 1)

func TestAssemble(t *testing.T) {
	golden.Files(t, "testdata/assemble/*.txt", func(t *testing.T, given string) string {
		list := readSpans(t, given)
		got := assembled(t, list)
		if strings.Contains(given, "in order") { // which copy was received last matters
			return got
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		for range 10 {
			if again := assembled(t, shuffled(list, rnd)); again != got {
				t.Fatalf("in another order of receipt\n%s\nwant\n%s", again, got)
			}
		}
		return got
	})
}

func assembled(t *testing.T, list []*span.Batch) string {
	t.Helper()
	tr, err := New(Options{Reader: batches{list: list}, Now: testClock}).Trace(t.Context(), store.Scope{}, testTrace, store.TimeRange{})
	if err != nil {
		t.Fatal(err)
	}
	check(t, tr)
	return writeTrace(tr)
}

// shuffled is the same spans in another order and in other batches.
func shuffled(list []*span.Batch, rnd *rand.Rand) []*span.Batch {
	type at struct{ batch, row int }
	var rows []at
	for i, b := range list {
		for row := range b.Len() {
			rows = append(rows, at{i, row})
		}
	}
	rnd.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	var out []*span.Batch
	for len(rows) > 0 {
		b := &span.Batch{Received: list[0].Received}
		c := span.NewCopier(b)
		n := 1 + rnd.IntN(len(rows))
		for _, r := range rows[:n] {
			c.Begin(list[r.batch])
			c.Row(r.row)
		}
		out, rows = append(out, b), rows[n:]
	}
	return out
}

// check asserts what holds for every trace, whatever came in.
func check(t testing.TB, tr *Trace) {
	t.Helper()
	seen := make(map[int32]bool)
	path := []int32{}
	for i := range tr.Rows {
		r := &tr.Rows[i]
		if r.Parent >= int32(i) || r.Parent < -1 {
			t.Fatalf("row %d has parent %d", i, r.Parent)
		}
		path = path[:min(len(path), int(r.Depth))]
		if len(path) != int(r.Depth) || r.Depth > 0 && path[r.Depth-1] != r.Parent {
			t.Fatalf("row %d is not below its parent %d in tree order", i, r.Parent)
		}
		path = append(path, int32(i))
		if (r.Span < 0) != (r.Flags&FlagPlaceholder != 0) || r.Span >= 0 && seen[r.Span] {
			t.Fatalf("row %d has span %d", i, r.Span)
		}
		if r.Span >= 0 {
			seen[r.Span] = true
		}
		if r.Span >= 0 && tr.Batch.Failed(int(r.Span)) != (r.Flags&FlagError != 0) {
			t.Fatalf("row %d failed: %v", i, tr.Batch.Failed(int(r.Span)))
		}
		if r.Start < tr.Start || r.Duration < 0 || tr.Names[r.Name] == "" {
			t.Fatalf("row %d: %+v", i, r)
		}
	}
	if len(seen) != tr.Spans {
		t.Fatalf("%d spans in %d rows", tr.Spans, len(seen))
	}
}

func TestTraceNotFound(t *testing.T) {
	_, err := New(Options{Reader: batches{}, Now: testClock}).Trace(t.Context(), store.Scope{}, testTrace, store.TimeRange{})
	if p := problem.Of(err); p.Kind != problem.NotFound {
		t.Fatalf("got %v", err)
	}
}

func TestTraceLimits(t *testing.T) {
	list := []*span.Batch{chain(50, 0), chain(50, 50)}
	for name, limits := range map[string]Limits{"spans": {TraceSpans: 60}, "bytes": {TraceBytes: 10_000}} {
		t.Run(name, func(t *testing.T) {
			tr, err := New(Options{Reader: batches{list: list}, Now: testClock, Limits: limits}).Trace(t.Context(), store.Scope{}, testTrace, store.TimeRange{})
			if err != nil {
				t.Fatal(err)
			}
			check(t, tr)
			if tr.Complete || tr.Reason == "" || tr.Spans >= 100 || tr.Spans == 0 || tr.Warnings[len(tr.Warnings)-1].Kind != WarnTooManySpans {
				t.Errorf("complete=%v reason=%q spans=%d", tr.Complete, tr.Reason, tr.Spans)
			}
		})
	}
}

func TestMaybeIncomplete(t *testing.T) {
	for _, c := range []struct {
		age  time.Duration
		want bool
	}{{0, true}, {29 * time.Second, true}, {30 * time.Second, false}, {-time.Second, true}} {
		b := chain(1, 0)
		b.Received = testClock().Add(-c.age).UnixNano()
		tr, err := New(Options{Reader: batches{list: []*span.Batch{b}}, Now: testClock}).Trace(t.Context(), store.Scope{}, testTrace, store.TimeRange{})
		if err != nil || tr.MaybeIncomplete != c.want {
			t.Errorf("received %s ago: maybe incomplete %v, %v", c.age, tr.MaybeIncomplete, err)
		}
	}
}

// chain is n spans, each the child of the one before; the first has the parent before it if from is not 0.
func chain(n, from int) *span.Batch {
	b := &span.Batch{Received: epoch}
	b.Resources = append(b.Resources, span.Resource{})
	b.Scopes = append(b.Scopes, span.Scope{})
	for i := range n {
		row := b.AddRow()
		b.TraceID[row] = testTrace
		b.SpanID[row] = span.SpanIDFromUint64(uint64(from + i + 1))
		b.Parent[row] = span.SpanIDFromUint64(uint64(from + i))
		b.Time[row] = epoch + int64(from+i)*1000
		b.Start[row], b.End[row] = uint64(b.Time[row]), uint64(b.Time[row]+1_000_000)
		b.Service[row], b.Name[row] = b.AddText("deep"), b.AddText("step")
	}
	return b
}

// TestHostileShapes assembles shapes in which an algorithm of a higher order or one that recurses would not come back.
func TestHostileShapes(t *testing.T) {
	n := 200_000
	if testing.Short() {
		n = 20_000
	}
	shapes := map[string]func(b *span.Batch, row int){
		"chain":   func(*span.Batch, int) {},
		"one id":  func(b *span.Batch, row int) { b.SpanID[row] = span.SpanIDFromUint64(7) },
		"copies":  func(b *span.Batch, row int) { b.SpanID[row], b.Start[row] = span.SpanIDFromUint64(7), epoch },
		"orphans": func(b *span.Batch, row int) { b.Parent[row] = span.SpanIDFromUint64(uint64(n + 1 + row)) },
		"ring": func(b *span.Batch, row int) {
			if row == 0 {
				b.Parent[row] = span.SpanIDFromUint64(uint64(n))
			}
		},
		"self": func(b *span.Batch, row int) { b.Parent[row] = b.SpanID[row] },
		"fan":  func(b *span.Batch, row int) { b.Parent[row] = span.SpanIDFromUint64(1) },
		"halves": func(b *span.Batch, row int) {
			b.SpanID[row], b.Kind[row] = span.SpanIDFromUint64(7), []span.Kind{span.KindClient, span.KindServer}[row%2]
		},
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			b := chain(n, 0)
			for row := range n {
				shape(b, row)
			}
			tr, err := New(Options{Reader: batches{list: []*span.Batch{b}}, Now: testClock}).Trace(t.Context(), store.Scope{}, testTrace, store.TimeRange{})
			if err != nil {
				t.Fatal(err)
			}
			check(t, tr)
		})
	}
}

func FuzzAssemble(f *testing.F) {
	f.Add([]byte("\x01\x00\x12\x02\x01\x13\x01\x01\x22"))
	f.Fuzz(func(t *testing.T, p []byte) {
		b := chain(min(len(p)/3, 300), 0)
		for row := range b.Len() {
			x := p[3*row:]
			b.SpanID[row] = span.SpanIDFromUint64(uint64(x[0]%16) + 1)
			b.Parent[row] = span.SpanIDFromUint64(uint64(x[1] % 17))
			b.Kind[row], b.Mark[row] = span.Kind(x[2]&7), span.Mark(x[2]>>3)
			b.Start[row] = epoch + uint64(x[1]>>4)*500
			b.Time[row] = int64(b.Start[row])
			if x[0]&0x80 != 0 {
				b.TraceID[row] = span.TraceIDFromUint64s(uint64(x[0]>>5&1)*5, 1)
			}
		}
		if b.Len() == 0 {
			return
		}
		tr, err := New(Options{Reader: batches{list: []*span.Batch{b}}, Now: testClock}).Trace(t.Context(), store.Scope{}, testTrace, store.TimeRange{})
		if err != nil {
			t.Fatal(err)
		}
		check(t, tr)
	})
}

func TestDeriveName(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`1 - server reviews "" 0s+1s`, "server reviews"},
		{`1 - unspecified reviews "" 0s+1s`, "span reviews"},
		{`1 - server reviews "" 0s+1s http.method=GET http.url=http://reviews:9080/reviews/17?x=1`, "GET /reviews/{id}"},
		{`1 - server reviews "" 0s+1s http.method=GET http.url=http://reviews:9080`, "GET /"},
		{`1 - server reviews "" 0s+1s http.request.method=PUT url.path=/a/2b0e4a6e-7b1d-4c1e-9d0e-2f6a8a0c1d3e/beef`, "PUT /a/{id}/beef"},
		{`1 - server reviews "" 0s+1s http.request.method=PUT http.route=/a/{x} url.path=/a/1`, "PUT /a/{x}"},
		{`1 - client reviews "" 0s+1s rpc.service=pkg.Ratings rpc.method=Get http.method=POST`, "pkg.Ratings/Get"},
		{`1 - client reviews "" 0s+1s grpc.path=/pkg.Ratings/Get`, "pkg.Ratings/Get"},
		{`1 - client reviews "" 0s+1s db.operation=SELECT db.sql.table=orders`, "SELECT orders"},
		{`1 - producer reviews "" 0s+1s messaging.operation=publish messaging.destination.name=orders`, "publish orders"},
	} {
		b := readSpans(t, c.line)[0]
		if got := DeriveName(b, 0); got != c.want {
			t.Errorf("%s: got %q, want %q", c.line, got, c.want)
		}
	}
}

func benchmarkBatches(n int) []*span.Batch {
	rnd := rand.New(rand.NewPCG(1, 2))
	keys := []string{"component", "node_id", "guid:x-request-id", "http.url", "http.method", "downstream_cluster", "user_agent", "http.protocol",
		"peer.address", "request_size", "response_size", "http.status_code", "response_flags", "upstream_cluster", "upstream_cluster.name", "zone",
		"istio.canonical_service", "istio.canonical_revision", "istio.mesh_id", "istio.namespace", "istio.cluster_id"}
	var list []*span.Batch
	var b *span.Batch
	for i := range n {
		if i%5000 == 0 {
			b = &span.Batch{Received: epoch}
			for range 36 {
				b.Resources = append(b.Resources, span.Resource{})
			}
			b.Scopes = append(b.Scopes, span.Scope{})
			list = append(list, b)
		}
		row := b.AddRow()
		b.TraceID[row] = testTrace
		b.SpanID[row] = span.SpanIDFromUint64(uint64(i)*0x9e3779b97f4a7c15 + 1)
		if i > 0 {
			b.Parent[row] = span.SpanIDFromUint64(uint64(max(0, i-1-rnd.IntN(20)))*0x9e3779b97f4a7c15 + 1)
		}
		b.Kind[row] = span.KindServer + span.Kind(i%2)
		b.Mark[row] = span.MarkProxy
		b.Time[row] = epoch + int64(i)*1000 + rnd.Int64N(100_000)
		b.Start[row], b.End[row] = uint64(b.Time[row]), uint64(b.Time[row]+rnd.Int64N(1e9))
		service := "service-" + strconv.Itoa(i%12)
		b.Service[row], b.Group[row], b.Namespace[row] = b.AddText(service+".shop"), b.AddText(service), b.AddText("shop")
		b.Name[row] = b.AddText(service + ".shop.svc.cluster.local:8080/*")
		mark := b.AttrMark()
		for k, key := range keys {
			value := key + " of " + service + " and its pod 7d9f8c6b5-x2x4z"
			if k == 2 || k == 3 {
				value = fmt.Sprintf("%s/%016x%016x", key, rnd.Uint64(), rnd.Uint64())
			}
			b.AddTextAttr(key, value)
		}
		b.SpanAttrs[row] = b.AttrsSince(mark)
	}
	for _, b := range list { // as they come: by sender and flush, not by start
		rnd.Shuffle(b.Len(), func(i, j int) {
			b.SpanID[i], b.SpanID[j] = b.SpanID[j], b.SpanID[i]
			b.Parent[i], b.Parent[j] = b.Parent[j], b.Parent[i]
			b.Time[i], b.Time[j] = b.Time[j], b.Time[i]
			b.Start[i], b.Start[j] = b.Start[j], b.Start[i]
			b.End[i], b.End[j] = b.End[j], b.End[i]
		})
	}
	return list
}

// lent yields batches without cloning them, as an engine does.
type lent struct {
	store.Reader
	list []*span.Batch
}

func (r lent) Trace(context.Context, store.Scope, span.TraceID, store.TimeRange) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		for _, b := range r.list {
			if !yield(b, nil) {
				return
			}
		}
	}
}

func BenchmarkTrace(b *testing.B) {
	for _, n := range []int{20, 5_000, 50_000, 200_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			q := New(Options{Reader: lent{list: benchmarkBatches(n)}, Now: testClock})
			b.ReportAllocs()
			for b.Loop() {
				tr, err := q.Trace(b.Context(), store.Scope{}, testTrace, store.TimeRange{})
				if err != nil || tr.Spans != n {
					b.Fatal(err, tr.Spans)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/span")
		})
	}
}

// BenchmarkAssemble leaves the copying out.
func BenchmarkAssemble(b *testing.B) {
	for _, n := range []int{50_000, 200_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			q := New(Options{Reader: lent{list: benchmarkBatches(n)}, Now: testClock})
			batch, _, err := q.Spans(b.Context(), store.Scope{}, testTrace, store.TimeRange{})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				assemble(batch, testTrace)
			}
		})
	}
}

func TestInterner(t *testing.T) {
	b := &span.Batch{}
	in := newInterner(b, New(Options{}).seed)
	var runs []span.Str
	for i := range 5000 {
		runs = append(runs, in.add([]byte(strconv.Itoa(i))))
	}
	for i, s := range runs {
		if got := in.add([]byte(strconv.Itoa(i))); got != s || !bytes.Equal(b.Bytes(s), []byte(strconv.Itoa(i))) {
			t.Fatalf("%d is at %v and %v", i, s, got)
		}
	}
	if slices.Contains(runs, span.Str{}) {
		t.Fatal("an empty run")
	}
}
