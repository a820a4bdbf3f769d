package merge

import (
	"context"
	"maps"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// Candidate is a trace that one part knows, by a bound of its rank: its true rank does not come before the best of its bounds.
type Candidate struct {
	answer.Rank
	// Summary is that of the rows of the part, of which Rank is the true one. nil: only the bound is known.
	Summary *store.Summary
}

// Candidates are those of a page.
func Candidates(traces []store.Summary) []Candidate {
	list := make([]Candidate, len(traces))
	for i := range traces {
		list[i] = Candidate{answer.Rank{Start: traces[i].MatchedStart, ID: traces[i].TraceID}, &traces[i]}
	}
	return list
}

// List is what is left of the candidates of a part, best first.
type List struct {
	Left []Candidate
	End  bool // no more come behind them
}

// State is a search between two pages.
type State struct {
	Lists []List
	Seen  map[span.TraceID]answer.Rank // traces that were resolved, with the bound they had first
	Found []answer.Found               // in order, not listed yet
}

// Clone copies a state so far that the search of the copy leaves it as it is.
func (s *State) Clone() State {
	c := State{Lists: slices.Clone(s.Lists), Seen: maps.Clone(s.Seen), Found: slices.Clone(s.Found)}
	for i := range c.Lists {
		c.Lists[i].Left = slices.Clone(c.Lists[i].Left)
	}
	return c
}

// Search walks the lists of all parts from the newest bound on, until no bound left can make the page.
type Search struct {
	*State
	Limit int
	// More reads on in a list of which nothing is left: it sets Left, or End.
	More func(ctx context.Context, list int) error
	// Cut tells which of some traces of a list may have rows in another part: their summaries do not count.
	Cut func(ctx context.Context, list int, ids []span.TraceID) (func(span.TraceID) bool, error)
	// Resolve answers those of some traces that match, by all their rows.
	Resolve func(ctx context.Context, ids []span.TraceID) ([]answer.Found, error)
	// Wants tells whether a trace may be listed at all; nil: each may.
	Wants func(answer.Found) bool
}

// resolveAtOnce is how many traces are asked of the parts together.
const resolveAtOnce = 64

// Run fills Found so far that its first Limit entries are the page; it has more where traces follow.
func (s *Search) Run(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		best := -1
		for i := range s.Lists {
			for len(s.Lists[i].Left) == 0 && !s.Lists[i].End {
				if err := s.More(ctx, i); err != nil {
					return err
				}
			}
			if l := s.Lists[i].Left; len(l) > 0 && (best < 0 || l[0].Compare(s.Lists[best].Left[0].Rank) < 0) {
				best = i
			}
		}
		if best < 0 || len(s.Found) > s.Limit && s.Found[s.Limit].Compare(answer.Rank{Start: s.Lists[best].Left[0].Start}) < 0 {
			return nil
		}
		if err := s.take(ctx, best); err != nil {
			return err
		}
	}
}

// take takes the first candidates of a list.
func (s *Search) take(ctx context.Context, list int) error {
	left := s.Lists[list].Left
	some := left[:min(len(left), resolveAtOnce)]
	var whole []span.TraceID
	for _, c := range some {
		if _, seen := s.Seen[c.ID]; !seen && c.Summary != nil {
			whole = append(whole, c.ID)
		}
	}
	cut := func(span.TraceID) bool { return false }
	if len(whole) > 0 {
		var err error
		if cut, err = s.Cut(ctx, list, whole); err != nil {
			return err
		}
	}
	var ids []span.TraceID
	for _, c := range some {
		if _, seen := s.Seen[c.ID]; seen {
			continue
		}
		if c.Summary != nil && !cut(c.ID) {
			s.add(answer.Found{Rank: c.Rank, Summary: *c.Summary})
			continue
		}
		s.Seen[c.ID] = c.Rank
		ids = append(ids, c.ID)
	}
	if len(ids) > 0 {
		found, err := s.Resolve(ctx, ids)
		if err != nil {
			return err
		}
		for _, f := range found {
			s.add(f)
		}
	}
	s.Lists[list].Left = left[len(some):]
	return nil
}

// add puts a trace into its place.
func (s *Search) add(f answer.Found) {
	if s.Wants != nil && !s.Wants(f) {
		return
	}
	at, _ := slices.BinarySearchFunc(s.Found, f, func(a, b answer.Found) int { return a.Compare(b.Rank) })
	s.Found = slices.Insert(s.Found, at, f)
}

// Page is the page that Run found, and the state's Found without it.
func (s *Search) Page() (traces []store.Summary, more bool) {
	n := min(s.Limit, len(s.Found))
	traces = make([]store.Summary, n)
	for i, f := range s.Found[:n] {
		traces[i] = f.Summary
	}
	more = len(s.Found) > s.Limit
	s.Found = s.Found[n:]
	return traces, more
}

// Resolve answers the traces that match, of all their rows in the order they were received.
func Resolve(r *answer.Resolver, ids []span.TraceID, traces map[span.TraceID][]answer.Row, rank func(id span.TraceID) (answer.Rank, bool)) (found []answer.Found) {
	defer r.Forget()
	for _, id := range ids {
		r.Load(traces[id])
		if k, ok := rank(id); ok {
			found = append(found, answer.Found{Rank: k, Summary: r.Summary(k)})
		}
	}
	return found
}
