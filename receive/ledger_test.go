package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
)

type documents map[string][]byte

func (d documents) Save(_ context.Context, name string, data []byte) error {
	d[name] = bytes.Clone(data)
	return nil
}
func (d documents) Load(_ context.Context, name string) ([]byte, error) { return d[name], nil }
func (d documents) Delete(_ context.Context, name string) error         { delete(d, name); return nil }
func (d documents) Names(_ context.Context, prefix string) (names []string, _ error) {
	for n := range d {
		if strings.HasPrefix(n, prefix) {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	return names, nil
}

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func testLedger() (*Ledger, *clock, *bytes.Buffer) {
	c := &clock{time.Unix(1_800_000_000, 0)}
	var log bytes.Buffer
	return NewLedger(c.now, slog.New(slog.NewTextHandler(&log, nil))), c, &log
}

// received is a batch as the steps leave it: one span for each "group.namespace" or "group".
func received(c *clock, p span.Protocol, groups ...string) *span.Batch {
	b := &span.Batch{Received: c.at.UnixNano(), Protocol: p, Sender: netip.MustParseAddr("10.0.0.9")}
	for _, g := range groups {
		i := b.AddRow()
		group, ns, _ := strings.Cut(g, ".")
		b.Group[i], b.Namespace[i] = b.AddText(group), b.AddText(ns)
	}
	return b
}

func print(rs []Receipt) string {
	var b strings.Builder
	for _, r := range rs {
		fmt.Fprintf(&b, "%s %s spans=%d requests=%d refused=%v misuses=%v\n", r.Workload, r.Protocol, r.Spans, r.Requests, r.Refused, r.Misuses)
	}
	return b.String()
}

func TestReceiptsSumMinutesFromMemoryAndDocuments(t *testing.T) {
	l, c, _ := testLedger()
	start := c.at
	l.Accepted(received(c, span.ProtocolZipkin, "reviews.books", "reviews.books", "ratings.books"))
	c.at = c.at.Add(time.Minute)
	l.Accepted(received(c, span.ProtocolOTLPGRPC, "reviews.books"))
	l.Misused(span.ProtocolZipkin, netip.MustParseAddr("10.0.0.9"), MisusePath, "/zipkin/api/v1/spans")
	c.at = c.at.Add(time.Minute)
	l.Accepted(received(c, span.ProtocolZipkin, "reviews.books"))
	l.Refused(Rejection{Protocol: span.ProtocolZipkin, Reason: Malformed, Bytes: 3, Head: []byte("abc"), Message: "x"})

	docs := documents{}
	if err := l.Flush(t.Context(), docs, "a", false); err != nil {
		t.Fatal(err)
	}
	if len(docs) != 2 {
		t.Errorf("two closed minutes were written as %d documents", len(docs))
	}
	const want = `ratings.books zipkin spans=1 requests=1 refused=map[] misuses=map[]
reviews.books otlp_grpc spans=1 requests=1 refused=map[] misuses=map[]
reviews.books zipkin spans=3 requests=2 refused=map[] misuses=map[]
sender 10.0.0.9 zipkin spans=0 requests=0 refused=map[] misuses=map[wrong_path:1]
sender unknown zipkin spans=0 requests=0 refused=map[malformed:1] misuses=map[]
`
	for name, ledger := range map[string]*Ledger{"same process": l} {
		got, err := ledger.Receipts(t.Context(), docs, start, c.at.Add(time.Minute))
		if err != nil || print(got) != want {
			t.Errorf("%s: %v\n%swant\n%s", name, err, print(got), want)
		}
	}

	// After a restart what was written is read; the open minute is written when the process ends.
	if err := l.Flush(t.Context(), docs, "a", true); err != nil {
		t.Fatal(err)
	}
	again := NewLedger(c.now, slog.New(slog.DiscardHandler))
	got, err := again.Receipts(t.Context(), docs, start, c.at.Add(time.Minute))
	if err != nil || print(got) != want {
		t.Errorf("after a restart: %v\n%swant\n%s", err, print(got), want)
	}

	if err := again.Expire(t.Context(), docs, c.at); err != nil {
		t.Fatal(err)
	}
	if len(docs) != 1 {
		t.Errorf("%d documents left after expiry, want the last minute's", len(docs))
	}
}

func TestRefusalsAreLoggedOncePerSenderAndReason(t *testing.T) {
	l, c, log := testLedger()
	for range 5 {
		l.Refused(Rejection{Protocol: span.ProtocolZipkin, Sender: netip.MustParseAddr("10.0.0.9"), Reason: Malformed, Head: []byte("0123456789abcdefXYZ"), Message: "no JSON"})
	}
	l.Refused(Rejection{Protocol: span.ProtocolZipkin, Sender: netip.MustParseAddr("10.0.0.9"), Reason: BadID, Message: "zero"})
	c.at = c.at.Add(11 * time.Second)
	l.Refused(Rejection{Protocol: span.ProtocolZipkin, Sender: netip.MustParseAddr("10.0.0.9"), Reason: Malformed, Message: "no JSON"})
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "sender=10.0.0.9") || !strings.Contains(lines[0], "reason=malformed") || !strings.Contains(lines[2], "suppressed=4") {
		t.Errorf("log is\n%s", log)
	}
	if r := l.Rejects(); len(r) != 7 || string(r[6].Head) != "0123456789abcdef" {
		t.Errorf("%d rejects kept, the oldest with head %q", len(r), r[len(r)-1].Head)
	}
	if got := l.Totals(span.ProtocolZipkin).Refused[Malformed]; got != 6 {
		t.Errorf("%d counted, want 6", got)
	}
}

// A note and a refusal of the same name are two things to say.
func TestNoteDoesNotSilenceRefusal(t *testing.T) {
	l, _, log := testLedger()
	sender := netip.MustParseAddr("10.0.0.9")
	l.Misused(span.ProtocolZipkin, sender, MisusePath, "/zipkin/api/v1/spans")
	l.Refused(Rejection{Protocol: span.ProtocolZipkin, Sender: sender, Reason: WrongPath, Message: "/foo"})
	if text := log.String(); !strings.Contains(text, "misuse=wrong_path") || !strings.Contains(text, "reason=wrong_path") {
		t.Errorf("log is\n%s", text)
	}
}

func TestSpansPerSecond(t *testing.T) {
	l, c, _ := testLedger()
	for range 30 {
		c.at = c.at.Add(time.Second)
		l.Accepted(received(c, span.ProtocolZipkin, "a", "b"))
	}
	if got := l.SpansPerSecond(span.ProtocolZipkin); got != 2 {
		t.Errorf("after 30 s: %v spans a second, want 2", got)
	}
	c.at = c.at.Add(45 * time.Second)
	if got := l.SpansPerSecond(span.ProtocolZipkin); got != 0.5 {
		t.Errorf("45 quiet seconds later: %v, want 0.5 (30 spans within the last minute)", got)
	}
	c.at = c.at.Add(time.Hour)
	if got := l.SpansPerSecond(span.ProtocolZipkin); got != 0 {
		t.Errorf("an hour later: %v", got)
	}
}

func TestManyWorkloadsStayBounded(t *testing.T) {
	l, c, _ := testLedger()
	for i := range maxWorkloads + 50 {
		l.Accepted(received(c, span.ProtocolZipkin, fmt.Sprint("w", i)))
	}
	got, _ := l.Receipts(t.Context(), nil, c.at.Add(-time.Hour), c.at.Add(time.Hour))
	if len(got) != maxWorkloads+1 || got[0].Workload != otherWorkload || got[0].Spans != 50 {
		t.Errorf("%d rows, first %+v", len(got), got[0])
	}
}

// TestReceiptsOfTheFirstSecondOfAMinute: they lie before a window's end within that second, in memory and in documents, and after the
// end of one that ends with the minute before.
func TestReceiptsOfTheFirstSecondOfAMinute(t *testing.T) {
	l, c, _ := testLedger()
	minute := c.at.Truncate(time.Minute).Add(time.Minute)
	c.at = minute.Add(200 * time.Millisecond)
	l.Accepted(received(c, span.ProtocolZipkin, "web"))
	docs := make(documents)
	if err := l.Flush(t.Context(), docs, "a", true); err != nil {
		t.Fatal(err)
	}
	c.at = minute.Add(500 * time.Millisecond)
	for _, ledger := range []*Ledger{l, NewLedger(c.now, l.log)} {
		if got, err := ledger.Receipts(t.Context(), docs, minute.Add(-time.Hour), c.at); err != nil || len(got) != 1 {
			t.Errorf("%d rows, want 1: %v", len(got), err)
		}
		if got, err := ledger.Receipts(t.Context(), docs, minute.Add(-time.Hour), minute); err != nil || len(got) != 0 {
			t.Errorf("%d rows up to the minute, want none: %v", len(got), err)
		}
	}
}

// TestLongNamesStayWritable names workloads and messages as long as spans allow, out of characters that JSON escapes.
func TestLongNamesStayWritable(t *testing.T) {
	l, c, log := testLedger()
	for i := range 300 {
		l.Accepted(received(c, span.ProtocolZipkin, fmt.Sprint(i)+strings.Repeat("\x01é", 30_000)))
	}
	deep := strings.Repeat("array: ", 20_000)
	l.Refused(Rejection{Protocol: span.ProtocolZipkin, Reason: Malformed, Message: "does not parse: " + deep + "too deep"})
	l.Misused(span.ProtocolZipkin, netip.Addr{}, MisusePath, deep)
	docs := make(documents)
	if err := l.Flush(t.Context(), docs, "a", true); err != nil {
		t.Fatal(err)
	}
	for name, data := range docs {
		if len(data) > 64<<10 {
			t.Errorf("%s has %d bytes", name, len(data))
		}
	}
	c.at = c.at.Add((keptMinutes + 1) * time.Minute)
	again := NewLedger(c.now, l.log)
	got, err := again.Receipts(t.Context(), docs, c.at.Add(-24*time.Hour), c.at)
	if err != nil || len(got) != 301 {
		t.Errorf("%d rows come back, want 301: %v", len(got), err)
	}
	if r := l.Rejects(); !strings.HasPrefix(r[0].Message, "does not parse: ") || !strings.HasSuffix(r[0].Message, "too deep") || log.Len() > 3000 {
		t.Errorf("message %q, %d bytes logged", r[0].Message, log.Len())
	}
}

type sinkFunc func(*span.Batch) error

func (f sinkFunc) Accept(_ context.Context, b *span.Batch) error { return f(b) }

func TestAcceptStampsCountsAndRefuses(t *testing.T) {
	l, c, _ := testLedger()
	var seen *span.Batch
	var fail error
	in := &Intake{Sink: sinkFunc(func(b *span.Batch) error { seen = b.Clone(); return fail }), Ledger: l, Budget: NewBudget(1), Now: c.now}
	b := &span.Batch{}
	good := uint64(c.at.UnixNano()) - 5
	for _, start := range []uint64{good, 0, 5, uint64(c.at.Add(25 * time.Hour).UnixNano()), 1 << 63} {
		b.Start[b.AddRow()] = start
	}
	CountRefused(b, BadID, 2)
	if err := in.Accept(t.Context(), b, span.ProtocolZipkin, netip.Addr{}, 100); err != nil {
		t.Fatal(err)
	}
	for i := range seen.Len() {
		replaced := seen.Mark[i]&span.MarkTimeReplaced != 0
		if replaced != (i > 0) || replaced && seen.Time[i] != c.at.UnixNano() || !replaced && seen.Time[i] != int64(good) {
			t.Errorf("row %d: start %d filed at %d, replaced %v", i, seen.Start[i], seen.Time[i], replaced)
		}
	}
	if got := l.Totals(span.ProtocolZipkin); got.Spans != 5 || got.Refused[BadID] != 2 {
		t.Errorf("totals %+v", got)
	}

	fail = problem.New(problem.Overloaded, "full", "wait")
	err := in.Accept(t.Context(), b, span.ProtocolZipkin, netip.Addr{}, 100)
	var p *problem.Problem
	if !errors.As(err, &p) || p.Kind != problem.Overloaded {
		t.Errorf("error %v", err)
	}
	if got := l.Totals(span.ProtocolZipkin); got.Spans != 5 || got.Refused[TooBusy] != 5 {
		t.Errorf("after a refusal: totals %+v", got)
	}
}
