package match_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestAgainstOracle compares with storetest.Holds, which is written from the contract's sentences.
func TestAgainstOracle(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := storetest.Batch(t, storetest.RandomText(r, 60, 10, 0))
		for range 100 {
			e := storetest.RandomExpr(r, 3)
			p, err := match.Compile(e)
			if err != nil {
				t.Fatalf("seed %d: %#v: %v", seed, e, err)
			}
			bound := p.Bind(b)
			var all, held []uint32
			for row := range b.Len() {
				all = append(all, uint32(row))
				if bound.Row(row) {
					held = append(held, uint32(row))
				}
			}
			if got := bound.Filter(all); !slices.Equal(got, held) {
				t.Fatalf("seed %d: Filter keeps %v, Row %v for\n%#v", seed, got, held, e)
			}
			for row := range b.Len() {
				if got, want := bound.Row(row), storetest.Holds(b, row, e); got != want {
					t.Fatalf("seed %d: got %v, want %v for\n%#v\non %s", seed, got, want, e, printRow(b, row))
				}
			}
		}
	}
}

func printRow(b *span.Batch, row int) string {
	one := b.Clone()
	at := -1
	one.Keep(func(int) bool { at++; return at == row })
	return storetest.Print(one)
}

func attr(key string) store.Field      { return store.Field{Key: key} }
func intrinsic(key string) store.Field { return store.Field{In: store.Intrinsic, Key: key} }

func TestInvalid(t *testing.T) {
	deep := store.Expr(store.And{})
	for range 1000 {
		deep = store.Not{Expr: deep}
	}
	for name, c := range map[string]struct {
		expr  store.Expr
		field string
	}{
		"unknown intrinsic":  {store.Cond{Field: intrinsic("nam"), Op: store.Exists}, "nam"},
		"no key":             {store.Cond{Field: attr(""), Op: store.Exists}, ""},
		"unknown scope":      {store.Cond{Field: store.Field{In: 9, Key: "k"}, Op: store.Exists}, "k"},
		"unknown operator":   {store.Cond{Field: attr("k"), Op: 9}, "k"},
		"no operand":         {store.Cond{Field: attr("k"), Op: store.Eq}, "k"},
		"bytes operand":      {store.Cond{Field: attr("k"), Op: store.Eq, Value: store.Operand{Type: span.TypeBytes}}, "k"},
		"bad expression":     {store.Cond{Field: attr("k"), Op: store.Regex, Value: store.Text("a)|(b")}, "k"},
		"long expression":    {store.Cond{Field: attr("k"), Op: store.Regex, Value: store.Text(strings.Repeat("a", 1<<20))}, "k"},
		"expression, int":    {store.Cond{Field: attr("k"), Op: store.Regex, Value: store.Int(1)}, "k"},
		"bool order":         {store.Cond{Field: attr("k"), Op: store.Lt, Value: store.Bool(true)}, "k"},
		"duration as text":   {store.Cond{Field: intrinsic("duration"), Op: store.Gt, Value: store.Text("1s")}, "duration"},
		"name as number":     {store.Cond{Field: intrinsic("name"), Op: store.Eq, Value: store.Int(1)}, "name"},
		"error as text":      {store.Cond{Field: intrinsic("error"), Op: store.Eq, Value: store.Text("true")}, "error"},
		"trace id not hex":   {store.Cond{Field: intrinsic("traceId"), Op: store.Eq, Value: store.Text("xyz")}, "traceId"},
		"span id too long":   {store.Cond{Field: intrinsic("spanId"), Op: store.Eq, Value: store.Text("11112222333344445")}, "spanId"},
		"nested":             {store.And{store.Not{Expr: store.Cond{Field: intrinsic("x"), Op: store.Exists}}}, "x"},
		"too deep":           {deep, ""},
		"too many":           {make(store.And, 0), ""},
		"pointer to a known": {&store.And{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "too many" {
				list := make(store.Or, 20_000)
				for i := range list {
					list[i] = store.Cond{Field: attr("k"), Op: store.Exists}
				}
				c.expr = list
			}
			_, err := match.Compile(c.expr)
			var p *problem.Problem
			if !errors.As(err, &p) || p.Kind != problem.Invalid || p.Field != c.field || p.Message == "" {
				t.Fatalf("got %#v", err)
			}
		})
	}
}

func TestRowAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the machines of regular expressions are pooled")
	}
	r := rand.New(rand.NewPCG(7, 1))
	b := storetest.Batch(t, storetest.RandomText(r, 200, 10, 0))
	for i := range 300 {
		e := storetest.RandomExpr(r, 3)
		p, err := match.Compile(e)
		if err != nil {
			t.Fatal(err)
		}
		bound := p.Bind(b)
		rows := make([]uint32, b.Len())
		all := func() {
			for row := range b.Len() {
				bound.Row(row)
				rows[row] = uint32(row)
			}
			bound.Filter(rows)
		}
		all() // a regular expression makes its machine, the scratch buffer grows
		if n := testing.AllocsPerRun(3, all); n > 0 {
			t.Errorf("%d: %g allocations in %d rows for %#v", i, n, b.Len(), e)
		}
	}
}

func TestWindow(t *testing.T) {
	b := storetest.Batch(t, `1 a - s server n 10s 5s`)
	at := func(from, to int) store.TimeRange {
		r := store.TimeRange{From: storetest.Epoch.UnixNano() + int64(from)*1e9}
		if to > 0 {
			r.To = storetest.Epoch.UnixNano() + int64(to)*1e9
		}
		return r
	}
	for _, c := range []struct {
		r              store.TimeRange
		overlap, start bool
	}{
		{store.TimeRange{}, true, true},
		{at(0, 10), false, false},
		{at(0, 11), true, true},
		{at(10, 11), true, true},
		{at(11, 12), true, false},
		{at(15, 16), true, false},
		{at(16, 20), false, false},
		{at(12, 0), true, false},
	} {
		for mode, want := range map[store.TimeMode]bool{store.Overlap: c.overlap, store.Start: c.start} {
			w := match.Window{TimeRange: c.r, Mode: mode}
			if w.Row(b, 0) != want {
				t.Errorf("%v mode %d: got %v", c.r, mode, !want)
			}
			if want && !w.Block(b.Time[0], b.Time[0], b.EndTime(0)) {
				t.Errorf("%v mode %d: block is left out", c.r, mode)
			}
		}
	}
}

func TestGetter(t *testing.T) {
	b := storetest.Batch(t, `1 a - front server - 0s 5ms k=1 resource:k=two scope:k=3.5 @scope=lib
  event e 0s k=true
  event - 0s k=[1,2]
  link 2 3 k=x`)
	for _, c := range []struct {
		field store.Field
		want  string
	}{
		{store.Field{Key: "k"}, "1 two 3.5 true [1,2] x"},
		{store.Field{Key: "k", In: store.InResource}, "two"},
		{store.Field{Key: "k", In: store.InEvent}, "true [1,2]"},
		{store.Field{Key: "none"}, ""},
		{intrinsic("service"), "front"},
		{intrinsic("name"), ""},
		{intrinsic("duration"), "5000000"},
		{intrinsic("error"), "false"},
		{intrinsic("root"), "true"},
		{intrinsic("scopeName"), "lib"},
		{intrinsic("eventName"), "e"},
		{intrinsic("kind"), "server"},
		{intrinsic("parentId"), ""},
		{intrinsic("traceId"), "00000000000000000000000000000001"},
	} {
		g, err := match.NewGetter(c.field)
		if err != nil {
			t.Fatal(err)
		}
		g.Bind(b)
		var got string
		if g.Computed() {
			got = string(g.AppendText(nil, 0))
		}
		for i, v := range g.Append(nil, 0) {
			if i > 0 {
				got += " "
			}
			got += storetest.PrintValue(b, v)
		}
		if got != c.want {
			t.Errorf("%v: got %q, want %q", c.field, got, c.want)
		}
	}
}

func BenchmarkRow(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 1))
	batch, err := storetest.Parse(storetest.RandomText(r, 8000, 400, 0))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []store.Cond{
		{Field: intrinsic("service"), Op: store.Eq, Value: store.Text("front")},
		{Field: intrinsic("service"), Op: store.Regex, Value: store.Text("f.*")},
		{Field: store.Field{Key: "a", In: store.InSpan}, Op: store.Eq, Value: store.Text("x")},
		{Field: store.Field{Key: "a"}, Op: store.Gt, Value: store.Int(100)},
	} {
		b.Run(fmt.Sprintf("%s%s", c.Field.Key, match.OpText(c.Op)), func(b *testing.B) {
			p, err := match.Compile(c)
			if err != nil {
				b.Fatal(err)
			}
			bound := p.Bind(batch)
			for i := 0; b.Loop(); i++ {
				bound.Row(i % batch.Len())
			}
		})
	}
}
