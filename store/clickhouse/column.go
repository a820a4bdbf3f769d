package clickhouse

import (
	"fmt"

	"github.com/ClickHouse/ch-go/proto"
)

// The columns of a block as the native protocol has them, filled without an object per value.

// words is LowCardinality(String): a dictionary of the block and an index a row.
type words struct {
	proto.ColLowCardinalityRaw
	dict  proto.ColStr
	known map[string]uint32 // of what is written
}

func newWords() *words {
	w := &words{known: make(map[string]uint32)}
	w.Index, w.Key = &w.dict, proto.KeyUInt32
	return w
}

// word is the index of a text in the dictionary.
func (w *words) word(p []byte) uint32 {
	if i, ok := w.known[string(p)]; ok {
		return i
	}
	i := uint32(len(w.dict.Pos))
	w.dict.AppendBytes(p)
	w.known[string(p)] = i
	return i
}

func (w *words) add(p []byte) { w.Keys32 = append(w.Keys32, w.word(p)) }

// Reset empties the column, and begins a new dictionary.
func (w *words) Reset() {
	w.ColLowCardinalityRaw.Reset()
	w.Key = proto.KeyUInt32
	clear(w.known)
}

// at is the dictionary's index of a row.
func (w *words) at(row int) uint32 {
	switch w.Key {
	case proto.KeyUInt8:
		return uint32(w.Keys8[row])
	case proto.KeyUInt16:
		return uint32(w.Keys16[row])
	case proto.KeyUInt32:
		return w.Keys32[row]
	default:
		return uint32(w.Keys64[row])
	}
}

// DecodeColumn reads a column and checks its indexes: what comes over the wire is not trusted.
func (w *words) DecodeColumn(r *proto.Reader, rows int) error {
	if err := w.ColLowCardinalityRaw.DecodeColumn(r, rows); err != nil {
		return err
	}
	if w.Key == proto.KeyUInt64 {
		return fmt.Errorf("a dictionary with indexes of 64 bits")
	}
	for row := range rows {
		if int(w.at(row)) >= len(w.dict.Pos) {
			return fmt.Errorf("index %d in a dictionary of %d words", w.at(row), len(w.dict.Pos))
		}
	}
	return nil
}

func (w *words) bytes(row int) []byte { return w.dict.RowBytes(int(w.at(row))) }

// list is Array of another column.
type list struct {
	proto.ColUInt64 // ends
	of              proto.Column
}

func newList(of proto.Column) *list { return &list{of: of} }

// end closes the list of a row, whose elements were added to the column of elements.
func (l *list) end() { l.ColUInt64 = append(l.ColUInt64, uint64(l.of.Rows())) }

// span is the elements of a row.
func (l *list) span(row int) (from, to int) {
	if row > 0 {
		from = int(l.ColUInt64[row-1])
	}
	return from, int(l.ColUInt64[row])
}

// Type implements proto.Column, as do the methods below.
func (l *list) Type() proto.ColumnType { return proto.ColumnTypeArray.Sub(l.of.Type()) }

func (l *list) Reset() {
	l.ColUInt64.Reset()
	l.of.Reset()
}

func (l *list) DecodeState(r *proto.Reader) error {
	if s, ok := l.of.(proto.StateDecoder); ok {
		return s.DecodeState(r)
	}
	return nil
}

func (l *list) EncodeState(b *proto.Buffer) {
	if s, ok := l.of.(proto.StateEncoder); ok {
		s.EncodeState(b)
	}
}

// maxElements bounds what one block may claim to hold in a list column.
const maxElements = 1 << 28

func (l *list) DecodeColumn(r *proto.Reader, rows int) error {
	if err := l.ColUInt64.DecodeColumn(r, rows); err != nil {
		return err
	}
	last := uint64(0)
	for _, end := range l.ColUInt64 {
		if end < last || end > maxElements {
			return fmt.Errorf("a list that ends at %d after %d", end, last)
		}
		last = end
	}
	if last == 0 {
		return nil
	}
	return l.of.DecodeColumn(r, int(last))
}

func (l *list) EncodeColumn(b *proto.Buffer) {
	l.ColUInt64.EncodeColumn(b)
	l.of.EncodeColumn(b)
}

func (l *list) WriteColumn(w *proto.Writer) {
	l.ColUInt64.WriteColumn(w)
	l.of.WriteColumn(w)
}
