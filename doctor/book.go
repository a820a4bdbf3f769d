package doctor

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spanloom/spanloom/mesh/istio"
)

// Book is what Spanloom itself knows of a stretch of time without looking at a cluster: its receipts, what it refused and
// took with a note, where stored spans show that context is lost, and who ought to send spans and does not.
type Book struct {
	From     int64     `json:"from,string"` // nanoseconds since the epoch
	To       int64     `json:"to,string"`
	Receipts []Receipt `json:"receipts,omitempty"`
	Context  []Context `json:"context,omitempty"`
	Silent   []Silent  `json:"silent,omitempty"`
	Dropped  float64   `json:"droppedPercent,omitempty"` // of traces, by Spanloom's own head sampling
	Refusing string    `json:"refusing,omitempty"`       // why the store takes nothing now
	Gaps     []Unread  `json:"gaps,omitempty"`           // parts that could not be asked
}

// Receipt sums what one workload delivered by one protocol. Bodies that were refused as a whole, and notes, have no
// workload: only the address they came from.
type Receipt struct {
	Namespace string           `json:"namespace,omitempty"`
	Workload  string           `json:"workload,omitempty"`
	Protocol  string           `json:"protocol"` // zipkin, otlp_grpc, otlp_http
	Sender    string           `json:"sender,omitempty"`
	Spans     int64            `json:"spans"`
	Requests  int64            `json:"requests"`
	Last      int64            `json:"last,string"` // receipt of its newest span, ns; 0 if there is none
	Refused   map[string]int64 `json:"refused,omitempty"`
	Misuses   map[string]int64 `json:"misuses,omitempty"`
}

// Context is what stored spans show of one workload's passing on of trace context.
type Context struct {
	Namespace string  `json:"namespace,omitempty"`
	Workload  string  `json:"workload"`
	Passed    int     `json:"passed"` // times that context was seen to go on
	Broken    int     `json:"broken"` // times that it was seen to be lost, with proof
	Losses    []Loss  `json:"losses,omitempty"`
	Score     float64 `json:"score"`
}

// Loss is one way in which context is lost.
type Loss struct {
	Kind       string  `json:"kind"` // headers_not_forwarded, application_starts_new_trace, header_family_mismatch
	N          int     `json:"n"`
	Confidence float64 `json:"confidence"` // 0 to 1
	Example    string  `json:"example,omitempty"`
}

// Silent is a workload whose spans ought to be here.
type Silent struct {
	Namespace string `json:"namespace,omitempty"`
	Workload  string `json:"workload"`
	Stopped   bool   `json:"stopped,omitempty"` // it sent spans regularly before; else others call it now
	Last      int64  `json:"last,omitempty,string"`
}

// Name of the workload as reports have it; senders without one are named by their address.
func (r *Receipt) Name() string {
	if r.Workload == "" {
		return "sender " + firstOf(r.Sender, "unknown")
	}
	return qualified(r.Namespace, r.Workload)
}

func qualified(namespace, workload string) string {
	if namespace == "" {
		return workload
	}
	return namespace + "/" + workload
}

// GapReceipts is the name of the gap of a book whose receipts could not be read.
const GapReceipts = "receipts"

// received derives what the collector got from the book: Spanloom is the collector. Nil where its receipts could not be read: that is not
// known then, and no reason to say that nothing arrived.
func (b *Book) received() *Received {
	if slices.ContainsFunc(b.Gaps, func(u Unread) bool { return u.Name == GapReceipts }) {
		return nil
	}
	r := &Received{ByService: make(map[string]int), Requests: make(map[string]int)}
	for i := range b.Receipts {
		p := &b.Receipts[i]
		if p.Spans == 0 {
			continue
		}
		r.Spans += int(p.Spans)
		name := p.Workload
		if p.Namespace != "" {
			name += "." + p.Namespace
		}
		r.ByService[name] += int(p.Spans)
		r.Requests[p.Protocol] += int(p.Requests)
	}
	return r
}

// book adds what the receipts say: workloads that nothing else named, refusals, notes, silence.
func (x *exam) book() {
	b := x.f.Book
	if b == nil {
		return
	}
	x.f.Unread = slices.Concat(x.f.Unread, b.Gaps)
	x.deliveries(b)
	x.refusals(b)
	x.silence(b)
	if b.Refusing != "" {
		x.add(&draft{code: "T0503", object: collector(""), detail: say("the store takes no spans now: %s", heard(b.Refusing)), evidence: []Text{heard(b.Refusing)}}, "")
	}
	if kept := 100 - b.Dropped; b.Dropped > 0 {
		x.add(&draft{code: "T0508", object: collector("--sampling-percent"), detail: say("Spanloom keeps %s %% of the traces that arrive", number(kept)), evidence: []Text{quote("--sampling-percent " + number(kept))}}, "")
	}
	reason := say("nothing of the cluster was read")
	if len(x.f.Objects.Counts) > 0 || len(x.f.Proxies) > 0 {
		reason = say("it is not among what was read of the cluster")
	}
	for _, s := range x.subjects {
		s.rest(reason)
	}
}

