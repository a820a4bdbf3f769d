package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/spanloom/spanloom/config"
)

// certificate is a listener's TLS with certificates that can be exchanged while it serves.
type certificate struct {
	files config.TLS
	now   atomic.Pointer[tls.Config]
}

func loadCertificate(files config.TLS) (*certificate, error) {
	c := &certificate{files: files}
	return c, c.reload()
}

// reload reads the files again; on error the old certificate stays in force.
func (c *certificate) reload() error {
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fmt.Errorf("tls certificate %s with key %s: %w", c.files.Cert, c.files.Key, err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if c.files.ClientCA != "" {
		pem, err := os.ReadFile(c.files.ClientCA)
		if err != nil {
			return fmt.Errorf("tls client authority: %w", err)
		}
		conf.ClientCAs = x509.NewCertPool()
		if !conf.ClientCAs.AppendCertsFromPEM(pem) {
			return errors.New("tls client authority " + c.files.ClientCA + " holds no PEM certificate")
		}
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.now.Store(conf)
	return nil
}

// config for a listener that offers the given protocols by ALPN; each connection takes the newest certificate.
func (c *certificate) config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			conf := c.now.Load().Clone()
			conf.NextProtos = protocols
			return conf, nil
		},
	}
}
