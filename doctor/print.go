package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Print writes a report for people: the verdict, what to do, and where each workload's chain is broken.
func Print(w io.Writer, r *Report) {
	fmt.Fprintf(w, "%s: %s\n", r.State, r.Reason)
	hidden := 0
	for _, f := range r.Findings {
		if f.Severity == Info {
			hidden++
			continue
		}
		printFinding(w, f)
	}
	if len(r.Stations) > 0 {
		fmt.Fprintf(w, "\n%s\n", "the way of the spans (+ fine, ! broken, ? not known)")
		printChains(w, r.Stations)
	}
	if hidden > 0 {
		fmt.Fprintf(w, "\nnotes on cost and style\n")
		for _, f := range r.Findings {
			if f.Severity == Info {
				fmt.Fprintf(w, "  %s %s: %s\n", f.Code, f.Cause, firstOf(f.Detail, f.Title))
			}
		}
	}
}

func printFinding(w io.Writer, f Finding) {
	fmt.Fprintf(w, "\n%s %s  %s (%s)\n", f.Code, f.Severity, f.Title, f.Cause)
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(w, "  %-9s %s\n", label, strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n            "))
		}
	}
	line("what", f.Detail)
	if f.Object.Kind != "" || f.Object.File != "" {
		line("where", place(f.Object))
	}
	if len(f.Workloads) > 0 {
		shown := f.Workloads
		more := ""
		if len(shown) > 8 {
			more = fmt.Sprintf(" and %d more", len(shown)-8)
			shown = shown[:8]
		}
		line("workloads", strings.Join(shown, ", ")+more)
	}
	for _, e := range f.Evidence {
		line("evidence", e)
	}
	line("so", f.Consequence)
	line("fix", f.Fix.Text)
	line("command", f.Fix.Command)
	line("diff", f.Fix.Diff)
	line("more", f.Docs)
}

// maxChains shown in text: the broken ones first come from the findings anyway.
const maxChains = 40

func printChains(w io.Writer, chains []Chain) {
	width := 0
	for _, c := range chains {
		width = max(width, len(c.Workload))
	}
	for i, c := range chains {
		if i == maxChains {
			fmt.Fprintf(w, "  and %d more (-o json shows all)\n", len(chains)-maxChains)
			return
		}
		fmt.Fprintf(w, "  %-*s ", width, c.Workload)
		broken := ""
		for _, s := range c.Stations {
			mark := map[Light]string{Green: "+", Red: "!", Neutral: "?"}[s.State]
			fmt.Fprintf(w, " %s%s", mark, s.Name)
			if s.State == Red && broken == "" {
				broken = s.Name + ": " + s.Reason
			}
		}
		fmt.Fprintln(w)
		if broken != "" {
			fmt.Fprintf(w, "  %-*s  %s\n", width, "", broken)
		}
	}
}
