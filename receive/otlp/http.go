package otlp

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// tracesPath is where OTLP/HTTP posts spans.
const tracesPath = "/v1/traces"

// Options are the HTTP receiver's own settings.
type Options struct {
	// AllowedOrigins are web origins that may post spans: exact ones, or with * for any text ("https://*.example.com").
	// Nil allows none, as the OpenTelemetry Collector does.
	AllowedOrigins []string
	// AllowedHeaders are request headers that browsers may send besides the usual ones.
	AllowedHeaders []string
	// AllowCredentials lets browsers send cookies and certificates along (sendBeacon always wants to).
	AllowCredentials bool
	// Auth is asked with the Authorization header before a body is read; its error is a *problem.Problem. Nil lets all in.
	// Preflights are never asked.
	Auth func(ctx context.Context, authorization string) error
}

// Handler answers OTLP over HTTP/1.1 and HTTP/2: protobuf and JSON on /v1/traces, and gRPC whatever it came over, which is
// noted. A prefix before the path, a slash behind it and a body of another form than announced are taken with a note, and
// refused where the Intake is strict.
func Handler(in *receive.Intake, o Options) http.Handler {
	return &handler{receiver: receiver{in: in}, cors: newCORS(o), auth: o.Auth, grpcMisuse: receive.MisuseGRPCOnHTTP}
}

// GRPCPortHandler answers what arrives on the gRPC port over HTTP/1.x: OTLP/HTTP, and gRPC frames, which Envoy sends so when
// the port's name does not say that it is gRPC. Both are noted; where the Intake is strict both are refused.
func GRPCPortHandler(in *receive.Intake, o Options) http.Handler {
	return &handler{receiver: receiver{in: in}, cors: newCORS(o), auth: o.Auth, grpcMisuse: receive.MisuseGRPCOnHTTP1, onGRPCPort: true}
}

type handler struct {
	receiver
	cors       *cors
	auth       func(ctx context.Context, authorization string) error
	grpcMisuse receive.Misuse // noted with gRPC requests
	onGRPCPort bool
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["Date"] = nil // no exporter reads it
	contentType := r.Header.Get("Content-Type")
	if isGRPC(contentType) {
		h.serveFrames(w, r)
		return
	}
	if h.cors != nil {
		if origin := r.Header.Get("Origin"); origin != "" {
			if r.Method == http.MethodOptions {
				h.cors.preflight(w, origin)
				return
			}
			h.cors.allow(w, origin)
		}
	}
	f, known := formOf(contentType)
	path, odd := tracesOf(r.URL.Path)
	switch {
	case !path:
		h.elsewhere(w, r, f)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		writeText(w, http.StatusMethodNotAllowed, "405 method not allowed, supported: [POST]")
	case h.in.Strict && h.onGRPCPort:
		h.refuse(w, r, f, http.StatusBadRequest, receive.WrongProtocol, problem.New(problem.Invalid, "this port speaks gRPC", "send OTLP over HTTP to port 4318"))
	case h.in.Strict && odd:
		h.refuse(w, r, f, http.StatusNotFound, receive.WrongPath, wrongPath(r.URL.Path))
	default:
		h.post(w, r, f, known, odd)
	}
}

// isGRPC: application/grpc and its variants with a suffix.
func isGRPC(contentType string) bool {
	const grpc = "application/grpc"
	return strings.HasPrefix(contentType, grpc) && (len(contentType) == len(grpc) || contentType[len(grpc)] == '+' || contentType[len(grpc)] == ';')
}

// formOf reads a Content-Type. Not known are other types; of them plain text and none at all may still hold JSON.
func formOf(contentType string) (f form, known bool) {
	switch contentType {
	case protobufType:
		return protobufForm, true
	case jsonType:
		return jsonForm, true
	}
	media, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case protobufType:
		return protobufForm, true
	case jsonType:
		return jsonForm, true
	}
	return jsonForm, false
}

// tracesOf tells whether a path is for spans, and whether anything stands before or behind it.
func tracesOf(path string) (traces, odd bool) {
	if path == tracesPath {
		return true, false
	}
	return strings.HasSuffix(strings.TrimRight(path, "/"), tracesPath), true
}

func wrongPath(path string) *problem.Problem {
	return &problem.Problem{Kind: problem.NotFound, Field: "path", Message: strconv.Quote(path[:min(len(path), 200)]) + " receives nothing",
		Hint: "POST OTLP spans to " + tracesPath}
}

