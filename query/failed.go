package query

import "github.com/spanloom/spanloom/span"

// failures answers span.Batch.Failed for the rows of one batch without comparing the key of every attribute: it knows the
// index that "error" has there.
type failures struct {
	b     *span.Batch
	key   uint32
	known bool // some row may have the attribute
}

func failuresIn(b *span.Batch) failures {
	for i, k := range b.Keys {
		if string(b.Bytes(k)) == "error" {
			return failures{b, uint32(i), true}
		}
	}
	return failures{b: b}
}

func (f *failures) row(row int) bool {
	if s := f.b.Status[row]; s != span.StatusUnset {
		return s == span.StatusError
	}
	if !f.known {
		return false
	}
	attrs := f.b.AttrsOf(f.b.SpanAttrs[row])
	for i := range attrs {
		if attrs[i].Key == f.key {
			return f.b.Failed(row)
		}
	}
	return false
}
