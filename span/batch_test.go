package span_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/storetest"
)

func TestImpossibleStart(t *testing.T) {
	const received = int64(1_700_000_000_000_000_000)
	for _, c := range []struct {
		start uint64
		want  bool
	}{
		{0, true},
		{5, true},
		{946684800_000000000 - 1, true},
		{946684800_000000000, false},
		{uint64(received), false},
		{uint64(received + int64(24*time.Hour)), false},
		{uint64(received+int64(24*time.Hour)) + 1, true},
		{math.MaxInt64, true},
		{math.MaxInt64 + 1, true},
		{math.MaxUint64, true},
	} {
		if got := span.ImpossibleStart(c.start, received); got != c.want {
			t.Errorf("%d: got %v", c.start, got)
		}
	}
}

func TestDurationAndEnd(t *testing.T) {
	const t0 = uint64(1_700_000_000_000_000_000)
	for _, c := range []struct {
		name       string
		start, end uint64
		time       int64
		want       int64
	}{
		{"usual", t0, t0 + 5, int64(t0), 5},
		{"empty", t0, t0, int64(t0), 0},
		{"backwards", t0, t0 - 5, int64(t0), 0},
		{"no end", t0, 0, int64(t0), 0},
		{"no start", 0, t0, int64(t0), 0},
		{"neither", 0, 0, int64(t0), 0},
		{"counted from zero", 10, 25, int64(t0), 15},
		{"end beyond time", t0, math.MaxUint64, int64(t0), 0},
		{"end at the edge", t0, math.MaxInt64, int64(t0), math.MaxInt64 - int64(t0)},
		{"start beyond time", math.MaxUint64 - 1, math.MaxUint64, int64(t0), 0},
	} {
		var b span.Batch
		row := b.AddRow()
		b.Start[row], b.End[row], b.Time[row] = c.start, c.end, c.time
		if got := b.Duration(row); got != c.want {
			t.Errorf("%s: duration %d, want %d", c.name, got, c.want)
		}
		if got := b.EndTime(row); got != c.time+c.want {
			t.Errorf("%s: end %d, want %d", c.name, got, c.time+c.want)
		}
	}
	var b span.Batch
	row := b.AddRow()
	b.Start[row], b.End[row], b.Time[row] = 1, 100, math.MaxInt64-5
	if got := b.EndTime(row); got != math.MaxInt64 {
		t.Errorf("an end beyond time is %d", got)
	}
}

func TestFailed(t *testing.T) {
	for fields, want := range map[string]bool{
		``:                            false,
		`@status=error`:               true,
		`@status=ok error=true`:       false,
		`error=true`:                  true,
		`error=false`:                 false,
		`error=""`:                    false,
		`error="false"`:               false,
		`error="true"`:                true,
		`error=reset`:                 true,
		`error=1`:                     false,
		`error=null`:                  false,
		`error=false error=true`:      true, // the last wins
		`error=true error=false`:      false,
		`resource:error=true`:         false,
		`@status=error error=false`:   true,
		`xerror=true errorx=true`:     false,
		`@status=unset error="False"`: true,
	} {
		b := storetest.Batch(t, "1 a - s server n 0s 1ms "+fields)
		if b.Failed(0) != want {
			t.Errorf("%s: got %v", fields, !want)
		}
	}
}

func TestFindAttr(t *testing.T) {
	b := storetest.Batch(t, `1 a - s server n 0s 1ms k=1 long=x k=two e="" resource:k=3`)
	if got := string(b.FindString(b.SpanAttrs[0], "k")); got != "two" {
		t.Errorf("k is %q: of repeated keys the last wins", got)
	}
	if a, ok := b.FindAttr(b.Resources[0].Attrs, "k"); !ok || a.Type != span.TypeInt || a.Value().Int() != 3 {
		t.Errorf("resource has k %+v", a)
	}
	if b.FindString(b.Resources[0].Attrs, "k") != nil || b.FindString(b.SpanAttrs[0], "lon") != nil || b.FindString(span.Range{}, "k") != nil {
		t.Error("what is not a string or not there is nil")
	}
	if got := b.FindString(b.SpanAttrs[0], "e"); len(got) != 0 {
		t.Errorf("e is %q", got)
	}
}

