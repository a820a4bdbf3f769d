package mem

import (
	"testing"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestConformanceOfSmallChunks runs the suite where nearly every question spans many chunks.
func TestConformanceOfSmallChunks(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Engine {
		e := New(Options{MaxBytes: 1 << 30, Now: now})
		e.chunkBytes = 3000
		return e
	})
}
