package local

import (
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestModel closes and opens the engine on one folder in between, writes segments, joins them and cleans up, with blocks and segments of
// several sizes: none of that may change an answer.
func TestModel(t *testing.T) {
	for name, o := range map[string]Options{
		"usual":         {Sync: time.Second},
		"tiny files":    {FileSize: 4 << 10},
		"tiny blocks":   {Sync: time.Second, BlockRows: 3},
		"small blocks":  {Sync: time.Second, SegmentRows: 150, BlockRows: 7},
		"tiny segments": {Sync: time.Second, SegmentRows: 5, BlockRows: 2},
	} {
		t.Run(name, func(t *testing.T) {
			var fsys faultfs.FS
			start := func(t *testing.T, now func() time.Time) store.Engine {
				o := o
				o.FS, o.Now, o.MaxMemory = fsys, now, 512<<20
				return open(t, o)
			}
			storetest.Model(t, func(t *testing.T, now func() time.Time) store.Engine {
				fsys = faultfs.NewMem(1)
				return start(t, now)
			}, storetest.ModelOptions{
				Reopen: func(t *testing.T, e store.Engine, now func() time.Time) store.Engine {
					mustClose(t, e.(*Engine))
					return start(t, now)
				},
				Hidden: map[string]func(*testing.T, store.Engine){
					"flush": func(t *testing.T, e store.Engine) {
						if err := e.(*Engine).Flush(t.Context()); err != nil {
							t.Error(err)
						}
					},
					"freeze": func(t *testing.T, e store.Engine) { e.(*Engine).freeze(func() bool { return true }) },
					"clean": func(t *testing.T, e store.Engine) {
						if err := e.(*Engine).clean(t.Context()); err != nil {
							t.Error(err)
						}
					},
					"tidy": func(t *testing.T, e store.Engine) {
						if err := e.(*Engine).tidy(); err != nil {
							t.Error(err)
						}
					},
				},
			})
		})
	}
}