// collector is Spanloom itself as an object.
func collector(path string) istio.Ref {
	return istio.Ref{Kind: "Collector", Name: "spanloom", Path: path}
}

// subjectOf finds the workload of a receipt among those that are known, or makes one.
func (x *exam) subjectOf(namespace, workload, name string) *subject {
	for _, s := range x.subjects {
		if s.name == name {
			return s
		}
		if namespace != "" && s.namespace != namespace || workload == "" {
			continue
		}
		plain := workload
		if namespace == "" { // of a sender whose spans are not there to tell: the ledger's own form is workload.namespace
			plain = strings.TrimSuffix(workload, "."+s.namespace)
		}
		dotted := plain + "." + firstOf(namespace, s.namespace)
		if slices.Contains([]string{s.workload, s.labels["service.istio.io/canonical-name"], s.labels["app"], s.labels["app.kubernetes.io/name"]}, plain) || slices.Contains(s.reportsAs(), dotted) {
			return s
		}
	}
	s := &subject{name: name, namespace: namespace, workload: workload, booked: true}
	x.subjects = append(x.subjects, s)
	return s
}

func (x *exam) deliveries(b *Book) {
	for i := range b.Receipts {
		r := &b.Receipts[i]
		if r.Spans == 0 {
			continue
		}
		s := x.subjectOf(r.Namespace, r.Workload, r.Name())
		if !s.booked {
			continue // its chain says more already
		}
		s.green("receiver", "%d requests by %s, %.1f spans each", r.Requests, r.Protocol, float64(r.Spans)/float64(max(r.Requests, 1)))
		s.green("stored", "%d spans, the last at %s", r.Spans, instant(r.Last))
	}
}

// instant in words; UTC, so that a report reads the same everywhere.
func instant(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05Z")
}

// refusal says what a reason or a misuse means.
type refusal struct {
	code     string
	severity Severity // empty: the catalog's
	what     Text
	fix      Text
}

// refusals by reason of the ledger.
var refusalsByReason = map[string]refusal{
	"wrong_path":        {"T0311", "", say("spans are sent to a path that no receiver serves"), say("Use /api/v2/spans on 9411 for Zipkin, /v1/traces on 4318 for OTLP over HTTP.")},
	"wrong_protocol":    {"T0305", "", say("spans are sent in the protocol of another port"), say("Use 4317 for OTLP over gRPC, 4318 for OTLP over HTTP, 9411 for Zipkin.")},
	"unauthenticated":   {"T0502", "", say("senders show no token, or a wrong one"), Text{}},
	"overloaded":        {"T0503", "", say("spans were refused because too many bodies were in flight"), say("Give Spanloom more memory (--max-memory), or let proxies send larger batches (min_flush_spans).")},
	"store_unavailable": {"T0503", "", say("spans were refused because the store could not take them"), say("Look at the store: disk full, disk errors; spanloom fsck and the server's log say which.")},
	"internal":          {"T0503", "", say("spans were refused by a fault of Spanloom"), say("The server's log has the error: please report it.")},
	"slow_sender":       {"T0501", "", say("bodies did not arrive in time"), say("Look at the network between the sender and Spanloom.")},
	"bad_id":            {"T0501", "", say("spans have no usable trace or span id"), Text{}},
	"malformed":         {"T0501", "", say("bodies cannot be decoded"), Text{}},
	"bad_span":          {"T0501", "", say("some spans are unusable"), Text{}},
	"bad_encoding":      {"T0501", "", say("bodies are not packed as their Content-Encoding says"), Text{}},
	"bad_content_type":  {"T0501", "", say("bodies come with a media type that no receiver of that port reads"), say("Send application/json or application/x-protobuf.")},
	"body_too_large":    {"T0501", "", say("bodies are larger than --max-body"), say("Send smaller batches, or raise --max-body.")},
	"trace_too_large":   {"T0501", "", say("traces have more spans than --max-trace-spans"), say("Find what puts everything into one trace (a long-running root span), or raise --max-trace-spans.")},
	"unsupported":       {"T0507", "", say("metrics or logs are sent here"), Text{}},
}

