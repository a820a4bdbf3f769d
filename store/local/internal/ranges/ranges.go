// Package ranges caches ranges of immutable objects that are far away: on the disk up to a size, and the ones used last in memory. What
// is cached is checked by what the caller knows of it, a checksum, so a file of the cache may be torn, stale or damaged: it is fetched again.
package ranges

import (
	"cmp"
	"container/list"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
)

// Options of a cache. Limits are bytes.
type Options struct {
	FS        faultfs.FS
	Dir       string // made if missing; the cache's own
	MaxDisk   int64
	MaxMemory int64
}

// Range names bytes of an object. Object is a name without slashes, for ever of the same content.
type Range struct {
	Object string
	Offset int64
	Length int
}

// Stats are counts since the start, and what is there now.
type Stats struct {
	Hits, Misses int64 // a miss is a fetch
	Fetched      int64 // bytes
	Disk, Memory int64 // bytes
}

// Cache is safe for concurrent use.
type Cache struct {
	o Options

	mu      sync.Mutex
	memory  lru
	disk    lru
	flights map[Range]*flight
	stats   Stats
}

// flight is a range on its way; done is closed when data and err are set.
type flight struct {
	done chan struct{}
	data []byte
	err  error
}

// ErrOther says that what was fetched are other bytes than they should be.
var ErrOther = errors.New("the bytes do not meet their checksum")

const tempSuffix = ".tmp"

// Open finds what an earlier process left. Its age is that of the files.
func Open(o Options) (*Cache, error) {
	c := &Cache{o: o, memory: newLRU(), disk: newLRU(), flights: make(map[Range]*flight)}
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, err
	}
	objects, err := o.FS.ReadDir(o.Dir)
	if err != nil {
		return nil, err
	}
	type aged struct {
		Range
		at time.Time
	}
	var found []aged
	for _, object := range objects {
		if !object.IsDir() {
			continue
		}
		dir := filepath.Join(o.Dir, object.Name())
		files, err := o.FS.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if strings.HasSuffix(f.Name(), tempSuffix) {
				_ = o.FS.Remove(filepath.Join(dir, f.Name()))
				continue
			}
			r, ok := parseName(object.Name(), f.Name())
			info, err := o.FS.Stat(filepath.Join(dir, f.Name()))
			if !ok || err != nil {
				continue
			}
			if info.Size() != int64(r.Length) {
				_ = o.FS.Remove(filepath.Join(dir, f.Name()))
				continue
			}
			found = append(found, aged{r, info.ModTime()})
		}
	}
	slices.SortStableFunc(found, func(a, b aged) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.Offset, b.Offset)) })
	for _, f := range found {
		c.disk.add(f.Range, nil)
	}
	c.mu.Lock()
	gone := c.disk.over(o.MaxDisk)
	c.mu.Unlock()
	c.unlink(gone)
	return c, nil
}

func fileName(r Range) string { return fmt.Sprintf("%d-%d", r.Offset, r.Length) }

func parseName(object, name string) (Range, bool) {
	a, b, ok := strings.Cut(name, "-")
	off, err1 := strconv.ParseInt(a, 10, 64)
	n, err2 := strconv.ParseInt(b, 10, 32)
	r := Range{object, off, int(n)}
	return r, ok && err1 == nil && err2 == nil && fileName(r) == name
}

func (c *Cache) path(r Range) string { return filepath.Join(c.o.Dir, r.Object, fileName(r)) }

// Get gives the bytes of a range, of which right says that they are the right ones. fetch is called where they are nowhere here; its error is
// Get's, and ErrOther comes where fetch gave other bytes. Several who ask for a range at once wait for one fetch. Nobody changes the bytes.
func (c *Cache) Get(r Range, right func([]byte) bool, fetch func() ([]byte, error)) ([]byte, error) {
	if r.Length == 0 {
		return nil, nil
	}
	c.mu.Lock()
	if p, ok := c.memory.get(r); ok {
		c.disk.get(r)
		c.stats.Hits++
		c.mu.Unlock()
		return p, nil
	}
	if f, ok := c.flights[r]; ok {
		c.mu.Unlock()
		<-f.done
		return f.data, f.err
	}
	f := &flight{done: make(chan struct{})}
	c.flights[r] = f
	_, onDisk := c.disk.get(r)
	c.mu.Unlock()

	if onDisk {
		f.data = c.read(r, right)
	}
	hit := f.data != nil
	if !hit {
		if f.data, f.err = fetch(); f.err == nil && (len(f.data) != r.Length || !right(f.data)) {
			f.data, f.err = nil, ErrOther
		}
		if f.err == nil {
			c.write(r, f.data)
		}
	}
	c.mu.Lock()
	delete(c.flights, r)
	if hit {
		c.stats.Hits++
	} else {
		c.stats.Misses++
		c.stats.Fetched += int64(len(f.data))
	}
	if f.err == nil && int64(r.Length) <= c.o.MaxMemory/4 {
		c.memory.add(r, f.data)
		c.memory.over(c.o.MaxMemory)
	}
	c.mu.Unlock()
	close(f.done)
	return f.data, f.err
}

