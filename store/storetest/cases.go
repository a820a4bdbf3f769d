package storetest

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// everything has each column and each table filled, each value type, and odd but legal content.
const everything = `
1 a - front server "GET /" 0s 12ms s=text i=-1 d=72.5 b=true n=null y=bytes:00ff80 zero=0 empty="" nan=NaN inf=-Inf big=9223372036854775807 strings=["a","","b"] ints=[1,-2] doubles=[1.5,2.0] bools=[true,false] none=[] noints=ints: mixed=array:0a030a01610a021801 list=kvlist:0a080a016b12030a0176 "odd key"="a\nb" a.b="\xff\xfe" repeat=1 repeat=2 resource:pod=front-1 resource:ints=[7] @resource.url=https://example.test/r @resource.dropped=3 @scope=lib @scope.version=1.2 scope:k=v @scope.url=https://example.test/s @scope.dropped=4 @status=error @message="no way" @state="a=b,c=d" @flags=769 @group=front @namespace=prod @weight=12.5 @mark=cut,shared,debug,proxy @dropped=5,6,7
  event exception 3ms exception.type=Timeout n=1 @dropped=8
  event - none
  event exception 1ms
  link ab000000000000000000000000000001 b k=1 @state=x=y @flags=257 @dropped=9
  link - - k=[true]
  link 2 c
1 b a "" 9 - 1ms -1ms @bare
1 c b front internal same 1ms none resource:pod=front-1 @status=7
1 d b front internal same 2ms 0s resource:pod=front-1 @resource.url=https://example.test/r
1 e 1 front client same =946684800000000000 =18446744073709551615 @scope=lib @status=ok
2 a - "ein laden" consumer "ü" 3ms 1ns resource:service.name=other @mark=serviceDerived,nameDerived
`

func fidelity(t *testing.T, s *suite) {
	s.accept(t, everything)
	want := Print(s.loss.of(Batch(t, everything))...)
	// Read back through a second Accept as well: what an engine yields it must be able to take.
	for _, id := range []string{"1", "2"} {
		s.checkTrace(t, scope, traceID(t, id))
	}
	var read []*span.Batch
	rows := 0
	for r, err := range s.engine.Scan(t.Context(), scope, &store.Scan{Need: store.Everything()}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Batch != nil && len(r.Rows) > 0 {
			b := pick(r)
			rows += b.Len()
			read = append(read, b)
		}
	}
	if got := Print(read...); got != want || rows != 6 {
		t.Errorf("scan yields %d rows:\n%swant:\n%s", rows, got, want)
	}
}

// pick clones the matching rows of a step.
func pick(r store.Rows) *span.Batch {
	chosen := make(map[int]bool)
	for _, row := range r.Rows {
		chosen[int(row)] = true
	}
	b := r.Batch.Clone()
	b.Keep(func(row int) bool { return chosen[row] || r.Batch.Len() == 0 })
	return b
}

func borrowed(t *testing.T, s *suite) {
	b := Batch(t, everything)
	s.acceptBatch(t, b)
	for i := range b.Arena {
		b.Arena[i] = 'x'
	}
	for i := range b.Attrs {
		b.Attrs[i] = span.Attr{}
	}
	for i := range b.Events {
		b.Events[i], b.Links[i%len(b.Links)] = span.Event{}, span.Link{}
	}
	for row := range b.Len() {
		b.TraceID[row], b.Time[row], b.Name[row] = span.TraceID{1}, 1, span.Str{}
	}
	b.Reset()
	s.checkTrace(t, scope, traceID(t, "1"))

	// And the other way: changing what a reader got changes nothing.
	for b, err := range s.engine.Trace(t.Context(), scope, traceID(t, "1"), store.TimeRange{}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Clone().Reset()
	}
	s.checkTrace(t, scope, traceID(t, "1"))
}

func empty(t *testing.T, s *suite) {
	ask := func() {
		t.Helper()
		if got := s.trace(t, scope, traceID(t, "dead")); got != "" {
			t.Errorf("an unknown trace has spans:\n%s", got)
		}
		if got := s.search(t, store.Search{Limit: 5, Match: cond(in(store.InAny, "none"), store.Exists, store.Operand{})}); len(got) != 0 {
			t.Errorf("found %s", Summaries(got))
		}
	}
	ask()
	if err := s.engine.Accept(t.Context(), &span.Batch{Tenant: store.DefaultTenant}); err != nil {
		t.Fatal(err)
	}
	ask()
	s.accept(t, "1 a - front server get 0s 1ms")
	ask()
	services, done, err := s.engine.Services(t.Context(), scope, store.TimeRange{From: At(time.Hour), To: At(2 * time.Hour)})
	if err != nil || !done.Complete || len(services) != 0 {
		t.Errorf("services of an empty hour: %v %v %v", services, done, err)
	}
}

