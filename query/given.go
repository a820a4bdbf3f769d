package query

import "github.com/spanloom/spanloom/span"

// AssembleGiven makes traces of spans that a caller brings instead of the store's, in the order in which their ids come up. Their
// columns are set as for store.Writer.Accept. A trace's 64- and 128-bit forms are two traces here. Limits of size are the
// caller's matter.
func (q *Query) AssembleGiven(from *span.Batch) []*Trace {
	var traces []*Trace
	copiers := make(map[span.TraceID]*span.Copier)
	var batches []*span.Batch
	for i, id := range from.TraceID {
		c := copiers[id]
		if c == nil {
			b := &span.Batch{Tenant: from.Tenant, Received: from.Received}
			batches = append(batches, b)
			c = span.NewCopier(b)
			c.Intern = newInterner(b, q.seed).add
			c.Begin(from)
			copiers[id] = c
		}
		c.Row(i)
	}
	for _, b := range batches {
		t := assemble(b, b.TraceID[0])
		t.Complete = true
		traces = append(traces, t)
	}
	return traces
}
