// Package searchserver starts real Elasticsearch and OpenSearch servers for tests: those of `tools/get`, on free ports of 127.0.0.1.
package searchserver

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/wait"
)

// Kind is a server of tools.lock: "elasticsearch", "elasticsearch@8.12.2", "opensearch".
type Kind string

// The kinds.
const (
	Elasticsearch    Kind = "elasticsearch"
	OldElasticsearch Kind = "elasticsearch@8.12.2"
	OpenSearch       Kind = "opensearch"
)

// Server is one server with a data folder that outlives its process.
type Server struct {
	Addr     string // host:port of HTTP; the same after a restart
	Password string // of the user elastic, empty without security

	name, folder, install, java string
	transport                   string
	cmd                         *exec.Cmd
	ended                       chan struct{}
	output                      *os.File
}

// nobody is who runs the servers where the test is root: they refuse to.
const nobody = 65534

// Start runs a server until the test ends, or skips the test outside of the lane. password, which only Elasticsearch has, turns security
// on: the user is elastic. Cost: 15 to 30 seconds of processor time, 750 MB.
func Start(t testing.TB, kind Kind, password string) *Server {
	t.Helper()
	realparts.Lane(t, "a search server")
	name, _, _ := strings.Cut(string(kind), "@")
	s := &Server{name: name, Password: password, Addr: realparts.FreeAddr(t), transport: realparts.FreeAddr(t)}
	least := 17
	if name == "opensearch" {
		least = 21
	}
	s.java = javaHome(t, least)
	program := realparts.Get(t, string(kind))
	folder, err := os.MkdirTemp("", "spanloom-"+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	s.folder = folder
	t.Cleanup(func() {
		s.Kill()
		os.RemoveAll(folder)
	})
	// A copy by links: the cache may lie where nobody else may read.
	s.install = filepath.Join(folder, "install")
	from := filepath.Dir(filepath.Dir(program))
	if out, err := exec.Command("cp", "-al", from, s.install).CombinedOutput(); err != nil {
		os.RemoveAll(s.install)
		if out2, err := exec.Command("cp", "-a", from, s.install).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v: %s %s", from, err, out, out2)
		}
	}
	s.configure(t, from)
	s.Restart(t)
	return s
}

// javaHome finds a Java of at least a version: that of the path, else of where distributions put them.
func javaHome(t testing.TB, least int) string {
	t.Helper()
	var homes []string
	if java, err := exec.LookPath("java"); err == nil {
		if java, err = filepath.EvalSymlinks(java); err == nil {
			homes = append(homes, filepath.Dir(filepath.Dir(java)))
		}
	}
	more, _ := filepath.Glob("/usr/lib/jvm/*")
	for _, home := range append(homes, more...) {
		release, err := os.ReadFile(filepath.Join(home, "release"))
		if err != nil {
			continue
		}
		_, version, _ := strings.Cut(string(release), `JAVA_VERSION="`)
		version, _, _ = strings.Cut(version, `"`)
		version, _, _ = strings.Cut(version, ".")
		if n, err := strconv.Atoi(version); err == nil && n >= least {
			return home
		}
	}
	t.Fatalf("no Java %d or newer: install one", least)
	return ""
}

