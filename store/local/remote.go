package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/bucket"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/ranges"
	"github.com/spanloom/spanloom/store/local/internal/segment"
)

// Bucket is object storage for segments. OpenBucket makes one.
type Bucket = bucket.Bucket

// OpenBucket reads the address of a bucket: s3://NAME/PREFIX?endpoint=https://HOST or file:///FOLDER (docs/users/object-storage.md). S3 is
// not asked yet; a folder has to be there. Credentials come from AWS_… variables, ~/.aws or the role of the pod or machine.
func OpenBucket(ctx context.Context, address string) (Bucket, error) {
	l, err := bucket.Parse(address)
	if err != nil {
		return nil, err
	}
	return bucket.Open(ctx, l)
}

const (
	// rangeWait is how long a question waits for one range. The bucket's client tries again within it.
	rangeWait = 30 * time.Second
	// openAtOnce footers are fetched.
	openAtOnce = 16
	// cacheShare of the disk limit is for ranges of segments that are in the bucket only, where the folder holds segments too.
	cacheShare = 8
	// cacheMemoryShare of the memory holds the ranges used last.
	cacheMemoryShare = 4
)

// The folder of the cache, below the tenant's.
const cacheDir = "cache"

// remote reads what a bucket holds: generations of its manifest, and segments by ranges behind a cache.
type remote struct {
	bucket Bucket
	cache  *ranges.Cache
	ctx    context.Context // ends with the engine: questions do not own what they fetch, others wait for it too
	now    func() time.Time
	log    *slog.Logger
	report func(*segmentFile, error) // what is damaged in the bucket
	gone   func()                    // an object is missing: there is a newer manifest

	mu     sync.Mutex
	failed failure
}

// failure is the last one.
type failure struct {
	n    int64 // since the start
	text string
	at   time.Time
}

// note takes over how an attempt ended.
func (r *remote) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.failed.text = ""
		return
	}
	if r.ctx.Err() != nil {
		return
	}
	r.failed.n++
	r.failed.text, r.failed.at = err.Error(), r.now()
}

func newRemote(ctx context.Context, fsys faultfs.FS, dir string, b Bucket, now func() time.Time, log *slog.Logger, disk, memory int64) (*remote, error) {
	cache, err := ranges.Open(ranges.Options{FS: fsys, Dir: dir, MaxDisk: disk, MaxMemory: memory})
	return &remote{bucket: b, cache: cache, ctx: ctx, now: now, log: log, gone: func() {}}, err
}

// newest is the generation that counts, nil if there is none behind a number. Generations are removed while newer ones come: what is
// listed and gone is listed again.
func (r *remote) newest(ctx context.Context, after uint64) (*manifest.Generation, error) {
	for try := 0; ; try++ {
		last := manifest.GenerationPrefix
		if after > 0 {
			last = manifest.GenerationName(after)
		}
		names, err := r.bucket.List(ctx, manifest.GenerationPrefix, last)
		if err != nil {
			return nil, bucket.Problem(r.bucket, "list the manifests", err)
		}
		number := uint64(0)
		for _, name := range names {
			if n, ok := manifest.GenerationNumber(name); ok {
				number = max(number, n)
			}
		}
		if number == 0 {
			return nil, nil
		}
		g, err := r.generation(ctx, number)
		if errors.Is(err, bucket.ErrNotFound) && try < 3 {
			continue
		}
		return g, err
	}
}

func (r *remote) generation(ctx context.Context, number uint64) (*manifest.Generation, error) {
	p, err := r.bucket.Read(ctx, manifest.GenerationName(number), 0, manifest.MaxGeneration)
	if err != nil {
		return nil, bucket.Problem(r.bucket, "read "+manifest.GenerationName(number), err)
	}
	g, err := manifest.ParseGeneration(p)
	if err == nil && g.Number != number {
		err = fmt.Errorf("it says that it is number %d", g.Number)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", r.bucket, manifest.GenerationName(number), err)
	}
	return g, nil
}

// object is a segment in the bucket; it implements segment.Source.
type object struct {
	r    *remote
	name string
	flat string // as the cache knows it
	from []byte // the same bytes, while it is opened; nil: the bucket has them
}

func (r *remote) object(e manifest.Entry) *object {
	name := e.Object()
	return &object{r: r, name: name, flat: strings.ReplaceAll(strings.TrimPrefix(name, manifest.SegmentPrefix), "/", "-")}
}

func (o *object) Read(off int64, n int, sum uint32) ([]byte, error) {
	return o.get(off, n, func(p []byte) bool { return segment.Checksum(p) == sum })
}

func (o *object) get(off int64, n int, right func([]byte) bool) ([]byte, error) {
	p, err := o.r.cache.Get(ranges.Range{Object: o.flat, Offset: off, Length: n}, right, func() ([]byte, error) {
		if o.from != nil {
			return bytes.Clone(o.from[off : off+int64(n)]), nil
		}
		ctx, cancel := context.WithTimeout(o.r.ctx, rangeWait)
		defer cancel()
		return o.r.bucket.Read(ctx, o.name, off, n)
	})
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, ranges.ErrOther):
		return nil, segment.Damaged(off, n)
	case errors.Is(err, bucket.ErrNotFound):
		o.r.gone()
	}
	o.r.note(err)
	return nil, bucket.Problem(o.r.bucket, "read "+o.name, err)
}

