package process

import (
	"unicode/utf8"

	"github.com/spanloom/spanloom/span"
)

// limit cuts a batch's rows and side tables to the limits.
func (p *Pipeline) limit(b *span.Batch, l Limits) {
	for i := range b.Resources {
		r := &b.Resources[i]
		r.Dropped += cutAttrs(&r.Attrs, l)
		cutValues(b, r.Attrs, l)
	}
	for i := range b.Scopes {
		s := &b.Scopes[i]
		s.Dropped += cutAttrs(&s.Attrs, l)
		cutValues(b, s.Attrs, l)
	}
	var cut int64
	for i := range b.Len() {
		before := b.DroppedAttrs[i] + b.DroppedEvents[i] + b.DroppedLinks[i]
		b.DroppedAttrs[i] += cutAttrs(&b.SpanAttrs[i], l)
		b.DroppedEvents[i] += cutRange(&b.SpanEvents[i], l.SpanEvents)
		b.DroppedLinks[i] += cutRange(&b.SpanLinks[i], l.SpanEvents)
		shortened := cutValues(b, b.SpanAttrs[i], l)
		for j := range b.EventsOf(i) {
			e := &b.EventsOf(i)[j]
			e.Dropped += cutAttrs(&e.Attrs, l)
			shortened = cutValues(b, e.Attrs, l) || shortened
		}
		for j := range b.LinksOf(i) {
			k := &b.LinksOf(i)[j]
			k.Dropped += cutAttrs(&k.Attrs, l)
			shortened = cutValues(b, k.Attrs, l) || shortened
		}
		shortened = cutText(b, &b.Name[i], l.ValueBytes) || shortened
		shortened = cutText(b, &b.StatusMessage[i], l.ValueBytes) || shortened
		if shortened || before != b.DroppedAttrs[i]+b.DroppedEvents[i]+b.DroppedLinks[i] {
			b.Mark[i] |= span.MarkCut
			cut++
		}
	}
	if cut > 0 {
		p.cut.Add(cut)
	}
}

func cutAttrs(r *span.Range, l Limits) uint32 { return cutRange(r, l.SpanAttrs) }

func cutRange(r *span.Range, most int) uint32 {
	if int(r.Len) <= most {
		return 0
	}
	dropped := r.Len - uint32(most)
	r.Len = uint32(most)
	return dropped
}

// cutValues shortens long strings and bytes. Long arrays and key-value lists become null: half an encoding is none.
func cutValues(b *span.Batch, r span.Range, l Limits) (cut bool) {
	attrs := b.AttrsOf(r)
	for i := range attrs {
		a := &attrs[i]
		if !a.Type.InArena() {
			continue
		}
		s := a.Value().Str()
		if int(s.Len) <= l.ValueBytes {
			continue
		}
		cut = true
		switch a.Type {
		case span.TypeString:
			cutText(b, &s, l.ValueBytes)
			a.Bits = span.StrValue(a.Type, s).Bits
		case span.TypeBytes:
			s.Len = uint32(l.ValueBytes)
			a.Bits = span.StrValue(a.Type, s).Bits
		default:
			a.Type, a.Bits = span.TypeNull, 0
		}
	}
	return cut
}

// cutText shortens a text so that no rune is broken.
func cutText(b *span.Batch, s *span.Str, most int) bool {
	if int(s.Len) <= most {
		return false
	}
	p := b.Bytes(*s)[:most]
	for n := 0; n < utf8.UTFMax && len(p) > 0; n++ {
		if r, size := utf8.DecodeLastRune(p); r != utf8.RuneError || size > 1 {
			break
		}
		p = p[:len(p)-1]
	}
	s.Len = uint32(len(p))
	return true
}
