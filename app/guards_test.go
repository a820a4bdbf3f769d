package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/config"
)

var fine = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestTokens(t *testing.T) {
	file := writeFile(t, "# tokens\ningest aaaaaaaaaaaaaaaa\nread bbbbbbbbbbbbbbbb\n\nadmin cccccccccccccccc\n")
	tok, err := loadTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(need role, method, header string) int {
		r := httptest.NewRequest(method, "/", nil)
		r.Header.Set("Authorization", header)
		w := httptest.NewRecorder()
		tok.httpGuard(need, fine, nil).ServeHTTP(w, r)
		return w.Code
	}
	for _, c := range []struct {
		need   role
		method string
		header string
		want   int
	}{
		{roleIngest, "POST", "Bearer aaaaaaaaaaaaaaaa", 200},
		{roleIngest, "POST", "bearer aaaaaaaaaaaaaaaa", 200},
		{roleIngest, "POST", "Bearer bbbbbbbbbbbbbbbb", 403},
		{roleRead, "GET", "Bearer bbbbbbbbbbbbbbbb", 200},
		{roleRead, "GET", "Bearer aaaaaaaaaaaaaaaa", 403},
		{roleAdmin, "POST", "Bearer cccccccccccccccc", 200},
		{roleRead, "GET", "Bearer cccccccccccccccc", 200},
		{roleAdmin, "POST", "Bearer bbbbbbbbbbbbbbbb", 403},
		{roleRead, "GET", "Bearer wrong", 401},
		{roleRead, "GET", "Basic bbbbbbbbbbbbbbbb", 401},
		{roleRead, "GET", "", 401},
		{roleIngest, "OPTIONS", "", 200},
	} {
		if got := ask(c.need, c.method, c.header); got != c.want {
			t.Errorf("role %b, %s with %q: %d, want %d", c.need, c.method, c.header, got, c.want)
		}
	}

	if err := os.WriteFile(file, []byte("read dddddddddddddddd\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tok.reload(); err != nil || ask(roleRead, "GET", "Bearer dddddddddddddddd") != 200 || ask(roleRead, "GET", "Bearer bbbbbbbbbbbbbbbb") != 401 {
		t.Errorf("after a reload (%v) the new token must work and the old one not", err)
	}
	if err := os.WriteFile(file, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tok.reload(); err == nil || ask(roleRead, "GET", "Bearer dddddddddddddddd") != 200 {
		t.Errorf("a broken file (%v) must leave the old tokens in force", err)
	}
}

func TestTokenFileMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"read\n":                   ":1: a line is `role token`",
		"\nwrite aaaaaaaaaaaaaaaa": ":2: role \"write\" is none of",
		"read short\n":             "use at least 16",
		"# nothing\n":              "holds no token",
	} {
		if _, err := loadTokens(writeFile(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v does not say %q", text, err, want)
		}
	}
	if _, err := loadTokens("/does/not/exist"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestHostGuard(t *testing.T) {
	for _, c := range []struct {
		listen, host string
		want         int
	}{
		{"127.0.0.1:16686", "localhost:16686", 200},
		{"127.0.0.1:16686", "127.0.0.1", 200},
		{"127.0.0.1:16686", "[::1]:16686", 200},
		{"127.0.0.1:16686", "app.localhost", 200},
		{"127.0.0.1:16686", "traces.example.com", 200},
		{"127.0.0.1:16686", "evil.example", 403},
		{"127.0.0.1:16686", "10.0.0.1", 403},
		{"0.0.0.0:16686", "evil.example", 200},
		{"10.1.2.3:16686", "evil.example", 200},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		hostGuard(c.listen, "https://traces.example.com/x", fine).ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("listening on %s, Host %s: %d, want %d", c.listen, c.host, w.Code, c.want)
		}
	}
}

func TestRequestID(t *testing.T) {
	for sent, echoed := range map[string]bool{"abc-123": true, "": false, "a b": false, "x\n": false, strings.Repeat("a", 65): false} {
		seen := ""
		h := requestID(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("X-Request-Id") }))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-Request-Id", sent)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("X-Request-Id"); got != seen || len(got) == 0 || (got == sent) != echoed {
			t.Errorf("sent %q, answered %q, handler saw %q", sent, got, seen)
		}
	}
}

// selfSigned writes a certificate for 127.0.0.1 that is its own authority.
func selfSigned(t *testing.T, name string) (files config.TLS, pool *x509.CertPool, pair tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	files = config.TLS{Cert: writeFile(t, string(certPEM)), Key: writeFile(t, string(keyPEM))}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	pair, err = tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return files, pool, pair
}

func TestCertificatesReloadAndClientsMustShowTheirs(t *testing.T) {
	files, pool, pair := selfSigned(t, "first")
	files.ClientCA = files.Cert
	c, err := loadCertificate(files)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(fine)
	s.Listener = tls.NewListener(s.Listener, c.config("http/1.1"))
	s.Config.ErrorLog = nil
	s.Start()
	defer s.Close()
	get := func(pool *x509.CertPool, certs ...tls.Certificate) error {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}, DisableKeepAlives: true}}
		res, err := client.Get("https://" + s.Listener.Addr().String())
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, res.Body)
		return res.Body.Close()
	}
	if err := get(pool, pair); err != nil {
		t.Fatalf("with a client certificate: %v", err)
	}
	if err := get(pool); err == nil {
		t.Fatal("without a client certificate the server answered")
	}

	second, newPool, _ := selfSigned(t, "second")
	for from, to := range map[string]string{second.Cert: files.Cert, second.Key: files.Key} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.files.ClientCA = ""
	if err := c.reload(); err != nil {
		t.Fatal(err)
	}
	if err := get(newPool); err != nil {
		t.Errorf("after a reload the new certificate is not served: %v", err)
	}
	if err := os.WriteFile(files.Key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.reload(); err == nil || !strings.Contains(err.Error(), files.Key) {
		t.Errorf("a broken key must be named: %v", err)
	}
	if err := get(newPool); err != nil {
		t.Errorf("after a failed reload the old certificate must stay: %v", err)
	}
}

func TestMemoryLimits(t *testing.T) {
	files := func(m map[string]string) readFile {
		return func(name string) ([]byte, error) {
			if text, ok := m[name]; ok {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		}
	}
	if got := cgroupLimit(files(map[string]string{"/sys/fs/cgroup/memory.max": "536870912\n"})); got != 512<<20 {
		t.Errorf("cgroup v2: %d", got)
	}
	if got := cgroupLimit(files(map[string]string{"/sys/fs/cgroup/memory.max": "max\n"})); got != 0 {
		t.Errorf("no limit: %d", got)
	}
	if got := cgroupLimit(files(map[string]string{"/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"})); got != 0 {
		t.Errorf("cgroup v1 without a limit: %d", got)
	}
	if got := totalMemory(files(map[string]string{"/proc/meminfo": "MemTotal:       2048 kB\nMemFree: 1 kB\n"})); got != 2<<20 {
		t.Errorf("machine: %d", got)
	}
}
