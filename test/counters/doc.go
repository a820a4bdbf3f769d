// Package counters holds the map of the demo mesh against the counters of its Envoys and against what was sent: to the last call
// where everything is traced, within what sampling allows where a part is. It runs in the long lane.
package counters
