package compact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/storetest"
)

// write makes a segment of batches, which have sequences from first on.
func write(t testing.TB, blockRows int, first uint64, batches ...*span.Batch) []byte {
	t.Helper()
	tab := table.New(0)
	for _, b := range batches {
		tab.Append(b)
	}
	var out bytes.Buffer
	w := segment.NewWriter(&out)
	w.Range(first, first+uint64(len(batches))-1)
	if err := segment.WriteTable(t.Context(), w, tab, blockRows, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func reader(t testing.TB, p []byte) *segment.Reader {
	t.Helper()
	r, err := segment.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// merge joins segments and gives the bytes of the result.
func merge(t testing.TB, o Options, inputs ...[]byte) ([]byte, Stats) {
	t.Helper()
	var readers []*segment.Reader
	for _, p := range inputs {
		readers = append(readers, reader(t, p))
	}
	var out bytes.Buffer
	w := segment.NewWriter(&out)
	s, err := Merge(t.Context(), w, readers, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), s
}

// rows reads all rows of a segment, a batch a block.
func rows(t testing.TB, p []byte) (list []*span.Batch) {
	t.Helper()
	r := reader(t, p)
	side, err := r.Side()
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Blocks() {
		b, err := r.Read(i, side)
		if err != nil {
			t.Fatal(err)
		}
		v, err := b.View(store.Everything(), nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, table.NewFiller(store.Everything()).Batch(v, nil, 0, b.Len()).Clone())
	}
	return list
}

// random makes batches in which spans come again, later and with other ends, in other batches.
func random(t testing.TB, r *rand.Rand, batches int) (list []*span.Batch) {
	t.Helper()
	for i := range batches {
		b := storetest.Batch(t, storetest.RandomText(r, 1+r.IntN(60), 12, 0))
		b.Received += int64(i) * int64(time.Second)
		list = append(list, b)
		if i > 0 && r.IntN(2) == 0 { // some spans are sent again, some of them with another end
			again := list[r.IntN(len(list))].Clone()
			again.Keep(func(int) bool { return r.IntN(3) > 0 })
			for row := range again.Len() {
				again.End[row] += uint64(r.IntN(3)-1) * uint64(r.IntN(2)) * 1000
			}
			again.Received = b.Received + 1
			if again.Len() > 0 {
				list = append(list, again)
			}
		}
	}
	return list
}

// TestMergedIsAsWrittenAtOnce cuts random batches into segments and joins those: the same rows as one segment of all batches has.
func TestMergedIsAsWrittenAtOnce(t *testing.T) {
	seeds := uint64(12)
	if os.Getenv("SPANLOOM_LONG") == "1" {
		seeds = 150
	}
	duplicates, blocks := int64(0), 0
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 5))
		batches := random(t, r, 2+r.IntN(12))
		blockRows := []int{0, 1, 7, 50}[r.IntN(4)]
		var inputs [][]byte
		for from := 0; from < len(batches); {
			to := min(len(batches), from+1+r.IntN(4))
			inputs = append(inputs, write(t, []int{0, 1, 5, 30}[r.IntN(4)], uint64(from+1), batches[from:to]...))
			from = to
		}
		want := write(t, blockRows, 1, batches...)
		for _, long := range []int{0, 10} { // traces are long from 10 rows on: their impossible starts may leave copies
			got, s := merge(t, Options{BlockRows: blockRows, longTrace: long}, inputs...)
			what := fmt.Sprintf("seed %d, %d inputs, blocks of %d, long %d", seed, len(inputs), blockRows, long)
			if long == 0 {
				same(t, what, got, want)
			} else {
				sameSpans(t, what, got, want)
			}
			info := reader(t, got).Info()
			if int64(info.Rows) != s.Rows || info.FirstSeq != 1 || info.LastSeq != uint64(len(batches)) {
				t.Fatalf("%s: %+v, %+v", what, info, s)
			}
			duplicates += s.Duplicates
			blocks += s.Blocks
		}
		// And what was joined is joined again.
		if n := len(inputs) / 2; n > 0 {
			left, _ := merge(t, Options{BlockRows: blockRows}, inputs[:n]...)
			right, _ := merge(t, Options{BlockRows: blockRows}, inputs[n:]...)
			got, _ := merge(t, Options{BlockRows: blockRows}, left, right)
			same(t, fmt.Sprintf("seed %d, twice", seed), got, want)
		}
	}
	if duplicates == 0 || blocks == 0 {
		t.Errorf("%d duplicates, %d blocks: too easy", duplicates, blocks)
	}
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if g, w := storetest.Print(rows(t, got)...), storetest.Print(rows(t, want)...); g != w {
		t.Fatalf("%s:\ngot\n%.3000s\nwant\n%.3000s", what, g, w)
	}
	order(t, what, got)
}

