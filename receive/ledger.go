package receive

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"sort"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/spanloom/spanloom/span"
)

// Ledger is the receipt book: what came from which workload by which protocol, what was refused and why, what was misused.
// Minutes are kept in memory and, when Save is set, written once each as parts that other replicas' parts join on reading.
//
// It is what doctor believes: a tracer's own counters do not prove delivery.
type Ledger struct {
	now  func() time.Time
	log  *slog.Logger
	made time.Time

	mu        sync.Mutex
	minutes   []*minute // oldest first, the last is open
	totals    map[span.Protocol]*Totals
	seconds   [span.NumProtocols][rateWindow]secondCount
	rejects   []Rejection // ring, newest last
	lastLog   map[logKey]*logState
	maxMinute int
	batches   int64
}

const (
	rateWindow     = 60 // seconds of SpansPerSecond
	keptMinutes    = 120
	keptRejects    = 100
	headBytes      = 16
	maxWorkloads   = 10_000 // rows a minute; later ones are counted under otherWorkload
	otherWorkload  = "(other)"
	logEvery       = 10 * time.Second
	maxLogKeys     = 1_000
	partBytes      = 48 << 10 // rows of a saved part, below the size of a document
	maxWorkload    = 256      // bytes of a workload's name; the rest is cut: names come from strangers
	maxMessage     = 500      // bytes of a kept and logged message
	receiptsPrefix = "receipts/"
)

type secondCount struct {
	second int64
	spans  int64
}

// Receipt sums one workload's deliveries by one protocol over a stretch of time.
type Receipt struct {
	Workload string           `json:"workload"` // group.namespace as far as known
	Protocol string           `json:"protocol"`
	Sender   string           `json:"sender,omitempty"` // the last one's address
	Spans    int64            `json:"spans"`
	Requests int64            `json:"requests"`
	Last     int64            `json:"last"` // receipt of its last span, ns
	Refused  map[Reason]int64 `json:"refused,omitempty"`
	Misuses  map[Misuse]int64 `json:"misuses,omitempty"`

	batch int64 // the last batch counted in Requests: a batch may hold a workload's rows in several runs
}

type rowKey struct {
	workload string
	protocol span.Protocol
}

type minute struct {
	start int64 // unix seconds
	rows  map[rowKey]*Receipt
	saved bool
}

// Totals counts a protocol since the start of the process.
type Totals struct {
	Spans, Requests int64
	Last            int64 // ns; 0 if nothing came yet
	Refused         map[Reason]int64
	RefusedSpans    int64
	Misuses         map[Misuse]int64
}

// Rejection is one refused body or part of it.
type Rejection struct {
	Time     time.Time
	Protocol span.Protocol
	Sender   netip.Addr
	Reason   Reason
	Spans    int // 0 if the body could not be counted
	Bytes    int
	Head     []byte // up to 16 bytes are kept
	Message  string
}

// HeadHex is the kept beginning as hex.
func (r Rejection) HeadHex() string { return hex.EncodeToString(r.Head) }

type logKey struct {
	sender netip.Addr
	reason Reason
}

type logState struct {
	at         time.Time
	suppressed int
}

// NewLedger makes an empty ledger.
func NewLedger(now func() time.Time, log *slog.Logger) *Ledger {
	l := &Ledger{now: now, log: log, made: now(), totals: make(map[span.Protocol]*Totals), lastLog: make(map[logKey]*logState), maxMinute: keptMinutes}
	for p := span.ProtocolZipkin; p < span.NumProtocols; p++ {
		l.totals[p] = &Totals{Refused: make(map[Reason]int64), Misuses: make(map[Misuse]int64)}
	}
	return l
}

