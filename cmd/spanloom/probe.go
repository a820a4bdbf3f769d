package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/internal/problem"
)

// probe is a request that asks to be traced, with ids of its own.
type probe struct {
	method, url string
	headers     []string
	expect      []string // workloads that must report
	within      time.Duration
	settle      time.Duration // nothing new for so long: whatever reports has reported
	every       time.Duration

	trace, span, request string
}

// Probed is what became of a probe.
type Probed struct {
	URL     string `json:"url"`
	Status  string `json:"status"`
	TraceID string `json:"traceId"`
	Span    string `json:"spanId"`
	Waited  string `json:"waited"`
	Followed
}

// probeCommand sends a request and follows it.
func probeCommand() *cobra.Command {
	var flags serverFlags
	var output string
	p := probe{every: 500 * time.Millisecond}
	cmd := &cobra.Command{
		Use:   "probe URL",
		Short: "Send a request that must be traced, and follow it hop by hop through a running Spanloom",
		Long: "Sends one request with ids of its own that asks to be sampled, in W3C's and B3's headers, and waits until its spans are here: it says for each hop\n" +
			"whose spans arrived and which did not. Proxies send spans every few seconds, so this takes about as long. Give the URL of a gateway, or of a\n" +
			"workload from within the mesh. Exit code 1: a hop did not report, or the way breaks.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.url = args[0]
			s, err := flags.find()
			if err != nil {
				return err
			}
			got, err := p.run(cmd.Context(), s, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			switch output {
			case "json":
				err = writeJSON(cmd.OutOrStdout(), got)
			case "text":
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s answered %s; trace %s, request %s\n", p.method, p.url, got.Status, got.TraceID, got.RequestID)
				printFollowed(cmd.OutOrStdout(), &got.Followed)
			default:
				return badOutput(output, "text", "json")
			}
			if err == nil && len(got.Breaks) > 0 {
				err = errFindings
			}
			return err
		},
	}
	flags.add(cmd)
	p.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func (p *probe) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&p.method, "method", "X", http.MethodGet, "HTTP `method`")
	cmd.Flags().StringArrayVarP(&p.headers, "header", "H", nil, "`Name: value` to send (can be repeated); Host too")
	cmd.Flags().StringArrayVar(&p.expect, "expect", nil, "`workload` that must report (name or namespace/name, can be repeated)")
	cmd.Flags().DurationVar(&p.within, "within", time.Minute, "give up after so long")
	cmd.Flags().DurationVar(&p.settle, "settle", 12*time.Second, "how long nothing new must arrive: longer than proxies hold spans back (5 s)")
}

func (p *probe) run(ctx context.Context, s *server, progress io.Writer) (*Probed, error) {
	if err := p.prepare(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.within)
	defer cancel()
	f := &follower{server: s, own: p.span}
	if err := f.ask(ctx, "/status", new(struct{})); err != nil {
		return nil, err // before anything is sent
	}
	status, err := p.send(ctx)
	if err != nil {
		return nil, fmt.Errorf("send the probe: %w", err)
	}
	fmt.Fprintf(progress, "sent: %s; waiting for its spans\n", status)
	out := &Probed{URL: p.url, Status: status, TraceID: p.trace, Span: p.span}
	began := time.Now()
	followed, err := p.wait(ctx, f, progress)
	if err != nil {
		return nil, err
	}
	out.Followed, out.RequestID = *followed, p.request
	out.Waited = time.Since(began).Round(time.Second / 10).String()
	for _, w := range p.expect {
		if !reported(followed, w) {
			out.Breaks = append(out.Breaks, Break{Kind: "not_seen", Workload: w, Message: w + " was expected, and no span of it is in the trace"})
		}
	}
	return out, nil
}

func (p *probe) prepare() error {
	u, err := url.Parse(p.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return &problem.Problem{Kind: problem.Invalid, Field: "URL", Message: fmt.Sprintf("%q is no URL to send a request to", p.url), Hint: "such as http://gateway.example/productpage"}
	}
	var b [40]byte
	if _, err := rand.Read(b[:]); err != nil {
		return err
	}
	b[0] |= 1 // neither id is zero
	b[16] |= 1
	p.trace, p.span = hex.EncodeToString(b[:16]), hex.EncodeToString(b[16:24])
	id := b[24:]
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // a UUID of version 4: Envoy takes its decision from it
	p.request = fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	return nil
}

func (p *probe) send(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, p.method, p.url, nil)
	if err != nil {
		return "", err
	}
	h := req.Header
	h.Set("User-Agent", "spanloom-probe")
	h.Set("traceparent", "00-"+p.trace+"-"+p.span+"-01")
	h.Set("x-b3-traceid", p.trace)
	h.Set("x-b3-spanid", p.span)
	h.Set("x-b3-sampled", "1")
	h.Set("b3", p.trace+"-"+p.span+"-1")
	h.Set("x-request-id", p.request)
	for _, line := range p.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return "", fmt.Errorf("%q is not of the form Name: value", line)
		}
		if value = strings.TrimSpace(value); strings.EqualFold(name, "host") {
			req.Host = value
		} else {
			h.Set(strings.TrimSpace(name), value)
		}
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)) // so that the proxies end their spans
	return res.Status, nil
}

// wait asks until the picture stood still for the settling time and nothing expected is missing, or the time is over.
func (p *probe) wait(ctx context.Context, f *follower, progress io.Writer) (*Followed, error) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	var last *Followed
	changed := time.Now()
	for {
		now, err := p.look(ctx, f)
		if err == nil && (last == nil || !reflect.DeepEqual(*last, *now)) {
			last, changed = now, time.Now()
			spans := 0
			for _, t := range now.Traces {
				spans += t.Spans
			}
			if spans > 0 {
				fmt.Fprintf(progress, "%s here\n", count(spans, "span"))
			}
		}
		if last != nil && time.Since(changed) >= p.settle && (len(last.Traces) > 0 && !slices.ContainsFunc(p.expect, func(w string) bool { return !reported(last, w) })) {
			return last, nil
		}
		select {
		case <-ctx.Done():
			if last == nil {
				return nil, fmt.Errorf("ask %s: %w", f.base, err)
			}
			return last, nil
		case <-tick.C:
		}
	}
}

// look finds the probe by its trace id, and by its request id where a gateway gave it another trace.
func (p *probe) look(ctx context.Context, f *follower) (*Followed, error) {
	ids := []string{p.trace}
	others, err := f.tracesOf(ctx, p.request)
	if err != nil {
		return nil, err
	}
	for _, id := range others {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	got, err := f.follow(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i := range got.Traces {
		got.Traces[i].MaybeIncomplete = false // it is waited for
	}
	return got, nil
}

// reported: a span of the workload is in one of the traces.
func reported(f *Followed, workload string) bool {
	is := func(name string) bool { return name == workload || strings.HasSuffix(name, "/"+workload) }
	for _, t := range f.Traces {
		for _, h := range t.Hops {
			caller := slices.Contains(h.Seen, "caller") || slices.Contains(h.Seen, "caller_proxy")
			callee := slices.Contains(h.Seen, "callee") || slices.Contains(h.Seen, "callee_proxy")
			if caller && is(h.From) || callee && is(h.To) {
				return true
			}
		}
	}
	return false
}