// sameSpans compares what a reader makes of the rows: of each identity the one that stays.
func sameSpans(t *testing.T, what string, got, want []byte) {
	t.Helper()
	distinct := func(p []byte) map[span.Identity]uint64 {
		m := make(map[span.Identity]uint64)
		for _, b := range rows(t, p) {
			for row := range b.Len() {
				m[b.Identity(row)] = max(m[b.Identity(row)], b.End[row])
			}
		}
		return m
	}
	g, w := distinct(got), distinct(want)
	if len(g) != len(w) {
		t.Fatalf("%s: %d spans, want %d", what, len(g), len(w))
	}
	for id, end := range w {
		if g[id] != end {
			t.Fatalf("%s: %v ends at %d, want %d", what, id, g[id], end)
		}
	}
	order(t, what, got)
}

// order checks that the rows of a trace stand together, and traces in the order of their first start.
func order(t *testing.T, what string, p []byte) {
	t.Helper()
	seen := make(map[span.TraceID]bool)
	var last span.TraceID
	var start int64
	for _, b := range rows(t, p) {
		for row, id := range b.TraceID {
			if id != last {
				if seen[id] {
					t.Fatalf("%s: rows of trace %s don't stand together", what, id)
				}
				seen[id] = true
				last = id
			} else if b.Time[row] < start {
				t.Fatalf("%s: rows of trace %s are not in the order of their starts", what, id)
			}
			start = b.Time[row]
		}
	}
}

// TestRowsHook: what the hook is given is what the segment holds, whole traces.
func TestRowsHook(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	var inputs [][]byte
	for i, b := range random(t, r, 8) {
		inputs = append(inputs, write(t, 10, uint64(i+1), b))
	}
	var got []*span.Batch
	paced := 0
	traces := make(map[span.TraceID]bool)
	p, s := merge(t, Options{BlockRows: 20,
		Rows: func(v *table.View, some []uint32) error {
			b := table.NewFiller(store.Everything()).Batch(v, some, 0, 0).Clone()
			here := make(map[span.TraceID]bool)
			for _, id := range b.TraceID {
				if traces[id] && !here[id] {
					t.Errorf("trace %s comes in two calls", id)
				}
				traces[id], here[id] = true, true
			}
			got = append(got, b)
			return nil
		},
		Pace: func(n int) error { paced += n; return nil },
	}, inputs...)
	if g, w := storetest.Print(got...), storetest.Print(rows(t, p)...); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	if int64(paced) != s.Rows || int64(len(traces)) != s.Traces {
		t.Errorf("%d rows were paced, %d traces seen: %+v", paced, len(traces), s)
	}
}

// TestNeighboursAreDecodedOnce: segments of traffic one after the other cost one pass over each, however many there are.
func TestNeighboursAreDecodedOnce(t *testing.T) {
	var inputs [][]byte
	blocks, spans := 0, 0
	for i, list := range traffic(40_000, 8) {
		p := write(t, 500, uint64(i*100+1), list...)
		inputs = append(inputs, p)
		blocks += len(reader(t, p).Blocks())
		spans += reader(t, p).Info().Rows
	}
	p, s := merge(t, Options{BlockRows: 500}, inputs...)
	if s.Blocks > blocks+blocks/10 {
		t.Errorf("%d blocks were decoded %d times", blocks, s.Blocks)
	}
	if got := reader(t, p).Info().Rows; got != spans || s.Duplicates != 0 {
		t.Errorf("%d rows of %d, %d duplicates", got, spans, s.Duplicates)
	}
}

