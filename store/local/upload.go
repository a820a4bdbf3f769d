package local

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/bucket"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/policy"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/wal"
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
	// closeWait bounds what Close writes and uploads: who stops a process waits 30 s.
	closeWait = 10 * time.Second
	beats     = 3 // of a writer, in the time for which another one watches
)

// The files of a tenant's folder that know the bucket.
const (
	identityFile = "bucket.json"     // who this folder is
	copyFile     = "bucket.manifest" // the generation that counted when the bucket was reached last
	ownerObject  = "owner"
)

// uploads is the writer's side of a bucket.
type uploads struct {
	far   *remote
	owner manifest.Owner
	wait  time.Duration // how long another writer's beat is watched; 0: not at all
	wake  chan struct{}
	pace  pace

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

// identity is what bucket.json holds.
type identity struct {
	Version int    `json:"version"`
	Owner   string `json:"owner"`
	Bucket  string `json:"bucket"` // that was written to last
}

// heartbeat is what the object `owner` holds.
type heartbeat struct {
	Version  int    `json:"version"`
	Owner    string `json:"owner"`
	Writer   string `json:"writer"` // for people
	Beat     uint64 `json:"beat"`   // another number each time
	Released bool   `json:"released"`
}

// maxSmall bounds the two.
const maxSmall = 4 << 10

func parseHeartbeat(p []byte) (h heartbeat, err error) {
	if err = json.Unmarshal(p, &h); err != nil {
		return heartbeat{}, fmt.Errorf("the object %q cannot be read: %w", ownerObject, err)
	}
	if h.Version != 1 {
		return heartbeat{}, fmt.Errorf("%w: version %d of the object %q, this one reads up to 1", wal.ErrNewer, h.Version, ownerObject)
	}
	return h, nil
}

// attach finds what the bucket holds and takes it over, before the log is read. It fails where another writer has the bucket, or where
// it cannot be reached and this folder does not know what is in it.
func (e *Engine) attach(ctx context.Context) error {
	if e.o.MaxDisk <= 0 {
		_, total, err := e.fs.Space(e.o.Dir)
		if err != nil {
			return fmt.Errorf("size of the volume: %w", err)
		}
		e.o.MaxDisk = total / 5 * 4
	}
	cache := min(e.o.MaxDisk/cacheShare, 64<<30)
	e.o.MaxDisk -= cache
	dir := tenantDir(e.o.Dir)
	far, err := newRemote(e.ctx, e.fs, filepath.Join(dir, cacheDir), e.o.Bucket, e.now, e.log, cache, e.o.MaxMemory/cacheMemoryShare)
	if err != nil {
		return wal.FolderProblem(e.o.Dir, err)
	}
	far.report = e.farDamage
	u := &uploads{far: far, wait: e.o.LockWait, wake: make(chan struct{}, 1), there: make(map[string]manifest.Entry), gen: &manifest.Generation{}, sweep: true}
	switch {
	case u.wait == 0:
		u.wait = wal.DefaultLockWait
	case u.wait < 0:
		u.wait = 0
	}
	known, err := e.identify(u)
	if err != nil {
		return err
	}
	e.up = u
	err = e.claim(ctx, known)
	if err == nil {
		e.log.Info("closed segments are copied into the bucket; documents and kept traces are not, they are in the data folder only",
			"bucket", e.o.Bucket.String(), "generation", u.gen.Number, "segments", len(u.gen.Entries), "folder", e.o.Dir)
		return nil
	}
	if u.lost != "" || known == nil || bucketSays(err) {
		return err
	}
	e.log.Warn("the bucket cannot be used as it should; spans stay in the data folder until it can", "bucket", e.o.Bucket.String(), "err", err)
	far.note(err)
	if !u.claimed {
		u.gen = known
	}
	return e.adopt(ctx)
}

// bucketSays reports whether an error is about what is in the bucket, or about who asks: it does not go away by waiting.
func bucketSays(err error) bool {
	return errors.Is(err, wal.ErrNewer) || problem.Of(err).Kind == problem.Invalid
}

// identify reads who this folder is, and what it knows of the bucket: nil if nothing.
func (e *Engine) identify(u *uploads) (*manifest.Generation, error) {
	dir := tenantDir(e.o.Dir)
	id, err := e.readIdentity()
	if err != nil {
		return nil, err
	}
	var known *manifest.Generation
	if id.Bucket == e.o.Bucket.String() {
		if p, err := readSmall(e, filepath.Join(dir, copyFile), manifest.MaxGeneration); err == nil {
			if known, err = manifest.ParseGeneration(p); err != nil {
				e.log.Warn("what the folder knows of the bucket cannot be read", "file", copyFile, "err", err)
			}
		}
	}
	if u.owner, err = manifest.ParseOwner(id.Owner); err != nil {
		rand.Read(u.owner[:])
	}
	if known != nil && known.Owner != u.owner {
		known = nil
	}
	want := identity{Version: 1, Owner: u.owner.String(), Bucket: e.o.Bucket.String()}
	if id == want {
		return known, nil
	}
	p, err := json.Marshal(want)
	if err != nil {
		return nil, err
	}
	return known, wal.Replace(e.fs, filepath.Join(dir, identityFile), p)
}

func (e *Engine) readIdentity() (id identity, err error) {
	path := filepath.Join(tenantDir(e.o.Dir), identityFile)
	p, err := readSmall(e, path, maxSmall)
	if errors.Is(err, os.ErrNotExist) {
		return identity{}, nil
	}
	if err != nil {
		return identity{}, err
	}
	if err := json.Unmarshal(p, &id); err != nil || id.Version > 1 {
		return identity{}, fmt.Errorf("%s: %w", path, errors.Join(err, errors.New("this version cannot read it")))
	}
	return id, nil
}

func readSmall(e *Engine, path string, most int64) ([]byte, error) {
	f, err := e.fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// claim makes sure that this folder is the one that writes, and takes over what is in the bucket. known is what the folder knew.
func (e *Engine) claim(ctx context.Context, known *manifest.Generation) error {
	u := e.up
	newest, err := u.far.newest(ctx, 0)
	if err != nil {
		return err
	}
	switch {
	case newest == nil:
		// An empty generation: of two that begin at once one learns of the other now.
		newest = &manifest.Generation{Number: 1, Owner: u.owner}
		if err := u.publish(ctx, e, newest); err != nil {
			return err
		}
	case newest.Owner != u.owner:
		if err := e.mayTakeOver(ctx, newest, known); err != nil {
			return err
		}
		e.log.Info("taking over a bucket from another writer", "bucket", e.o.Bucket.String(), "segments", len(newest.Entries), "generation", newest.Number)
		mine := *newest
		mine.Number, mine.Owner = newest.Number+1, u.owner
		if err := u.publish(ctx, e, &mine); err != nil {
			return err
		}
		newest = &mine
		if newest.Through > e.man.Through() { // this folder's log goes on behind the other one's
			if err := e.man.Apply(manifest.Change{Through: newest.Through}); err != nil {
				return err
			}
		}
	}
	if newest.Next > 0 {
		e.man.Seen(newest.Next - 1)
	}
	u.mu.Lock()
	u.gen, u.claimed, u.checked = newest, true, e.now()
	u.mu.Unlock()
	if err := u.sendBeat(ctx, e.now(), false); err != nil {
		return err
	}
	if err := u.tryRights(ctx); err != nil {
		return err
	}
	e.keepCopy(newest)
	return e.adopt(ctx)
}

// tryRights makes the calls that a writer needs later on, besides those that claim made: without the right to read, its spans would be missing when
// they have left the disk, without the right to remove, the bucket would grow for ever.
func (u *uploads) tryRights(ctx context.Context) error {
	if _, _, err := u.readBeat(ctx); err != nil {
		return err
	}
	never := manifest.GenerationName(0)
	if err := u.far.bucket.Remove(ctx, never); err != nil {
		return bucket.Problem(u.far.bucket, "remove "+never+", which is never there", err)
	}
	return nil
}

// mayTakeOver refuses where the other writer lives, or where this folder holds what the bucket does not.
func (e *Engine) mayTakeOver(ctx context.Context, newest, known *manifest.Generation) error {
	refuse := func(hint, format string, args ...any) error {
		return &problem.Problem{Kind: problem.Invalid, Field: "--bucket", Message: e.o.Bucket.String() + ": " + fmt.Sprintf(format, args...), Hint: hint}
	}
	in := make(map[string]bool)
	for _, g := range []*manifest.Generation{newest, known} {
		if g != nil {
			for _, x := range g.Entries {
				in[x.Object()] = true
			}
		}
	}
	for _, x := range e.entries() {
		if !in[x.Object()] {
			return refuse("give an empty --data-dir, which takes over what is in the bucket, or another prefix; the folder's spans can be read without --bucket",
				"another writer's spans are here, and %s holds spans of its own that are not", e.o.Dir)
		}
	}
	checks, err := wal.CheckDir(ctx, e.fs, filepath.Join(tenantDir(e.o.Dir), logDir))
	if err != nil {
		return err
	}
	for _, c := range checks {
		if c.Frames > 0 {
			return refuse("give an empty --data-dir, which takes over what is in the bucket, or another prefix; the folder's spans can be read without --bucket",
				"another writer's spans are here, and the log in %s holds spans that are not", e.o.Dir)
		}
	}
	if err := e.watch(ctx, refuse); err != nil {
		return err
	}
	// What this folder holds was in the bucket: of it stays what still is.
	still := make(map[string]bool)
	for _, x := range newest.Entries {
		still[x.Object()] = true
	}
	var gone []manifest.Removal
	for _, x := range e.entries() {
		if !still[x.Object()] {
			gone = append(gone, manifest.Removal{Number: x.Number, Reason: manifest.Compacted})
		}
	}
	return e.drop(ctx, gone)
}

// watch waits for a sign of life of the writer that had the bucket last.
func (e *Engine) watch(ctx context.Context, refuse func(hint, format string, args ...any) error) error {
	u := e.up
	first, ok, err := u.readBeat(ctx)
	if err != nil || !ok || first.Released || first.Owner == u.owner.String() {
		return err
	}
	inUse := func() error {
		return refuse("stop that one first, or give this one a prefix of its own; a process that only reads takes --read-only", "%s writes here", first.Writer)
	}
	if u.wait == 0 {
		return inUse()
	}
	e.log.Info("another writer had the bucket; waiting for a sign of life", "writer", first.Writer, "at most", u.wait)
	end := time.NewTimer(u.wait)
	defer end.Stop()
	tick := time.NewTicker(u.wait / 15)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return nil
		case <-tick.C:
		}
		now, ok, err := u.readBeat(ctx)
		switch {
		case err != nil:
			return err
		case !ok || now.Released:
			return nil
		case now.Beat != first.Beat || now.Owner != first.Owner:
			return inUse()
		}
	}
}

