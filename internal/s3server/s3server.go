// Package s3server starts a real S3 server for tests: versitygw of `tools/get versitygw` over a folder, on a free port of 127.0.0.1.
package s3server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

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

	program, root, accounts string
	cmd                     *exec.Cmd
}

// Start runs a server until the test ends, and gives this process its credentials. Cost: well below a second.
func Start(t testing.TB) *Server {
	t.Helper()
	realparts.Lane(t, "an S3 server")
	s := &Server{program: realparts.Get(t, "versitygw"), Bucket: "spans", root: t.TempDir(), accounts: t.TempDir(), Addr: realparts.FreeAddr(t)}
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

// Account makes a user that has some rights only, s3:GetObject for one, whatever it had before, and gives this process its credentials until the test ends.
func (s *Server) Account(t *testing.T, name string, rights ...string) {
	t.Helper()
	const secret = "secretofauser"
	admin := exec.Command(s.program, "admin", "--access", AccessKey, "--secret", SecretKey, "--endpoint-url", "http://"+s.Addr,
		"create-user", "--access", name, "--secret", secret, "--role", "user")
	if out, err := admin.CombinedOutput(); err != nil && !strings.Contains(string(out), "UserAlreadyExists") {
		t.Fatalf("make the user %s: %v\n%s", name, err, out)
	}
	s.Rights(t, name, rights...)
	t.Setenv("AWS_ACCESS_KEY_ID", name)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
}

// Rights replaces what a user of Account may do. The user may do nothing where there are none.
func (s *Server) Rights(t *testing.T, name string, rights ...string) {
	t.Helper()
	type statement struct {
		Effect, Action, Resource string
		Principal                map[string]string
	}
	policy := struct {
		Version   string
		Statement []statement
	}{Version: "2012-10-17"}
	for _, right := range slices.Concat(rights, []string{"s3:GetBucketLocation"}) {
		resource := "arn:aws:s3:::" + s.Bucket
		if strings.HasSuffix(right, "Object") || right == "s3:AbortMultipartUpload" {
			resource += "/*"
		}
		policy.Statement = append(policy.Statement, statement{"Allow", right, resource, map[string]string{"AWS": name}})
	}
	text, err := json.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	root, err := minio.New(s.Addr, &minio.Options{Creds: credentials.NewStaticV4(AccessKey, SecretKey, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := root.SetBucketPolicy(t.Context(), s.Bucket, string(text)); err != nil {
		t.Fatalf("policy %s: %v", text, err)
	}
}

// Restart starts the process again on its folder and port, and returns when it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	var output bytes.Buffer
	s.cmd = exec.Command(s.program, "--port", s.Addr, "--iam-dir", s.accounts, "posix", s.root)
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
