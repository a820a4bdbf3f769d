package zipkin

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// The paths that senders post to.
const (
	pathV1 = "/api/v1/spans"
	pathV2 = "/api/v2/spans"
)

// Options are the receiver's own settings.
type Options struct {
	// AllowedOrigins are the web origins that may post spans; nil allows all. Nothing but posting is ever allowed to
	// another origin.
	AllowedOrigins []string
}

// Handler answers Zipkin reporters: POST of spans under any prefix (noted as a wrong path; refused when strict), the
// preflight of browsers, the bare GET that some senders probe with, and /health.
//
// Spans that were taken are answered 202 with an empty body: Envoy counts every other answer as dropped.
func Handler(in *receive.Intake, o Options) http.Handler {
	return &handler{in: in, origins: o.AllowedOrigins}
}

type handler struct {
	in      *receive.Intake
	origins []string
	workers workerPool
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["Date"] = nil // no reporter reads it
	version, odd := spansPath(r.URL.Path)
	if version == FormatUnknown {
		h.other(w, r)
		return
	}
	if odd && h.in.Strict {
		h.refuse(w, r, http.StatusNotFound, receive.WrongPath, 0, nil, wrongPath(r.URL.Path))
		return
	}
	h.cors(w, r)
	switch r.Method {
	case http.MethodPost:
		h.post(w, r, version, odd)
	case http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet, http.MethodHead:
		if version == JSONv2 && !r.URL.Query().Has("serviceName") {
			writeJSON(w, "[]")
			return
		}
		fallthrough
	default:
		w.Header().Set("Allow", "POST, OPTIONS")
		writeText(w, http.StatusMethodNotAllowed, "method "+r.Method+" is not for this path (POST spans to it)")
	}
}

// spansPath tells which version a path is for, and whether anything stands before or after it.
func spansPath(path string) (version Format, odd bool) {
	switch path {
	case pathV2:
		return JSONv2, false
	case pathV1:
		return JSONv1, false
	}
	path = strings.TrimRight(path, "/")
	switch {
	case strings.HasSuffix(path, pathV2):
		return JSONv2, true
	case strings.HasSuffix(path, pathV1):
		return JSONv1, true
	}
	return FormatUnknown, false
}

func wrongPath(path string) *problem.Problem {
	return &problem.Problem{Kind: problem.NotFound, Field: "path", Message: strconv.Quote(path[:min(len(path), 200)]) + " receives nothing",
		Hint: "POST Zipkin spans to " + pathV2 + " or " + pathV1}
}

// other answers paths that are not for spans.
func (h *handler) other(w http.ResponseWriter, r *http.Request) {
	isGet := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case isGet && (r.URL.Path == "/health" || r.URL.Path == "/actuator/health"):
		writeJSON(w, `{"status":"UP"}`)
	case r.Method == http.MethodPost:
		h.refuse(w, r, http.StatusNotFound, receive.WrongPath, max(0, int(r.ContentLength)), nil, wrongPath(r.URL.Path))
	default:
		writeText(w, http.StatusNotFound, wrongPath(r.URL.Path).Error())
	}
}

