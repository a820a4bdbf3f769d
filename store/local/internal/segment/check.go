package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/table"
)

// Fault is a part of a segment that is not as it should be.
type Fault struct {
	Offset, Bytes int64 // of the file
	Block         int   // that cannot be read because of it, -1 if it is not about that
	Rows          int   // that cannot be read because of it
	Reason        string
}

// Check reads all of a segment and compares what is said twice: every checksum, each block with what the footer says of it, the list
// of traces and the filters with the rows, the counts with the rows. each, if not nil, is called with the rows of every block that
// could be read, valid until it returns; its error and the context's end the check.
// Cost: about 3 µs a row: every column is unpacked and every text is looked for.
func (r *Reader) Check(ctx context.Context, each func(v *table.View, rows *Rows) error) (faults []Fault, err error) {
	err = Guard(func() error {
		c := checker{r: r}
		err := c.run(ctx, each)
		faults = c.faults
		return err
	})
	if errors.Is(err, ErrDamaged) { // the mapping
		return append(faults, Fault{Bytes: int64(len(r.p)), Block: -1, Rows: r.info.Rows, Reason: err.Error()}), nil
	}
	return faults, err
}

type checker struct {
	r      *Reader
	faults []Fault
	seen   []bool // by text of a view
	groups map[Group]Group
}

func (c *checker) run(ctx context.Context, each func(v *table.View, rows *Rows) error) error {
	r := c.r
	want := append(binary.LittleEndian.AppendUint16(nil, version), make([]byte, headerSize)...)
	for _, at := range [][2]int{{8, headerSize}, {len(r.p) - 12, len(r.p) - 8}} {
		if p := r.p[at[0]:at[1]]; !bytes.Equal(p, want[:len(p)]) {
			c.faults = append(c.faults, Fault{Offset: int64(at[0]), Bytes: int64(len(p)), Block: -1, Reason: "version is not what this version writes"})
		}
	}
	for i := range r.sections {
		if _, err := r.section(i); err != nil {
			c.section(i, err.Error())
		}
	}
	c.totals()
	side, err := r.Side()
	if err != nil && c.good(sectionSide) {
		c.section(sectionSide, err.Error())
	}
	if err != nil || !c.good(sectionTraces) {
		c.blocksAlone()
		return ctx.Err()
	}
	c.groups = make(map[Group]Group)
	read := 0
	for i := range r.blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows, v, err := c.block(i, side)
		if err != nil {
			c.bad(i, r.blocks[i].Rows, err.Error())
			continue
		}
		read++
		if each != nil {
			if err := each(v, rows); err != nil {
				return err
			}
		}
	}
	if read == len(r.blocks) {
		c.counts()
	}
	return nil
}

// good reports whether a section meets its checksum; one that doesn't was named.
func (c *checker) good(section int) bool {
	_, err := c.r.section(section)
	return err == nil
}

func (c *checker) section(i int, reason string) {
	s := c.r.sections[i]
	f := Fault{Offset: s.off, Bytes: int64(s.length), Block: -1, Reason: reason}
	if i == sectionSide || i == sectionTraces { // no row can be read without
		f.Rows = c.r.info.Rows
	}
	c.faults = append(c.faults, f)
}

func (c *checker) bad(block, rows int, reason string) {
	b := c.r.blocks[block]
	f := Fault{Offset: b.offset, Bytes: int64(b.length), Block: -1, Rows: rows, Reason: reason}
	if rows > 0 {
		f.Block = block
	}
	c.faults = append(c.faults, f)
}

// blocksAlone compares the checksums of blocks where what they refer to cannot be read: all rows are lost already.
func (c *checker) blocksAlone() {
	for i, b := range c.r.blocks {
		if checksum(c.r.p[b.offset:b.offset+int64(b.length)]) != b.sum {
			c.bad(i, 0, fmt.Sprintf("checksum of block %d is wrong", i))
		}
	}
}

