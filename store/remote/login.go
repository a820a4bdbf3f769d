// Package remote is what engines share whose data lives in servers that people run.
package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
)

// Class says what to do about a batch that was not stored.
type Class uint8

// The classes.
const (
	Retry  Class = iota // the server is away, busy or out of room: the same batch may be stored later
	Poison              // the server will never take this batch, others it will
	Fatal               // nothing will be stored before a person changes something: password, rights, schema
)

// Refused is the error of an insert of which the server has every row but some, which it will never take.
type Refused struct {
	Rows []Place // in order
	Err  error   // why the first of them was refused
}

// ErrPartial is in the error, of kind Unavailable, at the end of an answer that is whole but for what some of several servers have.
var ErrPartial = errors.New("what the other servers have is here")

// Place is a row of the batches of an insert.
type Place struct{ Batch, Row int }

func (r *Refused) Error() string { return fmt.Sprintf("%d spans are refused: %v", len(r.Rows), r.Err) }

// Unwrap gives the reason.
func (r *Refused) Unwrap() error { return r.Err }

// Login is who asks a server, and how each is sure of the other. It is read from an address: user:password@hosts?options.
type Login struct {
	Setting      string // that the address is of, for errors
	Variable     string // of the environment, where a password may stand that no file holds
	User         string
	PasswordFile string // read whenever a password is needed, so that a changed one needs no restart
	password     string
	TLS          *tls.Config // nil for plain connections
	Warnings     []string    // what a start log should say
}

// TakeUser takes user and password off the hosts of an address; not ok if they are not written as an address has them. A password
// is taken with a warning, because command lines are seen by all.
func (l *Login) TakeUser(hosts string) (rest string, ok bool) {
	i := strings.LastIndexByte(hosts, '@')
	if i < 0 {
		return hosts, true
	}
	user, password, given := strings.Cut(hosts[:i], ":")
	var err1, err2 error
	l.User, err1 = url.PathUnescape(user)
	l.password, err2 = url.PathUnescape(password)
	if given {
		l.Warnings = append(l.Warnings, "the password stands in --"+l.Setting+", where every process of the machine can read it: use ?password_file= or "+l.Variable)
	}
	return hosts[i+1:], err1 == nil && err2 == nil && l.User != ""
}

// TakeVariable takes the password of the environment where the address has none.
func (l *Login) TakeVariable(getenv func(string) string) {
	if l.password == "" && l.PasswordFile == "" {
		l.password = getenv(l.Variable)
	}
}

// HasPassword reports whether there is one, or a file of one.
func (l *Login) HasPassword() bool { return l.password != "" || l.PasswordFile != "" }

// Password is the password now.
func (l *Login) Password() (string, error) {
	if l.PasswordFile == "" {
		return l.password, nil
	}
	text, err := os.ReadFile(l.PasswordFile)
	if err != nil {
		return "", &problem.Problem{Kind: problem.Unavailable, Field: l.Setting, Message: "password_file", Err: err,
			Hint: "name a file that this process may read", RetryAfter: time.Minute}
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// Secure turns TLS on, with the options skip_verify as skip and server_name.
func (l *Login) Secure(q url.Values, skip bool) {
	l.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: q.Get("server_name"), InsecureSkipVerify: skip}
	if skip {
		l.Warnings = append(l.Warnings, "skip_verify=true: whoever answers at the address is taken for the server; use ca_file")
	}
}

// LoadFiles reads the options ca_file, cert_file and key_file, if there is TLS.
func (l *Login) LoadFiles(q url.Values) error {
	if l.TLS == nil {
		return nil
	}
	unreadable := func(name string, err error) error {
		return &problem.Problem{Kind: problem.Invalid, Field: l.Setting, Message: name, Err: err, Hint: "name a file in PEM form that this process may read"}
	}
	if file := q.Get("ca_file"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return unreadable("ca_file", err)
		}
		l.TLS.RootCAs = x509.NewCertPool()
		if !l.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return unreadable("ca_file", fmt.Errorf("%s holds no certificate", file))
		}
	}
	if file := q.Get("cert_file"); file != "" {
		pair, err := tls.LoadX509KeyPair(file, q.Get("key_file"))
		if err != nil {
			return unreadable("cert_file, key_file", err)
		}
		l.TLS.Certificates = []tls.Certificate{pair}
	}
	return nil
}
