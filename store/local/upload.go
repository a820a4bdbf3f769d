package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/bucket"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/policy"
	"github.com/spanloom/spanloom/store/local/internal/segment"
)

const (
	uploadsAtOnce = 2
	uploadRate    = 64 << 20 // bytes a second, of all uploads together
	// uploadBatch segments are uploaded before a manifest names them, so that a folder that is behind by thousands is seen to catch up.
	uploadBatch = 16
	// retireAfter is how long an object that counts no more stays: longer than readers take to see it, and than page tokens live.
	retireAfter = 10 * time.Minute
	// oldGenerations are kept behind the newest one.
	oldGenerations = 16
	uploadRetry    = time.Second // doubled with each failure
	maxUploadRetry = time.Minute
)

// uploads is the writer's side of a bucket.
type uploads struct {
	far   *remote
	owner manifest.Owner
	wait  time.Duration // how long another writer's beat is watched; 0: not at all
	wake  chan struct{}
	pace  pace
	// ctx is that of the uploads that the engine makes by itself; stop ends it.
	ctx  context.Context
	stop context.CancelFunc

	round sync.Mutex // one at a time
	mu    sync.Mutex
	gen   *manifest.Generation      // that counts, as far as is known
	there map[string]manifest.Entry // objects that are uploaded and not in gen
	// sweep says that an upload may have ended in the middle: of the process before this one, or of this one. round is held
	sweep    bool
	sweepErr string // what was logged last
	// claimed says that the bucket was asked and gen is this folder's.
	claimed bool
	lost    string // why nothing is uploaded any more
	count   int64
	bytes   int64
	checked time.Time
	beat    uint64
}

// pokeUploads says that there is something to upload, or to let go of.
func (e *Engine) pokeUploads() {
	if e.up == nil {
		return
	}
	select {
	case e.up.wake <- struct{}{}:
	default: // it is awake
	}
}

// uploadOn uploads until the engine is closed.
func (e *Engine) uploadOn() {
	tick := time.NewTicker(houseworkEvery)
	defer tick.Stop()
	pause := uploadRetry
	var again <-chan time.Time
	last := ""
	e.pokeUploads()
	for {
		select {
		case <-e.up.ctx.Done():
			return
		case <-tick.C:
		case <-e.up.wake:
		case <-again:
		}
		err := e.Upload(e.up.ctx)
		again = nil
		if err == nil {
			pause, last = uploadRetry, ""
			continue
		}
		last = e.logNew("segments could not be uploaded", err, last)
		if bucketSays(err) {
			return
		}
		again = time.After(pause)
		pause = min(2*pause, maxUploadRetry)
	}
}

// Upload copies all closed segments into the bucket and makes them count there. The engine does so by itself; tests and tools call it.
// What was uploaded when it fails stays, and is not uploaded again by this process.
func (e *Engine) Upload(ctx context.Context) error {
	e.up.round.Lock()
	defer e.up.round.Unlock()
	err := e.upload(ctx)
	e.up.far.note(err)
	return err
}

func (e *Engine) upload(ctx context.Context) error {
	u := e.up
	u.mu.Lock()
	lost, claimed, known := u.lost, u.claimed, u.gen
	u.mu.Unlock()
	if lost != "" {
		return e.fence("")
	}
	if !claimed {
		if err := e.claimLate(ctx, known); err != nil {
			return err
		}
	}
	e.reopen(ctx)
	if u.sweep {
		e.sweepBucket(ctx)
	}
	tried := make(map[string]bool)
	for {
		batch := e.waiting(tried)
		var err error
		if len(batch) > 0 {
			err = e.send(ctx, batch)
			u.sweep = u.sweep || err != nil
		}
		for _, f := range batch {
			f.release()
		}
		if perr := e.publishChanges(ctx); perr != nil || err != nil {
			return errors.Join(err, perr)
		}
		if len(batch) == 0 {
			break
		}
	}
	return e.removeRetired(ctx)
}

