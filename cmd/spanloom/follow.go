package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Followed is one request on its way: the traces that hold it, hop by hop, and where the way breaks.
type Followed struct {
	RequestID string          `json:"requestId,omitempty"`
	Traces    []FollowedTrace `json:"traces"`
	Breaks    []Break         `json:"breaks"`
}

// FollowedTrace is what arrived of one trace.
type FollowedTrace struct {
	TraceID         string        `json:"traceId"`
	Spans           int           `json:"spans"`
	Errors          int           `json:"errors"`
	MaybeIncomplete bool          `json:"maybeIncomplete"`
	Hops            []FollowedHop `json:"hops"`
	Start           string        `json:"start"` // ns since the epoch
}

// FollowedHop is one call, and whose spans of it arrived.
type FollowedHop struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	What     string   `json:"what,omitempty"` // method, path and code
	Seen     []string `json:"seen"`           // caller, caller_proxy, callee_proxy, callee
	Missing  []string `json:"missing"`        // caller or callee: expected, and not here
	Flags    []string `json:"flags,omitempty"`
	Duration int64    `json:"duration"`
}

// Break is a place where the way of a request breaks.
type Break struct {
	Kind     string `json:"kind"` // nothing, missing_parent, missing_caller, missing_callee, split, context_lost, not_seen
	Workload string `json:"workload,omitempty"`
	TraceID  string `json:"traceId,omitempty"`
	Message  string `json:"message"`
}

var (
	requestIDForm = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	traceIDForm   = regexp.MustCompile(`^([0-9a-fA-F]{16}|[0-9a-fA-F]{32})$`)
)

// isRequestID tells a request id (a UUID, as Envoy makes them) or a trace id, traceparent or b3 from the name of a workload.
func isRequestID(s string) bool { return requestIDForm.MatchString(s) }
func isTraceID(s string) bool   { return traceIDForm.MatchString(traceID(s)) }

// follower asks a running Spanloom.
type follower struct {
	*server
	own string // span id of the client that made the request itself: a parent that nobody reports
}

