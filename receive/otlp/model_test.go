package otlp

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/encoding/protowire"
)

// generator writes random requests. With mixed set it uses all of protobuf's freedom: any order of fields, repeated single
// fields, split messages, interleaved lists, unknown fields, groups, overlong varints.
type generator struct {
	*rand.Rand
	mixed bool
	keys  int // attribute keys are drawn from so many
}

// message joins fields, mixed up if the generator is so.
func (g *generator) message(fields ...[]byte) []byte {
	var present [][]byte
	for _, f := range fields {
		if len(f) > 0 {
			present = append(present, f)
		}
	}
	if g.mixed {
		if g.IntN(4) == 0 {
			present = append(present, g.unknown())
		}
		g.Shuffle(len(present), func(i, j int) { present[i], present[j] = present[j], present[i] })
	}
	var out []byte
	for _, f := range present {
		out = append(out, f...)
	}
	return out
}

func (g *generator) unknown() []byte {
	num := protowire.Number(900 + g.IntN(50))
	switch g.IntN(5) {
	case 0:
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), g.Uint64())
	case 1:
		return protowire.AppendFixed64(protowire.AppendTag(nil, num, protowire.Fixed64Type), g.Uint64())
	case 2:
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), []byte("whatever"))
	case 3:
		return protowire.AppendFixed32(protowire.AppendTag(nil, num, protowire.Fixed32Type), g.Uint32())
	default:
		inner := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 7)
		inner = protowire.AppendGroup(protowire.AppendTag(inner, 4, protowire.StartGroupType), 4, inner)
		return protowire.AppendGroup(protowire.AppendTag(nil, num, protowire.StartGroupType), num, inner)
	}
}

func (g *generator) bytes(num protowire.Number, p []byte) []byte {
	out := protowire.AppendTag(nil, num, protowire.BytesType)
	if g.mixed && g.IntN(8) == 0 && len(p) < 64 { // an overlong length
		return append(append(out, 0x80|byte(len(p)), 0x80, 0), p...)
	}
	return protowire.AppendBytes(out, p)
}

func (g *generator) varint(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

// single is a message field that may be split in two messages of which the second goes on; f makes each part.
func (g *generator) single(num protowire.Number, f func() []byte) []byte {
	out := g.bytes(num, f())
	if g.mixed && g.IntN(5) == 0 {
		out = append(append(out, g.unknown()...), g.bytes(num, f())...)
	}
	return out
}

func (g *generator) text() []byte {
	words := []string{"", "a", "GET", "productpage.bookinfo", "größer", "日本語", "a longer text that does not fit into one byte of length because it goes on and on, past a hundred and twenty-seven bytes in all"}
	return []byte(words[g.IntN(len(words))])
}

func (g *generator) attrs(num protowire.Number, most int) [][]byte {
	var out [][]byte
	for range g.IntN(most + 1) {
		out = append(out, g.bytes(num, g.keyValue(0)))
	}
	return out
}

func (g *generator) keyValue(depth int) []byte {
	key := append([]byte("key."), byte('a'+g.IntN(26)))
	if g.keys > 26 {
		key = binary.AppendUvarint(key, uint64(g.IntN(g.keys)&0x7f))
	}
	if g.IntN(20) == 0 {
		key = nil
	}
	return g.message(g.bytes(1, key), g.single(2, func() []byte { return g.any(depth) }))
}

func (g *generator) any(depth int) []byte {
	member := g.IntN(9)
	if depth > 3 && (member == anyArray || member == anyKVList) {
		member = anyString
	}
	switch member {
	case anyBool:
		return g.varint(anyBool, uint64(g.IntN(2)))
	case anyInt:
		return g.varint(anyInt, g.Uint64()>>g.IntN(64))
	case anyDouble:
		return protowire.AppendFixed64(protowire.AppendTag(nil, anyDouble, protowire.Fixed64Type), math.Float64bits(g.NormFloat64()))
	case anyArray:
		return g.single(anyArray, func() []byte {
			var out []byte
			same := g.IntN(2) == 0
			first := g.any(depth + 1)
			for range g.IntN(4) {
				if !same {
					first = g.any(depth + 1)
				}
				out = append(out, g.bytes(1, first)...)
			}
			return out
		})
	case anyKVList:
		return g.single(anyKVList, func() []byte {
			var out []byte
			for range g.IntN(4) {
				out = append(out, g.bytes(1, g.keyValue(depth+1))...)
			}
			return out
		})
	case anyBytes:
		return g.bytes(anyBytes, []byte{0, 0xff, byte(g.IntN(256))})
	case anyNull:
		return nil
	default:
		return g.bytes(anyString, g.text())
	}
}

func (g *generator) id(n int) []byte {
	p := binary.BigEndian.AppendUint64(nil, g.Uint64())
	p = binary.BigEndian.AppendUint64(p, g.Uint64())
	return p[:n]
}

func (g *generator) time(num protowire.Number) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, num, protowire.Fixed64Type), g.Uint64()>>g.IntN(64))
}

