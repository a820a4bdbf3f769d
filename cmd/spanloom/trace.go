package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// skeleton is the part of the own API's answer that the text form prints (docs/api/openapi.yaml, Skeleton).
type skeleton struct {
	TraceID         string `json:"traceId"`
	Duration        int64  `json:"duration"`
	MaybeIncomplete bool   `json:"maybeIncomplete"`
	SpanCount       int    `json:"spanCount"`
	ErrorCount      int    `json:"errorCount"`
	Services        []struct {
		Name string `json:"name"`
	} `json:"services"`
	Names []string `json:"names"`
	Spans struct {
		ID       []string `json:"id"`
		Parent   []int    `json:"parent"`
		Start    []int64  `json:"start"`
		Duration []int64  `json:"duration"`
		Service  []int    `json:"service"`
		Name     []int    `json:"name"`
		Kind     []int    `json:"kind"`
		Flags    []int    `json:"flags"`
	} `json:"spans"`
	Warnings []struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
	} `json:"warnings"`
}

// traceCommand prints a trace of a running server as a tree.
func traceCommand() *cobra.Command {
	var server, output, tokenFile string
	cmd := &cobra.Command{
		Use:   "trace ID",
		Short: "Print a trace of a running Spanloom as a tree",
		Long:  "Prints a trace of a running Spanloom as a tree. ID is a trace id, a traceparent or a b3 header's value.\nExit code 1 means that the server has no such trace.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u := strings.TrimSuffix(server, "/") + "/api/spanloom/v1/traces/" + url.PathEscape(traceID(args[0]))
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, u, nil)
			if err != nil {
				return fmt.Errorf("--server %q: %w", server, err)
			}
			if tokenFile != "" {
				token, err := os.ReadFile(tokenFile)
				if err != nil {
					return err
				}
				req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
			}
			res, err := (&http.Client{Timeout: time.Minute}).Do(req)
			if err != nil {
				return fmt.Errorf("ask %s: %w (is `spanloom serve` running there? see --server)", server, err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			if res.StatusCode != http.StatusOK {
				var e struct {
					Error struct{ Message, Hint string } `json:"error"`
				}
				if json.Unmarshal(body, &e) == nil && e.Error.Message != "" {
					message := e.Error.Message
					if e.Error.Hint != "" {
						message += " (" + e.Error.Hint + ")"
					}
					if res.StatusCode != http.StatusNotFound {
						return errors.New(message)
					}
					fmt.Fprintln(cmd.ErrOrStderr(), message)
					return errFindings
				}
				return fmt.Errorf("%s answered %s (is that a Spanloom? see --server)", server, res.Status)
			}
			return printTrace(cmd.OutOrStdout(), body, output)
		},
	}
	cmd.Flags().StringVar(&server, "server", "http://127.0.0.1:16686", "base URL of a running Spanloom")
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file with a bearer token of role read")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or yaml")
	return cmd
}

// traceID takes the trace id out of a traceparent (version-trace-parent-flags) or a b3 header (trace-span-sampled-parent),
// with or without the header's name; anything else is left for the server to judge.
func traceID(s string) string {
	if name, value, ok := strings.Cut(s, ":"); ok {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "traceparent", "b3", "x-b3-traceid":
			s = value
		}
	}
	s = strings.TrimSpace(s)
	switch parts := strings.Split(s, "-"); {
	case len(parts) >= 4 && len(parts[0]) == 2 && len(parts[1]) == 32:
		return parts[1]
	case len(parts) >= 2 && len(parts[1]) == 16:
		return parts[0]
	}
	return s
}

func printTrace(out io.Writer, body []byte, output string) error {
	switch output {
	case "json":
		_, err := out.Write(append(body, '\n'))
		return err
	case "yaml":
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			return err
		}
		return yaml.NewEncoder(out).Encode(v)
	case "text":
	default:
		return badOutput(output, "text", "json", "yaml")
	}
	var s skeleton
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	more := ""
	if s.MaybeIncomplete {
		more = ", maybe incomplete"
	}
	fmt.Fprintf(out, "trace %s: %s, %s, %s, %s%s\n", s.TraceID, duration(s.Duration), count(s.SpanCount, "span"), count(s.ErrorCount, "error"), count(len(s.Services), "service"), more)
	depth := make([]int, len(s.Spans.ID))
	for i, parent := range s.Spans.Parent {
		if parent >= 0 {
			depth[i] = depth[parent] + 1
		}
		marks := ""
		if s.Spans.Flags[i]&1 != 0 {
			marks += " error"
		}
		if s.Spans.Flags[i]&2 != 0 {
			marks += " proxy"
		}
		if s.Spans.Flags[i]&4 != 0 {
			fmt.Fprintf(out, "%s(parent %s never arrived)\n", strings.Repeat("  ", depth[i]), s.Spans.ID[i])
			continue
		}
		fmt.Fprintf(out, "%s%s %s  +%s %s%s\n", strings.Repeat("  ", depth[i]), s.Services[s.Spans.Service[i]].Name, s.Names[s.Spans.Name[i]],
			duration(s.Spans.Start[i]), duration(s.Spans.Duration[i]), marks)
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(out, "%s: %s\n", w.Kind, w.Message)
	}
	return nil
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func duration(ns int64) string {
	d := time.Duration(ns)
	switch {
	case d >= time.Second:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}
