package zipkinapi

import (
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/spanloom/spanloom/span"
)

// linkSpan is a span cut down to what says who called whom. Names are indexes into linker.names; 0 is no name.
type linkSpan struct {
	trace           uint64 // lower half: twins are one
	id, parent      uint64
	start           uint64 // as sent
	address         uint64 // hash of the local endpoint's address; 0 is none
	service, remote uint32
	kind            span.Kind
	shared, failed  bool
}

// link is calls between two services, counted raw.
type link struct {
	parent, child uint32
	calls, errors int64
}

// linker counts calls by Zipkin's rules: a server's span tells of a call from the nearest remote span above it, else from its
// remote endpoint; a client's span without anything below it tells of a call to its remote endpoint; spans of messaging
// link with their broker only; spans without a kind count where they know both sides. Unlike Zipkin's server it does not
// make up a call from the root of a trace to a span whose parent never arrived.
type linker struct {
	spans []linkSpan
	names []string
	index map[string]uint32
	seed  maphash.Seed // of addresses
}

func newLinker() *linker {
	return &linker{names: []string{""}, index: map[string]uint32{"": 0}, seed: maphash.MakeSeed()}
}

func (l *linker) name(text []byte) uint32 {
	i, ok := l.index[string(text)]
	if !ok {
		i = uint32(len(l.names))
		l.names = append(l.names, string(text))
		l.index[string(text)] = i
	}
	return i
}

// links counts the calls of all spans, sorted by parent, then child. Cost: sorting the spans, then one pass with an index
// per trace.
func (l *linker) links() []link {
	slices.SortFunc(l.spans, func(x, y linkSpan) int {
		return cmp.Or(cmp.Compare(x.trace, y.trace), cmp.Compare(x.id, y.id), cmp.Compare(half(&x), half(&y)),
			cmp.Compare(x.service, y.service), cmp.Compare(x.address, y.address), cmp.Compare(x.start, y.start))
	})
	counts := make(map[[2]uint32]link)
	add := func(parent, child uint32, failed bool) {
		key := [2]uint32{parent, child}
		c := counts[key]
		c.parent, c.child, c.calls = parent, child, c.calls+1
		if failed {
			c.errors++
		}
		counts[key] = c
	}
	for from := 0; from < len(l.spans); {
		to := from + 1
		for to < len(l.spans) && l.spans[to].trace == l.spans[from].trace {
			to++
		}
		newLinkTree(merged(l.spans[from:to])).count(add)
		from = to
	}
	list := make([]link, 0, len(counts))
	for _, c := range counts {
		list = append(list, c)
	}
	slices.SortFunc(list, func(x, y link) int {
		return cmp.Or(cmp.Compare(l.names[x.parent], l.names[y.parent]), cmp.Compare(l.names[x.child], l.names[y.child]))
	})
	return list
}

// half orders the spans of one id: the client's, others, shared ones.
func half(s *linkSpan) int {
	switch {
	case s.shared:
		return 2
	case s.kind == span.KindClient:
		return 0
	default:
		return 1
	}
}

// merged joins what was sent of a span in several pieces, and mends what senders leave out: the shared flag of a server's
// half, and its parent. spans are of one trace in the order of links; they are changed in place.
func merged(spans []linkSpan) []linkSpan {
	out := spans[:0]
	for i := range spans {
		s := spans[i]
		if len(out) > 0 {
			last := &out[len(out)-1]
			if last.id == s.id && last.shared == s.shared && last.samePlace(&s) {
				last.join(&s)
				continue
			}
			if last.id == s.id {
				if last.kind == span.KindClient && s.kind == span.KindServer {
					s.shared = true
				}
				if s.parent == 0 {
					s.parent = last.parent
				}
			}
		}
		out = append(out, s)
	}
	return out
}

// samePlace reports whether two local endpoints can be one: what both name is equal.
func (s *linkSpan) samePlace(o *linkSpan) bool {
	return (s.service == o.service || s.service == 0 || o.service == 0) && (s.address == o.address || s.address == 0 || o.address == 0)
}

