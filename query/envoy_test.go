package query

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/envoyspans"
	"github.com/spanloom/spanloom/internal/golden"
	"github.com/spanloom/spanloom/process"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
)

// recorded is what real Envoys sent: folder -> bodies in the order they came.
func recorded(t testing.TB) map[string][][]byte {
	t.Helper()
	out := make(map[string][][]byte)
	for _, r := range envoyspans.Requests(t) {
		out[r.Folder] = append(out[r.Folder], r.Body)
	}
	return out
}

// received sends bodies through receivers and steps into an engine.
func received(t testing.TB, folder string, bodies [][]byte) *mem.Engine {
	t.Helper()
	e := mem.New(mem.Options{})
	t.Cleanup(func() { e.Close() })
	steps, err := process.New(process.DefaultRules(), e)
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Unix(0, recordedAt) }
	intake := &receive.Intake{Sink: steps, Ledger: receive.NewLedger(now, slog.New(slog.DiscardHandler)), Now: now}
	for _, body := range bodies {
		b := &span.Batch{}
		protocol := span.ProtocolOTLPGRPC
		if strings.Contains(folder, "zipkin") {
			protocol = span.ProtocolZipkin
			var d zipkin.Decoder
			_, err = d.Decode(b, bytes.Clone(body), zipkin.FormatUnknown)
		} else {
			err = otlp.Decode(b, body)
		}
		if err != nil || b.Len() == 0 {
			t.Fatalf("%d spans, %v", b.Len(), err)
		}
		if err := intake.Accept(t.Context(), b, protocol, netip.Addr{}, len(body)); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// recordedAt is after the recordings, whose machine had its clock set to late 2026.
const recordedAt = 1_798_700_000_000_000_000

// shape is a trace without its ids and times.
func shape(tr *Trace) string {
	var w strings.Builder
	for i := range tr.Rows {
		r := &tr.Rows[i]
		s := tr.Services[r.Service]
		fmt.Fprintf(&w, "%s%s %s (%s in %s) %q", strings.Repeat("  ", int(r.Depth)+1), r.Kind, s.Name, s.Group, s.Namespace, tr.Names[r.Name])
		if r.Hop >= 0 {
			fmt.Fprintf(&w, " hop=%d", r.Hop)
		}
		for bit, word := range flagWords {
			if r.Flags&(1<<bit) != 0 {
				w.WriteString(" " + word)
			}
		}
		w.WriteString("\n")
	}
	for _, x := range tr.Warnings {
		fmt.Fprintf(&w, "  ! %s: %s\n", x.Kind, x.Message)
	}
	return w.String()
}

// TestEnvoyTraces assembles everything that real Envoys sent in their scenarios: each trace must be one tree. The shapes of the
// newest pair of versions are kept in testdata.
func TestEnvoyTraces(t *testing.T) {
	var shapes strings.Builder
	folders := recorded(t)
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		e := received(t, folder, folders[folder])
		q := New(Options{Reader: e})
		page, err := q.Search(t.Context(), scope, &store.Search{Limit: 1000})
		if err != nil || len(page.Traces) < 3 {
			t.Fatalf("%s: %d traces, %v", folder, len(page.Traces), err)
		}
		count := make(map[string]int)
		for _, s := range page.Traces {
			tr, err := q.Trace(t.Context(), scope, s.TraceID, store.TimeRange{})
			if err != nil {
				t.Fatal(err)
			}
			check(t, tr)
			for i := range tr.Rows {
				if r := &tr.Rows[i]; i > 0 && r.Parent < 0 || r.Flags&(FlagProxy|FlagPlaceholder) != FlagProxy {
					t.Errorf("%s: trace %s is not one tree of proxies' spans:\n%s", folder, s.TraceID, shape(tr))
					break
				}
			}
			if tr.Spans != s.Spans || tr.Errors != s.Errors || tr.Start != s.Start || tr.End != s.End {
				t.Errorf("%s: trace %s differs from its line in the list: %+v", folder, s.TraceID, s)
			}
			count[shape(tr)]++
		}
		if strings.HasPrefix(folder, "istio-1.31") {
			fmt.Fprintf(&shapes, "%s\n", folder)
			for _, s := range slices.Sorted(maps.Keys(count)) {
				fmt.Fprintf(&shapes, " %d times\n%s", count[s], s)
			}
		}
	}
	const file = "testdata/envoy-traces.txt"
	if *golden.Update {
		if err := os.WriteFile(file, []byte(shapes.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != shapes.String() {
		t.Errorf("%v; got\n%s", err, shapes.String())
	}
}
