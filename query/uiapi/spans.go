package uiapi

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// maxSpans is how many spans are asked for, or answered without being asked for, at once.
const maxSpans = 500

func (a *api) spans(c *call) error {
	wanted, err := readIDs(c.params.Get("ids"))
	if err != nil {
		return err
	}
	t, rows, whole := a.traces.find(c), []int(nil), false
	if t != nil {
		rows, whole = rowsOf(t, wanted)
	}
	if !whole { // not read yet, or a span came since
		if t, err = a.Query.Trace(c.ctx, c.scope, c.traceID, store.TimeRange{}); err != nil {
			return err
		}
		a.traces.keep(c, t)
		rows, _ = rowsOf(t, wanted)
	}
	o := open(nil)
	o.list("items", len(rows), func(dst []byte, i int) []byte { return appendSpan(dst, t, rows[i]) })
	t.Release()
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

// maxFound is how many span ids an answer of find has at most.
const maxFound = 100_000

// find lists the spans that carry a text: see query.Trace.Find.
func (a *api) find(c *call) error {
	text, err := c.required("q")
	if err != nil {
		return err
	}
	t := a.traces.find(c)
	if t == nil {
		if t, err = a.Query.Trace(c.ctx, c.scope, c.traceID, store.TimeRange{}); err != nil {
			return err
		}
		a.traces.keep(c, t)
	}
	rows := t.Find(text)
	o := open(nil)
	o.int("count", int64(len(rows)))
	o.key("spanIds")
	o.out = append(o.out, '[')
	for i, r := range rows[:min(len(rows), maxFound)] {
		if i > 0 {
			o.out = append(o.out, ',')
		}
		o.out = append(hex.AppendEncode(append(o.out, '"'), t.Rows[r].ID[:]), '"')
	}
	o.out = append(o.out, ']')
	t.Release()
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

func readIDs(text string) ([]span.SpanID, error) {
	if text == "" {
		return nil, nil
	}
	var out []span.SpanID
	for _, s := range strings.Split(text, ",") {
		id, err := span.ParseSpanID(s)
		if err != nil {
			return nil, badParam("ids", s, "it is a list of span ids, 16 hexadecimal digits each, separated by commas")
		}
		out = append(out, id)
	}
	if len(out) > maxSpans {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "ids", Message: fmt.Sprintf("%d ids", len(out)), Hint: fmt.Sprintf("ask for at most %d at once", maxSpans)}
	}
	return out, nil
}

// rowsOf finds the rows of spans in tree order, without placeholders, and whether each id has one; of no ids the first rows.
func rowsOf(t *query.Trace, ids []span.SpanID) (rows []int, whole bool) {
	found := make(map[span.SpanID]bool, len(ids))
	for _, id := range ids {
		found[id] = false
	}
	missing := len(found)
	for i := range t.Rows {
		r := &t.Rows[i]
		before, asked := found[r.ID]
		if asked && !before { // a placeholder too: its span is known to be missing
			found[r.ID] = true
			missing--
		}
		if r.Span < 0 || !asked && ids != nil {
			continue
		}
		if rows = append(rows, i); ids == nil && len(rows) == maxSpans {
			break
		}
	}
	return rows, missing == 0
}

func appendSpan(dst []byte, t *query.Trace, i int) []byte {
	r := &t.Rows[i]
	b, row := t.Batch, int(r.Span)
	service := &t.Services[r.Service]
	o := open(dst)
	o.int("row", int64(i))
	o.id("spanId", r.ID[:])
	if p := b.Parent[row]; !p.IsZero() {
		o.id("parentSpanId", p[:])
	}
	o.text("name", t.Names[r.Name])
	o.text("kind", r.Kind.String())
	o.key("start")
	o.out = append(strconv.AppendUint(append(o.out, '"'), b.Start[row], 10), '"')
	o.key("end")
	o.out = append(strconv.AppendUint(append(o.out, '"'), b.End[row], 10), '"')
	o.int("duration", r.Duration)
	o.text("status", b.Status[row].String())
	o.bytes("statusMessage", b.Bytes(b.StatusMessage[row]))
	o.text("service", service.Name)
	o.text("group", service.Group)
	o.text("namespace", service.Namespace)
	o.number("weight", b.Weight[row])
	o.bytes("traceState", b.Bytes(b.TraceState[row]))
	o.someInt("flags", int64(b.Flags[row]))
	if s := b.Scopes[b.Scope[row]]; s.Name.Len > 0 || s.Version.Len > 0 || s.Attrs.Len > 0 {
		o.key("scope")
		x := open(o.out)
		x.bytes("name", b.Bytes(s.Name))
		x.bytes("version", b.Bytes(s.Version))
		x.key("attributes")
		x.out = appendAttributes(x.out, b, s.Attrs)
		o.out = x.close()
	}
	o.key("attributes")
	o.out = appendAttributes(o.out, b, b.SpanAttrs[row])
	o.key("resource")
	o.out = appendAttributes(o.out, b, b.Resources[b.Resource[row]].Attrs)
	events, links := b.EventsOf(row), b.LinksOf(row)
	o.list("events", len(events), func(dst []byte, i int) []byte {
		e := &events[i]
		o := open(dst)
		o.key("time")
		o.out = append(strconv.AppendUint(append(o.out, '"'), e.Time, 10), '"')
		o.text("name", b.String(e.Name))
		o.key("attributes")
		o.out = appendAttributes(o.out, b, e.Attrs)
		o.someInt("dropped", int64(e.Dropped))
		return o.close()
	})
	o.list("links", len(links), func(dst []byte, i int) []byte {
		l := &links[i]
		o := open(dst)
		o.id("traceId", l.TraceID[:])
		o.id("spanId", l.SpanID[:])
		o.bytes("traceState", b.Bytes(l.TraceState))
		o.key("attributes")
		o.out = appendAttributes(o.out, b, l.Attrs)
		o.someInt("dropped", int64(l.Dropped))
		return o.close()
	})
	o.someInt("droppedAttributes", int64(b.DroppedAttrs[row]))
	o.someInt("droppedEvents", int64(b.DroppedEvents[row]))
	o.someInt("droppedLinks", int64(b.DroppedLinks[row]))
	return o.close()
}

// otlpPiece is how many spans are encoded at once, so that a large trace is never a whole text in memory.
const otlpPiece = 1000

// otlp writes the trace as TracesData. A resource and scope with many spans may come in several pieces, which is the same
// trace to every reader.
func (a *api) otlp(c *call) error {
	t, err := a.Query.Trace(c.ctx, c.scope, c.traceID, store.TimeRange{})
	if err != nil {
		return err
	}
	rows := make([]int32, 0, len(t.Rows))
	for i := range t.Rows {
		if row := t.Rows[i].Span; row >= 0 {
			rows = append(rows, row)
		}
	}
	if len(rows) > otlpPiece {
		slices.SortStableFunc(rows, func(x, y int32) int {
			if d := int(t.Batch.Resource[x]) - int(t.Batch.Resource[y]); d != 0 {
				return d
			}
			return int(t.Batch.Scope[x]) - int(t.Batch.Scope[y])
		})
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", traceCaching(t))
	if !t.Complete {
		h.Set(query.HeaderPartial, query.HeaderText(t.Reason))
	}
	h.Add("Vary", "Accept-Encoding")
	write := c.w.Write
	if takesGzip(c.r) {
		h.Set("Content-Encoding", "gzip")
		z := gzipWriters.Get().(*gzip.Writer)
		z.Reset(c.w)
		defer func() {
			_ = z.Close() // the client went away
			gzipWriters.Put(z)
		}()
		write = z.Write
	}
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodHead {
		return nil
	}
	out := []byte(`{"resourceSpans":[`)
	for piece := range slices.Chunk(rows, otlpPiece) {
		if &piece[0] != &rows[0] {
			out = append(out, ',')
		}
		from := len(out)
		out = otlpjson.AppendResourceSpans(out, t.Batch, piece)
		out = append(out[:from], out[from+1:len(out)-1]...) // its entries, without the brackets
		if _, err := write(out); err != nil {
			return nil // the client went away
		}
		out = out[:0]
	}
	_, _ = write(append(out, "]}"...))
	return nil
}

func (a *api) keep(c *call) error {
	body, err := readBody(c, 4<<10)
	if err != nil {
		return err
	}
	var request struct {
		Until *string `json:"until"`
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &request); err != nil {
			return &problem.Problem{Kind: problem.Invalid, Message: "the body is not the JSON it should be", Hint: `send {} or {"until":"1800000000000000000"}`, Err: err}
		}
	}
	var until int64
	if request.Until != nil {
		if until, err = strconv.ParseInt(*request.Until, 10, 64); err != nil || until <= c.now.UnixNano() {
			return &problem.Problem{Kind: problem.Invalid, Field: "until", Message: fmt.Sprintf("%.100q is not an instant to come", *request.Until),
				Hint: "it is nanoseconds since 1970; leave it out to keep the trace for ever"}
		}
	}
	if err := a.Query.Keep(c.ctx, c.scope, c.traceID, until); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// recentTraces holds a few assembled traces whose skeleton was asked for: a reader who scrolls asks for their spans piece by
// piece, and row numbers are then those of the skeleton.
type recentTraces struct {
	most int // bytes of all of them
	mu   sync.Mutex
	list []recentTrace // oldest first
}

type recentTrace struct {
	tenant string
	asked  span.TraceID
	at     time.Time
	trace  *query.Trace
}

const (
	recentKept  = 4
	recentBytes = 64 << 20
	recentFor   = time.Minute
)

// find answers a trace that was read within the last minute.
func (r *recentTraces) find(c *call) *query.Trace {
	if c.scope.MustMatch != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(c.now)
	for i := len(r.list) - 1; i >= 0; i-- {
		if e := &r.list[i]; e.tenant == c.scope.Tenant && e.asked == c.traceID {
			return e.trace
		}
	}
	return nil
}

func (r *recentTraces) keep(c *call, t *query.Trace) {
	size := func(t *query.Trace) int { return t.Batch.Size() + 56*len(t.Rows) }
	if c.scope.MustMatch != nil || size(t) > r.most {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(c.now)
	r.list = slices.DeleteFunc(r.list, func(e recentTrace) bool { return e.tenant == c.scope.Tenant && e.asked == c.traceID })
	r.list = append(r.list, recentTrace{c.scope.Tenant, c.traceID, c.now, t})
	sum := 0
	for i := len(r.list) - 1; i >= 0; i-- {
		if sum += size(r.list[i].trace); sum > r.most || len(r.list)-i > recentKept {
			r.list = slices.Delete(r.list, 0, i+1)
			return
		}
	}
}

func (r *recentTraces) expire(now time.Time) {
	r.list = slices.DeleteFunc(r.list, func(e recentTrace) bool { return now.Sub(e.at) >= recentFor })
}
