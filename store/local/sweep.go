package local

import (
	"context"
	"errors"
	"time"

	"github.com/spanloom/spanloom/store/local/internal/bucket"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
)

// sweepBucket removes what uploads that ended in the middle left behind, and generations that should have gone. Nothing that counts depends on it: where it
// fails, uploads go on. What does not go away by waiting is not tried again before the next start, or the next upload that fails.
func (e *Engine) sweepBucket(ctx context.Context) {
	u := e.up
	b := u.far.bucket
	removed, err := b.Sweep(ctx, manifest.SegmentPrefix)
	if err == nil {
		var n int
		n, err = b.Sweep(ctx, manifest.GenerationPrefix)
		removed += n
	}
	if err != nil {
		err = bucket.Problem(b, "remove what is left of uploads that ended in the middle", err)
	} else if err = u.removeOld(ctx); err == nil {
		u.sweep = false
	}
	if removed > 0 {
		e.log.Info("removed from the bucket what was left of uploads that ended in the middle", "bucket", b.String(), "uploads", removed)
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	u.sweep = !errors.Is(err, bucket.ErrDenied)
	u.sweepErr = e.logNew("the bucket could not be tidied; nothing is lost by that, but it may grow", err, u.sweepErr)
}

// removeOld removes generations far behind the one that counts.
func (u *uploads) removeOld(ctx context.Context) error {
	u.mu.Lock()
	counts := u.gen.Number
	u.mu.Unlock()
	names, err := u.far.bucket.List(ctx, manifest.GenerationPrefix, manifest.GenerationPrefix)
	if err != nil {
		return bucket.Problem(u.far.bucket, "list the manifests", err)
	}
	for _, name := range names {
		if n, ok := manifest.GenerationNumber(name); ok && n+oldGenerations <= counts {
			if err := u.far.bucket.Remove(ctx, name); err != nil {
				return bucket.Problem(u.far.bucket, "remove "+name, err)
			}
		}
	}
	return nil
}

// removeRetired removes objects that nobody needs any more.
func (e *Engine) removeRetired(ctx context.Context) error {
	u := e.up
	in := u.objects()
	u.mu.Lock()
	retired := u.gen.Retired
	u.mu.Unlock()
	var left []manifest.Retired
	var err error
	for _, r := range retired {
		// One of a clock that ran ahead is as old as it will ever be.
		if age := e.now().Sub(time.Unix(0, r.At)).Abs(); age < retireAfter || in[r.Object()] || err != nil {
			if !in[r.Object()] {
				left = append(left, r)
			}
			continue
		}
		if err = u.far.bucket.Remove(ctx, r.Object()); err != nil {
			err = bucket.Problem(u.far.bucket, "remove "+r.Object(), err)
			left = append(left, r)
		}
	}
	if len(left) < len(retired) {
		u.mu.Lock()
		g := *u.gen // what was published still names them; the next one does not
		g.Retired = left
		u.gen = &g
		u.mu.Unlock()
	}
	return err
}
