// Package transfer brings spans of other systems into a running Spanloom and takes spans out of one. It is a client: it talks to
// receivers and APIs and opens no store.
//
// Import reads files, or the documents of Jaeger in Elasticsearch, piece by piece (a trace, a resource's spans, a line), and sends what
// they hold as OTLP over HTTP. A piece that cannot be read is named with its place and passed over; what had to be guessed or
// left out is counted by kind. Memory is bounded by the largest piece, of at most 128 MiB, not by the files.
//
// What a receiver has answered for stays: an import that ends early writes its place into the state file, and the same import goes on
// there. Spans around that place may be sent twice, which the store's identity of spans makes one.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/receive/jaeger"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/span"
)

// Options say what is imported and where to. Sources or From, and To, are required.
type Options struct {
	Sources []string  // files, folders, "-" for Stdin
	From    string    // instead of Sources: elasticsearch://… (ParseElasticsearch)
	Stdin   io.Reader // of "-"
	Format  Format
	Since   int64 // of From: only spans that start at or after it, ns; 0 for all

	To    string // base URL of an OTLP/HTTP receiver
	Token string // bearer token; empty for none

	Strict   bool          // the first piece that cannot be read, and the first refused span, ends the import
	State    string        // file that the place is kept in; empty: the import cannot go on where it stopped
	RetryFor time.Duration // how long a request is tried again; 0: 10 minutes

	Client   *http.Client        // nil: one with a timeout of a minute
	Fault    func(Fault)         // told of each piece that could not be read; nil: nobody is
	Progress func(Report)        // told after each request, from one goroutine at a time
	Waiting  func(why string)    // told before each pause
	Getenv   func(string) string // for SPANLOOM_OPENSEARCH_PASSWORD; nil: os.Getenv

	wait func(context.Context, time.Duration) error // of tests
	now  func() time.Time
}

// Fault is a piece that could not be read, or spans that were refused.
type Fault struct {
	File string // "-" for standard input; the index of Elasticsearch; empty for refusals of the receiver
	At   string // its place there, in words
	What string
}

// Report is what an import has done so far.
type Report struct {
	Files      int   `json:"files"`   // begun
	OfFiles    int   `json:"ofFiles"` // 0 for Elasticsearch
	Bytes      int64 `json:"bytes"`   // read, before decompression
	OfBytes    int64 `json:"ofBytes"` // 0 if unknown
	Read       int64 `json:"read"`    // spans
	OfRead     int64 `json:"ofRead"`  // spans there are in Elasticsearch; 0 for files
	Sent       int64 `json:"sent"`    // spans that the receiver answered for
	Refused    int64 `json:"refused"` // spans that the receiver refused
	Unreadable int64 `json:"unreadable"`
	Resumed    bool  `json:"resumed"` // it went on where an earlier one stopped

	Losses []Loss   `json:"losses"` // what was guessed or left out, by kind
	Lacks  []string `json:"lacks"`  // what the formats that were read cannot hold
}

// Loss is a kind of loss with how often it happened.
type Loss struct {
	What  string `json:"what"`
	Count int64  `json:"count"`
}

// Whole reports whether every span that was there is stored.
func (r Report) Whole() bool { return r.Refused == 0 && r.Unreadable == 0 }

const (
	batchRows  = 2048    // spans in a request, about
	batchBytes = 4 << 20 // of the batch it is made of, about
	senders    = 2       // requests under way
	saveEvery  = 5 * time.Second
)

