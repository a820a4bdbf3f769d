package span

import "encoding/binary"

// Copier copies rows from batches into one, translating keys and putting equal resources and scopes together. It is how
// small batches become a big one (a memtable's chunk, an assembled trace). A Copier serves one destination for its whole life.
type Copier struct {
	// Intern, when set, replaces Dst.AddString for values and names: a destination that interns strings sets it.
	Intern func(p []byte) Str

	dst       *Batch
	src       *Batch
	keys      []uint32 // src key -> dst key + 1
	resources []uint32 // src resource -> dst resource + 1
	scopes    []uint32
	known     map[string]uint32 // content of a resource or scope -> its index in dst
	scratch   []byte
}

// NewCopier makes a copier into dst.
func NewCopier(dst *Batch) *Copier {
	return &Copier{dst: dst, known: make(map[string]uint32)}
}

// Begin sets the batch that the next rows come from. Cost: its key, resource and scope tables are cleared, not copied.
func (c *Copier) Begin(src *Batch) {
	c.src = src
	c.keys = resized(c.keys, len(src.Keys))
	c.resources = resized(c.resources, len(src.Resources))
	c.scopes = resized(c.scopes, len(src.Scopes))
}

func resized(s []uint32, n int) []uint32 {
	if cap(s) < n {
		return make([]uint32, n, n+n/2)
	}
	s = s[:n]
	clear(s)
	return s
}

// Row appends row i of the source to the destination and returns its row there.
func (c *Copier) Row(i int) int {
	src, dst := c.src, c.dst
	row := dst.AddRow()
	dst.TraceID[row] = src.TraceID[i]
	dst.SpanID[row] = src.SpanID[i]
	dst.Parent[row] = src.Parent[i]
	dst.Name[row] = c.str(src.Name[i])
	dst.Kind[row] = src.Kind[i]
	dst.Status[row] = src.Status[i]
	dst.Mark[row] = src.Mark[i]
	dst.Start[row] = src.Start[i]
	dst.End[row] = src.End[i]
	dst.Time[row] = src.Time[i]
	dst.StatusMessage[row] = c.str(src.StatusMessage[i])
	dst.TraceState[row] = c.str(src.TraceState[i])
	dst.Flags[row] = src.Flags[i]
	dst.DroppedAttrs[row] = src.DroppedAttrs[i]
	dst.DroppedEvents[row] = src.DroppedEvents[i]
	dst.DroppedLinks[row] = src.DroppedLinks[i]
	dst.Weight[row] = src.Weight[i]
	dst.Service[row] = c.str(src.Service[i])
	dst.Group[row] = c.str(src.Group[i])
	dst.Namespace[row] = c.str(src.Namespace[i])
	dst.Resource[row] = c.resource(src.Resource[i])
	dst.Scope[row] = c.scope(src.Scope[i])
	dst.SpanAttrs[row] = c.attrs(src.SpanAttrs[i])
	c.events(row, src.EventsOf(i))
	c.links(row, src.LinksOf(i))
	return row
}

func (c *Copier) events(row int, events []Event) {
	first := uint32(len(c.dst.Events))
	for _, e := range events {
		attrs := c.attrs(e.Attrs)
		c.dst.Events = append(c.dst.Events, Event{e.Time, c.str(e.Name), attrs, e.Dropped})
	}
	c.dst.SpanEvents[row] = Range{first, uint32(len(events))}
}

func (c *Copier) links(row int, links []Link) {
	first := uint32(len(c.dst.Links))
	for _, l := range links {
		l.Attrs = c.attrs(l.Attrs)
		l.TraceState = c.str(l.TraceState)
		c.dst.Links = append(c.dst.Links, l)
	}
	c.dst.SpanLinks[row] = Range{first, uint32(len(links))}
}

func (c *Copier) str(s Str) Str {
	if s.Len == 0 {
		return Str{}
	}
	if c.Intern != nil {
		return c.Intern(c.src.Bytes(s))
	}
	return c.dst.AddString(c.src.Bytes(s))
}

func (c *Copier) attrs(r Range) Range {
	first := c.dst.AttrMark()
	for _, a := range c.src.AttrsOf(r) {
		if a.Type.InArena() {
			a.Bits = StrValue(a.Type, c.str(a.Value().Str())).Bits
		}
		a.Key = c.key(a.Key)
		c.dst.Attrs = append(c.dst.Attrs, a)
	}
	return Range{first, r.Len}
}

func (c *Copier) key(k uint32) uint32 {
	if to := c.keys[k]; to != 0 {
		return to - 1
	}
	to := c.dst.InternKey(c.src.Bytes(c.src.Keys[k]))
	c.keys[k] = to + 1
	return to
}

func (c *Copier) resource(i uint32) uint32 {
	if to := c.resources[i]; to != 0 {
		return to - 1
	}
	r := c.src.Resources[i]
	c.content('r', r.Attrs, r.Dropped, r.SchemaURL)
	to, ok := c.known[string(c.scratch)]
	if !ok {
		to = uint32(len(c.dst.Resources))
		c.known[string(c.scratch)] = to
		attrs := c.attrs(r.Attrs)
		c.dst.Resources = append(c.dst.Resources, Resource{attrs, r.Dropped, c.str(r.SchemaURL)})
	}
	c.resources[i] = to + 1
	return to
}

func (c *Copier) scope(i uint32) uint32 {
	if to := c.scopes[i]; to != 0 {
		return to - 1
	}
	s := c.src.Scopes[i]
	c.content('s', s.Attrs, s.Dropped, s.SchemaURL, s.Name, s.Version)
	to, ok := c.known[string(c.scratch)]
	if !ok {
		to = uint32(len(c.dst.Scopes))
		c.known[string(c.scratch)] = to
		attrs := c.attrs(s.Attrs)
		c.dst.Scopes = append(c.dst.Scopes, Scope{c.str(s.Name), c.str(s.Version), attrs, s.Dropped, c.str(s.SchemaURL)})
	}
	c.scopes[i] = to + 1
	return to
}

// content writes a resource's or scope's whole content in a self-delimiting form, the key under which equal ones meet.
func (c *Copier) content(kind byte, attrs Range, dropped uint32, strs ...Str) {
	p := append(c.scratch[:0], kind)
	p = binary.AppendUvarint(p, uint64(dropped))
	for _, s := range strs {
		p = binary.AppendUvarint(p, uint64(s.Len))
		p = append(p, c.src.Bytes(s)...)
	}
	for _, a := range c.src.AttrsOf(attrs) {
		p = binary.AppendUvarint(p, uint64(c.key(a.Key)))
		p = append(p, byte(a.Type))
		if a.Type.InArena() {
			s := a.Value().Str()
			p = binary.AppendUvarint(p, uint64(s.Len))
			p = append(p, c.src.Bytes(s)...)
		} else {
			p = binary.LittleEndian.AppendUint64(p, a.Bits)
		}
	}
	c.scratch = p
}
