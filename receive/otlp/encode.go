package otlp

import (
	"encoding/binary"
	"slices"

	"github.com/spanloom/spanloom/span"
)

// AppendRequest appends a batch as an ExportTraceServiceRequest. Rows are grouped by resource and scope; within a group they
// keep their order. Columns that OTLP does not know (Service, Group, Weight, marks) are left out.
//
// Cost: one pass, no allocation besides dst's growth where rows of a resource and scope already lie together, else an index.
func AppendRequest(dst []byte, b *span.Batch) []byte {
	order := grouped(b)
	at := func(i int) int {
		if order == nil {
			return i
		}
		return int(order[i])
	}
	for i, n := 0, b.Len(); i < n; {
		resource := b.Resource[at(i)]
		var outer int
		dst, outer = openField(dst, 1<<3|bytes_)
		dst = appendResource(dst, b, b.Resources[resource])
		for i < n && b.Resource[at(i)] == resource {
			scope := b.Scope[at(i)]
			var inner int
			dst, inner = openField(dst, 2<<3|bytes_)
			dst = appendScope(dst, b, b.Scopes[scope])
			for i < n && b.Resource[at(i)] == resource && b.Scope[at(i)] == scope {
				dst = appendSpan(dst, b, at(i))
				i++
			}
			dst = appendStr(dst, 3<<3|bytes_, b, b.Scopes[scope].SchemaURL)
			dst = closeField(dst, inner)
		}
		dst = appendStr(dst, 3<<3|bytes_, b, b.Resources[resource].SchemaURL)
		dst = closeField(dst, outer)
	}
	return dst
}

// grouped is the order in which rows of one resource and scope lie together; nil if they do already.
func grouped(b *span.Batch) []uint32 {
	compare := func(i, j uint32) int {
		if a, c := b.Resource[i], b.Resource[j]; a != c {
			return int(a) - int(c)
		}
		return int(b.Scope[i]) - int(b.Scope[j])
	}
	sorted := true
	for i := 1; i < b.Len() && sorted; i++ {
		sorted = compare(uint32(i-1), uint32(i)) <= 0
	}
	if sorted {
		return nil
	}
	order := make([]uint32, b.Len())
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortStableFunc(order, compare)
	return order
}

func appendResource(dst []byte, b *span.Batch, r span.Resource) []byte {
	dst, at := openField(dst, 1<<3|bytes_)
	dst = appendAttrs(dst, 1<<3|bytes_, b, r.Attrs)
	dst = appendCount(dst, 2<<3|varint, r.Dropped)
	return closeField(dst, at)
}

func appendScope(dst []byte, b *span.Batch, s span.Scope) []byte {
	dst, at := openField(dst, 1<<3|bytes_)
	dst = appendStr(dst, 1<<3|bytes_, b, s.Name)
	dst = appendStr(dst, 2<<3|bytes_, b, s.Version)
	dst = appendAttrs(dst, 3<<3|bytes_, b, s.Attrs)
	dst = appendCount(dst, 4<<3|varint, s.Dropped)
	return closeField(dst, at)
}

