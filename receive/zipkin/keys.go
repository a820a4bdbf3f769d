package zipkin

import (
	"bytes"

	"github.com/spanloom/spanloom/span"
)

// Attribute keys that Zipkin's own fields become.
const (
	keyService     = "service.name"
	keyHostIP      = "net.host.ip"
	keyHostPort    = "net.host.port"
	keyPeerService = "peer.service"
	keyPeerIP      = "net.peer.ip"
	keyPeerPort    = "net.peer.port"
	keyNoStart     = "otel.zipkin.absentField.startTime"
	keyShared      = "zipkin.shared"
	keyDebug       = "zipkin.debug"
	// ownPrefix stands before one of the keys above where a tag of that name came along with the field: the tag keeps
	// the key, the field is kept under the longer one.
	ownPrefix = "zipkin."
	// secondIP follows an address key for the IPv6 address of an endpoint that has both.
	secondIP = ".v6"
)

// Tags with a meaning of their own.
const (
	tagError         = "error"
	tagStatusCode    = "otel.status_code"
	tagStatusText    = "otel.status_description"
	tagScopeName     = "otel.scope.name"
	tagScopeVersion  = "otel.scope.version"
	tagLibName       = "otel.library.name"
	tagLibVersion    = "otel.library.version"
	tagTraceState    = "w3c.tracestate"
	tagSpanKind      = "span.kind"
	tagLink          = "otlp.link."
	tagServiceSource = "otlp.service.name.source"
)

// class says what becomes of a tag.
type class uint8

const (
	classPlain class = iota // a span attribute
	classResource
	classServiceName
	classServiceSource
	classError
	classComponent
	classNodeID
	classStatusCode
	classStatusText
	classScopeName
	classScopeVersion
	classTraceState
	classSpanKind
	classLink
	numClasses
)

func classify(key []byte) class {
	switch string(key) {
	case keyService:
		return classServiceName
	case tagServiceSource:
		return classServiceSource
	case tagError:
		return classError
	case "component":
		return classComponent
	case "node_id":
		return classNodeID
	case tagStatusCode:
		return classStatusCode
	case tagStatusText:
		return classStatusText
	case tagScopeName, tagLibName:
		return classScopeName
	case tagScopeVersion, tagLibVersion:
		return classScopeVersion
	case tagTraceState:
		return classTraceState
	case tagSpanKind:
		return classSpanKind
	case "faas.name", "faas.id", "faas.version", "faas.instance", "faas.max_memory":
		return classResource // other faas keys describe the call
	}
	if rest, ok := bytes.CutPrefix(key, []byte(tagLink)); ok && len(rest) > 0 && isDigits(rest) {
		return classLink
	}
	if isResourceKey(key) {
		return classResource
	}
	return classPlain
}

func isDigits(p []byte) bool {
	for _, c := range p {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// isResourceKey knows the name spaces of OpenTelemetry's resource conventions.
func isResourceKey(key []byte) bool {
	dot := bytes.IndexByte(key, '.')
	if dot < 0 {
		return false
	}
	switch string(key[:dot]) {
	case "service", "telemetry", "host", "k8s", "container", "cloud", "deployment", "device", "os", "process", "webengine":
		return true
	}
	return false
}

// statusOf reads otel.status_code: OK, ERROR or UNSET in any case, with or without STATUS_CODE_ before it.
func statusOf(v []byte) (span.Status, bool) {
	const prefix = "STATUS_CODE_"
	if len(v) > len(prefix) && bytes.EqualFold(v[:len(prefix)], []byte(prefix)) {
		v = v[len(prefix):]
	}
	switch {
	case bytes.EqualFold(v, []byte("OK")):
		return span.StatusOK, true
	case bytes.EqualFold(v, []byte("ERROR")):
		return span.StatusError, true
	case bytes.EqualFold(v, []byte("UNSET")):
		return span.StatusUnset, true
	}
	return span.StatusUnset, false
}
