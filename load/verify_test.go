package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
)

// holder answers the own API and the Jaeger dialect from the generator itself, after tamper has had its way with a trace.
type holder struct {
	data    *Data
	numbers map[string]uint64
	tamper  func(no uint64, b *span.Batch) *span.Batch // nil result: the trace is gone

	mu     sync.Mutex
	held   []int64 // what successive looks at the status say; the last one stays
	evicts int64
}

func newHolder(t *testing.T, m *Manifest) *holder {
	data, err := m.Data()
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{data: data, numbers: map[string]uint64{}, held: []int64{m.Spans}}
	var tr Trace
	for no := range m.Traces {
		data.Trace(no, &tr)
		h.numbers[tr.ID.String()] = no
	}
	return h
}

func (h *holder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if path == "/api/spanloom/v1/status" {
		h.mu.Lock()
		defer h.mu.Unlock()
		reply(w, map[string]any{"store": map[string]any{"spans": h.held[0], "evictedTraces": h.evicts}})
		if len(h.held) > 1 {
			h.held = h.held[1:]
		}
		return
	}
	path, wholeSpans := strings.CutSuffix(path, "/spans")
	id := path[strings.LastIndexByte(path, '/')+1:]
	no, ok := h.numbers[id]
	var (
		b  span.Batch
		tr Trace
	)
	held := &b
	if ok {
		h.data.Trace(no, &tr)
		h.data.Rows(&b).All(&tr)
		if h.tamper != nil {
			held = h.tamper(no, &b)
		}
	}
	switch {
	case !ok || held == nil:
		http.Error(w, `{"error":{"kind":"notFound","message":"no such trace"}}`, http.StatusNotFound)
	case wholeSpans:
		reply(w, ownAnswer(held))
	case strings.HasPrefix(path, "/api/spanloom/v1/traces/"):
		reply(w, skeletonAnswer(held))
	default:
		reply(w, jaegerAnswer(held))
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func skeletonAnswer(b *span.Batch) map[string]any {
	rows := map[span.SpanID]int{}
	names, services := []string{}, []map[string]any{}
	spans := map[string][]any{"id": {}, "parent": {}, "start": {}, "duration": {}, "service": {}, "name": {}, "kind": {}, "flags": {}, "hop": {}}
	for i := range b.Len() {
		parent := -1
		if at, ok := rows[b.Parent[i]]; ok {
			parent = at
		}
		rows[b.SpanID[i]] = i
		names = append(names, b.String(b.Name[i]))
		services = append(services, map[string]any{"name": b.String(b.Service[i])})
		for key, v := range map[string]any{"id": b.SpanID[i].String(), "parent": parent, "start": int64(b.Start[i] - b.Start[0]),
			"duration": b.Duration(i), "service": i, "name": i, "kind": int(b.Kind[i]), "flags": 0, "hop": -1} {
			spans[key] = append(spans[key], v)
		}
	}
	return map[string]any{"traceId": b.TraceID[0].String(), "start": fmt.Sprint(b.Start[0]), "spanCount": b.Len(), "services": services,
		"names": names, "spans": spans}
}

func attrList(b *span.Batch, r span.Range, int64Name string) []map[string]any {
	list := []map[string]any{}
	for _, a := range b.AttrsOf(r) {
		switch a.Type {
		case span.TypeInt:
			list = append(list, map[string]any{"key": string(b.Key(a)), "type": int64Name, "value": a.Value().Int()})
		default:
			list = append(list, map[string]any{"key": string(b.Key(a)), "type": "string", "value": string(b.Bytes(a.Value().Str()))})
		}
	}
	return list
}

func ownAnswer(b *span.Batch) map[string]any {
	items := []map[string]any{}
	for i := range b.Len() {
		scope := b.Scopes[b.Scope[i]]
		events := []map[string]any{}
		for _, e := range b.EventsOf(i) {
			events = append(events, map[string]any{"time": fmt.Sprint(e.Time), "name": b.String(e.Name)})
		}
		items = append(items, map[string]any{
			"spanId": b.SpanID[i].String(), "parentSpanId": idText(b.Parent[i]), "name": b.String(b.Name[i]), "kind": b.Kind[i].String(),
			"start": fmt.Sprint(b.Start[i]), "end": fmt.Sprint(b.End[i]), "duration": b.Duration(i), "status": b.Status[i].String(),
			"service": b.String(b.Service[i]), "flags": b.Flags[i], "attributes": attrList(b, b.SpanAttrs[i], "int"),
			"resource": attrList(b, b.Resources[b.Resource[i]].Attrs, "int"), "events": events, "links": []any{},
			"scope": map[string]any{"name": b.String(scope.Name), "version": b.String(scope.Version)},
		})
	}
	return map[string]any{"items": items}
}

func jaegerAnswer(b *span.Batch) map[string]any {
	id := b.TraceID[0].String()
	spans, processes := []map[string]any{}, map[string]any{}
	for i := range b.Len() {
		tags := []map[string]any{{"key": "span.kind", "type": "string", "value": b.Kind[i].String()}}
		if b.Status[i] == span.StatusError {
			tags = append(tags, map[string]any{"key": "error", "type": "bool", "value": true},
				map[string]any{"key": "otel.status_code", "type": "string", "value": "ERROR"})
		}
		if scope := b.Scopes[b.Scope[i]]; scope.Name.Len > 0 {
			tags = append(tags, map[string]any{"key": "otel.scope.name", "type": "string", "value": b.String(scope.Name)},
				map[string]any{"key": "otel.scope.version", "type": "string", "value": b.String(scope.Version)})
		}
		for _, a := range attrList(b, b.SpanAttrs[i], "int64") {
			if a["key"] != "error" || b.Status[i] != span.StatusError {
				tags = append(tags, a)
			}
		}
		refs, logs := []map[string]any{}, []map[string]any{}
		if !b.Parent[i].IsZero() {
			refs = append(refs, map[string]any{"refType": "CHILD_OF", "traceID": id, "spanID": b.Parent[i].String()})
		}
		for _, e := range b.EventsOf(i) {
			logs = append(logs, map[string]any{"timestamp": e.Time / 1000, "fields": []map[string]any{{"key": "event", "type": "string", "value": b.String(e.Name)}}})
		}
		process := fmt.Sprintf("p%d", i+1)
		resource := attrList(b, b.Resources[b.Resource[i]].Attrs, "int64")
		processes[process] = map[string]any{"serviceName": resource[0]["value"], "tags": resource[1:]}
		spans = append(spans, map[string]any{"traceID": id, "spanID": b.SpanID[i].String(), "operationName": b.String(b.Name[i]), "references": refs,
			"startTime": b.Start[i] / 1000, "duration": b.Duration(i) / 1000, "tags": tags, "logs": logs, "processID": process})
	}
	return map[string]any{"data": []any{map[string]any{"traceID": id, "spans": spans, "processes": processes}}}
}

// sent writes a manifest as Send would.
func sent(t *testing.T, p Protocol, traces uint64) (*Manifest, string) {
	t.Helper()
	m := &Manifest{Version: manifestVersion, Seed: 5, Base: fmt.Sprint(testBase.UnixNano() / 1000 * 1000), TracesPerSecond: 50, Protocol: p, Traces: traces}
	data, err := m.Data()
	if err != nil {
		t.Fatal(err)
	}
	var tr Trace
	for no := range traces {
		data.Trace(no, &tr)
		m.Spans += int64(len(tr.Spans))
	}
	m.Accepted = m.Spans
	path := filepath.Join(t.TempDir(), "sent.json")
	if err := m.write(path); err != nil {
		t.Fatal(err)
	}
	return m, path
}

func TestVerifyAgreesWithAnHonestServer(t *testing.T) {
	for _, p := range []Protocol{OTLPGRPC, Zipkin} {
		for _, all := range []bool{false, true} {
			m, path := sent(t, p, 120)
			srv := httptest.NewServer(newHolder(t, m))
			report, err := Verify(t.Context(), VerifyOptions{URL: srv.URL, Manifest: path, Sample: 25, All: all, Exact: true}, io.Discard)
			srv.Close()
			if err != nil {
				t.Fatalf("%s: %v\n%v", p, err, report.Differences)
			}
			counted := 0
			if all {
				counted = 95
			}
			if report.Traces != 25 || report.Counted != counted || report.Held != m.Spans {
				t.Errorf("%s, all %v: %+v", p, all, report)
			}
		}
	}
}

func TestVerifyFindsWhatWasTamperedWith(t *testing.T) {
	const no = 3
	one := func(f func(b *span.Batch)) func(uint64, *span.Batch) *span.Batch {
		return func(n uint64, b *span.Batch) *span.Batch {
			if n == no {
				f(b)
			}
			return b
		}
	}
	for _, c := range []struct {
		name   string
		tamper func(uint64, *span.Batch) *span.Batch
		want   VerifyReport // the counts
		text   string       // in the printed differences
	}{
		{"trace gone", func(n uint64, b *span.Batch) *span.Batch {
			if n == no {
				return nil
			}
			return b
		}, VerifyReport{Missing: -1}, "own API, trace 3 "},
		{"span gone", one(func(b *span.Batch) { b.Keep(func(row int) bool { return row != b.Len()-1 }) }), VerifyReport{Missing: 1}, ": missing span: missing "},
		{"span twice", one(func(b *span.Batch) {
			c := span.NewCopier(b)
			src := b.Clone()
			c.Begin(src)
			c.Row(4)
		}), VerifyReport{Double: 1}, "#2: span twice: unexpected "},
		{"span of nobody", one(func(b *span.Batch) {
			row := b.AddRow()
			b.TraceID[row], b.SpanID[row], b.Name[row] = b.TraceID[0], span.SpanIDFromUint64(77), b.AddText("stranger")
		}), VerifyReport{Extra: 1}, "span 000000000000004d: span nobody sent: unexpected stranger"},
		{"attribute changed", one(func(b *span.Batch) {
			a := &b.Attrs[b.SpanAttrs[2].Off]
			a.Bits = span.StrValue(span.TypeString, b.AddText("other")).Bits
		}), VerifyReport{Different: 2}, `: attribute node_id: want "`},
		{"attribute typed", one(func(b *span.Batch) {
			for i, a := range b.AttrsOf(b.SpanAttrs[2]) {
				if string(b.Key(a)) == "http.status_code" {
					b.Attrs[int(b.SpanAttrs[2].Off)+i] = span.Attr{Key: a.Key, Type: span.TypeInt, Bits: 200}
				}
			}
		}), VerifyReport{Different: 2}, `: attribute http.status_code: want "200", got 200`},
		{"attribute lost", one(func(b *span.Batch) { b.SpanAttrs[1].Len-- }), VerifyReport{Different: 2}, ": missing \""},
		{"attribute doubled", one(func(b *span.Batch) {
			r := b.SpanAttrs[1]
			mark := b.AttrMark()
			b.Attrs = append(b.Attrs, b.Attrs[r.Off:r.End()]...)
			b.Attrs = append(b.Attrs, b.Attrs[r.Off])
			b.SpanAttrs[1] = b.AttrsSince(mark)
		}), VerifyReport{Different: 2}, " and again "},
		{"time shifted", one(func(b *span.Batch) { b.Start[1] += 1000; b.End[1] += 1000 }), VerifyReport{Different: 4}, ": start: want "},
		{"parent lost", one(func(b *span.Batch) { b.Parent[2] = span.SpanID{} }), VerifyReport{Different: 3}, ": parent: missing "},
		{"kind", one(func(b *span.Batch) { b.Kind[2] = span.KindInternal }), VerifyReport{Different: 3}, ": kind: want "},
		{"resource", one(func(b *span.Batch) {
			b.Attrs[b.Resources[0].Attrs.Off+1].Bits = span.StrValue(span.TypeString, b.AddText("go")).Bits
		}), VerifyReport{Different: -1}, ": resource telemetry.sdk.language: want \"cpp\", got \"go\""},
		{"status", one(func(b *span.Batch) { b.Status[1] = span.StatusOK }), VerifyReport{Different: -1}, ": status: want "},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, path := sent(t, OTLPGRPC, 10)
			h := newHolder(t, m)
			h.tamper = c.tamper
			srv := httptest.NewServer(h)
			defer srv.Close()
			var out bytes.Buffer
			r, err := Verify(t.Context(), VerifyOptions{URL: srv.URL, Manifest: path, Show: 100}, &out)
			if !errors.Is(err, ErrMismatch) {
				t.Fatalf("error %v\n%s", err, out.String())
			}
			for _, n := range []struct {
				name      string
				got, want int
			}{{"missing", r.Missing, c.want.Missing}, {"double", r.Double, c.want.Double}, {"extra", r.Extra, c.want.Extra}, {"different", r.Different, c.want.Different}} {
				if n.want >= 0 && n.got != n.want || n.want < 0 && n.got == 0 {
					t.Errorf("%d %s, want %d", n.got, n.name, n.want)
				}
			}
			if !strings.Contains(out.String(), c.text) {
				t.Errorf("no %q in\n%s", c.text, out.String())
			}
		})
	}
}

