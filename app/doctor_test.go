package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/internal/wait"
)

// What a sender does wrong is what the doctor says, over the own API and as a metric.
func TestDoctorOfServer(t *testing.T) {
	r := startServe(t, nil, nil)
	span := strings.Replace(zipkinSpan(1, time.Now()), `"0000000000000001","name"`, `"000000000000000A","name"`, 1)
	if code, body := r.do("POST", "http://"+r.Zipkin+"/prefix/api/v2/spans", span); code != 202 {
		t.Fatal(code, body)
	}
	for range 2 {
		if code, _ := r.do("POST", "http://"+r.OTLPHTTP+"/v1/metrics", "{}"); code < 400 {
			t.Fatal("metrics were taken", code)
		}
	}
	code, body := r.do("GET", "http://"+r.HTTP+"/api/spanloom/v1/doctor", "")
	var report doctor.Report
	if err := json.Unmarshal([]byte(body), &report); err != nil || code != 200 {
		t.Fatal(code, body)
	}
	got := string(report.State)
	for _, f := range report.Findings {
		got += " " + f.Code + " " + string(f.Severity) + " " + strings.Join(f.Workloads, ",") + ";"
	}
	if got != "healthy T0311 warning web; T0506 info web; T0507 info web;" {
		t.Errorf("%s\n%s", got, body)
	}
	wait.For(t, 30*time.Second, "the first round", func() bool {
		_, body := r.do("GET", "http://"+r.Admin+"/metrics", "")
		return strings.Contains(body, `spanloom_doctor_findings{code="T0101",severity="error"} 0`)
	})
}

// A reader may have facts judged: that changes nothing.
func TestDoctorNeedsReadOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("read reader-0123456789\ningest sender-0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startServe(t, nil, map[string][]string{"auth-token-file": {file}})
	for _, c := range []struct {
		token string
		want  int
	}{{"", 401}, {"sender-0123456789", 403}, {"reader-0123456789", 200}} {
		headers := []string{}
		if c.token != "" {
			headers = append(headers, "Authorization", "Bearer "+c.token)
		}
		if code, body := r.do("POST", "http://"+r.HTTP+"/api/spanloom/v1/doctor?alone=true", `{"version":1,"source":"files","objects":{}}`, headers...); code != c.want {
			t.Errorf("token %q: %d %s", c.token, code, body)
		}
	}
}
