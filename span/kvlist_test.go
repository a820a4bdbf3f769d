package span

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

func TestPairs(t *testing.T) {
	// a: "x", b: {c: [1, true]}, an entry without a value, an entry without a key
	raw, err := hex.DecodeString(strings.ReplaceAll("0a08 0a0161 1203 0a0178"+
		"0a14 0a0162 120f 320d 0a0b 0a0163 1206 2a04 0a02 1801"+
		"0a03 0a0164"+"0a04 1202 1805", " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.AddText("something before it")
	v := StrValue(TypeKVList, b.AddString(raw))
	if got, want := pairs(&b, v), `a="x" b={c=[1]} d=null =5 `; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for cut := range raw { // whatever is cut off, no entry is made up and nothing panics
		v := StrValue(TypeKVList, b.AddString(raw[:cut]))
		if got := pairs(&b, v); !strings.HasPrefix(`a="x" b={c=[1]} d=null =5 `, got) {
			t.Errorf("cut at %d: %s", cut, got)
		}
	}
	for _, v := range []Value{{}, IntValue(3), StrValue(TypeArray, Str{})} {
		e := b.Pairs(v)
		if _, _, ok := e.Next(); ok {
			t.Errorf("%v has entries", v)
		}
	}
}

func pairs(b *Batch, v Value) string {
	var w strings.Builder
	for e := b.Pairs(v); ; {
		key, v, ok := e.Next()
		if !ok {
			return w.String()
		}
		fmt.Fprintf(&w, "%s=", b.Bytes(key))
		switch v.Type {
		case TypeString:
			fmt.Fprintf(&w, "%q", b.Bytes(v.Str()))
		case TypeInt:
			fmt.Fprint(&w, v.Int())
		case TypeKVList:
			fmt.Fprintf(&w, "{%s}", strings.TrimSpace(pairs(b, v)))
		case TypeArray:
			list := []string{}
			for e := b.Elements(v); ; {
				v, ok := e.Next()
				if !ok {
					break
				}
				list = append(list, fmt.Sprint(v.Bits))
			}
			fmt.Fprint(&w, list)
		default:
			w.WriteString("null")
		}
		w.WriteByte(' ')
	}
}
