package wal

import (
	"context"
	"fmt"
	"testing"

	"github.com/spanloom/spanloom/span"
)

// TestAgain reads ranges of frames over several files while the log is open.
func TestAgain(t *testing.T) {
	o := options(newFS(t, 1), Interval)
	l, err := Open(context.Background(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for n := range 9 {
		ticket, err := l.Append(batch(n, rows))
		if err != nil {
			t.Fatal(err)
		}
		l.Done(ticket)
		if n%3 == 2 {
			l.Roll()
		}
	}
	for _, c := range [][2]uint64{{1, 9}, {2, 5}, {4, 4}, {9, 20}, {10, 12}} {
		var got []int
		damage, err := l.Again(c[0], c[1], func() *span.Batch { return new(span.Batch) }, func(b *span.Batch, _ uint64) error {
			got = append(got, number(t, b, rows))
			return nil
		})
		var want []int
		for s := c[0]; s <= min(c[1], 9); s++ {
			want = append(want, int(s)-1)
		}
		if err != nil || len(damage) > 0 || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("frames %d to %d: %v, want %v (%v, %v)", c[0], c[1], got, want, damage, err)
		}
	}
}
