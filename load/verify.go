package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/span"
)

// VerifyOptions says what to compare with which server. Each field is one flag of `spanloom load verify`, named in its
// comment with its default; the zero value of a field means the default.
type VerifyOptions struct {
	URL       string        // --url URL of the UI and the own API: http://127.0.0.1:16686; a base path belongs to it
	JaegerURL string        // --jaeger-url URL before /api/traces: as --url
	Endpoints string        // --endpoints FILE: endpoints.json of a server or its data folder, instead of --url
	Manifest  string        // --manifest spanloom-load.json, as `load send` wrote it; several, separated by commas, add up
	Sample    int           // --sample 200: traces compared in every field, spread evenly over all
	All       bool          // --all: also compare the span ids of every trace
	Exact     bool          // --exact: the server must hold nothing but these spans (a fresh data folder)
	Wait      time.Duration // --wait 30s: how long the server may take until it shows all spans
	Show      int           // --show 10: differences to print
	TokenFile string        // --token-file FILE: bearer token
	CAFile    string        // --ca-file FILE: certificates to trust

	clock clock
}

// VerifyReport is what Verify found.
type VerifyReport struct {
	Sent      int64 `json:"sent"`      // spans that the manifests say were accepted
	Held      int64 `json:"held"`      // spans the server says it holds
	Evicted   int64 `json:"evicted"`   // traces
	Traces    int   `json:"traces"`    // compared in every field through both APIs
	Counted   int   `json:"counted"`   // compared by span ids
	Spans     int   `json:"spans"`     // in both
	Missing   int   `json:"missing"`   // spans not there
	Double    int   `json:"double"`    // spans there more than once
	Extra     int   `json:"extra"`     // spans in these traces that nobody sent
	Different int   `json:"different"` // fields that differ

	Differences []Difference  `json:"differences,omitempty"` // the first ones
	Problems    []string      `json:"problems,omitempty"`    // with the totals
	Took        time.Duration `json:"took"`
}

func (r *VerifyReport) ok() bool {
	return r.Missing+r.Double+r.Extra+r.Different == 0 && len(r.Problems) == 0
}

// Verify rebuilds what Send sent and compares it with what the server answers through its own API and through the Jaeger
// dialect. It writes the first differences and a summary to out. The error wraps ErrMismatch when something differs.
//
// It waits until the server's status counts as many spans as were accepted, at most o.Wait.
func Verify(ctx context.Context, o VerifyOptions, out io.Writer) (VerifyReport, error) {
	v, err := newVerifier(o)
	if err != nil {
		return VerifyReport{}, err
	}
	defer v.own.client.CloseIdleConnections()
	start := v.o.clock.now()
	if err := v.totals(ctx); err != nil {
		return v.report, err
	}
	for _, m := range v.manifests {
		if err := v.traces(ctx, m); err != nil {
			return v.report, err
		}
	}
	v.report.Took = v.o.clock.now().Sub(start)
	v.report.Differences = v.report.Differences[:min(len(v.report.Differences), v.o.Show)]
	v.report.print(out)
	if !v.report.ok() {
		return v.report, fmt.Errorf("%w: %d missing, %d double, %d extra, %d fields different, %d problems with the totals", ErrMismatch,
			v.report.Missing, v.report.Double, v.report.Extra, v.report.Different, len(v.report.Problems))
	}
	return v.report, nil
}

type verifier struct {
	o           VerifyOptions
	own, jaeger *asker
	manifests   []*Manifest

	mu     sync.Mutex
	report VerifyReport
}

