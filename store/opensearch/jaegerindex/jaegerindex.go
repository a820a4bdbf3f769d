// Package jaegerindex reads the spans that Jaeger stored in Elasticsearch or OpenSearch where they are: the indices jaeger-span-* of a
// prefix, daily and of rollover, as all versions since 1.0 write them. Nothing is ever written there.
//
// A question's conditions become a query over the fields that Jaeger maps (query.go), which lets through every document that may be an
// answer. The documents are decoded as those of an import are (receive/jaeger); store/match judges the spans and store/answer orders and
// sums up the traces, as in every engine. What Jaeger's form cannot tell is said by Lossy.
//
// The indices are looked for at each question, and only those asked whose names tell of a day that may have spans of the range. Archived
// traces are found by id only, as in Jaeger.
package jaegerindex

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive/jaeger"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/opensearch"
)

// Options are the settings of a reader.
type Options struct {
	Client *opensearch.Client
	Prefix string // of the indices, as Jaeger's index_prefix has it; empty for none
	Rows   int    // documents of one answer; 0 for 1000. Tests set it low

	Now func() time.Time // clock of page tokens; nil: time.Now
	// Settle sets what receivers and steps set of spans that come in: proxy marks, service, group and namespace. nil: the service is
	// service.name.
	Settle func(b *span.Batch)
	Log    func(message string, err error) // documents that cannot be read, once a reason; nil: nobody hears it
}

// Reader answers from Jaeger's indices. It is safe for concurrent use and needs no closing.
type Reader struct {
	client *opensearch.Client
	base   string // of the names of indices
	rows   int
	now    func() time.Time
	settle func(*span.Batch)
	log    func(string, error)

	mu   sync.Mutex
	told map[string]bool // reasons
}

var _ store.Reader = (*Reader)(nil)

// New makes a reader. It asks nothing yet.
func New(o Options) *Reader {
	r := &Reader{client: o.Client, base: base(o.Prefix), rows: o.Rows, now: o.Now, settle: o.Settle, log: o.Log, told: make(map[string]bool)}
	if r.rows <= 0 {
		r.rows = 1000
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.settle == nil {
		r.settle = byServiceName
	}
	if r.log == nil {
		r.log = func(string, error) {}
	}
	return r
}

// Pattern is how the indices are named.
func (r *Reader) Pattern() string { return r.base + "*" }

// byServiceName makes the service of the resource's service.name alone.
func byServiceName(b *span.Batch) {
	for row := range b.Len() {
		name := b.AddString(b.FindString(b.Resources[b.Resource[row]].Attrs, "service.name"))
		b.Service[row], b.Group[row] = name, name
	}
}

// Can reports what this reader does.
func (r *Reader) Can() store.Abilities {
	return store.Abilities{TraceDuration: true, Durable: true, Lossy: Lossy()}
}

// Lossy says in words what Jaeger's form does not hold of a span.
func Lossy() []string {
	return append(jaeger.Lacks(), "receipt: it is taken to be the end of the span", "snapshots: what Jaeger stores while somebody turns pages may show on them")
}

// explain makes of an error of the servers one that says what to do.
func (r *Reader) explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	what += " of Jaeger's indices " + r.base + "*"
	err = opensearch.Explain(ctx, what, err)
	p, ok := errors.AsType[*problem.Problem](err)
	if status, reason := opensearch.StatusOf(err); ok && (status == http.StatusForbidden || status == http.StatusUnauthorized) {
		p.Hint = fmt.Sprintf("grant the user of --opensearch-url read and view_index_metadata on %s*", r.base)
	} else if ok && status == http.StatusBadRequest {
		p.Kind, p.Hint, p.RetryAfter = problem.Unavailable, "the server cannot ask this of Jaeger's indices: "+reason, time.Minute
	}
	return err
}

// batch decodes documents into a batch, the caller's own. Documents that cannot be read are left out and told once a reason.
func (r *Reader) batch(hits []hit) *span.Batch {
	b := &span.Batch{Tenant: store.DefaultTenant}
	var d jaeger.Decoder
	d.Begin(b)
	for i := range hits {
		if err := d.Document(hits[i].Source); err != nil {
			r.tell(hits[i], err)
		}
	}
	kept := func(row int) bool { return b.Start[row] <= maxMicros*1000 }
	b.Keep(kept)
	for row := range b.Len() {
		b.Time[row] = int64(b.Start[row])
		b.Received = max(b.Received, b.EndTime(row))
	}
	r.settle(b)
	return b
}

func (r *Reader) tell(h hit, err error) {
	field := ""
	if p := problem.Of(err); p != nil {
		field = p.Field
	}
	if faults := (*jaeger.Faults)(nil); errors.As(err, &faults) {
		field = faults.First[0].Field
	}
	r.mu.Lock()
	known := r.told[field] || len(r.told) > 100
	r.told[field] = true
	r.mu.Unlock()
	if !known {
		r.log(fmt.Sprintf("document %s of %s cannot be read and is left out, as are others of which the same is wrong", h.ID, h.Index), err)
	}
}

// rowsOf are all rows of a batch.
func rowsOf(b *span.Batch) []answer.Row {
	rows := make([]answer.Row, b.Len())
	for i := range rows {
		rows[i] = answer.Row{Batch: b, Row: i, Received: b.EndTime(i)}
	}
	return rows
}
