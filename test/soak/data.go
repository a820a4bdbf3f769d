package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// What the batches hold. A batch is a pure function of the seed, its number and the time it was first tried, so that the parent and
// every life know what must be found without storing it.
const (
	services  = 8
	names     = 5
	tags      = 40
	mostSpans = 60
	spread    = int64(10 * time.Second) // starts lie up to so long before the receipt
)

var scope = store.Scope{Tenant: store.DefaultTenant}

// traceOf is the trace of a batch. Of ten batches the first two are parts of one trace.
func traceOf(n int) span.TraceID {
	if n%10 == 1 {
		n--
	}
	return span.TraceIDFromUint64s(7, uint64(n)+1)
}

// wanted is one span as it must be found.
type wanted struct {
	id         span.SpanID
	start, end uint64
	service    int
	name, tag  int
}

// spansOf are the spans of a batch.
func spansOf(seed uint64, n int, received int64) []wanted {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	list := make([]wanted, 1+r.IntN(mostSpans))
	for i := range list {
		start := uint64(received - r.Int64N(spread))
		list[i] = wanted{id: span.SpanIDFromUint64(uint64(n)*mostSpans + uint64(i) + 1), start: start, end: start + uint64(r.Int64N(1e9)),
			service: r.IntN(services), name: r.IntN(names), tag: r.IntN(tags)}
	}
	return list
}

func serviceName(i int) string { return "service-" + strconv.Itoa(i) }
func opName(i int) string      { return "operation-" + strconv.Itoa(i) }

// batchOf makes the batch. first is when it was tried first, now its receipt.
func batchOf(seed uint64, n int, first, now int64) *span.Batch {
	b := &span.Batch{Tenant: store.DefaultTenant, Received: now}
	b.Resources, b.Scopes = []span.Resource{{}}, []span.Scope{{}}
	for _, w := range spansOf(seed, n, first) {
		row := b.AddRow()
		b.TraceID[row], b.SpanID[row] = traceOf(n), w.id
		b.Start[row], b.End[row], b.Time[row] = w.start, w.end, int64(w.start)
		b.Kind[row] = span.KindServer
		b.Service[row] = b.AddText(serviceName(w.service))
		b.Name[row] = b.AddText(opName(w.name))
		mark := b.AttrMark()
		b.AddTextAttr("batch", strconv.Itoa(n))
		b.AddTextAttr("tag", strconv.Itoa(w.tag))
		b.AddTextAttr("url", fmt.Sprintf("http://%s/%s/%d", serviceName(w.service), opName(w.name), n*mostSpans+row))
		b.SpanAttrs[row] = b.AttrsSince(mark)
	}
	return b
}

// numberOf reads the number of the batch that a row is of, -1 if it says none.
func numberOf(b *span.Batch, row int) int {
	n, err := strconv.Atoi(string(b.FindString(b.SpanAttrs[row], "batch")))
	if err != nil {
		return -1
	}
	return n
}

// same reports whether a row is what was sent.
func (w wanted) same(b *span.Batch, row int) bool {
	return b.SpanID[row] == w.id && b.Start[row] == w.start && b.End[row] == w.end && b.String(b.Service[row]) == serviceName(w.service) &&
		b.String(b.Name[row]) == opName(w.name) && string(b.FindString(b.SpanAttrs[row], "tag")) == strconv.Itoa(w.tag)
}

// clock runs faster than the machine's, so that hours of retention pass in minutes. Every life reads the same one.
type clock struct {
	origin time.Time
	speed  int64
}

func (c clock) now() time.Time { return c.origin.Add(time.Since(c.origin) * time.Duration(c.speed)) }
