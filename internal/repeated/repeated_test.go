package repeated

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"testing"
)

func TestWarning(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	var w Warning
	away := errors.New("away")
	for _, err := range []error{nil, fmt.Errorf("minute 1: %w", away), fmt.Errorf("minute 2: %w", away), errors.New("busy"), nil, nil, errors.New("busy")} {
		w.Say(log, "not written", err, "what", "x")
	}
	const want = `level=WARN msg="not written" what=x error="minute 1: away"
level=WARN msg="not written" what=x error=busy
level=INFO msg="not written: over" what=x
level=WARN msg="not written" what=x error=busy
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}
