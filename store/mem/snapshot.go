package mem

import (
	"github.com/spanloom/spanloom/span"
)

// snapshot is all rows of one moment. It holds its chunks alive though they may be evicted meanwhile.
type snapshot struct {
	base   uint32   // number of sealed[0]
	sealed []*chunk // nil where all rows are dead
	open   *chunk
}

// snapshot needs the engine's lock.
func (e *Engine) snapshot() snapshot {
	return snapshot{e.base, cut(e.sealed), e.open.view()}
}

// end is the ref after the last row.
func (s *snapshot) end() ref { return makeRef(s.open.number, s.open.batch.Len()) }

// at finds a row. The ref must come from a list of rows that began in this snapshot.
func (s *snapshot) at(r ref) (*chunk, int) {
	if i := int(r.chunk() - s.base); i < len(s.sealed) {
		return s.sealed[i], r.row()
	}
	return s.open, r.row()
}

// chunks lists the chunks with rows, newest first.
func (s *snapshot) chunks() []*chunk {
	list := make([]*chunk, 0, len(s.sealed)+1)
	if s.open.batch.Len() > 0 {
		list = append(list, s.open)
	}
	for i := len(s.sealed) - 1; i >= 0; i-- {
		if s.sealed[i] != nil {
			list = append(list, s.sealed[i])
		}
	}
	return list
}

// location is a row in its chunk.
type location struct {
	chunk *chunk
	row   int
}

// rows appends a trace's rows before end in the order they were received.
func (s *snapshot) rows(dst []location, last, end ref) []location {
	first := len(dst)
	for r := last; r != 0; {
		c, row := s.at(r)
		if r < end {
			dst = append(dst, location{c, row})
		}
		r = c.prev[row]
	}
	for i, j := first, len(dst)-1; i < j; i, j = i+1, j-1 {
		dst[i], dst[j] = dst[j], dst[i]
	}
	return dst
}

// heads looks up traces and takes the snapshot in which their lists of rows can be walked. The result reuses dst; an
// unknown id has ref 0.
func (e *Engine) heads(dst []ref, ids []span.TraceID) ([]ref, snapshot) {
	e.mu.Lock()
	defer e.mu.Unlock()
	dst = dst[:0]
	for _, id := range ids {
		dst = append(dst, e.traces.heads[id].last)
	}
	return dst, e.snapshot()
}
