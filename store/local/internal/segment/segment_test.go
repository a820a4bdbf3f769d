package segment

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/storetest"
)

const text = `
1 a - front server get 0s 1ms k=1 s=hallo
  event one 1ms e=1 e="zwei"
  event two 2ms
  link ab000000000000000000000000000001 b k=1 @state=x=y @flags=257 @dropped=9
  link - - k=[true]
1 b a "" 9 - 1ms -1ms @bare
1 c b front internal same 1ms none resource:pod=front-1 @status=7
1 d b front internal same 2ms 0s resource:pod=front-1 @resource.url=https://example.test/r
1 e 1 front client same =946684800000000000 =18446744073709551615 @scope=lib @status=ok
2 a - "ein laden" consumer "ü" 3ms 1ns resource:service.name=other @mark=serviceDerived,nameDerived
2 b a cart server put 4ms 5ms k=1.5 k=true k=null list=["a","b"] list=[1,2] @weight=4 @message=failed @state=a=b @group=g @namespace=n`

// write makes a segment of batches.
func write(t testing.TB, blockRows int, batches ...*span.Batch) []byte {
	t.Helper()
	tab := table.New(0)
	for _, b := range batches {
		tab.Append(b)
	}
	var out bytes.Buffer
	w := NewWriter(&out)
	if err := WriteTable(t.Context(), w, tab, blockRows, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readAll reads all rows of a segment as a batch a block, step rows at a time (0: all).
func readAll(p []byte, step int) (list []*span.Batch, err error) {
	r, err := Open(p)
	if err != nil {
		return nil, err
	}
	side, err := r.Side()
	if err != nil {
		return nil, err
	}
	for i := range r.Blocks() {
		rows, err := r.Read(i, side)
		if err != nil {
			return nil, err
		}
		all := make([]uint32, rows.Len())
		for row := range all {
			all[row] = uint32(row)
		}
		take := func(some []uint32) error {
			v, err := rows.View(store.Everything(), some)
			if err != nil {
				return err
			}
			n := len(some)
			if some == nil {
				n = rows.Len()
			}
			b := table.NewFiller(store.Everything()).Batch(v, nil, 0, n)
			if err := b.Check(); err != nil {
				return err
			}
			list = append(list, b.Clone())
			return nil
		}
		if step == 0 {
			if err := take(nil); err != nil {
				return nil, err
			}
			continue
		}
		for some := range slices.Chunk(all, step) {
			if err := take(some); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

func TestRowsComeBack(t *testing.T) {
	batches := map[string][]*span.Batch{
		"text":    {storetest.Batch(t, text)},
		"traffic": generated(2000, load.FormOTLP),
		"zipkin":  generated(500, load.FormZipkin),
	}
	for name, list := range batches {
		for _, blockRows := range []int{0, 1, 3, 100} {
			for _, step := range []int{0, 1, 7} {
				if name != "text" && (blockRows == 1 || step == 1) {
					continue
				}
				got, err := readAll(write(t, blockRows, list...), step)
				if err != nil {
					t.Fatalf("%s in blocks of %d: %v", name, blockRows, err)
				}
				if got, want := storetest.Print(got...), storetest.Print(list...); got != want {
					t.Fatalf("%s in blocks of %d, %d rows at a time:\n%.3000s\nwant:\n%.3000s", name, blockRows, step, got, want)
				}
			}
		}
	}
}

func generated(spans int, form load.Form) (list []*span.Batch) {
	d := load.New(7, time.Unix(1_780_000_000, 0), 0, form)
	b := new(span.Batch)
	rows := d.Rows(b)
	var trace load.Trace
	for no := uint64(0); spans > 0; no++ {
		d.Trace(no, &trace)
		rows.All(&trace)
		spans -= len(trace.Spans)
		if b.Len() > 500 || spans <= 0 {
			b.Received = 1_780_000_000e9 + int64(no)
			list = append(list, b)
			b = new(span.Batch)
			rows.Reset(b)
		}
	}
	return list
}

// Every flipped bit of a file is either noticed or changes nothing of the answer.
func TestFlippedBits(t *testing.T) {
	batch := storetest.Batch(t, text)
	p := write(t, 4, batch)
	want := storetest.Print(batch)
	noticed := 0
	for i := range p {
		for _, bit := range []byte{1, 0x80} {
			p[i] ^= bit
			list, err := readAll(p, 0)
			p[i] ^= bit
			switch {
			case errors.Is(err, ErrDamaged) || errors.Is(err, ErrNewer):
				noticed++
			case err != nil:
				t.Fatalf("byte %d: %v", i, err)
			case storetest.Print(list...) != want:
				t.Fatalf("byte %d: a wrong answer without an error", i)
			}
		}
	}
	if noticed < len(p) {
		t.Errorf("only %d of %d flipped bits were noticed", noticed, 2*len(p))
	}
}

func TestCutFiles(t *testing.T) {
	p := write(t, 4, storetest.Batch(t, text))
	for n := range p {
		if _, err := readAll(p[:n], 0); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	const spans = 200_000
	list := generated(spans, load.FormOTLP)
	b.Run("table", func(b *testing.B) {
		for b.Loop() {
			t := table.New(spans)
			for _, batch := range list {
				t.Append(batch)
			}
			b.ReportMetric(float64(t.Used())/spans, "B/row")
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/spans, "ns/span")
	})
	t := table.New(spans)
	for _, batch := range list {
		t.Append(batch)
	}
	b.Run("segment", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var out bytes.Buffer
			w := NewWriter(&out)
			if err := WriteTable(b.Context(), w, t, 0, nil); err != nil {
				b.Fatal(err)
			}
			info, err := w.Finish(nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Bytes)/float64(info.Rows), "B/span")
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/spans, "ns/span")
	})
	var out bytes.Buffer
	w := NewWriter(&out)
	if err := WriteTable(b.Context(), w, t, 0, nil); err != nil {
		b.Fatal(err)
	}
	if _, err := w.Finish(nil); err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			r, err := Open(out.Bytes())
			if err != nil {
				b.Fatal(err)
			}
			side, err := r.Side()
			if err != nil {
				b.Fatal(err)
			}
			for i := range r.Blocks() {
				rows, err := r.Read(i, side)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := rows.View(store.Everything(), nil); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/spans, "ns/span")
	})
}