func TestKeys(t *testing.T) {
	var b span.Batch
	for round := range 3 {
		for i := range 1000 {
			if got := b.InternKey(fmt.Appendf(nil, "key%d", i)); got != uint32(i) {
				t.Fatalf("round %d: key%d has index %d", round, i, got)
			}
		}
	}
	if b.InternKey(nil) != 1000 || b.InternKey([]byte("")) != 1000 {
		t.Error("the empty key is one key")
	}
	c := b.Clone()
	if c.InternKey([]byte("key7")) != 7 || c.InternKey([]byte("new")) != 1001 || b.InternKey([]byte("other")) != 1001 {
		t.Error("a clone has a key table of its own")
	}
	b.Reset()
	if b.InternKey([]byte("key7")) != 0 {
		t.Error("Reset forgets keys")
	}
	// A batch whose columns were set by hand has no key table yet.
	d := span.Batch{Arena: []byte("ab"), Keys: []span.Str{{Off: 0, Len: 1}, {Off: 1, Len: 1}}}
	if d.InternKey([]byte("b")) != 1 || d.InternKey([]byte("c")) != 2 {
		t.Error("keys that stand in Keys are found")
	}
}

func TestCloneSharesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	b := storetest.Batch(t, storetest.RandomText(r, 100, 10, 0))
	b.Refused = append(b.Refused, span.Refusal{Reason: "bad_id", Spans: 2})
	want := storetest.Print(b)
	c := b.Clone()
	if c.Size() != b.Size() || c.Received != b.Received || len(c.Refused) != 1 {
		t.Error("the clone is smaller")
	}
	scribble(b)
	if got := storetest.Print(c); got != want {
		t.Errorf("changed with the original:\n%s", got)
	}
}

func scribble(b *span.Batch) {
	for i := range b.Arena {
		b.Arena[i] = '#'
	}
	for i := range b.Attrs {
		b.Attrs[i] = span.Attr{}
	}
	clear(b.Keys)
	clear(b.Events)
	clear(b.Links)
	clear(b.Resources)
	clear(b.Scopes)
	for row := range b.Len() {
		b.TraceID[row], b.SpanAttrs[row], b.Weight[row], b.Kind[row] = span.TraceID{9}, span.Range{}, -1, 99
	}
}

