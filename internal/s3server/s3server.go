// Package s3server starts a real S3 server for tests: versitygw of `tools/get versitygw` over a folder, on a free port of 127.0.0.1.
package s3server

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/wait"
)

// The credentials of the server's root user.
const (
	AccessKey = "spanloomtest"
	SecretKey = "spanloomtestsecret"
)

// Server is one server with a bucket, whose folder outlives its process.
type Server struct {
	Addr   string // host:port; the same after a restart
	Bucket string
	Folder string // where the bucket's objects are files

	program, root string
	cmd           *exec.Cmd
}

// Start runs a server until the test ends, and gives this process its credentials. Cost: well below a second.
func Start(t testing.TB) *Server {
	t.Helper()
	realparts.Lane(t, "an S3 server")
	s := &Server{program: realparts.Get(t, "versitygw"), Bucket: "spans", root: t.TempDir(), Addr: realparts.FreeAddr(t)}
	s.Folder = filepath.Join(s.root, s.Bucket)
	if err := os.Mkdir(s.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if t, ok := t.(interface{ Setenv(string, string) }); ok {
		t.Setenv("AWS_ACCESS_KEY_ID", AccessKey)
		t.Setenv("AWS_SECRET_ACCESS_KEY", SecretKey)
	}
	t.Cleanup(s.Kill)
	s.Restart(t)
	return s
}

// URL is the address of a prefix in the bucket for --bucket.
func (s *Server) URL(prefix string) string {
	return "s3://" + s.Bucket + "/" + prefix + "?endpoint=http://" + s.Addr + "&region=us-east-1"
}

// Restart starts the process again on its folder and port, and returns when it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	var output bytes.Buffer
	s.cmd = exec.Command(s.program, "--port", s.Addr, "posix", s.root)
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
	s.cmd.Stderr = &output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: time.Second}
	wait.For(t, 30*time.Second, "the S3 server to answer: "+s.Addr, func() bool {
		answer, err := client.Get("http://" + s.Addr + "/")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return true
	})
}

// Kill ends the process; nothing happens if it does not run.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}
