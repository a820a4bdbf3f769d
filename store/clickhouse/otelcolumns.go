package clickhouse

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
)

// otelColumn is a column that is needed of the exporter's table, with the types that versions and people have given it.
type otelColumn struct {
	name     string
	types    *regexp.Regexp
	example  string
	optional bool // tables of 2023 do not have it
}

const anyText = `(LowCardinality\(String\)|String)`

var otelNeeded = func() (list []otelColumn) {
	add := func(types, example string, names ...string) {
		for _, name := range names {
			list = append(list, otelColumn{name: name, types: regexp.MustCompile("^" + types + "$"), example: example, optional: strings.HasPrefix(name, "Scope")})
		}
	}
	add(`DateTime64\(.*\)`, "DateTime64(9)", "Timestamp")
	add(anyText, "String", "TraceId", "SpanId", "ParentSpanId", "TraceState", "StatusMessage", "ScopeName", "ScopeVersion")
	add(anyText, "LowCardinality(String)", "SpanName", "SpanKind", "ServiceName", "StatusCode")
	anyMap := `Map\(` + anyText + `, ` + anyText + `\)`
	add(anyMap, "Map(LowCardinality(String), String)", "ResourceAttributes", "SpanAttributes")
	add(`U?Int64`, "UInt64", "Duration")
	add(`Array\(DateTime64\(.*\)\)`, "Array(DateTime64(9))", "Events.Timestamp")
	add(`Array\(`+anyText+`\)`, "Array(String)", "Events.Name", "Links.TraceId", "Links.SpanId", "Links.TraceState")
	add(`Array\(`+anyMap+`\)`, "Array(Map(LowCardinality(String), String))", "Events.Attributes", "Links.Attributes")
	return list
}()

