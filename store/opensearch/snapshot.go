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
	if e.at != nil {
		return *e.at
	}
	writer, _ := strconv.ParseUint(e.writer, 16, 64) // made of 16 digits
	e.mu.Lock()
	defer e.mu.Unlock()
	return snapshot{answer.MomentOf(writer, e.lastSeq, slices.Sorted(maps.Keys(e.flying)))}
}

// Pin gives the engine as it answers at this moment: of what this process stores only what counts now, whatever comes meanwhile. What
// other processes store may come in.
func (e *Engine) Pin() *Engine {
	s := e.snapshot()
	return &Engine{core: e.core, at: &s}
}

// pinned is the condition of a document that answers are made of. Of one that is not pinned, all are.
func (e *Engine) pinned() string {
	if e.at == nil {
		return yes
	}
	return anyOf(not(e.at.writer()), e.at.own())
}

// query is the condition of a document of the snapshot.
func (s snapshot) query() string {
	return anyOf(s.own(), all(not(s.writer()), bounds("seq", "lte", int64(s.Bound()))))
}

// writer is the condition of a document that this process stored.
func (s snapshot) writer() string { return term("writer", fmt.Sprintf(`"%016x"`, s.Writer)) }

// own is the condition of one of these that counts.
func (s snapshot) own() string {
	mine := all(s.writer(), bounds("seq", "lte", int64(s.Last)))
	if len(s.Flying) > 0 {
		var list []string
		for _, seq := range s.Flying {
			list = append(list, strconv.FormatUint(seq, 10))
		}
		mine = all(mine, not(terms("seq", list...)))
	}
	return mine
}
