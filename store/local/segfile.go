package local

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/rollup"
)

// segmentFile is an open segment. Whoever reads it holds a reference; the mapping goes with the last one.
type segmentFile struct {
	entry manifest.Entry
	r     *segment.Reader
	m     faultfs.Mapping // nil if far
	far   bool            // in the bucket only
	refs  atomic.Int32
	cache *sideCache
	// report is told once what is wrong when reading met damage.
	report func(*segmentFile, error)

	rolled atomic.Pointer[rollup.Table]
	side   atomic.Pointer[table.View]
	stats  atomic.Pointer[segment.Stats]
	bad    atomic.Pointer[error]
}

// openSegment maps a file and reads its footer. The caller has the first reference.
func openSegment(fsys faultfs.FS, dir string, e manifest.Entry, cache *sideCache, report func(*segmentFile, error)) (*segmentFile, error) {
	m, err := fsys.Map(filepath.Join(dir, e.Name()))
	if err != nil {
		return nil, err
	}
	s := &segmentFile{entry: e, m: m, cache: cache, report: report}
	err = segment.Guard(func() (err error) {
		s.r, err = segment.Open(m.Bytes())
		return err
	})
	if err == nil && uint64(s.r.Info().Sum) != e.Sum {
		err = errors.Join(segment.ErrDamaged, errors.New("it is another file than the manifest names"))
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	s.refs.Store(1)
	return s, nil
}

func (s *segmentFile) hold() *segmentFile {
	s.refs.Add(1)
	return s
}

// release gives a reference back. Unmapping fails only for a mapping that is none.
func (s *segmentFile) release() {
	if s.refs.Add(-1) == 0 && s.m != nil {
		_ = s.m.Close()
	}
}

// damage reports an error of reading once and reports whether the segment is out of use by it. Other errors are not the file's fault.
func (s *segmentFile) damage(err error) bool {
	if !errors.Is(err, segment.ErrDamaged) {
		return false
	}
	if s.bad.CompareAndSwap(nil, &err) && s.report != nil {
		s.report(s, err)
	}
	return true
}

// tables are the side tables, which are kept while the cache has room.
func (s *segmentFile) tables() (*table.View, error) {
	if v := s.side.Load(); v != nil {
		return v, nil
	}
	v, err := s.r.Side()
	if err != nil {
		return nil, err
	}
	s.side.Store(v)
	s.cache.add(s)
	return v, nil
}

// counts are the segment's counts of keys and groups, kept like its side tables.
func (s *segmentFile) counts() (*segment.Stats, error) {
	if c := s.stats.Load(); c != nil {
		return c, nil
	}
	c, err := s.r.Stats()
	if err != nil {
		return nil, err
	}
	s.stats.Store(c)
	s.cache.add(s)
	return c, nil
}

// sideCache bounds how many segments keep their side tables on the heap.
type sideCache struct {
	mu   sync.Mutex
	ring []*segmentFile
	next int
}

// maxSides segments keep their side tables: some 20 KB each in a mesh of some hundred pods.
const maxSides = 256

func (c *sideCache) add(s *segmentFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.ring {
		if o == s {
			return
		}
	}
	if len(c.ring) < maxSides {
		c.ring = append(c.ring, s)
		return
	}
	old := c.ring[c.next]
	old.side.Store(nil)
	old.stats.Store(nil)
	c.ring[c.next] = s
	c.next = (c.next + 1) % maxSides
}

// drop forgets a segment that is gone.
func (c *sideCache) drop(s *segmentFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, o := range c.ring {
		if o == s {
			last := len(c.ring) - 1
			c.ring[i] = c.ring[last]
			c.ring = c.ring[:last]
			c.next = 0
			return
		}
	}
}

// rollupCache bounds the decoded rollups that segments keep. A table takes about four times its bytes.
type rollupCache struct {
	mu    sync.Mutex
	limit int64
	bytes int64
	ring  []cachedRollup // oldest first
}

type cachedRollup struct {
	f     *segmentFile
	bytes int64
}

// perEncoded is how much more a table takes decoded.
const perEncoded = 4

// add keeps a table and lets go of the oldest ones beyond the limit.
func (c *rollupCache) add(f *segmentFile, t *rollup.Table, encoded int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := int64(encoded) * perEncoded
	if n > c.limit || !f.rolled.CompareAndSwap(nil, t) {
		return
	}
	c.ring, c.bytes = append(c.ring, cachedRollup{f, n}), c.bytes+n
	for c.bytes > c.limit {
		c.ring[0].f.rolled.Store(nil)
		c.bytes -= c.ring[0].bytes
		c.ring = append(c.ring[:0], c.ring[1:]...)
	}
}

// drop forgets a segment that is gone.
func (c *rollupCache) drop(f *segmentFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ring = slices.DeleteFunc(c.ring, func(x cachedRollup) bool {
		if x.f == f {
			c.bytes -= x.bytes
		}
		return x.f == f
	})
}

// held is about the memory of the tables that are kept.
func (c *rollupCache) held() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// len is how many segments keep their side tables.
func (c *sideCache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ring)
}
