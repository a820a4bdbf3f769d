package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/store/local"
)

// The bounds of a life's process besides its memory.
const (
	mostGoroutines = 200
	mostFiles      = 128
	mostProblems   = 20 // after so many it ends
	fsckEvery      = 5  // lives
)

// parent starts one life after the other and remembers what each was told.
type parent struct {
	dir    string
	memory int64
	seed   uint64
	origin time.Time
	ledger *ledger

	lives, kills, fscks  int
	counts               [kinds]int64
	life                 [kinds]int64 // of the life under way: what it said last
	joined, lifeJoined   int64
	evicted, lifeEvicted int64
	files                int64 // segments, most
	goroutines           int64
	opened               int64 // files, most
	startup              int64 // ms, longest
	heap                 curve
	problems             []string
}

func (p *parent) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
	fmt.Printf("PROBLEM  %s\n", p.problems[len(p.problems)-1])
}

// run lives until the time is over.
func (p *parent) run(ctx context.Context, length time.Duration) error {
	r := rand.New(rand.NewPCG(p.seed, 1<<40))
	end := p.origin.Add(length)
	for time.Now().Before(end) && ctx.Err() == nil && len(p.problems) < mostProblems {
		life := 2*time.Second + time.Duration(r.Int64N(int64(10*time.Second)))
		if r.IntN(8) == 0 {
			life = time.Duration(r.Int64N(int64(400 * time.Millisecond))) // maybe while it starts
		}
		kill := r.IntN(10) < 7
		if left := time.Until(end); life > left {
			life, kill = left, false
		}
		if err := p.one(ctx, life, kill); err != nil {
			return err
		}
		if p.lives++; p.lives%fsckEvery == 0 {
			if err := p.fsck(ctx); err != nil {
				return err
			}
		}
	}
	return p.fsck(context.WithoutCancel(ctx))
}

func (p *parent) fsck(ctx context.Context) error {
	report, err := local.Fsck(ctx, nil, p.dir, false)
	if err != nil {
		return fmt.Errorf("fsck: %w", err)
	}
	p.fscks++
	for _, d := range report.Damage {
		p.problem("fsck after %d lives: %s", p.lives, d)
	}
	return nil
}

// one is one life.
func (p *parent) one(ctx context.Context, life time.Duration, kill bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(self, "-child", "live", "-dir", p.dir, "-memory", fmt.Sprint(p.memory), "-seed", fmt.Sprint(p.seed), "-life", fmt.Sprint(p.lives),
		"-origin", fmt.Sprint(p.origin.UnixNano()))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	if err := p.ledger.write(in); err != nil {
		_ = c.Process.Kill()
		return errors.Join(fmt.Errorf("life %d took no ledger: %w", p.lives, err), c.Wait())
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.listen(out)
	}()
	p.watch(ctx, c.Process.Pid, life, read)
	if kill {
		_ = c.Process.Kill()
		p.kills++
	} else {
		_ = in.Close()
	}
	select {
	case <-read:
	case <-time.After(time.Minute):
		p.problem("life %d did not end within a minute", p.lives)
		_ = c.Process.Kill()
		<-read
	}
	err = c.Wait()
	p.endLife()
	if err != nil && !kill {
		p.problem("life %d: %v", p.lives, err)
	}
	return nil
}

func (p *parent) endLife() {
	for i, n := range p.life {
		p.counts[i] += n
	}
	p.joined, p.evicted = p.joined+p.lifeJoined, p.evicted+p.lifeEvicted
	p.life, p.lifeJoined, p.lifeEvicted = [kinds]int64{}, 0, 0
}

// watch samples a process until its time is over or it ended.
func (p *parent) watch(ctx context.Context, pid int, life time.Duration, ended <-chan struct{}) {
	over := time.NewTimer(life)
	defer over.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-over.C:
			return
		case <-ended:
			return
		case <-tick.C:
		}
		if own, err := ownMemory(pid); err == nil {
			p.heap.add(time.Since(p.origin), own)
			if own > p.memory {
				p.problem("life %d takes %d MiB of %d", p.lives, own>>20, p.memory>>20)
			}
		}
		if list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err == nil {
			p.opened = max(p.opened, int64(len(list)))
			if len(list) > mostFiles {
				p.problem("life %d has %d files open", p.lives, len(list))
			}
		}
	}
}

// ownMemory is what a process holds that is not a page of a file, in bytes: mapped segments are the system's to take back.
func ownMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("RssAnon:")); ok {
			kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no RssAnon: this needs Linux")
}

// listen takes in what a life says, until it is dead. A line that was cut is none.
func (p *parent) listen(out io.Reader) {
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if kind == "f" {
			p.problem("life %d: %s", p.lives, rest)
			continue
		}
		var v []int64
		for word := range strings.FieldsSeq(rest) {
			n, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				p.problem("life %d says %q", p.lives, line)
				break
			}
			v = append(v, n)
		}
		p.heard(kind, v)
	}
}

func (p *parent) heard(kind string, v []int64) {
	switch {
	case kind == "o" && len(v) == 1:
		p.startup = max(p.startup, v[0])
	case kind == "t" && len(v) == 3:
		p.ledger.try(int(v[0]), v[1], v[2])
	case kind == "a" && len(v) == 1:
		p.ledger.ack(int(v[0]))
	case kind == "k" && len(v) == 2:
		p.ledger.keep(int(v[0]), v[1])
	case kind == "s" && len(v) == 6+int(kinds):
		p.goroutines, p.files = max(p.goroutines, v[0]), max(p.files, v[1])
		p.lifeJoined, p.lifeEvicted = v[2], v[4]
		copy(p.life[:], v[6:])
		if v[0] > mostGoroutines {
			p.problem("life %d has %d goroutines", p.lives, v[0])
		}
	default:
		p.problem("life %d says %q %v", p.lives, kind, v)
	}
}

// print tells how it went. Disagreements are an error.
func (p *parent) print() error {
	acked, unknown, spans := 0, 0, 0
	for n, e := range p.ledger.batches {
		if !e.acked {
			unknown++
			continue
		}
		acked++
		spans += len(spansOf(p.seed, n, e.first))
	}
	took := time.Since(p.origin)
	fmt.Printf("ran       %s (%s of the fast clock), %d lives, %d ended by SIGKILL, %d times fsck\n", took.Round(time.Second),
		(took * speed).Round(time.Minute), p.lives, p.kills, p.fscks)
	fmt.Printf("batches   %d acknowledged (%d spans), %d tries that a kill cut off, %d kept\n", acked, spans, unknown, len(p.ledger.kept))
	fmt.Printf("segments  at most %d, %d compactions, %d spans gone by age\n", p.files, p.joined, p.evicted)
	for i, name := range kindNames {
		fmt.Printf("checked   %-20s %d\n", name, p.counts[i])
	}
	fmt.Printf("process   at most %d goroutines, %d open files, start at most %d ms\n", p.goroutines, p.opened, p.startup)
	p.heap.print(p.memory)
	if len(p.problems) > 0 {
		return fmt.Errorf("%d problems, seed %d", len(p.problems), p.seed)
	}
	fmt.Println("no disagreement, nothing lost, nothing damaged")
	return nil
}
