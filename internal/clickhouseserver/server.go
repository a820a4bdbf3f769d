// Package clickhouseserver starts real ClickHouse servers for tests: the library of `tools/get clickhouse` under the launcher
// tools/clickhouse, on free ports of 127.0.0.1.
package clickhouseserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"

	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/wait"
)

// Server is one server with a data folder that outlives its process.
type Server struct {
	Addr string // of the native protocol, host:port; the same after a restart
	HTTP string // of the HTTP interface

	library, folder, config string
	cmd                     *exec.Cmd
	stdin                   io.WriteCloser
	output                  *output
}

// Library fetches the server and answers its path, or skips the test outside of the lane.
func Library(t testing.TB) string {
	t.Helper()
	realparts.Lane(t, "a ClickHouse server")
	return realparts.Get(t, "clickhouse")
}

// Start runs a server until the test ends. config is the text of a configuration file, empty for none: a user `default` without
// a password who may do everything. Cost: about a second.
func Start(t testing.TB, config string) *Server {
	t.Helper()
	s := placed(t)
	s.start(t, config)
	return s
}

// placed is a server with its folder and addresses that does not run yet.
func placed(t testing.TB) *Server {
	t.Helper()
	s := &Server{library: Library(t)}
	// Not t.TempDir: a server that was killed may still write while the folder is removed.
	folder, err := os.MkdirTemp("", "spanloom-clickhouse-")
	if err != nil {
		t.Fatal(err)
	}
	s.folder = folder
	t.Cleanup(func() {
		s.Kill()
		os.RemoveAll(folder)
	})
	s.Addr, s.HTTP = realparts.FreeAddr(t), realparts.FreeAddr(t)
	return s
}

func (s *Server) start(t testing.TB, config string) {
	t.Helper()
	s.config = ""
	if config != "" {
		s.config = filepath.Join(s.folder, "config.xml")
		if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Restart(t)
}

// Configure kills the process and starts it again with another configuration file.
func (s *Server) Configure(t testing.TB, config string) {
	t.Helper()
	s.Kill()
	s.start(t, config)
}

// Cluster is the name that the servers of StartCluster know each other by.
const Cluster = "two"

// StartCluster runs servers that know each other as the shards of Cluster, in order, with these weights.
func StartCluster(t testing.TB, weights ...int) []*Server {
	t.Helper()
	var servers []*Server
	var addrs []string
	for range weights {
		s := placed(t)
		servers, addrs = append(servers, s), append(addrs, s.Addr)
	}
	for _, s := range servers {
		s.start(t, ClusterConfig(weights, addrs...))
	}
	return servers
}

// ClusterConfig is a configuration file that makes addresses of this machine the shards of Cluster, in order, with these weights.
func ClusterConfig(weights []int, addrs ...string) string {
	var w strings.Builder
	w.WriteString("<clickhouse><remote_servers><" + Cluster + ">\n")
	for i, weight := range weights {
		fmt.Fprintf(&w, "<shard><weight>%d</weight><replica><host>127.0.0.1</host><port>%s</port></replica></shard>\n", weight, realparts.Port(addrs[i]))
	}
	w.WriteString("</" + Cluster + "></remote_servers></clickhouse>\n")
	return w.String()
}

// greets reports whether the native protocol is spoken at an address. It waits for the greeting, or a refusal in words: the library ends if a client is gone
// before it looks at the connection.
func greets(addr string) bool {
	conn, err := ch.Dial(context.Background(), ch.Options{Address: addr, HandshakeTimeout: time.Minute})
	if err == nil {
		conn.Close()
	}
	var said *ch.Exception
	return err == nil || errors.As(err, &said)
}

// Restart starts the process again on its folder and ports, and returns when it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	args := []string{s.library, filepath.Join(s.folder, "data"), realparts.Port(s.HTTP), realparts.Port(s.Addr)}
	if s.config != "" {
		args = append(args, s.config)
	}
	s.output = new(output)
	s.cmd = exec.Command(filepath.Join(realparts.Root(), "tools", "clickhouse"), args...)
	s.cmd.Dir = s.folder
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdin = stdin
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: time.Second}
	wait.For(t, 60*time.Second, "ClickHouse to answer a ping: "+s.HTTP, func() bool {
		answer, err := client.Get("http://" + s.HTTP + "/ping")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK && greets(s.Addr)
	})
}

// Pause stops the process where it stands: connections to it are taken and nothing answers.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
}

// Resume lets the process go on after Pause.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGCONT)
}

func (s *Server) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the process as a power cut would; nothing happens if it does not run.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	s.stdin.Close()
	s.cmd.Wait()
	s.cmd = nil
}

// Stop ends the process in order.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	s.stdin.Close()
	s.cmd.Wait()
	s.cmd = nil
}

// Run asks a statement by the HTTP interface as the user default and answers its text.
func (s *Server) Run(t testing.TB, statement string) string {
	t.Helper()
	answer, err := http.Post("http://"+s.HTTP+"/", "text/plain", strings.NewReader(statement))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s\n%s %s %v", statement, answer.Status, text, err)
	}
	return strings.TrimSpace(string(text))
}

// Number is Run for an answer that is one number.
func (s *Server) Number(t testing.TB, statement string) int {
	t.Helper()
	n, err := strconv.Atoi(s.Run(t, statement))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// PID is the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Output is what the process printed so far, its last 64 KiB.
func (s *Server) Output() string { return s.output.String() }

// output keeps the end of what a process prints.
type output struct {
	mu   sync.Mutex
	text []byte
}

func (o *output) Write(p []byte) (int, error) {
	const most = 64 << 10
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if len(o.text) > 2*most {
		o.text = append([]byte(nil), o.text[len(o.text)-most:]...)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("%s", o.text)
}
