// Package receive is the way in: what both receivers (otlp, zipkin) share. It turns a request into bytes inside a memory
// budget, a decoded batch into an accepted one, and every refusal into a reason, a counter, a sender and a receipt.
//
// The receivers decode; Intake owns everything around decoding. It imports only span.
package receive

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
)

// Sink takes decoded spans: the first step of process, at the end of which stands the store.
//
// Accept borrows the batch until it returns and may rewrite it; nil means durable as --wal-sync says. Rows that a step
// refused for good are counted in b.Refused. Overloaded and Unavailable problems mean that nothing was taken and that the
// sender may try again.
type Sink interface {
	Accept(ctx context.Context, b *span.Batch) error
}

// Reason says why spans or a body were refused. The list is closed: each has a counter, and doctor knows each.
type Reason string

// The reasons.
const (
	BadID           Reason = "bad_id"           // trace or span id absent, zero, too long or no hex
	Malformed       Reason = "malformed"        // the body does not decode
	BadSpan         Reason = "bad_span"         // one span of a list is unusable (wrong type, negative duration, unknown kind)
	BadEncoding     Reason = "bad_encoding"     // Content-Encoding unknown or not what the body is
	BadContentType  Reason = "bad_content_type" // media type that no receiver of this port reads
	BodyTooLarge    Reason = "body_too_large"   // over the limit before or after decompression
	TraceTooLarge   Reason = "trace_too_large"  // over --limits span count of one trace
	WrongPath       Reason = "wrong_path"       // no receiver answers there; with --strict-ingest also a prefix before the right path
	WrongProtocol   Reason = "wrong_protocol"   // only with --strict-ingest
	NotAllowed      Reason = "unauthenticated"  // no or wrong credentials
	TooBusy         Reason = "overloaded"       // over the memory budget; the sender may retry
	StoreRefused    Reason = "store_unavailable"
	TimedOut        Reason = "slow_sender" // the body did not arrive in time
	Unsupported     Reason = "unsupported" // metrics or logs sent here
	NotStoredReason Reason = "internal"    // our fault
)

// Reasons lists all reasons, for metrics that start at 0.
func Reasons() []Reason {
	return []Reason{BadID, Malformed, BadSpan, BadEncoding, BadContentType, BodyTooLarge, TraceTooLarge, WrongPath, WrongProtocol,
		NotAllowed, TooBusy, StoreRefused, TimedOut, Unsupported, NotStoredReason}
}

// Misuse is something accepted that the original receivers refuse. It is noted, never an error.
type Misuse string

// The misuses.
const (
	MisusePath        Misuse = "wrong_path"        // a prefix before /api/v2/spans, or another path
	MisuseFormat      Misuse = "mislabelled_body"  // v2 on the v1 path, JSON announced as proto ...
	MisuseHTTPOnGRPC  Misuse = "http_on_grpc_port" // OTLP/HTTP on 4317
	MisuseGRPCOnHTTP1 Misuse = "grpc_over_http1"   // gRPC frames over HTTP/1.1 on 4317: a misnamed port
	MisuseGRPCOnHTTP  Misuse = "grpc_on_http_port" // native gRPC on 4318
	MisuseUpperCaseID Misuse = "upper_case_id"     // ids in capitals
)

// Intake is what a receiver needs besides its decoder. All fields are set before use; methods are safe for concurrent use.
type Intake struct {
	Sink    Sink
	Ledger  *Ledger
	Budget  *Budget          // bytes of bodies and batches in flight
	MaxBody int64            // largest body in bytes, before and after decompression; 64 MiB by default
	Trusted []netip.Prefix   // proxies whose X-Forwarded-For is believed
	Strict  bool             // --strict-ingest
	Now     func() time.Time // the clock

	batches sync.Pool
	bodies  sync.Pool
}

// DefaultMaxBody is the limit OTLP's specification recommends, counted after decompression.
const DefaultMaxBody = 64 << 20

// pooledArena is the arena beyond which a batch is not kept for reuse: one giant request must not stay in memory for good.
const pooledArena = 4 << 20

// pooledKeys likewise: the table over the keys is cleared for each request, so one with 100,000 keys would cost all later ones.
const pooledKeys = 4096

// Batch lends an empty batch; give it back with Release.
func (in *Intake) Batch() *span.Batch {
	if b, ok := in.batches.Get().(*span.Batch); ok {
		return b
	}
	return new(span.Batch)
}

// Release takes a batch back for reuse.
func (in *Intake) Release(b *span.Batch) {
	if cap(b.Arena) > pooledArena || cap(b.Attrs) > pooledArena/16 || len(b.Keys) > pooledKeys {
		return
	}
	b.Reset()
	in.batches.Put(b)
}

// Accept stamps a decoded batch with its receipt, hands it to the sink and writes the receipt. bytes is the size of the
// body it came from. An empty batch is accepted without troubling the sink.
//
// On error nothing was stored; the error is a *problem.Problem and has been counted. Rows in b.Refused afterwards (put there
// by the decoder or by a step) have been counted as well: OTLP reports their number as partial success.
func (in *Intake) Accept(ctx context.Context, b *span.Batch, p span.Protocol, sender netip.Addr, bytes int) error {
	now := in.Now().UnixNano()
	b.Tenant, b.Received, b.Protocol, b.Sender = "default", now, p, sender
	for i, start := range b.Start {
		if span.ImpossibleStart(start, now) {
			b.Time[i] = now
			b.Mark[i] |= span.MarkTimeReplaced
		} else {
			b.Time[i] = int64(start)
		}
	}
	if n := b.Len(); n > 0 {
		if err := in.Sink.Accept(ctx, b); err != nil {
			pr := problem.Of(err)
			in.Ledger.Refused(Rejection{Protocol: p, Sender: sender, Reason: reasonOf(pr), Spans: n, Bytes: bytes, Message: pr.Error()})
			return pr
		}
	}
	for _, r := range b.Refused {
		in.Ledger.Refused(Rejection{Protocol: p, Sender: sender, Reason: Reason(r.Reason), Spans: r.Spans, Bytes: bytes,
			Message: "some spans of a request were refused"})
	}
	in.Ledger.Accepted(b)
	return nil
}

// Refuse counts a body that never became a batch. head is its beginning (16 bytes of it are kept), spans how many were in
// it if known. It returns the problem for the receiver to answer with.
func (in *Intake) Refuse(p span.Protocol, sender netip.Addr, reason Reason, bytes int, head []byte, pr *problem.Problem) *problem.Problem {
	in.Ledger.Refused(Rejection{Protocol: p, Sender: sender, Reason: reason, Bytes: bytes, Head: head, Message: pr.Error()})
	return pr
}

func reasonOf(p *problem.Problem) Reason {
	switch p.Kind {
	case problem.Overloaded:
		return TooBusy
	case problem.Unavailable:
		return StoreRefused
	case problem.TooLarge:
		return BodyTooLarge
	case problem.Invalid:
		return BadSpan
	default:
		return NotStoredReason
	}
}

// CountRefused adds rows to b.Refused; decoders call it for each span they leave out.
func CountRefused(b *span.Batch, r Reason, n int) {
	for i := range b.Refused {
		if b.Refused[i].Reason == string(r) {
			b.Refused[i].Spans += n
			return
		}
	}
	b.Refused = append(b.Refused, span.Refusal{Reason: string(r), Spans: n})
}

// RefusedSpans is the number of rows in b.Refused.
func RefusedSpans(b *span.Batch) (n int) {
	for _, r := range b.Refused {
		n += r.Spans
	}
	return n
}
