package query

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/spanloom/spanloom/span"
)

// What a placeholder shows. Its service is that of its first child, unless that child serves a call: who the caller was
// is not known then.
const (
	missingName    = "missing parent"
	unknownService = "unknown"
)

// emit lays the tree out in rows and adds what readers want to know about them.
func (a *assembly) emit(id span.TraceID) *Trace {
	t := &Trace{ID: id, Batch: a.b, Received: a.b.Received}
	workloads := a.inheritWorkloads()
	nodes := a.treeOrder()
	t.Rows = make([]Row, 0, len(nodes))
	rowOf := make([]int32, len(a.order)+len(a.missing))
	names := nameTable{services: make(map[serviceKey]int32), names: make(map[span.Str]int32), derived: make(map[string]int32)}
	failed := failuresIn(a.b)
	first := true
	for _, n := range nodes {
		rowOf[n] = int32(len(t.Rows))
		r := Row{Span: -1, Parent: -1, Hop: -1}
		if int(n) < len(a.order) {
			row := int(a.order[n])
			r.ID, r.Span, r.Kind = a.b.SpanID[row], int32(row), a.b.Kind[row]
			r.Start, r.Duration = a.b.Time[row], a.b.Duration(row)
			r.Flags = a.flags[n] | flagsOf(a.b, row)
			if failed.row(row) {
				r.Flags |= FlagError
				t.Errors++
			}
			r.Service = names.service(t, workloads.of(a.b, row))
			r.Name = names.name(t, row)
			if p := a.parent[n]; p >= 0 {
				r.Parent = rowOf[p]
			}
			end := a.b.EndTime(row)
			if first {
				t.Start, t.End, first = r.Start, end, false
			}
			t.Start, t.End = min(t.Start, r.Start), max(t.End, end)
			t.Spans++
		} else {
			p := &a.missing[int(n)-len(a.order)]
			r.ID, r.Start, r.Duration, r.Flags = p.id, p.start, p.end-p.start, FlagPlaceholder
			if child := int(a.order[p.child]); serves(a.b.Kind[child]) {
				r.Service = names.unknown(t)
			} else {
				r.Service = names.service(t, workloads.of(a.b, child))
			}
			r.Name = names.text(t, missingName)
		}
		if r.Parent >= 0 {
			p := &t.Rows[r.Parent]
			r.Depth = p.Depth + 1
			if p.Flags&FlagPlaceholder == 0 && (r.Start+skewTolerance < p.Start || r.Start-skewTolerance > p.End()) {
				r.Flags |= FlagOutsideParent
			}
		}
		t.Depth = max(t.Depth, int(r.Depth)+1)
		t.Rows = append(t.Rows, r)
	}
	hops(t)
	a.warn(t, rowOf)
	return t
}

// treeOrder is all kept nodes depth first, siblings and roots by start, then id.
func (a *assembly) treeOrder() []int32 {
	total := len(a.order) + len(a.missing)
	offset := make([]int32, total+1) // children of n: children[offset[n]:offset[n+1]]
	kept := 0
	for n, p := range a.parent {
		if !a.gone[n] {
			kept++
			if p >= 0 {
				offset[p+1]++
			}
		}
	}
	for i := range total {
		offset[i+1] += offset[i]
	}
	children := make([]int32, offset[total])
	fill := slices.Clone(offset[:total])
	var roots []int32
	for n, p := range a.parent {
		switch {
		case a.gone[n]:
		case p < 0:
			roots = append(roots, int32(n))
		default:
			children[fill[p]] = int32(n)
			fill[p]++
		}
	}
	if len(a.missing) > 0 {
		for i := range a.missing {
			if a.missing[i].child >= 0 {
				roots = append(roots, int32(len(a.order)+i))
			}
		}
		slices.SortFunc(roots, func(x, y int32) int {
			sx, ix := a.startOf(x)
			sy, iy := a.startOf(y)
			return cmp.Or(cmp.Compare(sx, sy), bytes.Compare(ix[:], iy[:]), cmp.Compare(x, y))
		})
	}
	out := make([]int32, 0, kept+len(a.missing))
	slices.Reverse(roots)
	stack := roots
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		out = append(out, n)
		for i := offset[n+1] - 1; i >= offset[n]; i-- {
			stack = append(stack, children[i])
		}
	}
	return out
}

