package reference

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/wait"
)

// startZipkin runs Zipkin's server with its memory store. completed are the tags it offers for completion.
func startZipkin(t *testing.T, completed []string) (base string) {
	t.Helper()
	jar := realparts.Get(t, "zipkin")
	cmd := exec.Command("java", "-Xmx256m", "-jar", jar)
	cmd.Dir = t.TempDir()
	port := realparts.Port(realparts.FreeAddr(t))
	cmd.Env = append(os.Environ(), "QUERY_PORT="+port, "AUTOCOMPLETE_KEYS="+strings.Join(completed, ","), "MEM_MAX_SPANS=1000000")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("Zipkin's log ends:\n%s", log.Bytes()[max(0, log.Len()-2000):])
		}
	})
	base = "http://127.0.0.1:" + port
	wait.For(t, 2*time.Minute, "Zipkin's server", func() bool {
		res, err := http.Get(base + "/health")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return base
}

// post sends spans and wants them taken.
func post(t *testing.T, base string, body []byte) {
	t.Helper()
	res, err := http.Post(base+"/api/v2/spans", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusAccepted {
		t.Fatalf("%s: %d %s", base, res.StatusCode, text)
	}
}

// get asks a path.
func get(t *testing.T, base, path string) (int, string) {
	t.Helper()
	res, err := http.Get(base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func skipUnlessLong(t *testing.T) {
	if os.Getenv("SPANLOOM_LONG") != "1" {
		t.Skip("starts Zipkin's server: make test-long")
	}
}
