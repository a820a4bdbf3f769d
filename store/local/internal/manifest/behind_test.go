package manifest

import (
	"math"
	"testing"
)

func TestBehind(t *testing.T) {
	const hour = 7
	segment := func(first, last uint64) Entry { return Entry{Number: first + 1, Hour: hour, First: first, Last: last} }
	for name, c := range map[string]struct {
		strays, missing   []Entry
		through, logFirst uint64
		want              bool
	}{
		"nothing":                             {through: 10, logFirst: 11},
		"a flush that was not entered":        {strays: []Entry{segment(11, 20)}, through: 10, logFirst: 11},
		"an entered one, its log is gone":     {strays: []Entry{segment(11, 20)}, through: 10, logFirst: 21, want: true},
		"the same without any log":            {strays: []Entry{segment(11, 20)}, through: 10, logFirst: math.MaxUint64, want: true},
		"removed by age, its file stayed":     {strays: []Entry{segment(1, 5)}, through: 10, logFirst: 11},
		"a compaction that was not entered":   {strays: []Entry{segment(1, 10)}, through: 10, logFirst: 11},
		"an entered one, its inputs are gone": {strays: []Entry{segment(1, 10)}, missing: []Entry{segment(1, 5), segment(6, 10)}, through: 10, logFirst: 11, want: true},
		"something else is missing":           {strays: []Entry{segment(1, 4)}, missing: []Entry{segment(5, 10)}, through: 10, logFirst: 11},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Behind(c.strays, c.missing, c.through, c.logFirst); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