// Accepted writes the receipt of a batch that the sink took; its Group and Namespace columns are set by then.
// Cost: one map look-up per run of rows of the same workload; no allocation for workloads seen in this minute.
func (l *Ledger) Accepted(b *span.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.total(b.Protocol)
	t.Requests++
	if b.Len() == 0 {
		return
	}
	t.Spans += int64(b.Len())
	t.Last = b.Received
	second := b.Received / int64(time.Second)
	s := &l.seconds[b.Protocol][second%rateWindow]
	if s.second != second {
		*s = secondCount{second: second}
	}
	s.spans += int64(b.Len())

	l.batches++
	m := l.open(b.Received)
	for from := 0; from < b.Len(); {
		group, ns := b.Group[from], b.Namespace[from]
		to := from + 1
		for to < b.Len() && b.Group[to] == group && b.Namespace[to] == ns {
			to++
		}
		row := m.row(b.Bytes(group), b.Bytes(ns), b.Protocol)
		row.Spans += int64(to - from)
		if row.batch != l.batches {
			row.batch = l.batches
			row.Requests++
		}
		row.Last = b.Received
		if b.Sender.IsValid() && row.Sender == "" {
			row.Sender = b.Sender.String()
		}
		from = to
	}
}

// Refused counts a refusal, remembers it for Status and logs it, at most one line per sender and reason in ten seconds.
func (l *Ledger) Refused(r Rejection) {
	r.Time = l.now()
	r.Head = append([]byte(nil), r.Head[:min(len(r.Head), headBytes)]...)
	r.Message = shortened(r.Message, maxMessage)
	n := int64(max(r.Spans, 1))
	l.mu.Lock()
	t := l.total(r.Protocol)
	t.Refused[r.Reason] += n
	t.RefusedSpans += int64(r.Spans)
	row := l.open(r.Time.UnixNano()).row(l.senderName(r.Sender), nil, r.Protocol)
	if row.Refused == nil {
		row.Refused = make(map[Reason]int64)
	}
	row.Refused[r.Reason] += n
	if len(l.rejects) == keptRejects {
		l.rejects = append(l.rejects[:0], l.rejects[1:]...)
	}
	l.rejects = append(l.rejects, r)
	speak, suppressed := l.speak(logKey{r.Sender, r.Reason}, r.Time)
	l.mu.Unlock()
	if speak {
		l.log.Warn("spans refused", "receiver", r.Protocol.String(), "sender", senderText(r.Sender), "reason", string(r.Reason),
			"spans", r.Spans, "bytes", r.Bytes, "message", r.Message, "suppressed", suppressed)
	}
}

// Misused notes something that was accepted although the original receivers would refuse it.
func (l *Ledger) Misused(p span.Protocol, sender netip.Addr, m Misuse, detail string) {
	now := l.now()
	l.mu.Lock()
	l.total(p).Misuses[m]++
	row := l.open(now.UnixNano()).row(l.senderName(sender), nil, p)
	if row.Misuses == nil {
		row.Misuses = make(map[Misuse]int64)
	}
	row.Misuses[m]++
	speak, suppressed := l.speak(logKey{sender, "note " + Reason(m)}, now) // wrong_path is a reason too
	l.mu.Unlock()
	if speak {
		l.log.Warn("spans taken with a note", "receiver", p.String(), "sender", senderText(sender), "misuse", string(m),
			"detail", shortened(detail, maxMessage), "suppressed", suppressed)
	}
}

func (l *Ledger) total(p span.Protocol) *Totals {
	t, ok := l.totals[p]
	if !ok {
		t = &Totals{Refused: make(map[Reason]int64), Misuses: make(map[Misuse]int64)}
		l.totals[p] = t
	}
	return t
}

// senderName names the row of something that has no spans and so no workload.
func (l *Ledger) senderName(a netip.Addr) []byte { return []byte("sender " + senderText(a)) }

func senderText(a netip.Addr) string {
	if !a.IsValid() {
		return "unknown"
	}
	return a.String()
}

// speak decides whether a log line may be written now.
func (l *Ledger) speak(k logKey, now time.Time) (bool, int) {
	s, ok := l.lastLog[k]
	if !ok {
		if len(l.lastLog) >= maxLogKeys {
			clear(l.lastLog) // somebody invents senders: forget, at the cost of a few more lines
		}
		l.lastLog[k] = &logState{at: now}
		return true, 0
	}
	if d := now.Sub(s.at); d >= 0 && d < logEvery {
		s.suppressed++
		return false, 0
	}
	n := s.suppressed
	s.at, s.suppressed = now, 0
	return true, n
}

