package mem

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// Documents implements store.Meta in memory. Versions grow over all documents, so that a document which was deleted and
// stored again never has a version it had before.
type Documents struct {
	mu      sync.Mutex
	closed  bool
	docs    map[string]store.Document
	version uint64
	size    int64
	max     int64 // of size; 0: no bound
}

var _ store.Meta = (*Documents)(nil)

// NewDocuments makes an empty set that may take max bytes; 0 for no bound.
func NewDocuments(max int64) *Documents {
	return &Documents{docs: make(map[string]store.Document), max: max}
}

// docOverhead is what a document takes beside its name and data.
const docOverhead = 128

// Load reads a document; the caller owns the data.
func (d *Documents) Load(ctx context.Context, s store.Scope, name string) (store.Document, error) {
	if err := d.enter(ctx, s); err != nil {
		return store.Document{}, err
	}
	defer d.mu.Unlock()
	doc := d.docs[name]
	doc.Data = bytes.Clone(doc.Data)
	return doc, nil
}

// Save writes a document if its version is still ifVersion, 0 for a new one.
func (d *Documents) Save(ctx context.Context, s store.Scope, name string, data []byte, ifVersion uint64) (uint64, error) {
	if err := d.enter(ctx, s); err != nil {
		return 0, err
	}
	defer d.mu.Unlock()
	if err := d.refuse(name, data, ifVersion); err != nil {
		return 0, err
	}
	d.version++
	d.put(name, store.Document{Version: d.version, Data: bytes.Clone(data)})
	return d.version, nil
}

// Refuse is the error that Save would give, for an engine that writes a document down first.
func (d *Documents) Refuse(ctx context.Context, s store.Scope, name string, data []byte, ifVersion uint64) error {
	if err := d.enter(ctx, s); err != nil {
		return err
	}
	defer d.mu.Unlock()
	return d.refuse(name, data, ifVersion)
}

// refuse checks a document; mu is held.
func (d *Documents) refuse(name string, data []byte, ifVersion uint64) error {
	if err := answer.CheckDocument(name, data); err != nil {
		return err
	}
	old := d.docs[name]
	if old.Version != ifVersion {
		return answer.Conflict(name, old.Version, ifVersion)
	}
	if grows := int64(len(data) - len(old.Data)); d.max > 0 && grows > 0 && d.size+grows+docOverhead > d.max {
		return &problem.Problem{Kind: problem.TooLarge, Field: name, Message: fmt.Sprintf("documents would take more than %d bytes", d.max),
			Hint: "delete documents or raise --max-memory"}
	}
	return nil
}

// Restore puts a document as it was saved elsewhere: what an engine that writes documents down reads at its start.
func (d *Documents) Restore(name string, doc store.Document) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version = max(d.version, doc.Version)
	d.put(name, doc)
}

func (d *Documents) put(name string, doc store.Document) {
	d.forget(name)
	d.docs[name] = doc
	d.size += int64(len(name)+len(doc.Data)) + docOverhead
}

func (d *Documents) forget(name string) {
	if old, ok := d.docs[name]; ok {
		d.size -= int64(len(name)+len(old.Data)) + docOverhead
		delete(d.docs, name)
	}
}

// Names lists documents by prefix, sorted.
func (d *Documents) Names(ctx context.Context, s store.Scope, prefix string) ([]string, error) {
	if err := d.enter(ctx, s); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	var names []string
	for name := range d.docs {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Delete removes a document.
func (d *Documents) Delete(ctx context.Context, s store.Scope, name string) error {
	if err := d.enter(ctx, s); err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.forget(name)
	return nil
}

// enter checks a call and takes the lock if it may go on.
func (d *Documents) enter(ctx context.Context, s store.Scope) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkTenant(s.Tenant); err != nil {
		return err
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return answer.Closed()
	}
	return nil
}

func (d *Documents) bytes() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.size
}

// Close makes every later call fail.
func (d *Documents) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.docs, d.size = nil, 0
}
