// Package process is the ordered steps between a receiver and the store: head sampling, limits, resource attributes,
// redaction, and the service and workload group columns. Steps rewrite a batch in place and allocate nothing per span.
//
// Sampling comes first so that spans nobody keeps cost nothing more; redaction comes before anything is stored, so that no
// log, segment or forwarded frame ever holds what it took out.
package process

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"sync/atomic"

	"github.com/spanloom/spanloom/span"
)

// Sink is what stands behind the steps: the store's Writer.
type Sink interface {
	Accept(ctx context.Context, b *span.Batch) error
}

// Rules is what the steps do. It can be exchanged while spans flow (SIGHUP).
type Rules struct {
	SamplePercent float64         // traces kept, 0 to 100
	MeshPercent   float64         // requests that sidecars trace: the weight of spans that say nothing of it; 0 and 100: all
	Resource      []ResourceRule  // in order
	Redact        RedactRules     //
	Limits        Limits          //
	compiled      *redactPatterns // made by Check
}

// Limits cut what is too big; every cut sets MarkCut and counts in the span's dropped counts where OTLP has one.
type Limits struct {
	ValueBytes    int // longest attribute value, span name or status message; longer ones are cut at a rune
	SpanAttrs     int // attributes a span, resource, scope, event or link
	SpanEvents    int // events, and links, a span
	SpansPerTrace int // later spans are refused with trace_too_large; 0 for no limit
}

// DefaultLimits are far above what meshes and SDKs send and far below what hurts a reader.
func DefaultLimits() Limits {
	return Limits{ValueBytes: 64 << 10, SpanAttrs: 1024, SpanEvents: 1024, SpansPerTrace: 1_000_000}
}

// DefaultRules keep every trace, change no resource and redact.
func DefaultRules() Rules {
	return Rules{SamplePercent: 100, Redact: DefaultRedact(), Limits: DefaultLimits()}
}

// Check compiles and verifies rules; errors name the field.
func (r *Rules) Check() error {
	if !(r.SamplePercent >= 0 && r.SamplePercent <= 100) {
		return fmt.Errorf("sampling percent is %v: it must lie between 0 and 100 (it is a percentage: 1 keeps 1 in 100)", r.SamplePercent)
	}
	if !(r.MeshPercent >= 0 && r.MeshPercent <= 100) {
		return fmt.Errorf("mesh sampling percent is %v: it must lie above 0 and up to 100 (it is a percentage: 1 says that 1 in 100 requests is traced)", r.MeshPercent)
	}
	for i, rule := range r.Resource {
		if err := rule.check(); err != nil {
			return fmt.Errorf("resource attribute rule %d: %w", i+1, err)
		}
	}
	l := r.Limits
	if l.ValueBytes < 16 || l.SpanAttrs < 1 || l.SpanEvents < 0 || l.SpansPerTrace < 0 {
		return fmt.Errorf("limits %+v: value bytes must be at least 16, attributes at least 1, the others not negative", l)
	}
	p := &redactPatterns{}
	for _, text := range r.Redact.Patterns {
		re, err := regexp.Compile(text)
		if err != nil {
			return fmt.Errorf("redaction pattern %q: %w", text, err)
		}
		if re.MatchString("") {
			return fmt.Errorf("redaction pattern %q matches the empty text: it would replace everything", text)
		}
		p.patterns = append(p.patterns, re)
	}
	r.compiled = p
	return nil
}

// Counts is what the steps did since the start.
type Counts struct {
	SampledOut      int64 // spans of traces that head sampling did not keep
	Redacted        int64 // values changed by redaction
	Cut             int64 // spans cut to a limit
	TimesReplaced   int64 // spans with an absent or impossible start
	ServicesDerived int64 // spans without a usable service.name
	TraceTooLarge   int64 // spans refused over SpansPerTrace
}

// Pipeline runs the steps and hands on. It is safe for concurrent use.
type Pipeline struct {
	next    Sink
	rules   atomic.Pointer[Rules]
	senders senderNames
	traces  traceCounts

	sampledOut, redacted, cut, timesReplaced, servicesDerived, traceTooLarge atomic.Int64
}

// New makes a pipeline in front of a sink.
func New(rules Rules, next Sink) (*Pipeline, error) {
	p := &Pipeline{next: next, senders: senderNames{names: make(map[netip.Addr]senderName)}}
	if err := p.SetRules(rules); err != nil {
		return nil, err
	}
	return p, nil
}

// SetRules exchanges the rules after checking them; on error the old ones stay.
func (p *Pipeline) SetRules(rules Rules) error {
	if err := rules.Check(); err != nil {
		return err
	}
	p.rules.Store(&rules)
	return nil
}

// Rules in force.
func (p *Pipeline) Rules() Rules { return *p.rules.Load() }

// Accept runs the steps over a batch and hands it to the sink; a batch that sampling emptied ends here with success.
func (p *Pipeline) Accept(ctx context.Context, b *span.Batch) error {
	r := p.rules.Load()
	p.sample(b, r.SamplePercent, r.MeshPercent)
	p.limitTraces(b, r.Limits.SpansPerTrace)
	if b.Len() == 0 {
		return nil
	}
	p.limit(b, r.Limits)
	for i := range r.Resource {
		r.Resource[i].apply(b)
	}
	if r.Redact.Enabled {
		p.redacted.Add(redact(b, &r.Redact, r.compiled))
	}
	p.name(b)
	var replaced int64
	for _, m := range b.Mark {
		if m&span.MarkTimeReplaced != 0 {
			replaced++
		}
	}
	if replaced > 0 {
		p.timesReplaced.Add(replaced)
	}
	return p.next.Accept(ctx, b)
}

// Counts so far.
func (p *Pipeline) Counts() Counts {
	return Counts{
		SampledOut: p.sampledOut.Load(), Redacted: p.redacted.Load(), Cut: p.cut.Load(), TimesReplaced: p.timesReplaced.Load(),
		ServicesDerived: p.servicesDerived.Load(), TraceTooLarge: p.traceTooLarge.Load(),
	}
}
