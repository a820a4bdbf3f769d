package mem

import "github.com/spanloom/spanloom/span"

// head is what is known of a trace: where its list of rows begins and how many there are.
type head struct {
	last ref
	rows uint32
}

// traceMap finds traces by id and by the lower half of it. Its maps hold no pointers, so the collector does not walk them.
type traceMap struct {
	heads map[span.TraceID]head
	// Twins of a 64-bit id are found by their lower half: one 128-bit id per lower half stands here, others in more.
	// Padded 64-bit ids are not in it: they are found by heads.
	highs map[uint64]uint64
	more  map[uint64][]uint64
	most  struct{ heads, highs int } // the most there were: Go's maps do not shrink
}

// maxTwins bounds the ids that share a lower half. More than two of them are an attack or a broken generator; the
// surplus is found by its own id only.
const maxTwins = 16

func newTraceMap() traceMap {
	return traceMap{
		heads: make(map[span.TraceID]head),
		highs: make(map[uint64]uint64),
		more:  make(map[uint64][]uint64),
	}
}

func (m *traceMap) len() int { return len(m.heads) }

// bytes estimates the maps: slots of key and value with a control byte, three quarters full on average.
func (m *traceMap) bytes() int64 {
	const headSlot, highSlot, moreEntry = (16 + 16 + 1) * 4 / 3, (8 + 8 + 1) * 4 / 3, 8 + 24 + maxTwins*8
	return int64(m.most.heads)*headSlot + int64(m.most.highs)*highSlot + int64(len(m.more))*moreEntry
}

// add makes at the newest row of a trace and returns the row that was.
func (m *traceMap) add(id span.TraceID, at ref) (prev ref) {
	h, ok := m.heads[id]
	m.heads[id] = head{at, h.rows + 1}
	if !ok {
		m.most.heads = max(m.most.heads, len(m.heads))
		m.addHigh(id)
	}
	return h.last
}

func (m *traceMap) addHigh(id span.TraceID) {
	low, high := id.Low(), id.High()
	if high == 0 {
		return
	}
	if _, ok := m.highs[low]; !ok {
		m.highs[low] = high
		m.most.highs = max(m.most.highs, len(m.highs))
	} else if len(m.more[low]) < maxTwins {
		m.more[low] = append(m.more[low], high)
	}
}

// remove forgets a trace.
func (m *traceMap) remove(id span.TraceID) {
	delete(m.heads, id)
	low, high := id.Low(), id.High()
	if high == 0 {
		return
	}
	more := m.more[low]
	if m.highs[low] == high {
		if len(more) == 0 {
			delete(m.highs, low)
			return
		}
		m.highs[low] = more[len(more)-1]
		more = more[:len(more)-1]
	} else {
		for i, h := range more {
			if h == high {
				more[i] = more[len(more)-1]
				more = more[:len(more)-1]
				break
			}
		}
	}
	if len(more) == 0 {
		delete(m.more, low)
	} else {
		m.more[low] = more
	}
}

// twins appends the ids other than id that are its twins and are here.
func (m *traceMap) twins(dst []span.TraceID, id span.TraceID) []span.TraceID {
	low := id.Low()
	if id.High() != 0 {
		padded := span.TraceIDFromUint64s(0, low)
		if _, ok := m.heads[padded]; ok {
			dst = append(dst, padded)
		}
		return dst
	}
	if high, ok := m.highs[low]; ok {
		dst = append(dst, span.TraceIDFromUint64s(high, low))
		for _, high := range m.more[low] {
			dst = append(dst, span.TraceIDFromUint64s(high, low))
		}
	}
	return dst
}
