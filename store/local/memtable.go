package local

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/rollup"
)

// memtable is rows that are in the log but not in a segment yet. Rows come in under its lock; readers take a view.
type memtable struct {
	mu       sync.Mutex
	t        *table.Table
	blocks   []bounds // of each segment.BlockRows rows in the order they came
	first    uint64   // sequences of the log
	last     uint64
	received instants // receipts, ns
	counted  countedRollups
	arrays   bool // some value is an array of texts: its elements are not interned
}

// countedRollups is what was counted of a memtable last.
type countedRollups struct {
	mu    sync.Mutex
	table *rollup.Table
	rows  int
	at    time.Time
	took  time.Duration
}

// instants is the first and the last of some instants.
type instants struct{ min, max int64 }

// bounds is what is known of a block without its rows. Times are effective, ns.
type bounds struct {
	minStart, maxStart, maxEnd, maxDuration int64
}

func noBounds() bounds { return bounds{math.MaxInt64, math.MinInt64, math.MinInt64, 0} }

func (b *bounds) add(start, duration int64) {
	b.minStart = min(b.minStart, start)
	b.maxStart = max(b.maxStart, start)
	b.maxEnd = max(b.maxEnd, span.EndTimeOf(start, duration))
	b.maxDuration = max(b.maxDuration, duration)
}

func newMemtable(rows int) *memtable {
	return &memtable{t: table.New(rows), received: instants{math.MaxInt64, math.MinInt64}}
}

// add puts in the rows of a log frame.
func (m *memtable) add(b *span.Batch, seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := m.t.Rows()
	m.t.Append(b)
	for row := from; row < m.t.Rows(); row++ {
		if row/segment.BlockRows == len(m.blocks) {
			m.blocks = append(m.blocks, noBounds())
		}
		m.blocks[row/segment.BlockRows].add(m.t.Time[row], m.t.Duration(row))
	}
	if seq != 0 {
		if m.first == 0 || seq < m.first {
			m.first = seq
		}
		m.last = max(m.last, seq)
	}
	m.received.min, m.received.max = min(m.received.min, b.Received), max(m.received.max, b.Received)
	if !m.arrays {
		m.arrays = slices.ContainsFunc(b.Attrs, func(a span.Attr) bool { return a.Type == span.TypeStrings })
	}
}

// size is the number of rows and the bytes they take.
func (m *memtable) size() (rows int, used int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.t.Rows(), m.t.Used()
}

// fits reports whether a table has room for a batch.
func (m *memtable) fits(b *span.Batch) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.t.Full(b)
}

// memView is a memtable as it was at one moment.
type memView struct {
	m      *memtable
	view   table.View
	blocks []bounds
	arrays bool
}

// snapshot takes a view. Cost: a copy of slice headers and of a few bounds.
func (m *memtable) snapshot() *memView {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memView{m, m.t.View, slices.Clone(m.blocks), m.arrays}
}

// has reports whether a text may stand in a row of the view. Rows that came later may make it say yes.
func (v *memView) has(text string) bool {
	if v.arrays {
		return true
	}
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	return v.m.t.FindString(text) != 0
}

// memTrace is the rows of a trace in a view, in the order they were received.
type memTrace struct {
	id       span.TraceID
	rows     []uint32
	received int64
}

// traces finds the rows of traces in the view; twins also those of every id with the same lower half. Traces without rows in it are
// left out.
func (v *memView) traces(ids []span.TraceID, twins bool) (list []memTrace) {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	var found []uint32
	for _, id := range ids {
		if twins {
			found = v.m.t.Twins(found, id.Low())
		} else if i, ok := v.m.t.FindTrace(id); ok {
			found = append(found, i)
		}
	}
	for _, i := range found {
		head := v.m.t.Heads[i]
		tr := memTrace{id: v.m.t.TraceIDs[i], received: head.Received}
		for at := head.Last; at != 0; at = v.m.t.Prev[at-1] {
			if int(at-1) < v.view.Rows() {
				tr.rows = append(tr.rows, at-1)
			}
		}
		if len(tr.rows) > 0 {
			slices.Reverse(tr.rows)
			list = append(list, tr)
		}
	}
	return list
}