// totals compares the footer with the blocks it lists.
func (c *checker) totals() {
	i := Info{MinStart: math.MaxInt64, MaxStart: math.MinInt64, MaxEnd: math.MinInt64}
	for _, b := range c.r.blocks {
		i.MinStart, i.MaxStart, i.MaxEnd = min(i.MinStart, b.MinStart), max(i.MaxStart, b.MaxStart), max(i.MaxEnd, b.MaxEnd)
	}
	if f := c.r.info; f.MinStart != i.MinStart || f.MaxStart != i.MaxStart || f.MaxEnd != i.MaxEnd || f.MinReceived > f.MaxReceived || f.FirstSeq > f.LastSeq {
		c.faults = append(c.faults, Fault{Offset: int64(len(c.r.p) - trailerSize), Bytes: trailerSize, Block: -1, Reason: "footer says other times than its blocks"})
	}
}

// block reads a block with all columns, and compares what the footer and the filters say of it.
func (c *checker) block(i int, side *table.View) (*Rows, *table.View, error) {
	rows, err := c.r.Read(i, side)
	if err != nil {
		return nil, nil, err
	}
	v, err := rows.View(store.Everything(), nil)
	if err != nil {
		return nil, nil, err
	}
	meta := &c.r.blocks[i]
	b := Block{MinStart: math.MaxInt64, MaxStart: math.MinInt64, MaxEnd: math.MinInt64}
	for row := range v.Rows() {
		d := v.Duration(row)
		b.MinStart, b.MaxStart = min(b.MinStart, v.Time[row]), max(b.MaxStart, v.Time[row])
		b.MaxEnd, b.MaxDuration = max(b.MaxEnd, v.EndTime(row)), max(b.MaxDuration, d)
	}
	if b.MinStart != meta.MinStart || b.MaxStart != meta.MaxStart || b.MaxEnd != meta.MaxEnd || b.MaxDuration != meta.MaxDuration {
		c.bad(i, 0, fmt.Sprintf("the footer says other times of block %d than its rows", i))
	}
	for part := range meta.Parts {
		id, err := c.r.TraceID(meta.FirstPart + part)
		if err != nil {
			return nil, nil, err
		}
		if ok, err := c.r.MayHaveTrace(id.Low()); err == nil && !ok {
			c.section(sectionTraceFilter, fmt.Sprintf("the filter does not know trace %s of block %d", id, i))
			break
		}
		if at := rows.Received(part); at < c.r.info.MinReceived/1e6*1e6 || at > c.r.info.MaxReceived {
			c.bad(i, 0, fmt.Sprintf("trace %s of block %d was received outside of what the footer says", id, i))
			break
		}
	}
	return rows, v, c.filters(i, v)
}

// filters asks the filter of a block for the texts of its rows.
func (c *checker) filters(block int, v *table.View) error {
	c.count(v)
	if !c.good(sectionFilters) {
		return nil
	}
	f := filterCheck{c: c, v: v, block: block}
	c.seen = append(c.seen[:0], make([]bool, v.Texts.Len())...)
	for row := range v.Rows() {
		f.text(v.Name[row])
		i := v.Idents[v.Ident[row]]
		f.text(i.Service)
		f.text(i.Group)
		f.text(i.Namespace)
		r := v.Rares[v.Rare[row]]
		f.text(r.StatusMessage)
		f.text(r.TraceState)
		f.list(v.Attrs[row])
		if v.Status[row] == span.StatusError || f.hasError(v.Attrs[row]) {
			f.failed(i.Service)
		}
		f.list(v.Resources[v.Resource[row]].Attrs)
		s := v.Scopes[v.Scope[row]]
		f.text(s.Name)
		f.text(s.Version)
		f.list(s.Attrs)
		for _, e := range v.EventsOf(row) {
			f.text(e.Name)
			f.list(e.Attrs)
		}
		for _, l := range v.LinksOf(row) {
			f.text(l.State)
			f.list(l.Attrs)
		}
		if f.missing != "" {
			c.section(sectionFilters, fmt.Sprintf("the filter of block %d does not know %q", block, f.missing))
			break
		}
	}
	return f.err
}