// waiting is the next segments to upload, oldest first, each held.
func (e *Engine) waiting(tried map[string]bool) (batch []*segmentFile) {
	u := e.up
	in := u.objects()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.segments {
		name := f.entry.Object()
		if f.far || in[name] || tried[name] {
			continue
		}
		if tried[name] = true; len(batch) < uploadBatch {
			batch = append(batch, f.hold())
		} else {
			delete(tried, name)
			break
		}
	}
	return batch
}

// objects is what is in the bucket.
func (u *uploads) objects() map[string]bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	in := make(map[string]bool, len(u.gen.Entries)+len(u.there))
	for name := range u.there {
		in[name] = true
	}
	for _, x := range u.gen.Entries {
		in[x.Object()] = true
	}
	return in
}

// send uploads segments, some at once. A segment whose bytes are damaged is reported and left out.
func (e *Engine) send(ctx context.Context, batch []*segmentFile) error {
	u := e.up
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	slots := make(chan struct{}, uploadsAtOnce)
	for _, f := range batch {
		slots <- struct{}{}
		mu.Lock()
		failed := len(errs) > 0
		mu.Unlock()
		if failed || ctx.Err() != nil {
			<-slots
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			if err := f.r.Verify(); err != nil && f.damage(err) {
				return
			}
			p := &paced{ctx: ctx, pace: &u.pace, p: f.m.Bytes()}
			size := int64(len(p.p))
			err := u.far.bucket.Put(ctx, f.entry.Object(), io.NewSectionReader(p, 0, size))
			p.close()
			if err != nil {
				mu.Lock()
				errs = append(errs, bucket.Problem(u.far.bucket, "upload "+f.entry.Object(), err))
				mu.Unlock()
				return
			}
			u.mu.Lock()
			u.there[f.entry.Object()] = f.entry
			u.count++
			u.bytes += size
			u.mu.Unlock()
		})
	}
	all.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// paced is the bytes of a mapped file, at a bounded rate. After an upload that was given up somebody may still read: close makes that an error,
// for the file may be unmapped then.
type paced struct {
	ctx  context.Context
	pace *pace
	mu   sync.RWMutex
	p    []byte // nil: closed
}

func (r *paced) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.copy(p, off)
	r.pace.wait(r.ctx, n)
	return n, err
}