func newVerifier(o VerifyOptions) (*verifier, error) {
	if o.Endpoints != "" && o.URL == "" {
		e, err := ReadEndpoints(o.Endpoints)
		if err != nil {
			return nil, err
		}
		o.URL = e.HTTP
	}
	setDefault(&o.URL, "127.0.0.1:16686")
	setDefault(&o.JaegerURL, o.URL)
	setDefault(&o.Manifest, DefaultManifest)
	setDefault(&o.Sample, 200)
	setDefault(&o.Wait, 30*time.Second)
	setDefault(&o.Show, 10)
	if o.Sample < 0 {
		return nil, fmt.Errorf("--sample is %d: it must not be negative", o.Sample)
	}
	if o.clock.now == nil {
		o.clock = realClock()
	}
	token, tlsConfig, err := credentialsOf(o.TokenFile, o.CAFile)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: tlsConfig, MaxIdleConnsPerHost: verifyConnections}}
	ask := func(base string) *asker {
		return &asker{strings.TrimRight(httpURL(base, tlsConfig != nil), "/"), token, client}
	}
	v := &verifier{o: o, own: ask(o.URL), jaeger: ask(o.JaegerURL)}
	for path := range strings.SplitSeq(o.Manifest, ",") {
		m, err := ReadManifest(path)
		if err != nil {
			return nil, err
		}
		v.manifests = append(v.manifests, m)
		v.report.Sent += m.Accepted
		if m.Accepted < m.Spans {
			v.problem("%d of %d spans of %s were not accepted when they were sent", m.Spans-m.Accepted, m.Spans, path)
		}
	}
	return v, nil
}

func (v *verifier) problem(format string, args ...any) {
	v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, args...))
}

// pollEvery is the pause between two looks at the status.
const pollEvery = 50 * time.Millisecond

func (v *verifier) totals(ctx context.Context) error {
	deadline := v.o.clock.now().Add(v.o.Wait)
	for {
		s, err := v.own.status(ctx)
		if err != nil {
			return fmt.Errorf("ask %s for its status: %w", v.own.base, err)
		}
		v.report.Held, v.report.Evicted = s.Store.Spans, s.Store.EvictedTraces
		if s.Store.Spans >= v.report.Sent {
			for _, d := range s.Store.Damaged {
				v.problem("damaged: %s", d)
			}
			break
		}
		if v.o.clock.now().After(deadline) {
			v.problem("the server holds %d spans, %d were accepted (waited %s)", s.Store.Spans, v.report.Sent, v.o.Wait)
			break
		}
		if err := v.o.clock.wait(ctx, pollEvery); err != nil {
			return err
		}
	}
	if v.report.Evicted > 0 {
		v.problem("the server evicted %d traces: give it more memory or send less", v.report.Evicted)
	}
	if v.o.Exact && v.report.Held > v.report.Sent {
		v.problem("the server holds %d spans, only %d were sent", v.report.Held, v.report.Sent)
	}
	return nil
}

// verifyConnections is how many traces are compared at a time.
const verifyConnections = 4

