package answer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
)

// Closed is what a closed engine answers.
func Closed() error {
	return problem.New(problem.Unavailable, "the store is closed", "the server is stopping: ask again after its restart")
}

// Tenant is the tenant that a scope or a batch is of.
func Tenant(name string) string {
	if name == "" {
		return store.DefaultTenant
	}
	return name
}

// Cancelled is the reason of an answer that ends where its context did, by the context's error.
func Cancelled(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "out of time"
	}
	return "cancelled"
}

// Ended is Cancelled for an error that may have another cause; empty if it has.
func Ended(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil:
		return Cancelled(ctx.Err())
	case errors.Is(err, context.Canceled):
		return Cancelled(err)
	}
	return ""
}

// Operations lists what was counted, sorted by name and kind. The N of the keys is 0.
func Operations(counts map[store.Operation]int64) []store.Operation {
	list := make([]store.Operation, 0, len(counts))
	for o, n := range counts {
		o.N = n
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b store.Operation) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}

// CheckDocument refuses a document that no engine keeps.
func CheckDocument(name string, data []byte) error {
	if name == "" {
		return &problem.Problem{Kind: problem.Invalid, Field: "name", Message: "a document needs a name"}
	}
	if len(data) > store.MaxDocument {
		return &problem.Problem{Kind: problem.TooLarge, Field: name,
			Message: fmt.Sprintf("a document of %d bytes, at most %d are stored", len(data), store.MaxDocument), Hint: "split it over several names"}
	}
	return nil
}

// Conflict refuses to save a document whose version is another one than was seen.
func Conflict(name string, is, want uint64) error {
	return StoredMeanwhile(name, fmt.Sprintf("version is %d, not %d", is, want))
}

// StoredMeanwhile is Conflict where the message says what is known.
func StoredMeanwhile(name, message string) error {
	return &problem.Problem{Kind: problem.Invalid, Field: name, Message: message, Hint: "load it again and repeat the change", Err: store.ErrConflict}
}
