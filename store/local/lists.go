package local

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/match"
)

// The lists count stored rows by their start. A segment that lies in the window as a whole answers from the counts that were made
// when it was written; a duplicate that came in two segments counts twice.

var groupNeed = store.Need{Columns: store.ColService | store.ColName | store.ColKind | store.ColTime}

// groups calls fn with every group of equal rows in the window, several times with one group if it stands in several parts.
func (e *answers) groups(ctx context.Context, s store.Scope, r store.TimeRange, fn func(g *segment.Group)) (store.Done, error) {
	return e.counted(ctx, s, nil, r, func(f *segmentFile) (bool, error) {
		counts, err := f.counts()
		if err != nil || !counts.Grouped {
			return false, err
		}
		for i := range counts.Groups {
			fn(&counts.Groups[i])
		}
		return true, nil
	}, groupNeed, func(b *span.Batch) string {
		groupRows(b, fn)
		return ""
	})
}

// groupRows sums up the rows of a batch.
func groupRows(b *span.Batch, fn func(g *segment.Group)) {
	type key struct {
		service, group, namespace, name span.Str
		kind                            span.Kind
	}
	index := make(map[key]int)
	var keys []key
	var counts []segment.Group
	for row := range b.Len() {
		k := key{b.Service[row], b.Group[row], b.Namespace[row], b.Name[row], b.Kind[row]}
		i, ok := index[k]
		if !ok {
			i = len(counts)
			index[k] = i
			keys, counts = append(keys, k), append(counts, segment.Group{Last: b.Time[row]})
		}
		counts[i].N++
		counts[i].Last = max(counts[i].Last, b.Time[row])
	}
	for i, k := range keys {
		g := &counts[i]
		g.Service, g.Group, g.Namespace, g.Name, g.Kind = b.String(k.service), b.String(k.group), b.String(k.namespace), b.String(k.name), k.kind
		fn(g)
	}
}

// counted asks whole for each segment that lies in the window with all its rows, and goes through the rows of the others and of the
// memtables in batches. each may end it with a reason.
func (e *answers) counted(ctx context.Context, s store.Scope, expr store.Expr, r store.TimeRange, whole func(f *segmentFile) (ok bool, err error),
	need store.Need, each func(b *span.Batch) (stop string)) (store.Done, error) {
	if err := e.readable(s); err != nil {
		return store.Done{}, err
	}
	prog, err := match.Compile(s.MustMatch, expr)
	if err != nil {
		return store.Done{}, err
	}
	snap, err := e.snap()
	if err != nil {
		return store.Done{}, err
	}
	defer snap.release()
	q := newQuestion(ctx, &e.reads, prog, match.Window{TimeRange: r, Mode: store.Start})
	done := store.Done{Complete: true, Read: store.Read{Of: snap.blocks()}}
	snap.complete(&done)
	if whole != nil && prog.Always() {
		snap.warm(ctx, func(f *segmentFile) error {
			if !q.window.Covers(f.entry.MinStart, f.entry.MaxStart) {
				return nil
			}
			_, err := f.counts()
			return err
		})
		left := make([]*segmentFile, 0, len(snap.segments))
		for _, f := range snap.segments {
			if err := ctx.Err(); err != nil {
				done.Complete, done.Reason = false, answer.Cancelled(err)
				return done, nil
			}
			if !q.window.Covers(f.entry.MinStart, f.entry.MaxStart) {
				left = append(left, f)
				continue
			}
			ok := false
			err := segment.Guard(func() (err error) {
				ok, err = whole(f)
				return err
			})
			switch {
			case err != nil && f.damage(err):
				done.Complete, done.Reason = false, "a segment is damaged: its spans are missing (spanloom fsck tells more)"
			case err != nil:
				return done, err
			case !ok:
				left = append(left, f)
			}
		}
		snap = &snapshot{segments: left, mems: snap.mems} // what it holds is released by the one above
	}
	filler := table.NewFiller(need)
	err = e.scan(ctx, snap, q, func(o *opened, rows []uint32) (bool, error) {
		done.Read.Blocks++
		done.Read.Bytes += o.bytes()
		if len(rows) == 0 {
			return true, nil
		}
		if len(rows) == o.unit.rows() {
			rows = nil
		}
		b, err := o.fill(filler, need, rows)
		if err != nil {
			return false, err
		}
		if stop := each(b); stop != "" {
			done.Complete, done.Reason = false, stop
			return false, nil
		}
		return true, nil
	})
	if err != nil && ctx.Err() != nil {
		done.Complete, done.Reason = false, answer.Cancelled(ctx.Err())
		err = nil
	}
	return done, err
}

