package otlp

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// receiver is what HTTP and gRPC share: bytes in, spans accepted, a problem or the number of refused spans out.
type receiver struct {
	in    *receive.Intake
	tasks sync.Pool
}

// task is what one request needs besides its body: a batch, a decoder and their share of the budget. Tasks are pooled.
type task struct {
	rc     *receiver
	dec    Decoder
	batch  *span.Batch
	head   [16]byte // the body's beginning, for the book of refusals
	nHead  int
	size   int // of the body
	budget int64
	alone  bool // the batch asked for more than one request may have
}

func (rc *receiver) begin() *task {
	t, ok := rc.tasks.Get().(*task)
	if !ok {
		t = &task{rc: rc}
		t.dec.Room = t.room
	}
	t.batch, t.nHead, t.size, t.budget, t.alone = rc.in.Batch(), 0, 0, 0, false
	return t
}

// done gives everything back.
func (t *task) done() {
	t.rc.in.Release(t.batch)
	t.rc.in.Budget.Give(t.budget)
	t.batch = nil
	t.rc.tasks.Put(t)
}

// room is the decoder's.
func (t *task) room(bytes int) bool {
	if !t.rc.in.Budget.Take(int64(bytes)) {
		t.alone = t.rc.in.Budget.TooMuch(int64(t.size) + t.budget + int64(bytes))
		return false
	}
	t.budget += int64(bytes)
	return true
}

// protobuf reads a body or a part of it.
func (t *task) protobuf(body []byte) error { return t.outgrown(t.dec.Protobuf(t.batch, body)) }

// outgrown tells a batch that will never fit the budget from one that does not fit now.
func (t *task) outgrown(err error) error {
	if err != nil && t.alone && problem.Of(err).Kind == problem.Overloaded {
		return receive.ErrOutgrown(t.rc.in.Budget)
	}
	return err
}

// form is how a body is encoded.
type form uint8

const (
	protobufForm form = iota
	jsonForm
)

// decode reads a body, which is not needed afterwards. mislabelled says that it was of another form than announced: the
// body decides.
func (t *task) decode(body []byte, announced form) (mislabelled bool, err error) {
	t.nHead, t.size = copy(t.head[:], body), t.size+len(body)
	looks := announced
	if first := firstOf(body); first == '{' && body[0] != '\n' {
		looks = jsonForm // as protobuf this is the start of group 15
	} else if announced == jsonForm && first != '{' && len(body) > 0 && body[0] == 1<<3|bytes_ {
		looks = protobufForm
	}
	if looks == jsonForm {
		return looks != announced, t.outgrown(t.dec.JSON(t.batch, body))
	}
	err = t.protobuf(body)
	if err != nil && firstOf(body) == '{' {
		// A line feed before JSON is also protobuf's most usual first byte: only now it is clear.
		t.batch.Reset()
		return announced != jsonForm, t.outgrown(t.dec.JSON(t.batch, body))
	}
	return looks != announced, err
}

// firstOf is the first byte that is no space; 0 if there is none.
func firstOf(body []byte) byte {
	for _, c := range body {
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// accept hands the batch on. rejected spans were left out for good, why says so for people.
func (t *task) accept(ctx context.Context, p span.Protocol, sender netip.Addr) (rejected int, why string, pr *problem.Problem) {
	if err := t.rc.in.Accept(ctx, t.batch, p, sender, t.size); err != nil {
		return 0, "", problem.Of(err)
	}
	if len(t.batch.Refused) == 0 {
		return 0, "", nil
	}
	return receive.RefusedSpans(t.batch), t.why(), nil
}

// why names the reasons of refused spans, with their numbers and the first decoder's complaint.
func (t *task) why() string {
	var w strings.Builder
	for i, r := range t.batch.Refused {
		if i > 0 {
			w.WriteString(", ")
		}
		fmt.Fprintf(&w, "%s: %d", r.Reason, r.Spans)
	}
	if first := t.dec.Refusal(); first != nil {
		fmt.Fprintf(&w, "; the first: %s", first.Error())
	}
	return w.String()
}

// refuse books a body that was not decoded or not taken.
func (t *task) refuse(p span.Protocol, sender netip.Addr, err error) *problem.Problem {
	pr := problem.Of(err)
	reason := receive.Malformed
	switch pr.Kind {
	case problem.Invalid:
	case problem.TooLarge:
		reason = receive.BodyTooLarge
	default:
		reason = receive.TooBusy
	}
	return t.rc.in.Refuse(p, sender, reason, t.size, t.head[:t.nHead], pr)
}
