package tempoapi

import (
	"fmt"
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// traceV1 answers GET /api/traces/{id}: the trace alone; nothing of a trace that was too large to be read as a whole. What was read of
// one of which a part of the store is away is an answer with a header.
func (a *API) traceV1(c *call) error {
	t, err := a.lookUp(c)
	if err != nil {
		if problem.Of(err).Kind == problem.NotFound {
			c.out.status = http.StatusNotFound
			c.out.silent = true
		}
		return err
	}
	if !t.Complete && !t.Away {
		c.out.status = http.StatusUnprocessableEntity
		return problem.New(problem.TooLarge, t.Reason, "ask /api/v2/traces for the part that was read")
	}
	c.partial(t.Done)
	w := newTraceWriter(c.out, t)
	if c.wantsProtobuf() {
		c.out.begin(typeProtobuf)
		w.protobuf()
	} else {
		c.out.begin(typeJSON)
		c.out.buf = append(c.out.buf, `{"batches":`...)
		w.json()
		c.out.buf = append(c.out.buf, '}')
	}
	c.out.flush()
	return nil
}

// traceV2 answers GET /api/v2/traces/{id}: the trace with a status. A trace of which nothing is here is an empty one, as Grafana
// reads the field without looking whether it is there.
func (a *API) traceV2(c *call) error {
	t, err := a.lookUp(c)
	if problem.Of(err) != nil && problem.Of(err).Kind == problem.NotFound {
		t, err = &query.Trace{Batch: &span.Batch{}, Done: store.Done{Complete: true}}, nil
	}
	if err != nil {
		return err
	}
	w := newTraceWriter(c.out, t)
	inspected := uint64(t.Batch.Size())
	if c.wantsProtobuf() {
		size := w.protobufSize()
		c.out.begin(typeProtobuf)
		c.out.buf = protowire.AppendTag(c.out.buf, 1, protowire.BytesType)
		c.out.buf = protowire.AppendVarint(c.out.buf, uint64(size))
		w.protobuf()
		c.out.buf = appendTraceStatus(c.out.buf, inspected, t)
	} else {
		c.out.begin(typeJSON)
		c.out.buf = append(c.out.buf, `{"trace":{`...)
		if len(w.groups) > 0 {
			c.out.buf = append(c.out.buf, `"resourceSpans":`...)
			w.json()
		}
		c.out.buf = appendTraceStatusJSON(append(c.out.buf, '}'), inspected, t)
		c.out.buf = append(c.out.buf, '}')
	}
	c.out.flush()
	return nil
}

// lookUp reads the trace that a path names. start and end are checked and not used: they are guesses of the caller's, a look-up
// of all time costs little more, and a trace that reaches beyond them would come out cut.
func (a *API) lookUp(c *call) (*query.Trace, error) {
	id, err := span.ParseTraceID(c.segment)
	if err != nil {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "trace id", Message: fmt.Sprintf("%.100q is not a trace id", c.segment), Hint: "give 1 to 32 hexadecimal digits"}
	}
	if _, err := parseWindow(c.params, false); err != nil {
		return nil, err
	}
	return a.Query.Trace(c.Context(), c.scope, id, store.TimeRange{})
}
