package zipkin

import "bytes"

// family joins the versions of JSON, which only a look inside tells apart.
func family(f Format) Format {
	if f == JSONv1 {
		return JSONv2
	}
	return f
}

func trimBOM(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")) }

const whiteSpace = " \t\r\n"

// isBlank reports a body with nothing in it, which is a list of no spans in every format.
func isBlank(body []byte) bool { return len(bytes.TrimLeft(body, whiteSpace)) == 0 }

// detect tells the encoding by a body's first bytes; it is not blank. JSON gets the announced version, else 2.
//
//	[ or {, after any white space   JSON
//	0x0a, then a length             protobuf: field 1 of ListOfSpans. A line feed before JSON starts alike; then the
//	                                first message is read through to decide
//	0x0c, then a count              thrift, a list of structs
//	a field type, then 0x00         thrift, a single struct
func detect(body []byte, announced Format) Format {
	json := JSONv2
	if announced == JSONv1 {
		json = JSONv1
	}
	text := bytes.TrimLeft(body, whiteSpace)
	isText := len(text) > 0 && (text[0] == '[' || text[0] == '{')
	second := byte(0xff)
	if len(body) > 1 {
		second = body[1]
	}
	switch {
	case isText && (body[0] != 0x0a || !isProtoList(body)):
		return json
	case body[0] == 0x0a && second != 0:
		return Proto3
	case body[0] == thriftStruct && len(body) >= 5 && second < 0x10:
		return Thrift
	case isThriftField(body[0]) && second == 0:
		return Thrift
	}
	if announced == Proto3 || announced == Thrift {
		return announced // fields of the future may come first
	}
	return FormatUnknown
}

// unreadable words a guess at what a body is that no decoder takes.
func unreadable(body []byte) string {
	switch {
	case bytes.HasPrefix(body, []byte{0x1f, 0x8b}):
		return "the body is gzip without Content-Encoding: gzip"
	case bytes.HasPrefix(body, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "the body is zstd without Content-Encoding: zstd"
	case body[0] == '<':
		return "the body is markup"
	}
	return "the body is neither JSON nor protobuf nor thrift"
}
