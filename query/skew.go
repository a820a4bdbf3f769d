package query

import (
	"cmp"
	"slices"
	"strings"
)

// Clock is the clock of a place as a trace's calls show it against the clock of its root: a node, else a pod, else a
// workload. It is an estimate for a view; raw times are never changed.
type Clock struct {
	Name   string
	Shift  int64  // ns to add to its times to fit the root's clock; 0 where raw times are possible
	Low    int64  // between these every shift lets each server's span lie inside of its client's
	High   int64  //
	Pairs  int    // calls that show it
	Linked bool   // calls join it to the root's clock
	Note   string // why a shift is doubtful; empty if it is not
}

// Skew is the clocks of a trace, the root's first, then by name, and which one each row ran by.
type Skew struct {
	Clocks []Clock
	Of     []int32 // row -> clock; -1 of placeholders
}

// EstimateSkew looks at all calls between two clocks: a server's span lies within its client's, so each call says between
// which bounds the difference of the clocks is. The shift is 0 if the bounds of all of them allow it, else the middle of
// what they allow. Where they contradict each other (tries that went on after their caller gave up), the middle of
// contradicting bounds is noted as doubtful.
func EstimateSkew(t *Trace) Skew {
	s := Skew{Of: make([]int32, len(t.Rows))}
	byName := make(map[string]int32)
	for i := range t.Rows {
		r := &t.Rows[i]
		if s.Of[i] = -1; r.Span < 0 {
			continue
		}
		name := ownClock(t, r)
		if name == "" {
			// Beside a sidecar or below another span of the same workload: theirs.
			if p := r.Parent; p >= 0 && s.Of[p] >= 0 && t.Services[t.Rows[p].Service].Group == t.Services[r.Service].Group {
				s.Of[i] = s.Of[p]
				continue
			}
			name = workloadName(t.Services[r.Service])
		}
		c, ok := byName[name]
		if !ok {
			c = int32(len(s.Clocks))
			byName[name] = c
			s.Clocks = append(s.Clocks, Clock{Name: name})
		}
		s.Of[i] = c
	}
	type pair struct{ client, server int32 }
	type bounds struct {
		low, high int64
		n         int
	}
	pairs := make(map[pair]*bounds)
	for i := range t.Rows {
		r := &t.Rows[i]
		if r.Parent < 0 || s.Of[i] < 0 || s.Of[r.Parent] < 0 || s.Of[i] == s.Of[r.Parent] || r.Flags&FlagTimeReplaced != 0 {
			continue
		}
		p := &t.Rows[r.Parent]
		if !serves(r.Kind) || !calls(p.Kind) || p.Flags&FlagTimeReplaced != 0 || stage(r) == noStage {
			continue
		}
		low, high := p.Start-r.Start, p.End()-r.End()
		if low > high { // the server went on after the client had given up: only the start says something
			high = p.End() - r.Start
		}
		key := pair{s.Of[r.Parent], s.Of[i]}
		if b := pairs[key]; b == nil {
			pairs[key] = &bounds{low, high, 1}
		} else {
			b.low, b.high, b.n = max(b.low, low), min(b.high, high), b.n+1
		}
	}
	// From the root's clock outwards.
	if len(s.Clocks) == 0 {
		return s
	}
	s.Clocks[0].Linked = true
	order := sortedPairs(pairs, func(a, b pair) int { return cmp.Or(cmp.Compare(a.client, b.client), cmp.Compare(a.server, b.server)) })
	front := make([]bool, len(s.Clocks))
	front[0] = true
	for more := true; more; {
		more = false
		next := make([]bool, len(s.Clocks))
		for _, p := range order {
			from, to, sign := p.client, p.server, int64(1)
			if !front[from] || s.Clocks[to].Linked {
				from, to, sign = p.server, p.client, -1
				if !front[from] || s.Clocks[to].Linked {
					continue
				}
			}
			b, c := pairs[p], &s.Clocks[to]
			low, high := b.low, b.high
			if sign < 0 {
				low, high = -b.high, -b.low
			}
			if low > high {
				low, high = high, low
				c.Note = "calls contradict each other"
			}
			shift := int64(0)
			if low > 0 || high < 0 {
				shift = low + (high-low)/2
			}
			base := s.Clocks[from].Shift
			c.Shift, c.Low, c.High, c.Pairs, c.Linked = base+shift, base+low, base+high, b.n, true
			next[to], more = true, true
		}
		front = next
	}
	return s
}

func sortedPairs[K comparable, V any](m map[K]V, less func(a, b K) int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, less)
	return keys
}

func workloadName(s ServiceName) string {
	if s.Namespace != "" {
		return s.Group + "." + s.Namespace
	}
	return s.Group
}

// ownClock is the place whose clock a row says it ran by: containers of a pod share its clock, pods of a node the node's.
func ownClock(t *Trace, r *Row) string {
	if node := t.resourceAttr(r, "k8s.node.name"); node != "" {
		return node
	}
	if id := strings.Split(t.attr(r, "node_id"), "~"); len(id) > 2 {
		pod, _, _ := strings.Cut(id[2], ".")
		return pod
	}
	if pod := t.resourceAttr(r, "k8s.pod.name"); pod != "" {
		return pod
	}
	return ""
}