func (a *assembly) startOf(n int32) (int64, span.SpanID) {
	if int(n) < len(a.order) {
		return a.b.Time[a.order[n]], a.b.SpanID[a.order[n]]
	}
	p := &a.missing[int(n)-len(a.order)]
	return p.start, p.id
}

// flagsOf is what a row says of itself, but for FlagError.
func flagsOf(b *span.Batch, row int) (f Flag) {
	if b.Status[row] == span.StatusOK {
		f |= FlagStatusOK
	}
	if b.Name[row].Len == 0 {
		f |= FlagNameDerived
	}
	for _, m := range [...]struct {
		mark span.Mark
		flag Flag
	}{{span.MarkProxy, FlagProxy}, {span.MarkTimeReplaced, FlagTimeReplaced}, {span.MarkServiceDerived, FlagServiceDerived}, {span.MarkCut, FlagCut}} {
		if b.Mark[row]&m.mark != 0 {
			f |= m.flag
		}
	}
	return f
}

// serviceKey is a service, group and namespace as runs of the batch's arena.
type serviceKey struct{ service, group, namespace span.Str }

// nameTable fills Trace.Services and Trace.Names.
type nameTable struct {
	services map[serviceKey]int32
	names    map[span.Str]int32
	derived  map[string]int32
}

func (nt *nameTable) service(t *Trace, k serviceKey) int32 {
	i, ok := nt.services[k]
	if !ok {
		i = int32(len(t.Services))
		nt.services[k] = i
		t.Services = append(t.Services, ServiceName{t.Batch.String(k.service), t.Batch.String(k.group), t.Batch.String(k.namespace)})
	}
	return i
}

// unknown is the service of a missing span of which nothing can be guessed.
func (nt *nameTable) unknown(t *Trace) int32 {
	i, ok := nt.services[serviceKey{}]
	if !ok {
		i = int32(len(t.Services))
		nt.services[serviceKey{}] = i
		t.Services = append(t.Services, ServiceName{Name: unknownService})
	}
	return i
}

func (nt *nameTable) name(t *Trace, row int) int32 {
	s := t.Batch.Name[row]
	if s.Len == 0 {
		return nt.text(t, DeriveName(t.Batch, row))
	}
	i, ok := nt.names[s]
	if !ok {
		i = int32(len(t.Names))
		nt.names[s] = i
		t.Names = append(t.Names, t.Batch.String(s))
	}
	return i
}

func (nt *nameTable) text(t *Trace, name string) int32 {
	i, ok := nt.derived[name]
	if !ok {
		i = int32(len(t.Names))
		nt.derived[name] = i
		t.Names = append(t.Names, name)
	}
	return i
}

// workload is a group and namespace as runs of the arena.
type workload struct{ group, namespace span.Str }

// inherited are the workloads of services that do not know their own namespace.
type inherited map[span.Str]struct {
	workload
	disputed bool
}

// inheritWorkloads finds the workload group of application spans without a namespace: the adjacent sidecar knows it. Adjacent
// are the inbound sidecar's server span above an app's server span and the outbound sidecar's client span below an app's
// client span; gateways and waypoints stand before several workloads and lend nothing. A service whose spans touch sidecars
// of different workloads keeps what it says of itself.
func (a *assembly) inheritWorkloads() inherited {
	found := make(inherited)
	learn := func(app, proxy int32) {
		app, proxy = a.order[app], a.order[proxy]
		b := a.b
		if b.Mark[app]&span.MarkProxy != 0 || b.Namespace[app].Len != 0 ||
			b.Mark[proxy]&span.MarkProxy == 0 || b.Namespace[proxy].Len == 0 || !isSidecar(b, int(proxy)) {
			return
		}
		w := workload{b.Group[proxy], b.Namespace[proxy]}
		known, ok := found[b.Service[app]]
		if !ok {
			known.workload = w
		} else if known.workload != w {
			known.disputed = true
		}
		found[b.Service[app]] = known
	}
	for n, p := range a.parent {
		if a.gone[n] || p < 0 || int(p) >= len(a.order) {
			continue
		}
		switch kind, above := a.b.Kind[a.order[n]], a.b.Kind[a.order[p]]; {
		case kind == span.KindServer && above == span.KindServer:
			learn(int32(n), p)
		case kind == span.KindClient && above == span.KindClient:
			learn(p, int32(n))
		}
	}
	return found
}