// newOtelTable makes the layout of a table by the types of its columns. A problem names what a span cannot be read from or written to; columns
// beside those are nobody's business.
func newOtelTable(database, name string, types map[string]string) (*otelTable, error) {
	t := &otelTable{name: name, scoped: true}
	var missing, other []string
	for _, c := range otelNeeded {
		is, ok := types[c.name]
		switch {
		case !ok && c.optional:
			t.scoped = false
		case !ok:
			missing = append(missing, c.name+" "+c.example)
		case !c.types.MatchString(is):
			other = append(other, fmt.Sprintf("%s is %s, not %s", c.name, is, c.example))
		}
	}
	if len(missing)+len(other) > 0 {
		message := fmt.Sprintf("table `%s`.`%s` is not one of the OpenTelemetry exporter's", database, name)
		if len(missing) > 0 {
			message += ": it lacks " + strings.Join(missing, ", ")
		}
		if len(other) > 0 {
			message += ": " + strings.Join(other, ", ")
		}
		hint := "name the table of the exporter's spans by ?schema=otel&table=, or one that is not there and is then made"
		if slices.ContainsFunc(other, func(s string) bool { return strings.Contains(s, " is JSON") }) {
			hint = "attributes in columns of type JSON (the exporter's json: true) cannot be read: " + hint
		}
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "clickhouse-dsn", Message: message, Hint: hint}
	}
	word := func(column string) string {
		if strings.HasPrefix(types[column], "LowCardinality") {
			return column
		}
		return fmt.Sprintf("CAST(%s, 'LowCardinality(String)')", column)
	}
	number := func(text string) string { return "reinterpretAsUInt64(reverse(unhex(" + text + ")))" }
	each := func(f, column string) string { return "arrayMap(v -> " + f + ", " + column + ")" }
	words := func(list string) string { return "CAST(" + list + ", 'Array(LowCardinality(String))')" }
	strs := func(list string) string { return "CAST(" + list + ", 'Array(String)')" }
	looks := func(values string) string {
		return each("toUInt8(multiIf(v IN ('true', 'false'), 4, ifNull(toString(toInt64OrNull(v)) = v, 0), 2, 1))", values)
	}
	t.columns = map[string]string{
		"Timestamp":     "CAST(Timestamp, 'DateTime64(9)')",
		"TraceHigh":     number("substring(TraceId, 1, 16)"),
		"TraceLow":      number("substring(TraceId, 17, 16)"),
		"SpanNumber":    number("SpanId"),
		"ParentNumber":  number("ParentSpanId"),
		"Duration":      "Duration",
		"ServiceName":   word("ServiceName"),
		"SpanName":      word("SpanName"),
		"StatusMessage": word("StatusMessage"),
		"TraceState":    word("TraceState"),
		"Kind":          numbered("SpanKind", otelKinds[:], "SPAN_KIND_"),
		"Status":        numbered("StatusCode", otelStatuses[:], "STATUS_CODE_"),

		"SpanKeys":       words("mapKeys(SpanAttributes)"),
		"SpanTypes":      looks("mapValues(SpanAttributes)"),
		"SpanValues":     strs("mapValues(SpanAttributes)"),
		"ResourceKeys":   words("mapKeys(ResourceAttributes)"),
		"ResourceTypes":  each("toUInt8(1)", "mapValues(ResourceAttributes)"),
		"ResourceValues": words("mapValues(ResourceAttributes)"),
		"ScopeName":      "CAST(SpanAttributes['otel.scope.name'], 'LowCardinality(String)')",
		"ScopeVersion":   "CAST(SpanAttributes['otel.scope.version'], 'LowCardinality(String)')",

		"EventTimes":   each("toUInt64(toUnixTimestamp64Nano(v))", "Events.Timestamp"),
		"EventNames":   words("Events.Name"),
		"EventDropped": each("toUInt32(0)", "Events.Name"),
		"LinkHighs":    each(number("substring(v, 1, 16)"), "Links.TraceId"),
		"LinkLows":     each(number("substring(v, 17, 16)"), "Links.TraceId"),
		"LinkSpans":    each(number("v"), "Links.SpanId"),
		"LinkStates":   words("Links.TraceState"),
		"LinkFlags":    each("toUInt32(0)", "Links.SpanId"),
		"LinkDropped":  each("toUInt32(0)", "Links.SpanId"),
	}
	if t.scoped {
		t.columns["ScopeName"], t.columns["ScopeVersion"] = word("ScopeName"), word("ScopeVersion")
	}
	if types["Duration"] == "Int64" {
		t.columns["Duration"] = "toUInt64(greatest(Duration, 0))"
	}
	for _, owner := range []string{"Event", "Link"} {
		of := owner + "s.Attributes"
		values := strs("arrayFlatten(" + each("mapValues(v)", of) + ")")
		t.columns[owner+"Sizes"] = each("toUInt32(length(mapKeys(v)))", of)
		t.columns[owner+"Keys"] = words("arrayFlatten(" + each("mapKeys(v)", of) + ")")
		t.columns[owner+"Types"] = looks(values)
		t.columns[owner+"Values"] = values
	}
	return t, nil
}

// The words of kinds and statuses by their numbers, as today's exporter writes them.
var (
	otelKinds    = [...]string{"Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"}
	otelStatuses = [...]string{"Unset", "Ok", "Error"}
)

// numbered turns words, also in the form of 2023, into their numbers; 0 for others.
func numbered(column string, words []string, prefix string) string {
	var from, to []string
	for n, w := range words[1:] {
		from = append(from, quote(w), quote(prefix+strings.ToUpper(w)))
		to = append(to, fmt.Sprint(n+1), fmt.Sprint(n+1))
	}
	return fmt.Sprintf("toUInt8(transform(CAST(%s, 'String'), [%s], [%s], 0))", column, strings.Join(from, ", "), strings.Join(to, ", "))
}

// looksLike is the type of a value that is a text: an int or a bool if it is written as these are.
func looksLike(p []byte) span.Type {
	if len(p) == 0 || len(p) > 20 {
		return span.TypeString
	}
	if c := p[0]; c >= '0' && c <= '9' || c == '-' {
		if v, err := strconv.ParseInt(string(p), 10, 64); err == nil && string(strconv.AppendInt(nil, v, 10)) == string(p) {
			return span.TypeInt
		}
	} else if string(p) == "true" || string(p) == "false" {
		return span.TypeBool
	}
	return span.TypeString
}
