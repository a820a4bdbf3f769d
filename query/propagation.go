package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// PropagationKind is how a service loses the context of its traces.
type PropagationKind string

// The kinds.
const (
	// The service is called within a trace, and its own calls begin new ones: it does not pass the headers on.
	NotForwarded PropagationKind = "headers_not_forwarded"
	// The application's spans of a request stand in another trace than its sidecar's: it does not read the headers.
	NewTrace PropagationKind = "application_starts_new_trace"
	// As NewTrace, where the sidecar's tracer writes one family of headers (B3, W3C) and the application's SDK reads the other.
	FamilyMismatch PropagationKind = "header_family_mismatch"
)

// Propagation is what the spans of a window show of one service's passing on of trace context.
type Propagation struct {
	Namespace, Group string
	Services         []string
	Inbound          int // server spans of its sidecars
	Outbound         int // client spans of its sidecars
	OutboundRoots    int // of them those that begin a trace; jobs do that rightly
	AppRoots         int // server spans of the application that begin a trace
	Passed           int // times that context was seen to go on
	Broken           int // times that it was seen to be lost, with proof
	Score            float64
	Findings         []PropagationFinding
	Routes           []RoutePropagation // worst first
}

// RoutePropagation is the same for one route, the operation class of the sidecar's server span.
type RoutePropagation struct {
	Route          string
	Passed, Broken int
	Score          float64
}

// PropagationFinding is one way in which context is lost.
type PropagationFinding struct {
	Kind       PropagationKind
	N          int
	Confidence float64 // 0 to 1: how sure it is that the two spans of each example are one request
	Message    string
	Examples   []PropagationExample
}

// PropagationExample is one request in two traces.
type PropagationExample struct {
	Trace, OtherTrace span.TraceID
	Span, OtherSpan   span.SpanID // the sidecar's server span, and the one that should be below it
	Proof             string
}

// PropagationAnswer lists services that were called, worst first.
type PropagationAnswer struct {
	Services []Propagation
	store.Done
}

const (
	propagationRows     = 500_000 // that one answer looks at
	propagationExamples = 5
	propagationSlack    = int64(2 * time.Millisecond) // clocks of one pod agree; timestamps are cut
	maxPairing          = 64                          // spans that are weighed against one
)

// Propagation analyses, from received spans alone, where services lose the context of their traces. Of a window with more than
// half a million spans the newest are looked at.
func (q *Query) Propagation(ctx context.Context, s store.Scope, r store.TimeRange) (*PropagationAnswer, error) {
	if r.To <= r.From {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "start", Message: "the window ends before it starts", Hint: "give a start before the end"}
	}
	p := propagation{names: make(map[string]uint32), below: make(map[spanRef]bool)}
	p.name(nil)
	done, err := q.ScanBack(ctx, s, store.Scan{Range: r, Mode: store.Start, Match: pathSpans, Need: propagationNeed()}, propagationRows, p.rows)
	if err != nil {
		return nil, err
	}
	return &PropagationAnswer{Services: p.analyse(), Done: done}, nil
}

// pathSpans are the spans that take part in calls.
var pathSpans = store.Or{intrinsicIs(store.FieldKind, span.KindServer.String()), intrinsicIs(store.FieldKind, span.KindClient.String()),
	intrinsicIs(store.FieldKind, span.KindInternal.String())}

func propagationNeed() store.Need {
	n := store.Need{Columns: store.ColSpanID | store.ColParent | store.ColName | store.ColKind | store.ColMark | store.ColTime | store.ColService}
	for _, key := range []string{"node_id", "http.url", "url.full", "url.path", "http.target"} {
		n.Fields = append(n.Fields, store.Field{In: store.InSpan, Key: key})
	}
	for _, key := range []string{"telemetry.sdk.name", "k8s.pod.name"} {
		n.Fields = append(n.Fields, store.Field{In: store.InResource, Key: key})
	}
	return n
}

type spanRef struct{ trace, span uint64 }

// pathSpan is a span cut down to what tells whether two belong to one request.
type pathSpan struct {
	trace                                    span.TraceID
	id, parent                               uint64
	start, end                               int64
	service, group, namespace, pod, path, op uint32
	kind                                     span.Kind
	sidecar, proxy, sdk                      bool
}

func (s *pathSpan) ref() spanRef { return spanRef{s.trace.Low(), s.id} }

type propagation struct {
	spans []pathSpan
	names map[string]uint32
	texts []string
	below map[spanRef]bool // spans that have children
}