func TestKeep(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 20 {
		text := storetest.RandomText(r, 1+r.IntN(50), 10, 0)
		b := storetest.Batch(t, text)
		var want []string
		kept := make(map[int]bool)
		for row := range b.Len() {
			if r.IntN(2) == 0 {
				kept[row] = true
				want = append(want, onlyRow(b, row))
			}
		}
		b.Keep(func(row int) bool { return kept[row] })
		if b.Len() != len(want) {
			t.Fatalf("%d rows, want %d", b.Len(), len(want))
		}
		for row := range b.Len() {
			if got := onlyRow(b, row); got != want[row] {
				t.Fatalf("row %d:\n%swant:\n%s", row, got, want[row])
			}
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
	}
}

// onlyRow prints one row by way of a Copier.
func onlyRow(b *span.Batch, row int) string {
	var one span.Batch
	c := span.NewCopier(&one)
	c.Begin(b)
	c.Row(row)
	return storetest.Print(&one)
}

func TestDropLastRow(t *testing.T) {
	b := storetest.Batch(t, "1 a - s server n 0s 1ms k=1")
	want := storetest.Print(b)
	row := b.AddRow()
	b.Name[row] = b.AddText("bad")
	b.DropLastRow()
	if got := storetest.Print(b); got != want || b.Check() != nil {
		t.Errorf("got:\n%s", got)
	}
}

func TestResetKeepsMemory(t *testing.T) {
	var b span.Batch
	fill := func() {
		b.Reset()
		b.Resources = append(b.Resources, span.Resource{})
		b.Scopes = append(b.Scopes, span.Scope{})
		for range 100 {
			row := b.AddRow()
			b.Name[row] = b.AddText("name")
			mark := b.AttrMark()
			for _, key := range []string{"a", "b", "c"} {
				b.AddAttr(b.InternKey([]byte(key)), span.IntValue(1))
			}
			b.SpanAttrs[row] = b.AttrsSince(mark)
		}
	}
	fill()
	if n := testing.AllocsPerRun(10, fill); n != 0 {
		t.Errorf("%g allocations to fill a batch again", n)
	}
	if b.Len() != 100 || len(b.Keys) != 3 || b.Weight[99] != 1 || b.Check() != nil {
		t.Errorf("%d rows, %d keys, weight %g, %v", b.Len(), len(b.Keys), b.Weight[99], b.Check())
	}
	b.Reset()
	if b.Len() != 0 || b.Size() != 0 || b.Tenant != "" || b.Received != 0 {
		t.Errorf("Reset leaves %d bytes", b.Size())
	}
}

// TestCheck breaks a sound batch in one place after the other.
func TestCheck(t *testing.T) {
	sound := func() *span.Batch {
		return storetest.Batch(t, `1 a - s server n 0s 1ms k=text @message=m @state=s @group=g @namespace=n @scope=lib @scope.version=1 @scope.url=u @resource.url=u
  event e 1ms k=1
  link 2 b k=1 @state=x`)
	}
	if err := sound().Check(); err != nil {
		t.Fatal(err)
	}
	far := span.Str{Off: 1 << 31, Len: 1}
	wide := span.Range{Off: 1<<32 - 1, Len: 1}
	for name, spoil := range map[string]func(*span.Batch){
		"key":                   func(b *span.Batch) { b.Keys[0] = far },
		"key index":             func(b *span.Batch) { b.Attrs[0].Key = 99 },
		"type":                  func(b *span.Batch) { b.Attrs[0].Type = span.NumTypes },
		"attribute value":       func(b *span.Batch) { b.Attrs[0].Bits = span.StrValue(span.TypeString, far).Bits },
		"overflowing value":     func(b *span.Batch) { b.Attrs[0].Bits = math.MaxUint64 },
		"resource attributes":   func(b *span.Batch) { b.Resources[0].Attrs = wide },
		"resource schema URL":   func(b *span.Batch) { b.Resources[0].SchemaURL = far },
		"scope name":            func(b *span.Batch) { b.Scopes[0].Name = far },
		"scope version":         func(b *span.Batch) { b.Scopes[0].Version = far },
		"scope schema URL":      func(b *span.Batch) { b.Scopes[0].SchemaURL = far },
		"scope attributes":      func(b *span.Batch) { b.Scopes[0].Attrs = wide },
		"event name":            func(b *span.Batch) { b.Events[0].Name = far },
		"event attributes":      func(b *span.Batch) { b.Events[0].Attrs = wide },
		"link state":            func(b *span.Batch) { b.Links[0].TraceState = far },
		"link attributes":       func(b *span.Batch) { b.Links[0].Attrs = wide },
		"resource":              func(b *span.Batch) { b.Resource[0] = 1 },
		"scope":                 func(b *span.Batch) { b.Scope[0] = 1 },
		"no resource":           func(b *span.Batch) { b.Resources = nil },
		"name":                  func(b *span.Batch) { b.Name[0] = far },
		"status message":        func(b *span.Batch) { b.StatusMessage[0] = far },
		"trace state":           func(b *span.Batch) { b.TraceState[0] = far },
		"service":               func(b *span.Batch) { b.Service[0] = far },
		"group":                 func(b *span.Batch) { b.Group[0] = far },
		"namespace":             func(b *span.Batch) { b.Namespace[0] = far },
		"span attributes":       func(b *span.Batch) { b.SpanAttrs[0] = wide },
		"events":                func(b *span.Batch) { b.SpanEvents[0].Len = 2 },
		"links":                 func(b *span.Batch) { b.SpanLinks[0].Off = 1 },
		"arena cut by a string": func(b *span.Batch) { b.Arena = b.Arena[:len(b.Arena)-1] },
	} {
		b := sound()
		spoil(b)
		if b.Check() == nil {
			t.Errorf("%s: Check finds nothing", name)
		}
	}
}

func TestIdentity(t *testing.T) {
	b := storetest.Batch(t, `
1 a - s server n 0s 1ms
1 a b s server other 0s 2ms k=1 @status=error
1 a - s client n 0s 1ms
1 a - t server n 0s 1ms
1 a - s server n 1ns 1ms
1 b - s server n 0s 1ms
2 a - s server n 0s 1ms`)
	if b.Identity(0) != b.Identity(1) {
		t.Error("name, parent, end and attributes are no part of the identity")
	}
	for row := 2; row < b.Len(); row++ {
		if b.Identity(0) == b.Identity(row) {
			t.Errorf("row %d is another span", row)
		}
	}
}

func TestCopier(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 5))
		for _, interns := range []bool{false, true} {
			var dst span.Batch
			c := span.NewCopier(&dst)
			if interns {
				known := make(map[string]span.Str)
				c.Intern = func(p []byte) span.Str {
					s, ok := known[string(p)]
					if !ok {
						s = dst.AddString(p)
						known[string(p)] = s
					}
					return s
				}
			}
			var sources []*span.Batch
			for range 5 {
				src := storetest.Batch(t, storetest.RandomText(r, r.IntN(40), 5, 0))
				order := r.Perm(src.Len())
				c.Begin(src)
				picked := make(map[int]bool)
				for _, row := range order[:len(order)/2] {
					if at := c.Row(row); at != dst.Len()-1 {
						t.Fatalf("row %d of %d", at, dst.Len())
					}
					picked[row] = true
				}
				src.Keep(func(row int) bool { return picked[row] })
				sources = append(sources, src)
			}
			if err := dst.Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if got, want := storetest.Print(&dst), storetest.Print(sources...); got != want {
				t.Fatalf("seed %d:\n%swant:\n%s", seed, got, want)
			}
			if len(dst.Resources) > distinctResources(sources) {
				t.Errorf("seed %d: %d resources for %d different ones", seed, len(dst.Resources), distinctResources(sources))
			}
			for _, src := range sources {
				scribble(src)
			}
			if err := dst.Check(); err != nil {
				t.Fatalf("seed %d: shares memory with its sources: %v", seed, err)
			}
		}
	}
}