func (u *uploads) readBeat(ctx context.Context) (heartbeat, bool, error) {
	p, err := u.far.bucket.Read(ctx, ownerObject, 0, maxSmall)
	if errors.Is(err, bucket.ErrNotFound) {
		return heartbeat{}, false, nil
	}
	if err != nil {
		return heartbeat{}, false, bucket.Problem(u.far.bucket, "read the object "+ownerObject, err)
	}
	h, err := parseHeartbeat(p)
	return h, err == nil, err
}

// sendBeat shows that this writer lives, unless another one took over meanwhile.
func (u *uploads) sendBeat(ctx context.Context, now time.Time, released bool) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	u.mu.Lock()
	u.beat = max(u.beat+1, uint64(now.UnixNano()))
	h := heartbeat{Version: 1, Owner: u.owner.String(), Writer: fmt.Sprintf("%s (process %d)", host, os.Getpid()), Beat: u.beat, Released: released}
	u.mu.Unlock()
	p, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := u.far.bucket.Put(ctx, ownerObject, bytes.NewReader(p)); err != nil {
		return bucket.Problem(u.far.bucket, "write the object "+ownerObject, err)
	}
	return nil
}

// beatOn beats until the engine is closed.
func (e *Engine) beatOn() {
	every := e.up.wait / beats
	if every <= 0 {
		every = wal.DefaultLockWait / beats
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
		u := e.up
		u.mu.Lock()
		mine := u.claimed && u.lost == ""
		u.mu.Unlock()
		if !mine {
			continue
		}
		other, ok, err := u.readBeat(e.ctx)
		switch {
		case err != nil:
			u.far.note(err)
		case ok && other.Owner != u.owner.String():
			e.fence(other.Writer)
		default:
			if err := u.sendBeat(e.ctx, e.now(), false); err != nil {
				u.far.note(err)
			}
		}
	}
}