func (f *follower) ask(ctx context.Context, path string, into any) error {
	body, _, err := f.get(ctx, "/api/spanloom/v1"+path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return nil
}

// tracesOf finds the traces of a request id, the oldest first.
func (f *follower) tracesOf(ctx context.Context, requestID string) ([]string, error) {
	var page struct {
		Items []struct {
			TraceID string `json:"traceId"`
		} `json:"items"`
	}
	q := url.Values{"filter": {".guid:x-request-id=" + requestID}, "start": {"7d"}, "limit": {"20"}}
	if err := f.ask(ctx, "/search?"+q.Encode(), &page); err != nil {
		return nil, err
	}
	var out []string
	for _, t := range page.Items {
		out = append(out, t.TraceID)
	}
	slices.Reverse(out)
	return out, nil
}

// follow reads traces and finds where the way breaks. Unknown traces are left out.
func (f *follower) follow(ctx context.Context, ids []string) (*Followed, error) {
	out := &Followed{Traces: []FollowedTrace{}, Breaks: []Break{}}
	for _, id := range ids {
		t, breaks, err := f.trace(ctx, id)
		if _, missing := err.(errNotFound); missing {
			continue
		}
		if err != nil {
			return nil, err
		}
		out.Traces = append(out.Traces, *t)
		out.Breaks = append(out.Breaks, breaks...)
	}
	if len(out.Traces) == 0 {
		out.Breaks = append(out.Breaks, Break{Kind: "nothing", Message: "no span of it arrived: it was not sampled, its spans are lost on the way, or they are still on it"})
		return out, nil
	}
	if len(out.Traces) > 1 {
		out.Breaks = append(out.Breaks, Break{Kind: "split", Message: fmt.Sprintf("one request, %d traces: somebody on the way begins new ones", len(out.Traces))})
	}
	return out, f.lost(ctx, out)
}

func (f *follower) trace(ctx context.Context, id string) (*FollowedTrace, []Break, error) {
	var s struct {
		skeleton
		Start string `json:"start"`
		Spans struct {
			ID     []string `json:"id"`
			Parent []int    `json:"parent"`
			Flags  []int    `json:"flags"`
		} `json:"spans"`
	}
	if err := f.ask(ctx, "/traces/"+url.PathEscape(id), &s); err != nil {
		return nil, nil, err
	}
	var h struct {
		Items []struct {
			From, To           hopEnd
			Method, Path, Code string
			Duration           int64
			Rows               []struct{ Stage string }
			Missing            []string
			Flags              []struct{ Flag, Meaning string }
		}
	}
	if err := f.ask(ctx, "/hops?traceId="+url.QueryEscape(id), &h); err != nil {
		return nil, nil, err
	}
	t := &FollowedTrace{TraceID: s.TraceID, Spans: s.SpanCount, Errors: s.ErrorCount, MaybeIncomplete: s.MaybeIncomplete, Start: s.Start, Hops: []FollowedHop{}}
	var breaks []Break
	broke := func(kind, workload, format string, args ...any) {
		breaks = append(breaks, Break{Kind: kind, Workload: workload, TraceID: s.TraceID, Message: fmt.Sprintf(format, args...)})
	}
	for i := range s.Spans.Parent {
		const placeholder = 4
		if s.Spans.Flags[i]&placeholder != 0 && s.Spans.ID[i] != f.own {
			below := 0
			for _, q := range s.Spans.Parent {
				if q == i {
					below++
				}
			}
			broke("missing_parent", "", "span %s never arrived, and %s below it did", s.Spans.ID[i], count(below, "span"))
		}
	}
	for _, x := range h.Items {
		hop := FollowedHop{From: x.From.String(), To: x.To.String(), What: strings.TrimSpace(x.Method + " " + x.Path + " " + x.Code), Duration: x.Duration, Seen: []string{}, Missing: append([]string{}, x.Missing...)}
		for _, r := range x.Rows {
			if !slices.Contains(hop.Seen, r.Stage) {
				hop.Seen = append(hop.Seen, r.Stage)
			}
		}
		for _, g := range x.Flags {
			hop.Flags = append(hop.Flags, strings.TrimSpace(g.Flag+" "+g.Meaning))
		}
		for _, m := range x.Missing {
			if m == "callee" {
				broke("missing_callee", hop.To, "%s did not report: only the caller %s shows this call", hop.To, hop.From)
			} else {
				broke("missing_caller", hop.From, "%s did not report: only the callee %s shows this call", hop.From, hop.To)
			}
		}
		t.Hops = append(t.Hops, hop)
	}
	return t, breaks, nil
}

// hopEnd is one side of a call.
type hopEnd struct{ Namespace, Name string }

func (e hopEnd) String() string {
	if e.Namespace == "" {
		return e.Name
	}
	return e.Namespace + "/" + e.Name
}

// lost looks whether the spans of that time prove that the request goes on in another trace.
func (f *follower) lost(ctx context.Context, out *Followed) error {
	start, err := strconv.ParseInt(out.Traces[0].Start, 10, 64)
	if err != nil {
		return nil // a trace without a time has no neighbours
	}
	around := int64(2 * time.Minute)
	var p struct {
		Items []struct {
			Namespace, Group string
			Findings         []struct {
				Message  string
				Examples []struct{ TraceID, OtherTraceID, Proof string }
			}
		}
	}
	if err := f.ask(ctx, fmt.Sprintf("/propagation?start=%d&end=%d", start-around, start+around), &p); err != nil {
		return err
	}
	for _, s := range p.Items {
		for _, x := range s.Findings {
			for _, e := range x.Examples {
				if !slices.ContainsFunc(out.Traces, func(t FollowedTrace) bool { return t.TraceID == e.TraceID || t.TraceID == e.OtherTraceID }) {
					continue
				}
				w := hopEnd{s.Namespace, s.Group}.String()
				out.Breaks = append(out.Breaks, Break{Kind: "context_lost", Workload: w, TraceID: e.TraceID,
					Message: fmt.Sprintf("%s loses the context: the request goes on in trace %s (%s). %s", w, e.OtherTraceID, e.Proof, x.Message)})
			}
		}
	}
	return nil
}

func printFollowed(out io.Writer, f *Followed) {
	for _, t := range f.Traces {
		more := ""
		if t.MaybeIncomplete {
			more = ", maybe incomplete: spans arrived within the last 30 s"
		}
		fmt.Fprintf(out, "trace %s: %s, %s%s\n", t.TraceID, count(t.Spans, "span"), count(t.Errors, "error"), more)
		for i, h := range t.Hops {
			mark := "+"
			if len(h.Missing) > 0 {
				mark = "!"
			}
			from := h.From
			if from == "" {
				from = "(caller)"
			}
			fmt.Fprintf(out, "  %s %2d %s -> %s  %s  %s  seen by %s", mark, i+1, printable(from), printable(h.To), printable(h.What), duration(h.Duration), strings.Join(h.Seen, ", "))
			if len(h.Flags) > 0 {
				fmt.Fprintf(out, "  [%s]", printable(strings.Join(h.Flags, "; ")))
			}
			fmt.Fprintln(out)
		}
	}
	if len(f.Breaks) == 0 {
		fmt.Fprintln(out, "the way is whole: every hop that can be expected reported")
	}
	for _, b := range f.Breaks {
		fmt.Fprintf(out, "! %s: %s\n", b.Kind, printable(b.Message))
	}
}

// whyRequest says which parts of a request's way arrived.
func whyRequest(ctx context.Context, out io.Writer, flags *serverFlags, id, output string) error {
	s, err := flags.find()
	if err != nil {
		return err
	}
	f := &follower{server: s}
	ids := []string{traceID(id)}
	if isRequestID(id) {
		if ids, err = f.tracesOf(ctx, id); err != nil {
			return err
		}
	}
	followed, err := f.follow(ctx, ids)
	if err != nil {
		return err
	}
	if isRequestID(id) {
		followed.RequestID = id
	}
	switch output {
	case "json":
		err = writeJSON(out, followed)
	case "text":
		printFollowed(out, followed)
	default:
		return badOutput(output, "text", "json")
	}
	if err == nil && len(followed.Breaks) > 0 {
		err = errFindings
	}
	return err
}
