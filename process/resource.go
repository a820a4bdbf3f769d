package process

import (
	"fmt"
	"slices"

	"github.com/spanloom/spanloom/span"
)

// Action is what a resource rule does, in the words of the OpenTelemetry Collector's resource processor.
type Action string

// The actions.
const (
	Upsert Action = "upsert" // set, whether there or not
	Insert Action = "insert" // set only if absent
	Delete Action = "delete" // take away
)

// ResourceRule changes one attribute of every resource.
type ResourceRule struct {
	Key    string
	Action Action
	Value  string // unused by Delete
}

func (r ResourceRule) check() error {
	switch r.Action {
	case Upsert, Insert, Delete:
	default:
		return fmt.Errorf("action %q is none of upsert, insert, delete", r.Action)
	}
	if r.Key == "" {
		return fmt.Errorf("key is empty")
	}
	if r.Action != Delete && r.Value == "" {
		return fmt.Errorf("value of %q is empty", r.Key)
	}
	return nil
}

// apply rewrites the resource table. An attribute list that grows moves to the end of the table; one that shrinks closes
// the gap in place.
func (r ResourceRule) apply(b *span.Batch) {
	for i := range b.Resources {
		res := &b.Resources[i]
		_, found := b.FindAttr(res.Attrs, r.Key)
		switch {
		case r.Action == Delete && found:
			kept := slices.DeleteFunc(b.AttrsOf(res.Attrs), func(a span.Attr) bool { return string(b.Key(a)) == r.Key })
			res.Attrs.Len = uint32(len(kept))
		case r.Action == Upsert && found:
			value := span.StrValue(span.TypeString, b.AddText(r.Value))
			attrs := b.AttrsOf(res.Attrs)
			for j := range attrs {
				if string(b.Key(attrs[j])) == r.Key {
					attrs[j].Type, attrs[j].Bits = value.Type, value.Bits
				}
			}
		case r.Action != Delete && !found:
			mark := b.AttrMark()
			b.Attrs = append(b.Attrs, b.AttrsOf(res.Attrs)...)
			b.AddTextAttr(r.Key, r.Value)
			res.Attrs = b.AttrsSince(mark)
		}
	}
}