// fence ends uploading for good: another writer has the bucket.
func (e *Engine) fence(by string) error {
	u := e.up
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lost == "" {
		u.lost = fmt.Sprintf("another writer took the bucket over (%s): nothing is uploaded any more", by)
		e.log.Error("another writer took the bucket over: nothing is uploaded any more", "bucket", e.o.Bucket.String(), "writer", by,
			"hint", "stop one of the two; what is only here can be read here")
	}
	return problem.New(problem.Invalid, e.o.Bucket.String()+": "+u.lost, "stop one of the two writers")
}

// adopt opens what the bucket has and the engine has not.
func (e *Engine) adopt(ctx context.Context) error {
	has := e.allEntries()
	var far []manifest.Entry
	for _, x := range e.up.gen.Entries {
		if !slices.ContainsFunc(has, func(h manifest.Entry) bool { return h.Number == x.Number || h.Covers(x) }) {
			far = append(far, x)
		}
	}
	e.openFar(ctx, far)
	return ctx.Err()
}

// openFar opens segments in the bucket; those that cannot be opened are missing.
func (e *Engine) openFar(ctx context.Context, far []manifest.Entry) {
	files, later, lost := e.up.far.openAll(ctx, far, e.sides)
	for _, x := range lost {
		e.log.Error("a segment in the bucket cannot be read", "segment", x.entry.Object(), "spans", x.entry.Rows, "err", x.why)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range files {
		e.insert(f)
	}
	e.missing.later, e.missing.lost = append(e.missing.later, later...), append(e.missing.lost, lost...)
}

// reopen tries again what was away.
func (e *Engine) reopen(ctx context.Context) {
	e.mu.Lock()
	again := e.missing.later
	e.missing.later = nil
	e.mu.Unlock()
	if len(again) == 0 {
		return
	}
	entries := make([]manifest.Entry, len(again))
	for i, x := range again {
		entries[i] = x.entry
	}
	e.openFar(ctx, entries)
}

// farDamage is told of a segment of which questions met damage in the bucket.
func (e *Engine) farDamage(f *segmentFile, err error) {
	text := fmt.Sprintf("segment %s is damaged in the bucket: %v", f.entry.Object(), err)
	e.mu.Lock()
	e.lost = append(e.lost, text)
	e.mu.Unlock()
	e.log.Error("a segment in the bucket is damaged", "segment", f.entry.Object(), "spans", f.entry.Rows, "err", err)
}

// keepCopy writes down what the bucket holds, for a start without it.
func (e *Engine) keepCopy(g *manifest.Generation) {
	p, err := g.Append(nil)
	if err == nil {
		err = wal.Replace(e.fs, filepath.Join(tenantDir(e.o.Dir), copyFile), p)
	}
	if err != nil {
		e.log.Warn("what the bucket holds could not be written down", "file", copyFile, "err", err)
	}
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
		case <-e.ctx.Done():
			return
		case <-tick.C:
		case <-e.up.wake:
		case <-again:
		}
		err := e.Upload(e.ctx)
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

// claimLate is claim for an engine that started while the bucket was away. The log has been read meanwhile: where another writer was there, this one is fenced.
func (e *Engine) claimLate(ctx context.Context, known *manifest.Generation) error {
	u := e.up
	newest, err := u.far.newest(ctx, 0)
	if err != nil {
		return err
	}
	if newest == nil {
		newest = &manifest.Generation{Owner: u.owner}
	}
	if newest.Owner != u.owner {
		return e.fence("generation " + fmt.Sprint(newest.Number))
	}
	u.mu.Lock()
	u.gen, u.claimed = newest, true
	u.mu.Unlock()
	e.keepCopy(newest)
	if err := u.sendBeat(ctx, e.now(), false); err != nil {
		return err
	}
	if newest.Number != known.Number { // published by this folder, which did not write that down
		return e.adopt(ctx)
	}
	return nil
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
			p := f.m.Bytes()
			err := u.far.bucket.Put(ctx, f.entry.Object(), io.NewSectionReader(&paced{ctx, p, &u.pace}, 0, int64(len(p))))
			if err != nil {
				mu.Lock()
				errs = append(errs, bucket.Problem(u.far.bucket, "upload "+f.entry.Object(), err))
				mu.Unlock()
				return
			}
			u.mu.Lock()
			u.there[f.entry.Object()] = f.entry
			u.count++
			u.bytes += int64(len(p))
			u.mu.Unlock()
		})
	}
	all.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// paced is the bytes of a mapped file, at a bounded rate.