// traces compares one manifest's traces.
func (v *verifier) traces(ctx context.Context, m *Manifest) error {
	data, err := m.Data()
	if err != nil {
		return err
	}
	sample := min(uint64(v.o.Sample), m.Traces)
	picked := func(i uint64) uint64 { return i * m.Traces / sample } // number of sampled trace i
	var (
		todo  = sample
		wg    sync.WaitGroup
		next  atomic.Uint64
		mu    sync.Mutex
		wrong error
	)
	if v.o.All {
		todo = m.Traces
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range verifyConnections {
		wg.Go(func() {
			c := comparer{v: v, data: data}
			for {
				i := next.Add(1) - 1
				if i >= todo || ctx.Err() != nil {
					return
				}
				no, whole := i, true
				if v.o.All {
					// Trace i is in the sample if it is what its place in the sample picks.
					whole = sample > 0 && picked((i*sample+m.Traces-1)/m.Traces) == i
				} else {
					no = picked(i)
				}
				if err := c.trace(ctx, no, whole); err != nil {
					mu.Lock()
					wrong = errors.Join(wrong, err)
					mu.Unlock()
					cancel()
					return
				}
			}
		})
	}
	wg.Wait()
	slices.SortStableFunc(v.report.Differences, func(a, b Difference) int { return cmp.Compare(a.Trace, b.Trace) })
	if wrong != nil {
		return wrong
	}
	return ctx.Err()
}

// comparer compares traces one after the other; it is one goroutine's.
type comparer struct {
	v     *verifier
	data  *Data
	sent  Trace
	batch span.Batch
}

// mostDifferences bounds what is kept for printing; the counts go on.
const mostDifferences = 10_000

// trace compares one trace: its skeleton always, every field through both APIs if whole.
func (c *comparer) trace(ctx context.Context, no uint64, whole bool) error {
	c.batch.Reset()
	c.data.Trace(no, &c.sent)
	c.data.Rows(&c.batch).All(&c.sent)
	id := c.sent.ID.String()
	want := expectOwn(&c.batch)

	skeleton, err := c.v.own.skeleton(ctx, id)
	if errors.Is(err, errNoTrace) {
		c.note([]Difference{{API: "own", Field: "trace not found"}})
		c.count(whole, len(want), 0, 0, 0)
		return nil
	}
	if err != nil {
		return err
	}
	found := compare(skeletonFacts(want, &c.batch), skeleton.facts())
	from("own", found)
	if whole {
		spans, err := c.v.own.ownSpans(ctx, id)
		if err != nil && !errors.Is(err, errNoTrace) {
			return err
		}
		found = append(found, from("own", compare(want, spans))...)
		spans, err = c.v.jaeger.jaegerSpans(ctx, id)
		if err != nil && !errors.Is(err, errNoTrace) {
			return err
		}
		found = append(found, from("jaeger", compare(expectJaeger(&c.batch), spans))...)
	}
	c.note(found)
	c.tally(whole, found)
	return nil
}

// skeletonFacts are those of the expected facts that a skeleton has.
func skeletonFacts(want spanFacts, b *span.Batch) spanFacts {
	all := spanFacts{}
	for i := range b.Len() {
		id := b.SpanID[i].String()
		f := facts{"kind": fmt.Sprint(uint8(b.Kind[i]))}
		for _, name := range []string{"name", "service", "start", "duration", "parent"} {
			if value, ok := want[id][name]; ok {
				f[name] = value
			}
		}
		all.add(id, f)
	}
	return all
}

func from(api string, list []Difference) []Difference {
	for i := range list {
		list[i].API = api
	}
	return list
}

// note keeps differences for printing.
func (c *comparer) note(list []Difference) {
	c.v.mu.Lock()
	defer c.v.mu.Unlock()
	for _, d := range list {
		if len(c.v.report.Differences) >= mostDifferences {
			return
		}
		d.Trace, d.ID = c.sent.No, c.sent.ID.String()
		c.v.report.Differences = append(c.v.report.Differences, d)
	}
}

// tally counts spans that are missing, double or nobody's once, however many APIs say so.
func (c *comparer) tally(whole bool, found []Difference) {
	seen := map[string]bool{}
	counts := map[string]int{}
	different := 0
	for _, d := range found {
		switch d.Field {
		case fieldMissing, fieldDouble, fieldExtra:
			if !seen[d.Span] {
				seen[d.Span] = true
				counts[d.Field]++
			}
		default:
			different++
		}
	}
	c.count(whole, counts[fieldMissing], counts[fieldDouble], counts[fieldExtra], different)
}

func (c *comparer) count(whole bool, missing, double, extra, different int) {
	c.v.mu.Lock()
	defer c.v.mu.Unlock()
	r := &c.v.report
	if whole {
		r.Traces++
	} else {
		r.Counted++
	}
	r.Spans += len(c.sent.Spans)
	r.Missing += missing
	r.Double += double
	r.Extra += extra
	r.Different += different
}

func (r *VerifyReport) print(out io.Writer) {
	for _, d := range r.Differences {
		fmt.Fprintln(out, d)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(out, p)
	}
	fmt.Fprintf(out, "verified  %d spans in %s: %d traces in every field through both APIs", r.Spans, r.Took.Round(time.Millisecond), r.Traces)
	if r.Counted > 0 {
		fmt.Fprintf(out, ", %d more by their skeletons", r.Counted)
	}
	fmt.Fprintln(out)
	fmt.Fprintf(out, "totals    %d accepted, %d held, %d traces evicted\n", r.Sent, r.Held, r.Evicted)
	fmt.Fprintf(out, "result    %d missing, %d double, %d nobody sent, %d fields different", r.Missing, r.Double, r.Extra, r.Different)
	if r.ok() {
		fmt.Fprint(out, ": everything that was sent is there and equal")
	}
	fmt.Fprintln(out)
}
