// Package pods makes pods of network namespaces: each with its own address on one bridge, and where it has a sidecar,
// with the nat rules that istio-init would set. It needs root, iproute2 and iptables.
package pods

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ProxyUID is the user that Envoy runs as: its own connections pass the interception.
const ProxyUID = 1337

// Net is one bridge with its pods. Everything of it has names that begin with the prefix given to New, so that two
// of them stand side by side; their prefixes must differ too where the host itself talks to pods.
type Net struct {
	name   string
	prefix netip.Prefix
	next   netip.Addr
	undo   []func(context.Context) error // in the order of creation
}

// Pod is one network namespace on the bridge.
type Pod struct {
	NS   string     // name for `ip netns exec`
	Addr netip.Addr // the pod's only address, beside loopback
}

// Gateway is the bridge's own address: this machine, as pods see it.
func (n *Net) Gateway() netip.Addr { return n.prefix.Masked().Addr().Next() }

// New makes a bridge that holds the first address of prefix. name is at most 8 bytes: names of links end at 15.
// What it could not finish, it removes.
func New(ctx context.Context, name string, prefix netip.Prefix) (*Net, error) {
	if name == "" || len(name) > 8 {
		return nil, fmt.Errorf("pods: network name %q has %d bytes: give 1 to 8", name, len(name))
	}
	if !prefix.Addr().Is4() || prefix.Bits() > 28 {
		return nil, fmt.Errorf("pods: prefix %s: give an IPv4 prefix of at most 28 bits", prefix)
	}
	gateway := prefix.Masked().Addr().Next()
	n := &Net{name: name, prefix: prefix, next: gateway.Next()}
	if err := run(ctx, "ip", "link", "add", name, "type", "bridge"); err != nil {
		return nil, err
	}
	n.undo = append(n.undo, func(ctx context.Context) error { return run(ctx, "ip", "link", "del", name) })
	for _, args := range [][]string{
		{"ip", "addr", "add", netip.PrefixFrom(gateway, prefix.Bits()).String(), "dev", name},
		{"ip", "link", "set", name, "up"},
	} {
		if err := run(ctx, args...); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// Add makes a pod. With intercept, all its TCP goes through 15001 (out) and 15006 (in), except Envoy's own, loopback
// and the ports 15020, 15021 and 15090.
func (n *Net) Add(ctx context.Context, intercept bool) (*Pod, error) {
	if !n.prefix.Contains(n.next.Next()) {
		return nil, fmt.Errorf("pods: prefix %s has no address left: give a wider one", n.prefix)
	}
	addr := n.next
	n.next = addr.Next()
	ordinal := len(n.undo)
	p := &Pod{NS: fmt.Sprintf("%s-%d", n.name, ordinal), Addr: addr}
	if err := run(ctx, "ip", "netns", "add", p.NS); err != nil {
		return nil, err
	}
	n.undo = append(n.undo, func(ctx context.Context) error { return run(ctx, "ip", "netns", "del", p.NS) })
	link := fmt.Sprintf("%sv%d", n.name, ordinal)
	gateway := n.prefix.Masked().Addr().Next().String()
	in := func(args ...string) []string { return append([]string{"ip", "-n", p.NS}, args...) }
	steps := [][]string{
		{"ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", p.NS},
		{"ip", "link", "set", link, "master", n.name, "up"},
		in("addr", "add", netip.PrefixFrom(addr, n.prefix.Bits()).String(), "dev", "eth0"),
		in("link", "set", "lo", "up"),
		in("link", "set", "eth0", "up"),
		in("route", "add", "default", "via", gateway),
	}
	if intercept {
		nat := func(rule string) {
			steps = append(steps, append([]string{"ip", "netns", "exec", p.NS, "iptables", "-w", "-t", "nat"}, strings.Fields(rule)...))
		}
		nat("-A PREROUTING -p tcp -m multiport --dports 15020,15021,15090 -j RETURN")
		nat("-A PREROUTING -p tcp -j REDIRECT --to-ports 15006")
		nat(fmt.Sprintf("-A OUTPUT -p tcp -m owner --uid-owner %d -j RETURN", ProxyUID))
		nat("-A OUTPUT -p tcp -o lo -j RETURN")
		nat("-A OUTPUT -p tcp -j REDIRECT --to-ports 15001")
	}
	for i, args := range steps {
		if err := run(ctx, args...); err != nil {
			return nil, err
		}
		if i == 0 { // the kernel takes a namespace's links away later than the namespace: take the pair before
			n.undo = append(n.undo, func(ctx context.Context) error { return run(ctx, "ip", "link", "del", link) })
		}
	}
	return p, nil
}

// Command is exec.CommandContext within the pod.
func (p *Pod) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", p.NS, name}, args...)...)
}

// Dial connects as a process of the pod would, to its loopback too.
func (p *Pod) Dial(ctx context.Context, address string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(address) // a name would be resolved on other threads
	if err != nil {
		return nil, err
	}
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		if err := p.enter(func() { r.conn, r.err = new(net.Dialer).DialContext(ctx, "tcp4", at.String()) }); err != nil {
			r.err = err
		}
		done <- r
	}()
	r := <-done
	return r.conn, r.err
}

// enter calls f on a thread that is in the pod meanwhile.
func (p *Pod) enter(f func()) error {
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer here.Close()
	there, err := os.Open(filepath.Join("/var/run/netns", p.NS))
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter %s: %w", p.NS, err)
	}
	f()
	if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("leave %s: %w", p.NS, err) // still locked: no other goroutine gets this thread
	}
	runtime.UnlockOSThread()
	return nil
}

// Kill ends every process of the pod, and waits until none is left.
func (p *Pod) Kill(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := exec.CommandContext(ctx, "ip", "netns", "pids", p.NS).Output()
		if err != nil {
			return fmt.Errorf("processes of %s: %w", p.NS, err)
		}
		ids := strings.Fields(string(out))
		if len(ids) == 0 {
			return nil
		}
		for _, id := range ids {
			if n, err := strconv.Atoi(id); err == nil && n != os.Getpid() { // a thread of ours may be dialling
				_ = unix.Kill(n, unix.SIGKILL) // it may have ended meanwhile
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes of %s: %w", p.NS, ctx.Err())
		case <-tick.C:
		}
	}
}

// Close removes pods and bridge, newest first, also after an error of one of them. Processes in the pods are the
// caller's to end before: a namespace lives on while one runs in it. Closing twice does nothing.
func (n *Net) Close() error {
	// Own deadline: the caller's context is often the one that ended.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var errs []error
	for i := len(n.undo) - 1; i >= 0; i-- {
		errs = append(errs, n.undo[i](ctx))
	}
	n.undo = nil
	return errors.Join(errs...)
}

func run(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
