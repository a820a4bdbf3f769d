//go:build race

package match_test

// raceDetector: sync.Pool drops entries at random under it, so allocations cannot be counted.
const raceDetector = true
