package span

// Pairs walks the entries of a key-value list. The zero Pairs is empty.
type Pairs struct {
	p   []byte // what is left of the OTLP KeyValueList
	off uint32 // where p begins in the arena
}

// Pairs starts a walk over a TypeKVList of this batch; any other value has no entries. Cost: constant.
func (b *Batch) Pairs(v Value) Pairs {
	if v.Type != TypeKVList {
		return Pairs{}
	}
	s := v.Str()
	return Pairs{b.Bytes(s), s.Off}
}

// Next is the next entry, in the order they were sent; keys may repeat. It ends as Elements.Next does.
func (e *Pairs) Next() (key Str, v Value, ok bool) {
	for len(e.p) > 0 {
		tag, _, body, n := protoField(e.p)
		if n == 0 {
			break
		}
		at := e.off + uint32(n-len(body))
		e.p, e.off = e.p[n:], e.off+uint32(n)
		if tag == 1<<3|wireBytes {
			return keyValue(body, at)
		}
	}
	e.p = nil
	return Str{}, Value{}, false
}

// keyValue reads an OTLP KeyValue that begins at off in the arena.
func keyValue(p []byte, off uint32) (key Str, v Value, ok bool) {
	for len(p) > 0 {
		tag, _, body, n := protoField(p)
		if n == 0 {
			return Str{}, Value{}, false
		}
		at := off + uint32(n-len(body))
		switch tag {
		case 1<<3 | wireBytes:
			key = Str{at, uint32(len(body))}
		case 2<<3 | wireBytes:
			if v, ok = anyValue(body, at); !ok {
				return Str{}, Value{}, false
			}
		}
		p, off = p[n:], off+uint32(n)
	}
	return key, v, true
}