func (p *propagation) name(text []byte) uint32 {
	i, ok := p.names[string(text)]
	if !ok {
		i = uint32(len(p.texts))
		p.texts = append(p.texts, string(text))
		p.names[string(text)] = i
	}
	return i
}

func (p *propagation) rows(r store.Rows) {
	b := r.Batch
	for _, i := range r.Rows {
		row := int(i)
		attrs, resource := b.SpanAttrs[row], b.Resources[b.Resource[row]].Attrs
		s := pathSpan{trace: b.TraceID[row], id: b.SpanID[row].Uint64(), parent: b.Parent[row].Uint64(), start: b.Time[row], end: b.EndTime(row),
			service: p.name(b.Bytes(b.Service[row])), group: p.name(b.Bytes(b.Group[row])), namespace: p.name(b.Bytes(b.Namespace[row])), kind: b.Kind[row]}
		s.proxy = b.Mark[row]&span.MarkProxy != 0
		s.sdk = len(b.FindString(resource, "telemetry.sdk.name")) > 0
		pod := b.FindString(resource, "k8s.pod.name")
		if node := strings.Split(string(b.FindString(attrs, "node_id")), "~"); len(node) > 2 {
			s.sidecar = s.proxy && node[0] == "sidecar"
			name, _, _ := strings.Cut(node[2], ".")
			pod = []byte(name)
		}
		s.pod = p.name(pod)
		for _, key := range []string{"url.path", "http.target", "http.url", "url.full"} {
			if v := b.FindString(attrs, key); len(v) > 0 && len(v) < 2048 {
				s.path = p.name([]byte(path(string(v))))
				break
			}
		}
		if s.sidecar && s.kind == span.KindServer {
			s.op = p.name([]byte(rollup.Operation(b.String(b.Name[row]))))
		}
		if s.parent != 0 {
			p.below[spanRef{s.trace.Low(), s.parent}] = true
		}
		p.spans = append(p.spans, s)
	}
}

// found gathers what is known of one service.
type found struct {
	Propagation
	services map[string]bool
	findings map[PropagationKind]*PropagationFinding
	routes   map[uint32]*RoutePropagation
}

func (p *propagation) analyse() []Propagation {
	slices.SortFunc(p.spans, func(x, y pathSpan) int {
		return cmp.Or(cmp.Compare(x.start, y.start), cmp.Compare(x.trace.Low(), y.trace.Low()), cmp.Compare(x.id, y.id))
	})
	type groupKey struct{ namespace, group uint32 }
	services := make(map[groupKey]*found)
	spaces := make(map[uint32]uint32)   // group -> namespace of its sidecars
	inbound := make(map[uint32][]int32) // group -> server spans of its sidecars, by start
	for i := range p.spans {
		if s := &p.spans[i]; s.sidecar {
			if _, ok := spaces[s.group]; !ok {
				spaces[s.group] = s.namespace
			}
			if s.kind == span.KindServer {
				inbound[s.group] = append(inbound[s.group], int32(i))
			}
		}
	}
	for i := range p.spans {
		s := &p.spans[i]
		if s.proxy && !s.sidecar || s.kind == span.KindInternal {
			continue
		}
		key := groupKey{s.namespace, s.group}
		if s.namespace == 0 {
			key.namespace = spaces[s.group]
		}
		f := services[key]
		if f == nil {
			f = &found{services: make(map[string]bool), findings: make(map[PropagationKind]*PropagationFinding), routes: make(map[uint32]*RoutePropagation)}
			f.Namespace, f.Group = p.texts[key.namespace], p.texts[s.group]
			services[key] = f
		}
		f.services[p.texts[s.service]] = true
		p.look(f, s, inbound[s.group])
	}
	var list []Propagation
	for _, f := range services {
		if f.Inbound+f.Outbound+f.AppRoots > 0 {
			list = append(list, f.answer(p))
		}
	}
	slices.SortFunc(list, func(x, y Propagation) int {
		return cmp.Or(cmp.Compare(x.Score, y.Score), cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Group, y.Group))
	})
	return list
}

