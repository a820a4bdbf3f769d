package answer

import (
	"slices"

	"github.com/spanloom/spanloom/store"
)

// Found is a trace that may be on the page.
type Found struct {
	Rank
	Summary store.Summary
}

// Top keeps the first n of all ranks given to it: a heap whose root is the last of them.
type Top struct {
	n    int
	heap []Found
}

// NewTop makes an empty Top.
func NewTop(n int) *Top { return &Top{n: n} }

// Wants reports whether a rank would be among the first n. Ranks are distinct but for bounds with a zero trace id, which
// come before all traces of their start.
func (t *Top) Wants(r Rank) bool { return len(t.heap) < t.n || r.Compare(t.heap[0].Rank) < 0 }

// Add puts in what Wants wanted.
func (t *Top) Add(f Found) {
	h := t.heap
	if len(h) < t.n {
		h = append(h, f)
		t.heap = h
		for i := len(h) - 1; i > 0; {
			up := (i - 1) / 2
			if h[up].Compare(h[i].Rank) >= 0 {
				break
			}
			h[up], h[i] = h[i], h[up]
			i = up
		}
		return
	}
	h[0] = f
	for i := 0; ; {
		last := i
		for kid := 2*i + 1; kid <= 2*i+2 && kid < len(h); kid++ {
			if h[last].Compare(h[kid].Rank) < 0 {
				last = kid
			}
		}
		if last == i {
			return
		}
		h[last], h[i] = h[i], h[last]
		i = last
	}
}

// Sorted ends the heap.
func (t *Top) Sorted() []Found {
	slices.SortFunc(t.heap, func(a, b Found) int { return a.Compare(b.Rank) })
	return t.heap
}

// Page ends the heap of a page of so many traces, for which one more was kept: their summaries, and the place of the last of them if
// others follow.
func (t *Top) Page(limit int) (traces []store.Summary, more *Rank) {
	found := t.Sorted()
	if len(found) > limit {
		found = found[:limit]
		more = &found[limit-1].Rank
	}
	traces = make([]store.Summary, len(found))
	for i, f := range found {
		traces[i] = f.Summary
	}
	return traces, more
}
