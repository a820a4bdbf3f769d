package zipkin

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/envoyspans"
	"github.com/spanloom/spanloom/span"
)

// envoyBodies are Zipkin's request bodies as Envoy 1.36 and 1.40 under Istio sent them, by path.
func envoyBodies(t testing.TB) map[string][]byte {
	bodies := make(map[string][]byte)
	for _, r := range envoyspans.Requests(t) {
		if r.Proto == "zipkin" {
			bodies[r.Folder+"/"+r.File] = r.Body
		}
	}
	return bodies
}

func TestEnvoyBodies(t *testing.T) {
	spans := 0
	for name, body := range envoyBodies(t) {
		announced := JSONv2
		if strings.HasSuffix(name, ".pb") {
			announced = Proto3
		} else if !agree(t, body) {
			t.Fatalf("%s: the oracle has no opinion", name)
		}
		b := decodeBody(t, body, announced)
		if b.Len() == 0 || len(b.Refused) > 0 {
			t.Fatalf("%s: %d spans, refused %v", name, b.Len(), b.Refused)
		}
		spans += b.Len()
		for i := range b.Len() {
			if b.Mark[i]&span.MarkProxy == 0 || b.Start[i] == 0 || b.End[i] <= b.Start[i] || len(b.EventsOf(i)) != 1 {
				t.Fatalf("%s: row %d\n%s", name, i, canonical(b))
			}
		}
		for _, r := range b.Resources {
			if service := b.FindString(r.Attrs, "service.name"); !strings.Contains(string(service), ".") {
				t.Fatalf("%s: service %q", name, service)
			}
		}
	}
	t.Log(spans, "spans")
}

// TestEnvoyRoundTrip writes the recorded bodies back and compares them with what came in, less the port 0.
func TestEnvoyRoundTrip(t *testing.T) {
	for name, body := range envoyBodies(t) {
		announced := JSONv2
		if strings.HasSuffix(name, ".pb") {
			announced = Proto3
		}
		b := decodeBody(t, body, announced)
		asJSON, asProto := AppendRequestJSON(nil, b), AppendRequestProto(nil, b)
		if again := decodeBody(t, asJSON, JSONv2); canonical(again) != canonical(b) {
			t.Fatalf("%s by JSON:\n%s\nwant\n%s", name, canonical(again), canonical(b))
		}
		if again := decodeBody(t, asProto, Proto3); canonical(again) != canonical(b) {
			t.Fatalf("%s by protobuf:\n%s\nwant\n%s", name, canonical(again), canonical(b))
		}
		if announced == Proto3 {
			continue
		}
		var want, got any
		plainBody := bytes.ReplaceAll(bytes.ReplaceAll(body, []byte(`"port":0,`), nil), []byte(`,"port":0`), nil)
		if err := errors.Join(json.Unmarshal(plainBody, &want), json.Unmarshal(asJSON, &got)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\n got %s\nwant %s", name, asJSON, plainBody)
		}
	}
}
