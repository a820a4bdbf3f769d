// Package bucket is object storage as the embedded engine sees it: six calls, which S3 and a folder implement. It knows nothing of
// what is in the objects.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spanloom/spanloom/internal/problem"
)

// Bucket is objects under a prefix. Names have no leading slash and are relative to the prefix. All methods are safe for concurrent
// use and end with their context. Errors wrap one of those below where they say something lasting; any other error means that the
// bucket could not be reached, or answered nonsense, this time.
type Bucket interface {
	// Read gives n bytes of an object from off on; less only where the object ends before. ErrNotFound if there is none.
	Read(ctx context.Context, name string, off int64, n int) ([]byte, error)
	// Put makes or replaces an object: as a whole, or not at all. It is durable when Put returns. Where the context ends first, data may still be read
	// for a while.
	Put(ctx context.Context, name string, data Content) error
	// Create is Put for an object that must not be there: ErrExists if it is. Of several who create one name at once one wins. After
	// another error it may be there all the same.
	Create(ctx context.Context, name string, data []byte) error
	// List gives the names that begin with a prefix and come after a name, sorted by bytes.
	List(ctx context.Context, prefix, after string) ([]string, error)
	// Remove removes an object; one that is not there is no error.
	Remove(ctx context.Context, name string) error
	// Sweep removes what is left of uploads that ended in the middle, to names that begin with a prefix. It is no object, but takes room. Whoever
	// calls it uploads nothing there meanwhile: such an upload would fail.
	Sweep(ctx context.Context, prefix string) (removed int, err error)
	// String is the address without options and secrets.
	String() string
}

// Content is what Put reads: several parts at once, or one again after a failure.
type Content interface {
	io.Reader
	io.ReaderAt
	io.Seeker
	Size() int64
}

// The errors that last until somebody changes something.
var (
	ErrNotFound = errors.New("no such object")
	ErrExists   = errors.New("the object exists")
	ErrDenied   = errors.New("access denied")
	ErrKeys     = errors.New("the credentials are not accepted")
	ErrNoBucket = errors.New("no such bucket")
	ErrSkewed   = errors.New("clocks differ too much")
)

// denied is an ErrDenied that knows which right is missing.
type denied struct {
	right string // as policies call it
	err   error
}

func (d *denied) Error() string { return ErrDenied.Error() + ": " + d.err.Error() }

func (d *denied) Unwrap() []error { return []error{ErrDenied, d.err} }

// Problem says what is wrong with a bucket in words for who runs the process. at is a Bucket, or the Location of one that could not be
// opened; doing says what was tried.
func Problem(at fmt.Stringer, doing string, err error) *problem.Problem {
	p := &problem.Problem{Kind: problem.Unavailable, Field: "--bucket", Message: fmt.Sprintf("%s: %s", at, doing), Err: err}
	var right *denied
	switch {
	case errors.As(err, &right):
		p.Hint = fmt.Sprintf("give the right %s on this bucket and prefix to the credentials of this process, or give it others", right.right)
	case errors.Is(err, ErrDenied):
		p.Hint = "let the user of this process read and write in that folder"
	case errors.Is(err, ErrKeys):
		p.Hint = "give the right ones: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else ~/.aws/credentials, else the role of the pod or machine"
	case errors.Is(err, ErrNoBucket):
		p.Hint = "make the bucket first, or correct its name"
	case errors.Is(err, ErrSkewed):
		p.Hint = "set the clock of this machine: S3 refuses requests that are minutes off"
	case errors.Is(err, ErrNotFound):
		p.Hint = "the object was removed meanwhile: ask again"
	default:
		p.Hint = "check the endpoint and the network; a process that runs tries again"
	}
	return p
}
