package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/spanloom/spanloom/store"
)

// Slots is the number of service colours. The palette is the UI's; the backend keeps which service has which slot, so that
// a service looks the same for everyone and for good.
const Slots = 20

// coloursDocument is the Meta document: {"version":1,"slots":{"reviews":7}}.
const coloursDocument = "colours"

// maxColourBytes bounds how many services are remembered, so that the document stays below store.MaxDocument: some 1,500.
// Services beyond it have the slot of their hash.
const maxColourBytes = store.MaxDocument - 4<<10

// retryColours is how long after a failed write new assignments stay in memory before the next try.
const retryColours = 10 * time.Second

// colours keeps name -> slot per tenant. A name's first use takes the slot of its hash or the next free one; when all are
// taken, the least used one. An assignment never changes, so what was read once stays right.
type colours struct {
	meta   store.Meta
	reader store.Reader
	now    func() time.Time
	log    *slog.Logger

	mu      sync.Mutex // held while assigning: a process asks the store once for a set of new names
	tenants map[string]*palette
}

// palette is one tenant's assignments.
type palette struct {
	slots map[string]int
	used  [Slots]int
	bytes int       // of the document
	retry time.Time // not zero: some are not written yet, and when to try again
}

type palettePage struct {
	Version int            `json:"version"`
	Slots   map[string]int `json:"slots"`
}

func newColours(meta store.Meta, reader store.Reader, now func() time.Time, log *slog.Logger) *colours {
	return &colours{meta: meta, reader: reader, now: now, log: log, tenants: make(map[string]*palette)}
}

// SlotsOf answers the colour slot, 0 to Slots-1, of each service name. Where the store cannot keep assignments they hold as
// long as the process; a failure to write is logged and changes no answer of this process.
func (q *Query) SlotsOf(ctx context.Context, s store.Scope, names []string) []int {
	return q.colours.of(ctx, s, names)
}

// attempts is how often an assignment is tried again after another replica was faster.
const attempts = 5

func (c *colours) of(ctx context.Context, s store.Scope, names []string) []int {
	out := make([]int, len(names))
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.tenants[s.Tenant]
	if p == nil {
		p = newPalette()
		c.tenants[s.Tenant] = p
	}
	kept := c.meta != nil && c.reader.Can().CompareAndSet
	due := p.retry.IsZero() && !p.knows(names) || !p.retry.IsZero() && !c.now().Before(p.retry)
	if kept && due {
		p.retry = time.Time{}
		if err := c.store(ctx, s, p, names); err != nil {
			c.log.Warn("colours of new services are not written yet", "error", err)
			p.retry = c.now().Add(retryColours)
		}
	}
	p.assign(names)
	for i, name := range names {
		out[i] = p.slot(name)
	}
	return out
}

// store reads the document, assigns what is new there and writes it.
func (c *colours) store(ctx context.Context, s store.Scope, p *palette, names []string) error {
	s.MustMatch = nil // small state belongs to the tenant
	for range attempts {
		doc, err := c.meta.Load(ctx, s, coloursDocument)
		if err != nil {
			return fmt.Errorf("load document %s: %w", coloursDocument, err)
		}
		var page palettePage
		if len(doc.Data) > 0 {
			if err := json.Unmarshal(doc.Data, &page); err != nil {
				return fmt.Errorf("read document %s: %w", coloursDocument, err)
			}
		}
		known := p.slots
		*p = *newPalette()
		for name, slot := range page.Slots {
			p.take(name, min(max(slot, 0), Slots-1))
		}
		stored := len(p.slots)
		for name, slot := range known { // in memory only, after a failed write
			if _, ok := p.slots[name]; !ok {
				p.take(name, slot)
			}
		}
		p.assign(names)
		if len(p.slots) == stored {
			return nil
		}
		data, err := json.Marshal(palettePage{1, p.slots})
		if err != nil {
			return err
		}
		if len(data) > store.MaxDocument {
			return nil // full: what was assigned beyond is the hash's, the same everywhere
		}
		_, err = c.meta.Save(ctx, s, coloursDocument, data, doc.Version)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("document %s: others were faster %d times", coloursDocument, attempts)
}

func newPalette() *palette { return &palette{slots: make(map[string]int)} }

func (p *palette) knows(names []string) bool {
	for _, name := range names {
		if _, ok := p.slots[name]; !ok && p.fits(name) {
			return false
		}
	}
	return true
}

// fits reports whether there is room to remember another name.
func (p *palette) fits(name string) bool { return p.bytes+nameBytes(name) <= maxColourBytes }

// nameBytes is what a name takes in the document.
func nameBytes(name string) int {
	quoted, _ := json.Marshal(name) // strings always marshal
	return len(quoted) + len(":19,")
}

func (p *palette) take(name string, slot int) {
	p.slots[name] = slot
	p.used[slot]++
	p.bytes += nameBytes(name)
}

// slot is a known name's slot, else its hash's.
func (p *palette) slot(name string) int {
	if slot, ok := p.slots[name]; ok {
		return slot
	}
	return hashSlot(name)
}

func (p *palette) assign(names []string) {
	for _, name := range names {
		if _, ok := p.slots[name]; !ok && p.fits(name) {
			p.take(name, p.free(hashSlot(name)))
		}
	}
}

// free is the first slot from the given one on that fewest services use: a free one while there are any.
func (p *palette) free(from int) int {
	best := from
	for i := range Slots {
		if at := (from + i) % Slots; p.used[at] < p.used[best] {
			best = at
		}
	}
	return best
}

func hashSlot(name string) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return int(h.Sum32() % Slots)
}
