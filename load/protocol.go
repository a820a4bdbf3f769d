package load

import (
	"fmt"
	"slices"
	"strings"
)

// Protocol is a way to send spans.
type Protocol string

// The protocols.
const (
	OTLPGRPC     Protocol = "otlp-grpc"
	OTLPHTTP     Protocol = "otlp-http"      // protobuf
	OTLPHTTPJSON Protocol = "otlp-http-json" //
	Zipkin       Protocol = "zipkin"         // v2 JSON
	ZipkinProto  Protocol = "zipkin-proto"   // v2 protobuf
)

// Protocols lists all protocols in the order of the usage text.
func Protocols() []Protocol {
	return []Protocol{OTLPGRPC, OTLPHTTP, OTLPHTTPJSON, Zipkin, ZipkinProto}
}

// ParseProtocol reads a protocol's name.
func ParseProtocol(name string) (Protocol, error) {
	if p := Protocol(strings.ToLower(name)); slices.Contains(Protocols(), p) {
		return p, nil
	}
	return "", fmt.Errorf("protocol %q is unknown: use one of %v", name, Protocols())
}

// Form is the tracer whose spans travel by the protocol.
func (p Protocol) Form() Form {
	if p == Zipkin || p == ZipkinProto {
		return FormZipkin
	}
	return FormOTLP
}

// endpoint is what the protocol's receiver is called in endpoints.json, its usual address and the path of the export.
func (p Protocol) endpoint() (name, address, path string) {
	switch p {
	case OTLPGRPC:
		return "otlpGrpc", "127.0.0.1:4317", ""
	case OTLPHTTP, OTLPHTTPJSON:
		return "otlpHttp", "127.0.0.1:4318", "/v1/traces"
	default:
		return "zipkin", "127.0.0.1:9411", "/api/v2/spans"
	}
}

func (p Protocol) contentType() string {
	if p == OTLPHTTPJSON || p == Zipkin {
		return "application/json"
	}
	return "application/x-protobuf"
}
