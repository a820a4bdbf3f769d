package rollup_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// TestBounded sends 200,000 spans, each with an operation and a host of its own, many with a service of their own: the table stays within its limits, names who made
// them, and every span is counted.
func TestBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("counts 200,000 spans")
	}
	b := rollup.NewBuilder()
	const batches, rows = 50, 4_000
	base := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	r := rand.New(rand.NewPCG(1, 2))
	batch := &span.Batch{}
	for i := range batches {
		batch.Reset()
		batch.Resources, batch.Scopes = append(batch.Resources, span.Resource{}), append(batch.Scopes, span.Scope{})
		for j := range rows {
			row := batch.AddRow()
			batch.TraceID[row], batch.SpanID[row] = span.TraceIDFromUint64s(1, r.Uint64()), span.SpanIDFromUint64(r.Uint64()|1)
			batch.Name[row] = batch.AddText(fmt.Sprintf("op-%c%c-%dx", 'g'+rune(j%20), 'g'+rune(i%20), i*rows+j))
			service := batch.AddText("bad")
			if j%4 == 0 {
				service = batch.AddText(fmt.Sprintf("svc-%dx", i*rows+j))
			}
			batch.Service[row], batch.Group[row] = service, service
			batch.Kind[row] = span.KindServer + span.Kind(j%2)
			batch.Time[row] = base + int64(j%5)*rollup.Minute
			batch.Start[row] = uint64(batch.Time[row])
			batch.End[row] = batch.Start[row] + 1000
			mark := batch.AttrMark()
			batch.AddTextAttr("server.address", fmt.Sprintf("h%d.example.com", i*rows+j))
			batch.SpanAttrs[row] = batch.AttrsSince(mark)
		}
		b.Add(batch)
	}
	table := b.Table()
	var n int64
	offender := false
	for k, cells := range table.Series() {
		offender = offender || k.Service == "bad" && k.Operation == rollup.Other
		for _, c := range cells {
			n += c.N
		}
	}
	if n+table.Uncounted != batches*rows || table.Uncounted != 0 {
		t.Errorf("%d spans counted and %d not, want %d", n, table.Uncounted, batches*rows)
	}
	if !offender {
		t.Error("no overflow key names the service that made the operations")
	}
	if table.Keys() > rollup.MaxKeys {
		t.Errorf("%d keys", table.Keys())
	}
	p := table.AppendBinary(nil)
	back, err := rollup.Decode(p)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.AppendBinary(nil), p) {
		t.Error("the decoded table has other bytes")
	}
	t.Logf("%d keys, %d cells, %d bytes", table.Keys(), table.Cells(), len(p))
}

// TestSplitAnywhere: traffic in one segment, and the same in several cut between traces, give the same table.
func TestSplitAnywhere(t *testing.T) {
	whole := rollup.NewBuilder()
	whole.Add(traffic(t, 400))
	merged := rollup.New()
	d := load.New(1, time.Unix(1_790_000_000, 0), 100, load.FormOTLP)
	for part := range 4 {
		b := &span.Batch{}
		rows := d.Rows(b)
		var tr load.Trace
		for no := part * 100; no < part*100+100; no++ {
			d.Trace(uint64(no), &tr)
			rows.All(&tr)
		}
		builder := rollup.NewBuilder()
		builder.Add(b)
		merged.Merge(builder.Table())
	}
	if got, want := show(merged), show(whole.Table()); got != want {
		t.Errorf("merged\n%s\nat once\n%s", got, want)
	}
}

// TestMergeRange takes whole minutes only, and makes cells wider where there are too many.
func TestMergeRange(t *testing.T) {
	batch := &span.Batch{Resources: make([]span.Resource, 1), Scopes: make([]span.Scope, 1)}
	service := batch.AddText("a")
	const minutes = 5_000
	for i := range minutes {
		row := batch.AddRow()
		batch.TraceID[row], batch.SpanID[row] = span.TraceIDFromUint64s(0, uint64(i+1)), span.SpanIDFromUint64(1)
		batch.Service[row], batch.Group[row], batch.Kind[row] = service, service, span.KindServer
		batch.Time[row] = int64(i) * rollup.Minute
	}
	total := func(t *rollup.Table) (n int64, cells int) {
		for _, list := range t.Series() {
			for _, c := range list {
				n += c.N
			}
			cells += len(list)
		}
		return n, cells
	}
	merged, part := rollup.New(), rollup.New()
	for i := 0; i < minutes; i += 1000 {
		b := rollup.NewBuilder()
		chunk := &span.Batch{}
		c := span.NewCopier(chunk)
		c.Begin(batch)
		for row := i; row < i+1000; row++ {
			c.Row(row)
		}
		b.Add(chunk)
		merged.Merge(b.Table())
		part.MergeRange(b.Table(), store.TimeRange{From: 10*rollup.Minute - 1, To: 20*rollup.Minute + 1})
	}
	if n, cells := total(merged); n != minutes || merged.Step() <= rollup.Minute || cells > 2048 {
		t.Errorf("%d spans in %d cells of %s, want %d in fewer, wider ones", n, cells, time.Duration(merged.Step()), minutes)
	}
	if n, cells := total(part); n != 10 || cells != 10 || part.Step() != rollup.Minute {
		t.Errorf("%d spans in %d cells of the minutes 10 to 19", n, cells)
	}
}

func FuzzDecode(f *testing.F) {
	b := rollup.NewBuilder()
	b.Add(traffic(f, 3))
	p := b.Table().AppendBinary(nil)
	f.Add(p)
	f.Add(p[:len(p)/2])
	f.Add(rollup.New().AppendBinary(nil))
	f.Add([]byte{1, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		table, err := rollup.Decode(p)
		if err != nil {
			return
		}
		again, err := rollup.Decode(table.AppendBinary(nil))
		if err != nil {
			t.Fatalf("what was read cannot be written and read: %v", err)
		}
		merged := rollup.New()
		merged.Merge(table)
		merged.Merge(again)
		for range merged.Series() {
		}
		for range merged.Edges() {
		}
	})
}
