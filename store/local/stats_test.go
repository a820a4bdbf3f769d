package local

import (
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
)

// TestSegmentStats: what Status and metrics say of segments, from the first flush to the compaction of an hour that ended.
func TestSegmentStats(t *testing.T) {
	c := newClock()
	e := open(t, Options{FS: faultfs.NewMem(1), Now: c.Now, Retention: 48 * time.Hour, MaxDisk: 1 << 30})
	if s := e.Stats().Segments; s == nil || s.Files != 0 || s.FullIn >= 0 || s.Holds != 48*time.Hour {
		t.Fatalf("empty: %+v", s)
	}
	for n := range 3 {
		for range 1 + n { // a batch that is sent again is no new spans
			if err := e.Accept(t.Context(), numbered(n, c.Now())); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s := e.Stats()
	if g := s.Segments; g.Files != 3 || g.Bytes == 0 || g.Bytes >= s.DiskBytes || g.Duplicates != 3*rows || g.DueJobs != 0 || g.BytesPerHour == 0 || g.FullIn >= 0 {
		t.Errorf("after three flushes: %+v of %+v", *g, s)
	}
	if s.Oldest != c.Now().UnixNano()/1e6*1e6 && s.Oldest != c.Now().UnixNano() {
		t.Errorf("oldest %d, it is %d", s.Oldest, c.Now().UnixNano())
	}
	c.Add(2 * time.Hour)
	if g := e.Stats().Segments; g.DueJobs != 1 || g.DueBytes != g.Bytes {
		t.Errorf("the hour ended: %+v", *g)
	}
	if err := e.tidy(); err != nil {
		t.Fatal(err)
	}
	if g := e.Stats().Segments; g.Files != 1 || g.Joined != 1 || g.DueJobs != 0 || g.Duplicates != 3*rows {
		t.Errorf("joined: %+v", *g)
	}
}
