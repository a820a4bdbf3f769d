package local_test

import (
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local"
	"github.com/spanloom/spanloom/store/storetest"
)

func TestConformance(t *testing.T) {
	for name, sync := range map[string]time.Duration{"always": 0, "1s": time.Second} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, now func() time.Time) store.Engine {
				e, err := local.Open(t.Context(), local.Options{Dir: "/data", FS: faultfs.NewMem(1), MaxMemory: 512 << 20, Sync: sync, Now: now})
				if err != nil {
					t.Fatal(err)
				}
				return e
			})
		})
	}
}
