//go:build !linux

package door

import "net"

// peek knows no way here: the first bytes are read, and given back by begunConn.
func peek(net.Conn, []byte) int { return 0 }