func appendSpan(dst []byte, b *span.Batch, row int) []byte {
	dst, at := openField(dst, 2<<3|bytes_)
	dst = append(append(dst, 1<<3|bytes_, 16), b.TraceID[row][:]...)
	dst = append(append(dst, 2<<3|bytes_, 8), b.SpanID[row][:]...)
	dst = appendStr(dst, 3<<3|bytes_, b, b.TraceState[row])
	if !b.Parent[row].IsZero() {
		dst = append(append(dst, 4<<3|bytes_, 8), b.Parent[row][:]...)
	}
	dst = appendStr(dst, 5<<3|bytes_, b, b.Name[row])
	dst = appendCount(dst, 6<<3|varint, uint32(b.Kind[row]))
	dst = appendFixed64(dst, 7<<3|fixed64, b.Start[row])
	dst = appendFixed64(dst, 8<<3|fixed64, b.End[row])
	dst = appendAttrs(dst, 9<<3|bytes_, b, b.SpanAttrs[row])
	dst = appendCount(dst, 10<<3|varint, b.DroppedAttrs[row])
	for _, e := range b.EventsOf(row) {
		var at int
		dst, at = openField(dst, 11<<3|bytes_)
		dst = appendFixed64(dst, 1<<3|fixed64, e.Time)
		dst = appendStr(dst, 2<<3|bytes_, b, e.Name)
		dst = appendAttrs(dst, 3<<3|bytes_, b, e.Attrs)
		dst = appendCount(dst, 4<<3|varint, e.Dropped)
		dst = closeField(dst, at)
	}
	dst = appendCount(dst, 12<<3|varint, b.DroppedEvents[row])
	for _, l := range b.LinksOf(row) {
		dst = appendLink(dst, b, l)
	}
	dst = appendCount(dst, 14<<3|varint, b.DroppedLinks[row])
	if b.Status[row] != 0 || b.StatusMessage[row].Len > 0 {
		var at int
		dst, at = openField(dst, 15<<3|bytes_)
		dst = appendStr(dst, 2<<3|bytes_, b, b.StatusMessage[row])
		dst = appendCount(dst, 3<<3|varint, uint32(b.Status[row]))
		dst = closeField(dst, at)
	}
	if f := b.Flags[row]; f != 0 {
		dst = binary.LittleEndian.AppendUint32(append(dst, 0x80|(16<<3|fixed32)&0x7f, 1), f)
	}
	return closeField(dst, at)
}

func appendLink(dst []byte, b *span.Batch, l span.Link) []byte {
	dst, at := openField(dst, 13<<3|bytes_)
	if !l.TraceID.IsZero() {
		dst = append(append(dst, 1<<3|bytes_, 16), l.TraceID[:]...)
	}
	if !l.SpanID.IsZero() {
		dst = append(append(dst, 2<<3|bytes_, 8), l.SpanID[:]...)
	}
	dst = appendStr(dst, 3<<3|bytes_, b, l.TraceState)
	dst = appendAttrs(dst, 4<<3|bytes_, b, l.Attrs)
	dst = appendCount(dst, 5<<3|varint, l.Dropped)
	if l.Flags != 0 {
		dst = binary.LittleEndian.AppendUint32(append(dst, 6<<3|fixed32), l.Flags)
	}
	return closeField(dst, at)
}

func appendAttrs(dst []byte, tag byte, b *span.Batch, r span.Range) []byte {
	for _, a := range b.AttrsOf(r) {
		var at, value int
		dst, at = openField(dst, tag)
		dst = appendStr(dst, 1<<3|bytes_, b, b.Keys[a.Key])
		dst, value = openField(dst, 2<<3|bytes_)
		dst = appendValue(dst, b, a.Value())
		dst = closeField(closeField(dst, value), at)
	}
	return dst
}

func appendValue(dst []byte, b *span.Batch, v span.Value) []byte {
	switch v.Type {
	case span.TypeString:
		return appendBytes(dst, anyString<<3|bytes_, b.Bytes(v.Str()))
	case span.TypeBytes:
		return appendBytes(dst, anyBytes<<3|bytes_, b.Bytes(v.Str()))
	case span.TypeBool:
		return append(dst, anyBool<<3|varint, byte(v.Bits&1))
	case span.TypeInt:
		return binary.AppendUvarint(append(dst, anyInt<<3|varint), v.Bits)
	case span.TypeDouble:
		return binary.LittleEndian.AppendUint64(append(dst, anyDouble<<3|fixed64), v.Bits)
	case span.TypeStrings, span.TypeInts, span.TypeDoubles, span.TypeBools, span.TypeArray:
		return appendBytes(dst, anyArray<<3|bytes_, b.Bytes(v.Str()))
	case span.TypeKVList:
		return appendBytes(dst, anyKVList<<3|bytes_, b.Bytes(v.Str()))
	default:
		return dst
	}
}

func appendBytes(dst []byte, tag byte, p []byte) []byte {
	return append(binary.AppendUvarint(append(dst, tag), uint64(len(p))), p...)
}

// appendStr appends a string field, nothing if it is empty.
func appendStr(dst []byte, tag byte, b *span.Batch, s span.Str) []byte {
	if s.Len == 0 {
		return dst
	}
	return appendBytes(dst, tag, b.Bytes(s))
}

func appendCount(dst []byte, tag byte, v uint32) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(append(dst, tag), uint64(v))
}

func appendFixed64(dst []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.LittleEndian.AppendUint64(append(dst, tag), v)
}
