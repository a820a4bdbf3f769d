package clickhouse

import (
	"fmt"
	"slices"
	"testing"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/remote"
	"github.com/spanloom/spanloom/store/storetest"
)

func cluster(weights ...uint64) division {
	var list []*shard
	for i, w := range weights {
		list = append(list, &shard{number: uint32(i + 1), weight: w})
	}
	return divide(list)
}

// TestDivision counts slots off along the shards, by their weights.
func TestDivision(t *testing.T) {
	for _, c := range []struct {
		weights []uint64
		want    []int // of ids whose lower half is 0, 1, 2 ...
	}{
		{[]uint64{1}, []int{0, 0, 0}},
		{[]uint64{1, 1}, []int{0, 1, 0, 1}},
		{[]uint64{1, 2}, []int{0, 1, 1, 0, 1, 1, 0}},
		{[]uint64{3, 1}, []int{0, 0, 0, 1, 0, 0, 0, 1}},
		{[]uint64{0, 2, 0, 0, 1, 0}, []int{1, 1, 4, 1, 1, 4}},
	} {
		d := cluster(c.weights...)
		var got []int
		for low := range c.want {
			got = append(got, d.shard(span.TraceIDFromUint64s(7, uint64(low))))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("weights %v: shards %v, want %v", c.weights, got, c.want)
		}
	}
	if d := divide([]*shard{{}}); d.shard(span.TraceIDFromUint64s(1, 1<<63+5)) != 0 || d.name != "" {
		t.Errorf("without a cluster: %v", d)
	}
	names := make(map[string]bool)
	for _, weights := range [][]uint64{{1}, {2}, {1, 1}, {1, 2}, {2, 1}, {1, 1, 1}} {
		names[cluster(weights...).name] = true
	}
	if len(names) != 6 {
		t.Errorf("6 divisions have %d names", len(names))
	}
}

// TestPieces gives every row to one shard, with all others of its trace, in order.
func TestPieces(t *testing.T) {
	var batches []*span.Batch
	for b := range 3 {
		text := ""
		for i := range 10 * b {
			text += fmt.Sprintf("%x %x - front server get 0s 1ms\n", 1+(i*7)%5, i+1)
		}
		batches = append(batches, storetest.Batch(t, text))
	}
	d := cluster(1, 0, 2)
	pieces := d.pieces(batches)
	var all []remote.Place
	for s, p := range pieces {
		places := p.places()
		if len(places) != p.len() {
			t.Errorf("shard %d: %d places of %d rows", s, len(places), p.len())
		}
		for _, at := range places {
			if got := d.shard(batches[at.Batch].TraceID[at.Row]); got != s {
				t.Errorf("a row of shard %d is given to shard %d", got, s)
			}
		}
		all = append(all, places...)
		a, b := p.halves()
		if a.len() != p.len()/2 || !slices.Equal(append(a.places(), b.places()...), places) {
			t.Errorf("shard %d: halves %v and %v of %v", s, a, b, p)
		}
	}
	if pieces[1].len() != 0 || len(all) != 30 {
		t.Errorf("%d rows, %d of them on a shard without weight", len(all), pieces[1].len())
	}
	seen := make(map[remote.Place]bool)
	for _, at := range all {
		seen[at] = true
	}
	if len(seen) != 30 {
		t.Errorf("%d different rows of 30", len(seen))
	}
}
