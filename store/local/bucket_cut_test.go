package local

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/s3server"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/span"
)

// largeBatches make a segment of some 22 MiB: S3 takes it in two parts.
const largeBatches = 10

// large is a numbered batch with a megabyte in each row that does not compress.
func large(n int, received time.Time) *span.Batch {
	b := numbered(n, received)
	noise := rand.NewChaCha8([32]byte{byte(n)})
	p := make([]byte, 3<<20/4)
	for row := range b.Len() {
		noise.Read(p)
		m := b.AttrMark()
		b.AddTextAttr("batch", fmt.Sprint(n))
		b.AddTextAttr("payload", base64.StdEncoding.EncodeToString(p))
		b.SpanAttrs[row] = b.AttrsSince(m)
	}
	return b
}

func fillLarge(ctx context.Context, e *Engine, now time.Time, from, to int) error {
	for n := from; n < to; n++ {
		if err := e.Accept(ctx, large(n, now)); err != nil {
			return err
		}
	}
	return e.Flush(ctx)
}

// largeVictim writes one segment of two parts and says so; its engine uploads it by itself.
func largeVictim(e *Engine, first int) error {
	if err := fillLarge(context.Background(), e, time.Now(), first, first+largeBatches); err != nil {
		return err
	}
	fmt.Println("written")
	select {}
}

// narrow passes connections on to a server until so many bytes went there; then it passes nothing on: it cuts all connections, or lets them hang.
type narrow struct {
	net.Listener
	to   string
	left atomic.Int64
	hang bool
	full chan struct{} // closed when the bytes are used up
	shut atomic.Bool
}

func startNarrow(t *testing.T, to string, bytes int64, hang bool) *narrow {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &narrow{Listener: l, to: to, hang: hang, full: make(chan struct{})}
	p.left.Store(bytes)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := p.Accept()
			if err != nil {
				return
			}
			go p.pass(in)
		}
	}()
	return p
}

func (p *narrow) pass(in net.Conn) {
	defer in.Close()
	if p.shut.Load() && !p.hang {
		return
	}
	out, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		io.Copy(in, out)
		in.Close()
	}()
	buffer := make([]byte, 16<<10)
	for {
		n, err := in.Read(buffer)
		if err != nil {
			return
		}
		if p.left.Add(-int64(n)) < 0 {
			if !p.shut.Swap(true) {
				close(p.full)
			}
			if p.hang {
				io.Copy(io.Discard, in) // until the other side ends
			}
			return
		}
		if _, err := out.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// unfinished is how many uploads in parts the server holds.
func unfinished(t *testing.T, s *s3server.Server) int {
	t.Helper()
	root, err := minio.NewCore(s.Addr, &minio.Options{Creds: credentials.NewStaticV4(s3server.AccessKey, s3server.SecretKey, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := root.ListMultipartUploads(t.Context(), s.Bucket, "", "", "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Uploads)
}

// TestS3CutInSegment cuts the connection for good in the middle of a segment's upload, in one part or two. A
// reader sees what was there before, nothing of the half; the process that follows uploads the segment whole, and no part is left.
func TestS3CutInSegment(t *testing.T) {
	s := s3server.Start(t)
	for name, c := range map[string]struct {
		batches int
		bytes   int64 // far more than the calls of a start
	}{"one-part": {1, 1 << 20}, "two-parts-early": {largeBatches, 1 << 20}, "two-parts-late": {largeBatches, 20 << 20}} {
		t.Run(name, func(t *testing.T) {
			at := s.URL(name)
			direct := bucketAt(t, at)
			o := Options{Dir: "/data", Bucket: direct, Now: time.Now, FS: faultfs.NewMem(1), LockWait: -1, MaxMemory: 1 << 30}
			e := open(t, o)
			fill(t, e, time.Now(), 0, 1)
			upload(t, e)
			abandon(e)

			p := startNarrow(t, s.Addr, c.bytes, false)
			o.Bucket = bucketAt(t, strings.Replace(at, s.Addr, p.Addr().String(), 1))
			e = open(t, o)
			batches := 1 + c.batches
			if err := fillLarge(t.Context(), e, time.Now(), 1, batches); err != nil {
				t.Fatal(err)
			}
			<-p.full
			wait.For(t, 30*time.Second, "Stats to say that an upload failed", func() bool { return e.Stats().Bucket.LastError != "" })
			wantBatches(t, "the writer after the cut", e, batches)
			wantBatches(t, "a reader after the cut", openReader(t, Options{Bucket: direct, MaxMemory: 1 << 30}), 1)
			abandon(e)

			o.Bucket = direct
			e = open(t, o)
			upload(t, e)
			if n := unfinished(t, s); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
			wantBatches(t, "a reader in the end", openReader(t, Options{Bucket: direct, MaxMemory: 1 << 30}), batches)
		})
	}
}

// TestS3KillInSegment kills the process in the middle of the second part of a segment's upload. Its parts are left on the server, where nobody sees them; they are removed
// and the segment is uploaded whole by the process that follows.
func TestS3KillInSegment(t *testing.T) {
	s := s3server.Start(t)
	at := s.URL("killed")
	p := startNarrow(t, s.Addr, 20<<20, true)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	c := exec.CommandContext(t.Context(), self)
	c.Env = append(os.Environ(), victimDir+"="+dir, victimSync+"=1s", victimFirst+"=0", victimLarge+"=1", victimBucket+"="+strings.Replace(at, s.Addr, p.Addr().String(), 1))
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-p.full
	if err := c.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if n := unfinished(t, s); n != 1 {
		t.Fatalf("%d uploads are left by the kill, want one: it came at another moment", n)
	}
	b := bucketAt(t, at)
	wantBatches(t, "a reader after the kill", openReader(t, Options{Bucket: b}), 0)
	e := open(t, Options{Dir: dir, Bucket: b, Now: time.Now, MaxMemory: 1 << 30, LockWait: wait.Scale(5 * time.Second)})
	upload(t, e)
	if n := unfinished(t, s); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
	wantBatches(t, "the writer", e, largeBatches)
	wantBatches(t, "a reader in the end", openReader(t, Options{Bucket: b, MaxMemory: 1 << 30}), largeBatches)
}

// TestS3CloseWhileHanging closes a writer whose upload hangs, on a line that is neither there nor cut: who stops the process does not wait for the network to give up.
func TestS3CloseWhileHanging(t *testing.T) {
	s := s3server.Start(t)
	at := s.URL("hanging")
	p := startNarrow(t, s.Addr, 4<<20, true)
	fsys := faultfs.NewMem(1)
	o := Options{Dir: "/data", Bucket: bucketAt(t, strings.Replace(at, s.Addr, p.Addr().String(), 1)), Now: time.Now, FS: fsys, LockWait: -1, MaxMemory: 1 << 30}
	e := open(t, o)
	if err := fillLarge(t.Context(), e, time.Now(), 0, largeBatches); err != nil {
		t.Fatal(err)
	}
	<-p.full
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	wait.For(t, 3*closeWait, "Close to return", func() bool { return len(closed) == 1 })
	if err := <-closed; err != nil {
		t.Error(err)
	}
	o.Bucket = bucketAt(t, at)
	e = open(t, o)
	upload(t, e)
	if n := unfinished(t, s); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
	wantBatches(t, "a reader in the end", openReader(t, Options{Bucket: o.Bucket, MaxMemory: 1 << 30}), largeBatches)
}
