package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// The flags of a span that are shown; the own API's numbers.
const (
	flagError       = 1
	flagProxy       = 2
	flagPlaceholder = 4
)

// barWidth is the characters that stand for the time of the whole trace.
const barWidth = 24

// printTree prints spans under their parents with a bar for the time of each.
func (s *skeleton) printTree(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i, branch := range s.branches() {
		fmt.Fprintf(w, "%s%s\t+%s\t%s\t%s\t%s\n", branch, s.label(i), duration(s.Spans.Start[i]), duration(s.Spans.Duration[i]), s.bar(i), s.marks(i))
	}
	return w.Flush()
}

// branches is the lines that lead to each span: "│  ├─ ". Spans stand in tree order, parents before their children.
func (s *skeleton) branches() []string {
	n := len(s.Spans.ID)
	last := make([]bool, n) // no sibling follows
	seen := make(map[int]bool, n)
	for i := n - 1; i >= 0; i-- {
		last[i] = !seen[s.Spans.Parent[i]]
		seen[s.Spans.Parent[i]] = true
	}
	below := make([]string, n) // what stands before the children of a span
	out := make([]string, n)
	for i, parent := range s.Spans.Parent {
		if parent < 0 {
			continue
		}
		before := below[parent]
		if len(before) > 400 {
			before = before[:400] // deeper trees are chains of strangers: the lines stop growing
		}
		if last[i] {
			out[i], below[i] = before+"└─ ", before+"   "
		} else {
			out[i], below[i] = before+"├─ ", before+"│  "
		}
	}
	return out
}

func (s *skeleton) label(i int) string {
	if s.Spans.Flags[i]&flagPlaceholder != 0 {
		return "(parent " + s.Spans.ID[i] + " never arrived)"
	}
	return printable(s.Services[s.Spans.Service[i]].Name + " " + s.Names[s.Spans.Name[i]])
}

func (s *skeleton) marks(i int) string {
	var marks []string
	if s.Spans.Flags[i]&flagError != 0 {
		marks = append(marks, "error")
	}
	if s.Spans.Flags[i]&flagProxy != 0 {
		marks = append(marks, "proxy")
	}
	return strings.Join(marks, " ")
}

// bar is where a span lies in the time of the trace; every span has at least one block.
func (s *skeleton) bar(i int) string {
	if s.Duration <= 0 {
		return "[" + strings.Repeat("█", barWidth) + "]"
	}
	at := func(t int64) int { return int(float64(min(max(t, 0), s.Duration)) / float64(s.Duration) * barWidth) }
	from := min(at(s.Spans.Start[i]), barWidth-1)
	to := min(max(at(s.Spans.Start[i]+s.Spans.Duration[i]), from+1), barWidth)
	return "[" + strings.Repeat(" ", from) + strings.Repeat("█", to-from) + strings.Repeat(" ", barWidth-to) + "]"
}

// printTable prints spans in the order of time.
func (s *skeleton) printTable(out io.Writer) error {
	order := make([]int, len(s.Spans.ID))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(s.Spans.Start[x], s.Spans.Start[y]) })
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "START\tDURATION\tSPAN\tSERVICE\tNAME\tMARKS")
	for _, i := range order {
		if s.Spans.Flags[i]&flagPlaceholder != 0 {
			continue
		}
		fmt.Fprintf(w, "+%s\t%s\t%s\t%s\t%s\t%s\n", duration(s.Spans.Start[i]), duration(s.Spans.Duration[i]), s.Spans.ID[i],
			printable(s.Services[s.Spans.Service[i]].Name), printable(s.Names[s.Spans.Name[i]]), s.marks(i))
	}
	return w.Flush()
}
