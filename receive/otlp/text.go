package otlp

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/spanloom/spanloom/span"
)

// appendText appends text and repairs what is not UTF-8 in it.
func (d *Decoder) appendText(dst, p []byte) []byte {
	if utf8.Valid(p) {
		return append(dst, p...)
	}
	d.mark |= span.MarkCut
	wrong := false
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			if !wrong {
				dst = append(dst, "\uFFFD"...)
			}
			wrong = true
		} else {
			dst = append(dst, p[:n]...)
			wrong = false
		}
		p = p[n:]
	}
	return dst
}

// mend repairs a string in place in the batch; the repaired text is a new run of the arena.
func (d *Decoder) mend(s *span.Str) {
	b := d.b
	if p := b.Bytes(*s); !utf8.Valid(p) {
		off := len(b.Arena)
		b.Arena = d.appendText(b.Arena, p)
		*s = span.Str{Off: uint32(off), Len: uint32(len(b.Arena) - off)}
	}
}

func (d *Decoder) mendAttrs(r span.Range) {
	attrs := d.b.Attrs
	for i := r.Off; i < r.End(); i++ {
		if attrs[i].Type == span.TypeString {
			s := attrs[i].Value().Str()
			d.mend(&s)
			attrs[i].Bits = span.StrValue(span.TypeString, s).Bits
		}
	}
}

// mendRow repairs all text of a row. It is called only for rows that hold a byte beyond ASCII.
func (d *Decoder) mendRow(row int) {
	b := d.b
	d.mend(&b.Name[row])
	d.mend(&b.StatusMessage[row])
	d.mend(&b.TraceState[row])
	d.mendAttrs(b.SpanAttrs[row])
	events := b.EventsOf(row)
	for i := range events {
		d.mend(&events[i].Name)
		d.mendAttrs(events[i].Attrs)
	}
	links := b.LinksOf(row)
	for i := range links {
		d.mend(&links[i].TraceState)
		d.mendAttrs(links[i].Attrs)
	}
}

// ascii reports whether all bytes are below 0x80: then whatever is text in it is UTF-8. Cost: 8 bytes a step.
func ascii(p []byte) bool {
	var or uint64
	for len(p) >= 32 {
		or |= binary.LittleEndian.Uint64(p) | binary.LittleEndian.Uint64(p[8:]) | binary.LittleEndian.Uint64(p[16:]) | binary.LittleEndian.Uint64(p[24:])
		p = p[32:]
	}
	for len(p) >= 8 {
		or |= binary.LittleEndian.Uint64(p)
		p = p[8:]
	}
	for _, c := range p {
		or |= uint64(c)
	}
	return or&0x8080808080808080 == 0
}
