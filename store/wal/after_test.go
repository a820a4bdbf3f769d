package wal

import (
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/spanloom/spanloom/internal/faultfs"
)

func TestFramesInSegmentsAreNotReplayed(t *testing.T) {
	fsys := newFS(t, 1)
	o := options(fsys, Interval)
	l, _ := open(t, o)
	var ends []int64
	var tickets []Ticket
	for n := range 4 {
		tickets = append(tickets, appendBatch(t, l, n))
		ends = append(ends, l.Stats().Bytes)
	}
	l.Close()
	name := fsys.Files(".log")[0]
	o.After = tickets[1].Sequence
	l, got := open(t, o)
	same(t, "replay", got, []int{2, 3})
	l.Close()
	if err := fsys.Flip(name, (ends[0]+frameHeaderSize+20)*8); err != nil { // payload of batch 1
		t.Fatal(err)
	}
	l, got = open(t, o)
	same(t, "replay", got, []int{2, 3})
	if d := l.Stats().Damage; len(d) != 0 {
		t.Errorf("what is safe elsewhere is named as lost: %v", d)
	}
	if n, err := l.DropBefore(o.After+1, 0); n != 0 || err != nil {
		t.Errorf("dropped %d, %v: the file holds frames that are in no segment", n, err)
	}
	l.Close()
	if err := fsys.Flip(name, (ends[1]+frameHeaderSize+20)*8); err != nil { // of batch 2
		t.Fatal(err)
	}
	l, got = open(t, o)
	same(t, "replay", got, []int{3})
	if d := l.Stats().Damage; len(d) != 1 || d[0].Sequence != tickets[2].Sequence {
		t.Errorf("damage %v", d)
	}
	l.Close()
	o.After = tickets[3].Sequence
	l, got = open(t, o)
	same(t, "replay", got, nil)
	if n, err := l.DropBefore(o.After+1, 0); n != 1 || err != nil || len(fsys.Files(".log")) != 0 {
		t.Errorf("dropped %d, %v, files %v", n, err, fsys.Files(".log"))
	}
	l.Close()
}

// TestSequencesGoOnWithoutFiles: where every file went, a new frame must not get a sequence that counts as safe.
func TestSequencesGoOnWithoutFiles(t *testing.T) {
	fsys := newFS(t, 1)
	o := options(fsys, Interval)
	o.After = 41
	l, _ := open(t, o)
	if got := appendBatch(t, l, 0).Sequence; got != 42 {
		t.Errorf("sequence %d", got)
	}
	l.Close()
	_, got := open(t, o)
	same(t, "replay", got, []int{0})
}

func TestRoll(t *testing.T) {
	for _, mode := range []Mode{Interval, Always} {
		fsys := newFS(t, 1)
		o := options(fsys, mode)
		l, _ := open(t, o)
		if last := l.Roll(); last != 0 {
			t.Fatalf("an empty log has frame %d", last)
		}
		for n := range 3 {
			l.Done(appendBatch(t, l, n))
		}
		last := l.Roll()
		if again := l.Roll(); again != last || last != 3 {
			t.Fatalf("last %d, again %d", last, again)
		}
		after := appendBatch(t, l, 3)
		if !after.Rolled || after.Sequence != last+1 || l.Stats().Files != 2 {
			t.Fatalf("the frame behind the border: %+v, %+v", after, l.Stats())
		}
		if n, err := l.DropBefore(last+1, 0); n != 1 || err != nil || l.Stats().Files != 1 {
			t.Fatalf("dropped %d, %v, %+v", n, err, l.Stats())
		}
		l.Close()
		_, got := open(t, o)
		same(t, "replay", got, []int{3})
	}
}

// TestDropAsSegmentsAreWritten lives several lives of a log whose rows move on to segments, with a disk that fails and power that
// goes: a batch is always in a segment or replayed, never both, and the log holds little more than what is in none.
func TestDropAsSegmentsAreWritten(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		mem := newFS(t, seed)
		mode := Mode(seed % 2)
		var through uint64
		flushed, acked := map[int]bool{}, map[int]bool{}
		next, dropped := 0, 0
		for range 1 + r.IntN(4) {
			fsys := faultfs.Inject(mem, nil)
			o := options(fsys, mode)
			o.After, o.FileSize = through, int64(500+r.IntN(3000))
			l, got := open(t, o)
			table := map[int]bool{}
			for _, b := range got {
				if flushed[b] || table[b] {
					t.Fatalf("seed %d: batch %d is in a segment and replayed, or replayed twice", seed, b)
				}
				table[b] = true
			}
			for b := range acked {
				if !flushed[b] && !table[b] {
					t.Fatalf("seed %d: batch %d is lost", seed, b)
				}
			}
			if r.IntN(2) == 0 {
				fsys.SetRule(func(c faultfs.Call) error {
					if r.IntN(20) == 0 {
						return syscall.EIO
					}
					return nil
				})
			}
			durable := maps.Clone(table)
			for range r.IntN(40) {
				if ticket, err := l.Append(batch(next, rows)); err == nil {
					table[next] = true
					if mode == Always {
						durable[next] = true
					}
					l.Done(ticket)
				}
				next++
				if r.IntN(6) == 0 && l.Tick() == nil {
					durable = maps.Clone(table)
				}
				if r.IntN(10) == 0 { // the memtable becomes a segment, which is synced on its own
					through = l.Roll()
					maps.Copy(flushed, table)
					maps.Copy(acked, table)
					clear(table)
					clear(durable)
					n, err := l.DropBefore(through+1, 0)
					dropped += n
					if s := l.Stats(); err == nil && s.Refusing == "" && s.Files > 1 {
						t.Fatalf("seed %d: %d files hold nothing that is needed", seed, s.Files)
					}
				}
			}
			for b := range table {
				if durable[b] {
					acked[b] = true
				}
			}
			mem = mem.PowerCut()
		}
		if seed == 299 && dropped == 0 {
			t.Error("no file was ever dropped")
		}
	}
}

// TestScanAfter: what is passed over is counted nevertheless.
func TestScanAfter(t *testing.T) {
	fsys := newFS(t, 1)
	l, _ := open(t, options(fsys, Interval))
	for n := range 5 {
		appendBatch(t, l, n)
	}
	l.Close()
	for after := range uint64(7) {
		f, err := fsys.Open(fsys.Files(".log")[0])
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		s, err := scanAfter("f", f, after, func(fr Frame) error { got = append(got, fr.Sequence); return nil })
		var want []uint64
		for n := after + 1; n <= 5; n++ {
			want = append(want, n)
		}
		if err != nil || s.frames != 5 || s.last != 5 || !slices.Equal(got, want) {
			t.Errorf("after %d: %v, %d frames, last %d, %v", after, got, s.frames, s.last, err)
		}
		f.Close()
	}
}