// Import runs an import to its end. An error says that it stopped; the report says how far it came.
func Import(ctx context.Context, o Options) (Report, error) {
	o.defaults()
	var files []file
	var err error
	if o.From == "" {
		if files, err = expand(o.Sources); err != nil {
			return Report{}, err
		}
	}
	at, err := loadState(o.State, identity(&o, files), o.Since)
	if err != nil {
		return Report{}, err
	}
	if at.Source > len(files) {
		at.Source = len(files)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	im := &importer{o: &o, files: files, dec: newDecoder(), cancel: cancel, jobs: make(chan job), at: at, start: at,
		sender: &sender{url: o.To + "/v1/traces", token: o.Token, client: o.Client, retryFor: o.RetryFor, wait: o.wait, now: o.now, waiting: o.Waiting}}
	im.report.OfFiles = len(files)
	im.report.Resumed = at.Source > 0 || at.Offset > 0
	for _, f := range files {
		if f.size < 0 {
			im.report.OfBytes = 0
			break
		}
		im.report.OfBytes += f.size
	}
	var group sync.WaitGroup
	for range senders {
		group.Go(func() { im.post(ctx) })
	}
	if o.From == "" {
		err = im.readFiles(ctx)
	} else {
		err = im.readElasticsearch(ctx)
	}
	if err == nil {
		err = im.flush(ctx)
	}
	close(im.jobs)
	group.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return im.end(err)
}

func (o *Options) defaults() {
	o.To = strings.TrimSuffix(strings.TrimSuffix(o.To, "/"), "/v1/traces")
	if o.Client == nil {
		o.Client = &http.Client{Timeout: time.Minute}
	}
	if o.RetryFor <= 0 {
		o.RetryFor = 10 * time.Minute
	}
	if o.Fault == nil {
		o.Fault = func(Fault) {}
	}
	if o.Progress == nil {
		o.Progress = func(Report) {}
	}
	if o.Waiting == nil {
		o.Waiting = func(string) {}
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.wait == nil {
		o.wait = pause.For
	}
	if o.now == nil {
		o.now = time.Now
	}
}

// importer is an import under way. One goroutine reads and fills jobs, others post them.
type importer struct {
	o      *Options
	files  []file
	dec    *decoder
	place  place // up to which everything is in dec's batch or in jobs
	start  state
	jobs   chan job
	seq    int64
	sender *sender
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	report Report
	at     state // everything before it was answered for
	saved  time.Time
	ahead  map[int64]job // answered before an earlier one
	next   int64         // sequence number of the first job that is not answered
}

// place is how far the reading has come.
type place struct {
	source int
	offset int64
}

// job is a request.
type job struct {
	seq   int64
	body  []byte
	spans int
	upTo  place
}

func (im *importer) readFiles(ctx context.Context) error {
	for i, f := range im.files {
		if i < im.start.Source {
			im.add(func(r *Report) { r.Files++; r.Bytes += max(f.size, 0) })
			continue
		}
		im.place = place{i, 0}
		im.add(func(r *Report) { r.Files++ })
		if err := im.readFile(ctx, i, f); err != nil {
			return err
		}
		im.place = place{i + 1, 0}
	}
	return nil
}

func (im *importer) readFile(ctx context.Context, i int, f file) error {
	in := im.o.Stdin
	if f.name != "-" {
		opened, err := os.Open(f.name)
		if err != nil {
			return err
		}
		defer opened.Close()
		in = opened
	}
	from := int64(0)
	if i == im.start.Source {
		from = im.start.Offset
	}
	in = counting{in, func(n int) { im.add(func(r *Report) { r.Bytes += int64(n) }) }}
	bad := func(at Position, what string) error {
		if at.Offset < from {
			return nil
		}
		return im.unreadable(1, Fault{f.name, at.String(), what})
	}
	err := readRecords(in, im.o.Format, func(r record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.at.Offset < from {
			return nil
		}
		return im.take(ctx, f.name, r.at.String(), r, place{i, r.end})
	}, bad)
	if err != nil && ctx.Err() == nil && !errors.Is(err, errStrict) {
		// A file that is damaged or cannot be read further is no reason to leave the others.
		return im.unreadable(1, Fault{f.name, "", err.Error() + "; what follows is not read"})
	}
	return err
}

// take adds a record to the batch and hands the batch on when it is large enough.
func (im *importer) take(ctx context.Context, name, at string, r record, upTo place) error {
	before := im.dec.b.Len()
	if b := im.dec.add(r); b != nil {
		for i, what := range b.what {
			n := 0
			if i == 0 {
				n = b.spans
			}
			if err := im.unreadable(n, Fault{name, at, what}); err != nil {
				return err
			}
		}
	}
	im.add(func(r *Report) { r.Read += int64(im.dec.b.Len() - before) })
	im.place = upTo
	if im.dec.b.Len() >= batchRows || im.dec.b.Size() >= batchBytes {
		return im.flush(ctx)
	}
	return nil
}

func (im *importer) unreadable(spans int, f Fault) error {
	im.add(func(r *Report) { r.Unreadable += int64(spans) })
	im.mu.Lock()
	defer im.mu.Unlock()
	im.o.Fault(f)
	if im.o.Strict {
		return errStrict
	}
	return nil
}

func (im *importer) add(f func(*Report)) {
	im.mu.Lock()
	defer im.mu.Unlock()
	f(&im.report)
}

// flush hands the batch on in requests of moderate size.
func (im *importer) flush(ctx context.Context) error {
	b := im.dec.b
	n := b.Len()
	rows := n
	if size := b.Size(); size > 2*batchBytes {
		rows = max(int(int64(n)*batchBytes/int64(size)), 1)
	}
	for from := 0; from < n; from += rows {
		to := min(from+rows, n)
		part := b
		if to-from < n {
			part = new(span.Batch)
			c := span.NewCopier(part)
			c.Begin(b)
			for row := from; row < to; row++ {
				c.Row(row)
			}
		}
		j := job{seq: im.seq, body: otlp.AppendRequest(nil, part), spans: to - from, upTo: im.place}
		if to < n {
			j.upTo = place{-1, 0} // only with the last part is the place reached
		}
		im.seq++
		select {
		case im.jobs <- j:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	im.dec.begin()
	return nil
}

// post sends jobs until there are no more.
func (im *importer) post(ctx context.Context) {
	for j := range im.jobs {
		if ctx.Err() != nil {
			continue // the reader is told by ctx
		}
		out, err := im.sender.send(ctx, j.body, j.spans)
		if err != nil {
			im.cancel(err)
			continue
		}
		im.answered(j, out)
	}
}

func (im *importer) answered(j job, out outcome) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.report.Sent += int64(j.spans - out.refused)
	im.report.Refused += int64(out.refused)
	if out.refused > 0 {
		im.o.Fault(Fault{"", "", fmt.Sprintf("%d of %d spans refused: %s", out.refused, j.spans, out.why)})
		if im.o.Strict {
			im.cancel(errStrict)
			return
		}
	}
	j.body = nil
	if im.ahead == nil {
		im.ahead = make(map[int64]job)
	}
	im.ahead[j.seq] = j
	for {
		done, ok := im.ahead[im.next]
		if !ok {
			break
		}
		delete(im.ahead, im.next)
		im.next++
		im.at.Sent += int64(done.spans)
		if done.upTo.source >= 0 {
			im.at.Source, im.at.Offset = done.upTo.source, done.upTo.offset
		}
	}
	if now := im.o.now(); now.Sub(im.saved) >= saveEvery {
		im.saved = now
		if err := im.save(); err != nil {
			im.cancel(fmt.Errorf("--state: %w", err))
		}
	}
	im.o.Progress(im.report)
}

// save needs mu.
func (im *importer) save() error {
	if im.at.Source < len(im.files) {
		im.at.Name = im.files[im.at.Source].name
	}
	return im.at.save(im.o.State)
}

// end says what was lost, and leaves the place behind if the import did not come to its end.
func (im *importer) end(err error) (Report, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	r := &im.report
	im.dec.jaeger.Notes.Each(func(what string, n int64) { r.Losses = append(r.Losses, Loss{what, n}) })
	for what, n := range im.dec.extra {
		r.Losses = append(r.Losses, Loss{what, n})
	}
	slices.SortFunc(r.Losses, func(a, b Loss) int { return strings.Compare(a.What, b.What) })
	if im.dec.formats[Jaeger] || im.dec.formats[JaegerDocs] {
		for _, what := range jaeger.Lacks() {
			r.Lacks = append(r.Lacks, "Jaeger: "+what)
		}
	}
	if im.dec.formats[Zipkin] {
		r.Lacks = append(r.Lacks, "Zipkin: nanoseconds: times are in microseconds", "Zipkin: types of values other than text", "Zipkin: schema URLs, counts of what was dropped")
	}
	if err == nil {
		if im.o.State != "" {
			if err := os.Remove(im.o.State); err != nil && !os.IsNotExist(err) {
				return *r, err
			}
		}
		return *r, nil
	}
	return *r, errors.Join(err, im.save())
}
