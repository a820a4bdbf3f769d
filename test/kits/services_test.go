package kits

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/wait"
)

// kit is a folder of kits/.
type kit struct {
	language string
	locks    []string   // files that say what is fetched; what is built is kept under their sum. nil: every file
	build    [][]string // in the kept folder
	shared   []string   // of the kept folder, beside the sources when they run; nil: it runs in the kept folder
	calls    []call
	variants []variant
}

// call is one way from workload a to workload b.
type call struct{ library, path string }

// variant is one way to run the service.
type variant struct {
	name    string
	spans   bool // whether the application sends spans; otherwise it hands headers on
	command []string
	env     []string
	modules string // of the kept folder, seen as node_modules

	families []string // it keeps in order, by name; nil: all
}

func (v variant) takes(f family) bool {
	return v.families == nil || slices.Contains(v.families, f.name)
}

// ready builds the kit unless that is done, and answers the folder that is kept. It is built beside its place and renamed, so that half of
// one is never run.
func (k kit) ready(t *testing.T) string {
	t.Helper()
	locks := k.locks
	if locks == nil {
		locks = k.sources(t)
	}
	sum := sha256.New()
	for _, name := range locks {
		data, err := os.ReadFile(filepath.Join(k.folder(), name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(data), data)
	}
	fmt.Fprint(sum, k.build)
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache")
	}
	home := filepath.Join(cache, "spanloom", fmt.Sprintf("kit-%s-%x", k.language, sum.Sum(nil)[:6]))
	if _, err := os.Stat(home); err != nil {
		k.make(t, home)
	}
	return home
}

func (k kit) folder() string { return filepath.Join(realparts.Root(), "kits", k.language) }

// sources are the kit's files, without what a person who tried it built there.
func (k kit) sources(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "-C", k.folder(), "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v: the test runs in a git checkout", err)
	}
	return slices.Sorted(strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00"))
}

func (k kit) copy(t *testing.T, to string) {
	t.Helper()
	for _, name := range k.sources(t) {
		data, err := os.ReadFile(filepath.Join(k.folder(), name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// place is the folder to run a variant in: the kept one, or the sources with links to what is shared.
func (k kit) place(t *testing.T, home string, v variant) string {
	t.Helper()
	if k.shared == nil && v.modules == "" {
		return home
	}
	run := t.TempDir()
	k.copy(t, run)
	links := map[string]string{}
	for _, name := range k.shared {
		links[name] = name
	}
	if v.modules != "" {
		links["node_modules"] = v.modules
	}
	for name, target := range links {
		if err := os.Symlink(filepath.Join(home, target), filepath.Join(run, name)); err != nil {
			t.Fatal(err)
		}
	}
	return run
}

func (k kit) make(t *testing.T, home string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		t.Fatal(err)
	}
	beside, err := os.MkdirTemp(filepath.Dir(home), ".kit-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(beside) })
	work := filepath.Join(beside, "k")
	k.copy(t, work)
	for _, command := range k.build {
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out[max(0, len(out)-3000):])
		}
	}
	for _, pip := range glob(t, filepath.Join(work, "venv*", "bin", "pip*")) { // scripts of a venv name their folder; python itself does not need them
		_ = os.Remove(pip)
	}
	if err := os.Rename(work, home); err != nil {
		if _, there := os.Stat(home); there != nil { // another run was faster
			t.Fatal(err)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// service is a running instance.
type service struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
	http  string
	grpc  string
}

// output takes what a service and its children write.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := o.buf.String()
	return text[max(0, len(text)-6000):]
}

// start runs an instance on free ports and waits until it is healthy.
func (v variant) start(t *testing.T, dir, name string, env ...string) *service {
	t.Helper()
	s := &service{t: t, name: name, ended: make(chan struct{}), http: realparts.FreeAddr(t), grpc: realparts.FreeAddr(t)}
	command := v.command
	s.cmd = exec.Command(command[0], command[1:]...)
	if strings.Contains(command[0], "/") {
		s.cmd.Path = filepath.Join(dir, command[0])
	}
	s.cmd.Dir = dir
	for _, own := range os.Environ() {
		if !strings.HasPrefix(own, "OTEL_") {
			s.cmd.Env = append(s.cmd.Env, own)
		}
	}
	s.cmd.Env = append(s.cmd.Env, "HOST=127.0.0.1", "PORT="+realparts.Port(s.http), "GRPC_PORT="+realparts.Port(s.grpc), "OTEL_SERVICE_NAME="+name,
		"PYTHONDONTWRITEBYTECODE=1")
	s.cmd.Env = append(append(s.cmd.Env, env...), v.env...)
	out := &output{}
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // a service that was told to end may end by the signal
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.ended
		if t.Failed() {
			t.Logf("%s said:\n%s", name, out)
		}
	})
	wait.For(t, time.Minute, name+" to be healthy", func() bool {
		select {
		case <-s.ended:
			t.Fatalf("%s ended: %v", name, s.cmd.ProcessState)
		default:
		}
		res, err := http.Get("http://" + s.http + "/health")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return s
}

// stop is what Kubernetes does to a pod: SIGTERM, and some time.
func (s *service) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	wait.For(s.t, 30*time.Second, s.name+" to end after SIGTERM", func() bool {
		select {
		case <-s.ended:
			return true
		default:
			return false
		}
	})
}