// open reads the footer of a segment in the bucket, and the filter that every look-up by id asks. The caller has the first reference.
func (r *remote) open(e manifest.Entry, sides *sideCache) (*segmentFile, error) {
	return r.openFrom(e, sides, nil)
}

// openFrom is open for who has the segment's bytes, nil for none.
func (r *remote) openFrom(e manifest.Entry, sides *sideCache, from []byte) (s *segmentFile, err error) {
	o := r.object(e)
	o.from = from
	err = segment.Guard(func() error {
		s, err = r.openObject(o, e, sides)
		return err
	})
	o.from = nil
	return s, err
}

func (r *remote) openObject(o *object, e manifest.Entry, sides *sideCache) (*segmentFile, error) {
	s := &segmentFile{entry: e, cache: sides, report: r.report, far: true}
	need := int(min(e.Bytes, segment.TailBytes))
	for s.r == nil {
		more := 0
		right := func(p []byte) bool {
			got, n, err := segment.OpenAt(o, e.Bytes, p)
			switch {
			case errors.Is(err, segment.ErrNewer):
				return true
			case err != nil || got != nil && uint64(got.Info().Sum) != e.Sum:
				return false
			}
			s.r, more = got, n
			return true
		}
		p, err := o.get(e.Bytes-int64(need), need, right)
		if err != nil {
			return nil, err
		}
		if s.r == nil && more == 0 { // the bytes were here: right was not asked
			var err error
			if s.r, more, err = segment.OpenAt(o, e.Bytes, p); err != nil {
				return nil, err
			}
		}
		need = more
	}
	if err := s.r.Warm(); err != nil {
		return nil, err
	}
	s.refs.Store(1)
	return s, nil
}

// openAll opens segments, several at once. What is away now comes back in later, what is damaged or missing in lost.
func (r *remote) openAll(ctx context.Context, entries []manifest.Entry, sides *sideCache) (files []*segmentFile, later, lost []unopened) {
	var mu sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, openAtOnce)
	for _, e := range slices.Backward(entries) { // the newest are asked for first
		if ctx.Err() != nil {
			later = append(later, unopened{e, ctx.Err()})
			continue
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			f, err := r.open(e, sides)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				files = append(files, f)
			case errors.Is(err, segment.ErrDamaged), errors.Is(err, segment.ErrNewer), errors.Is(err, bucket.ErrNotFound):
				lost = append(lost, unopened{e, err})
			default:
				later = append(later, unopened{e, err})
			}
		})
	}
	all.Wait()
	return files, later, lost
}

// unopened is a segment in the bucket that could not be opened, and why.
type unopened struct {
	entry manifest.Entry
	why   error
}

// incomplete is what answers miss: segments in the bucket that could not be opened.
type incomplete struct {
	later []unopened // away: they are tried again
	lost  []unopened // damaged or missing there
}

func (i *incomplete) take(gone func(manifest.Entry) bool) {
	del := func(u unopened) bool { return gone(u.entry) }
	i.later, i.lost = slices.DeleteFunc(i.later, del), slices.DeleteFunc(i.lost, del)
}

// damage is the lost ones in words.
func (i *incomplete) damage() (list []string) {
	for _, u := range i.lost {
		list = append(list, fmt.Sprintf("segment %s (%d spans) cannot be read in the bucket: %v", u.entry.Object(), u.entry.Rows, u.why))
	}
	return list
}

// reason says in words why answers are not complete; empty if they are. away is the error of those that come back.
func (i *incomplete) reason() (text string, away error) {
	if n := len(i.later); n > 0 {
		return fmt.Sprintf("%d segments are in the bucket, which cannot be reached: their spans are missing", n), i.later[0].why
	}
	if n := len(i.lost); n > 0 {
		return fmt.Sprintf("%d segments in the bucket are damaged: their spans are missing", n), nil
	}
	return "", nil
}

// warm runs fn for the segments of a snapshot that are elsewhere, several at once, so that what a question needs of each is here when it comes to
// them one by one. An error is met again then.
func (s *snapshot) warm(ctx context.Context, fn func(f *segmentFile) error) {
	slots := make(chan struct{}, openAtOnce)
	var all sync.WaitGroup
	for _, f := range s.segments {
		if !f.far || ctx.Err() != nil {
			continue
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			_ = fn(f)
		})
	}
	all.Wait()
}

// stats fills in what reader and writer have alike.
func (r *remote) stats(s *store.BucketStats, cached ranges.Stats) {
	s.Address = r.bucket.String()
	s.CacheBytes, s.CacheHits, s.Fetches, s.FetchedBytes = cached.Disk, cached.Hits, cached.Misses, cached.Fetched
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Failures, s.LastError, s.FailedAt = r.failed.n, r.failed.text, unixNano(r.failed.at)
}

// unixNano is 0 for no time.
func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
