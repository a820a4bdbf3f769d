package door

import (
	"net"
	"syscall"
)

// peek waits for the first bytes of a TCP connection and leaves them in the kernel, so that the connection itself can be handed
// over: grpc-go and net/http give the read buffer of a silent *net.TCPConn back, which is 29 KiB a connection, but keep that of
// any other type. It returns how many bytes were there; 0 if the connection is of another type or broken.
func peek(c net.Conn, p []byte) (n int) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, _, failed = syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK)
		return failed != syscall.EAGAIN && failed != syscall.EINTR
	})
	if err != nil || failed != nil {
		return 0
	}
	return n
}
