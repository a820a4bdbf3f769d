package table

// The side tables of a Table serve the writer of segments too: it interns into one what all blocks of a segment refer to.

// Ident is the destination's entry for one of the source, Rare one without its texts, and so on for the others.
func (c *Copier) Ident(i uint32) uint32 { return once(c.idents, i, c.ident) }

// Rare translates the numbers of an entry; its texts are columns of their own in a segment.
func (c *Copier) Rare(i uint32) uint32 {
	return once(c.rares, i, func(i uint32) uint32 {
		r := c.src.Rares[i]
		r.StatusMessage, r.TraceState = 0, 0
		return c.dst.rare(r)
	})
}

// Resource translates a resource with its attributes.
func (c *Copier) Resource(i uint32) uint32 { return once(c.resources, i, c.resource) }

// Scope translates a scope with its attributes.
func (c *Copier) Scope(i uint32) uint32 { return once(c.scopes, i, c.scope) }

// Shape translates a list of fields.
func (c *Copier) Shape(i uint32) uint32 { return once(c.shapes, i, c.shape) }

// Field translates a field.
func (c *Copier) Field(i uint32) uint32 { return once(c.fields, i, c.field) }

// InternText is the ID of a string, added if it is new. sync-ed by Done of a Copier or by Sync.
func (t *Table) InternText(p []byte) ID { return t.strings.Intern(p) }

// Sync shows interned strings to readers.
func (t *Table) Sync() { t.sync() }
