package storetest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// ModelOptions are what an engine adds to a random run of Model.
type ModelOptions struct {
	// Steps is how many operations a seed makes; 0: 120, three times as many with SPANLOOM_LONG=1.
	Steps int

	// Reopen closes an engine and opens it again on what it left; nil: an engine that forgets is never closed.
	Reopen func(t *testing.T, e store.Engine, now func() time.Time) store.Engine

	// Loss is what the engine does not keep.
	Loss Loss

	// Hidden are operations of the engine that no answer may show, by name: closing a memtable, compaction.
	Hidden map[string]func(t *testing.T, e store.Engine)
}

// Model gives an engine random operations and compares every answer with the slices of model: batches with odd times and with
// copies of older spans, every kind of question, pages that are continued later, kept traces, documents, clocks that move
// both ways, closing and opening, and what Hidden names. It runs the seeds of Run's random case; SPANLOOM_SEED replays
// one. Where copies of one span make counts depend on what was compacted, an answer may lie between both counts.
//
// An engine opened with tiny blocks and segments that passes the same seeds is the metamorphic half of the test: each
// size must give the model's answers, hence all the same.
func Model(t *testing.T, open Open, o ModelOptions) {
	t.Attr(AttrCase, "random operations against the model")
	if o.Steps <= 0 {
		o.Steps = 120
		if os.Getenv("SPANLOOM_LONG") == "1" {
			o.Steps = 360
		}
	}
	for _, seed := range seeds(t) {
		ok := t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			start(t, open, o.Loss, func(t *testing.T, s *suite) {
				m := modelRun{suite: s, o: o, r: rand.New(rand.NewPCG(seed, 11)), documents: make(map[string]store.Document)}
				m.run(t)
			})
		})
		if !ok {
			t.Fatalf("replay with SPANLOOM_SEED=%d", seed)
		}
	}
}

// modelRun is one seed.
type modelRun struct {
	*suite
	o         ModelOptions
	r         *rand.Rand
	sent      []*span.Batch
	pages     []heldPage
	documents map[string]store.Document
}

// heldPage is a search whose next page is asked later.
type heldPage struct {
	q        store.Search // with the token
	left     []store.Summary
	first    int64 // when the first page was asked, and the latest one
	last     int64
	reopened bool // since then: the token may have expired
	rewound  bool // the clock went back since then
}

