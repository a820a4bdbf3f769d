package traceql

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/spanloom/spanloom/span"
)

// frame is some traces in one batch: duplicates dropped, the spans of a trace together and in order of start, with what is
// known of the trace around them. Spans are numbered within their trace (local numbers): order[from+local] is the row.
type frame struct {
	batch  *span.Batch
	order  []int32
	traces []traceRows
	local  []int32 // row -> local number
	of     []int32 // row -> index in traces

	// With a tree, by position in order; parents are local numbers, -1 for none.
	parent                []int32
	left, right, up       []int32
	children              []int32
	topological           []int32 // local numbers, parents first
	byID                  []int32 // scratch
	firstChild, nextChild []int32 // scratch
}

// traceRows is one trace of a frame.
type traceRows struct {
	id         span.TraceID
	from, to   int
	start, end int64
	root       int32 // local number of the span that stands for the trace
	hasRoot    bool
}

func (t *traceRows) len() int { return t.to - t.from }

// newFrame sorts the rows of a batch into traces.
func newFrame(b *span.Batch, tree bool) *frame {
	f := &frame{batch: b, order: make([]int32, b.Len()), local: make([]int32, b.Len()), of: make([]int32, b.Len())}
	for i := range f.order {
		f.order[i] = int32(i)
	}
	slices.SortFunc(f.order, func(x, y int32) int {
		if c := bytes.Compare(b.TraceID[x][:], b.TraceID[y][:]); c != 0 {
			return c
		}
		if c := cmp.Compare(b.Time[x], b.Time[y]); c != 0 {
			return c
		}
		return cmp.Or(bytes.Compare(b.SpanID[x][:], b.SpanID[y][:]), cmp.Compare(b.Kind[x], b.Kind[y]),
			bytes.Compare(b.Bytes(b.Service[x]), b.Bytes(b.Service[y])), cmp.Compare(x, y))
	})
	f.dropDuplicates()
	f.cut()
	if tree {
		f.plant()
	}
	return f
}

// dropDuplicates keeps one of each set of equal spans (span.Identity): the latest-ending, of those the last received. Equal
// spans stand together in the order of start, but for those whose start is impossible: they go by the time of receipt.
func (f *frame) dropDuplicates() {
	b := f.batch
	byIdentity := f.order
	for row := range b.Len() {
		if b.Time[row] != int64(b.Start[row]) {
			byIdentity = f.sortedByIdentity()
			break
		}
	}
	dead := make(map[int32]bool)
	last := int32(-1)
	for _, row := range byIdentity {
		switch {
		case last < 0 || !f.equal(last, row):
			last = row
		case b.End[row] >= b.End[last]:
			dead[last] = true
			last = row
		default:
			dead[row] = true
		}
	}
	if len(dead) > 0 {
		f.order = slices.DeleteFunc(f.order, func(row int32) bool { return dead[row] })
	}
}

func (f *frame) equal(x, y int32) bool {
	b := f.batch
	return b.SpanID[x] == b.SpanID[y] && b.TraceID[x] == b.TraceID[y] && b.Kind[x] == b.Kind[y] && b.Start[x] == b.Start[y] &&
		bytes.Equal(b.Bytes(b.Service[x]), b.Bytes(b.Service[y]))
}

func (f *frame) sortedByIdentity() []int32 {
	b := f.batch
	rows := slices.Clone(f.order)
	slices.SortFunc(rows, func(x, y int32) int {
		return cmp.Or(bytes.Compare(b.SpanID[x][:], b.SpanID[y][:]), bytes.Compare(b.TraceID[x][:], b.TraceID[y][:]),
			cmp.Compare(b.Kind[x], b.Kind[y]), cmp.Compare(b.Start[x], b.Start[y]), bytes.Compare(b.Bytes(b.Service[x]), b.Bytes(b.Service[y])), cmp.Compare(x, y))
	})
	return rows
}

// cut finds the borders of the traces.
func (f *frame) cut() {
	b := f.batch
	for at, row := range f.order {
		id := b.TraceID[row]
		if n := len(f.traces); n == 0 || f.traces[n-1].id != id {
			f.traces = append(f.traces, traceRows{id: id, from: at, start: b.Time[row], end: b.EndTime(int(row)), root: -1})
		}
		t := &f.traces[len(f.traces)-1]
		t.to = at + 1
		local := int32(at - t.from)
		f.local[row], f.of[row] = local, int32(len(f.traces)-1)
		t.end = max(t.end, b.EndTime(int(row)))
		if b.Parent[row].IsZero() && (!t.hasRoot || f.betterRoot(row, f.order[t.from+int(t.root)])) {
			t.root, t.hasRoot = local, true
		}
	}
}

// betterRoot: of several spans without parent the first stands for the trace, then the longest; see store.Summary.
func (f *frame) betterRoot(x, y int32) bool {
	b := f.batch
	return b.Time[x] == b.Time[y] && b.EndTime(int(x)) > b.EndTime(int(y))
}

// find is the trace with an id, nil if it is not here.
func (f *frame) find(id span.TraceID) *traceRows {
	i, ok := slices.BinarySearchFunc(f.traces, id, func(t traceRows, id span.TraceID) int { return bytes.Compare(t.id[:], id[:]) })
	if !ok {
		return nil
	}
	return &f.traces[i]
}

// rows are the rows of a trace by local number.
func (f *frame) rows(t *traceRows) []int32 { return f.order[t.from:t.to] }

// intrinsic reads a field that depends on the trace.
func (f *frame) intrinsic(ev *evaluator, id IntrinsicID, row int) val {
	t := &f.traces[f.of[row]]
	at := t.from + int(f.local[row])
	switch id {
	case TraceDuration:
		return val{typ: TypeDuration, n: t.end - t.start}
	case RootName:
		if t.hasRoot {
			return ev.name(int(f.order[t.from+int(t.root)]))
		}
	case RootServiceName:
		if t.hasRoot {
			return text(f.batch.Bytes(f.batch.Service[f.order[t.from+int(t.root)]]))
		}
	case ChildCount:
		return val{typ: TypeInt, n: int64(f.children[at])}
	case NestedSetLeft:
		return val{typ: TypeInt, n: int64(f.left[at])}
	case NestedSetRight:
		return val{typ: TypeInt, n: int64(f.right[at])}
	case NestedSetParent:
		return val{typ: TypeInt, n: int64(f.up[at])}
	}
	return val{}
}
