package rollup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/spanloom/spanloom/span"
)

// Version of the form on disk: docs/format/rollups.md.
const Version = 2

// AppendBinary writes the table; Decode reads it back. A table whose edges were read (Edges) has lost its halves.
func (t *Table) AppendBinary(dst []byte) []byte {
	dst = append(dst, Version)
	dst = binary.AppendUvarint(dst, uint64(t.step/Minute))
	dst = binary.AppendUvarint(dst, uint64(t.Uncounted))
	dst = binary.AppendUvarint(dst, uint64(t.Unpaired))
	dst = binary.AppendUvarint(dst, uint64(len(t.strings)-2))
	for _, s := range t.strings[2:] {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(t.nodes)-1))
	for _, n := range t.nodes[1:] {
		dst = uvarints(dst, n.kind, n.namespace, n.name, n.service)
	}
	dst = binary.AppendUvarint(dst, uint64(len(t.aliases)))
	for i := range t.nodes { // in the order of nodes, so that equal tables have equal bytes
		if sidecar, ok := t.aliases[uint32(i)]; ok {
			dst = uvarints(dst, uint32(i), sidecar)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(t.series.keys)))
	for i, k := range t.series.keys {
		dst = uvarints(dst, k.service, k.group, k.namespace, k.version, k.operation)
		dst = append(dst, byte(k.kind), byte(k.flags))
		dst = appendCells(dst, t.series.cells[i], t.step)
	}
	dst = binary.AppendUvarint(dst, uint64(len(t.edges.keys)))
	for i, k := range t.edges.keys {
		dst = uvarints(dst, k.from, k.to, k.protocol, k.flag)
		dst = append(dst, byte(k.class), byte(k.view))
		dst = appendCells(dst, t.edges.cells[i], t.step)
	}
	dst = binary.AppendUvarint(dst, uint64(len(t.halves)))
	for i := range t.halves {
		dst = t.halves[i].append(dst)
	}
	return dst
}

func uvarints(dst []byte, values ...uint32) []byte {
	for _, v := range values {
		dst = binary.AppendUvarint(dst, uint64(v))
	}
	return dst
}

func appendFloat(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

func appendCells(dst []byte, cells []Cell, step int64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(cells)))
	last := int64(0)
	for i := range cells {
		c := &cells[i]
		dst = binary.AppendVarint(dst, (c.Start-last)/step)
		last = c.Start
		dst = c.append(dst)
	}
	return dst
}

// plain: all weights are 1 and the sum is exact.
func (c *Counts) plain() bool {
	return c.Weight == float64(c.N) && c.Variance == 0 && c.ErrorWeight == float64(c.Errors) &&
		c.Sum >= 0 && c.Sum < 1<<53 && c.Sum == math.Trunc(c.Sum)
}

func (c *Counts) append(dst []byte) []byte {
	form := uint64(0)
	if c.plain() {
		form = 1
	}
	dst = binary.AppendUvarint(dst, uint64(c.N)<<1|form)
	dst = binary.AppendUvarint(dst, uint64(c.Errors))
	if form == 1 {
		dst = binary.AppendUvarint(dst, uint64(c.Sum))
	} else {
		dst = appendFloat(appendFloat(appendFloat(appendFloat(dst, c.Weight), c.ErrorWeight), c.Variance), c.Sum)
	}
	dst = append(dst, c.Slowest[:]...)
	if c.Errors > 0 {
		dst = append(dst, c.Failed[:]...)
	}
	if form == 1 && c.N == 1 { // the histogram holds just the sum
		return dst
	}
	return c.Durations.appendBinary(dst)
}

// Flags of a half; the class stands above them.
const (
	halfClient = 1 << iota
	halfFailed
	halfContext
	halfLinked
	halfProxy
	halfAbove
	halfReached
	halfWeak
	halfClass
)

func (h *half) append(dst []byte) []byte {
	flags := uint64(h.class) * halfClass
	for _, f := range [...]struct {
		set bool
		bit uint64
	}{
		{h.client, halfClient}, {h.failed, halfFailed}, {h.context, halfContext}, {h.low != h.trace.Low(), halfLinked},
		{h.proxy, halfProxy}, {h.above != 0, halfAbove}, {h.reached, halfReached}, {h.weak, halfWeak},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	dst = append(binary.AppendUvarint(dst, flags), h.trace[:]...)
	if flags&halfLinked != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, h.low)
	}
	dst = binary.LittleEndian.AppendUint64(dst, h.call)
	if !h.client {
		dst = binary.LittleEndian.AppendUint64(dst, h.own)
	}
	if h.above != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, h.above)
	}
	dst = binary.AppendVarint(dst, h.time)
	dst = binary.AppendUvarint(dst, uint64(h.took))
	dst = appendFloat(dst, h.weight)
	return uvarints(dst, h.node, h.target, h.protocol, h.flag)
}

