package jaeger

import "fmt"

// Note is a kind of thing that was guessed or left out. The list is closed; String says what each means.
type Note uint8

// The notes.
const (
	ShortID Note = iota
	FollowsRef
	FollowsOnly
	MoreParents
	WrongType
	NoType
	ErrorTag
	OtherError
	Warning
	NoProcess
	NoService
	TagFields
	DebugFlag
	BadText
	BadReference
	numNotes
)

// String says in words what was done.
func (n Note) String() string {
	return [...]string{
		ShortID:      "ids shorter than 16 or 32 digits: filled up with zeros from the left",
		FollowsRef:   "FOLLOWS_FROM references: now links",
		FollowsOnly:  "spans of which all references to their own trace are FOLLOWS_FROM: now without a parent",
		MoreParents:  "further CHILD_OF references: now links with opentracing.ref_type=child_of",
		WrongType:    "values that are not of the type beside them: kept as text",
		NoType:       "values without a known type: taken as their JSON is",
		ErrorTag:     "tags error=true without otel.status_code: now the status",
		OtherError:   "error tags that contradict the status or are neither true nor false: kept as attributes",
		Warning:      "warnings of Jaeger about spans: left out",
		NoProcess:    "spans whose processID names no process: without a resource",
		NoService:    "processes without a service",
		TagFields:    "tags stored as fields (tag.*): @ in a key is a dot, and whole numbers are integers",
		DebugFlag:    "debug flags: left out",
		BadText:      "texts that are not UTF-8: mended",
		BadReference: "references without readable ids: left out",
	}[n]
}

// Notes counts what was guessed or left out.
type Notes [numNotes]int64

// Each calls f with every note that has a count, in a fixed order.
func (n *Notes) Each(f func(text string, count int64)) {
	for i, count := range n {
		if count > 0 {
			f(Note(i).String(), count)
		}
	}
}

// Lacks are what the two forms cannot hold, so that nothing tells what of it there was.
func Lacks() []string {
	return []string{
		"nanoseconds: times are in microseconds",
		"trace state and attributes of links",
		"attributes of scopes, schema URLs, counts of what was dropped",
		"types of lists and maps: they are text",
	}
}

// fault is why a span was left out.
type fault struct{ field, what, fix string }

func (f *fault) Error() string { return fmt.Sprintf("%s %s", f.field, f.what) }
