package jaegerapi

import (
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
)

// rowsForOTLP are the rows of a trace's batch that API v3 shows, which writes OTLP: as stored if raw, else without copies,
// with ids that occur once, with parents that were found, and with the names and services that every API shows. The batch
// is changed for that: the trace is the request's own.
func rowsForOTLP(t *query.Trace, raw bool) []int32 {
	if raw {
		return storedRows(t)
	}
	b := t.Batch
	rows := make([]int32, 0, t.Spans)
	ids := query.UniqueIDs(t.Rows)
	idOf := func(i int32) span.SpanID {
		if ids != nil {
			return ids[i]
		}
		return t.Rows[i].ID
	}
	named := namedResources{b: b}
	for i := range t.Rows {
		r := &t.Rows[i]
		if r.Span < 0 {
			continue
		}
		row := r.Span
		rows = append(rows, row)
		b.TraceID[row], b.SpanID[row] = t.ID, idOf(int32(i))
		if b.Parent[row] = (span.SpanID{}); r.Parent >= 0 {
			b.Parent[row] = idOf(r.Parent)
		}
		if b.Name[row].Len == 0 {
			b.Name[row] = b.AddText(t.Names[r.Name])
		}
		if b.Mark[row]&span.MarkServiceDerived != 0 && b.Service[row].Len > 0 {
			b.Resource[row] = named.resource(b.Resource[row], b.Service[row])
		}
	}
	return rows
}

// namedResources makes resources that say the derived name of their service.
type namedResources struct {
	b    *span.Batch
	made map[processKey]uint32
}

func (n *namedResources) resource(index uint32, service span.Str) uint32 {
	key := processKey{service, index}
	if made, ok := n.made[key]; ok {
		return made
	}
	b := n.b
	r := b.Resources[index]
	name := b.InternKey([]byte("service.name"))
	old := append([]span.Attr(nil), b.AttrsOf(r.Attrs)...)
	mark := b.AttrMark()
	b.AddAttr(name, span.StrValue(span.TypeString, service))
	for _, a := range old {
		if a.Key != name {
			b.AddAttr(a.Key, a.Value())
		}
	}
	r.Attrs = b.AttrsSince(mark)
	made := uint32(len(b.Resources))
	b.Resources = append(b.Resources, r)
	if n.made == nil {
		n.made = make(map[processKey]uint32)
	}
	n.made[key] = made
	return made
}
