// Package repeated keeps a log from saying the same thing every few seconds while what is tried again and again fails for the same reason.
package repeated

import (
	"errors"
	"log/slog"
)

// Warning is one thing that is tried again and again. The zero Warning is ready; it is not safe for concurrent use.
type Warning struct{ last string }

// Say logs an error unless its root is that of the one before: what wraps it may name another minute each time. nil is a success: the next error is told in any case, and that it went well again is, if the log spoke
// of an error.
func (w *Warning) Say(log *slog.Logger, message string, err error, args ...any) {
	switch {
	case err == nil && w.last != "":
		w.last = ""
		log.Info(message+": over", args...)
	case err != nil && root(err) != w.last:
		w.last = root(err)
		log.Warn(message, append(args, "error", err)...)
	}
}

func root(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
