package plan

import (
	"fmt"
	"io"
	"strings"

	"github.com/spanloom/spanloom/mesh/render"
)

// name is the object's, or what a file without kind and name is.
func (c *Change) name() string {
	switch {
	case c.Object.Kind != "" && c.Object.Name != "":
		return c.Object.String()
	case c.Object.Kind != "":
		return c.Object.Kind
	case c.Target == render.Helm:
		return "values of the chart istiod"
	case c.Target == render.ConfigMap:
		return "mesh configuration"
	}
	return string(c.Target)
}

// Print writes a plan for people.
func Print(out io.Writer, p *Plan) {
	for _, c := range p.Changes {
		sign := map[string]string{"create": "+", "change": "~"}[c.Action]
		at := ""
		if c.Object.File != "" {
			at = fmt.Sprintf(" (%s:%d)", c.Object.File, c.Object.Line)
		}
		fmt.Fprintf(out, "%s %s%s: %s\n", sign, c.name(), at, c.Does)
		if c.Live != "" {
			fmt.Fprintf(out, "    live: %s\n", c.Live)
		}
		if c.Restart != "" {
			of := "no workload was read"
			if len(c.Of) > 0 {
				of = strings.Join(c.Of, ", ")
			}
			fmt.Fprintf(out, "    after a restart: %s. Workloads: %s\n", c.Restart, of)
		}
		if c.Instead != "" {
			fmt.Fprintf(out, "    ! %s\n", c.Instead)
		}
		if c.Owner.Hand != "" {
			fmt.Fprintf(out, "    ! %s changed it by hand\n", c.Owner.Hand)
		}
		for _, l := range strings.Split(strings.TrimSuffix(c.Diff, "\n"), "\n") {
			fmt.Fprintln(out, strings.TrimRight("    "+l, " "))
		}
		fmt.Fprintln(out)
	}
	for _, s := range p.Same {
		fmt.Fprintf(out, "= %s is as it should be\n", s)
	}
	if len(p.Workloads) > 0 {
		fmt.Fprintln(out, "\nTracing of each workload, before and after:")
		for _, w := range p.Workloads {
			if w.Before == w.After {
				fmt.Fprintf(out, "  %s: %s, as before\n", w.Workload, w.After)
			} else {
				fmt.Fprintf(out, "  %s: %s\n    -> %s\n", w.Workload, w.Before, w.After)
			}
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintf(out, "\n! %s\n", n)
	}
	creates := 0
	for _, c := range p.Changes {
		if c.Action == "create" {
			creates++
		}
	}
	fmt.Fprintf(out, "\n%d to create, %d to change, %d as they should be\n", creates, len(p.Changes)-creates, len(p.Same))
}
