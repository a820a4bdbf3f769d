package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// defaultServer is where `spanloom serve` listens if nobody says otherwise.
const defaultServer = "http://127.0.0.1:16686"

// serverFlags are the flags by which a command finds a running Spanloom.
type serverFlags struct{ server, dataDir, tokenFile string }

func (f *serverFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.server, "server", "", "base `URL` of a running Spanloom (default: that of --data-dir, else "+defaultServer+")")
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "./spanloom-data", "data `folder` of a running Spanloom, whose endpoints.json says where it listens")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "`file` with a bearer token of role read")
}

// server is a running Spanloom as a client sees it.
type server struct {
	base  string // without a slash at its end
	token string // empty for none
}

func (f *serverFlags) find() (*server, error) {
	s := &server{base: f.server}
	if s.base == "" {
		s.base = defaultServer
		if ends := endpointsOf(f.dataDir); ends.HTTP != "" {
			s.base = "http://" + ends.HTTP
		}
	}
	u, err := url.Parse(s.base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--server %q is not a URL such as %s", s.base, defaultServer)
	}
	s.base = strings.TrimSuffix(s.base, "/")
	s.token, err = readToken(f.tokenFile)
	return s, err
}

// endpoints are the listeners of a running Spanloom, host:port; empty for those that are not there.
type endpoints struct{ HTTP, OTLPHTTP string }

// endpointsOf reads what a server wrote into its data folder; nothing if none runs there.
func endpointsOf(dataDir string) (ends endpoints) {
	data, err := os.ReadFile(filepath.Join(dataDir, "endpoints.json"))
	if err != nil || json.Unmarshal(data, &ends) != nil {
		return endpoints{}
	}
	return ends
}

// readToken is the bearer token in a file; empty without a file.
func readToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	token, err := os.ReadFile(file)
	return strings.TrimSpace(string(token)), err
}

// errNotFound is the answer of a server that has no such thing; its text says which.
type errNotFound struct{ message string }

func (e errNotFound) Error() string { return e.message }

// get fetches a path below the base URL. What the server says of an error is the error.
func (s *server) get(ctx context.Context, path string) ([]byte, http.Header, error) {
	return s.ask(ctx, http.MethodGet, path, nil)
}

// post sends JSON.
func (s *server) post(ctx context.Context, path string, body io.Reader) ([]byte, error) {
	answer, _, err := s.ask(ctx, http.MethodPost, path, body)
	return answer, err
}

func (s *server) ask(ctx context.Context, method, path string, payload io.Reader) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, payload)
	if err != nil {
		return nil, nil, fmt.Errorf("--server %q: %w", s.base, err)
	}
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	res, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("ask %s: %w (is `spanloom serve` running there? see --server)", s.base, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode == http.StatusOK {
		return body, res.Header, err
	}
	message := serverMessage(res, body)
	switch {
	case message == "":
		return nil, nil, fmt.Errorf("%s answered %s (is that a Spanloom? see --server)", s.base, res.Status)
	case res.StatusCode == http.StatusNotFound:
		return nil, nil, errNotFound{message}
	default:
		return nil, nil, errors.New(message)
	}
}

// serverMessage is the text of an error in the own API's form or in Tempo's, which is the text alone.
func serverMessage(res *http.Response, body []byte) string {
	var e struct {
		Error struct{ Message, Hint string } `json:"error"`
	}
	switch {
	case json.Unmarshal(body, &e) == nil && e.Error.Hint != "":
		return e.Error.Message + " (" + e.Error.Hint + ")"
	case e.Error.Message != "":
		return e.Error.Message
	case strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") && res.Header.Get("X-Content-Type-Options") != "":
		return strings.TrimSpace(string(body))
	default:
		return ""
	}
}

// dial opens a gRPC connection to the port of the base URL. Nothing is sent before the first call.
func (s *server) dial() (*grpc.ClientConn, error) {
	u, err := url.Parse(s.base)
	if err != nil {
		return nil, err
	}
	creds, port := insecure.NewCredentials(), "80"
	if u.Scheme == "https" {
		creds, port = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}), "443"
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return grpc.NewClient("passthrough:///"+net.JoinHostPort(u.Hostname(), port), grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
}

// withToken adds the token to a call.
func (s *server) withToken(ctx context.Context) context.Context {
	if s.token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+s.token)
}