// elsewhere answers paths that are not for spans. What was posted there is counted: somebody waits for it.
func (h *handler) elsewhere(w http.ResponseWriter, r *http.Request, f form) {
	pr := wrongPath(r.URL.Path)
	reason := receive.WrongPath
	for _, signal := range []string{"metrics", "logs", "profiles"} {
		if strings.HasSuffix(strings.TrimRight(r.URL.Path, "/"), "/"+signal) || strings.HasSuffix(r.URL.Path, "development/"+signal) {
			pr = &problem.Problem{Kind: problem.NotFound, Field: "path", Message: signal + " are not stored here", Hint: "this is a tracing system: send them elsewhere, or turn their exporter off"}
			reason = receive.Unsupported
		}
	}
	if r.Method != http.MethodPost {
		writeText(w, http.StatusNotFound, pr.Error())
		return
	}
	h.refuse(w, r, f, http.StatusNotFound, reason, pr)
}

// refuse books and answers a request whose body was not read.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, f form, httpStatus int, reason receive.Reason, pr *problem.Problem) {
	h.in.Refuse(span.ProtocolOTLPHTTP, h.in.Sender(r), reason, int(max(0, r.ContentLength)), nil, pr)
	writeProblem(w, f, httpStatus, pr)
}

// post takes one request of spans.
func (h *handler) post(w http.ResponseWriter, r *http.Request, f form, known, odd bool) {
	if h.auth != nil {
		if err := h.auth(r.Context(), r.Header.Get("Authorization")); err != nil {
			pr := problem.Of(err)
			h.refuse(w, r, f, pr.Kind.HTTPStatus(), receive.NotAllowed, pr)
			return
		}
	}
	contentType := r.Header.Get("Content-Type")
	if !known && (h.in.Strict || !mayHoldJSON(contentType)) {
		h.unsupportedType(w, r, contentType, 0, nil)
		return
	}
	body, reason, pr := h.in.ReadBody(r)
	if pr != nil {
		h.refuse(w, r, f, pr.Kind.HTTPStatus(), reason, pr)
		return
	}
	if !known && firstOf(body.Bytes) != '{' {
		h.unsupportedType(w, r, contentType, body.Wire, body.Bytes)
		body.Done()
		return
	}
	sender := h.in.Sender(r)
	t := h.begin()
	defer t.done()
	mislabelled, err := t.decode(body.Bytes, f)
	t.size = body.Wire
	body.Done()
	if err == nil && mislabelled && h.in.Strict {
		err = &problem.Problem{Kind: problem.Invalid, Field: "Content-Type", Message: strconv.Quote(contentType) + " is not what the body is",
			Hint: "announce " + protobufType + " or " + jsonType + " as the body is"}
	}
	if err != nil {
		pr := t.refuse(span.ProtocolOTLPHTTP, sender, err)
		writeProblem(w, f, pr.Kind.HTTPStatus(), pr)
		return
	}
	h.note(r, sender, odd, mislabelled || !known)
	rejected, why, pr := t.accept(r.Context(), span.ProtocolOTLPHTTP, sender)
	if pr != nil {
		writeProblem(w, f, pr.Kind.HTTPStatus(), pr)
		return
	}
	writeSuccess(w, f, rejected, why)
}

// mayHoldJSON are the types under which browsers' beacons and simple requests send JSON.
func mayHoldJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return media == "" || strings.EqualFold(strings.TrimSpace(media), "text/plain")
}

func (h *handler) unsupportedType(w http.ResponseWriter, r *http.Request, contentType string, size int, head []byte) {
	pr := &problem.Problem{Kind: problem.Invalid, Field: "Content-Type", Message: strconv.Quote(contentType[:min(len(contentType), 100)]) + " is not supported",
		Hint: "send " + protobufType + " or " + jsonType}
	h.in.Refuse(span.ProtocolOTLPHTTP, h.in.Sender(r), receive.BadContentType, size, head, pr)
	writeText(w, http.StatusUnsupportedMediaType, "415 unsupported media type, supported: [application/json, application/x-protobuf]")
}

// note writes down what was taken although the original receivers refuse it.
func (h *handler) note(r *http.Request, sender netip.Addr, odd, mislabelled bool) {
	if h.onGRPCPort {
		h.in.Ledger.Misused(span.ProtocolOTLPHTTP, sender, receive.MisuseHTTPOnGRPC, "OTLP over HTTP on the gRPC port: its port is 4318")
	}
	if odd {
		h.in.Ledger.Misused(span.ProtocolOTLPHTTP, sender, receive.MisusePath, r.URL.Path[:min(len(r.URL.Path), 200)])
	}
	if mislabelled {
		h.in.Ledger.Misused(span.ProtocolOTLPHTTP, sender, receive.MisuseFormat, "the body is not "+strconv.Quote(r.Header.Get("Content-Type")))
	}
}
