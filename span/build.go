package span

import (
	"bytes"
	"fmt"
	"slices"
)

// MaxArena is the most a batch's arena holds: offsets are 32 bits. Receivers limit bodies far below it.
const MaxArena = 1<<32 - 1

// Reset empties a batch and keeps its memory for the next one.
func (b *Batch) Reset() {
	b.Tenant, b.Received, b.Protocol = "", 0, ProtocolUnknown
	b.Sender = noSender
	b.Arena = b.Arena[:0]
	b.Keys = b.Keys[:0]
	b.keys.reset()
	b.Attrs = b.Attrs[:0]
	b.Resources = b.Resources[:0]
	b.Scopes = b.Scopes[:0]
	b.Events = b.Events[:0]
	b.Links = b.Links[:0]
	b.Refused = b.Refused[:0]
	b.truncate(0)
}

// truncate keeps the first n rows.
func (b *Batch) truncate(n int) {
	b.TraceID = b.TraceID[:n]
	b.SpanID = b.SpanID[:n]
	b.Parent = b.Parent[:n]
	b.Name = b.Name[:n]
	b.Kind = b.Kind[:n]
	b.Status = b.Status[:n]
	b.Mark = b.Mark[:n]
	b.Start = b.Start[:n]
	b.End = b.End[:n]
	b.Time = b.Time[:n]
	b.StatusMessage = b.StatusMessage[:n]
	b.TraceState = b.TraceState[:n]
	b.Flags = b.Flags[:n]
	b.SpanAttrs = b.SpanAttrs[:n]
	b.SpanEvents = b.SpanEvents[:n]
	b.SpanLinks = b.SpanLinks[:n]
	b.DroppedAttrs = b.DroppedAttrs[:n]
	b.DroppedEvents = b.DroppedEvents[:n]
	b.DroppedLinks = b.DroppedLinks[:n]
	b.Resource = b.Resource[:n]
	b.Scope = b.Scope[:n]
	b.Weight = b.Weight[:n]
	b.Service = b.Service[:n]
	b.Group = b.Group[:n]
	b.Namespace = b.Namespace[:n]
}

// AddRow appends a row of zero values with weight 1 and returns its index; the caller fills the columns.
// Resource and Scope are 0: the caller must have added one of each, or add them before the batch is handed on.
func (b *Batch) AddRow() int {
	b.TraceID = append(b.TraceID, TraceID{})
	b.SpanID = append(b.SpanID, SpanID{})
	b.Parent = append(b.Parent, SpanID{})
	b.Name = append(b.Name, Str{})
	b.Kind = append(b.Kind, 0)
	b.Status = append(b.Status, 0)
	b.Mark = append(b.Mark, 0)
	b.Start = append(b.Start, 0)
	b.End = append(b.End, 0)
	b.Time = append(b.Time, 0)
	b.StatusMessage = append(b.StatusMessage, Str{})
	b.TraceState = append(b.TraceState, Str{})
	b.Flags = append(b.Flags, 0)
	b.SpanAttrs = append(b.SpanAttrs, Range{})
	b.SpanEvents = append(b.SpanEvents, Range{})
	b.SpanLinks = append(b.SpanLinks, Range{})
	b.DroppedAttrs = append(b.DroppedAttrs, 0)
	b.DroppedEvents = append(b.DroppedEvents, 0)
	b.DroppedLinks = append(b.DroppedLinks, 0)
	b.Resource = append(b.Resource, 0)
	b.Scope = append(b.Scope, 0)
	b.Weight = append(b.Weight, 1)
	b.Service = append(b.Service, Str{})
	b.Group = append(b.Group, Str{})
	b.Namespace = append(b.Namespace, Str{})
	return b.Len() - 1
}

// AddRows appends n rows of zero values with weight 1: AddRow for who fills column by column. Cost: clearing of the columns.
func (b *Batch) AddRows(n int) {
	from := b.Len()
	b.TraceID, b.SpanID, b.Parent = addZeros(b.TraceID, n), addZeros(b.SpanID, n), addZeros(b.Parent, n)
	b.Name, b.Kind, b.Status, b.Mark = addZeros(b.Name, n), addZeros(b.Kind, n), addZeros(b.Status, n), addZeros(b.Mark, n)
	b.Start, b.End, b.Time = addZeros(b.Start, n), addZeros(b.End, n), addZeros(b.Time, n)
	b.StatusMessage, b.TraceState, b.Flags = addZeros(b.StatusMessage, n), addZeros(b.TraceState, n), addZeros(b.Flags, n)
	b.SpanAttrs, b.SpanEvents, b.SpanLinks = addZeros(b.SpanAttrs, n), addZeros(b.SpanEvents, n), addZeros(b.SpanLinks, n)
	b.DroppedAttrs, b.DroppedEvents, b.DroppedLinks = addZeros(b.DroppedAttrs, n), addZeros(b.DroppedEvents, n), addZeros(b.DroppedLinks, n)
	b.Resource, b.Scope, b.Weight = addZeros(b.Resource, n), addZeros(b.Scope, n), addZeros(b.Weight, n)
	b.Service, b.Group, b.Namespace = addZeros(b.Service, n), addZeros(b.Group, n), addZeros(b.Namespace, n)
	for i := from; i < len(b.Weight); i++ {
		b.Weight[i] = 1
	}
}

