package mem

import (
	"slices"

	"github.com/spanloom/spanloom/store"
)

// found is a trace that may be on the page.
type found struct {
	rank
	summary store.Summary
}

// top keeps the first n of all ranks given to it: a heap whose root is the last of them.
type top struct {
	n    int
	heap []found
}

func newTop(n int) *top { return &top{n: n} }

// wants reports whether a rank would be among the first n. Ranks are distinct but for bounds with a zero trace id, which
// come before all traces of their start.
func (t *top) wants(r rank) bool { return len(t.heap) < t.n || r.compare(t.heap[0].rank) < 0 }

func (t *top) add(f found) {
	h := t.heap
	if len(h) < t.n {
		h = append(h, f)
		t.heap = h
		for i := len(h) - 1; i > 0; {
			up := (i - 1) / 2
			if h[up].compare(h[i].rank) >= 0 {
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
			if h[last].compare(h[kid].rank) < 0 {
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

// sorted ends the heap.
func (t *top) sorted() []found {
	slices.SortFunc(t.heap, func(a, b found) int { return a.compare(b.rank) })
	return t.heap
}
