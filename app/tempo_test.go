package app

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
)

// tagNames asks a port's StreamingQuerier.
func tagNames(t *testing.T, addr, token string) ([]string, error) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Scale(10*time.Second))
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	stream, err := tempopb.NewStreamingQuerierClient(conn).SearchTags(ctx, &tempopb.SearchTagsRequest{Scope: "resource"})
	if err != nil {
		return nil, err
	}
	m, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("the stream ends with %v", err)
	}
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	return m.TagNames, nil
}

// Both of Tempo's ports speak HTTP and gRPC; the mirror on the UI's port speaks HTTP.
func TestTempoPorts(t *testing.T) {
	r := startServe(t, nil, map[string][]string{"base-path": {"/mesh/"}})
	if code, body := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", zipkinSpan(7, time.Now())); code != 202 {
		t.Fatalf("%d %s", code, body)
	}
	for _, base := range []string{
		r.Tempo, r.Tempo + "/tempo", r.Tempo + "/mesh/tempo", r.Tempo + "/api/traces/v1/dev/tempo", r.TempoGRPC, r.HTTP + "/tempo", r.HTTP + "/jaeger/tempo", r.HTTP + "/mesh/tempo",
	} {
		if code, body := r.do("GET", "http://"+base+"/api/echo", ""); code != 200 || body != "echo\n" {
			t.Errorf("%s: echo %d %q", base, code, body)
		}
		if code, body := r.do("GET", "http://"+base+"/api/traces/7", ""); code != 200 || !strings.HasPrefix(body, `{"batches":[`) {
			t.Errorf("%s: trace %d %s", base, code, body)
		}
		if code, body := r.do("GET", "http://"+base+"/api/v2/search/tag/.service.name/values", ""); code != 200 || !strings.Contains(body, `"web"`) {
			t.Errorf("%s: values %d %s", base, code, body)
		}
	}
	for _, addr := range []string{r.Tempo, r.TempoGRPC, r.HTTP} {
		if names, err := tagNames(t, addr, ""); err != nil || len(names) == 0 || names[0] != "service.name" {
			t.Errorf("gRPC on %s: %v %v", addr, names, err)
		}
	}
}

func TestTempoAsksForTokens(t *testing.T) {
	file := writeFile(t, "ingest aaaaaaaaaaaaaaaa\nread bbbbbbbbbbbbbbbb\n")
	r := startServe(t, nil, map[string][]string{"auth-token-file": {file}})
	for _, base := range []string{r.Tempo, r.TempoGRPC, r.HTTP + "/tempo"} {
		for token, want := range map[string]int{"": 401, "aaaaaaaaaaaaaaaa": 403, "bbbbbbbbbbbbbbbb": 200} {
			if code, body := r.do("GET", "http://"+base+"/api/search/tags", "", "Authorization", "Bearer "+token); code != want {
				t.Errorf("%s with %q: %d %s, want %d", base, token, code, body, want)
			}
		}
	}
	for _, addr := range []string{r.Tempo, r.TempoGRPC, r.HTTP} {
		for token, want := range map[string]string{"": "Unauthenticated", "aaaaaaaaaaaaaaaa": "PermissionDenied"} {
			if _, err := tagNames(t, addr, token); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("gRPC on %s with %q: %v, want %s", addr, token, err, want)
			}
		}
		if _, err := tagNames(t, addr, "bbbbbbbbbbbbbbbb"); err != nil {
			t.Errorf("gRPC on %s: %v", addr, err)
		}
	}
}
