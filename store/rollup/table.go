package rollup

import (
	"iter"
	"slices"
	"sort"
	"unsafe"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Table is the counts of one segment, or of several. The zero Table is not ready: New. Not safe for concurrent use.
type Table struct {
	step    int64 // width of a cell, ns
	strings []string
	index   map[string]uint32
	bytes   int

	nodes     []node
	nodeIndex map[node]uint32
	aliases   map[uint32]uint32 // node -> the same workload by its own name: Aliases

	series keyed[seriesKey]
	edges  keyed[edgeKey]
	cells  int

	sums [2][]Counts // of each series and edge over all its cells: Kept; nil if there are none

	halves   []half
	settled  bool
	sides    map[workload]side   // known while settling
	oneSided map[edgeKey]float64 // Σ weight of calls whose other side was not found; of this table's own settling

	// Uncounted is the rows that had no place in the table: its numbers are too low by them.
	Uncounted int64
	// Unpaired is the calls one side of which was counted without looking for the other, for want of room.
	Unpaired int64
}

// The keys in numbers: strings and nodes by their index.
type (
	node      struct{ kind, namespace, name, service uint32 }
	seriesKey struct {
		service, group, namespace, version, operation uint32
		kind                                          span.Kind
		flags                                         Flags
	}
	edgeKey struct {
		from, to, protocol, flag uint32
		class                    Class
		view                     View
	}
)

// keyed is keys with their cells.
type keyed[K comparable] struct {
	keys  []K
	index map[K]uint32
	cells [][]Cell // by key, ascending by start
}

// New makes an empty table.
func New() *Table {
	t := &Table{step: Minute, index: make(map[string]uint32), nodeIndex: make(map[node]uint32), aliases: make(map[uint32]uint32)}
	t.series.index, t.edges.index = make(map[seriesKey]uint32), make(map[edgeKey]uint32)
	t.str("")
	t.str(Other)
	t.node(node{kind: uint32(KindOther), name: otherString})
	return t
}

// NewSums makes an empty table in which every key has one cell, whatever the time: for questions about a window as a whole. It
// is merged into as any other; it is not to be merged into one of New.
func NewSums() *Table {
	t := New()
	t.step = forever
	return t
}

// forever is the step of tables of NewSums.
const forever = 1 << 62

// Both are in every table.
const (
	otherString = 1
	otherNode   = 0
)

// Step is the width of a cell in ns: a minute, or more in a table of many segments; of NewSums 2^62.
func (t *Table) Step() int64 { return t.step }

// Empty reports whether nothing was counted.
func (t *Table) Empty() bool {
	return len(t.series.keys) == 0 && len(t.edges.keys) == 0 && len(t.halves) == 0 && t.Uncounted == 0
}

// Keys is the number of series and edges.
func (t *Table) Keys() int { return len(t.series.keys) + len(t.edges.keys) }

// Cells is the number of cells.
func (t *Table) Cells() int { return t.cells }

// Kept makes a table ready to be merged into many others, and not to be changed any more: halves are paired, and the sum of
// each key stands ready for tables of NewSums.
func (t *Table) Kept() {
	t.Pair()
	t.Summed()
}

// Summed is Kept that leaves halves as they are, for tables of which others may hold the other side of any of them.
func (t *Table) Summed() {
	t.sums = [2][]Counts{sumsOf(t.series.cells), sumsOf(t.edges.cells)}
}

func sumsOf(keys [][]Cell) []Counts {
	sums := make([]Counts, len(keys))
	for i, cells := range keys {
		for j := range cells {
			sums[i].Merge(&cells[j].Counts)
		}
	}
	return sums
}

// Halves is the number of calls of which one side is elsewhere.
func (t *Table) Halves() int { return len(t.halves) }

// Bytes is about the memory that a table takes, without histograms that it shares with others.
func (t *Table) Bytes() int64 {
	n := int64(len(t.halves))*int64(unsafe.Sizeof(half{})) + int64(t.bytes)
	for _, sums := range t.sums {
		n += int64(cap(sums)) * int64(unsafe.Sizeof(Counts{}))
		for i := range sums {
			n += sums[i].Durations.bytes()
		}
	}
	for _, keys := range [][][]Cell{t.series.cells, t.edges.cells} {
		for _, cells := range keys {
			n += int64(cap(cells)) * int64(unsafe.Sizeof(Cell{}))
			for i := range cells {
				n += cells[i].Durations.bytes()
			}
		}
	}
	return n
}

// str is the index of a string; Other where there is no room for it.
func (t *Table) str(s string) uint32 {
	if i, ok := t.index[s]; ok {
		return i
	}
	return t.addString(s)
}

// strOf is str for bytes; it copies those it has not seen.
func (t *Table) strOf(p []byte) uint32 {
	if i, ok := t.index[string(p)]; ok {
		return i
	}
	return t.addString(string(p))
}

const (
	maxString      = 255
	maxStringBytes = 8 << 20
)

func (t *Table) addString(s string) uint32 {
	if len(s) > maxString {
		return t.str(s[:maxString])
	}
	if len(t.strings) >= MaxStrings || t.bytes+len(s) > maxStringBytes {
		return otherString
	}
	s = string([]byte(s)) // s may be a part of something large
	i := uint32(len(t.strings))
	t.strings = append(t.strings, s)
	t.index[s] = i
	t.bytes += len(s)
	return i
}

// node is the index of a node.
func (t *Table) node(n node) uint32 {
	if i, ok := t.nodeIndex[n]; ok {
		return i
	}
	if len(t.nodes) >= softNodes {
		n.name, n.service = otherString, otherString // its kind and namespace stay
		if i, ok := t.nodeIndex[n]; ok {
			return i
		}
		if len(t.nodes) >= MaxNodes {
			return otherNode
		}
	}
	i := uint32(len(t.nodes))
	t.nodes = append(t.nodes, n)
	t.nodeIndex[n] = i
	return i
}

// seriesOf is the index of a series.
func (t *Table) seriesOf(k seriesKey) uint32 {
	if i, ok := t.series.index[k]; ok {
		return i
	}
	if t.Keys() >= softKeys { // the operations of this service share a key that names it
		k.operation, k.version = otherString, 0
		if i, ok := t.series.index[k]; ok {
			return i
		}
		if t.Keys() >= MaxKeys-2 {
			k = seriesKey{service: otherString, group: otherString, operation: otherString}
			if i, ok := t.series.index[k]; ok {
				return i
			}
		}
	}
	return t.series.add(k)
}

// edgeOf is the index of an edge.
func (t *Table) edgeOf(k edgeKey) uint32 {
	if i, ok := t.edges.index[k]; ok {
		return i
	}
	if t.Keys() >= softKeys {
		k.to, k.protocol, k.flag = otherNode, 0, 0
		if i, ok := t.edges.index[k]; ok {
			return i
		}
		if t.Keys() >= MaxKeys-2 {
			k = edgeKey{from: otherNode, to: otherNode}
			if i, ok := t.edges.index[k]; ok {
				return i
			}
		}
	}
	return t.edges.add(k)
}

func (k *keyed[K]) add(key K) uint32 {
	i := uint32(len(k.keys))
	k.keys = append(k.keys, key)
	k.index[key] = i
	k.cells = append(k.cells, nil)
	return i
}

// floor is the start of the cell an instant lies in.
func floor(t, step int64) int64 {
	f := t - t%step
	if t < 0 && f != t {
		f -= step
	}
	return f
}

// cell finds or makes the cell of a key at an instant; nil if there is no room. Times mostly grow.
func (k *keyed[K]) cell(t *Table, key uint32, at int64) *Counts {
	start := floor(at, t.step)
	cells := k.cells[key]
	i := len(cells)
	for i > 0 && len(cells)-i < 4 && cells[i-1].Start > start {
		i--
	}
	if i > 0 && cells[i-1].Start > start {
		i = sort.Search(i, func(i int) bool { return cells[i].Start > start })
	}
	if i > 0 && cells[i-1].Start == start {
		return &cells[i-1].Counts
	}
	if len(cells) >= maxPerKey || t.cells >= MaxCells {
		return nil
	}
	t.cells++
	k.cells[key] = slices.Insert(cells, i, Cell{Start: start})
	return &k.cells[key][i].Counts
}

// Series yields every series with its cells, ascending by start. Both are views of the table.
func (t *Table) Series() iter.Seq2[SeriesKey, []Cell] {
	return func(yield func(SeriesKey, []Cell) bool) {
		for i, k := range t.series.keys {
			if !yield(SeriesKey{t.strings[k.service], t.strings[k.group], t.strings[k.namespace], t.strings[k.version],
				t.strings[k.operation], k.kind, k.flags}, t.series.cells[i]) {
				return
			}
		}
	}
}

// Edges yields every edge with its cells. Halves are settled first: those that found their other side count between the
// two, the others between what is known of them. Nothing is to be merged into the table after it.
func (t *Table) Edges() iter.Seq2[EdgeKey, []Cell] {
	t.settle()
	return func(yield func(EdgeKey, []Cell) bool) {
		for i, k := range t.edges.keys {
			if !yield(EdgeKey{t.nodeAt(k.from), t.nodeAt(k.to), t.strings[k.protocol], t.strings[k.flag], k.class, k.view}, t.edges.cells[i]) {
				return
			}
		}
	}
}

func (t *Table) nodeAt(i uint32) Node {
	n := t.nodes[i]
	return Node{NodeKind(n.kind), t.strings[n.namespace], t.strings[n.name], t.strings[n.service]}
}

// Aliases yields pairs of nodes that are one workload, the second of them by its own name: an application and the sidecar in
// front of it, where the two name it differently, and the name by which callers know a workload.
func (t *Table) Aliases() iter.Seq2[Node, Node] {
	return func(yield func(alias, workload Node) bool) {
		for app, sidecar := range t.aliases {
			if app != sidecar && !yield(t.nodeAt(app), t.nodeAt(sidecar)) {
				return
			}
		}
	}
}

// alias notes that two nodes are one workload. A name that several workloads claim is nobody's: its alias is itself.
func (t *Table) alias(app, workload uint32) {
	if old, ok := t.aliases[app]; !ok {
		t.aliases[app] = workload
	} else if old != workload {
		t.aliases[app] = app
	}
}

// Merge adds all of another table, which stays as it is and must not change afterwards: the two share memory.
func (t *Table) Merge(o *Table) { t.MergeRange(o, store.TimeRange{}) }

// MergeRange adds what another table has in the whole minutes that lie in a range; halves outside of it are kept to be the
// other side of those inside. The zero TimeRange is all. Where the table would outgrow MaxCells, its cells become wider:
// Step. As for Merge, o stays as it is and must not change afterwards.
func (t *Table) MergeRange(o *Table, r store.TimeRange) {
	m := merging{t: t, o: o, r: r, strings: make([]uint32, len(o.strings)), nodes: make([]uint32, len(o.nodes))}
	for i, s := range o.strings {
		m.strings[i] = t.str(s)
	}
	for i, n := range o.nodes {
		m.nodes[i] = t.node(node{n.kind, m.strings[n.namespace], m.strings[n.name], m.strings[n.service]})
	}
	for t.step < o.step {
		t.widen()
	}
	for app, sidecar := range o.aliases {
		t.alias(m.nodes[app], m.nodes[sidecar])
	}
	for i, k := range o.series.keys {
		cells := m.inside(o.series.cells[i])
		if len(cells) == 0 {
			continue
		}
		key := t.seriesOf(seriesKey{m.strings[k.service], m.strings[k.group], m.strings[k.namespace], m.strings[k.version], m.strings[k.operation], k.kind, k.flags})
		if m.whole(0, len(cells), len(o.series.cells[i])) {
			addSum(t, &t.series, key, &o.sums[0][i])
			continue
		}
		addCells(t, &t.series, key, cells, o.step)
	}
	for i, k := range o.edges.keys {
		cells := m.inside(o.edges.cells[i])
		if len(cells) == 0 {
			continue
		}
		key := t.edgeOf(edgeKey{m.nodes[k.from], m.nodes[k.to], m.strings[k.protocol], m.strings[k.flag], k.class, k.view})
		if m.whole(1, len(cells), len(o.edges.cells[i])) {
			addSum(t, &t.edges, key, &o.sums[1][i])
			continue
		}
		addCells(t, &t.edges, key, cells, o.step)
	}
	if len(t.halves)+len(o.halves) > MaxHalves {
		t.Pair()
	}
	t.halves = slices.Grow(t.halves, min(len(o.halves), MaxHalves-len(t.halves)))
	for i := range o.halves {
		h := o.halves[i]
		h.node, h.target = m.nodes[h.node], m.nodes[h.target]
		h.protocol, h.flag = m.strings[h.protocol], m.strings[h.flag]
		if h.context = h.context || !m.in(floor(h.time, Minute)); h.context && !m.near(h.time) {
			continue
		}
		t.addHalf(h)
	}
	t.Uncounted += o.Uncounted
	t.Unpaired += o.Unpaired
}

type merging struct {
	t, o           *Table
	r              store.TimeRange
	strings, nodes []uint32
}

// in reports whether the cell that begins at start lies whole in the range.
func (m *merging) in(start int64) bool {
	return m.r == (store.TimeRange{}) || start >= m.r.From && (m.r.To == 0 || start <= m.r.To-m.o.step)
}

// near: a call that began so far outside of the range has no other side in it.
func (m *merging) near(at int64) bool {
	return m.r == (store.TimeRange{}) || at >= m.r.From-beside && (m.r.To == 0 || at < m.r.To+beside)
}

// beside is how far from each other the two sides of a call begin, at most.
const beside = 10 * Minute

// Around is a range with the times in which the other side of a call in it may begin.
func Around(r store.TimeRange) store.TimeRange {
	r.From = max(r.From-beside, 0)
	if r.To != 0 {
		r.To += beside
	}
	return r
}

func (m *merging) inside(cells []Cell) []Cell {
	if m.r == (store.TimeRange{}) {
		return cells
	}
	from := 0
	for from < len(cells) && !m.in(cells[from].Start) {
		from++
	}
	to := len(cells)
	for to > from && !m.in(cells[to-1].Start) {
		to--
	}
	return cells[from:to]
}

// whole reports whether the sum of a key serves for its cells: all of them are wanted, and in one.
func (m *merging) whole(of, inside, all int) bool {
	return m.t.step == forever && m.o.sums[of] != nil && inside == all
}

func addSum[K comparable](t *Table, k *keyed[K], key uint32, sum *Counts) {
	if c := k.cell(t, key, 0); c != nil {
		c.Merge(sum)
	} else {
		t.Uncounted += sum.N
	}
}

func addCells[K comparable](t *Table, k *keyed[K], key uint32, cells []Cell, step int64) {
	own := k.cells[key]
	if n := len(own); step == t.step && n+len(cells) <= maxPerKey && t.cells+len(cells) <= MaxCells && (n == 0 || own[n-1].Start < cells[0].Start) {
		own = append(own, cells...) // segments follow each other in time
		for i := n; i < len(own); i++ {
			own[i].Durations.shared = true
		}
		k.cells[key] = own
		t.cells += len(cells)
		return
	}
	for i := range cells {
		c := k.cell(t, key, cells[i].Start)
		for tries := 0; c == nil && tries < 40; tries++ {
			t.widen()
			c = k.cell(t, key, cells[i].Start)
		}
		if c == nil {
			t.Uncounted += cells[i].N
			continue
		}
		c.Merge(&cells[i].Counts)
	}
}

// widen doubles the step.
func (t *Table) widen() {
	if t.step > 1<<61 {
		return
	}
	t.step *= 2
	t.cells = t.series.widen(t.step) + t.edges.widen(t.step)
}

func (k *keyed[K]) widen(step int64) (total int) {
	for i, cells := range k.cells {
		kept := cells[:0]
		for j := range cells {
			start := floor(cells[j].Start, step)
			if n := len(kept); n > 0 && kept[n-1].Start == start {
				kept[n-1].Counts.Merge(&cells[j].Counts)
				continue
			}
			c := cells[j]
			c.Start = start
			kept = append(kept, c)
		}
		clear(cells[len(kept):])
		k.cells[i] = kept
		total += len(kept)
	}
	return total
}
