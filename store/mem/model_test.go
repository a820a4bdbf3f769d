package mem_test

import (
	"testing"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

func TestModel(t *testing.T) {
	storetest.Model(t, func(t *testing.T, now func() time.Time) store.Engine {
		return mem.New(mem.Options{MaxBytes: 512 << 20, Now: now})
	}, storetest.ModelOptions{})
}