func addZeros[T any](s []T, n int) []T {
	from := len(s)
	s = slices.Grow(s, n)[:from+n]
	clear(s[from:])
	return s
}

// DropLastRow takes back the row AddRow made last: a receiver found the span to be refused. What the row put into the
// arena and the tables stays behind unused.
func (b *Batch) DropLastRow() { b.truncate(b.Len() - 1) }

// AddString copies bytes into the arena.
func (b *Batch) AddString(p []byte) Str {
	if len(p) == 0 {
		return Str{}
	}
	off := len(b.Arena)
	b.Arena = append(b.Arena, p...)
	return Str{uint32(off), uint32(len(p))}
}

// AddText is AddString for a string.
func (b *Batch) AddText(s string) Str {
	if s == "" {
		return Str{}
	}
	off := len(b.Arena)
	b.Arena = append(b.Arena, s...)
	return Str{uint32(off), uint32(len(s))}
}

// InternKey finds or adds an attribute key and returns its index in Keys. Cost: one hash of the key.
func (b *Batch) InternKey(key []byte) uint32 {
	return b.keys.intern(b, key)
}

// AddAttr appends to the attribute table. Owners' Ranges must be contiguous: the attributes of one owner are added in one go.
func (b *Batch) AddAttr(key uint32, v Value) {
	b.Attrs = append(b.Attrs, Attr{Key: key, Type: v.Type, Bits: v.Bits})
}

// AddTextAttr interns a key and appends a string attribute.
func (b *Batch) AddTextAttr(key, value string) {
	k := b.keys.intern(b, []byte(key))
	b.AddAttr(k, StrValue(TypeString, b.AddText(value)))
}

// AttrMark is the table's end, to build an owner's Range with AttrsSince.
func (b *Batch) AttrMark() uint32 { return uint32(len(b.Attrs)) }

// AttrsSince is the Range of attributes added since a mark.
func (b *Batch) AttrsSince(mark uint32) Range {
	return Range{mark, uint32(len(b.Attrs)) - mark}
}

// Keep keeps the rows for which keep answers true and preserves their order. Tables and arena are left as they are.
func (b *Batch) Keep(keep func(row int) bool) {
	n := 0
	for i := range b.Len() {
		if !keep(i) {
			continue
		}
		if n != i {
			b.moveRow(n, i)
		}
		n++
	}
	b.truncate(n)
}

func (b *Batch) moveRow(to, from int) {
	b.TraceID[to] = b.TraceID[from]
	b.SpanID[to] = b.SpanID[from]
	b.Parent[to] = b.Parent[from]
	b.Name[to] = b.Name[from]
	b.Kind[to] = b.Kind[from]
	b.Status[to] = b.Status[from]
	b.Mark[to] = b.Mark[from]
	b.Start[to] = b.Start[from]
	b.End[to] = b.End[from]
	b.Time[to] = b.Time[from]
	b.StatusMessage[to] = b.StatusMessage[from]
	b.TraceState[to] = b.TraceState[from]
	b.Flags[to] = b.Flags[from]
	b.SpanAttrs[to] = b.SpanAttrs[from]
	b.SpanEvents[to] = b.SpanEvents[from]
	b.SpanLinks[to] = b.SpanLinks[from]
	b.DroppedAttrs[to] = b.DroppedAttrs[from]
	b.DroppedEvents[to] = b.DroppedEvents[from]
	b.DroppedLinks[to] = b.DroppedLinks[from]
	b.Resource[to] = b.Resource[from]
	b.Scope[to] = b.Scope[from]
	b.Weight[to] = b.Weight[from]
	b.Service[to] = b.Service[from]
	b.Group[to] = b.Group[from]
	b.Namespace[to] = b.Namespace[from]
}

// Clone copies a batch with all its tables; the copy shares nothing with the original.
func (b *Batch) Clone() *Batch {
	c := &Batch{Tenant: b.Tenant, Received: b.Received, Protocol: b.Protocol, Sender: b.Sender}
	b.cloneColumns(c)
	c.Arena = bytes.Clone(b.Arena)
	c.Keys = slices.Clone(b.Keys)
	c.keys = b.keys.clone()
	c.Attrs = slices.Clone(b.Attrs)
	c.Resources = slices.Clone(b.Resources)
	c.Scopes = slices.Clone(b.Scopes)
	c.Events = slices.Clone(b.Events)
	c.Links = slices.Clone(b.Links)
	c.Refused = slices.Clone(b.Refused)
	return c
}

