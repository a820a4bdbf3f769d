package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

const odd = `
1 a - front server "GET /" 0s 12ms s=text i=-1 d=72.5 b=true n=null y=bytes:00ff80 noy=bytes: zero=0 empty="" nan=NaN inf=-Inf big=9223372036854775807 strings=["a","","b"] ints=[1,-2] doubles=[1.5,2.0] bools=[true,false] none=[] noints=ints: mixed=array:0a030a01610a021801 list=kvlist:0a080a016b12030a0176 "odd key"="a\nb" repeat=1 repeat=2 resource:pod=front-1 resource:ints=[7] @resource.url=https://example.test/r @resource.dropped=3 @scope=lib @scope.version=1.2 scope:k=v @scope.url=https://example.test/s @scope.dropped=4 @status=error @message="no way" @state="a=b,c=d" @flags=769 @group=front @namespace=prod @weight=12.5 @mark=cut,shared,debug,proxy @dropped=5,6,7
  event exception 3ms exception.type=Timeout n=1 @dropped=8
  event - none
  event exception 1ms
  link ab000000000000000000000000000001 b k=1 @state=x=y @flags=257 @dropped=9
  link - - k=[true]
  link 2 c
1 b a "" 9 - 1ms -1ms @bare
1 c b front internal same 1ms none resource:pod=front-1 @status=7
1 e 1 front client same =946684800000000000 =18446744073709551615 @scope=lib @status=ok
1 f 1 front client "\xff\xfe" none none "\xff"="\xfe"
2 a - "ein laden" consumer "ü" 3ms 1ns resource:service.name=other @mark=serviceDerived,nameDerived
`

