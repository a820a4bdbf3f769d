package policy

import (
	"time"

	"github.com/spanloom/spanloom/store/local/internal/manifest"
)

// The bounds of compaction. Larger results would make a look-up faster and a compaction longer, hold more memory in it, and
// leave retention by size with coarser steps.
const (
	// MaxRows is what a compacted segment holds at most.
	MaxRows = 4 << 20
	// MaxTraces is how many traces its inputs have together at most: a compaction holds a list of them, 56 bytes each.
	MaxTraces = 1 << 20
	// Pile is how many fresh segments of an hour that still goes on are joined.
	Pile = 8
	// closing is how long after its end an hour may still get segments: a memtable's age, and some time to write it.
	closing = 10 * time.Minute
	// maxLevel is how often a row is compacted at most.
	maxLevel = 2
)

// Job is a compaction: its inputs, in the order they were received, become one segment.
type Job struct {
	Hour   int64
	Inputs []manifest.Entry
	Level  uint8 // of the result
	Rows   int64 // of the inputs; duplicates among them vanish
	Bytes  int64 // of the inputs: about what the result needs while they are still there
}

// Plan lists the compactions that are due, the most useful first: a pile of fresh segments in an hour that goes on, then closed
// hours, newest first, for those are asked for most. No segment is in two of them.
//
// Only segments of one hour of receipt are joined, and only next neighbours by receipt: where a clock was set back for a while, what
// was received meanwhile stands between them, and no row may move past a later one. Every row is compacted at most twice: once while its hour goes on (level 1), once when it is over (level 2).
func Plan(entries []manifest.Entry, now time.Time) (jobs []Job) {
	sorted := byReceipt(entries)
	var closed []Job
	for to := len(sorted); to > 0; {
		from := to - 1
		for from > 0 && sorted[from-1].Hour == sorted[to-1].Hour {
			from--
		}
		hour := sorted[from:to]
		if now.Before(hourEnd(hour[0].Hour).Add(closing)) {
			jobs = append(jobs, runs(hour, 0, Pile)...)
		} else {
			closed = append(closed, runs(hour, maxLevel-1, 2)...)
		}
		to = from
	}
	return append(jobs, closed...)
}

// runs finds the jobs among neighbours of at most a level: stretches of at least so many segments.
func runs(hour []manifest.Entry, most uint8, least int) (jobs []Job) {
	for from := 0; from < len(hour); {
		to := from
		for to < len(hour) && hour[to].Level <= most {
			to++
		}
		if to-from >= least {
			jobs = append(jobs, split(hour[from:to], most+1, least)...)
		}
		from = max(to, from+1)
	}
	return jobs
}

// split cuts a run into jobs: as many segments as fit into one result, or at least so many. A segment of more than half a
// result stays as it is, for writing it again would gain next to nothing.
func split(run []manifest.Entry, level uint8, least int) (jobs []Job) {
	for len(run) > 0 {
		j := Job{Hour: run[0].Hour, Level: level}
		n, full, traces := 0, false, int64(0)
		for n < len(run) && !full {
			if full = run[n].Rows > MaxRows/2 || j.Rows+run[n].Rows > MaxRows || traces+run[n].Traces > MaxTraces; !full {
				j.Rows += run[n].Rows
				traces += run[n].Traces
				j.Bytes += run[n].Bytes
				n++
			}
		}
		if j.Inputs = run[:n:n]; n >= least || n >= 2 && full {
			jobs = append(jobs, j)
		}
		run = run[max(n, 1):]
	}
	return jobs
}

// Next is the first compaction that is due and fits into the room that the disk has left.
func Next(entries []manifest.Entry, now time.Time, room int64) (Job, bool) {
	for _, j := range Plan(entries, now) {
		if j.Bytes <= room {
			return j, true
		}
	}
	return Job{}, false
}

// Debt is the compaction that is due and not done.
type Debt struct {
	Jobs     int
	Segments int
	Rows     int64
	Bytes    int64
}

// DebtOf counts what Plan says.
func DebtOf(entries []manifest.Entry, now time.Time) (d Debt) {
	for _, j := range Plan(entries, now) {
		d.Jobs++
		d.Segments += len(j.Inputs)
		d.Rows += j.Rows
		d.Bytes += j.Bytes
	}
	return d
}
