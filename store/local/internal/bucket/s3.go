package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/spanloom/spanloom/internal/problem"
)

// s3 is a bucket of an S3 server.
type s3 struct {
	client minio.Core
	name   string
	prefix string // with a slash at its end, or empty
	at     string
}

const (
	// attempts of one call, by the library: what runs here has retries of its own with longer pauses.
	attempts = 3
	// partSize of uploads: what is larger is sent in parts.
	partSize = 16 << 20
	// partsAtOnce of one object.
	partsAtOnce = 2
	// abortWait is for the abort of an upload whose context ended.
	abortWait = 2 * time.Second
)

func newS3(l Location, transport http.RoundTripper) (Bucket, error) {
	lookup := minio.BucketLookupAuto
	if l.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client, err := minio.NewCore(l.Endpoint, &minio.Options{
		// Environment, then ~/.aws, then the role of the pod or machine.
		Creds:  credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{}}),
		Secure: !l.Plain, Transport: transport, Region: l.Region, BucketLookup: lookup, MaxRetries: attempts,
	})
	if err != nil {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "--bucket", Message: fmt.Sprintf("endpoint %q", l.Endpoint), Err: err, Hint: "write endpoint=https://HOST:PORT"}
	}
	s := &s3{client: *client, name: l.Name, at: l.String()}
	if l.Prefix != "" {
		s.prefix = l.Prefix + "/"
	}
	return s, nil
}

func (s *s3) String() string { return s.at }

// What a policy has to allow.
const (
	rightList   = "s3:ListBucket"
	rightGet    = "s3:GetObject"
	rightPut    = "s3:PutObject"
	rightDelete = "s3:DeleteObject"
	// Of Sweep only.
	rightUploads = "s3:ListBucketMultipartUploads"
	rightAbort   = "s3:AbortMultipartUpload"
)

// named gives lasting errors their names. right is what the call needs.
func (s *s3) named(err error, right string) error {
	if err == nil {
		return nil
	}
	var is error
	r := minio.ToErrorResponse(err)
	switch r.Code {
	case minio.NoSuchKey:
		is = ErrNotFound
	case minio.NoSuchBucket:
		is = ErrNoBucket
	case minio.PreconditionFailed, "ConditionalRequestConflict":
		is = ErrExists
	case minio.AccessDenied:
		return s.denied(err, right)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AccountProblem",
		"XAdminUserNotFound": // versitygw's word for an unknown key
		is = ErrKeys
	case "RequestTimeTooSkewed":
		is = ErrSkewed
	default:
		switch r.StatusCode {
		case http.StatusForbidden:
			return s.denied(err, right)
		case http.StatusUnauthorized:
			is = ErrKeys
		case http.StatusPreconditionFailed:
			is = ErrExists
		default:
			return err
		}
	}
	return fmt.Errorf("%w: %w", is, err)
}

// denied tells a right that is missing from requests without credentials, which S3 answers in the same way.
func (s *s3) denied(err error, right string) error {
	if c, cerr := s.client.GetCreds(); cerr == nil && c.AccessKeyID == "" {
		return fmt.Errorf("%w: there are none: %w", ErrKeys, err)
	}
	return &denied{right, err}
}

func (s *s3) Read(ctx context.Context, name string, off int64, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	var o minio.GetObjectOptions
	if err := o.SetRange(off, off+int64(n)-1); err != nil {
		return nil, err
	}
	body, info, _, err := s.client.GetObject(ctx, s.name, s.prefix+name, o)
	if err != nil {
		if minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
			return nil, nil // the object ends before
		}
		return nil, s.named(err, rightGet)
	}
	defer body.Close()
	p := make([]byte, min(int64(n), max(info.Size, 0))) // of the answer: less came only if the connection was cut
	if _, err := io.ReadFull(body, p); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return p, nil
}

// Put does not wait for the library when its context ends: that would abort the upload of a large object first, for a minute where the line hangs.
func (s *s3) Put(ctx context.Context, name string, data Content) error {
	done := make(chan error, 1)
	go func() {
		_, err := s.client.Client.PutObject(ctx, s.name, s.prefix+name, data, data.Size(), minio.PutObjectOptions{PartSize: partSize, NumThreads: partsAtOnce})
		done <- err
	}()
	select {
	case err := <-done:
		return s.named(err, rightPut)
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return s.named(err, rightPut)
	case <-time.After(abortWait):
		return ctx.Err()
	}
}

func (s *s3) Create(ctx context.Context, name string, data []byte) error {
	o := minio.PutObjectOptions{DisableMultipart: true}
	o.SetMatchETagExcept("*")
	_, err := s.client.Client.PutObject(ctx, s.name, s.prefix+name, bytes.NewReader(data), int64(len(data)), o)
	return s.named(err, rightPut)
}

func (s *s3) List(ctx context.Context, prefix, after string) (names []string, err error) {
	o := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}
	if after != "" {
		o.StartAfter = s.prefix + after
	}
	for object := range s.client.Client.ListObjectsIter(ctx, s.name, o) {
		if object.Err != nil {
			return nil, s.named(object.Err, rightList)
		}
		if name := strings.TrimPrefix(object.Key, s.prefix); name > after { // a server that does not know start-after sends all
			names = append(names, name)
		}
	}
	return names, ctx.Err()
}

func (s *s3) Remove(ctx context.Context, name string) error {
	err := s.named(s.client.Client.RemoveObject(ctx, s.name, s.prefix+name, minio.RemoveObjectOptions{}), rightDelete)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// Sweep aborts uploads in parts: the parts of one that nobody ends stay for ever. An object of one part is there or not.
func (s *s3) Sweep(ctx context.Context, prefix string) (removed int, err error) {
	const atOnce = 1000 // the most that S3 lists
	for key, id := "", ""; ; {
		page, err := s.client.ListMultipartUploads(ctx, s.name, s.prefix+prefix, key, id, "", atOnce)
		if err != nil {
			return removed, s.named(err, rightUploads)
		}
		for _, u := range page.Uploads {
			err := s.client.AbortMultipartUpload(ctx, s.name, u.Key, u.UploadID)
			if minio.ToErrorResponse(err).Code == minio.NoSuchUpload {
				continue
			}
			if err != nil {
				return removed, s.named(err, rightAbort)
			}
			removed++
		}
		if !page.IsTruncated || len(page.Uploads) == 0 {
			return removed, nil
		}
		key, id = page.NextKeyMarker, page.NextUploadIDMarker
	}
}
