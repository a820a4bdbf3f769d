package query

import "time"

// smallTrace is the bytes of a batch up to which a trace is read at once, whoever else reads. Of larger ones few are in memory
// at a time (Limits.LargeAtOnce): eight readers of a trace of 200,000 spans took twice the memory that the process planned with.
const smallTrace = 4 << 20

func newLargeTraces(atOnce int) *places {
	return newPlaces(atOnce, 10*time.Second, "others are reading large traces", "try again; if it stays, raise --max-memory")
}
