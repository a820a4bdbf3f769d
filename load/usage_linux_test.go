package load

import (
	"os"
	"testing"
	"time"
)

func TestParseUsage(t *testing.T) {
	stat := "4242 (spanloom (x) y) S 1 4242 4242 0 -1 4194560 11 0 0 0 1234 66 0 0 20 0 9 0 52 1271 2 18446744073709551615\n"
	status := "Name:\tspanloom\nVmPeak:\t 900 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t9\n"
	u, err := parseUsage([]byte(stat), []byte(status))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Usage{13 * time.Second, 1 << 20, 2 << 20}); u != want {
		t.Errorf("got %+v, want %+v", u, want)
	}
	for _, bad := range []string{"", "1 (x) S 1 2", "1 (x) S 1 2 3 4 5 6 7 8 9 10 a b c"} {
		if _, err := parseUsage([]byte(bad), nil); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestProcessUsageOfThisProcess(t *testing.T) {
	u, err := ProcessUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.RSS == 0 || u.PeakRSS < u.RSS {
		t.Errorf("usage %+v", u)
	}
}
