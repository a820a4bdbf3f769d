package tempoapi

import (
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// tag is what values are asked of.
type tag struct {
	field store.Field // of attributes and intrinsics whose values are listed; zero for none
	match store.Expr  // the spans that count; nil for all
	words []string    // the values, where they are a closed list
}

// attributeScopes are the scopes of attributes in TraceQL, in the order in which lists show them.
var attributeScopes = [...]struct {
	word string
	in   store.FieldScope
}{
	{"resource", store.InResource}, {"span", store.InSpan}, {"event", store.InEvent}, {"link", store.InLink}, {"instrumentation", store.InScope},
}

// The scopes of lists besides those of attributes.
const (
	scopeTrace     = "trace"
	scopeIntrinsic = "intrinsic"
	scopeNone      = "none"
)

// intrinsicNames are what lists show under the scope intrinsic.
var intrinsicNames = []string{
	"duration", "event:name", "event:timeSinceStart", "instrumentation:name", "instrumentation:version", "kind", "link:spanID", "link:traceID",
	"name", "rootName", "rootServiceName", "span:duration", "span:id", "span:kind", "span:name", "span:parentID", "span:status", "span:statusMessage",
	"status", "statusMessage", "trace:duration", "trace:id", "trace:rootName", "trace:rootService", "traceDuration",
}

// intrinsicTag is what an intrinsic's values are read from. Ids, durations and places in the tree have none that would help
// anybody who chooses from a list.
func intrinsicTag(name string) (t tag, ok bool) {
	of := func(key string) tag { return tag{field: store.Field{In: store.Intrinsic, Key: key}} }
	ofRoot := func(key string) tag {
		t := of(key)
		t.match = store.Cond{Field: store.Field{In: store.Intrinsic, Key: store.FieldRoot}, Op: store.Eq, Value: store.Bool(true)}
		return t
	}
	switch name {
	case "name", "span:name":
		return of(store.FieldName), true
	case "statusMessage", "span:statusMessage":
		return of(store.FieldStatusMessage), true
	case "rootName", "trace:rootName":
		return ofRoot(store.FieldName), true
	case "rootServiceName", "trace:rootService":
		return ofRoot(store.FieldService), true
	case "event:name":
		return of(store.FieldEventName), true
	case "instrumentation:name":
		return of(store.FieldScopeName), true
	case "instrumentation:version":
		return of(store.FieldScopeVersion), true
	case "status", "span:status":
		return tag{words: []string{"error", "ok", "unset"}}, true
	case "kind", "span:kind":
		return tag{words: []string{"client", "consumer", "internal", "producer", "server", "unspecified"}}, true
	case "duration", "span:duration", "traceDuration", "trace:duration", "event:timeSinceStart", "trace:id", "span:id", "span:parentID",
		"link:traceID", "link:spanID", "span:childCount", "nestedSetLeft", "nestedSetRight", "nestedSetParent":
		return tag{}, true
	default:
		return tag{}, false
	}
}

// parseIdentifier reads a TraceQL identifier: .x, span.x, resource."a b" or an intrinsic.
func parseIdentifier(name string) (tag, error) {
	if t, ok := intrinsicTag(name); ok {
		return t, nil
	}
	in, rest, ok := store.InAny, "", false
	if rest, ok = strings.CutPrefix(name, "."); !ok {
		for _, s := range attributeScopes {
			if rest, ok = strings.CutPrefix(name, s.word+"."); ok {
				in = s.in
				break
			}
		}
	}
	if !ok {
		return tag{}, invalid("tag", "write .KEY, span.KEY, resource.KEY or an intrinsic such as name", "%.100q is not an identifier", name)
	}
	key, ok := attributeKey(rest)
	if !ok {
		return tag{}, invalid("tag", `put odd names in quotes: span."a b"`, "%.100q is not an attribute's name", rest)
	}
	return attributeTag(in, key), nil
}

// attributeTag is an attribute. The services are those that are shown, also of spans that came without a service.name.
func attributeTag(in store.FieldScope, key string) tag {
	if key == serviceKey && (in == store.InAny || in == store.InResource) {
		return tag{field: store.Field{In: store.Intrinsic, Key: store.FieldService}}
	}
	return tag{field: store.Field{In: in, Key: key}}
}

// attributeKey reads an attribute's name after its scope: parts in quotes may hold anything, \" and \\ are their escapes.
func attributeKey(text string) (key string, ok bool) {
	var out strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			if i++; i == len(text) || text[i] != '"' && text[i] != '\\' {
				return "", false
			}
			out.WriteByte(text[i])
		case !quoted && strings.IndexByte(" \t\r\n{}()=~!<>&|^,", c) >= 0:
			return "", false
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), !quoted && out.Len() > 0
}

// bareTag reads a name of the first API, which has no scopes: an intrinsic, an identifier, or the key of an attribute anywhere.
func bareTag(name string) tag {
	switch name {
	case "root.name":
		name = "rootName"
	case "root.service.name":
		name = "rootServiceName"
	case "status.code":
		name = "status"
	}
	if t, err := parseIdentifier(name); err == nil {
		return t
	}
	return attributeTag(store.InAny, name)
}

// valueType is a type as lists of values name it.
func valueType(t span.Type) string {
	switch t {
	case span.TypeInt, span.TypeInts:
		return "int"
	case span.TypeDouble, span.TypeDoubles:
		return "float"
	case span.TypeBool, span.TypeBools:
		return "bool"
	default:
		return "string"
	}
}