// reader takes values off the front of p. After a failure it answers zeros; the first failure stays.
type reader struct {
	p       []byte
	err     error
	version byte

	// Of histograms.
	at         []uint16
	counts     []float64
	bucketSlab slab[uint16]
	countSlab  slab[float64]
}

var (
	errShort = errors.New("ends early")
	errRange = errors.New("number out of range")
)

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.p = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.p)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.p) {
		r.fail(errShort)
		return nil
	}
	p := r.p[:n]
	r.p = r.p[n:]
	return p
}

func (r *reader) byte() byte {
	if p := r.bytes(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) word() uint64 {
	if p := r.bytes(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (r *reader) float() float64 { return math.Float64frombits(r.word()) }

// weight is a float that is a sum of weights.
func (r *reader) weight() float64 {
	v := r.float()
	if !(v >= 0) || math.IsInf(v, 1) {
		r.fail(errRange)
		return 0
	}
	return v
}

func (r *reader) trace() (id span.TraceID) {
	copy(id[:], r.bytes(len(id)))
	return id
}

// below reads a number under a limit.
func (r *reader) below(limit int) uint32 {
	v := r.uvarint()
	if v >= uint64(max(limit, 0)) {
		r.fail(errRange)
		return 0
	}
	return uint32(v)
}

// count reads how many things follow; each takes at least size bytes, so that no claim costs more memory than the bytes
// behind it.
func (r *reader) count(most, size int) int {
	n := r.uvarint()
	if n > uint64(most) || n > uint64(len(r.p)/size) {
		r.fail(errRange)
		return 0
	}
	return int(n)
}

// signed reads a number that fits an int64.
func (r *reader) signed() int64 {
	v := r.uvarint()
	if v > math.MaxInt64 {
		r.fail(errRange)
		return 0
	}
	return int64(v)
}

// Decode reads a table that AppendBinary wrote, of any version up to Version. It takes bytes from a disk that may be
// damaged: an error names the section. It keeps nothing of p.
func Decode(p []byte) (*Table, error) {
	r := &reader{p: p}
	t := New()
	if r.version = r.byte(); r.err == nil && (r.version == 0 || r.version > Version) {
		return nil, fmt.Errorf("rollups: form %d is not known here; this program reads up to %d", r.version, Version)
	}
	for _, section := range []struct {
		name string
		read func(*reader)
	}{
		{"head", t.decodeHead}, {"strings", t.decodeStrings}, {"nodes", t.decodeNodes}, {"aliases", t.decodeAliases},
		{"series", t.decodeSeries}, {"edges", t.decodeEdges}, {"halves", t.decodeHalves},
	} {
		section.read(r)
		if r.err != nil {
			return nil, fmt.Errorf("rollups: %s: %w", section.name, r.err)
		}
	}
	if len(r.p) > 0 {
		return nil, fmt.Errorf("rollups: %d bytes after the end", len(r.p))
	}
	return t, nil
}

func (t *Table) decodeHead(r *reader) {
	step := r.uvarint()
	if step == 0 || step&(step-1) != 0 || step > 1<<20 {
		r.fail(errRange)
		return
	}
	t.step = int64(step) * Minute
	t.Uncounted, t.Unpaired = r.signed(), r.signed()
}

func (t *Table) decodeStrings(r *reader) {
	for range r.count(MaxStrings-2, 1) {
		n := int(r.below(maxString + 1))
		s := r.bytes(n)
		if r.err != nil {
			return
		}
		if at := len(t.strings); t.strOf(s) != uint32(at) {
			r.fail(errors.New("a string stands twice"))
			return
		}
	}
}

func (t *Table) decodeNodes(r *reader) {
	for range r.count(MaxNodes-1, 4) {
		n := node{r.below(int(NumKinds)), r.string(t), r.string(t), r.string(t)}
		if r.err != nil {
			return
		}
		if _, ok := t.nodeIndex[n]; ok {
			r.fail(errors.New("a node stands twice"))
			return
		}
		t.nodeIndex[n] = uint32(len(t.nodes))
		t.nodes = append(t.nodes, n)
	}
}

func (r *reader) string(t *Table) uint32 { return r.below(len(t.strings)) }

func (r *reader) node(t *Table) uint32 { return r.below(len(t.nodes)) }

func (t *Table) decodeAliases(r *reader) {
	for range r.count(MaxNodes, 2) {
		app, sidecar := r.node(t), r.node(t)
		t.aliases[app] = sidecar
	}
}

func (t *Table) decodeSeries(r *reader) {
	for range r.count(MaxKeys, 8) {
		k := seriesKey{r.string(t), r.string(t), r.string(t), r.string(t), r.string(t), span.Kind(r.byte()), Flags(r.byte())}
		if _, ok := t.series.index[k]; ok {
			r.fail(errors.New("a series stands twice"))
		}
		if r.err != nil {
			return
		}
		i := t.series.add(k)
		t.series.cells[i] = t.decodeCells(r)
	}
}

func (t *Table) decodeEdges(r *reader) {
	for range r.count(MaxKeys, 7) {
		k := edgeKey{r.node(t), r.node(t), r.string(t), r.string(t), Class(r.byte()), View(r.byte())}
		if _, ok := t.edges.index[k]; ok {
			r.fail(errors.New("an edge stands twice"))
		}
		if k.class >= numClasses || k.view >= numViews {
			r.fail(errRange)
		}
		if r.err != nil {
			return
		}
		i := t.edges.add(k)
		t.edges.cells[i] = t.decodeCells(r)
	}
}

// minCell is the least a cell takes: start, n, errors, sum and a trace id.
const minCell = 4 + 16

func (t *Table) decodeCells(r *reader) []Cell {
	n := r.count(min(maxPerKey, MaxCells-t.cells), minCell)
	if n == 0 {
		return nil
	}
	cells := make([]Cell, n)
	last := int64(0)
	for i := range cells {
		c := &cells[i]
		step := r.varint()
		if step > math.MaxInt64/t.step-1 || step < math.MinInt64/t.step+1 {
			r.fail(errRange)
			return nil
		}
		c.Start = last + step*t.step
		if i > 0 && (step <= 0 || c.Start < last) {
			r.fail(errors.New("cells out of order"))
			return nil
		}
		last = c.Start
		if c.decode(r); r.err != nil {
			return nil
		}
	}
	t.cells += n
	return cells
}

func (c *Counts) decode(r *reader) {
	head := r.uvarint()
	c.N, c.Errors = int64(head>>1), r.signed()
	if c.N == 0 || c.Errors > c.N {
		r.fail(errRange)
		return
	}
	plain := head&1 == 1
	if plain {
		c.Weight, c.ErrorWeight = float64(c.N), float64(c.Errors)
		sum := r.uvarint()
		if sum >= 1<<53 {
			r.fail(errRange)
			return
		}
		c.Sum = float64(sum)
	} else {
		c.Weight, c.ErrorWeight, c.Variance, c.Sum = r.weight(), r.weight(), r.weight(), r.weight()
	}
	c.Slowest = r.trace()
	if c.Errors > 0 {
		c.Failed = r.trace()
	}
	if plain && c.N == 1 {
		c.Durations.Add(int64(c.Sum), 1)
		return
	}
	c.Durations.decode(r)
}

// halfFlags are a half's: version 1 had them in a byte, the class in its upper three bits.
func (r *reader) halfFlags() uint64 {
	if r.version > 1 {
		return r.uvarint()
	}
	flags := uint64(r.byte())
	return flags&(halfAbove-1) | flags>>5*halfClass
}

// minHalf is the least a half takes.
const minHalf = 1 + 16 + 8 + 1 + 1 + 8 + 4

func (t *Table) decodeHalves(r *reader) {
	for range r.count(MaxHalves, minHalf) {
		flags := r.halfFlags()
		h := half{client: flags&halfClient != 0, failed: flags&halfFailed != 0, context: flags&halfContext != 0,
			proxy: flags&halfProxy != 0, reached: flags&halfReached != 0, weak: flags&halfWeak != 0, trace: r.trace()}
		if flags/halfClass >= uint64(numClasses) || flags&(halfAbove|halfReached) != 0 && !h.client {
			r.fail(errRange)
		}
		h.class = Class(flags / halfClass)
		h.low = h.trace.Low()
		if flags&halfLinked != 0 {
			h.low = r.word()
		}
		h.call = r.word()
		if !h.client {
			h.own = r.word()
		}
		if flags&halfAbove != 0 {
			if h.above = r.word(); h.above == 0 {
				r.fail(errRange)
			}
		}
		h.time, h.took, h.weight = r.varint(), r.signed(), r.weight()
		h.node, h.target, h.protocol, h.flag = r.node(t), r.node(t), r.string(t), r.string(t)
		if r.err != nil {
			return
		}
		t.halves = append(t.halves, h)
	}
}
