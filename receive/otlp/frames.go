package otlp

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// exportPath is the method that stores spans.
const exportPath = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// frameHead is the prefix of a gRPC message: a flag (1: compressed) and the length, 32-bit big-endian.
const frameHead = 5

// serveFrames answers gRPC that came over net/http: over HTTP/1.x on the gRPC port, or on the HTTP port. The status stands in
// the trailers as gRPC wants it, and over HTTP/1.x in the headers too, because Envoy throws trailers of HTTP/1.x away.
func (h *handler) serveFrames(w http.ResponseWriter, r *http.Request) {
	sender := h.in.Sender(r)
	if r.URL.Path != exportPath {
		message := "unknown method " + strconv.Quote(r.URL.Path[:min(len(r.URL.Path), 200)])
		if strings.Contains(r.URL.Path, ".metrics.") || strings.Contains(r.URL.Path, ".logs.") {
			message = notStored
			h.in.Refuse(span.ProtocolOTLPGRPC, sender, receive.Unsupported, 0, nil, problem.New(problem.Unsupported, message, ""))
		}
		writeGRPC(w, r, unimplemented(message), nil)
		return
	}
	if h.in.Strict {
		pr := problem.New(problem.Unsupported, "gRPC over "+r.Proto+" on this port", "send gRPC over HTTP/2 to port 4317, and name that port grpc-otlp")
		writeGRPC(w, r, statusOfProblem(h.in.Refuse(span.ProtocolOTLPGRPC, sender, receive.WrongProtocol, int(max(0, r.ContentLength)), nil, pr)), nil)
		return
	}
	if h.auth != nil {
		if err := h.auth(r.Context(), r.Header.Get("Authorization")); err != nil {
			pr := h.in.Refuse(span.ProtocolOTLPGRPC, sender, receive.NotAllowed, int(max(0, r.ContentLength)), nil, problem.Of(err))
			writeGRPC(w, r, statusOfProblem(pr), nil)
			return
		}
	}
	body, reason, pr := h.in.ReadEncoded(r.Body, "", r.ContentLength)
	if pr != nil {
		h.in.Refuse(span.ProtocolOTLPGRPC, sender, reason, int(max(0, r.ContentLength)), nil, pr)
		writeGRPC(w, r, statusOfProblem(pr), nil)
		return
	}
	t := h.begin()
	defer t.done()
	reason, err := t.decodeFrames(body.Bytes, r.Header.Get("Grpc-Encoding"))
	t.nHead, t.size = copy(t.head[:], body.Bytes), body.Wire
	body.Done()
	if err != nil {
		pr := problem.Of(err)
		h.in.Refuse(span.ProtocolOTLPGRPC, sender, reason, t.size, t.head[:t.nHead], pr)
		writeGRPC(w, r, statusOfProblem(pr), nil)
		return
	}
	h.in.Ledger.Misused(span.ProtocolOTLPGRPC, sender, h.grpcMisuse, "gRPC over "+r.Proto)
	rejected, why, pr := t.accept(r.Context(), span.ProtocolOTLPGRPC, sender)
	if pr != nil {
		writeGRPC(w, r, statusOfProblem(pr), nil)
		return
	}
	writeGRPC(w, r, nil, appendResponse(nil, rejected, why))
}

// decodeFrames reads the messages of a body; Export has one.
func (t *task) decodeFrames(p []byte, encoding string) (receive.Reason, error) {
	for at := 0; ; {
		payload, compressed, next, pr := frameAt(p, at)
		if pr != nil {
			return receive.Malformed, pr
		}
		if reason, err := t.decodeFrame(payload, compressed, encoding); err != nil {
			return reason, err
		}
		if at = next; at == len(p) {
			return "", nil
		}
	}
}

// frameAt reads the frame at an offset and says where the next one begins.
func frameAt(p []byte, at int) (payload []byte, compressed bool, next int, pr *problem.Problem) {
	if len(p)-at < frameHead {
		return nil, false, 0, problem.New(problem.Invalid, fmt.Sprintf("byte %d: a gRPC frame's head is %d bytes, %d are left", at, frameHead, len(p)-at), "send whole frames")
	}
	if p[at] > 1 {
		return nil, false, 0, problem.New(problem.Invalid, fmt.Sprintf("byte %d: a gRPC frame's flag is %d, must be 0 or 1", at, p[at]), "send gRPC frames, or announce what the body is")
	}
	n := binary.BigEndian.Uint32(p[at+1:])
	begin := at + frameHead
	if uint64(n) > uint64(len(p)-begin) {
		return nil, false, 0, problem.New(problem.Invalid, fmt.Sprintf("byte %d: a gRPC frame of %d bytes where %d are left", at, n, len(p)-begin), "send whole frames")
	}
	next = begin + int(n)
	return p[begin:next], p[at] == 1, next, nil
}

func (t *task) decodeFrame(payload []byte, compressed bool, encoding string) (receive.Reason, error) {
	if compressed {
		if encoding == "" || encoding == "identity" {
			return receive.BadEncoding, problem.New(problem.Invalid, "a frame is marked compressed without a grpc-encoding", "send grpc-encoding")
		}
		body, reason, pr := t.rc.in.ReadEncoded(bytes.NewReader(payload), encoding, int64(len(payload)))
		if pr != nil {
			return reason, pr
		}
		defer body.Done()
		payload = body.Bytes
	}
	if err := t.protobuf(payload); err != nil {
		switch problem.Of(err).Kind {
		case problem.Overloaded:
			return receive.TooBusy, err
		case problem.TooLarge:
			return receive.BodyTooLarge, err
		}
		return receive.Malformed, err
	}
	return "", nil
}

// writeGRPC answers in gRPC's form: message and status OK where s is nil, else the status alone.
func writeGRPC(w http.ResponseWriter, r *http.Request, s *status.Status, message []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	if s != nil {
		setStatus(h, s)
		return
	}
	if r.ProtoMajor < 2 {
		h.Set("Grpc-Status", "0")
	}
	h.Set("Trailer", "Grpc-Status")
	frame := make([]byte, frameHead, frameHead+len(message))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(message)))
	_, _ = w.Write(append(frame, message...))
	if f, ok := w.(http.Flusher); ok {
		f.Flush() // so that HTTP/1.x chunks the body: only then it has trailers
	}
	h.Set("Grpc-Status", "0")
}

// setStatus writes a status into headers of an answer without a body: gRPC's Trailers-Only.
func setStatus(h http.Header, s *status.Status) {
	h.Set("Grpc-Status", strconv.Itoa(int(s.Code())))
	h.Set("Grpc-Message", strings.ReplaceAll(url.PathEscape(s.Message()), "%20", " "))
	if len(s.Proto().GetDetails()) > 0 {
		if p, err := proto.Marshal(s.Proto()); err == nil {
			h.Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(p))
		}
	}
}
