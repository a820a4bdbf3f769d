// Package realparts is what tests need that run what `tools/get` brings.
package realparts

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Lane skips a test outside of the lane of real engines: the everyday suite neither fetches nor starts servers of hundreds of megabytes.
func Lane(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("SPANLOOM_ENGINES") != "1" {
		t.Skip("needs " + what + ": make engines, or SPANLOOM_ENGINES=1")
	}
}

// Root is the top of the checkout.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Get fetches a tool of tools.lock and answers its path.
func Get(t testing.TB, tool string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(Root(), "tools", "get"), tool)
	cmd.Stderr = &stderr
	path, err := cmd.Output()
	if err != nil {
		t.Fatalf("tools/get %s: %v: %s", tool, err, &stderr)
	}
	return strings.TrimSpace(string(path))
}

// FreeAddr is an address nobody listens on now, for servers that take no port 0; a port that is taken meanwhile fails the start.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Port is the port of an address.
func Port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
