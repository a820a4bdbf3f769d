package load

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// DefaultManifest is where Send writes what Verify needs.
const DefaultManifest = "spanloom-load.json"

// manifestVersion changes when the same seed begins to mean other spans.
const manifestVersion = 1

// Manifest is what rebuilds the spans of one Send exactly.
type Manifest struct {
	Version         int      `json:"version"`
	Seed            uint64   `json:"seed,string"`
	Base            string   `json:"base"` // ns since the epoch
	TracesPerSecond int      `json:"tracesPerSecond"`
	Protocol        Protocol `json:"protocol"`
	Traces          uint64   `json:"traces"` // numbers 0 to Traces-1 were sent
	Spans           int64    `json:"spans"`  // in these traces
	Accepted        int64    `json:"accepted"`
}

// Data rebuilds the traffic.
func (m *Manifest) Data() (*Data, error) {
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("manifest: version is %d, this program generates version %d: send again", m.Version, manifestVersion)
	}
	if _, err := ParseProtocol(string(m.Protocol)); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	base, err := strconv.ParseInt(m.Base, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("manifest: base is not a number of nanoseconds: %w", err)
	}
	return New(m.Seed, time.Unix(0, base), m.TracesPerSecond, m.Protocol.Form()), nil
}

// ReadManifest reads a file that Send wrote.
func ReadManifest(path string) (*Manifest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read manifest (`spanloom load send` writes it): %w", err)
	}
	m := &Manifest{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", path, err)
	}
	return m, nil
}

// write replaces the file in one step, so that a reader never sees half of it.
func (m *Manifest) write(path string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

// Endpoints is what a server writes to <data-dir>/endpoints.json once all its listeners accept.
type Endpoints struct {
	HTTP       string `json:"http"`
	JaegerGRPC string `json:"jaegerGrpc"`
	Tempo      string `json:"tempo"`
	TempoGRPC  string `json:"tempoGrpc"`
	Zipkin     string `json:"zipkin"`
	OTLPGRPC   string `json:"otlpGrpc"`
	OTLPHTTP   string `json:"otlpHttp"`
	Admin      string `json:"admin"`
	PID        int    `json:"pid"`
}

// ReadEndpoints reads endpoints.json; path may also be the data folder that holds it.
func ReadEndpoints(path string) (*Endpoints, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "endpoints.json")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read endpoints (`spanloom serve` writes them once it accepts): %w", err)
	}
	e := &Endpoints{}
	if err := json.Unmarshal(text, e); err != nil {
		return nil, fmt.Errorf("read endpoints %s: %w", path, err)
	}
	return e, nil
}

// receiver is the address of a protocol's receiver.
func (e *Endpoints) receiver(p Protocol) string {
	switch p {
	case OTLPGRPC:
		return e.OTLPGRPC
	case OTLPHTTP, OTLPHTTPJSON:
		return e.OTLPHTTP
	default:
		return e.Zipkin
	}
}
