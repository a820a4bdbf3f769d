package bucket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/spanloom/spanloom/internal/problem"
)

// Location is an address that was read: s3://NAME/PREFIX?endpoint=… or file:///FOLDER.
type Location struct {
	Folder string // of file://; the rest is empty then

	Name, Prefix string
	Endpoint     string // host or host:port
	Plain        bool   // HTTP without TLS
	Region       string // empty: asked of the server
	CAFile       string
	PathStyle    bool // endpoint/NAME, not NAME.endpoint; without it the library decides by the endpoint
}

// String is the address without options.
func (l Location) String() string {
	if l.Folder != "" {
		return "file://" + filepath.ToSlash(l.Folder)
	}
	return "s3://" + l.Name + "/" + l.Prefix
}

const amazon = "s3.amazonaws.com"

// Parse reads the address of a bucket. It connects to nothing.
func Parse(text string) (Location, error) {
	bad := func(hint, format string, args ...any) (Location, error) {
		return Location{}, &problem.Problem{Kind: problem.Invalid, Field: "--bucket", Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	const form = "write s3://NAME/PREFIX?endpoint=https://HOST, or file:///FOLDER"
	u, err := url.Parse(text)
	if err != nil {
		return bad(form, "the address is no URL")
	}
	if u.User != nil { // the text is not shown: it may hold a secret
		return bad("give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or in a credentials file: arguments can be read by everybody on the machine",
			"credentials stand in the address")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad(form, "%q: the options cannot be read", text)
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return bad("write file:/// and the whole path", "%q names no folder", text)
		}
		if len(q) > 0 {
			return bad("leave them out", "%q: a folder takes no options", text)
		}
		return Location{Folder: filepath.Clean(u.Path)}, nil
	case "s3":
	default:
		return bad(form, "%q is neither s3:// nor file://", text)
	}
	l := Location{Name: u.Host, Prefix: strings.Trim(u.Path, "/"), Endpoint: amazon}
	if l.Name == "" {
		return bad(form, "%q names no bucket", text)
	}
	for key, values := range q {
		v := values[len(values)-1]
		switch key {
		case "endpoint":
			l.Endpoint = v
			if scheme, rest, ok := strings.Cut(v, "://"); ok {
				if scheme != "http" && scheme != "https" {
					return bad("write endpoint=https://HOST:PORT", "endpoint %q is neither http:// nor https://", v)
				}
				l.Endpoint, l.Plain = strings.TrimSuffix(rest, "/"), scheme == "http"
			}
			if l.Endpoint == "" || strings.ContainsAny(l.Endpoint, "/?#@") {
				return bad("write endpoint=https://HOST:PORT", "endpoint %q is no host", v)
			}
		case "region":
			l.Region = v
		case "ca_file":
			l.CAFile = v
		case "path_style":
			if l.PathStyle, err = strconv.ParseBool(v); err != nil {
				return bad("write true or false", "path_style=%s", v)
			}
		default:
			return bad("options are endpoint, region, ca_file and path_style", "%q: unknown option %q", text, key)
		}
	}
	return l, nil
}

// Open connects to nothing but what finding out credentials takes: whether the bucket is there shows with the first call. A folder must
// be there.
func Open(ctx context.Context, l Location) (Bucket, error) {
	if l.Folder != "" {
		return newFolder(l)
	}
	transport, err := minio.DefaultTransport(!l.Plain)
	if err != nil {
		return nil, err
	}
	if l.CAFile != "" {
		if err := trust(transport, l.CAFile); err != nil {
			return nil, err
		}
	}
	return newS3(l, transport)
}

func trust(t *http.Transport, file string) error {
	pem, err := os.ReadFile(file)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(pem) {
		err = fmt.Errorf("%s holds no PEM certificate", file)
	}
	if err != nil {
		return &problem.Problem{Kind: problem.Invalid, Field: "--bucket", Message: "ca_file cannot be used", Err: err, Hint: "give a PEM file with the authority of the server's certificate"}
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.TLSClientConfig.RootCAs = pool
	return nil
}