// misuses: taken, so never an error.
var misusesByName = map[string]refusal{
	"wrong_path":        {"T0311", Warning, say("spans come to a path that other collectors do not serve; Spanloom took them"), say("Use /api/v2/spans for Zipkin, /v1/traces for OTLP over HTTP.")},
	"http_on_grpc_port": {"T0305", Warning, say("OTLP over HTTP comes to the gRPC port; Spanloom took it"), say("Send OTLP over HTTP to 4318, or drop http from the provider to speak gRPC on 4317.")},
	"grpc_on_http_port": {"T0305", Warning, say("OTLP over gRPC comes to the HTTP port; Spanloom took it"), say("Send OTLP over gRPC to 4317.")},
	"grpc_over_http1":   {"T0304", Warning, say("gRPC comes over HTTP/1.1: the Service's port is not named for gRPC; Spanloom took it"), say("Name the collector's port grpc-otlp, or set appProtocol: grpc.")},
	"mislabelled_body":  {"T0506", "", say("bodies are not what their path or Content-Type says; Spanloom took them"), Text{}},
	"upper_case_id":     {"T0506", "", say("ids are written in capitals; Spanloom took them"), Text{}},
}

// refusals turns refused and misused bodies into findings, each named by the workloads it concerns.
func (x *exam) refusals(b *Book) {
	byAddress := x.addressesOf(b)
	accepted := make(map[string]int64)
	for i := range b.Receipts {
		r := &b.Receipts[i]
		if r.Workload != "" {
			accepted[r.Sender] += r.Spans
		}
	}
	for i := range b.Receipts {
		r := &b.Receipts[i]
		for _, reason := range slices.Sorted(maps.Keys(r.Refused)) {
			n := r.Refused[reason]
			k, ok := refusalsByReason[reason]
			if !ok {
				k = refusal{code: "T0501", what: say("spans are refused: %s", reason)}
			}
			// A hundredth of what the same sender delivers says little of the mesh, a single body nothing.
			if k.severity == "" && Lookup(k.code).Severity == Error {
				switch taken := accepted[r.Sender]; {
				case n == 1:
					k.severity = Info
				case taken > 100*n:
					k.severity = Warning
				}
			}
			x.notTaken(r, byAddress, k, reason, say("%s by %s: %d refused (%s)", r.Name(), r.Protocol, n, reason))
		}
		for _, misuse := range slices.Sorted(maps.Keys(r.Misuses)) {
			k, ok := misusesByName[misuse]
			if !ok {
				k = refusal{code: "T0506", what: say("spans are taken with a note: %s", misuse)}
			}
			x.notTaken(r, byAddress, k, misuse, say("%s by %s: %d taken with a note (%s)", r.Name(), r.Protocol, r.Misuses[misuse], misuse))
		}
	}
}

// addressesOf tells which workloads stand behind an address: as receipts have it, as pods and proxies have it.
func (x *exam) addressesOf(b *Book) map[string][]string {
	out := make(map[string][]string)
	add := func(address, name string) {
		if address != "" && !slices.Contains(out[address], name) {
			out[address] = append(out[address], name)
		}
	}
	for i := range b.Receipts {
		if r := &b.Receipts[i]; r.Workload != "" {
			add(r.Sender, r.Name())
		}
	}
	for _, s := range x.subjects {
		for _, pod := range s.pods {
			add(pod.IP, s.name)
		}
		if s.proxy == nil {
			continue
		}
		if parts := strings.Split(s.proxy.Node, "~"); len(parts) == 4 {
			add(parts[1], s.name)
		}
	}
	return out
}

func (x *exam) notTaken(r *Receipt, byAddress map[string][]string, k refusal, word string, evidence Text) {
	d := &draft{code: k.code, object: collector(r.Protocol + " " + word), severity: k.severity, detail: k.what, evidence: []Text{evidence}, fix: Fix{text: k.fix}, soft: true}
	names := []string{r.Name()}
	if r.Workload == "" && len(byAddress[r.Sender]) > 0 {
		names = byAddress[r.Sender]
	}
	for _, name := range names {
		ns, workload, ok := strings.Cut(name, "/")
		if !ok {
			ns, workload = "", name
		}
		s := x.subjectOf(ns, workload, name)
		if o := x.explains(s, d); o != nil {
			if len(o.evidence) < 8 && !slices.ContainsFunc(o.evidence, func(t Text) bool { return t.String() == evidence.String() }) {
				o.evidence = append(o.evidence, evidence)
			}
			continue
		}
		if d.severityOf() != Error {
			x.add(d, s.name)
			continue
		}
		s.chain = slices.DeleteFunc(s.chain, func(st Station) bool { return st.Name == "receiver" && st.State != Red })
		x.red(s, "receiver", d)
	}
}

