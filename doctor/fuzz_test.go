package doctor_test

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
)

// Facts come from files of strangers, over HTTP too: whatever they say, judging them ends, and says something.
func FuzzFacts(f *testing.F) {
	files, _ := filepath.Glob("testdata/book/*.json")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	dirs, _ := filepath.Glob("testdata/cases/*/inputs")
	for i, dir := range dirs {
		paths := []string{filepath.Dir(dir)}
		if i%6 != 0 {
			paths[0] = dir // without Envoy's state: smaller
		}
		facts, err := collect.Files(f.Context(), paths, collect.Options{})
		if err != nil {
			f.Fatal(err)
		}
		var b bytes.Buffer
		if err := facts.Save(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"version":1,"objects":{"meshes":[{"form":"plain","defaultConfig":{"tracing":{"backend":"zipkin","address":":"}},"extensionProviders":[{"name":"a","type":"zipkin","index":0}]}],"telemetries":[{"order":0,"tracing":[{"providers":["a"]}]}],"networkPolicies":[{"egressPolicy":true,"podSelector":{}}]},"proxies":[{"name":"x","managers":[{"direction":"INBOUND","tracing":true,"sampling":1,"count":1}],"has":{"bootstrap":true,"listeners":true,"clusters":true,"hosts":true}}],"received":{"spans":1,"traces":9,"roots":1,"traffic":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := doctor.LoadFacts(bytes.NewReader(data))
		if err != nil {
			return
		}
		r := doctor.Diagnose(facts, doctor.Options{})
		if r.State == "" || r.Findings == nil || r.Stations == nil {
			t.Errorf("%+v", r)
		}
		for _, c := range r.Stations {
			if len(c.Stations) != len(doctor.StationNames) {
				t.Errorf("%s has %d stations", c.Workload, len(c.Stations))
			}
		}
		doctor.Print(io.Discard, r)
		doctor.PrintWhy(io.Discard, r, doctor.Explain(facts, "web"))
	})
}

// Facts that are well-formed and absurd: any part emptied, doubled, cut or replaced. The seed is in the name of the failing run.
func TestAbsurdFacts(t *testing.T) {
	var saved [][]byte
	dirs, _ := filepath.Glob("testdata/cases/*/inputs")
	for i := 0; i < len(dirs); i += 4 {
		facts, err := collect.Files(t.Context(), []string{filepath.Dir(dirs[i]), "testdata/cases/common-services.yaml"}, collect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := facts.Save(&b); err != nil {
			t.Fatal(err)
		}
		saved = append(saved, b.Bytes())
	}
	for _, file := range []string{"silent-with-cluster", "misused", "context-lost"} {
		data, err := os.ReadFile("testdata/book/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		saved = append(saved, data)
	}
	runs := uint64(600)
	if os.Getenv("SPANLOOM_LONG") != "" {
		runs = 20_000
	}
	for seed := range runs {
		facts, err := doctor.LoadFacts(bytes.NewReader(saved[seed%uint64(len(saved))]))
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(seed, 1))
		for range 1 + r.IntN(12) {
			spoil(reflect.ValueOf(facts).Elem(), r)
		}
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Fatalf("seed %d: %v\n%s", seed, p, debug.Stack())
				}
			}()
			report := doctor.Diagnose(facts, doctor.Options{})
			doctor.Print(io.Discard, report)
			doctor.PrintWhy(io.Discard, report, doctor.Explain(facts, "web"))
		}()
	}
}

// spoil walks down to a random part and changes it.
func spoil(v reflect.Value, r *rand.Rand) {
	words := []string{"", "x", "outbound|4317||tempo", "|||", "~", "a~b~c~d", "*", "istio-system", "[::1]:4317", ":", "100", "a.b", "…"}
	switch v.Kind() {
	case reflect.Struct:
		if n := v.NumField(); n > 0 {
			if f := v.Field(r.IntN(n)); f.CanSet() {
				spoil(f, r)
			}
		}
	case reflect.Pointer:
		switch {
		case v.IsNil():
			v.Set(reflect.New(v.Type().Elem()))
		case r.IntN(6) == 0:
			v.SetZero()
		default:
			spoil(v.Elem(), r)
		}
	case reflect.Slice:
		switch n := v.Len(); {
		case n == 0 || r.IntN(20) == 0:
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		case r.IntN(20) == 0:
			v.SetZero()
		case r.IntN(10) == 0:
			v.Set(reflect.Append(v, v.Index(r.IntN(n))))
		default:
			spoil(v.Index(r.IntN(n)), r)
		}
	case reflect.Map:
		if v.IsNil() || r.IntN(3) == 0 {
			v.SetZero()
			return
		}
		for _, k := range v.MapKeys() {
			e := reflect.New(v.Type().Elem()).Elem()
			e.Set(v.MapIndex(k))
			spoil(e, r)
			v.SetMapIndex(k, e)
			return
		}
	case reflect.String:
		v.SetString(words[r.IntN(len(words))])
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{0, -1, 1, 4317, 1 << 30}[r.IntN(5)])
	case reflect.Float64:
		v.SetFloat([]float64{0, -1, 0.001, 100, 1e300, math.NaN(), math.Inf(1)}[r.IntN(7)])
	case reflect.Bool:
		v.SetBool(!v.Bool())
	}
}
