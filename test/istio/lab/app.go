package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// An application is this test's own program with LAB_APP set to its name.
const appVariable = "LAB_APP"

// Trace headers that an application passes on, of both families.
var traceHeaders = []string{"Traceparent", "Tracestate", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags", "B3", "X-Request-Id"}

// RunApp serves until it is killed: it asks NEXT, an address whose Host is NEXT_HOST, for the same path, and answers with its name
// and whatever that answered. It passes trace headers on unless FORWARD is "no".
func RunApp() error {
	next, host, forward := os.Getenv("NEXT"), os.Getenv("NEXT_HOST"), os.Getenv("FORWARD") != "no"
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, next) // there is no DNS in the lab
	}}}
	return http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names := []string{os.Getenv(appVariable)}
		if next != "" && r.URL.Path != "/healthz" {
			behind, err := ask(r, client, "http://"+host+r.URL.Path, forward)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			names = append(names, behind...)
		}
		_ = json.NewEncoder(w).Encode(names)
	}))
}

func ask(r *http.Request, client *http.Client, url string, forward bool) ([]string, error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	for _, h := range traceHeaders {
		if v := r.Header.Get(h); v != "" && forward {
			req.Header.Set(h, v)
		}
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var names []string
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %s", url, res.Status, data)
	}
	return names, json.Unmarshal(data, &names)
}
