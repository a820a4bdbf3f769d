package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/forward"
	"github.com/spanloom/spanloom/process"
	"github.com/spanloom/spanloom/query/uiapi"
	"github.com/spanloom/spanloom/span"
)

// forwardFolder is where copies wait for their backends.
const forwardFolder = "forward"

// openForward opens the copies for other backends: nil if there are none.
func openForward(ctx context.Context, c *config.Config, o Options, now func() time.Time) (*forward.Forwarder, error) {
	if len(c.ForwardTo) == 0 {
		return nil, nil
	}
	fo := forward.Options{Dir: filepath.Join(c.DataDir, forwardFolder), FS: o.FS, Now: now, Log: o.Log, MaxDisk: c.ForwardDisk.Of(volumeBytes(c.DataDir))}
	for _, text := range c.ForwardTo {
		t, err := forward.ParseTarget(text, os.Getenv)
		if err != nil {
			return nil, err
		}
		for _, w := range t.Warnings {
			o.Log.Warn(w, "target", t.Name)
		}
		fo.Targets = append(fo.Targets, t)
	}
	if err := prepareFolder(c.DataDir); err != nil {
		return nil, fmt.Errorf("--forward-to needs a --data-dir in which copies can wait: %w", err)
	}
	var err error
	if fo.Sync, err = walSync(c.WALSync); err != nil {
		return nil, err
	}
	f, err := forward.Open(ctx, fo)
	if err != nil {
		return nil, fmt.Errorf("open --forward-to: %w", err)
	}
	for _, t := range fo.Targets {
		o.Log.Info("copies of accepted spans are forwarded", "target", t.Name, "address", t.Address, "dir", fo.Dir, "limit", fo.MaxDisk)
	}
	return f, nil
}

// copying is the sink of the steps where spans are forwarded: a sender is answered when the engine has his spans and their copies are in the
// log.
type copying struct {
	process.Sink
	copies *forward.Forwarder
}

func (c copying) Accept(ctx context.Context, b *span.Batch) error {
	if err := c.Sink.Accept(ctx, b); err != nil {
		return err
	}
	c.copies.Accept(b)
	return nil
}

// forwardStatus is the copies in the own API's form.
func forwardStatus(f *forward.Forwarder) *uiapi.ForwardStatus {
	if f == nil {
		return nil
	}
	s := f.Stats()
	out := &uiapi.ForwardStatus{Bytes: s.Bytes, LimitBytes: s.LimitBytes, Damaged: s.Damaged, Targets: []uiapi.ForwardTarget{}}
	for _, t := range s.Targets {
		out.Targets = append(out.Targets, uiapi.ForwardTarget{Name: t.Name, Address: t.Address, Spans: t.Spans, Oldest: uiapi.Instant(t.Oldest), SentSpans: t.SentSpans,
			RefusedSpans: t.RefusedSpans, DroppedSpans: t.DroppedSpans, UnreadableSpans: t.UnreadableSpans, Failures: t.Failures, LastError: t.LastError,
			FailedAt: uiapi.Instant(t.FailedAt), LastRefusal: t.LastRefusal})
	}
	return out
}
