package doctor_test

import (
	"slices"
	"testing"
	"time"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/mesh/istio"
)

func TestRaisedRateThatWasNotReturned(t *testing.T) {
	until := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name      string
		expires   string
		collected time.Time
		want      bool
	}{
		{"its time is over", until.Format(time.RFC3339), until.Add(3 * time.Minute), true},
		{"its Job may still run", until.Format(time.RFC3339), until.Add(time.Minute), false},
		{"it stands", until.Format(time.RFC3339), until.Add(-time.Minute), false},
		{"no time of the facts", until.Format(time.RFC3339), time.Time{}, false},
		{"no raise", "", until.Add(time.Hour), false},
		{"no time", "soon", until.Add(time.Hour), false},
	} {
		var r istio.Reader
		if err := r.File("", []byte("{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: spanloom-raise-web, namespace: shop, annotations: {spanloom.io/sampling-expires: '"+c.expires+"'}}, spec: {selector: {matchLabels: {app: web}}, tracing: [{randomSamplingPercentage: 100}]}}")); err != nil {
			t.Fatal(err)
		}
		f := &doctor.Facts{Version: doctor.FactsVersion, Source: "cluster", Objects: r.Objects}
		if !c.collected.IsZero() {
			f.Collected = c.collected.UnixNano()
		}
		i := slices.IndexFunc(doctor.Diagnose(f, doctor.Options{}).Findings, func(f doctor.Finding) bool {
			return f.Code == "T0129" && f.Fix.Command == "spanloom mesh sampling return shop/web"
		})
		if (i >= 0) != c.want {
			t.Errorf("%s: found %v, want %v", c.name, i >= 0, c.want)
		}
	}
}