type paced struct {
	ctx  context.Context
	p    []byte
	pace *pace
}

func (r *paced) ReadAt(p []byte, off int64) (n int, err error) {
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
	r.pace.wait(r.ctx, n)
	return n, err
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

// allEntries is every segment that holds, those that could not be opened too.
func (e *Engine) allEntries() []manifest.Entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []manifest.Entry
	for _, f := range e.segments {
		list = append(list, f.entry)
	}
	for _, x := range slices.Concat(e.missing.later, e.missing.lost) {
		list = append(list, x.entry)
	}
	return list
}

// evictable are the segments on the disk that are in the bucket, and the bytes of those that are not yet. Without a bucket all may go.
func (e *Engine) evictable() (list []manifest.Entry, held int64) {
	local := e.localEntries()
	if e.up == nil {
		return local, 0
	}
	e.up.mu.Lock()
	defer e.up.mu.Unlock()
	in := make(map[string]bool, len(e.up.gen.Entries))
	for _, x := range e.up.gen.Entries {
		in[x.Object()] = true
	}
	for _, x := range local {
		if in[x.Object()] {
			list = append(list, x)
		} else {
			held += x.Bytes
		}
	}
	return list, held
}

// oversize lets segments go from the disk so that the rest fits: for good, or into the bucket only. housework is held.
func (e *Engine) oversize(ctx context.Context, next int64) error {
	list, held := e.evictable()
	use := e.use(next)
	use.Kept += held
	gone := policy.Oversize(list, e.limits(), use)
	if e.up == nil {
		return e.drop(ctx, gone)
	}
	for _, g := range gone {
		if f := e.holdSegment(g.Number); f != nil {
			err := e.evict(f, g)
			f.release()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// evict takes a segment off the disk that is in the bucket. What a look-up needs of it is taken over into the cache.
func (e *Engine) evict(f *segmentFile, g manifest.Removal) error {
	if f.far {
		return nil
	}
	far, err := e.up.far.openFrom(f.entry, e.sides, f.m.Bytes())
	if err != nil {
		return err
	}
	if err := e.man.Apply(manifest.Change{Remove: []manifest.Removal{g}}); err != nil {
		far.release()
		return err
	}
	e.mu.Lock()
	e.take(func(x manifest.Entry) bool { return x.Number == g.Number })
	e.insert(far)
	e.mu.Unlock()
	return e.removeFiles([]*segmentFile{f})
}

// finish writes and uploads what is in memory, as far as that goes quickly, and lets go of the bucket.
func (e *Engine) finish() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), closeWait)
	defer cancel()
	u := e.up
	u.mu.Lock()
	mine := u.claimed && u.lost == ""
	u.mu.Unlock()
	if !mine {
		return
	}
	if err := errors.Join(e.Flush(ctx), e.Upload(ctx)); err != nil {
		e.log.Warn("not everything is in the bucket; the data folder has it", "err", err)
	}
	u.mu.Lock()
	mine = u.lost == ""
	u.mu.Unlock()
	if mine {
		if err := u.sendBeat(ctx, e.now(), true); err != nil {
			e.log.Warn("the bucket was not released; another writer waits for a while", "err", err)
		}
	}
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
