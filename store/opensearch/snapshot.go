package opensearch

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spanloom/spanloom/store/answer"
)

// snapshot is the rows of one moment; those of other processes may still come in by up to the refresh interval, too.
type snapshot struct{ answer.Moment }

func (e *Engine) snapshot() snapshot {
	writer, _ := strconv.ParseUint(e.writer, 16, 64) // made of 16 digits
	e.mu.Lock()
	defer e.mu.Unlock()
	return snapshot{answer.MomentOf(writer, e.lastSeq, slices.Sorted(maps.Keys(e.flying)))}
}

// query is the condition of a document of the snapshot.
func (s snapshot) query() string {
	own := term("writer", fmt.Sprintf(`"%016x"`, s.Writer))
	mine := all(own, bounds("seq", "lte", int64(s.Last)))
	if len(s.Flying) > 0 {
		var list []string
		for _, seq := range s.Flying {
			list = append(list, strconv.FormatUint(seq, 10))
		}
		mine = all(mine, not(terms("seq", list...)))
	}
	return anyOf(mine, all(not(own), bounds("seq", "lte", int64(s.Bound()))))
}
