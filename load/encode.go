package load

import (
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/receive/zipkin"
)

// EncoderOf is what makes a protocol's export requests.
func EncoderOf(p Protocol) Encoder {
	switch p {
	case OTLPHTTPJSON:
		return appendRequestJSON
	case Zipkin:
		return zipkin.AppendRequestJSON
	case ZipkinProto:
		return zipkin.AppendRequestProto
	default:
		return otlp.AppendRequest
	}
}
