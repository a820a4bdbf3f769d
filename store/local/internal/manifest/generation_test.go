package manifest

import (
	"errors"
	"reflect"
	"testing"

	"github.com/spanloom/spanloom/store/wal"
)

func generation() *Generation {
	return &Generation{Number: 77, Owner: Owner{1, 2, 3}, Through: 900, Next: 12,
		Entries: []Entry{
			{Number: 3, Hour: 497000, Level: 1, Rows: 10, Traces: 2, Bytes: 4000, MinStart: -5, MaxStart: 10, MaxEnd: 20, MinReceived: 7, MaxReceived: 8, First: 4, Last: 9, Sum: 0xdeadbeef},
			{Number: 11, Hour: 497001, Rows: 1, Traces: 1, Bytes: 100, First: 10, Last: 900, Sum: 1},
		},
		Retired: []Retired{{Number: 2, Hour: 497000, Sum: 0xff, Reason: Compacted, At: 123456789}},
	}
}

func TestGenerationComesBack(t *testing.T) {
	want := generation()
	p, err := want.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseGeneration(p)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	// Every flipped bit and every cut is met.
	for i := range p {
		q := append([]byte(nil), p...)
		q[i] ^= 1 << (i % 8)
		if _, err := ParseGeneration(q); err == nil {
			t.Errorf("byte %d may be anything", i)
		}
		if _, err := ParseGeneration(p[:i]); err == nil {
			t.Errorf("%d bytes pass", i)
		}
	}
	p[8]++
	if _, err := ParseGeneration(p); err == nil || errors.Is(err, wal.ErrNewer) { // its checksum is wrong too
		t.Error(err)
	}
}

func TestGenerationNames(t *testing.T) {
	if n, ok := GenerationNumber(GenerationName(1<<63 + 5)); !ok || n != 1<<63+5 {
		t.Error(n, ok)
	}
	for _, name := range []string{"manifest/", "manifest/1", "manifest/00000000000000000000", "x/00000000000000000001", "manifest/0000000000000000000x", "manifest/99999999999999999999"} {
		if n, ok := GenerationNumber(name); ok {
			t.Errorf("%s is %d", name, n)
		}
	}
	e := generation().Entries[0]
	if got := e.Object(); got != "seg/497000/000000000003-deadbeef.seg" {
		t.Error(got)
	}
	if r := (Retired{Number: e.Number, Hour: e.Hour, Sum: e.Sum}); r.Object() != e.Object() {
		t.Error(r.Object())
	}
	if o, err := ParseOwner(generation().Owner.String()); err != nil || o != generation().Owner {
		t.Error(o, err)
	}
}

func FuzzGeneration(f *testing.F) {
	p, err := generation().Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Add(p[:generationHeader])
	f.Fuzz(func(t *testing.T, p []byte) {
		fix(p)
		g, err := ParseGeneration(p)
		if err != nil {
			return
		}
		again, err := g.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if g2, err := ParseGeneration(again); err != nil || !reflect.DeepEqual(g, g2) {
			t.Fatalf("%+v\n%+v\n%v", g, g2, err)
		}
	})
}

// fix makes checksums and length right, so that the fuzzer reaches the body.
func fix(p []byte) {
	if len(p) < generationHeader {
		return
	}
	rest := p[generationHeader:]
	putUint32(p[12:], uint32(len(rest)))
	putUint32(p[40:], checksum(rest))
	putUint32(p[44:], checksum(p[:44]))
}

func putUint32(p []byte, v uint32) {
	for i := range 4 {
		p[i] = byte(v >> (8 * i))
	}
}