// distinctResources counts resources by their text.
func distinctResources(batches []*span.Batch) int {
	seen := make(map[string]bool)
	for _, b := range batches {
		for row := range b.Len() {
			res := b.Resources[b.Resource[row]]
			text := fmt.Sprint(res.Dropped, b.String(res.SchemaURL))
			for _, a := range b.AttrsOf(res.Attrs) {
				text += fmt.Sprintf(" %q=%d:%q", b.Key(a), a.Type, storetest.PrintValue(b, a.Value()))
			}
			seen[text] = true
		}
	}
	return len(seen)
}

func TestSize(t *testing.T) {
	b := storetest.Batch(t, "1 a - s server n 0s 1ms")
	before := b.Size()
	row := b.AddRow()
	b.Name[row] = b.AddText(strings.Repeat("x", 1000))
	if n := b.Size() - before; n < 1100 || n > 1300 {
		t.Errorf("a row with a name of 1,000 bytes adds %d", n)
	}
}

func BenchmarkCopier(b *testing.B) {
	src, err := storetest.Parse(storetest.RandomText(rand.New(rand.NewPCG(1, 1)), 512, 50, 0))
	if err != nil {
		b.Fatal(err)
	}
	var dst span.Batch
	b.ReportAllocs()
	for b.Loop() {
		dst.Reset()
		c := span.NewCopier(&dst)
		c.Begin(src)
		for row := range src.Len() {
			c.Row(row)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(src.Len()), "ns/span")
}
