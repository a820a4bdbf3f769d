package clickhouse

import (
	"bytes"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/storetest"
)

// wire writes the block of some batches as the native protocol does.
func wire(batches ...*span.Batch) []byte {
	e := newEncoder()
	for i, b := range batches {
		e.encode(b, divide([]*shard{{}}).pieces([]*span.Batch{b})[0][0], 7, uint64(i))
	}
	var in []proto.InputColumn
	for _, c := range e.columns {
		if c.of != onlyWritten {
			in = append(in, proto.InputColumn{Name: c.name, Data: c.data})
		}
	}
	var buffer proto.Buffer
	block := proto.Block{Columns: len(in), Rows: e.traceLow.Rows()}
	if err := block.EncodeRawBlock(&buffer, proto.Version, in); err != nil {
		panic(err)
	}
	return buffer.Buf
}

// unwire reads such a block.
func unwire(p []byte) (*span.Batch, error) {
	d := newDecoder(ownTable{}, store.Everything(), true)
	var block proto.Block
	if err := block.DecodeRawBlock(proto.NewReader(bytes.NewReader(p)), proto.Version, results{d.result}); err != nil {
		return nil, err
	}
	r, err := d.batch(store.DefaultTenant)
	return r.Batch, err
}

func TestBlockKeepsEverything(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		one := storetest.Batch(t, storetest.RandomText(r, 1+r.IntN(60), 15, r.IntN(30)))
		// A typed key of every type, repeated, absent and empty.
		two := storetest.Batch(t, `
7 1 - front server get 0s 1ms error=1 error=true error="" http.url=[1,2] zone=null node_id=bytes:00ff
7 2 - front server get 0s 1ms http.url=a http.url=["x"] error=false component=-0 request_size=NaN
7 3 - front server get 0s 1ms http.url=["x"] http.url=b zone="" peer.address=1e300 response_flags=kvlist:0a00`)
		odd := two.InternKey([]byte("request_size"))
		mark := two.AttrMark()
		two.AddAttr(odd, span.Value{Type: span.TypeDouble, Bits: math.Float64bits(math.NaN()) ^ 5})
		two.SpanAttrs[2] = two.AttrsSince(mark)
		got, err := unwire(wire(one, two))
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Check(); err != nil {
			t.Fatal(err)
		}
		if want := storetest.Print(one, two); storetest.Print(got) != want {
			t.Fatalf("got:\n%swant:\n%s", storetest.Print(got), want)
		}
		a, ok := got.FindAttr(got.SpanAttrs[got.Len()-1], "request_size")
		if !ok || a.Bits != math.Float64bits(math.NaN())^5 {
			t.Errorf("a NaN came back as %x", a.Bits)
		}
	}
}

// FuzzBlock reads blocks as a server that is not ours might send them: an error or a sound batch, never a panic.
func FuzzBlock(f *testing.F) {
	f.Add(wire(storetest.Batch(f, "1 a - front server get 0s 1ms k=[1,2] http.url=/x\n  event e 1ms k=v\n  link 2 b k=v")))
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := unwire(p)
		if err != nil {
			return
		}
		if err := b.Check(); err != nil {
			t.Error(err)
		}
	})
}

// TestMutilatedBlocks is FuzzBlock with a seed, for who does not fuzz.
func TestMutilatedBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	good := wire(storetest.Batch(t, "1 a - front server get 0s 1ms k=[1,2] http.url=/x\n  event e 1ms k=v\n  link 2 b k=v"))
	for range 2000 {
		p := bytes.Clone(good)
		for range 1 + r.IntN(4) {
			at := r.IntN(len(p))
			switch r.IntN(3) {
			case 0:
				p[at] = byte(r.Uint32())
			case 1:
				p = append(p[:at], p[min(len(p), at+r.IntN(9)):]...)
			default:
				p = append(p[:at:at], append([]byte{0xff, 0xff, 0x3f}[:r.IntN(4)], p[at:]...)...)
			}
		}
		if b, err := unwire(p); err == nil && b.Check() != nil {
			t.Fatalf("%x reads as a batch that is not sound: %v", p, b.Check())
		}
	}
}

