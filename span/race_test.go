//go:build race

package span

// raceDetector: sync.Pool drops entries at random under it, so allocations cannot be counted.
const raceDetector = true
