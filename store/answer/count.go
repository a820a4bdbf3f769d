package answer

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
)

// MaxDistinct bounds what Keys and Values collect: 100,000 texts of a request id's length are 10 MB.
const MaxDistinct = 100_000

// TooMany is the reason of an answer that MaxDistinct cut.
var TooMany = fmt.Sprintf("more than %d different ones: narrow the time range or give a prefix", MaxDistinct)

// keyPlace is a key in one kind of owner.
type keyPlace struct {
	key string
	in  store.FieldScope
}

// KeyCounts counts keys by where they stand and by type.
type KeyCounts map[keyPlace]*[span.NumTypes]int64

// CountKeys adds the keys of some rows.
func CountKeys(b *span.Batch, rows []uint32, q store.KeysQuery, total KeyCounts) {
	// By index of key and type first: texts are looked at once per key.
	var counts [store.Intrinsic][]int64
	wants := func(in store.FieldScope) bool { return q.In == store.InAny || q.In == in }
	add := func(in store.FieldScope, attrs span.Range, n int64) {
		if attrs.Len > 0 && counts[in] == nil {
			counts[in] = make([]int64, len(b.Keys)*int(span.NumTypes))
		}
		for _, a := range b.AttrsOf(attrs) {
			counts[in][int(a.Key)*int(span.NumTypes)+int(a.Type)] += n
		}
	}
	resources, scopes := make([]int64, len(b.Resources)), make([]int64, len(b.Scopes))
	for _, row := range rows {
		resources[b.Resource[row]]++
		scopes[b.Scope[row]]++
		if wants(store.InSpan) {
			add(store.InSpan, b.SpanAttrs[row], 1)
		}
		if wants(store.InEvent) {
			for _, e := range b.EventsOf(int(row)) {
				add(store.InEvent, e.Attrs, 1)
			}
		}
		if wants(store.InLink) {
			for _, l := range b.LinksOf(int(row)) {
				add(store.InLink, l.Attrs, 1)
			}
		}
	}
	for i, n := range resources {
		if n > 0 && wants(store.InResource) {
			add(store.InResource, b.Resources[i].Attrs, n)
		}
	}
	for i, n := range scopes {
		if n > 0 && wants(store.InScope) {
			add(store.InScope, b.Scopes[i].Attrs, n)
		}
	}
	for in := range counts {
		total.add(b, store.FieldScope(in), counts[in], q.Prefix)
	}
}

func (t KeyCounts) add(b *span.Batch, in store.FieldScope, counts []int64, prefix string) {
	for i, n := range counts {
		if n == 0 {
			continue
		}
		key := b.Bytes(b.Keys[i/int(span.NumTypes)])
		if !bytes.HasPrefix(key, []byte(prefix)) {
			continue
		}
		types := t[keyPlace{string(key), in}]
		if types == nil {
			types = new([span.NumTypes]int64)
			t[keyPlace{string(key), in}] = types
		}
		types[i%int(span.NumTypes)] += n
	}
}

// List is the keys, most frequent first, then by key and scope; all of them where limit is not positive.
func (t KeyCounts) List(limit int) []store.Key {
	list := make([]store.Key, 0, len(t))
	for place, types := range t {
		k := store.Key{Key: place.key, In: place.in}
		for typ, n := range types {
			k.N += n
			if n > types[k.Type] {
				k.Type = span.Type(typ)
			}
		}
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b store.Key) int {
		return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Key, b.Key), cmp.Compare(a.In, b.In))
	})
	return First(list, limit)
}

// First is the first entries of a list; all of them where limit is not positive.
func First[T any](list []T, limit int) []T {
	if limit > 0 && len(list) > limit {
		return list[:limit]
	}
	return list
}

type textValue struct {
	text string
	typ  span.Type
}

// ValueCounter counts the values of a field: within a chunk by value, which for interned strings is by run, then by text.
type ValueCounter struct {
	get     *match.Getter
	prefix  string
	values  []span.Value
	chunk   map[span.Value]int64
	total   map[textValue]int64
	scratch []byte
}

// NewValueCounter makes a counter for the values of a field that begin with a prefix.
func NewValueCounter(get *match.Getter, prefix string) *ValueCounter {
	return &ValueCounter{get: get, prefix: prefix, chunk: make(map[span.Value]int64), total: make(map[textValue]int64)}
}

// Len is the number of different values.
func (v *ValueCounter) Len() int { return len(v.total) }

// Count adds the values of some rows.
func (v *ValueCounter) Count(b *span.Batch, rows []uint32) {
	v.get.Bind(b)
	if v.get.Computed() {
		for _, row := range rows {
			v.scratch = v.get.AppendText(v.scratch[:0], int(row))
			if len(v.scratch) > 0 {
				v.add(v.scratch, span.TypeString, 1)
			}
		}
		return
	}
	clear(v.chunk)
	for _, row := range rows {
		v.values = v.get.Append(v.values[:0], int(row))
		for _, value := range v.values {
			v.chunk[value]++
		}
	}
	for value, n := range v.chunk {
		if value.Type < span.TypeStrings {
			v.addValue(b, value, n)
			continue
		}
		for e := b.Elements(value); ; {
			element, ok := e.Next()
			if !ok {
				break
			}
			v.addValue(b, element, n)
		}
	}
}

func (v *ValueCounter) addValue(b *span.Batch, value span.Value, n int64) {
	text, ok := match.AppendText(v.scratch[:0], b, value)
	v.scratch = text
	if ok {
		v.add(text, value.Type, n)
	}
}

func (v *ValueCounter) add(text []byte, typ span.Type, n int64) {
	if len(v.total) > MaxDistinct || !bytes.HasPrefix(text, []byte(v.prefix)) {
		return
	}
	v.total[textValue{string(text), typ}] += n
}

// List is the values, most frequent first, then by text and type.
func (v *ValueCounter) List(limit int) []store.ValueCount {
	list := make([]store.ValueCount, 0, len(v.total))
	for value, n := range v.total {
		list = append(list, store.ValueCount{Text: value.text, Type: value.typ, N: n})
	}
	slices.SortFunc(list, func(a, b store.ValueCount) int {
		return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Text, b.Text), cmp.Compare(a.Type, b.Type))
	})
	return First(list, limit)
}

// Add counts a key that was counted elsewhere.
func (t KeyCounts) Add(key string, in store.FieldScope, typ span.Type, n int64) {
	place := keyPlace{key, in}
	types := t[place]
	if types == nil {
		types = new([span.NumTypes]int64)
		t[place] = types
	}
	types[typ] += n
}

// Merge adds what was counted elsewhere.
func (t KeyCounts) Merge(o KeyCounts) {
	for place, types := range o {
		for typ, n := range types {
			if n > 0 {
				t.Add(place.key, place.in, span.Type(typ), n)
			}
		}
	}
}
