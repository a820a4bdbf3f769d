// Package policy decides which segments go, which are joined and how long the disk will do: pure functions over what the
// manifest says, the clock and the limits. It opens no file and changes nothing; the engine does what it says.
package policy

import (
	"cmp"
	"slices"
	"time"

	"github.com/spanloom/spanloom/store/local/internal/manifest"
)

// Limits are what the data may take. Zero values are none.
type Limits struct {
	Retention time.Duration // age by receipt at which a whole hour goes
	MaxDisk   int64         // bytes of everything in the folder
}

// Use is what the folder holds besides segments.
type Use struct {
	Log  int64 // bytes of the log
	Kept int64 // of kept traces
	Docs int64 // of small documents, and whatever else is there
	Next int64 // room that the segment to be written next will need
}

func (u Use) bytes() int64 { return u.Log + u.Kept + u.Docs + u.Next }

// hourEnd is when an hour of receipt is over.
func hourEnd(hour int64) time.Time { return time.Unix((hour+1)*3600, 0) }

// end is the latest receipt that a segment may hold.
func end(e manifest.Entry) time.Time {
	if last := time.Unix(0, e.MaxReceived+1); last.After(hourEnd(e.Hour)) {
		return last
	}
	return hourEnd(e.Hour)
}

// Expired are the segments that retention says are to go: those of hours that are over for longer than it. An hour goes as a
// whole: until its last span is old enough none of it goes, so up to an hour more than Retention is held.
func Expired(entries []manifest.Entry, l Limits, now time.Time) (gone []manifest.Removal) {
	if l.Retention <= 0 {
		return nil
	}
	oldest := now.Add(-l.Retention)
	late := make(map[int64]bool) // hours that hold a span that is not old enough
	for _, e := range entries {
		late[e.Hour] = late[e.Hour] || end(e).After(oldest)
	}
	for _, e := range entries {
		if !late[e.Hour] {
			gone = append(gone, manifest.Removal{Number: e.Number, Reason: manifest.Age})
		}
	}
	return gone
}

// Oversize are the segments that must go so that the rest, the log, kept traces and documents fit below MaxDisk: those received
// first go first, one after the other. Where what is no segment fills the limit alone, that is all of them.
func Oversize(entries []manifest.Entry, l Limits, u Use) (gone []manifest.Removal) {
	if l.MaxDisk <= 0 {
		return nil
	}
	over := Bytes(entries) + u.bytes() - l.MaxDisk
	for _, e := range byAge(entries) {
		if over <= 0 {
			break
		}
		gone = append(gone, manifest.Removal{Number: e.Number, Reason: manifest.Size})
		over -= e.Bytes
	}
	return gone
}

// Bytes is what segments take.
func Bytes(entries []manifest.Entry) (n int64) {
	for _, e := range entries {
		n += e.Bytes
	}
	return n
}

// Held is the receipt of the oldest row in segments, ns since the epoch: the retention that really is. 0 if there is none.
func Held(entries []manifest.Entry) (oldest int64) {
	for i, e := range entries {
		if i == 0 || e.MinReceived < oldest {
			oldest = e.MinReceived
		}
	}
	return oldest
}

// Less orders segments by receipt, as the log has it. Neither numbers nor clocks do: a compacted segment has a higher number than later
// ones, and a clock may be set back. Of two equal spans the one in the greater segment was received last; no segment has
// sequences between those of another one, since only neighbours are joined.
func Less(a, b manifest.Entry) int {
	return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last), cmp.Compare(a.Number, b.Number))
}

func byReceipt(entries []manifest.Entry) []manifest.Entry {
	return slices.SortedFunc(slices.Values(entries), Less)
}

// byAge orders segments as they are to go: by hour, then by receipt.
func byAge(entries []manifest.Entry) []manifest.Entry {
	return slices.SortedFunc(slices.Values(entries), func(a, b manifest.Entry) int { return cmp.Or(cmp.Compare(a.Hour, b.Hour), Less(a, b)) })
}
