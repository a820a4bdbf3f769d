package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Print writes a report for people: the verdict, what to do, and where each workload's chain is broken.
func Print(w io.Writer, r *Report) {
	fmt.Fprintf(w, "%s: %s\n", wordOf(string(r.State)).In(r.language), r.Reason)
	hidden := 0
	for _, f := range r.Findings {
		if f.Severity == Info {
			hidden++
			continue
		}
		printFinding(w, f, r.language)
	}
	if len(r.Stations) > 0 {
		fmt.Fprintf(w, "\n%s\n", say("the way of the spans (+ fine, ! broken, ? not known)").In(r.language))
		printChains(w, r.Stations, r.language)
	}
	if hidden > 0 {
		fmt.Fprintf(w, "\n%s\n", say("notes on cost and style").In(r.language))
		for _, f := range r.Findings {
			if f.Severity == Info {
				fmt.Fprintf(w, "  %s %s: %s\n", f.Code, f.Cause, firstOf(f.Detail, f.Title))
			}
		}
	}
}

func printFinding(w io.Writer, f Finding, language string) {
	fmt.Fprintf(w, "\n%s %s  %s (%s)\n", f.Code, wordOf(string(f.Severity)).In(language), f.Title, f.Cause)
	line := func(label, text string) {
		if text != "" {
			label = wordOf(label).In(language)
			if wide := utf8.RuneCountInString(label); wide < len(label) {
				label += strings.Repeat(" ", max(0, 9-2*wide)) // a letter of Hangul takes two columns
			}
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
			more = say(" and %d more", len(shown)-8).In(language)
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

func printChains(w io.Writer, chains []Chain, language string) {
	width := 0
	for _, c := range chains {
		width = max(width, len(c.Workload))
	}
	for i, c := range chains {
		if i == maxChains {
			fmt.Fprintf(w, "  %s\n", say("and %d more (-o json shows all)", len(chains)-maxChains).In(language))
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

// wordOf is a label, a state or a severity.
func wordOf(english string) Text { return Text{english: english, korean: koreanWords[english]} }