// Services lists services by name; group and namespace are those of the service's newest span.
func (e *answers) Services(ctx context.Context, s store.Scope, r store.TimeRange) ([]store.Service, store.Done, error) {
	index := make(map[string]int)
	var list []store.Service
	done, err := e.groups(ctx, s, r, func(g *segment.Group) {
		i, ok := index[g.Service]
		if !ok {
			i = len(list)
			list = append(list, store.Service{Name: g.Service, Group: g.Group, Namespace: g.Namespace, LastTime: g.Last})
			index[g.Service] = i
		}
		l := &list[i]
		l.Spans += g.N
		if newer := cmp.Or(cmp.Compare(g.Last, l.LastTime), strings.Compare(g.Group, l.Group), strings.Compare(g.Namespace, l.Namespace)); newer > 0 {
			l.LastTime, l.Group, l.Namespace = g.Last, g.Group, g.Namespace
		}
	})
	slices.SortFunc(list, func(a, b store.Service) int { return cmp.Compare(a.Name, b.Name) })
	return list, done, err
}

// Operations lists a service's operations.
func (e *answers) Operations(ctx context.Context, s store.Scope, service string, r store.TimeRange) ([]store.Operation, store.Done, error) {
	counts := make(map[store.Operation]int64)
	done, err := e.groups(ctx, s, r, func(g *segment.Group) {
		if g.Service == service {
			counts[store.Operation{Name: g.Name, Kind: g.Kind}] += g.N
		}
	})
	return answer.Operations(counts), done, err
}

// Keys counts where keys stand: once per span that has it, resources and scopes once per span of theirs, events and links each.
func (e *answers) Keys(ctx context.Context, s store.Scope, q store.KeysQuery) ([]store.Key, store.Done, error) {
	var expr store.Expr
	if q.Service != "" {
		expr = store.ServiceIs(q.Service)
	}
	total := make(answer.KeyCounts)
	done, err := e.counted(ctx, s, expr, q.Range, func(f *segmentFile) (bool, error) {
		counts, err := f.counts()
		if err != nil {
			return false, err
		}
		for _, k := range counts.Keys {
			if (q.In == store.InAny || q.In == k.Owner) && strings.HasPrefix(k.Key, q.Prefix) {
				total.Add(k.Key, k.Owner, k.Type, k.N)
			}
		}
		return true, nil
	}, store.Everything(), func(b *span.Batch) string {
		answer.CountKeys(b, store.Whole(b).Rows, q, total)
		if len(total) > answer.MaxDistinct {
			return answer.TooMany
		}
		return ""
	})
	return total.List(q.Limit), done, err
}

// Values counts the values of a field in text form; of arrays each element. Bytes, mixed arrays and lists have no text form.
func (e *answers) Values(ctx context.Context, s store.Scope, q store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	get, err := match.NewGetter(q.Field)
	if err != nil {
		return nil, store.Done{}, err
	}
	v := answer.NewValueCounter(get, q.Prefix)
	done, err := e.counted(ctx, s, q.Match, q.Range, nil, get.Need(), func(b *span.Batch) string {
		v.Count(b, store.Whole(b).Rows)
		if v.Len() > answer.MaxDistinct {
			return answer.TooMany
		}
		return ""
	})
	return v.List(q.Limit), done, err
}
