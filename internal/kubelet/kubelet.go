// Package kubelet is the part of a node's agent that tests need: it carries port-forwards to addresses of the test's own. It
// speaks what kubelets speak to API servers and API servers to clients, so it stands for both.
package kubelet

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy"
)

// protocol of port-forwards.
const protocol = "portforward.k8s.io"

// PortForward upgrades a request and carries its streams to what dial gives for a port, until the client goes away. A dial that
// fails is reported as kubelets do: as text on the error stream.
func PortForward(w http.ResponseWriter, r *http.Request, dial func(port int) (net.Conn, error)) {
	if _, err := httpstream.Handshake(r, w, []string{protocol}); err != nil {
		return // answered
	}
	streams := make(chan httpstream.Stream, 16)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		streams <- s
		return nil
	})
	if conn == nil {
		return // answered
	}
	defer conn.Close()
	conn.SetIdleTimeout(time.Minute)
	var carried sync.WaitGroup
	defer carried.Wait()
	failures := make(map[string]httpstream.Stream) // error streams by request id
	for {
		select {
		case <-conn.CloseChan():
			return
		case s := <-streams:
			id := s.Headers().Get("requestID")
			if s.Headers().Get("streamType") == "error" {
				failures[id] = s
				continue
			}
			failure := failures[id]
			delete(failures, id)
			carried.Go(func() { carry(s, failure, dial) })
		}
	}
}

func carry(data, failure httpstream.Stream, dial func(int) (net.Conn, error)) {
	defer data.Close()
	if failure != nil {
		defer failure.Close()
	}
	port, err := strconv.Atoi(data.Headers().Get("port"))
	var to net.Conn
	if err == nil {
		to, err = dial(port)
	}
	if err != nil {
		if failure != nil {
			fmt.Fprintf(failure, "error forwarding port %d to pod: %v", port, err)
		}
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, data) // ends with the client's stream
		if t, ok := to.(*net.TCPConn); ok {
			_ = t.CloseWrite()
		}
	}()
	_, _ = io.Copy(data, to)
}
