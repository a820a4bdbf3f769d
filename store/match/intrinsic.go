package match

import (
	"slices"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// intrinsic numbers the fields that are columns instead of attributes.
type intrinsic uint8

const (
	inService intrinsic = iota
	inGroup
	inNamespace
	inName
	inKind
	inStatus
	inStatusMessage
	inDuration
	inError
	inRoot
	inSpanID
	inParentID
	inTraceID
	inTraceState
	inScopeName
	inScopeVersion
	inEventName
)

var intrinsics = map[string]intrinsic{
	store.FieldService:       inService,
	store.FieldGroup:         inGroup,
	store.FieldNamespace:     inNamespace,
	store.FieldName:          inName,
	store.FieldKind:          inKind,
	store.FieldStatus:        inStatus,
	store.FieldStatusMessage: inStatusMessage,
	store.FieldDuration:      inDuration,
	store.FieldError:         inError,
	store.FieldRoot:          inRoot,
	store.FieldSpanID:        inSpanID,
	store.FieldParentID:      inParentID,
	store.FieldTraceID:       inTraceID,
	store.FieldTraceState:    inTraceState,
	store.FieldScopeName:     inScopeName,
	store.FieldScopeVersion:  inScopeVersion,
	store.FieldEventName:     inEventName,
}

func intrinsicNames() string {
	names := make([]string, 0, len(intrinsics))
	for name := range intrinsics {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// operand is the type an operand of the field has.
func (in intrinsic) operand() span.Type {
	switch in {
	case inDuration:
		return span.TypeInt
	case inError, inRoot:
		return span.TypeBool
	default:
		return span.TypeString
	}
}

// textColumn is the column of a field that is one; nil for all others.
func (in intrinsic) textColumn(b *span.Batch) []span.Str {
	switch in {
	case inService:
		return b.Service
	case inGroup:
		return b.Group
	case inNamespace:
		return b.Namespace
	case inName:
		return b.Name
	case inStatusMessage:
		return b.StatusMessage
	case inTraceState:
		return b.TraceState
	default:
		return nil
	}
}

// run is the text of a field that stands in the arena, in a column or in the scope; ok is false for fields that do not.
func (in intrinsic) run(b *span.Batch, row int) (s span.Str, ok bool) {
	switch in {
	case inScopeName:
		return b.Scopes[b.Scope[row]].Name, true
	case inScopeVersion:
		return b.Scopes[b.Scope[row]].Version, true
	}
	if column := in.textColumn(b); column != nil {
		return column[row], true
	}
	return span.Str{}, false
}

// appendText appends a text field that is computed: words and ids.
func (in intrinsic) appendText(dst []byte, b *span.Batch, row int) []byte {
	switch in {
	case inKind:
		return append(dst, b.Kind[row].String()...)
	case inStatus:
		return append(dst, b.Status[row].String()...)
	case inSpanID:
		return appendHex(dst, b.SpanID[row][:])
	case inParentID:
		if b.Parent[row].IsZero() {
			return dst
		}
		return appendHex(dst, b.Parent[row][:])
	case inTraceID:
		return appendHex(dst, b.TraceID[row][:])
	default:
		return dst
	}
}

func appendHex(dst, p []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range p {
		dst = append(dst, digits[c>>4], digits[c&15])
	}
	return dst
}
