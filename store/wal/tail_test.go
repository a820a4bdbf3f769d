package wal

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestTail compares with one slice.
func TestTail(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var got tail
	var want []byte
	for range 2000 {
		if r.IntN(3) > 0 {
			p := make([]byte, 1+r.IntN(20_000))
			if r.IntN(100) == 0 {
				p = make([]byte, tailChunk+1)
			}
			p[0] = byte(r.Uint32())
			got.add(p)
			want = append(want, p...)
		} else if n := r.IntN(len(want) + 1); r.IntN(2) == 0 {
			got.trim(n)
			want = want[n:]
		} else {
			got.trim(len(want))
			want = nil
		}
		if got.size != len(want) || !bytes.Equal(got.appendTo(nil), want) {
			t.Fatalf("%d bytes, want %d", got.size, len(want))
		}
	}
}