func (g *generator) fixed32(num protowire.Number) []byte {
	return protowire.AppendFixed32(protowire.AppendTag(nil, num, protowire.Fixed32Type), g.Uint32())
}

// maybe leaves a field out half of the time.
func (g *generator) maybe(f []byte) []byte {
	if g.IntN(2) == 0 {
		return nil
	}
	return f
}

func (g *generator) span() []byte {
	fields := [][]byte{
		g.bytes(1, g.id(16)), g.bytes(2, g.id(8)), g.maybe(g.bytes(3, []byte("ot=th:8"))), g.maybe(g.bytes(4, g.id(8))),
		g.bytes(5, g.text()), g.maybe(g.varint(6, uint64(g.IntN(8)))), g.time(7), g.time(8),
	}
	fields = append(fields, g.attrs(9, 24)...)
	fields = append(fields, g.maybe(g.varint(10, uint64(g.IntN(300)))))
	for range g.IntN(3) {
		event := append([][]byte{g.time(1), g.bytes(2, g.text()), g.maybe(g.varint(4, 9))}, g.attrs(3, 3)...)
		fields = append(fields, g.bytes(11, g.message(event...)))
	}
	fields = append(fields, g.maybe(g.varint(12, 1)))
	for range g.IntN(3) {
		link := append([][]byte{g.maybe(g.bytes(1, g.id(16))), g.maybe(g.bytes(2, g.id(8))), g.maybe(g.bytes(3, g.text())), g.maybe(g.varint(5, 2)), g.maybe(g.fixed32(6))}, g.attrs(4, 3)...)
		fields = append(fields, g.bytes(13, g.message(link...)))
	}
	fields = append(fields, g.maybe(g.varint(14, 3)), g.maybe(g.fixed32(16)))
	fields = append(fields, g.maybe(g.single(15, func() []byte {
		return g.message(g.maybe(g.bytes(2, g.text())), g.maybe(g.varint(3, uint64(g.IntN(3)))))
	})))
	if g.mixed && g.IntN(6) == 0 {
		fields = append(fields, g.bytes(5, g.text()), g.varint(6, 3), g.bytes(1, g.id(16)))
	}
	return g.message(fields...)
}

func (g *generator) request(spans int) []byte {
	var out [][]byte
	for spans > 0 {
		resource := g.single(1, func() []byte {
			return g.message(append(g.attrs(1, 6), g.maybe(g.varint(2, uint64(g.IntN(1000)))))...)
		})
		fields := [][]byte{g.maybe(resource), g.maybe(g.bytes(3, []byte("https://opentelemetry.io/schemas/1.27.0")))}
		for range 1 + g.IntN(2) {
			scope := g.single(1, func() []byte {
				return g.message(append(g.attrs(3, 2), g.maybe(g.bytes(1, g.text())), g.maybe(g.bytes(2, g.text())), g.maybe(g.varint(4, 5)))...)
			})
			in := [][]byte{g.maybe(scope), g.maybe(g.bytes(3, g.text()))}
			n := 1 + g.IntN(spans)
			for range n {
				in = append(in, g.bytes(2, g.span()))
			}
			spans = max(0, spans-n)
			fields = append(fields, g.bytes(2, g.message(in...)))
			if spans == 0 {
				break
			}
		}
		out = append(out, g.bytes(1, g.message(fields...)))
	}
	return g.message(out...)
}
