package istio_test

import (
	"os"
	"syscall"
	"testing"
)

// TestMain starts the test again with istiod's ambient mode on: istiod reads that variable when its packages are
// initialised, before any code of this one runs.
func TestMain(m *testing.M) {
	const ambientMode = "PILOT_ENABLE_AMBIENT"
	if os.Getenv(ambientMode) == "" {
		self, err := os.Executable()
		if err == nil {
			err = syscall.Exec(self, os.Args, append(os.Environ(), ambientMode+"=true"))
		}
		panic(err)
	}
	os.Exit(m.Run())
}
