package sdks

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/app"
	"github.com/spanloom/spanloom/internal/wait"
)

// sender is a program that sends spans in one language.
type sender struct {
	language string
	// build fetches what the sender needs into its folder, which holds a copy of its sources. nil: nothing is fetched.
	build [][]string
	run   []string
}

var senders = []sender{
	{"go", [][]string{{"go", "build", "-o", "sender", "."}}, []string{"./sender"}},
	{"python", [][]string{{"python3", "-m", "venv", "venv"}, {"venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"}},
		[]string{"venv/bin/python", "sender.py"}},
	{"node", [][]string{{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"}}, []string{"node", "sender.js"}},
	{"java", [][]string{{"mvn", "-q", "-B", "compile", "dependency:copy-dependencies", "-DoutputDirectory=deps", "-DincludeScope=runtime"}},
		[]string{"java", "-cp", "target/classes:deps/*", "sender.Sender"}},
}

// folder is where a sender is built: in the cache, named by the content of its sources, so that it is built once.
func (s sender) folder(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache")
	}
	sum := sha256.New()
	if err := fs.WalkDir(os.DirFS(s.language), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(s.language, path))
		fmt.Fprintf(sum, "%s %d\n%s", path, len(data), data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(cache, "spanloom", fmt.Sprintf("sender-%s-%x", s.language, sum.Sum(nil)[:6]))
}

// ready builds the sender unless it is there. It is built beside its place and renamed, so that half of one is never run.
func (s sender) ready(t *testing.T) string {
	t.Helper()
	home := s.folder(t)
	if _, err := os.Stat(home); err == nil {
		return home
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(filepath.Dir(home), ".sender-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) }) // gone where it was renamed
	if err := os.CopyFS(filepath.Join(work, "s"), os.DirFS(s.language)); err != nil {
		t.Fatal(err)
	}
	for _, command := range s.build {
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
		cmd.Dir = filepath.Join(work, "s")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out[max(0, len(out)-3000):])
		}
	}
	if s.language == "python" { // the scripts of a venv name their folder; python itself does not need them
		_ = os.Remove(filepath.Join(work, "s", "venv", "bin", "pip"))
	}
	if err := os.Rename(filepath.Join(work, "s"), home); err != nil {
		if _, there := os.Stat(home); there != nil { // another run was faster
			t.Fatal(err)
		}
	}
	return home
}

// sent is a trace that a sender says it sent.
type sent struct{ protocol, service, trace string }

// send runs the sender and reads what it sent.
func (s sender) send(t *testing.T, e app.Endpoints) (traces []sent) {
	t.Helper()
	home := s.ready(t)
	cmd := exec.CommandContext(t.Context(), s.run[0], s.run[1:]...)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "OTLP_GRPC="+e.OTLPGRPC, "OTLP_HTTP=http://"+e.OTLPHTTP, "ZIPKIN=http://"+e.Zipkin)
	cmd.WaitDelay = wait.Scale(time.Minute)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(s.run, " "), err, problems.Bytes()[max(0, problems.Len()-3000):])
	}
	for line := range strings.Lines(out.String()) {
		var x sent
		if n, err := fmt.Sscan(line, &x.protocol, &x.service, &x.trace); n != 3 {
			t.Fatalf("%q: %v", line, err)
		}
		traces = append(traces, x)
	}
	return traces
}