func TestSchemaHasTheTypedColumns(t *testing.T) {
	if len(typedColumns) > 64 {
		t.Errorf("%d typed columns, a row's are told apart by 64 bits", len(typedColumns))
	}
	var names, maps []string
	for _, m := range regexp.MustCompile(`(?m)^    (attr_\w+) +(LowCardinality\(String\)|String) `).FindAllStringSubmatch(schema1, -1) {
		names = append(names, m[1]+" "+m[2])
	}
	for _, m := range regexp.MustCompile(`'([^']+)', (attr_\w+)`).FindAllStringSubmatch(schema1, -1) {
		maps = append(maps, m[1]+" "+m[2])
	}
	var wantNames, wantMaps []string
	for _, c := range typedColumns {
		typ := "LowCardinality(String)"
		if c.texts {
			typ = "String"
		}
		wantNames, wantMaps = append(wantNames, c.name+" "+typ), append(wantMaps, c.key+" "+c.name)
	}
	if got, want := strings.Join(names, "\n"), strings.Join(wantNames, "\n"); got != want {
		t.Errorf("columns of the schema:\n%s\nof the code:\n%s", got, want)
	}
	if got, want := strings.Join(maps, "\n"), strings.Join(wantMaps, "\n"); got != want {
		t.Errorf("attributes of SpanAttributes:\n%s\nof the code:\n%s", got, want)
	}
}

func TestSQL(t *testing.T) {
	in := func(scope store.FieldScope, key string) store.Field { return store.Field{In: scope, Key: key} }
	service := store.Cond{Field: in(store.Intrinsic, store.FieldService), Op: store.Eq, Value: store.Text(`o'b\é`)}
	url := store.Cond{Field: in(store.InSpan, "http.url"), Op: store.Eq, Value: store.LooseText("/x")}
	for _, c := range []struct {
		name      string
		expr      store.Expr
		may, must string
	}{
		{"none", nil, "1", "1"},
		{"text", service, `ServiceName = 'o\'b\\\xC3\xA9'`, `ServiceName = 'o\'b\\\xC3\xA9'`},
		{"typed", url, "(attr_http_url = '/x' OR attr_lists = 1)", "0"},
		{"not typed", store.Not{Expr: url}, "1", "NOT (attr_http_url = '/x' OR attr_lists = 1)"},
		{"exists", store.Cond{Field: in(store.InEvent, "k")}, "has(EventKeys, 'k')", "has(EventKeys, 'k')"},
		{"and", store.And{service, url}, `(ServiceName = 'o\'b\\\xC3\xA9' AND (attr_http_url = '/x' OR attr_lists = 1))`, "0"},
		{"or of nothing", store.Or{}, "0", "0"},
		{"kind", store.Cond{Field: in(store.Intrinsic, store.FieldKind), Op: store.Ne, Value: store.Text("server")}, "NOT Kind IN (2)", "NOT Kind IN (2)"},
		{"unknown kind", store.Cond{Field: in(store.Intrinsic, store.FieldKind), Op: store.Eq, Value: store.Text("unspecified")}, "(Kind IN (0) OR Kind >= 6)", "(Kind IN (0) OR Kind >= 6)"},
		{"a class of Unicode", store.Cond{Field: in(store.Intrinsic, store.FieldName), Op: store.Regex, Value: store.Text(`\pL+`)}, "1", "0"},
	} {
		if got := sqlOf(ownTable{}, c.expr); got.May != c.may || got.Must != c.must {
			t.Errorf("%s: may %s, must %s; want may %s, must %s", c.name, got.May, got.Must, c.may, c.must)
		}
	}
}