// post takes one body of spans.
func (h *handler) post(w http.ResponseWriter, r *http.Request, version Format, odd bool) {
	body, reason, pr := h.in.ReadBody(r)
	if pr != nil {
		h.refuse(w, r, pr.Kind.HTTPStatus(), reason, 0, nil, pr)
		return
	}
	defer body.Done()
	contentType := r.Header.Get("Content-Type")
	announced, isKnown := announce(version, contentType)
	wk := h.workers.get(h.in, body.Bytes)
	defer h.workers.put(wk)
	b := h.in.Batch()
	defer h.in.Release(b)

	report, err := wk.Decode(b, body.Bytes, announced)
	if err != nil {
		pr := wk.problem(err)
		status := pr.Kind.HTTPStatus()
		if reason := unfit(report, pr, isKnown); reason != "" {
			if reason == receive.BadContentType {
				status = http.StatusUnsupportedMediaType
				pr = &problem.Problem{Kind: problem.Invalid, Field: "Content-Type", Message: strconv.Quote(contentType) + " is nothing that this port reads",
					Hint: "send application/json, application/x-protobuf or application/x-thrift"}
			}
			h.refuse(w, r, status, reason, body.Wire, wk.head(), pr)
			return
		}
		countRefused(h.in, b, h.in.Sender(r), body.Wire, wk.head(), pr)
		writeProblem(w, status, pr)
		return
	}
	sender := h.in.Sender(r)
	if err := h.in.Accept(r.Context(), b, span.ProtocolZipkin, sender, body.Wire); err != nil {
		pr := problem.Of(err)
		writeProblem(w, pr.Kind.HTTPStatus(), pr)
		return
	}
	if odd {
		h.in.Ledger.Misused(span.ProtocolZipkin, sender, receive.MisusePath, r.URL.Path)
	}
	if report.Format != announced {
		h.in.Ledger.Misused(span.ProtocolZipkin, sender, receive.MisuseFormat, report.Format.String()+" sent as "+announced.String())
	}
	if report.UpperCaseID {
		h.in.Ledger.Misused(span.ProtocolZipkin, sender, receive.MisuseUpperCaseID, "")
	}
	w.WriteHeader(http.StatusAccepted)
}

// unfit is the reason of a body in which nothing could be told apart; empty if spans were seen.
func unfit(report Report, pr *problem.Problem, isKnown bool) receive.Reason {
	switch {
	case pr.Kind == problem.Overloaded:
		return receive.TooBusy
	case pr.Kind == problem.TooLarge:
		return receive.BodyTooLarge
	case report.Format != FormatUnknown:
		return ""
	case !isKnown:
		return receive.BadContentType
	}
	return receive.Malformed
}

// announce is the format that path and Content-Type promise. Without a type, or with one that says nothing about spans, it
// is JSON; isKnown is false for the latter.
func announce(version Format, contentType string) (f Format, isKnown bool) {
	media, _, _ := strings.Cut(contentType, ";")
	switch media = strings.TrimSpace(media); {
	case media == "", strings.EqualFold(media, "application/json"), strings.EqualFold(media, "text/json"):
		return version, true
	case strings.EqualFold(media, "application/x-protobuf"), strings.EqualFold(media, "application/protobuf"):
		return Proto3, true
	case strings.EqualFold(media, "application/x-thrift"), strings.EqualFold(media, "application/vnd.apache.thrift.binary"):
		return Thrift, true
	}
	return version, false
}

// cors answers browsers: any origin may post spans, without credentials.
func (h *handler) cors(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" || r.Method != http.MethodPost && r.Method != http.MethodOptions {
		return
	}
	switch {
	case h.origins == nil:
		w.Header().Set("Access-Control-Allow-Origin", "*")
	case slices.Contains(h.origins, origin):
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Vary", "Origin")
	default:
		return
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", http.MethodPost)
		w.Header().Set("Access-Control-Allow-Headers", "content-type")
		w.Header().Set("Access-Control-Max-Age", "7200")
	}
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, status int, reason receive.Reason, size int, head []byte, pr *problem.Problem) {
	h.in.Refuse(span.ProtocolZipkin, h.in.Sender(r), reason, size, head, pr)
	writeProblem(w, status, pr)
}

func writeProblem(w http.ResponseWriter, status int, pr *problem.Problem) {
	if pr.Kind.Retryable() {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((pr.Retry()+time.Second-1)/time.Second), 10))
	}
	text := pr.Error()
	if pr.Kind == problem.Internal {
		text = pr.Message // the cause is for our log
	}
	writeText(w, status, text)
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append([]byte(text), '\n'))
}

func writeJSON(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(text))
}