func (r *paced) copy(p []byte, off int64) (n int, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.p == nil {
		return 0, os.ErrClosed
	}
	if off >= int64(len(r.p)) {
		return 0, io.EOF
	}
	err = segment.Guard(func() error {
		n = copy(p, r.p[off:])
		return nil
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (r *paced) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.p = nil
}

// pace is the rate of all uploads together.
type pace struct {
	mu   sync.Mutex
	next time.Time
}

func (c *pace) wait(ctx context.Context, n int) {
	c.mu.Lock()
	now := time.Now()
	if c.next.Before(now) {
		c.next = now
	}
	c.next = c.next.Add(time.Duration(n) * time.Second / uploadRate)
	ahead := c.next.Sub(now)
	c.mu.Unlock()
	if ahead < 10*time.Millisecond { // a timer is no finer
		return
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// publishChanges makes a new generation of the manifest count if there is something new to say.
func (e *Engine) publishChanges(ctx context.Context) error {
	u := e.up
	wanted := e.allEntries()
	u.mu.Lock()
	g := u.next(wanted, e.now())
	was := u.gen
	u.mu.Unlock()
	if slices.EqualFunc(g.Entries, was.Entries, func(a, b manifest.Entry) bool { return a.Object() == b.Object() }) {
		return nil
	}
	g.Through, g.Next = max(e.man.Through(), was.Through), max(e.man.State().Next, was.Next)
	if err := u.publish(ctx, e, g); err != nil {
		return err
	}
	e.keepCopy(u.gen)
	select {
	case e.wake <- struct{}{}: // what is uploaded may leave the disk
	default: // it is awake
	}
	if g.Number > oldGenerations {
		_ = u.far.bucket.Remove(ctx, manifest.GenerationName(g.Number-oldGenerations)) // one that stays does no harm
	}
	return nil
}

// next is the generation behind this one: of what the engine wants, that which is uploaded; and what was there before and whose rows are in
// a segment that is still to be uploaded. What was there or was uploaded, and is wanted no more, is retired: a segment may be compacted between its upload
// and the generation that would have named it. mu is held.
func (u *uploads) next(wanted []manifest.Entry, now time.Time) *manifest.Generation {
	g := &manifest.Generation{Number: u.gen.Number + 1, Owner: u.owner, Retired: slices.Clone(u.gen.Retired)}
	was := make(map[string]bool, len(u.gen.Entries))
	for _, x := range u.gen.Entries {
		was[x.Object()] = true
	}
	is := make(map[string]bool, len(wanted))
	var pending []manifest.Entry
	for _, x := range wanted {
		name := x.Object()
		is[name] = true
		if _, there := u.there[name]; there || was[name] {
			g.Entries = append(g.Entries, x)
		} else {
			pending = append(pending, x)
		}
	}
	for _, x := range slices.Concat(u.gen.Entries, slices.Collect(maps.Values(u.there))) {
		if is[x.Object()] {
			continue
		}
		if slices.ContainsFunc(pending, func(p manifest.Entry) bool { return p.Covers(x) }) {
			g.Entries = append(g.Entries, x)
			continue
		}
		reason := manifest.Age
		if slices.ContainsFunc(wanted, func(w manifest.Entry) bool { return w.Covers(x) }) {
			reason = manifest.Compacted
		}
		g.Retired = append(g.Retired, manifest.Retired{Number: x.Number, Hour: x.Hour, Sum: x.Sum, Reason: reason, At: now.UnixNano()})
	}
	slices.SortFunc(g.Entries, func(a, b manifest.Entry) int { return cmp.Compare(a.Number, b.Number) })
	return g
}

// publish creates a generation. Whoever comes second learns that it is not the only writer.
func (u *uploads) publish(ctx context.Context, e *Engine, g *manifest.Generation) error {
	p, err := g.Append(nil)
	if err != nil {
		return err
	}
	name := manifest.GenerationName(g.Number)
	err = u.far.bucket.Create(ctx, name, p)
	if errors.Is(err, bucket.ErrExists) {
		there, rerr := u.far.generation(ctx, g.Number)
		if rerr != nil {
			return rerr
		}
		if there.Owner != u.owner {
			return e.fence("generation " + fmt.Sprint(g.Number))
		}
		g, err = there, nil // this one's own, of an attempt whose answer was lost: what it lacks comes with the next
	}
	if err != nil {
		return bucket.Problem(u.far.bucket, "create "+name, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gen, u.checked = g, e.now()
	for _, x := range g.Entries {
		delete(u.there, x.Object())
	}
	for _, x := range g.Retired {
		delete(u.there, x.Object())
	}
	return nil
}

// bucketStats is nil without a bucket. inMemory is the receipt of the oldest row that is in no segment; 0 if there is none.
func (e *Engine) bucketStats(inMemory int64) *store.BucketStats {
	if e.up == nil {
		return nil
	}
	u := e.up
	in := u.objects()
	u.mu.Lock()
	s := &store.BucketStats{Generation: u.gen.Number, Segments: len(u.gen.Entries), Bytes: policy.Bytes(u.gen.Entries), Uploads: u.count, UploadedBytes: u.bytes,
		CheckedAt: unixNano(u.checked), Lost: u.lost, Since: inMemory}
	u.mu.Unlock()
	e.mu.Lock()
	for _, f := range e.segments {
		switch {
		case f.far:
			s.Far++
		case !in[f.entry.Object()]:
			s.WaitingSegments++
			s.WaitingBytes += f.entry.Bytes
			if s.Since == 0 || f.entry.MinReceived < s.Since {
				s.Since = f.entry.MinReceived
			}
		}
	}
	s.Far += len(e.missing.later) + len(e.missing.lost)
	e.mu.Unlock()
	u.far.stats(s, u.far.cache.Stats())
	return s
}