func conditions(t *testing.T, s *suite) {
	s.accept(t, `
1 a - front server "GET /" 0s 10ms code=200 ratio=0.5 ok=true path=/a tags=["x","y"] n=[1,2] resource:zone=eu scope:lang=go @scope=lib
  event retry 1ms try=1
  event retry 2ms try=2
  link 2 b why=follows
2 a - front client "GET /cart" 1s 20ms code="200" ratio=2 ok="true" path=/b/c tags=["y"] zone=us @status=error
3 a b cart server - 2s 30ms code=404 error=reset @status=unset @message=reset @group=cart @namespace=prod
4 a - cart consumer work 3s 1s tags=[] code=null
5 a - db internal query 4s 100us code=200.0 ok=false big=9007199254740993`)
	attr := func(key string) store.Field { return in(store.InAny, key) }
	own := func(key string) store.Field { return in(store.Intrinsic, key) }
	for _, c := range []struct {
		name  string
		match store.Expr
		want  string // trace ids, newest first
	}{
		{"none", nil, "5 4 3 2 1"},
		{"exists", cond(attr("code"), store.Exists, store.Operand{}), "5 4 3 2 1"},
		{"int =", cond(attr("code"), store.Eq, store.Int(200)), "5 1"},
		{"int !=", cond(attr("code"), store.Ne, store.Int(200)), "3"},
		{"int >=", cond(attr("code"), store.Ge, store.Int(200)), "5 3 1"},
		{"double <", cond(attr("ratio"), store.Lt, store.Num(1.5)), "1"},
		{"int against double", cond(attr("ratio"), store.Gt, store.Num(1.5)), "2"},
		{"no rounding", cond(attr("big"), store.Gt, store.Num(9007199254740992)), "5"},
		{"string =", cond(attr("code"), store.Eq, store.Text("200")), "2"},
		{"loose =", cond(attr("code"), store.Eq, store.LooseText("200")), "5 2 1"},
		{"loose !=", cond(attr("code"), store.Ne, store.LooseText("200")), "3"},
		{"loose <", cond(attr("code"), store.Lt, store.LooseText("300")), "5 2 1"},
		{"loose bool", cond(attr("ok"), store.Eq, store.LooseText("true")), "2 1"},
		{"bool", cond(attr("ok"), store.Eq, store.Bool(true)), "1"},
		{"bool !=", cond(attr("ok"), store.Ne, store.Bool(true)), "5"},
		{"regex is anchored", cond(attr("path"), store.Regex, store.Text("/.")), "1"},
		{"not regex", cond(attr("path"), store.NotRegex, store.Text("/.")), "2"},
		{"string order", cond(attr("path"), store.Gt, store.Text("/a")), "2"},
		{"array any", cond(attr("tags"), store.Eq, store.Text("x")), "1"},
		{"array all", cond(attr("tags"), store.Ne, store.Text("x")), "2"},
		{"array of ints", cond(attr("n"), store.Gt, store.Int(1)), "1"},
		{"any scope", cond(attr("zone"), store.Exists, store.Operand{}), "2 1"},
		{"span scope", cond(in(store.InSpan, "zone"), store.Exists, store.Operand{}), "2"},
		{"resource scope", cond(in(store.InResource, "zone"), store.Eq, store.Text("eu")), "1"},
		{"scope scope", cond(in(store.InScope, "lang"), store.Eq, store.Text("go")), "1"},
		{"event any", cond(in(store.InEvent, "try"), store.Eq, store.Int(2)), "1"},
		{"event all", cond(in(store.InEvent, "try"), store.Ne, store.Int(2)), ""},
		{"link", cond(in(store.InLink, "why"), store.Eq, store.Text("follows")), "1"},
		{"service", cond(own("service"), store.Eq, store.Text("front")), "2 1"},
		{"group", cond(own("group"), store.Eq, store.Text("cart")), "3"},
		{"namespace", cond(own("namespace"), store.Exists, store.Operand{}), "3"},
		{"name", cond(own("name"), store.Regex, store.Text("GET .*")), "2 1"},
		{"no name", cond(own("name"), store.Ne, store.Text("GET /")), "5 4 3 2"},
		{"kind", cond(own("kind"), store.Eq, store.Text("server")), "3 1"},
		{"status", cond(own("status"), store.Eq, store.Text("error")), "2"},
		{"message", cond(own("statusMessage"), store.Eq, store.Text("reset")), "3"},
		{"error", cond(own("error"), store.Eq, store.Bool(true)), "3 2"},
		{"root", cond(own("root"), store.Eq, store.Bool(false)), "3"},
		{"duration", cond(own("duration"), store.Gt, store.Int(20_000_000)), "4 3"},
		{"loose duration", cond(own("duration"), store.Le, store.LooseText("20ms")), "5 2 1"},
		{"span id", cond(own("spanId"), store.Eq, store.Text("0xA")), "5 4 3 2 1"},
		{"parent id", cond(own("parentId"), store.Eq, store.Text("b")), "3"},
		{"trace id", cond(own("traceId"), store.Eq, store.Text("4")), "4"},
		{"scope name", cond(own("scopeName"), store.Eq, store.Text("lib")), "1"},
		{"event name", cond(own("eventName"), store.Eq, store.Text("retry")), "1"},
		{"not", store.Not{Expr: cond(attr("zone"), store.Eq, store.Text("eu"))}, "5 4 3 2"},
		{"and", store.And{cond(own("service"), store.Eq, store.Text("front")), cond(attr("zone"), store.Ne, store.Text("eu"))}, "2"},
		{"or", store.Or{cond(own("service"), store.Eq, store.Text("db")), cond(attr("zone"), store.Eq, store.Text("eu"))}, "5 1"},
		{"empty or", store.Or{}, ""},
		{"empty and", store.And{}, "5 4 3 2 1"},
		{"unknown key", cond(attr("nowhere"), store.Ne, store.Text("x")), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := idsOf(s.search(t, store.Search{Match: c.match, Limit: 3}))
			want := c.want
			if !s.written(t, got, want) {
				want = idsOf(s.model.search(scope, &store.Search{Match: c.match}))
			}
			if got != want {
				t.Errorf("found %q, want %q", got, want)
			}
		})
	}
}

