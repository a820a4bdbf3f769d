package engines_test

import (
	"testing"

	"github.com/spanloom/spanloom/store/local"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/test/engines"
)

// BenchmarkAsk asks the engines of this process what the engines of servers are asked in their rooms: see engines.Ask.
func BenchmarkAsk(b *testing.B) {
	b.Run("local", func(b *testing.B) {
		e, err := local.Open(b.Context(), local.Options{Dir: b.TempDir(), MaxMemory: 1 << 30, MaxDisk: 32 << 30})
		if err != nil {
			b.Fatal(err)
		}
		defer e.Close()
		engines.Ask(b, e, nil, func(spans int, _ func() float64) {
			if err := e.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.Logf("%.1f bytes a span on the disk", float64(e.Stats().DiskBytes)/float64(spans))
		})
	})
	b.Run("memory", func(b *testing.B) {
		e := mem.New(mem.Options{MaxBytes: 4 << 30})
		defer e.Close()
		engines.Ask(b, e, nil, func(spans int, _ func() float64) {
			b.Logf("%.1f bytes a span in memory", float64(e.Stats().Bytes)/float64(spans))
		})
	})
}