// traffic is load's spans in so many lists of batches, as memtables one after the other would have them: a trace is reported in
// several batches.
func traffic(spans, lists int) [][]*span.Batch {
	d := load.New(7, time.Unix(1_780_000_000, 0), 0, load.FormOTLP)
	out := make([][]*span.Batch, lists)
	b := new(span.Batch)
	rows := d.Rows(b)
	var trace load.Trace
	done := 0
	for no := uint64(0); done < spans; no++ {
		d.Trace(no, &trace)
		rows.All(&trace)
		done += len(trace.Spans)
		if b.Len() < 500 && done < spans {
			continue
		}
		b.Received = 1_780_000_000e9 + int64(no)
		late := b.Clone() // what its reporters send later, into the next memtable
		b.Keep(func(row int) bool { return row%10 != 0 || b.Len()-row > 200 })
		late.Keep(func(row int) bool { return row%10 == 0 && late.Len()-row <= 200 })
		at := min(done*lists/spans, lists-1)
		out[at] = append(out[at], b)
		if late.Len() > 0 {
			at = min(at+1, lists-1)
			out[at] = append(out[at], late)
		}
		b = new(span.Batch)
		rows.Reset(b)
	}
	return out
}

func TestCancelled(t *testing.T) {
	var readers []*segment.Reader
	for i, list := range traffic(20_000, 4) {
		readers = append(readers, reader(t, write(t, 100, uint64(i+1), list...)))
	}
	for after := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		_, err := Merge(ctx, segment.NewWriter(new(bytes.Buffer)), readers, Options{BlockRows: 100, Pace: func(int) error {
			if n++; n > after {
				cancel()
			}
			return nil
		}})
		if !errors.Is(err, context.Canceled) || n != after+1 {
			t.Errorf("cancelled after %d blocks: %v after %d", after, err, n)
		}
	}
	stop := errors.New("stop")
	if _, err := Merge(t.Context(), segment.NewWriter(new(bytes.Buffer)), readers, Options{Pace: func(int) error { return stop }}); !errors.Is(err, stop) {
		t.Errorf("stopped: %v", err)
	}
}

// TestDamagedInput: nothing is left out silently.
func TestDamagedInput(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	var inputs [][]byte
	for i, b := range random(t, r, 3) {
		inputs = append(inputs, write(t, 10, uint64(i+1), b))
	}
	want, _ := merge(t, Options{}, inputs...)
	text := storetest.Print(rows(t, want)...)
	for i := 0; i < len(inputs[1]); i += 3 {
		p := slices.Clone(inputs[1])
		p[i] ^= 0x10
		bad, err := segment.Open(p)
		if err != nil {
			continue
		}
		var out bytes.Buffer
		w := segment.NewWriter(&out)
		_, err = Merge(t.Context(), w, []*segment.Reader{reader(t, inputs[0]), bad, reader(t, inputs[2])}, Options{})
		if err == nil {
			if _, err = w.Finish(nil); err == nil && storetest.Print(rows(t, out.Bytes())...) == text {
				continue // a section that a merge doesn't read
			}
		}
		if !errors.Is(err, segment.ErrDamaged) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

func BenchmarkMerge(b *testing.B) {
	var readers []*segment.Reader
	spans := 0
	for i, list := range traffic(200_000, 8) {
		readers = append(readers, reader(b, write(b, 0, uint64(i+1), list...)))
		spans += readers[i].Info().Rows
	}
	b.ReportAllocs()
	for b.Loop() {
		w := segment.NewWriter(new(bytes.Buffer))
		if _, err := Merge(b.Context(), w, readers, Options{}); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Finish(nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(spans), "ns/span")
}