// idsOf is the traces of an answer in words.
func idsOf(list []store.Summary) string {
	var ids []string
	for _, sum := range list {
		ids = append(ids, short(sum.TraceID.String()))
	}
	return strings.Join(ids, " ")
}

func nonsense(t *testing.T, s *suite) {
	s.accept(t, "1 a - front server get 0s 1ms")
	bad := cond(in(store.Intrinsic, "nam"), store.Exists, store.Operand{})
	badRegex := cond(in(store.InAny, "k"), store.Regex, store.Text("("))
	for _, match := range []store.Expr{bad, badRegex, store.Not{Expr: bad}, store.And{badRegex}} {
		_, err := s.engine.Search(t.Context(), scope, &store.Search{Match: match, Limit: 1})
		wantKind(t, "search", err, problem.Invalid)
		for _, err := range s.engine.Scan(t.Context(), scope, &store.Scan{Match: match}) {
			wantKind(t, "scan", err, problem.Invalid)
		}
		_, _, err = s.engine.Values(t.Context(), scope, store.ValuesQuery{Field: in(store.InAny, "k"), Match: match})
		wantKind(t, "values", err, problem.Invalid)
	}
	_, err := s.engine.Search(t.Context(), scope, &store.Search{})
	wantKind(t, "limit 0", err, problem.Invalid)
	_, err = s.engine.Search(t.Context(), scope, &store.Search{Limit: -1})
	wantKind(t, "limit -1", err, problem.Invalid)
	_, err = s.engine.Search(t.Context(), scope, &store.Search{Limit: math.MaxInt})
	wantKind(t, "limit without end", err, problem.Invalid)
	_, _, err = s.engine.Values(t.Context(), scope, store.ValuesQuery{Field: in(store.Intrinsic, "nam")})
	wantKind(t, "values of an unknown field", err, problem.Invalid)
}

func mustMatch(t *testing.T, s *suite) {
	s.accept(t, `
1 a - front server get 0s 1ms team=red
1 b a cart server get 0s 1ms team=blue
2 a - cart server put 1s 1ms team=blue other=1`)
	red := store.Scope{Tenant: store.DefaultTenant, MustMatch: cond(in(store.InSpan, "team"), store.Eq, store.Text("red"))}
	s.checkTrace(t, red, traceID(t, "1"))
	s.checkTrace(t, red, traceID(t, "2"))
	page, err := s.engine.Search(t.Context(), red, &store.Search{Limit: 10})
	if want := s.model.search(red, &store.Search{Limit: 10}); err != nil || Summaries(page.Traces) != Summaries(want) || page.Traces[0].Spans != 1 {
		t.Errorf("search: %v %v", page, err)
	}
	services, _, err := s.engine.Services(t.Context(), red, store.TimeRange{})
	if err != nil || len(services) != 1 || services[0].Name != "front" {
		t.Errorf("services: %v %v", services, err)
	}
	operations, _, err := s.engine.Operations(t.Context(), red, "cart", store.TimeRange{})
	if err != nil || len(operations) != 0 {
		t.Errorf("operations: %v %v", operations, err)
	}
	keys, _, err := s.engine.Keys(t.Context(), red, store.KeysQuery{In: store.InSpan})
	if err != nil || len(keys) != 1 {
		t.Errorf("keys: %v %v", keys, err)
	}
	values, _, err := s.engine.Values(t.Context(), red, store.ValuesQuery{Field: in(store.InSpan, "team")})
	if err != nil || len(values) != 1 || values[0].Text != "red" {
		t.Errorf("values: %v %v", values, err)
	}
	for r, err := range s.engine.Scan(t.Context(), red, &store.Scan{}) {
		if err != nil || len(r.Rows) > 1 {
			t.Errorf("scan: %v %v", r.Rows, err)
		}
	}
}
