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

// maxElements bounds what one block may claim to hold in a column: what comes over the wire is not trusted. Blocks that Spanloom asks
// for have some thousand rows.
const maxElements = 1 << 23

// DecodeColumn reads a column. It is written out because the one it hides believes the sizes it is told.
func (w *words) DecodeColumn(r *proto.Reader, rows int) error {
	const sharedDictionary, ownKeys, keyMask = 1 << 8, 1 << 9, 0xff
	if rows == 0 {
		return nil
	}
	size := func() (int, error) {
		n, err := r.Int64()
		if err == nil && (n < 0 || n > maxElements) {
			err = fmt.Errorf("%d words", n)
		}
		return int(n), err
	}
	kind, err := r.Int64()
	if err != nil {
		return err
	}
	if w.Key = proto.CardinalityKey(kind & keyMask); w.Key > proto.KeyUInt32 || kind&sharedDictionary != 0 || kind&ownKeys == 0 {
		return fmt.Errorf("a dictionary of kind %x", kind)
	}
	n, err := size()
	if err != nil {
		return err
	}
	if err := w.dict.DecodeColumn(r, n); err != nil {
		return err
	}
	keys, err := size()
	if err != nil {
		return err
	}
	if keys != rows {
		return fmt.Errorf("%d words for %d rows", keys, rows)
	}
	if err := w.Keys().DecodeColumn(r, keys); err != nil {
		return err
	}
	for row := range rows {
		if int(w.at(row)) >= n {
			return fmt.Errorf("word %d in a dictionary of %d", w.at(row), n)
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

// newInstants is a column of DateTime64(9).
func newInstants() *proto.ColDateTime64 {
	return new(proto.ColDateTime64).WithPrecision(proto.PrecisionNano)
}

// results are the columns of an answer; a block that claims too many rows is refused before it takes memory.
type results struct{ proto.Results }

// DecodeResult implements proto.Result.
func (r results) DecodeResult(from *proto.Reader, version int, b proto.Block) error {
	if b.Rows > maxElements {
		return fmt.Errorf("a block of %d rows", b.Rows)
	}
	return r.Results.DecodeResult(from, version, b)
}