func (b *Batch) cloneColumns(c *Batch) {
	c.TraceID = slices.Clone(b.TraceID)
	c.SpanID = slices.Clone(b.SpanID)
	c.Parent = slices.Clone(b.Parent)
	c.Name = slices.Clone(b.Name)
	c.Kind = slices.Clone(b.Kind)
	c.Status = slices.Clone(b.Status)
	c.Mark = slices.Clone(b.Mark)
	c.Start = slices.Clone(b.Start)
	c.End = slices.Clone(b.End)
	c.Time = slices.Clone(b.Time)
	c.StatusMessage = slices.Clone(b.StatusMessage)
	c.TraceState = slices.Clone(b.TraceState)
	c.Flags = slices.Clone(b.Flags)
	c.SpanAttrs = slices.Clone(b.SpanAttrs)
	c.SpanEvents = slices.Clone(b.SpanEvents)
	c.SpanLinks = slices.Clone(b.SpanLinks)
	c.DroppedAttrs = slices.Clone(b.DroppedAttrs)
	c.DroppedEvents = slices.Clone(b.DroppedEvents)
	c.DroppedLinks = slices.Clone(b.DroppedLinks)
	c.Resource = slices.Clone(b.Resource)
	c.Scope = slices.Clone(b.Scope)
	c.Weight = slices.Clone(b.Weight)
	c.Service = slices.Clone(b.Service)
	c.Group = slices.Clone(b.Group)
	c.Namespace = slices.Clone(b.Namespace)
}

// Check verifies that every offset of a batch lies inside its tables. Decoders of foreign bytes (the log's frames) call
// it once, so that no reader has to check again. Cost: one pass over all tables.
func (b *Batch) Check() error {
	arena := uint64(len(b.Arena))
	str := func(what string, s Str) error {
		if uint64(s.Off)+uint64(s.Len) > arena {
			return fmt.Errorf("%s reaches beyond the arena: %d+%d of %d", what, s.Off, s.Len, arena)
		}
		return nil
	}
	run := func(what string, r Range, n int) error {
		if uint64(r.Off)+uint64(r.Len) > uint64(n) {
			return fmt.Errorf("%s reaches beyond its table: %d+%d of %d", what, r.Off, r.Len, n)
		}
		return nil
	}
	for _, k := range b.Keys {
		if err := str("key", k); err != nil {
			return err
		}
	}
	for _, a := range b.Attrs {
		if int(a.Key) >= len(b.Keys) || a.Type >= NumTypes {
			return fmt.Errorf("attribute with key %d of %d, type %d", a.Key, len(b.Keys), a.Type)
		}
		if a.Type.InArena() {
			if err := str("attribute value", a.Value().Str()); err != nil {
				return err
			}
		}
	}
	for _, r := range b.Resources {
		if err := firstError(run("resource attributes", r.Attrs, len(b.Attrs)), str("schema URL", r.SchemaURL)); err != nil {
			return err
		}
	}
	for _, s := range b.Scopes {
		if err := firstError(run("scope attributes", s.Attrs, len(b.Attrs)), str("schema URL", s.SchemaURL),
			str("scope name", s.Name), str("scope version", s.Version)); err != nil {
			return err
		}
	}
	for _, e := range b.Events {
		if err := firstError(run("event attributes", e.Attrs, len(b.Attrs)), str("event name", e.Name)); err != nil {
			return err
		}
	}
	for _, l := range b.Links {
		if err := firstError(run("link attributes", l.Attrs, len(b.Attrs)), str("link trace state", l.TraceState)); err != nil {
			return err
		}
	}
	for i := range b.Len() {
		if int(b.Resource[i]) >= len(b.Resources) || int(b.Scope[i]) >= len(b.Scopes) {
			return fmt.Errorf("row %d has resource %d of %d, scope %d of %d", i, b.Resource[i], len(b.Resources), b.Scope[i], len(b.Scopes))
		}
		if err := firstError(str("name", b.Name[i]), str("status message", b.StatusMessage[i]), str("trace state", b.TraceState[i]),
			str("service", b.Service[i]), str("group", b.Group[i]), str("namespace", b.Namespace[i]),
			run("span attributes", b.SpanAttrs[i], len(b.Attrs)), run("events", b.SpanEvents[i], len(b.Events)),
			run("links", b.SpanLinks[i], len(b.Links))); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