// configure writes the configuration folder, and the keystore with the password.
func (s *Server) configure(t testing.TB, from string) {
	t.Helper()
	config := filepath.Join(s.folder, "config")
	if out, err := exec.Command("cp", "-r", filepath.Join(from, "config"), config).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := fmt.Sprintf("network.host: 127.0.0.1\nhttp.port: %s\ntransport.port: %s\ndiscovery.type: single-node\n"+
		"path.data: %s\npath.logs: %s\ncluster.routing.allocation.disk.threshold_enabled: false\ncluster.max_shards_per_node: 5000\naction.destructive_requires_name: false\n",
		realparts.Port(s.Addr), realparts.Port(s.transport), filepath.Join(s.folder, "data"), filepath.Join(s.folder, "logs"))
	if s.name == "elasticsearch" {
		text += fmt.Sprintf("xpack.security.enabled: %t\n", s.Password != "")
	}
	if err := os.WriteFile(filepath.Join(config, s.name+".yml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// Logs of the virtual machine would go to where the program lies.
	options := filepath.Join(config, "jvm.options")
	lines, err := os.ReadFile(options)
	if err != nil {
		t.Fatal(err)
	}
	var kept strings.Builder
	for line := range strings.Lines(string(lines)) {
		if !strings.Contains(line, "logs/") {
			kept.WriteString(line)
		}
	}
	if err := os.WriteFile(options, []byte(kept.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"data", "logs", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.folder, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		args := []string{"-R", strconv.Itoa(nobody), s.folder + "/config", s.folder + "/data", s.folder + "/logs", s.folder + "/tmp"}
		if out, err := exec.Command("chown", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := os.Chmod(s.folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if s.Password != "" {
		if err := os.WriteFile(filepath.Join(config, "roles.yml"), []byte(roles), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			program string
			args    []string
			stdin   string
		}{
			{"elasticsearch-keystore", []string{"create"}, ""},
			{"elasticsearch-keystore", []string{"add", "-x", "bootstrap.password"}, s.Password},
			{"elasticsearch-users", []string{"useradd", Reader, "-p", ReaderPassword, "-r", "spanloom_reader"}, ""},
		} {
			cmd := s.command(filepath.Join(s.install, "bin", c.program), c.args...)
			cmd.Stdin = strings.NewReader(c.stdin)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s %v: %v: %s", c.program, c.args, err, out)
			}
		}
	}
}

// Reader is a user of servers with security who may only read spanloom-*; ReaderPassword is his password.
const (
	Reader         = "reader"
	ReaderPassword = "only reading"
)

// roles are of a file: the index of roles needs modules that the zip does not have.
const roles = "spanloom_reader:\n  indices:\n    - names: ['spanloom-*']\n      privileges: [read, view_index_metadata]\n"

// command is a program of the server, run by who may.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = s.folder
	env := map[string]string{"elasticsearch": "ES", "opensearch": "OPENSEARCH"}[s.name]
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.folder, env + "_JAVA_HOME=" + s.java, env + "_PATH_CONF=" + filepath.Join(s.folder, "config"),
		env + "_JAVA_OPTS=-Xms768m -Xmx768m", env + "_TMPDIR=" + filepath.Join(s.folder, "tmp")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// Restart starts the process again on its folder and ports, and returns when it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	output, err := os.Create(filepath.Join(s.folder, "output"))
	if err != nil {
		t.Fatal(err)
	}
	s.output = output
	s.cmd = s.command(filepath.Join(s.install, "bin", s.name))
	s.cmd.Stdout, s.cmd.Stderr = output, output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	wait.For(t, 180*time.Second, s.name+" to answer", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended: %.4000s", s.name, s.Output())
		default:
		}
		status, _ := s.try(http.MethodGet, "/_cluster/health?wait_for_status=yellow&timeout=1s", "")
		return status == http.StatusOK
	})
}

// Kill ends the process as a power cut would; nothing happens if it does not run.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.ended
	s.output.Close()
	s.cmd = nil
}

// URL is where the server is, as --opensearch-url takes it.
func (s *Server) URL() string { return "http://" + s.Addr }

func (s *Server) try(method, path, body string) (int, string) {
	req, err := http.NewRequest(method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.Password != "" {
		req.SetBasicAuth("elastic", s.Password)
	}
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// Do asks the server and answers its text.
func (s *Server) Do(t testing.TB, method, path, body string) string {
	t.Helper()
	status, text := s.try(method, path, body)
	if status/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

// Remove deletes what may not be there.
func (s *Server) Remove(t testing.TB, path string) {
	t.Helper()
	if status, text := s.try(http.MethodDelete, path, ""); status/100 != 2 && status != http.StatusNotFound {
		t.Errorf("DELETE %s: %d %s", path, status, text)
	}
}

// PID is the process of the server: that of Elasticsearch is a child of a thread of its launcher.
func (s *Server) PID() int {
	pid := s.cmd.Process.Pid
	if s.name == "opensearch" {
		return pid
	}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range lists {
		text, _ := os.ReadFile(file)
		for _, child := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(child); err == nil {
				return n
			}
		}
	}
	return pid
}

// Output is what the process printed so far.
func (s *Server) Output() string {
	text, _ := os.ReadFile(filepath.Join(s.folder, "output"))
	return string(text)
}
