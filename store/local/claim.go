package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/local/internal/bucket"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/wal"
)

const (
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
	u.ctx, u.stop = context.WithCancel(e.ctx)
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

// finish writes and uploads what is in memory, as far as that goes quickly, and lets go of the bucket.
func (e *Engine) finish() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), closeWait)
	defer cancel()
	u := e.up
	context.AfterFunc(ctx, u.stop) // of an upload that is on its way: it goes on while there is time
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
