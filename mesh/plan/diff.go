package plan

import (
	"fmt"
	"strings"
)

// context is how many lines that stay are shown around those that change.
const context = 3

// maxTable bounds the table of the longest common subsequence: beyond it the whole middle counts as changed.
const maxTable = 4 << 20

// op is one line of a comparison: ' ', '-' or '+'.
type op struct {
	kind byte
	text string
}

// compare finds what went and what came between two texts.
func compare(before, after string) []op {
	a, b := split(before), split(after)
	var head []op
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head = append(head, op{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	var tail []op
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append(tail, op{' ', a[len(a)-1]})
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	out := append(head, middle(a, b)...)
	for i := len(tail) - 1; i >= 0; i-- {
		out = append(out, tail[i])
	}
	return out
}

func middle(a, b []string) []op {
	var out []op
	if len(a)*len(b) > maxTable {
		for _, l := range a {
			out = append(out, op{'-', l})
		}
		for _, l := range b {
			out = append(out, op{'+', l})
		}
		return out
	}
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, op{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, op{'-', a[i]})
			i++
		default:
			out = append(out, op{'+', b[j]})
			j++
		}
	}
	return out
}

// split cuts a text into lines that keep their end: a file's last line may have none.
func split(text string) []string {
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// hunks writes a comparison in the unified form, without file names. firstA and firstB are the numbers of the first lines.
func hunks(ops []op, firstA, firstB int) string {
	var out strings.Builder
	a, b := firstA, firstB
	for i := 0; i < len(ops); {
		if ops[i].kind == ' ' {
			a, b, i = a+1, b+1, i+1
			continue
		}
		from := max(0, i-context)
		to, quiet := i, 0
		for k := i; k < len(ops) && quiet <= 2*context; k++ {
			if ops[k].kind == ' ' {
				quiet++
			} else {
				to, quiet = k+1, 0
			}
		}
		to = min(len(ops), to+context)
		startA, startB := a-(i-from), b-(i-from)
		nA, nB := 0, 0
		var body strings.Builder
		for _, o := range ops[from:to] {
			if o.kind != '+' {
				nA++
			}
			if o.kind != '-' {
				nB++
			}
			body.WriteByte(o.kind)
			body.WriteString(o.text)
			if !strings.HasSuffix(o.text, "\n") {
				body.WriteString("\n\\ No newline at end of file\n")
			}
		}
		// A side without lines is named by the line before.
		if nA == 0 {
			startA--
		}
		if nB == 0 {
			startB--
		}
		fmt.Fprintf(&out, "@@ -%d,%d +%d,%d @@\n%s", startA, nA, startB, nB, body.String())
		for _, o := range ops[i:to] {
			if o.kind != '+' {
				a++
			}
			if o.kind != '-' {
				b++
			}
		}
		i = to
	}
	return out.String()
}