// count adds the rows of a block to the groups, first by what the view calls them.
func (c *checker) count(v *table.View) {
	type key struct {
		table.Ident
		name table.ID
		kind span.Kind
	}
	rows := make(map[key]Group)
	for row := range v.Rows() {
		k := key{v.Idents[v.Ident[row]], v.Name[row], v.Kind[row]}
		g, ok := rows[k]
		if g.N++; !ok || v.Time[row] > g.Last {
			g.Last = v.Time[row]
		}
		rows[k] = g
	}
	text := func(id table.ID) string { return string(v.Texts.Bytes(id)) }
	for k, n := range rows {
		key := Group{Service: text(k.Service), Group: text(k.Group), Namespace: text(k.Namespace), Name: text(k.name), Kind: k.kind}
		g, ok := c.groups[key]
		switch {
		case ok:
			c.groups[key] = Group{N: g.N + n.N, Last: max(g.Last, n.Last)}
		case len(c.groups) <= MaxGroups: // a segment of more groups has no counts
			c.groups[key] = n
		}
	}
}

// filterCheck remembers the first text that a filter doesn't know.
type filterCheck struct {
	c       *checker
	v       *table.View
	block   int
	hashes  []uint64
	failing table.ID // the service asked for last
	missing string
	err     error
}

func (f *filterCheck) text(id table.ID) { f.value(span.TypeString, id) }

func (f *filterCheck) value(t span.Type, id table.ID) {
	if f.c.seen[id] {
		return
	}
	f.c.seen[id] = true
	p := f.v.Texts.Bytes(id)
	f.hashes = appendValueHashes(f.hashes[:0], t, p)
	for _, h := range f.hashes {
		ok, err := f.c.r.MayHaveHash(f.block, h)
		if f.err = errors.Join(f.err, err); !ok && f.missing == "" {
			f.missing = string(p[:min(len(p), 80)])
		}
	}
}

// failed asks for a service with failed spans.
func (f *filterCheck) failed(service table.ID) {
	if service == f.failing {
		return
	}
	f.failing = service
	p := f.v.Texts.Bytes(service)
	ok, err := f.c.r.MayHaveHash(f.block, FailedHash(hashText(p)))
	if f.err = errors.Join(f.err, err); !ok && f.missing == "" {
		f.missing = "failed spans of " + string(p[:min(len(p), 80)])
	}
}

func (f *filterCheck) hasError(l table.List) bool {
	return slices.ContainsFunc(f.v.Shapes[l.Shape], func(i uint32) bool { return string(f.v.Texts.Bytes(f.v.Fields[i].Key)) == "error" })
}

func (f *filterCheck) list(l table.List) {
	codes := f.v.CodesOf(l)
	for i, field := range f.v.Shapes[l.Shape] {
		if t := f.v.Fields[field].Type; t == span.TypeString || t == span.TypeStrings {
			f.value(t, table.ID(codes[i]))
		}
	}
}

// counts compares the groups with the rows.
func (c *checker) counts() {
	if !c.good(sectionStats) {
		return
	}
	s, err := c.r.Stats()
	if err != nil {
		c.section(sectionStats, err.Error())
		return
	}
	if !s.Grouped {
		return
	}
	for _, g := range s.Groups {
		k := g
		k.N, k.Last = 0, 0
		if own := c.groups[k]; own.N != g.N || own.Last != g.Last {
			c.section(sectionStats, fmt.Sprintf("%d spans are counted of %q, there are %d", g.N, g.Service+" "+g.Name, own.N))
			return
		}
		delete(c.groups, k)
	}
	if len(c.groups) > 0 {
		c.section(sectionStats, "spans are not counted")
	}
}