// look counts what one span shows.
func (p *propagation) look(f *found, s *pathSpan, inbound []int32) {
	switch {
	case s.sidecar && s.kind == span.KindServer:
		f.Inbound++
		if p.below[s.ref()] {
			f.pass(s.op)
		}
	case s.sidecar && s.kind == span.KindClient:
		f.Outbound++
		if s.parent != 0 {
			return
		}
		f.OutboundRoots++
		if at, n := p.within(s, inbound, func(o *pathSpan) bool { return o.pod == s.pod && !p.below[o.ref()] }); n > 0 {
			f.lose(NotForwarded, at, s, n, fmt.Sprintf("the sidecar of pod %s made this call while it served that request, and nothing else of that request is here", p.pod(s)))
		}
	case !s.proxy && s.kind == span.KindServer && s.parent == 0:
		f.AppRoots++
		same := func(o *pathSpan) bool {
			return (o.path == s.path || o.path == 0 || s.path == 0) && (o.pod == s.pod || s.pod == 0) && o.trace != s.trace
		}
		if at, n := p.within(s, inbound, same); n > 0 {
			kind := NewTrace
			if at.sdk != s.sdk {
				kind = FamilyMismatch
			}
			f.lose(kind, at, s, n, fmt.Sprintf("both served %s at the same time: the sidecar from %s before to %s after the application", p.pathWord(s),
				time.Duration(s.start-at.start), time.Duration(at.end-s.end)))
		}
	}
}

func (p *propagation) pod(s *pathSpan) string {
	if s.pod == 0 {
		return "an unknown name"
	}
	return p.texts[s.pod]
}

func (p *propagation) pathWord(s *pathSpan) string {
	if s.path == 0 {
		return "a request"
	}
	return p.texts[s.path]
}

// within finds the spans that ran all the time that s did: the last begun, and how many there are.
func (p *propagation) within(s *pathSpan, inbound []int32, fits func(*pathSpan) bool) (best *pathSpan, n int) {
	at, _ := slices.BinarySearchFunc(inbound, s.start+propagationSlack, func(i int32, t int64) int { return cmp.Compare(p.spans[i].start, t) })
	for tries := 0; at > 0 && tries < maxPairing; tries++ {
		at--
		o := &p.spans[inbound[at]]
		if o.end+propagationSlack >= s.end && fits(o) {
			if n++; best == nil {
				best = o
			}
		}
	}
	return best, n
}

func (f *found) route(op uint32) *RoutePropagation {
	r := f.routes[op]
	if r == nil {
		r = new(RoutePropagation)
		f.routes[op] = r
	}
	return r
}

func (f *found) pass(op uint32) {
	f.Passed++
	f.route(op).Passed++
}

func (f *found) lose(kind PropagationKind, served, own *pathSpan, candidates int, proof string) {
	f.Broken++
	f.route(served.op).Broken++
	x := f.findings[kind]
	if x == nil {
		x = &PropagationFinding{Kind: kind}
		f.findings[kind] = x
	}
	x.N++
	x.Confidence += 1 / float64(candidates)
	if len(x.Examples) < propagationExamples {
		x.Examples = append(x.Examples, PropagationExample{Trace: served.trace, OtherTrace: own.trace,
			Span: span.SpanIDFromUint64(served.id), OtherSpan: span.SpanIDFromUint64(own.id), Proof: proof})
	}
}

func (f *found) answer(p *propagation) Propagation {
	a := f.Propagation
	a.Services = sortedKeys(f.services)
	a.Score = score(a.Passed, a.Broken)
	for _, kind := range []PropagationKind{NotForwarded, NewTrace, FamilyMismatch} {
		if x := f.findings[kind]; x != nil {
			x.Confidence /= float64(x.N)
			x.Message = propagationMessages[kind]
			a.Findings = append(a.Findings, *x)
		}
	}
	for op, r := range f.routes {
		r.Route, r.Score = p.texts[op], score(r.Passed, r.Broken)
		a.Routes = append(a.Routes, *r)
	}
	slices.SortFunc(a.Routes, func(x, y RoutePropagation) int {
		return cmp.Or(cmp.Compare(x.Score, y.Score), cmp.Compare(x.Route, y.Route))
	})
	return a
}

// score is the share of times that context went on; 1 where nothing shows that it was lost.
func score(passed, broken int) float64 {
	if broken == 0 {
		return 1
	}
	return float64(passed) / float64(passed+broken)
}

var propagationMessages = map[PropagationKind]string{
	NotForwarded:   "the service does not pass trace headers on to the calls it makes: copy x-request-id and the tracing headers from the request, or use an SDK with propagation",
	NewTrace:       "the application begins a trace of its own for each request: its SDK does not read the headers that its sidecar sends",
	FamilyMismatch: "the sidecar and the application use different families of headers (B3 and W3C traceparent): set OTEL_PROPAGATORS=b3,tracecontext,baggage in the application, or one provider for both",
}