func TestVerifyWaitsForTheCounts(t *testing.T) {
	m, path := sent(t, OTLPGRPC, 10)
	h := newHolder(t, m)
	h.held = []int64{0, 10, m.Spans - 1, m.Spans}
	srv := httptest.NewServer(h)
	defer srv.Close()
	clock := &fakeClock{at: testBase}
	if _, err := Verify(t.Context(), VerifyOptions{URL: srv.URL, Manifest: path, clock: clock.clock()}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if len(clock.waited) != 3 {
		t.Errorf("looked again %d times, want 3", len(clock.waited))
	}

	h.held = []int64{m.Spans - 1}
	report, err := Verify(t.Context(), VerifyOptions{URL: srv.URL, Manifest: path, Wait: time.Second, clock: clock.clock()}, io.Discard)
	if !errors.Is(err, ErrMismatch) || len(report.Problems) != 1 {
		t.Errorf("error %v, problems %v", err, report.Problems)
	}
}

func TestVerifyOfTotals(t *testing.T) {
	m, path := sent(t, OTLPGRPC, 10)
	h := newHolder(t, m)
	h.evicts = 2
	h.held = []int64{m.Spans + 5}
	srv := httptest.NewServer(h)
	defer srv.Close()
	report, err := Verify(t.Context(), VerifyOptions{URL: srv.URL, Manifest: path, Exact: true}, io.Discard)
	if !errors.Is(err, ErrMismatch) || len(report.Problems) != 2 {
		t.Errorf("error %v, problems %q", err, report.Problems)
	}
}

func TestVerifyOfNoServer(t *testing.T) {
	_, path := sent(t, OTLPGRPC, 1)
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	for _, o := range []VerifyOptions{{URL: srv.URL, Manifest: path}, {Manifest: "missing.json"}, {Endpoints: "missing.json"}, {URL: srv.URL, Manifest: path, Sample: -1}} {
		if _, err := Verify(context.Background(), o, io.Discard); err == nil || errors.Is(err, ErrMismatch) {
			t.Errorf("%+v: error %v", o, err)
		}
	}
}
