package pods

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestInterception sends one connection from pod to pod through the nat rules of both, and looks that nothing stays.
func TestInterception(t *testing.T) {
	if os.Getenv("SPANLOOM_LAB") == "" {
		t.Skip("make lab runs it: it needs root and network namespaces")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	name := fmt.Sprintf("t%d", os.Getpid()%1000000)
	n, err := New(ctx, name, netip.MustParsePrefix("10.213.7.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var ps []*Pod
	for _, intercept := range []bool{false, true} {
		p, err := n.Add(ctx, intercept)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	// Nothing listens anywhere: the packet counters of the rules tell what a connection met.
	dial := func(from *Pod, to netip.Addr, uid int) {
		from.Command(ctx, "setpriv", fmt.Sprintf("--reuid=%d", uid), "--clear-groups", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/8080", to)).Run()
	}
	dial(ps[0], ps[1].Addr, 0)        // in: 15006
	dial(ps[1], ps[0].Addr, 0)        // out, of the app: 15001
	dial(ps[1], ps[0].Addr, ProxyUID) // out, of Envoy: passes
	out, err := ps[1].Command(ctx, "iptables", "-t", "nat", "-L", "-v", "-n", "-x").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := map[string]string{}
	for line := range strings.SplitSeq(string(out), "\n") {
		for _, key := range []string{"ports 15006", "ports 15001", "UID match 1337"} {
			if strings.Contains(line, key) {
				got[key] = strings.Fields(line)[0]
			}
		}
	}
	want := map[string]string{"ports 15006": "1", "ports 15001": "1", "UID match 1337": "1"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("packets by rule: got %v, want %v\n%s", got, want, out)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	left, _ := exec.Command("sh", "-c", "ip link; ip netns list").CombinedOutput()
	if strings.Contains(string(left), name) {
		t.Errorf("left behind:\n%s", left)
	}
}
