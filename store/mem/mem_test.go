package mem

import (
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

func TestSmoke(t *testing.T) {
	e := New(Options{})
	b := &span.Batch{Received: time.Now().UnixNano()}
	b.Resources = append(b.Resources, span.Resource{})
	b.Scopes = append(b.Scopes, span.Scope{})
	for i := range 5 {
		r := b.AddRow()
		b.TraceID[r] = span.TraceIDFromUint64s(1, uint64(i%2+1))
		b.SpanID[r] = span.SpanIDFromUint64(uint64(i + 1))
		b.Time[r] = b.Received - int64(i)*1e6
		b.Start[r] = uint64(b.Time[r])
		b.End[r] = b.Start[r] + 1e6
		b.Service[r] = b.AddText("a")
		m := b.AttrMark()
		b.AddTextAttr("k", "v")
		b.SpanAttrs[r] = b.AttrsSince(m)
	}
	if err := e.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	p, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 10, Match: store.Cond{Field: store.Field{Key: "k"}, Op: store.Regex, Value: store.Text("v|w")}})
	if err != nil || len(p.Traces) != 2 || !p.Complete {
		t.Fatal(p, err)
	}
	for b, err := range e.Trace(t.Context(), store.Scope{}, p.Traces[0].TraceID, store.TimeRange{}) {
		if err != nil || b.Len() != 3 {
			t.Fatal(err, b.Len())
		}
	}
	t.Log(e.Services(t.Context(), store.Scope{}, store.TimeRange{}))
	t.Log(e.Keys(t.Context(), store.Scope{}, store.KeysQuery{}))
	t.Log(e.Stats())
}