// explains finds what the workload's own chain says of the same bodies: how they are sent is why they are refused or noted.
func (x *exam) explains(s *subject, d *draft) *draft {
	for _, o := range x.drafts {
		if o.object.Kind != "Collector" && o.has[s.name] && slices.Contains(misdirected, d.code) && slices.Contains(misdirected, o.code) {
			return o
		}
	}
	return nil
}

// misdirected are the codes of spans that come to a port or path in another form than it speaks.
var misdirected = []string{"T0304", "T0305", "T0311"}

// silence names workloads that ought to send spans and do not, where nothing else explains it.
func (x *exam) silence(b *Book) {
	for _, w := range b.Silent {
		s := x.subjectOf(w.Namespace, w.Workload, qualified(w.Namespace, w.Workload))
		if s.broken != nil || x.f.Received != nil && x.f.Received.of(s) > 0 || x.owesNothing(s) {
			continue
		}
		d := &draft{code: "T0504", object: istio.Ref{Kind: "Workload", Namespace: w.Namespace, Name: w.Workload}, soft: true, detail: say("%s is called by others, and none of its spans arrived", s.name),
			evidence: []Text{say("spans of its callers name it; it sent none")}, fix: Fix{text: say("Let the doctor read the cluster: it names the link that is broken."), Command: "spanloom why " + s.name}}
		if w.Stopped {
			d.code, d.detail, d.evidence = "T0505", say("%s sent spans regularly before, and none now", s.name), []Text{say("its last span arrived at %s", instant(w.Last))}
		} else {
			x.silent++
		}
		s.chain = slices.DeleteFunc(s.chain, func(st Station) bool { return st.Name == "stored" })
		x.red(s, "stored", d)
	}
}

// owesNothing: what was read of the cluster says that the workload is not meant to have a proxy.
func (x *exam) owesNothing(s *subject) bool {
	for i := range x.f.Objects.Workloads {
		w := &x.f.Objects.Workloads[i]
		if w.Namespace == s.namespace && (w.Name == s.workload || w.Labels["app"] == s.workload) {
			_, in := x.injection(w)
			return in == no && !x.meant(w) && w.SDK == nil
		}
	}
	return false
}

// lossWords by kind: the code, and what is seen.
var lossWords = map[string]struct {
	code string
	what func(workload string) Text
	fix  Text
}{
	"headers_not_forwarded": {"T0403", func(w string) Text { return say("%s is called within a trace, and its own calls begin new ones", w) }, say("Forward traceparent, tracestate, x-b3-* and x-request-id from each incoming request to the requests it causes, or use an OpenTelemetry SDK.")},
	"application_starts_new_trace": {"T0403", func(w string) Text {
		return say("the application of %s begins a trace of its own for each request: it does not read the headers that its sidecar sends", w)
	}, say("Let the SDK read the headers: OTEL_PROPAGATORS=tracecontext,baggage,b3.")},
	"header_family_mismatch": {"T0404", func(w string) Text {
		return say("the sidecar and the application of %s use different families of headers", w)
	}, say("Set OTEL_PROPAGATORS=b3,tracecontext,baggage in the application, or one provider for both.")},
}

// joinedByBook: stored spans prove who loses context, or show none that does.
func (x *exam) joinedByBook() {
	seen := make(map[*subject]bool)
	for i := range x.f.Book.Context {
		c := &x.f.Book.Context[i]
		s := x.subjectOf(c.Namespace, c.Workload, qualified(c.Namespace, c.Workload))
		if seen[s] {
			continue
		}
		for _, l := range c.Losses {
			words, ok := lossWords[l.Kind]
			if !ok || l.Confidence < 0.5 || l.N < 2 {
				continue
			}
			d := &draft{code: words.code, object: istio.Ref{Kind: "Workload", Namespace: c.Namespace, Name: c.Workload}, soft: true, detail: words.what(s.name),
				evidence: []Text{say("%s: context went on %d times and was lost %d times", s.name, c.Passed, l.N)}, fix: Fix{text: words.fix}}
			if l.Example != "" {
				d.evidence = append(d.evidence, heard(l.Example))
			}
			if c.Score >= 0.95 {
				d.severity = Warning // some routes or calls only
			}
			seen[s] = true
			x.red(s, "joined", d)
		}
	}
	for _, s := range x.subjects {
		switch {
		case seen[s]:
		case x.f.Received.of(s) > 0:
			s.green("joined", "no loss of context was seen")
		default:
			s.unknown("joined", "no span of it")
		}
	}
}
