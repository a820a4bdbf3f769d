package forward

import (
	"context"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/otlpclient"
	"github.com/spanloom/spanloom/store/storetest"
)

// lastAnswer takes spans, and the forwarder is told to stop while it does.
type lastAnswer struct{ f *Forwarder }

func (c lastAnswer) send(context.Context, []byte) otlpclient.Answer {
	c.f.stop()
	return otlpclient.Answer{Verdict: otlpclient.Accepted}
}

func (lastAnswer) close() {}

// TestStopMarks: what was offered before the end is not offered again after the next start.
func TestStopMarks(t *testing.T) {
	to, err := ParseTarget("http://127.0.0.1:1", func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: "/data/forward", FS: faultfs.NewMem(1), Targets: []*Target{to}, Sync: time.Second, Linger: time.Millisecond}
	f, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	f.senders[0].client = lastAnswer{f} // read behind the lock that Accept takes
	f.Accept(storetest.Batch(t, "1 a - front server get 0s 1ms"))
	f.stopped.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s := f.Stats().Targets[0]; s.Spans != 0 {
		t.Errorf("%d spans wait again", s.Spans)
	}
}
