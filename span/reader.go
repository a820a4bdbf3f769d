package span

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// errShort is what a reader says when its bytes end early; DecodeBinary adds the section.
var errShort = errors.New("ends early")

// reader takes values off the front of p. After a failure it answers zeros; the first failure stays.
type reader struct {
	p   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.p = nil
}

func (r *reader) short() {
	if r.err == nil {
		r.err = errShort
	}
	r.p = nil
}

func (r *reader) byte() byte {
	if len(r.p) == 0 {
		r.short()
		return 0
	}
	v := r.p[0]
	r.p = r.p[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	if len(r.p) > 0 && r.p[0] < 0x80 {
		v := r.p[0]
		r.p = r.p[1:]
		return uint64(v)
	}
	return r.longUvarint()
}

func (r *reader) longUvarint() uint64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 {
		r.short()
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) fixed64() uint64 {
	if p := r.bytes(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// bytes is a view of the next n bytes; nil if there are fewer.
func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.p) {
		r.short()
		return nil
	}
	p := r.p[:n:n]
	r.p = r.p[n:]
	return p
}

// count reads how many entries of at least size bytes each follow; it fails if they cannot fit into what is left.
func (r *reader) count(size int) int {
	v := r.uvarint()
	if v > uint64(len(r.p)/size) {
		r.fail("%d entries in %d bytes", v, len(r.p))
		return 0
	}
	return int(v)
}

// grow gives an empty batch n rows whose columns the caller fills, all of them.
func (b *Batch) grow(n int) {
	b.TraceID = slices.Grow(b.TraceID, n)
	b.SpanID = slices.Grow(b.SpanID, n)
	b.Parent = slices.Grow(b.Parent, n)
	b.Name = slices.Grow(b.Name, n)
	b.Kind = slices.Grow(b.Kind, n)
	b.Status = slices.Grow(b.Status, n)
	b.Mark = slices.Grow(b.Mark, n)
	b.Start = slices.Grow(b.Start, n)
	b.End = slices.Grow(b.End, n)
	b.Time = slices.Grow(b.Time, n)
	b.StatusMessage = slices.Grow(b.StatusMessage, n)
	b.TraceState = slices.Grow(b.TraceState, n)
	b.Flags = slices.Grow(b.Flags, n)
	b.SpanAttrs = slices.Grow(b.SpanAttrs, n)
	b.SpanEvents = slices.Grow(b.SpanEvents, n)
	b.SpanLinks = slices.Grow(b.SpanLinks, n)
	b.DroppedAttrs = slices.Grow(b.DroppedAttrs, n)
	b.DroppedEvents = slices.Grow(b.DroppedEvents, n)
	b.DroppedLinks = slices.Grow(b.DroppedLinks, n)
	b.Resource = slices.Grow(b.Resource, n)
	b.Scope = slices.Grow(b.Scope, n)
	b.Weight = slices.Grow(b.Weight, n)
	b.Service = slices.Grow(b.Service, n)
	b.Group = slices.Grow(b.Group, n)
	b.Namespace = slices.Grow(b.Namespace, n)
	b.truncate(n)
}