// open is the minute of an instant; an instant before the open minute (a clock set back) is booked into the open one.
func (l *Ledger) open(ns int64) *minute {
	start := ns / int64(time.Minute) * 60
	if n := len(l.minutes); n > 0 && l.minutes[n-1].start >= start {
		return l.minutes[n-1]
	}
	m := &minute{start: start, rows: make(map[rowKey]*Receipt)}
	l.minutes = append(l.minutes, m)
	if len(l.minutes) > l.maxMinute {
		l.minutes = append(l.minutes[:0], l.minutes[1:]...)
	}
	return m
}

func (m *minute) row(group, namespace []byte, p span.Protocol) *Receipt {
	var buf [maxWorkload + 1]byte
	name := append(buf[:0], group[:min(len(group), maxWorkload)]...)
	if len(namespace) > 0 {
		name = append(append(name, '.'), namespace[:min(len(namespace), maxWorkload)]...)
	}
	name = whole(name, maxWorkload)
	if r, ok := m.rows[rowKey{string(name), p}]; ok {
		return r
	}
	k := rowKey{string(name), p}
	if len(m.rows) >= maxWorkloads {
		k.workload = otherWorkload
		if r, ok := m.rows[k]; ok {
			return r
		}
	}
	r := &Receipt{Workload: k.workload, Protocol: p.String()}
	m.rows[k] = r
	return r
}

// Totals is a copy of a protocol's counts since the start.
func (l *Ledger) Totals(p span.Protocol) Totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := *l.total(p)
	t.Refused, t.Misuses = cloneMap(t.Refused), cloneMap(t.Misuses)
	return t
}

// SpansPerSecond is the rate over the last 60 whole seconds, or since the start if that is shorter.
func (l *Ledger) SpansPerSecond(p span.Protocol) float64 {
	now := l.now()
	window := min(int64(now.Sub(l.made)/time.Second), rateWindow)
	if window < 1 {
		window = 1
	}
	second := now.Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	var n int64
	for _, s := range l.seconds[p] {
		if s.second > second-rateWindow && s.second <= second {
			n += s.spans
		}
	}
	return float64(n) / float64(window)
}

// Rejects are the newest refusals, newest first.
func (l *Ledger) Rejects() []Rejection {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Rejection, 0, len(l.rejects))
	for i := len(l.rejects) - 1; i >= 0; i-- {
		out = append(out, l.rejects[i])
	}
	return out
}

// Documents is the small state the ledger is written to; app adapts store.Meta to it.
type Documents interface {
	Save(ctx context.Context, name string, data []byte) error
	Load(ctx context.Context, name string) ([]byte, error)
	Names(ctx context.Context, prefix string) ([]string, error)
	Delete(ctx context.Context, name string) error
}

type part struct {
	Minute int64     `json:"minute"` // unix seconds
	Rows   []Receipt `json:"rows"`
}

// Flush writes the closed minutes that were not written yet (all of them when the process ends). replica keeps the parts of
// several processes apart. A minute that could not be written is tried again at the next call.
func (l *Ledger) Flush(ctx context.Context, d Documents, replica string, all bool) error {
	open := l.now().Unix() / 60 * 60
	l.mu.Lock()
	var due []*minute
	for _, m := range l.minutes {
		if !m.saved && len(m.rows) > 0 && (all || m.start < open) {
			due = append(due, m)
		}
	}
	l.mu.Unlock()
	for _, m := range due {
		l.mu.Lock()
		rows := m.list()
		l.mu.Unlock()
		for n := 0; len(rows) > 0; n++ {
			data, k, err := encodePart(m.start, rows)
			if err != nil {
				return err
			}
			rows = rows[k:]
			if err := d.Save(ctx, fmt.Sprintf("%s%012d/%s/%d", receiptsPrefix, m.start, replica, n), data); err != nil {
				return fmt.Errorf("write receipts of minute %d: %w", m.start, err)
			}
		}
		l.mu.Lock()
		m.saved = m.start < open
		l.mu.Unlock()
	}
	return nil
}

// encodePart encodes the first k rows, as many as one document holds; at least one.
func encodePart(start int64, rows []Receipt) (data []byte, k int, err error) {
	data = fmt.Appendf(nil, `{"minute":%d,"rows":[`, start)
	for ; k < len(rows); k++ {
		row, err := json.Marshal(rows[k])
		if err != nil {
			return nil, 0, err
		}
		if k > 0 {
			if len(data)+len(row) > partBytes {
				break
			}
			data = append(data, ',')
		}
		data = append(data, row...)
	}
	return append(data, "]}"...), k, nil
}