// of is a row's service with its own or its inherited workload.
func (w inherited) of(b *span.Batch, row int) serviceKey {
	k := serviceKey{b.Service[row], b.Group[row], b.Namespace[row]}
	if k.namespace.Len == 0 && b.Mark[row]&span.MarkProxy == 0 {
		if found, ok := w[k.service]; ok && !found.disputed {
			k.group, k.namespace = found.group, found.namespace
		}
	}
	return k
}

// isSidecar tells a sidecar from a gateway and a waypoint by its node id, type~ip~pod.namespace~domain.
func isSidecar(b *span.Batch, row int) bool {
	id := b.FindString(b.SpanAttrs[row], "node_id")
	if id == nil {
		id = b.FindString(b.Resources[b.Resource[row]].Attrs, "node_id")
	}
	return bytes.HasPrefix(id, []byte("sidecar~"))
}

// warn gathers the rows' flags into warnings, in the order of the rows.
func (a *assembly) warn(t *Trace, rowOf []int32) {
	var missing, orphans, shared, duplicate, skewed, timeless, twins Warning
	var skew int64
	for i := range t.Rows {
		r := &t.Rows[i]
		if r.Flags == 0 {
			continue
		}
		row := int32(i)
		missing.addIf(r.Flags&FlagPlaceholder != 0, row)
		shared.addIf(r.Flags&FlagShared != 0, row)
		duplicate.addIf(r.Flags&FlagDuplicates != 0, row)
		timeless.addIf(r.Flags&FlagTimeReplaced != 0, row)
		twins.addIf(r.Flags&FlagTwin != 0, row)
		if r.Parent < 0 {
			continue
		}
		if early := t.Rows[r.Parent].Start - r.Start; r.Flags&FlagOutsideParent != 0 && early > 0 && r.Flags&FlagTimeReplaced == 0 {
			skewed.add(row)
			skew = max(skew, early)
		}
	}
	for i := range t.Rows {
		if p := t.Rows[i].Parent; missing.Count > 0 && p >= 0 {
			orphans.addIf(t.Rows[p].Flags&FlagPlaceholder != 0, int32(i))
		}
	}
	var cycles Warning
	slices.Sort(a.cycles)
	for _, n := range a.cycles {
		cycles.add(rowOf[n])
	}
	say := func(k WarningKind, w Warning, format string, args ...any) {
		if w.Count > 0 {
			w.Kind, w.Message = k, fmt.Sprintf(format, args...)
			t.Warnings = append(t.Warnings, w)
		}
	}
	say(WarnMissingParent, missing, "%s named by %s never arrived", counted(missing.Count, "parent", "parents"), counted(orphans.Count, "span", "spans"))
	say(WarnSharedID, shared, "%s reported under the id of the client's span and hung below it", counted(shared.Count, "server span was", "server spans were"))
	say(WarnDuplicate, duplicate, "%s left out: the same span was received more than once", counted(a.copies, "copy was", "copies were"))
	say(WarnClockSkew, skewed, "%s before the parent, by up to %s: clocks of the hosts differ", counted(skewed.Count, "span starts", "spans start"), time.Duration(skew))
	say(WarnImpossibleTime, timeless, "%s without a possible start time; the time of receipt is shown", counted(timeless.Count, "span", "spans"))
	say(WarnTwinID, twins, "%s joined from the 64-bit or 128-bit form of the trace id", counted(twins.Count, "span", "spans"))
	say(WarnCycle, cycles, "%s cut: a span was its own ancestor", counted(cycles.Count, "cycle", "cycles"))
}

func (w *Warning) addIf(cond bool, row int32) {
	if cond {
		w.add(row)
	}
}

func (w *Warning) add(row int32) {
	w.Count++
	if len(w.Rows) < maxWarningRows {
		w.Rows = append(w.Rows, row)
	}
}

// counted is a number with its noun: "1 span", "3 spans".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
