package span_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/span"
)

func TestValues(t *testing.T) {
	for _, i := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64} {
		if v := span.IntValue(i); v.Type != span.TypeInt || v.Int() != i {
			t.Errorf("int %d: %+v", i, v)
		}
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 1.5, math.Inf(1), math.NaN(), math.MaxFloat64, math.SmallestNonzeroFloat64} {
		if v := span.DoubleValue(f); v.Type != span.TypeDouble || math.Float64bits(v.Double()) != math.Float64bits(f) {
			t.Errorf("double %g: %+v", f, v)
		}
	}
	for _, b := range []bool{true, false} {
		if v := span.BoolValue(b); v.Type != span.TypeBool || v.Bool() != b {
			t.Errorf("bool %v: %+v", b, v)
		}
	}
	for _, s := range []span.Str{{}, {Off: 1, Len: 2}, {Off: math.MaxUint32, Len: math.MaxUint32}} {
		if v := span.StrValue(span.TypeBytes, s); v.Type != span.TypeBytes || v.Str() != s {
			t.Errorf("run %v: %+v", s, v)
		}
	}
	for typ := range span.NumTypes {
		want := typ != span.TypeNull && typ != span.TypeInt && typ != span.TypeDouble && typ != span.TypeBool
		if typ.InArena() != want {
			t.Errorf("type %d: in arena %v", typ, !want)
		}
	}
}

// array puts an OTLP ArrayValue of AnyValues into an arena behind some other bytes.
func array(b *span.Batch, typ span.Type, elements ...[]byte) span.Value {
	b.AddText("in front of it")
	var raw []byte
	for _, e := range elements {
		raw = protowire.AppendTag(raw, 1, protowire.BytesType)
		raw = protowire.AppendBytes(raw, e)
	}
	return span.StrValue(typ, b.AddString(raw))
}

func bytesField(num protowire.Number, p string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), p)
}

func varintField(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func TestElements(t *testing.T) {
	var b span.Batch
	long := string(make([]byte, 300))
	double := protowire.AppendFixed64(protowire.AppendTag(nil, 4, protowire.Fixed64Type), math.Float64bits(-2.5))
	v := array(&b, span.TypeArray,
		bytesField(1, "text"), bytesField(1, ""), bytesField(1, long),
		varintField(2, 1), varintField(3, 1<<64-7), double,
		bytesField(5, "array"), bytesField(6, "list"), bytesField(7, "raw"),
		nil, // an empty AnyValue
		slices.Concat(varintField(99, 1), varintField(3, 1), varintField(3, 2)), // unknown field; the last wins
	)
	want := []any{"text", "", long, true, int64(-7), -2.5, "array", "list", "raw", nil, int64(2)}
	types := []span.Type{span.TypeString, span.TypeString, span.TypeString, span.TypeBool, span.TypeInt, span.TypeDouble, span.TypeArray,
		span.TypeKVList, span.TypeBytes, span.TypeNull, span.TypeInt}
	at := 0
	for e := b.Elements(v); ; at++ {
		got, ok := e.Next()
		if !ok {
			break
		}
		if at >= len(want) || got.Type != types[at] || goValue(&b, got) != want[at] {
			t.Fatalf("element %d: %+v is %v", at, got, goValue(&b, got))
		}
	}
	if at != len(want) {
		t.Errorf("%d elements, want %d", at, len(want))
	}
	for _, v := range []span.Value{{}, span.IntValue(1), span.StrValue(span.TypeString, v.Str()), span.StrValue(span.TypeKVList, v.Str())} {
		e := b.Elements(v)
		if got, ok := e.Next(); ok {
			t.Errorf("%+v has the element %+v", v, got)
		}
	}
}

func goValue(b *span.Batch, v span.Value) any {
	switch v.Type {
	case span.TypeNull:
		return nil
	case span.TypeInt:
		return v.Int()
	case span.TypeDouble:
		return v.Double()
	case span.TypeBool:
		return v.Bool()
	default:
		return b.String(v.Str())
	}
}

// FuzzElements: whatever stands in the arena, a walk ends, and what it yields lies inside of the array.
func FuzzElements(f *testing.F) {
	f.Add([]byte{})
	f.Add(slices.Concat([]byte{0x0a, 6}, bytesField(1, "text")))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0x0a, 2, 0x0a, 0x7f})
	f.Add([]byte{0x0b, 0x0c})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b span.Batch
		b.AddText("front")
		run := b.AddString(raw)
		b.AddText("behind")
		e := b.Elements(span.StrValue(span.TypeArray, run))
		for n := 0; ; n++ {
			v, ok := e.Next()
			if !ok {
				break
			}
			if n > len(raw) {
				t.Fatal("more elements than bytes")
			}
			if s := v.Str(); v.Type.InArena() && (s.Off < run.Off || s.Off+s.Len > run.Off+run.Len) {
				t.Fatalf("element %+v outside of %+v", s, run)
			}
		}
	})
}

func TestElementsOfRandomBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		raw := make([]byte, r.IntN(40))
		for i := range raw {
			raw[i] = byte(r.IntN(64))
		}
		var b span.Batch
		e := b.Elements(span.StrValue(span.TypeStrings, b.AddString(raw)))
		for n := 0; ; n++ {
			if _, ok := e.Next(); !ok {
				break
			} else if n > len(raw) {
				t.Fatalf("%x does not end", raw)
			}
		}
	}
}