func (m *modelRun) run(t *testing.T) {
	ops := []struct {
		name  string
		often int
		do    func(*testing.T) string
	}{
		{"accept", 12, m.acceptRandom},
		{"resend", 4, m.resend},
		{"search", 12, m.searchAll},
		{"first page", 5, m.firstPage},
		{"next page", 7, m.nextPage},
		{"scan", 5, m.scan},
		{"trace", 8, m.oneTrace},
		{"traces", 4, m.several},
		{"services", 3, m.services},
		{"operations", 2, m.operations},
		{"keys", 3, m.keys},
		{"values", 5, m.values},
		{"rates", 5, m.rates},
		{"keep", 3, m.keep},
		{"document", 5, m.document},
		{"clock", 4, m.moveClock},
		{"reopen", 2, m.reopen},
		{"hidden", 5, m.hidden},
	}
	sum := 0
	for _, op := range ops {
		sum += op.often
	}
	for step := range m.o.Steps {
		at := m.r.IntN(sum)
		for _, op := range ops {
			if at -= op.often; at < 0 {
				t.Logf("step %d: %s %s", step, op.name, op.do(t))
				break
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// acceptRandom stores spans that began around now. Trace ids repeat within a few batches, so that traces grow across
// whatever the engine closes in between.
func (m *modelRun) acceptRandom(t *testing.T) string {
	n := 1 + m.r.IntN(40)
	if m.r.IntN(10) == 0 {
		n = 300
	}
	ahead := time.Duration(m.clock.Load() - At(0))
	b := Batch(t, fmt.Sprintf("received %s\n", ahead)+RandomText(m.r, n, 1+m.r.IntN(20), m.r.IntN(30)))
	if m.r.IntN(2) == 0 { // else they lie in one place, where old and new meet
		shift(b, ahead-time.Hour-time.Duration(m.r.IntN(3600))*time.Second)
	}
	m.sent = append(m.sent, b.Clone())
	m.acceptBatch(t, b)
	return fmt.Sprintf("%d spans", n)
}

// shift moves the spans of a batch in time, but for those whose time was replaced.
func shift(b *span.Batch, d time.Duration) {
	move := func(at *uint64) {
		if *at >= uint64(Epoch.UnixNano()/2) && *at < 1<<62 {
			*at += uint64(d)
		}
	}
	for row := range b.Len() {
		if b.Mark[row]&span.MarkTimeReplaced != 0 {
			continue
		}
		move(&b.Start[row])
		move(&b.End[row])
		b.Time[row] = int64(b.Start[row])
		for i := range b.EventsOf(row) {
			move(&b.Events[int(b.SpanEvents[row].Off)+i].Time)
		}
	}
}

// resend stores an older batch again, as a sender does that heard no answer; sometimes with ends of its own.
func (m *modelRun) resend(t *testing.T) string {
	if len(m.sent) == 0 {
		return "nothing"
	}
	b := m.sent[m.r.IntN(len(m.sent))].Clone()
	b.Received = m.clock.Load()
	if m.r.IntN(2) == 0 {
		for row := range b.Len() {
			if b.Mark[row]&span.MarkTimeReplaced == 0 && b.End[row] < 1<<62 {
				b.End[row] += uint64(m.r.IntN(3)) * 1e6
			}
		}
	}
	for row := range b.Len() {
		if b.Mark[row]&span.MarkTimeReplaced != 0 {
			b.Time[row] = b.Received
		}
	}
	m.acceptBatch(t, b)
	return fmt.Sprintf("%d spans", b.Len())
}

// timeRange has its ends near spans that are there.
func (m *modelRun) timeRange() (tr store.TimeRange) {
	near := func() int64 {
		if len(m.model.rows) == 0 {
			return At(0)
		}
		r := m.model.rows[m.r.IntN(len(m.model.rows))]
		return r.b.Time[r.row] + []int64{0, 1, -1, 1e6, -1e6, 1e9}[m.r.IntN(6)]
	}
	if m.r.IntN(2) == 0 {
		tr.From = near()
	}
	if m.r.IntN(2) == 0 {
		tr.To = near()
	}
	return tr
}

func (m *modelRun) plan() store.Search {
	q := store.Search{Match: RandomExpr(m.r, m.r.IntN(3)), Limit: 1 + m.r.IntN(15), Mode: store.TimeMode(m.r.IntN(2)), Range: m.timeRange()}
	if m.r.IntN(4) == 0 {
		q.Match = nil
	}
	if m.engine.Can().TraceDuration && m.r.IntN(4) == 0 {
		q.TraceDuration.Min = int64(m.r.IntN(1500)) * 1e6
		q.TraceDuration.Max = q.TraceDuration.Min * int64(m.r.IntN(3))
	}
	return q
}

func (m *modelRun) searchAll(t *testing.T) string {
	q := m.plan()
	got, want := m.search(t, q), m.model.search(scope, &q)
	if !slices.EqualFunc(got, want, m.agree) {
		t.Errorf("%#v\n%s", q, firstDifference(got, want, m.agree))
	}
	return fmt.Sprintf("%d traces", len(want))
}

// firstDifference shows where two lists of traces part.
func firstDifference(got, want []store.Summary, same func(got, want store.Summary) bool) string {
	at := 0
	for at < len(got) && at < len(want) && same(got[at], want[at]) {
		at++
	}
	one := func(list []store.Summary) string {
		if at >= len(list) {
			return "nothing\n"
		}
		return fmt.Sprintf("%s received %s\n", strings.TrimSpace(Summaries(list[at:at+1])), time.Duration(list[at].Received-At(0)))
	}
	return fmt.Sprintf("%d traces, want %d; number %d is\n%swant\n%s", len(got), len(want), at, one(got), one(want))
}

// agree compares summaries. The receipt of a trace's newest span may be that of a copy which lost.
func (m *modelRun) agree(got, want store.Summary) bool {
	latest := want.Received
	for _, r := range m.model.rows {
		if r.b.TraceID[r.row] == want.TraceID {
			latest = max(latest, r.b.Received)
		}
	}
	return got.Received >= want.Received && got.Received <= latest && Summaries([]store.Summary{got}) == Summaries([]store.Summary{want})
}

func (m *modelRun) firstPage(t *testing.T) string {
	q := m.plan()
	q.Limit = 1 + m.r.IntN(3)
	page, err := m.engine.Search(t.Context(), scope, &q)
	if err != nil || !page.Complete {
		t.Fatalf("%#v: %+v %v", q, page, err)
	}
	want := m.model.search(scope, &q)
	n := min(q.Limit, len(want))
	if !slices.EqualFunc(page.Traces, want[:n], m.agree) {
		t.Errorf("%#v\n%s", q, firstDifference(page.Traces, want[:n], m.agree))
	}
	// A page that is full may name a next one that is empty.
	if page.Next == "" && n < len(want) || page.Next != "" && n < q.Limit {
		t.Errorf("%#v: next %q after %d of %d traces", q, page.Next, n, len(want))
	}
	if page.Next != "" {
		q.Page = page.Next
		m.pages = append(m.pages, heldPage{q: q, left: want[n:], first: m.clock.Load(), last: m.clock.Load()})
	}
	return fmt.Sprintf("%d of %d traces", n, len(want))
}

// nextPage continues a search that began some steps ago: what was stored since is not seen.
func (m *modelRun) nextPage(t *testing.T) string {
	if len(m.pages) == 0 {
		return "nothing"
	}
	at := m.r.IntN(len(m.pages))
	h := m.pages[at]
	m.pages = slices.Delete(m.pages, at, at+1)
	const life = int64(5 * time.Minute)
	now := m.clock.Load()
	page, err := m.engine.Search(t.Context(), scope, &h.q)
	if err != nil {
		if p := problem.Of(err); p == nil || p.Kind != problem.Expired || !h.reopened && !h.rewound && now-h.first <= life {
			t.Errorf("%#v: after %s: %v", h.q, time.Duration(now-h.first), err)
		}
		return "expired"
	}
	if !h.rewound && !h.reopened && now-h.last > life {
		t.Errorf("%#v: the page is answered after %s", h.q, time.Duration(now-h.last))
	}
	if m.loss.Pages != "" {
		return "unsupported: " + m.loss.Pages
	}
	n := min(h.q.Limit, len(h.left))
	same := func(a, b store.Summary) bool { return Summaries([]store.Summary{a}) == Summaries([]store.Summary{b}) }
	if !slices.EqualFunc(page.Traces, h.left[:n], same) {
		t.Errorf("%#v\n%s", h.q, firstDifference(page.Traces, h.left[:n], same))
	}
	if page.Next == "" && n < len(h.left) {
		t.Errorf("%#v: no next page, %d traces are left", h.q, len(h.left)-n)
	}
	if page.Next != "" {
		h.q.Page, h.left, h.last = page.Next, h.left[n:], now
		m.pages = append(m.pages, h)
	}
	return fmt.Sprintf("%d traces", n)
}

func (m *modelRun) scan(t *testing.T) string {
	q := store.Scan{Match: RandomExpr(m.r, m.r.IntN(3)), Mode: store.TimeMode(m.r.IntN(2)), Range: m.timeRange(), Need: store.Everything()}
	rows := func(m *model) map[string]int {
		n := make(map[string]int)
		for _, r := range m.rows {
			if r.inside(q.Range, q.Mode) && Holds(r.b, r.row, q.Match) {
				n[printRow(r.b, r.row)]++
			}
		}
		return n
	}
	var got []string
	for r, err := range m.engine.Scan(t.Context(), scope, &q) {
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range r.Rows {
			got = append(got, printRow(r.Batch, int(row)))
		}
	}
	checkRows(t, fmt.Sprintf("scan %#v", q), got, rows(m.model.winners()), rows(&m.model))
	return fmt.Sprintf("%d rows", len(got))
}

func (m *modelRun) knownID() span.TraceID {
	if len(m.model.rows) == 0 || m.r.IntN(10) == 0 {
		return span.TraceIDFromUint64s(m.r.Uint64N(2)<<60, 1+m.r.Uint64N(60))
	}
	r := m.model.rows[m.r.IntN(len(m.model.rows))]
	return r.b.TraceID[r.row]
}

func (m *modelRun) oneTrace(t *testing.T) string {
	id := m.knownID()
	var got []string
	for b, err := range m.engine.Trace(t.Context(), scope, id, store.TimeRange{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, printRows(t, b)...)
	}
	all, best := m.model.members(id), m.model.winners().members(id)
	may, must := make(map[string]int), make(map[string]int)
	for _, r := range m.model.rows {
		if all[r.b.TraceID[r.row]] || best[r.b.TraceID[r.row]] {
			may[printRow(r.b, r.row)]++
		}
	}
	for _, r := range m.model.winners().rows {
		if all[r.b.TraceID[r.row]] && best[r.b.TraceID[r.row]] {
			must[printRow(r.b, r.row)]++
		}
	}
	checkRows(t, "trace "+id.String(), got, must, may)
	return fmt.Sprintf("%s: %d rows", id, len(got))
}

func (m *modelRun) several(t *testing.T) string {
	ids := make([]span.TraceID, m.r.IntN(12))
	for i := range ids {
		ids[i] = m.knownID()
	}
	var got []string
	for b, err := range m.engine.Traces(t.Context(), scope, ids, store.TimeRange{}, store.Everything()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, printRows(t, b)...)
	}
	rows := func(m *model) map[string]int {
		n := make(map[string]int)
		for _, r := range m.rows {
			if slices.Contains(ids, r.b.TraceID[r.row]) {
				n[printRow(r.b, r.row)]++
			}
		}
		return n
	}
	checkRows(t, fmt.Sprintf("traces %s", ids), got, rows(m.model.winners()), rows(&m.model))
	return fmt.Sprintf("%d ids, %d rows", len(ids), len(got))
}

func printRows(t *testing.T, b *span.Batch) (text []string) {
	t.Helper()
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	for row := range b.Len() {
		text = append(text, printRow(b, row))
	}
	return text
}

// checkRows compares rows as text: each as often as it must be there and at most as often as it may.
func checkRows(t *testing.T, what string, got []string, must, may map[string]int) {
	t.Helper()
	n := make(map[string]int)
	for _, text := range got {
		if n[text]++; n[text] > may[text] {
			t.Errorf("%s yields a row %d times, %d are there:\n%s", what, n[text], may[text], text)
		}
	}
	for text, want := range must {
		if n[text] < want {
			t.Errorf("%s yields a row %d times, want %d:\n%s", what, n[text], want, text)
		}
	}
}

func (m *modelRun) keep(t *testing.T) string {
	if !m.engine.Can().Keep {
		return "not here"
	}
	id := m.knownID()
	until := []int64{0, m.clock.Load() + int64(time.Hour), m.clock.Load() + int64(24*time.Hour), m.clock.Load() - 1}[m.r.IntN(4)]
	err := m.engine.Keep(t.Context(), scope, id, until)
	here := slices.ContainsFunc(m.model.rows, func(r modelRow) bool { return r.b.TraceID[r.row] == id })
	if here && err != nil {
		t.Errorf("keep %s until %d: %v", id, until, err)
	}
	if !here && err != nil { // a twin may stand for it
		wantKind(t, "keep "+id.String(), err, problem.NotFound)
	}
	return fmt.Sprintf("%s until %d", id, until)
}

// document does one thing to one of a few documents.
func (m *modelRun) document(t *testing.T) string {
	ctx, name := t.Context(), []string{"colours/a", "colours/b", "ledger/1", "x y/ü"}[m.r.IntN(4)]
	known := m.documents[name]
	switch m.r.IntN(5) {
	case 0:
		if err := m.engine.Delete(ctx, scope, name); err != nil {
			t.Error(err)
		}
		delete(m.documents, name)
		return "delete " + name
	case 1:
		names, err := m.engine.Names(ctx, scope, "colours/")
		want := slices.Sorted(maps.Keys(m.documents))
		want = slices.DeleteFunc(want, func(n string) bool { return !strings.HasPrefix(n, "colours/") })
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("names %q, want %q: %v", names, want, err)
		}
		return "names"
	case 2:
		doc, err := m.engine.Load(ctx, scope, name)
		if err != nil || doc.Version != known.Version || !bytes.Equal(doc.Data, known.Data) {
			t.Errorf("%s: %d, %d bytes, want %d, %d bytes: %v", name, doc.Version, len(doc.Data), known.Version, len(known.Data), err)
		}
		return "load " + name
	default:
		data := bytes.Repeat([]byte{byte(m.r.IntN(256))}, m.r.IntN(3000))
		version, err := m.engine.Save(ctx, scope, name, data, known.Version)
		if err != nil || version == known.Version {
			t.Errorf("%s: version %d after %d: %v", name, version, known.Version, err)
		}
		m.documents[name] = store.Document{Version: version, Data: data}
		return "save " + name
	}
}

// moveClock moves it by seconds, minutes or hours, sometimes back.
func (m *modelRun) moveClock(t *testing.T) string {
	d := []time.Duration{time.Second, 90 * time.Second, 6 * time.Minute, time.Hour, 5 * time.Hour, -time.Minute, -2 * time.Hour}[m.r.IntN(7)]
	m.clock.Add(int64(d))
	if d < 0 {
		for i := range m.pages {
			m.pages[i].rewound = true
		}
	}
	return d.String()
}

func (m *modelRun) reopen(t *testing.T) string {
	if m.o.Reopen == nil {
		return "not here"
	}
	m.engine = asked{m.o.Reopen(t, plain(m.engine), func() time.Time { return time.Unix(0, m.clock.Load()) }), &m.questions}
	for i := range m.pages {
		m.pages[i].reopened = true
	}
	return ""
}

func (m *modelRun) hidden(t *testing.T) string {
	if len(m.o.Hidden) == 0 {
		return "nothing"
	}
	names := slices.Sorted(maps.Keys(m.o.Hidden))
	name := names[m.r.IntN(len(names))]
	m.o.Hidden[name](t, plain(m.engine))
	return name
}
