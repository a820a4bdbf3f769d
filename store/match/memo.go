package match

import (
	"regexp"

	"github.com/spanloom/spanloom/span"
)

// memo remembers what a regular expression said about runs of one arena. It is a direct-mapped cache: bounded, without
// probing, and right for batches that do not intern as well.
type memo struct {
	slots [memoSlots]struct {
		run   uint64 // Off<<32 | Len of a run that is not empty; 0 is free
		match bool
	}
}

// memoSlots covers the operations or URLs that a chunk of 8K rows usually has; more of them only cost evaluations.
const memoSlots = 512

func (m *memo) match(re *regexp.Regexp, b *span.Batch, s span.Str) bool {
	run := uint64(s.Off)<<32 | uint64(s.Len)
	slot := &m.slots[uint32(run>>32*0x9E3779B1>>8)%memoSlots]
	if slot.run != run || run == 0 {
		slot.run, slot.match = run, re.Match(b.Bytes(s))
	}
	return slot.match
}
