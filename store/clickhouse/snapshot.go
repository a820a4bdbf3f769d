package clickhouse

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/store/answer"
)

// snapshot is the rows of one moment; what is on its way does not count.
type snapshot struct{ answer.Moment }

func (e *Engine) snapshot() snapshot {
	if e.at != nil {
		return *e.at
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return snapshot{answer.MomentOf(e.writer, e.lastSeq, slices.Sorted(maps.Keys(e.flying)))}
}

// Moment is what counts now.
func (e *Engine) Moment() answer.Moment { return e.snapshot().Moment }

// Pin gives the engine as it answers at this moment: of what this process stores only what counts now, whatever comes meanwhile. What
// other processes store may come in.
func (e *Engine) Pin() *Engine {
	s := e.snapshot()
	return &Engine{core: e.core, at: &s}
}

// pinned is the condition of a row that a pinned engine answers with; yes for one that is not.
func (e *Engine) pinned() string {
	if e.at == nil || !e.layout.snapshots() {
		return yes
	}
	return fmt.Sprintf("(Writer != %d OR %s)", e.at.Writer, e.at.own())
}

// sql is the condition of a row of the snapshot; yes in a table that does not tell.
func (s snapshot) sql(l layout) string {
	if !l.snapshots() {
		return yes
	}
	return fmt.Sprintf("if(Writer = %d, %s, Seq <= %d)", s.Writer, s.own(), s.Bound())
}

// own is the condition of a row that this process stored.
func (s snapshot) own() string {
	text := fmt.Sprintf("Seq <= %d", s.Last)
	if len(s.Flying) > 0 {
		var list []string
		for _, seq := range s.Flying {
			list = append(list, fmt.Sprint(seq))
		}
		text += " AND Seq NOT IN (" + strings.Join(list, ", ") + ")"
	}
	return text
}
