// Package merge makes one answer of those of several readers whose rows are not the same: a remote engine and what waits for it, or two
// engines side by side.
package merge

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// Ask asks one part for a list, adds it to the others and to what is said of all of them.
func Ask[T any](done *store.Done, add func(T), ask func() (T, store.Done, error)) error {
	list, d, err := ask()
	if err != nil {
		return err
	}
	add(list)
	if !d.Complete && done.Complete {
		done.Complete, done.Reason = false, d.Reason
	}
	done.Away = done.Away || d.Away
	Cost(&done.Read, d.Read)
	return nil
}

// Cost adds up what parts read.
func Cost(sum *store.Read, r store.Read) {
	sum.Blocks += r.Blocks
	sum.Of += r.Of
	sum.Bytes += r.Bytes
}

// Operations are lists of operations put together; answer.Operations sorts them.
type Operations map[store.Operation]int64

// Add adds a list.
func (all Operations) Add(list []store.Operation) {
	for _, x := range list {
		all[store.Operation{Name: x.Name, Kind: x.Kind}] += x.N
	}
}

// Keys is the list of what was counted.
func Keys(total answer.KeyCounts, limit int, done *store.Done) []store.Key {
	if len(total) > answer.MaxDistinct && done.Complete {
		done.Complete, done.Reason = false, answer.TooMany
	}
	return total.List(limit)
}

// Values are lists of values put together. Every part must give all of its values: the most frequent ones of all need not be those of a part.
type Values map[store.ValueCount]int64

// Add adds a list.
func (all Values) Add(list []store.ValueCount) {
	for _, x := range list {
		all[store.ValueCount{Text: x.Text, Type: x.Type}] += x.N
	}
}

// List is the most frequent of them.
func (all Values) List(limit int, done *store.Done) []store.ValueCount {
	list := make([]store.ValueCount, 0, len(all))
	for x, n := range all {
		x.N = n
		list = append(list, x)
	}
	if len(list) > answer.MaxDistinct && done.Complete {
		done.Complete, done.Reason = false, answer.TooMany
	}
	slices.SortFunc(list, func(a, b store.ValueCount) int {
		return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Text, b.Text), cmp.Compare(a.Type, b.Type))
	})
	return answer.First(list, limit)
}

// Family chooses of sightings of several parts the traces that a look-up of an id means.
func Family(found []answer.Sighting, id span.TraceID) (ids []span.TraceID) {
	first := make(map[span.TraceID]int64)
	for _, x := range found {
		if at, ok := first[x.ID]; !ok || x.Start < at {
			first[x.ID] = x.Start
		}
	}
	found = make([]answer.Sighting, 0, len(first))
	for id, at := range first {
		found = append(found, answer.Sighting{ID: id, Start: at})
	}
	for _, place := range answer.Family(found, id) {
		ids = append(ids, found[place].ID)
	}
	return ids
}