func engineOf(t *testing.T, batches ...*span.Batch) *mem.Engine {
	t.Helper()
	e := mem.New(mem.Options{MaxBytes: 256 << 20, Now: func() time.Time { return time.Unix(0, storetest.At(time.Hour)) }})
	t.Cleanup(func() { e.Close() })
	for _, b := range batches {
		if err := e.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func exported(t *testing.T, e store.Reader, o Options) ([]byte, Report) {
	t.Helper()
	o.Scope.Tenant = store.DefaultTenant
	var file bytes.Buffer
	report, err := Write(t.Context(), e, o, &file)
	if err != nil {
		t.Fatal(err)
	}
	if report.Bytes != int64(file.Len()) {
		t.Errorf("%d bytes are reported, %d written", report.Bytes, file.Len())
	}
	return file.Bytes(), report
}

// TestNothingIsLost makes spans of the file's rows again and compares all of what they say.
func TestNothingIsLost(t *testing.T) {
	text := odd
	for seed := range uint64(4) {
		text += storetest.RandomText(rand.New(rand.NewPCG(seed, 3)), 300, 40, 0)
	}
	all := storetest.Batch(t, text)
	file, report := exported(t, engineOf(t, all), Options{})
	rows := readRows(t, file)
	if len(rows) != all.Len() || report.Spans != int64(all.Len()) {
		t.Fatalf("%d rows and %d reported of %d spans", len(rows), report.Spans, all.Len())
	}
	var back span.Batch
	for _, r := range rows {
		rebuild(t, &back, r)
	}
	if err := back.Check(); err != nil {
		t.Fatal(err)
	}
	got, want := strings.Split(storetest.Print(&back), "\n"), strings.Split(storetest.Print(all), "\n")
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("line %d:\n%s\nwant:\n%s", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lines, want %d", len(got), len(want))
	}
}

func readRows(t *testing.T, file []byte) []row {
	t.Helper()
	rows, err := parquet.Read[row](bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// rebuild makes a span of a row.
func rebuild(t *testing.T, b *span.Batch, r row) {
	t.Helper()
	if r.Raw != nil {
		var one span.Batch
		if err := one.DecodeBinary(*r.Raw); err != nil {
			t.Fatal(err)
		}
		c := span.NewCopier(b)
		c.Begin(&one)
		c.Row(0)
		return
	}
	trace, err := span.ParseTraceID(r.TraceID)
	id, err2 := span.ParseSpanID(r.SpanID)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	row := b.AddRow()
	b.TraceID[row], b.SpanID[row] = trace, id
	if r.ParentSpanID != nil {
		b.Parent[row], _ = span.ParseSpanID(*r.ParentSpanID)
	}
	b.Name[row], b.TraceState[row], b.StatusMessage[row] = b.AddText(r.Name), b.AddText(r.TraceState), b.AddText(r.StatusMessage)
	b.Kind[row], b.Status[row], b.Mark[row], b.Flags[row] = span.Kind(r.KindCode), span.Status(r.StatusCode), span.Mark(r.Marks), r.Flags
	b.Start[row], b.End[row], b.Time[row], b.Weight[row] = r.StartNano, r.EndNano, r.TimeNano, r.Weight
	b.Service[row], b.Group[row], b.Namespace[row] = b.AddText(r.Service), b.AddText(r.WorkloadGroup), b.AddText(r.Namespace)
	b.DroppedAttrs[row], b.DroppedEvents[row], b.DroppedLinks[row] = r.DroppedAttributes, r.DroppedEvents, r.DroppedLinks
	b.SpanAttrs[row] = rebuildAttrs(t, b, r.Attributes)
	b.Resource[row] = uint32(len(b.Resources))
	b.Resources = append(b.Resources, span.Resource{Attrs: rebuildAttrs(t, b, r.Resource.Attributes), Dropped: r.Resource.Dropped, SchemaURL: b.AddText(r.Resource.SchemaURL)})
	b.Scope[row] = uint32(len(b.Scopes))
	b.Scopes = append(b.Scopes, span.Scope{Name: b.AddText(r.Scope.Name), Version: b.AddText(r.Scope.Version), Attrs: rebuildAttrs(t, b, r.Scope.Attributes),
		Dropped: r.Scope.Dropped, SchemaURL: b.AddText(r.Scope.SchemaURL)})
	b.SpanEvents[row] = span.Range{Off: uint32(len(b.Events)), Len: uint32(len(r.Events))}
	for _, e := range r.Events {
		b.Events = append(b.Events, span.Event{Time: e.TimeNano, Name: b.AddText(e.Name), Attrs: rebuildAttrs(t, b, e.Attributes), Dropped: e.Dropped})
	}
	b.SpanLinks[row] = span.Range{Off: uint32(len(b.Links)), Len: uint32(len(r.Links))}
	for _, l := range r.Links {
		out := span.Link{TraceState: b.AddText(l.TraceState), Attrs: rebuildAttrs(t, b, l.Attributes), Dropped: l.Dropped, Flags: l.Flags}
		if l.TraceID != nil {
			out.TraceID, _ = span.ParseTraceID(*l.TraceID)
		}
		if l.SpanID != nil {
			out.SpanID, _ = span.ParseSpanID(*l.SpanID)
		}
		b.Links = append(b.Links, out)
	}
}

func rebuildAttrs(t *testing.T, b *span.Batch, list []attribute) span.Range {
	t.Helper()
	mark := b.AttrMark()
	for _, a := range list {
		typ := span.NumTypes
		for i, name := range typeNames {
			if name == a.Type {
				typ = span.Type(i)
			}
		}
		var v span.Value
		switch {
		case typ == span.TypeNull:
		case typ == span.TypeString && a.String != nil:
			v = span.StrValue(typ, b.AddText(*a.String))
		case typ == span.TypeInt && a.Int != nil:
			v = span.IntValue(*a.Int)
		case typ == span.TypeDouble && a.Double != nil:
			v = span.DoubleValue(*a.Double)
		case typ == span.TypeBool && a.Bool != nil:
			v = span.BoolValue(*a.Bool)
		case typ >= span.TypeBytes && typ < span.NumTypes && a.Bytes != nil:
			v = span.StrValue(typ, b.AddString(*a.Bytes))
		default:
			t.Fatalf("%s is a %q without a value", a.Key, a.Type)
		}
		b.AddAttr(b.InternKey([]byte(a.Key)), v)
	}
	return b.AttrsSince(mark)
}

func TestOptionsChoose(t *testing.T) {
	e := engineOf(t, storetest.Batch(t, `
1 a - front server get 0s 1ms
1 b a cart server get 1s 10s
2 a - front server put 2s 1ms
3 a - front server none none 1ms`))
	front := store.Cond{Field: store.Field{In: store.Intrinsic, Key: store.FieldService}, Op: store.Eq, Value: store.Text("front")}
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"everything": {Options{}, "1a 1b 2a 3a"},
		"from":       {Options{Range: store.TimeRange{From: storetest.At(time.Second)}}, "1b 2a 3a"},
		"to":         {Options{Range: store.TimeRange{To: storetest.At(2 * time.Second)}}, "1a 1b"},
		"match":      {Options{Match: front}, "1a 2a 3a"},
		"scope":      {Options{Scope: store.Scope{MustMatch: front}, Range: store.TimeRange{To: storetest.At(time.Minute)}}, "1a 2a"},
		"nothing":    {Options{Range: store.TimeRange{To: 1}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			file, _ := exported(t, e, c.o)
			var got []string
			for _, r := range readRows(t, file) {
				got = append(got, r.TraceID[31:]+r.SpanID[15:])
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("exported %q, want %q", text, c.want)
			}
		})
	}
}

// TestRowGroups: a file of many spans is cut, and says how far it is on the way.
func TestRowGroups(t *testing.T) {
	b := &span.Batch{Tenant: store.DefaultTenant, Received: storetest.At(time.Hour)}
	b.Resources, b.Scopes = []span.Resource{{}}, []span.Scope{{}}
	const spans = groupRows + 1000
	for i := range spans {
		row := b.AddRow()
		b.TraceID[row], b.SpanID[row] = span.TraceIDFromUint64s(1, uint64(i/10)+1), span.SpanIDFromUint64(uint64(i)+1)
		b.Start[row] = uint64(storetest.At(time.Duration(i)))
		b.Time[row] = int64(b.Start[row])
	}
	calls, last := 0, int64(-1)
	file, report := exported(t, engineOf(t, b), Options{Progress: func(r Report) {
		if calls++; r.Spans < last || r.Blocks > r.OfBlocks {
			t.Errorf("%+v after %d spans", r, last)
		}
		last = r.Spans
	}})
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.RowGroups()) != 2 || report.RowGroups != 2 || f.NumRows() != spans || last != spans || calls < spans/pieceRows {
		t.Errorf("%d row groups of %d rows, %+v, %d calls up to %d", len(f.RowGroups()), f.NumRows(), report, calls, last)
	}
}

// full takes n bytes.
type full struct{ n int }

var errFull = errors.New("the disk is full")

func (f *full) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestFailures(t *testing.T) {
	e := engineOf(t, storetest.Batch(t, odd))
	o := Options{Scope: store.Scope{Tenant: store.DefaultTenant}}
	file, _ := exported(t, e, Options{})
	for n := 0; n < len(file); n += 97 {
		if _, err := Write(t.Context(), e, o, &full{n: n}); !errors.Is(err, errFull) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ctx, e, o, &full{n: 1 << 20}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	o.Match = store.Cond{Field: store.Field{In: store.Intrinsic, Key: "nam"}}
	if _, err := Write(t.Context(), e, o, &full{n: 1 << 20}); err == nil || !strings.Contains(fmt.Sprint(err), "nam") {
		t.Errorf("a plan that makes no sense: %v", err)
	}
}

// TestRunsOfNulls has, at bit k of each word of 64 rows, a run of k rows with a parent and roots to the end of the word.
func TestRunsOfNulls(t *testing.T) {
	var text strings.Builder
	n := 0
	for k := 1; k < 64; k++ {
		for bit := range 64 {
			n++
			parent := "-"
			if bit >= k && bit < 2*k {
				parent = "f"
			}
			fmt.Fprintf(&text, "1 %x %s front server get 0s 1ms\n", n, parent)
		}
	}
	b := storetest.Batch(t, text.String())
	file, _ := exported(t, engineOf(t, b), Options{})
	for _, r := range readRows(t, file) {
		id, err := span.ParseSpanID(r.SpanID)
		if err != nil {
			t.Fatal(err)
		}
		row := slices.Index(b.SpanID, id)
		if root := b.Parent[row].IsZero(); root != (r.ParentSpanID == nil) {
			t.Errorf("row %d of its word has a parent: %v; its column is null: %v", row%64, !root, r.ParentSpanID == nil)
		}
	}
}
