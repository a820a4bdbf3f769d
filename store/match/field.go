package match

import (
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Getter reads one field from the rows of a batch. It is not safe for concurrent use.
type Getter struct {
	field     store.Field
	intrinsic intrinsic
	batch     *span.Batch
	key       int64
}

// NewGetter checks a field: an unknown intrinsic or scope or an empty key is a problem of kind Invalid.
func NewGetter(f store.Field) (*Getter, error) {
	c, err := compileCond(store.Cond{Field: f, Op: store.Exists})
	if err != nil {
		return nil, err
	}
	return &Getter{field: f, intrinsic: c.intrinsic, key: -1}, nil
}

// Bind sets the batch of the rows that follow.
func (g *Getter) Bind(b *span.Batch) {
	g.batch = b
	if g.field.In != store.Intrinsic {
		g.key = findKey(b, g.field.Key)
	}
}

// Computed reports whether the field is not stored as a value but made of one: kind, status and ids. AppendText reads it then,
// Append does not.
func (g *Getter) Computed() bool {
	if g.field.In != store.Intrinsic {
		return false
	}
	switch g.intrinsic {
	case inKind, inStatus, inSpanID, inParentID, inTraceID:
		return true
	default:
		return false
	}
}

// AppendText appends the text of a computed field; empty for the parent of a root.
func (g *Getter) AppendText(dst []byte, row int) []byte {
	return g.intrinsic.appendText(dst, g.batch, row)
}

// Append appends the values of the field on a row: several if it stands in several owners or events, arrays as one value each.
// Empty text of intrinsics is left out. Values in the arena are runs of the bound batch.
func (g *Getter) Append(dst []span.Value, row int) []span.Value {
	b := g.batch
	if g.field.In == store.Intrinsic {
		return g.appendIntrinsic(dst, row)
	}
	if g.key < 0 {
		return dst
	}
	key, any := uint32(g.key), g.field.In == store.InAny
	owner := func(r span.Range) {
		if v, ok := find(b, r, key); ok {
			dst = append(dst, v)
		}
	}
	if any || g.field.In == store.InSpan {
		owner(b.SpanAttrs[row])
	}
	if any || g.field.In == store.InResource {
		owner(b.Resources[b.Resource[row]].Attrs)
	}
	if any || g.field.In == store.InScope {
		owner(b.Scopes[b.Scope[row]].Attrs)
	}
	if any || g.field.In == store.InEvent {
		for _, e := range b.EventsOf(row) {
			owner(e.Attrs)
		}
	}
	if any || g.field.In == store.InLink {
		for _, l := range b.LinksOf(row) {
			owner(l.Attrs)
		}
	}
	return dst
}

func (g *Getter) appendIntrinsic(dst []span.Value, row int) []span.Value {
	b := g.batch
	switch g.intrinsic {
	case inDuration:
		return append(dst, span.IntValue(b.Duration(row)))
	case inError:
		return append(dst, span.BoolValue(b.Failed(row)))
	case inRoot:
		return append(dst, span.BoolValue(b.Parent[row].IsZero()))
	case inEventName:
		for _, e := range b.EventsOf(row) {
			if e.Name.Len > 0 {
				dst = append(dst, span.StrValue(span.TypeString, e.Name))
			}
		}
		return dst
	}
	if s, ok := g.intrinsic.run(b, row); ok && s.Len > 0 {
		dst = append(dst, span.StrValue(span.TypeString, s))
	}
	return dst
}
