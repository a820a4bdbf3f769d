package tempoapi

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// searchTag is one condition of the search before TraceQL.
type searchTag struct{ key, value string }

// maxTags bounds what becomes a query.
const maxTags = 100

// parseLogfmt reads k=v k2="v 2".
func parseLogfmt(text string) (tags []searchTag, err error) {
	rest := strings.TrimLeftFunc(text, unicode.IsSpace)
	for rest != "" {
		end := strings.IndexFunc(rest, func(r rune) bool { return r == '=' || r == '"' || unicode.IsSpace(r) })
		if end < 0 {
			end = len(rest)
		}
		t := searchTag{key: rest[:end]}
		if t.key == "" {
			return nil, invalid("tags", `write http.method=GET name="GET /"`, "a key was expected before %.50q", rest)
		}
		if rest = rest[end:]; strings.HasPrefix(rest, "=") {
			if t.value, rest, err = logfmtValue(rest[1:]); err != nil {
				return nil, err
			}
		}
		next := strings.TrimLeftFunc(rest, unicode.IsSpace)
		if rest != "" && len(next) == len(rest) {
			return nil, invalid("tags", `write http.method=GET name="GET /"`, "a space was expected before %.50q", rest)
		}
		rest = next
		if slices.ContainsFunc(tags, func(o searchTag) bool { return o.key == t.key }) {
			return nil, invalid("tags", "give it once", "tag %.50q is given twice", t.key)
		}
		if tags = append(tags, t); len(tags) > maxTags {
			return nil, invalid("tags", "leave some out", "there are more than %d tags", maxTags)
		}
	}
	return tags, nil
}

func logfmtValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexFunc(text, unicode.IsSpace)
		if end < 0 {
			end = len(text)
		}
		if strings.Contains(text[:end], `"`) {
			return "", "", invalid("tags", `put the whole value in quotes: name="a \"b\""`, "a quote stands in %.50q", text[:end])
		}
		return text[:end], text[end:], nil
	}
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", "", invalid("tags", `a quote inside of the value is written \"`, "the quoted value %.50q has no end", text)
	}
	if value, err = strconv.Unquote(quoted); err != nil {
		return "", "", invalid("tags", `a quote inside of the value is written \"`, "the quoted value %.50q has a bad escape", quoted)
	}
	return value, text[len(quoted):], nil
}

// tagsText is a TraceQL query that tags mean: texts contain the value whatever its case, numbers and booleans equal it.
func tagsText(tags []searchTag) string {
	if len(tags) == 0 {
		return everything
	}
	slices.SortFunc(tags, func(x, y searchTag) int { return strings.Compare(x.key, y.key) })
	conditions := make([]string, len(tags))
	for i, t := range tags {
		conditions[i] = t.condition()
	}
	return "{ " + strings.Join(conditions, " && ") + " }"
}

func (t searchTag) condition() string {
	contains := func(field string) string {
		return field + " =~ " + strconv.Quote("(?is).*"+regexp.QuoteMeta(strings.ToValidUTF8(t.value, "\uFFFD"))+".*")
	}
	switch t.key {
	case "name", "rootName", "rootServiceName":
		return contains(t.key)
	case "root.name":
		return contains("rootName")
	case "root.service.name":
		return contains("rootServiceName")
	case "status.code", "status":
		switch strings.ToLower(t.value) {
		case "error", "ok", "unset":
			return "status = " + strings.ToLower(t.value)
		}
	}
	field := "." + quotedKey(t.key)
	choices := []string{contains(field)}
	if n, err := strconv.ParseInt(t.value, 10, 64); err == nil && n >= 0 {
		choices = append(choices, field+" = "+strconv.FormatInt(n, 10))
	} else if t.value == "true" || t.value == "false" {
		choices = append(choices, field+" = "+t.value)
	}
	if t.key == "error" && t.value == "true" {
		choices = append(choices, "status = error")
	}
	if len(choices) == 1 {
		return choices[0]
	}
	return "(" + strings.Join(choices, " || ") + ")"
}

// quotedKey writes an attribute's name so that nothing in it ends it.
func quotedKey(key string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(strings.ToValidUTF8(key, "\uFFFD")) + `"`
}
