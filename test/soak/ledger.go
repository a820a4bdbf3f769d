package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
)

// entry is what is known of one batch.
type entry struct {
	first int64 // when it was tried first, on the fast clock, ns
	last  int64 // when a copy of it was tried last
	acked bool
	tries int
}

// ledger is what was tried, acknowledged and kept. The parent's outlives every life; a life gets a copy at its start.
type ledger struct {
	mu      sync.Mutex
	batches map[int]entry
	kept    map[int]int64 // batch -> until, 0 for ever
	next    int
	open    map[int]int64 // tries under way in this life: batch -> first
}

func newLedger() *ledger {
	return &ledger{batches: make(map[int]entry), kept: make(map[int]int64), open: make(map[int]int64)}
}

func (l *ledger) try(n int, first, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.batches[n]
	l.batches[n] = entry{first: first, last: max(now, e.last), acked: e.acked, tries: e.tries + 1}
	l.open[n] = first
	l.next = max(l.next, n+1)
}

func (l *ledger) ack(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.batches[n]
	e.acked = true
	l.batches[n] = e
	delete(l.open, n)
}

func (l *ledger) keep(n int, until int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[n] = until
}

// take is the number of the next batch, which is new.
func (l *ledger) take() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	return l.next - 1
}

// settled is an instant before which no try is under way.
func (l *ledger) settled(now int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, first := range l.open {
		now = min(now, first)
	}
	return now - spread
}

// between are the batches first tried in a range, by number.
func (l *ledger) between(from, to int64) map[int]entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := make(map[int]entry)
	for n, e := range l.batches {
		if e.first >= from && e.first < to {
			found[n] = e
		}
	}
	return found
}

// pick is some batch that is, -1 if there is none. The order of the numbers is that of time.
func (l *ledger) pick(r *rand.Rand, is func(entry) bool) (int, entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range 50 {
		if l.next == 0 {
			break
		}
		n := r.IntN(l.next)
		if e, ok := l.batches[n]; ok && is(e) {
			return n, e
		}
	}
	return -1, entry{}
}

func (l *ledger) pickKept(r *rand.Rand) (int, entry, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) == 0 {
		return -1, entry{}, 0
	}
	numbers := slices.Sorted(maps.Keys(l.kept))
	n := numbers[r.IntN(len(numbers))]
	return n, l.batches[n], l.kept[n]
}

// write gives a life its copy; read is the inverse.
func (l *ledger) write(w io.Writer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, l.next, len(l.batches), len(l.kept))
	for _, n := range slices.Sorted(maps.Keys(l.batches)) {
		e := l.batches[n]
		fmt.Fprintln(out, n, e.first, e.last, e.acked, e.tries)
	}
	for _, n := range slices.Sorted(maps.Keys(l.kept)) {
		fmt.Fprintln(out, n, l.kept[n])
	}
	clear(l.open) // whoever was trying is dead
	return out.Flush()
}

func readLedger(r io.Reader) (*ledger, error) {
	in := bufio.NewReader(r)
	l := newLedger()
	var batches, kept int
	if _, err := fmt.Fscanln(in, &l.next, &batches, &kept); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	for range batches {
		var n int
		var e entry
		if _, err := fmt.Fscanln(in, &n, &e.first, &e.last, &e.acked, &e.tries); err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		l.batches[n] = e
	}
	for range kept {
		var n int
		var until int64
		if _, err := fmt.Fscanln(in, &n, &until); err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		l.kept[n] = until
	}
	return l, nil
}
