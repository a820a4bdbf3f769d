package segment

import (
	"fmt"
	"testing"
)

// TestDictFinds: what a dictionary stores in another form is found without being made, and what it does not have is not.
func TestDictFinds(t *testing.T) {
	repeat := func(n int, text func(i int) string) (list []string) {
		for i := range n {
			list = append(list, text(i))
		}
		return list
	}
	for name, texts := range map[string][]string{
		"words":       {"get", "put", "", "delete"},
		"one":         {"0"},
		"uuids":       repeat(30, func(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", i, 7*i) }),
		"hexadecimal": repeat(30, func(i int) string { return fmt.Sprintf("%016x", 3*i) }),
		"numbers":     repeat(100, func(i int) string { return fmt.Sprint(i * i) }),
		"paths":       repeat(100, func(i int) string { return fmt.Sprintf("/cart/%d/items", i) }),
		"some numbers": append(repeat(60, func(i int) string { return fmt.Sprintf("10.0.0.%d:80%02d", i%4, i) }),
			"localhost", "none", "007", "7", "07", "a7", "7a", "12345678901234567890", "x0", "x00"),
	} {
		t.Run(name, func(t *testing.T) {
			c := coder{p: newPacker()}
			list := make([][]byte, len(texts))
			known := make(map[string]int)
			for i, text := range texts {
				list[i], known[text] = []byte(text), i
			}
			p := c.texts(nil, list, nil, nil)
			m := newMemory()
			u := &unpacker{p: p}
			d := readTexts(u, len(list), nil, nil, &m)
			if u.err != nil {
				t.Fatal(u.err)
			}
			lazy := d.lazy != nil
			for _, text := range texts {
				for _, asked := range []string{text, text + "0", "0" + text, text + "x", text[:len(text)/2]} {
					code, ok := d.Find([]byte(asked))
					if want, is := known[asked]; ok != is || ok && int(code) != want {
						t.Fatalf("%q has code %d (%v), want %d (%v)", asked, code, ok, want, is)
					}
				}
			}
			if (d.lazy != nil) != lazy {
				t.Error("looking for a text made all of them")
			}
		})
	}
}
