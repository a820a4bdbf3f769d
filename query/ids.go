package query

import (
	"slices"

	"github.com/spanloom/spanloom/span"
)

// UniqueIDs gives every row but the first of its id a new one, for clients that take ids for keys. Mostly these are the
// server halves of ids that client and server share. The new ids are the same at every reading of the same trace. It
// answers nil if all ids differ.
func UniqueIDs(rows []Row) []span.SpanID {
	sorted := make([]uint64, len(rows))
	for i := range rows {
		sorted[i] = rows[i].ID.Uint64()
	}
	slices.Sort(sorted)
	if len(slices.Compact(sorted)) == len(rows) {
		return nil
	}
	used := make(map[uint64]uint64, len(rows)) // id -> how many rows had it so far
	for i := range rows {
		used[rows[i].ID.Uint64()] = 0
	}
	ids := make([]span.SpanID, len(rows))
	for i := range rows {
		id := rows[i].ID.Uint64()
		n := used[id]
		fresh := id
		for n > 0 {
			fresh = mixed(id + n*0x9e3779b97f4a7c15)
			if _, taken := used[fresh]; !taken && fresh != 0 {
				used[fresh] = 1
				break
			}
			n++
		}
		used[id] = n + 1
		ids[i] = span.SpanIDFromUint64(fresh)
	}
	return ids
}

// mixed is the finalizer of splitmix64.
func mixed(v uint64) uint64 {
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}
