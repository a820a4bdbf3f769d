// Package nearest finds the word somebody meant, for error messages.
package nearest

import "strings"

// Word is the candidate that needs the fewest edits to become word, ignoring case, dashes, dots and underscores; empty if
// none is near enough (more than a third of the word wrong).
func Word(word string, candidates []string) string {
	best, bestCost := "", 1<<30
	w := plain(word)
	for _, c := range candidates {
		if cost := edits(w, plain(c)); cost < bestCost {
			best, bestCost = c, cost
		}
	}
	if bestCost > max(1, len(w)/3) {
		return ""
	}
	return best
}

// Hint is ", did you mean x?" or nothing.
func Hint(word string, candidates []string) string {
	if n := Word(word, candidates); n != "" {
		return ", did you mean " + n + "?"
	}
	return ""
}

func plain(s string) string {
	return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(s))
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