// read gives a file's bytes, nil where they are not what they should be.
func (c *Cache) read(r Range, right func([]byte) bool) []byte {
	p := make([]byte, r.Length)
	f, err := c.o.FS.Open(c.path(r))
	if err == nil {
		_, err = io.ReadFull(f, p)
		err = errors.Join(err, f.Close())
	}
	if err == nil && right(p) {
		return p
	}
	c.mu.Lock()
	c.disk.remove(r)
	c.mu.Unlock()
	_ = c.o.FS.Remove(c.path(r))
	return nil
}

// write puts a range on the disk. A cache that cannot be written costs fetches, nothing else.
func (c *Cache) write(r Range, p []byte) {
	if int64(len(p)) > c.o.MaxDisk {
		return
	}
	name := c.path(r)
	err := c.o.FS.MkdirAll(filepath.Dir(name))
	if err == nil {
		err = c.fill(name+tempSuffix, p)
	}
	if err == nil {
		err = c.o.FS.Rename(name+tempSuffix, name)
	}
	if err != nil {
		_ = c.o.FS.Remove(name + tempSuffix)
		return
	}
	c.mu.Lock()
	c.disk.add(r, nil)
	gone := c.disk.over(c.o.MaxDisk)
	c.mu.Unlock()
	c.unlink(gone)
}

// fill writes a file without syncing it: a torn one fails its checksum.
func (c *Cache) fill(name string, p []byte) error {
	f, err := c.o.FS.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	return errors.Join(err, f.Close())
}

func (c *Cache) unlink(gone []Range) {
	for _, r := range gone {
		_ = c.o.FS.Remove(c.path(r))
	}
}

// Forget lets go of an object's ranges.
func (c *Cache) Forget(object string) {
	c.mu.Lock()
	c.memory.forget(object)
	gone := c.disk.forget(object)
	c.mu.Unlock()
	c.unlink(gone)
}

// Keep forgets all objects that keep does not name.
func (c *Cache) Keep(keep func(object string) bool) {
	c.mu.Lock()
	objects := make(map[string]bool)
	for r := range c.disk.at {
		objects[r.Object] = true
	}
	c.mu.Unlock()
	for object := range objects {
		if !keep(object) {
			c.Forget(object)
		}
	}
}

// Stats says what the cache did.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Disk, s.Memory = c.disk.bytes, c.memory.bytes
	return s
}

// lru is ranges in the order of their last use.
type lru struct {
	order *list.List // of item; the one used last in front
	at    map[Range]*list.Element
	bytes int64
}

type item struct {
	Range
	data []byte
}

func newLRU() lru { return lru{order: list.New(), at: make(map[Range]*list.Element)} }

func (l *lru) get(r Range) ([]byte, bool) {
	e, ok := l.at[r]
	if !ok {
		return nil, false
	}
	l.order.MoveToFront(e)
	return e.Value.(item).data, true
}

func (l *lru) add(r Range, data []byte) {
	if _, ok := l.get(r); ok {
		return
	}
	l.at[r] = l.order.PushFront(item{r, data})
	l.bytes += int64(r.Length)
}

func (l *lru) remove(r Range) {
	if e, ok := l.at[r]; ok {
		l.order.Remove(e)
		delete(l.at, r)
		l.bytes -= int64(r.Length)
	}
}

// over takes out what was not used for longest until the rest is within a limit.
func (l *lru) over(limit int64) (gone []Range) {
	for l.bytes > limit {
		r := l.order.Back().Value.(item).Range
		l.remove(r)
		gone = append(gone, r)
	}
	return gone
}

func (l *lru) forget(object string) (gone []Range) {
	for r := range l.at {
		if r.Object == object {
			gone = append(gone, r)
		}
	}
	for _, r := range gone {
		l.remove(r)
	}
	return gone
}
