package app

import (
	"context"
	"time"

	"github.com/spanloom/spanloom/query/uiapi"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// receiverPorts says behind which port a protocol comes in.
var receiverPorts = map[span.Protocol]string{
	span.ProtocolZipkin: "zipkin", span.ProtocolOTLPGRPC: "otlpGrpc", span.ProtocolOTLPHTTP: "otlpHttp",
}

// status is the own API's /status, answered from memory.
func (s *service) status(context.Context) uiapi.Status {
	now := s.now()
	st := uiapi.Status{
		Version: s.build.Version, Commit: s.build.Commit, Uptime: now.Sub(s.started), Now: uiapi.At(now),
		Store: uiapi.StoreStatusOf(s.engine.Stats()), Forward: forwardStatus(s.forward),
	}
	addresses := make(map[string]string)
	for _, p := range s.ports {
		addresses[p.key] = p.addr
		st.Listeners = append(st.Listeners, uiapi.Listener{Name: p.name, Address: p.addr, TLS: p.tls, Authenticated: !p.open})
	}
	for _, p := range protocols {
		t := s.ledger.Totals(p)
		st.Receivers = append(st.Receivers, uiapi.Receiver{
			Protocol: p.String(), Address: addresses[receiverPorts[p]], SpansPerSecond: s.ledger.SpansPerSecond(p), Spans: t.Spans,
			LastTime: uiapi.Instant(t.Last), Refused: texts(t.Refused), Misuses: texts(t.Misuses),
		})
	}
	return st
}

// receipts gives the ledger to the own API.
type receipts struct{ s *service }

func (r receipts) Receipts(ctx context.Context, from, to time.Time) ([]uiapi.Receipt, error) {
	rows, err := r.s.ledger.Receipts(ctx, r.s.documents, from, to)
	if err != nil {
		return nil, err
	}
	out := make([]uiapi.Receipt, len(rows))
	for i, row := range rows {
		out[i] = uiapi.Receipt{Workload: row.Workload, Sender: row.Sender, Protocol: row.Protocol, Spans: row.Spans, Requests: row.Requests,
			LastTime: uiapi.Instant(row.Last), Refused: texts(row.Refused), Misuses: texts(row.Misuses)}
	}
	return out, nil
}

func (r receipts) Rejects() []uiapi.Reject {
	var out []uiapi.Reject
	for _, x := range r.s.ledger.Rejects() {
		reject := uiapi.Reject{Time: uiapi.At(x.Time), Protocol: x.Protocol.String(), Reason: string(x.Reason), Message: x.Message, Bytes: int64(x.Bytes), Head: x.HeadHex()}
		if x.Sender.IsValid() {
			reject.Sender = x.Sender.String()
		}
		out = append(out, reject)
	}
	return out
}

// texts turns a closed list's keys into words.
func texts[K receive.Reason | receive.Misuse](m map[K]int64) map[string]int64 {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]int64, len(m))
	for k, n := range m {
		out[string(k)] = n
	}
	return out
}
