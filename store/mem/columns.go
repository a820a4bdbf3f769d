package mem

import (
	"unsafe"

	"github.com/spanloom/spanloom/span"
)

// frozen is a batch of the rows so far that shares the columns. Every slice is cut at its length, so that whoever appends
// to the copy gets memory of his own; the key table, which changes in place, is not taken along.
func frozen(b *span.Batch) span.Batch {
	return span.Batch{
		Arena: cut(b.Arena), Keys: cut(b.Keys), Attrs: cut(b.Attrs), Resources: cut(b.Resources), Scopes: cut(b.Scopes),
		Events: cut(b.Events), Links: cut(b.Links),
		TraceID: cut(b.TraceID), SpanID: cut(b.SpanID), Parent: cut(b.Parent), Name: cut(b.Name), Kind: cut(b.Kind),
		Status: cut(b.Status), Mark: cut(b.Mark), Start: cut(b.Start), End: cut(b.End), Time: cut(b.Time),
		StatusMessage: cut(b.StatusMessage), TraceState: cut(b.TraceState), Flags: cut(b.Flags),
		SpanAttrs: cut(b.SpanAttrs), SpanEvents: cut(b.SpanEvents), SpanLinks: cut(b.SpanLinks),
		DroppedAttrs: cut(b.DroppedAttrs), DroppedEvents: cut(b.DroppedEvents), DroppedLinks: cut(b.DroppedLinks),
		Resource: cut(b.Resource), Scope: cut(b.Scope), Weight: cut(b.Weight),
		Service: cut(b.Service), Group: cut(b.Group), Namespace: cut(b.Namespace),
	}
}

func cut[T any](s []T) []T { return s[:len(s):len(s)] }

// shape is the lengths of a batch's tables.
type shape struct{ rows, arena, keys, attrs, resources, scopes, events, links int }

func shapeOf(b *span.Batch) shape {
	return shape{b.Len(), len(b.Arena), len(b.Keys), len(b.Attrs), len(b.Resources), len(b.Scopes), len(b.Events), len(b.Links)}
}

// roomier is the shape with a sixteenth more: less than what fit lets pass, so that a chunk of the usual size neither
// grows a table nor is copied when it is sealed.
func (s shape) roomier() shape {
	return shape{s.rows, s.arena + s.arena/16, s.keys + s.keys/16, s.attrs + s.attrs/16, s.resources + s.resources/16,
		s.scopes + s.scopes/16, s.events + s.events/16, s.links + s.links/16}
}

// resize gives every table of a batch the capacity of a shape.
func (s shape) resize(b *span.Batch) {
	fit(&b.Arena, s.arena)
	fit(&b.Keys, s.keys)
	fit(&b.Attrs, s.attrs)
	fit(&b.Resources, s.resources)
	fit(&b.Scopes, s.scopes)
	fit(&b.Events, s.events)
	fit(&b.Links, s.links)
	fit(&b.TraceID, s.rows)
	fit(&b.SpanID, s.rows)
	fit(&b.Parent, s.rows)
	fit(&b.Name, s.rows)
	fit(&b.Kind, s.rows)
	fit(&b.Status, s.rows)
	fit(&b.Mark, s.rows)
	fit(&b.Start, s.rows)
	fit(&b.End, s.rows)
	fit(&b.Time, s.rows)
	fit(&b.StatusMessage, s.rows)
	fit(&b.TraceState, s.rows)
	fit(&b.Flags, s.rows)
	fit(&b.SpanAttrs, s.rows)
	fit(&b.SpanEvents, s.rows)
	fit(&b.SpanLinks, s.rows)
	fit(&b.DroppedAttrs, s.rows)
	fit(&b.DroppedEvents, s.rows)
	fit(&b.DroppedLinks, s.rows)
	fit(&b.Resource, s.rows)
	fit(&b.Scope, s.rows)
	fit(&b.Weight, s.rows)
	fit(&b.Service, s.rows)
	fit(&b.Group, s.rows)
	fit(&b.Namespace, s.rows)
}

// fit gives a slice about the capacity n, at least its length; an eighth of waste is cheaper than a copy.
func fit[T any](s *[]T, n int) {
	n = max(n, len(*s))
	if c := cap(*s); c >= n && c <= n+n/8 {
		return
	}
	t := make([]T, len(*s), n)
	copy(t, *s)
	*s = t
}

// batchBytes is the memory of a batch's tables, by capacity.
func batchBytes(b *span.Batch) int64 {
	n := size(b.Arena) + size(b.Keys) + size(b.Attrs) + size(b.Resources) + size(b.Scopes) + size(b.Events) + size(b.Links)
	n += size(b.TraceID) + size(b.SpanID) + size(b.Parent) + size(b.Name) + size(b.Kind) + size(b.Status) + size(b.Mark)
	n += size(b.Start) + size(b.End) + size(b.Time) + size(b.StatusMessage) + size(b.TraceState) + size(b.Flags)
	n += size(b.SpanAttrs) + size(b.SpanEvents) + size(b.SpanLinks)
	n += size(b.DroppedAttrs) + size(b.DroppedEvents) + size(b.DroppedLinks)
	n += size(b.Resource) + size(b.Scope) + size(b.Weight) + size(b.Service) + size(b.Group) + size(b.Namespace)
	return int64(n)
}

func size[T any](s []T) int {
	var t T
	return cap(s) * int(unsafe.Sizeof(t))
}
