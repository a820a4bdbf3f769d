package mem

import (
	"context"
	"fmt"
	"slices"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// keep is a trace that stays when its time has come.
type keep struct {
	until int64 // ns; 0: for ever
	bytes int64 // of its rows, estimated
}

const keepBytes = 64 // a keep with its share of the map

// Keep holds a trace until an instant (0: for ever): when its oldest chunk goes, its rows are copied to the newest one. Rows
// that come later belong to it. It is refused as TooLarge when kept traces would take more than a quarter of the budget.
// Keeping a kept trace again sets the new instant; an instant that has passed ends it.
func (e *Engine) Keep(ctx context.Context, s store.Scope, id span.TraceID, until int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkTenant(s.Tenant); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return answer.Closed()
	}
	h, ok := e.traces.heads[id]
	if !ok {
		return problem.New(problem.NotFound, fmt.Sprintf("trace %s is not here", id), "it may have been evicted, or not have arrived yet")
	}
	if e.expired(until) {
		delete(e.kept, id)
		return nil
	}
	here := e.snapshot()
	k := keep{until, here.traceBytes(h)}
	sum := k.bytes
	for other, k := range e.kept {
		if e.expired(k.until) {
			delete(e.kept, other)
		} else if other != id {
			sum += k.bytes
		}
	}
	if limit := e.maxBytes / keepShare; sum > limit {
		return problem.New(problem.TooLarge, fmt.Sprintf("kept traces would take %d bytes of at most %d", sum, limit),
			"let go of other kept traces or raise --max-memory")
	}
	e.kept[id] = k
	return nil
}

func (e *Engine) expired(until int64) bool { return until != 0 && until <= e.now().UnixNano() }

// traceBytes estimates what a trace takes: its rows at their chunks' average.
func (s *snapshot) traceBytes(h head) (n int64) {
	for r := h.last; r != 0; {
		c, row := s.at(r)
		n += c.bytes / int64(c.batch.Len())
		r = c.prev[row]
	}
	return n
}

// makeRoom evicts until need bytes more fit. It looks at every chunk at most once, so it ends though kept rows move to
// the newest chunk.
func (e *Engine) makeRoom(need int64) {
	last := e.open.number
	if chunks := (e.open.batch.Size() + int(need)) / e.chunkBytes; chunks > 0 {
		// A new chunk begins with the room that the one before it needed.
		need += e.open.bytes() + int64(chunks)*chunkOverhead
	}
	for e.bytes()+need > e.maxBytes {
		if len(e.sealed) == 0 {
			if e.open.rows() == 0 || e.open.number > last {
				return
			}
			e.seal()
		}
		if e.base > last {
			return
		}
		e.evictOldest()
	}
}

// evictOldest drops the oldest chunk and all traces that began in it.
func (e *Engine) evictOldest() {
	oldest := e.sealed[0]
	s := e.snapshot() // of the list as it is now: dropFront may drop more than the oldest
	e.dropFront()
	if oldest == nil {
		return
	}
	marks := make(map[uint32]*bitmap) // chunk number -> its dead rows
	var kept []location
	dead := oldest.dead.bits.Load()
	for row, prev := range oldest.prev {
		if prev != 0 || dead.has(row) {
			continue
		}
		id := oldest.batch.TraceID[row]
		h := e.traces.heads[id]
		if e.keeps(&s, id, h) {
			kept = s.rows(kept, h.last, s.end())
		} else {
			delete(e.kept, id)
			e.seen.evictedTraces++
			e.seen.evictedSpans += int64(h.rows)
		}
		e.seen.spans -= int64(h.rows)
		e.traces.remove(id)
		for r := h.last; r != 0; {
			c, row := s.at(r)
			if c != oldest {
				mark(marks, c, row)
			}
			r = c.prev[row]
		}
	}
	e.publish(&s, marks)
	e.readd(kept)
}

// dropFront takes the oldest chunk out of the list, and those behind it that are empty already. The list is copied: cutting
// it would leave the chunk reachable.
func (e *Engine) dropFront() {
	if c := e.sealed[0]; c != nil {
		e.held -= c.bytes
	}
	n := 1
	for n < len(e.sealed) && e.sealed[n] == nil {
		n++
	}
	e.sealed = slices.Clone(e.sealed[n:])
	e.base += uint32(n)
}

func mark(marks map[uint32]*bitmap, c *chunk, row int) {
	m := marks[c.number]
	if m == nil {
		m = new(bitmap)
		if old := c.dead.bits.Load(); old != nil {
			*m = *old
		}
		marks[c.number] = m
	}
	m.set(row)
	c.dead.n++
}

// publish shows the new dead rows to readers, and drops chunks in which nothing lives any more: a trace larger than the
// budget would else stay until its last chunk is the oldest.
func (e *Engine) publish(s *snapshot, marks map[uint32]*bitmap) {
	var own []*chunk
	for number, m := range marks {
		c, _ := s.at(makeRef(number, 0))
		c.dead.bits.Store(m)
		if c.dead.n < c.batch.Len() || number == e.open.number {
			continue
		}
		if own == nil {
			own = slices.Clone(e.sealed) // the old list is shared with readers
		}
		own[number-e.base] = nil
		e.held -= c.bytes
	}
	if own != nil {
		e.sealed = own
	}
}

// keeps reports whether a trace that would be evicted is to stay. One that has outgrown the share of kept traces by its
// late rows is let go.
func (e *Engine) keeps(s *snapshot, id span.TraceID, h head) bool {
	k, ok := e.kept[id]
	if !ok || e.expired(k.until) {
		return false
	}
	return s.traceBytes(h) <= e.maxBytes/keepShare
}

// readd copies rows of kept traces into the open chunk. They leave their log frames behind: sequence 0.
func (e *Engine) readd(rows []location) {
	var from *chunk
	var received int64
	for _, l := range rows {
		if r := l.chunk.received(l.row); l.chunk != from || r != received {
			from, received = l.chunk, r
			e.begin(&from.batch, received, 0)
		}
		e.add(l.row)
	}
}
