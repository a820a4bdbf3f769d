package rollup

// Operation is the class of a span name: the name with what looks like an id replaced by {id}, so that one route is one
// operation. A part between separators (/ : . space = , ? & | ( ) ' " #) is an id if it is a number, a hexadecimal run of
// at least 8 with a digit in it, or a UUID. Host names and versions (v1) stay.
func Operation(name string) string { return string(appendOperation(nil, []byte(name))) }

func appendOperation(dst, name []byte) []byte {
	from := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && !separates(name[i]) {
			continue
		}
		part := name[from:i]
		// The number behind a host's colon or in a cluster's name is a port, and dots stand in host names, addresses and versions.
		switch {
		case identifies(part) && !(from > 0 && (name[from-1] == ':' || name[from-1] == '|') && isPort(part)) && !besideDot(name, from, i):
			dst = append(dst, "{id}"...)
		default:
			dst = append(dst, part...)
		}
		if i < len(name) {
			dst = append(dst, name[i])
		}
		from = i + 1
	}
	return dst
}

func separates(c byte) bool {
	switch c {
	case '/', ':', '.', ' ', '=', ',', '?', '&', '|', '(', ')', '\'', '"', '#', ';', '[', ']':
		return true
	}
	return false
}

func besideDot(name []byte, from, to int) bool {
	return from > 0 && name[from-1] == '.' || to < len(name) && name[to] == '.'
}

func isPort(p []byte) bool { return len(p) >= 2 && len(p) <= 5 && p[0] != '0' }

// identifies: numbers, and hexadecimal runs of at least 8 with a digit in them (UUIDs with their dashes too).
func identifies(p []byte) bool {
	digits, hex := 0, 0
	for i, c := range p {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			hex++
		case c == '-' && i > 0 || c == '_' && i > 0:
		default:
			return false
		}
	}
	return digits > 0 && (hex == 0 || digits+hex >= 8)
}