// whole cuts bytes to a length so that no rune is broken.
func whole(p []byte, most int) []byte {
	if len(p) <= most {
		return p
	}
	for most > 0 && !utf8.RuneStart(p[most]) {
		most--
	}
	return p[:most]
}

// shortened keeps the beginning and the end of a text: errors nest, and the end says what happened.
func shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	head, tail := most/3, len(s)-most*2/3
	for head > 0 && !utf8.RuneStart(s[head]) {
		head--
	}
	for tail < len(s) && !utf8.RuneStart(s[tail]) {
		tail++
	}
	return s[:head] + " … " + s[tail:]
}

// Expire deletes written minutes before an instant.
func (l *Ledger) Expire(ctx context.Context, d Documents, before time.Time) error {
	names, err := d.Names(ctx, receiptsPrefix)
	if err != nil {
		return err
	}
	limit := fmt.Sprintf("%s%012d", receiptsPrefix, before.Unix())
	for _, name := range names {
		if name >= limit {
			break
		}
		if err := d.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Receipts sums what came in [from, to) by workload and protocol, sorted by workload. Minutes that are no longer, or were
// never, in this process's memory are read from d (nil: memory only).
func (l *Ledger) Receipts(ctx context.Context, d Documents, from, to time.Time) ([]Receipt, error) {
	sums := make(map[rowKey]*Receipt)
	here := make(map[int64]bool)
	l.mu.Lock()
	for _, m := range l.minutes {
		here[m.start] = true
		if minuteIn(m.start, from, to) {
			for _, r := range m.list() {
				add(sums, r)
			}
		}
	}
	l.mu.Unlock()
	if d != nil {
		names, err := d.Names(ctx, receiptsPrefix)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			var start int64
			if _, err := fmt.Sscanf(strings.TrimPrefix(name, receiptsPrefix), "%d/", &start); err != nil ||
				here[start] || !minuteIn(start, from, to) {
				continue
			}
			data, err := d.Load(ctx, name)
			if err != nil {
				return nil, err
			}
			var p part
			if err := json.Unmarshal(data, &p); err != nil {
				continue // a foreign or damaged document; fsck names it
			}
			for _, r := range p.Rows {
				add(sums, r)
			}
		}
	}
	out := make([]Receipt, 0, len(sums))
	for _, r := range sums {
		out = append(out, *r)
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Workload != out[j].Workload {
			return out[i].Workload < out[j].Workload
		}
		return out[i].Protocol < out[j].Protocol
	})
	return out, nil
}

// minuteIn reports whether a minute, given by its first second, has an instant from one time up to another.
func minuteIn(start int64, from, to time.Time) bool {
	first := time.Unix(start, 0)
	return first.Add(time.Minute).After(from) && first.Before(to)
}

func (m *minute) list() []Receipt {
	out := make([]Receipt, 0, len(m.rows))
	for _, r := range m.rows {
		c := *r
		c.Refused, c.Misuses = cloneMap(r.Refused), cloneMap(r.Misuses)
		out = append(out, c)
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i].Workload+"\x00"+out[i].Protocol < out[j].Workload+"\x00"+out[j].Protocol
	})
	return out
}

func add(sums map[rowKey]*Receipt, r Receipt) {
	k := rowKey{workload: r.Workload + "\x00" + r.Protocol}
	s, ok := sums[k]
	if !ok {
		c := r
		c.Refused, c.Misuses = cloneMap(r.Refused), cloneMap(r.Misuses)
		sums[k] = &c
		return
	}
	s.Spans += r.Spans
	s.Requests += r.Requests
	if r.Last >= s.Last {
		s.Last = r.Last
		if r.Sender != "" {
			s.Sender = r.Sender
		}
	}
	s.Refused = sum(s.Refused, r.Refused)
	s.Misuses = sum(s.Misuses, r.Misuses)
}

func sum[K comparable](a, b map[K]int64) map[K]int64 {
	if a == nil && len(b) > 0 {
		a = make(map[K]int64, len(b))
	}
	for k, v := range b {
		a[k] += v
	}
	return a
}

func cloneMap[K comparable](m map[K]int64) map[K]int64 {
	if len(m) == 0 {
		return nil
	}
	return sum(nil, m)
}
