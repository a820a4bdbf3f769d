package live

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/store"
)

// Documents of the doctor in the engine's small state.
const (
	leaseName = "doctor/lease"
	factsName = "doctor/facts" // the head; parts are factsName/GENERATION/N
)

// A lease is held for a while and renewed often; who dies without releasing it is followed after leaseHeld.
const (
	leaseHeld    = 60 * time.Second
	leaseRenewed = 20 * time.Second
)

// lease elects the one replica that reads the cluster, by compare-and-set. In an engine without that every replica reads for
// itself: wrong only in cost.
type lease struct {
	meta    store.Meta
	scope   store.Scope
	replica string
	now     func() time.Time
	shared  bool // the engine compares and sets
	held    bool
}

type leaseDocument struct {
	Holder string `json:"holder"`
	Until  int64  `json:"until,string"` // ns since the epoch
}

// hold takes or renews the lease, and tells whether we have it.
func (l *lease) hold(ctx context.Context) (bool, error) {
	if !l.shared {
		return true, nil
	}
	l.held = false
	old, err := l.meta.Load(ctx, l.scope, leaseName)
	if err != nil {
		return false, err
	}
	var doc leaseDocument
	now := l.now()
	if json.Unmarshal(old.Data, &doc) == nil && doc.Holder != l.replica && doc.Until > now.UnixNano() {
		return false, nil // another's; one that cannot be read is nobody's
	}
	l.held, err = l.save(ctx, leaseDocument{l.replica, now.Add(leaseHeld).UnixNano()}, old.Version)
	return l.held, err
}

func (l *lease) save(ctx context.Context, doc leaseDocument, version uint64) (bool, error) {
	data, err := json.Marshal(doc)
	if err != nil {
		return false, err
	}
	if _, err = l.meta.Save(ctx, l.scope, leaseName, data, version); errors.Is(err, store.ErrConflict) {
		return false, nil // another was faster
	}
	return err == nil, err
}

// release lets another replica have it at once.
func (l *lease) release(ctx context.Context) {
	if !l.held {
		return
	}
	old, err := l.meta.Load(ctx, l.scope, leaseName)
	var doc leaseDocument
	if err == nil && json.Unmarshal(old.Data, &doc) == nil && doc.Holder == l.replica {
		_, _ = l.save(ctx, leaseDocument{l.replica, 0}, old.Version) // else it runs out by itself
	}
}

// Shared facts: packed, in parts that documents hold. More than maxParts (of a mesh with far more than 5,000 workloads) are not
// shared: then other replicas say only what they know themselves.
const (
	partBytes = 60 << 10
	maxParts  = 64
)

type factsHead struct {
	Generation int64  `json:"generation,string"` // when they were collected
	Parts      int    `json:"parts"`
	From       string `json:"from"`
}

// share writes facts for the other replicas, and takes the parts of the generation before away.
func (d *Doctor) share(ctx context.Context, s store.Scope, f *doctor.Facts) error {
	if !d.CompareAndSet {
		return nil
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	c := *f
	if err := c.Save(z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	old, err := d.Meta.Load(ctx, s, factsName)
	if err != nil {
		return err
	}
	var before factsHead
	_ = json.Unmarshal(old.Data, &before) // one that cannot be read is replaced
	head := factsHead{Generation: f.Collected, From: d.Replica}
	if packed.Len() <= partBytes*maxParts {
		for packed.Len() > 0 {
			if err := d.put(ctx, s, partName(head.Generation, head.Parts), packed.Next(partBytes)); err != nil {
				return err
			}
			head.Parts++
		}
	}
	data, err := json.Marshal(head)
	if err != nil {
		return err
	}
	if _, err := d.Meta.Save(ctx, s, factsName, data, old.Version); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	if before.Generation != head.Generation {
		for n := range before.Parts {
			_ = d.Meta.Delete(ctx, s, partName(before.Generation, n)) // a part that stays is small, and harms nobody
		}
	}
	return nil
}

func partName(generation int64, n int) string {
	return fmt.Sprintf("%s/%d/%d", factsName, generation, n)
}

func (d *Doctor) put(ctx context.Context, s store.Scope, name string, data []byte) error {
	old, err := d.Meta.Load(ctx, s, name)
	if err != nil {
		return err
	}
	_, err = d.Meta.Save(ctx, s, name, data, old.Version)
	return err
}

// takeOver reads what the replica with the lease found, if that is newer than what is here.
func (d *Doctor) takeOver(ctx context.Context, s store.Scope) {
	f, err := d.shared(ctx, s)
	if err != nil {
		if ctx.Err() == nil {
			d.Log.Debug("what another replica read of the cluster is not there", "error", err)
		}
		return
	}
	w := &d.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	if f != nil && (w.facts == nil || f.Collected > w.facts.Collected) {
		w.facts, w.failure = f, ""
	}
}

// shared is nil if nobody shared facts.
func (d *Doctor) shared(ctx context.Context, s store.Scope) (*doctor.Facts, error) {
	doc, err := d.Meta.Load(ctx, s, factsName)
	if err != nil || doc.Version == 0 {
		return nil, err
	}
	var head factsHead
	if err := json.Unmarshal(doc.Data, &head); err != nil || head.Parts == 0 || head.Parts > maxParts {
		return nil, err
	}
	var parts []io.Reader
	for n := range head.Parts {
		p, err := d.Meta.Load(ctx, s, partName(head.Generation, n))
		if err != nil {
			return nil, err
		}
		parts = append(parts, strings.NewReader(string(p.Data)))
	}
	z, err := gzip.NewReader(io.MultiReader(parts...))
	if err != nil {
		return nil, fmt.Errorf("facts of %s: %w", head.From, err) // a newer generation is being written
	}
	return doctor.LoadFacts(z)
}
