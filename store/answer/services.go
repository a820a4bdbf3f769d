package answer

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/spanloom/spanloom/store"
)

// ServiceCounts are services by name: spans add up, and the newest span tells group and namespace; of several at that instant the
// greatest group, then namespace does.
type ServiceCounts map[string]*store.Service

// Add counts n spans of a service, of which the newest began at an instant. The texts may be of an arena.
func (all ServiceCounts) Add(name, group, namespace []byte, at, n int64) {
	sv := all[string(name)]
	if sv == nil {
		all[string(name)] = &store.Service{Name: string(name), Group: string(group), Namespace: string(namespace), LastTime: at, Spans: n}
		return
	}
	sv.Spans += n
	if cmp.Or(cmp.Compare(at, sv.LastTime), bytes.Compare(group, []byte(sv.Group)), bytes.Compare(namespace, []byte(sv.Namespace))) > 0 {
		sv.Group, sv.Namespace, sv.LastTime = string(group), string(namespace), at
	}
}

// Count counts rows.
func (all ServiceCounts) Count(r store.Rows) {
	b := r.Batch
	for _, row := range r.Rows {
		all.Add(b.Bytes(b.Service[row]), b.Bytes(b.Group[row]), b.Bytes(b.Namespace[row]), b.Time[row], 1)
	}
}

// Merge adds a list.
func (all ServiceCounts) Merge(list []store.Service) {
	for _, x := range list {
		all.Add([]byte(x.Name), []byte(x.Group), []byte(x.Namespace), x.LastTime, x.Spans)
	}
}

// List is all of them, sorted by name.
func (all ServiceCounts) List() []store.Service {
	list := make([]store.Service, 0, len(all))
	for _, sv := range all {
		list = append(list, *sv)
	}
	slices.SortFunc(list, func(a, b store.Service) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
