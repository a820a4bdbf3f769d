package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
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

// traceCommand prints a trace of a running server.
func traceCommand() *cobra.Command {
	var flags serverFlags
	var output string
	cmd := &cobra.Command{
		Use:   "trace ID",
		Short: "Print a trace of a running Spanloom as a tree",
		Long: "Prints a trace of a running Spanloom: as a tree with the time of every span, as a table in the order of time, or as JSON. ID is a trace id,\n" +
			"a traceparent or a b3 header's value. Exit code 1 means that the server has no such trace.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := flags.find()
			if err != nil {
				return err
			}
			body, err := s.get(cmd.Context(), "/api/spanloom/v1/traces/"+url.PathEscape(traceID(args[0])))
			if missing, ok := errors.AsType[errNotFound](err); ok {
				fmt.Fprintln(cmd.ErrOrStderr(), missing.message)
				return errFindings
			}
			if err != nil {
				return err
			}
			return printTrace(cmd.OutOrStdout(), body, output)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text (a tree), table, json or yaml")
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
	case "text", "table":
	default:
		return badOutput(output, "text", "table", "json", "yaml")
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
	var err error
	if output == "table" {
		err = s.printTable(out)
	} else {
		err = s.printTree(out)
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(out, "%s: %s\n", w.Kind, printable(w.Message))
	}
	return err
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
