package local

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/s3server"
)

// What a writer needs; a reader needs the first two.
var writerRights = []string{"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}

func without(right string) []string {
	return slices.DeleteFunc(slices.Clone(writerRights), func(r string) bool { return r == right })
}

// wantProblem checks that an error is for who runs the process: it names the setting, its value and what to do, and does not end a running writer.
func wantProblem(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if p := problem.Of(err); p == nil || p.Kind != problem.Unavailable || p.Field != "--bucket" || p.Hint == "" {
		t.Errorf("%s: %v", what, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q is not in %v", what, w, err)
		}
	}
}

// TestS3StartRefused: a start on a bucket that is not there, with keys that are wrong or with a right too little ends with a problem that says which.
func TestS3StartRefused(t *testing.T) {
	s := s3server.Start(t)
	c := newClock()
	start := func(what, address string, words ...string) {
		t.Helper()
		o := Options{Dir: "/data", Bucket: bucketAt(t, address), Now: c.Now, FS: faultfs.NewMem(1), LockWait: -1}
		e, err := Open(t.Context(), o)
		if err == nil {
			e.Close()
		}
		wantProblem(t, what+", a writer", err, words...)
	}
	reader := func(what, address string, words ...string) {
		t.Helper()
		r, err := OpenReader(t.Context(), Options{Dir: "/reader", Bucket: bucketAt(t, address), Now: c.Now, FS: faultfs.NewMem(1), LockWait: -1})
		if err == nil {
			r.Close()
		}
		wantProblem(t, what+", a reader", err, words...)
	}
	missing := strings.Replace(s.URL("p"), s.Bucket, "nobody", 1)
	start("no bucket", missing, "s3://nobody/p", "make the bucket first, or correct its name")
	reader("no bucket", missing, "s3://nobody/p", "make the bucket first, or correct its name")

	e := open(t, Options{Bucket: bucketAt(t, s.URL("filled")), Now: c.Now, FS: faultfs.NewMem(1), LockWait: -1})
	fill(t, e, c.Now(), 0, 1)
	upload(t, e)
	mustClose(t, e)
	s.Account(t, "limited", writerRights...)
	for _, right := range writerRights {
		s.Rights(t, "limited", without(right)...)
		start("an empty prefix without "+right, s.URL("empty/"+right), s.Bucket+"/empty/", "give the right "+right)
		start("a filled prefix without "+right, s.URL("filled"), s.Bucket+"/filled", "give the right "+right)
	}
	for _, right := range writerRights[:2] {
		s.Rights(t, "limited", without(right)...)
		reader("without "+right, s.URL("filled"), s.Bucket+"/filled", "give the right "+right)
	}
	s.Rights(t, "limited", writerRights[:2]...)
	wantBatches(t, "a reader that may list and get only", openReader(t, Options{Bucket: bucketAt(t, s.URL("filled"))}), 1)

	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	start("a wrong secret", s.URL("p"), "s3://spans/p", "AWS_SECRET_ACCESS_KEY")
	reader("a wrong secret", s.URL("p"), "s3://spans/p", "AWS_SECRET_ACCESS_KEY")
}

// TestS3RightsLost takes rights away from a writer that runs, and lets it start again without them: what it acknowledged is answered from its disk, Stats
// name the right, and once it is back everything is uploaded.
func TestS3RightsLost(t *testing.T) {
	s := s3server.Start(t)
	s.Account(t, "limited", writerRights...)
	for n, right := range writerRights {
		t.Run(right, func(t *testing.T) {
			c := newClock()
			b := bucketAt(t, s.URL(right))
			o := Options{Dir: "/data", Bucket: b, Now: c.Now, FS: faultfs.NewMem(uint64(n)), LockWait: -1}
			s.Rights(t, "limited", writerRights...)
			e := open(t, o)
			fill(t, e, c.Now(), 0, 1)
			fill(t, e, c.Now(), 1, 2)
			upload(t, e)
			s.Rights(t, "limited", without(right)...)
			fill(t, e, c.Now(), 2, 3)
			if right == "s3:PutObject" {
				wantProblem(t, "upload", e.Upload(t.Context()), "give the right "+right)
			}
			if right == "s3:DeleteObject" { // it is needed when two segments became one
				c.Add(2 * time.Hour)
				if err := e.tidy(); err != nil {
					t.Fatal(err)
				}
				upload(t, e)
				c.Add(retireAfter)
				wantProblem(t, "removal", e.Upload(t.Context()), "give the right "+right)
			}
			if text := e.Stats().Bucket.LastError; strings.HasPrefix(right, "s3:Put") || strings.HasPrefix(right, "s3:Delete") {
				if !strings.Contains(text, right) {
					t.Errorf("Stats say %q", text)
				}
			}
			wantBatches(t, "while it runs", e, 3)
			abandon(e)
			e = open(t, o) // knows what is in the bucket: it starts
			if text := e.Stats().Bucket.LastError; !strings.Contains(text, right) {
				t.Errorf("after a start Stats say %q", text)
			}
			if err := e.Accept(t.Context(), numbered(3, c.Now())); err != nil {
				t.Errorf("senders are refused: %v", err)
			}
			wantBatches(t, "after a start", e, 4)
			s.Rights(t, "limited", writerRights...)
			if err := e.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			upload(t, e)
			if text := e.Stats().Bucket.LastError; text != "" {
				t.Errorf("when the right is back Stats say %q", text)
			}
			wantBatches(t, "a reader when the right is back", openReader(t, Options{Bucket: b}), 4)
		})
	}
}