func (s *linkSpan) join(o *linkSpan) {
	s.parent, s.service, s.remote = cmp.Or(s.parent, o.parent), cmp.Or(s.service, o.service), cmp.Or(s.remote, o.remote)
	s.address, s.kind, s.failed = cmp.Or(s.address, o.address), cmp.Or(s.kind, o.kind), s.failed || o.failed
}

// place tells apart the spans of one id: servers that answer to a client's id each have their own.
type place struct {
	id      uint64
	shared  bool
	service uint32
	address uint64
}

// linkTree is one trace as a tree.
type linkTree struct {
	spans  []linkSpan
	parent []int32 // -1 at the top
	below  []bool  // something has this one as its parent
	root   int32   // the first span without a parent; -1 if all have one
}

func newLinkTree(spans []linkSpan) *linkTree {
	t := &linkTree{spans: spans, parent: make([]int32, len(spans)), below: make([]bool, len(spans)), root: -1}
	at := make(map[place]int32, len(spans))
	for i := range spans {
		s := &spans[i]
		// Spans between two others may lack an endpoint: a shared span is found by its id alone too.
		at[place{id: s.id, shared: s.shared}] = int32(i)
		if s.shared {
			at[place{s.id, true, s.service, s.address}] = int32(i)
		}
	}
	for i := range spans {
		s := &spans[i]
		t.parent[i] = -1
		find := func(p place) bool {
			j, ok := at[p]
			if ok && j != int32(i) {
				t.parent[i], t.below[j] = j, true
			}
			return ok && j != int32(i)
		}
		switch {
		case s.shared:
			_ = find(place{id: s.id}) || s.parent != 0 && find(place{id: s.parent})
		case s.parent != 0:
			_ = find(place{s.parent, true, s.service, s.address}) || find(place{id: s.parent}) || find(place{id: s.parent, shared: true})
		case t.root < 0:
			t.root = int32(i)
		}
	}
	return t
}

// above is the nearest span above one that has a kind; nil if there is none. Broken traces may hold cycles: the walk ends.
func (t *linkTree) above(i int) *linkSpan {
	at := t.parent[i]
	for range t.spans {
		if at < 0 {
			return nil
		}
		if remote(t.spans[at].kind) {
			return &t.spans[at]
		}
		at = t.parent[at]
	}
	return nil
}

// remote reports whether a kind is one that Zipkin knows.
func remote(k span.Kind) bool { return k >= span.KindServer && k <= span.KindConsumer }

func (t *linkTree) count(add func(parent, child uint32, failed bool)) {
	for i := range t.spans {
		s := &t.spans[i]
		kind := s.kind
		if kind == span.KindClient && t.below[i] {
			continue // the server's name is better
		}
		var parent, child uint32
		switch {
		case !remote(kind):
			if s.service == 0 || s.remote == 0 {
				continue
			}
			kind = span.KindClient
			fallthrough
		case kind == span.KindClient || kind == span.KindProducer:
			parent, child = s.service, s.remote
		default:
			if parent, child = s.remote, s.service; int32(i) == t.root && parent == 0 {
				continue // nobody knows who called
			}
		}
		failed := s.failed
		if kind == span.KindProducer || kind == span.KindConsumer {
			if parent != 0 && child != 0 {
				add(parent, child, failed)
			}
			continue
		}
		if up := t.above(i); up != nil && up.service != 0 {
			// Some senders put the name of the other side on the client's span: then the call to it is missing.
			if kind == span.KindClient && s.service != 0 && up.service != s.service {
				add(up.service, s.service, false)
			}
			if kind == span.KindServer || parent == 0 {
				parent = up.service
			}
			// Where a call is two spans, the error may stand on the caller's.
			failed = failed || up.kind == span.KindClient && s.parent != 0 && s.parent == up.id && up.failed
		}
		if parent != 0 && child != 0 {
			add(parent, child, failed)
		}
	}
}
