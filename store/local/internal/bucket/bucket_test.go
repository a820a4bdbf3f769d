package bucket

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/s3server"
)

func open(t *testing.T, url string) Bucket {
	t.Helper()
	l, err := Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFolder(t *testing.T) { contract(t, open(t, "file://"+t.TempDir())) }

func TestS3(t *testing.T) {
	s := s3server.Start(t)
	contract(t, open(t, s.URL("a/prefix")))
	contract(t, open(t, s.URL("")))
}

// contract is what every bucket does.
func contract(t *testing.T, b Bucket) {
	ctx := t.Context()
	if names, err := b.List(ctx, "x/", ""); err != nil || len(names) != 0 {
		t.Errorf("an empty bucket lists %q, %v", names, err)
	}
	if _, err := b.Read(ctx, "x/nothing", 0, 10); !errors.Is(err, ErrNotFound) {
		t.Errorf("read of nothing: %v", err)
	}
	if err := b.Remove(ctx, "x/nothing"); err != nil {
		t.Errorf("remove of nothing: %v", err)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 3<<20/16*7) // 21 MiB: two parts
	for name, data := range map[string][]byte{"x/small": []byte("hello"), "x/large": large, "y/other": {}} {
		if err := b.Put(ctx, name, bytes.NewReader(data)); err != nil {
			t.Fatalf("put %s: %v", name, err)
		}
	}
	for _, c := range []struct {
		name   string
		off    int64
		n      int
		wanted []byte
	}{
		{"x/small", 0, 5, []byte("hello")}, {"x/small", 1, 3, []byte("ell")}, {"x/small", 3, 100, []byte("lo")}, {"x/small", 5, 10, nil}, {"x/small", 2, 0, nil},
		{"x/large", 16<<20 - 5, 10, large[16<<20-5 : 16<<20+5]}, {"x/large", 0, len(large), large},
	} {
		if got, err := b.Read(ctx, c.name, c.off, c.n); err != nil || !bytes.Equal(got, c.wanted) {
			t.Errorf("read %s %d+%d: %d bytes, %v", c.name, c.off, c.n, len(got), err)
		}
	}
	if err := b.Put(ctx, "x/small", strings.NewReader("replaced")); err != nil {
		t.Error(err)
	}
	if got, err := b.Read(ctx, "x/small", 0, 100); string(got) != "replaced" {
		t.Errorf("after the second put: %q, %v", got, err)
	}
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			switch err := b.Create(ctx, "x/race", []byte(fmt.Sprint("writer ", i))); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ErrExists):
				t.Errorf("create: %v", err)
			}
		})
	}
	if all.Wait(); won.Load() != 1 {
		t.Errorf("%d of 8 created one name", won.Load())
	}
	for _, c := range []struct {
		prefix, after string
		wanted        []string
	}{
		{"x/", "", []string{"x/large", "x/race", "x/small"}}, {"x/", "x/large", []string{"x/race", "x/small"}}, {"x/", "x/z", nil}, {"", "", []string{"x/large", "x/race", "x/small", "y/other"}},
		{"x/s", "", []string{"x/small"}},
	} {
		if got, err := b.List(ctx, c.prefix, c.after); err != nil || !slices.Equal(got, c.wanted) {
			t.Errorf("list %q after %q: %q, %v", c.prefix, c.after, got, err)
		}
	}
	for _, name := range []string{"x/small", "x/large", "x/race", "y/other"} {
		if err := b.Remove(ctx, name); err != nil {
			t.Error(err)
		}
	}
	if names, err := b.List(ctx, "", ""); err != nil || len(names) != 0 {
		t.Errorf("after all were removed: %q, %v", names, err)
	}
}

// TestSweep: what is left of uploads goes, below its prefix only, and objects stay.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/x/1", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x/1/a.seg.17.tmp", "x/1/whole", "y.tmp"} {
		if err := os.WriteFile(dir+"/"+name, []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, "file://"+dir)
	sweep(t, b, 1)
	if names, err := b.List(t.Context(), "", ""); err != nil || !slices.Equal(names, []string{"x/1/whole"}) {
		t.Errorf("after the sweep: %q, %v", names, err)
	}
	if _, err := os.Stat(dir + "/y.tmp"); err != nil {
		t.Errorf("a file of another prefix: %v", err)
	}
	sweep(t, b, 0)
}

func sweep(t *testing.T, b Bucket, want int) {
	t.Helper()
	if n, err := b.Sweep(t.Context(), "x/"); err != nil || n != want {
		t.Errorf("%d removed, %v, want %d", n, err, want)
	}
}

func TestS3Sweep(t *testing.T) {
	s := s3server.Start(t)
	b := open(t, s.URL("p"))
	client := b.(*s3).client
	const left = 3
	for n := range left {
		id, err := client.NewMultipartUpload(t.Context(), s.Bucket, fmt.Sprint("p/x/", n/2), minio.PutObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		part := strings.Repeat("x", 100)
		if _, err := client.PutObjectPart(t.Context(), s.Bucket, fmt.Sprint("p/x/", n/2), id, 1, strings.NewReader(part), int64(len(part)), minio.PutObjectPartOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.NewMultipartUpload(t.Context(), s.Bucket, "other/x/1", minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), "x/whole", strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	s.Account(t, "limited", rightList, rightGet, rightPut, rightDelete)
	limited := open(t, s.URL("p"))
	_, err := limited.Sweep(t.Context(), "x/")
	says(t, "without the right to list uploads", Problem(limited, "sweep", err), "give the right "+rightUploads)
	s.Rights(t, "limited", rightUploads)
	_, err = limited.Sweep(t.Context(), "x/")
	says(t, "without the right to abort uploads", Problem(limited, "sweep", err), "give the right "+rightAbort)
	s.Rights(t, "limited", rightUploads, rightAbort)
	sweep(t, limited, left)
	sweep(t, limited, 0)
	if page, err := client.ListMultipartUploads(t.Context(), s.Bucket, "", "", "", "", 10); err != nil || len(page.Uploads) != 1 {
		t.Errorf("uploads of others: %+v, %v", page.Uploads, err)
	}
	if got, err := b.Read(t.Context(), "x/whole", 0, 10); string(got) != "hello" {
		t.Errorf("the whole object: %q, %v", got, err)
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"s3://spans":                       "{Folder: Name:spans Prefix: Endpoint:s3.amazonaws.com Plain:false Region: CAFile: PathStyle:false}",
		"s3://spans/a/b/?region=eu-west-1": "{Folder: Name:spans Prefix:a/b Endpoint:s3.amazonaws.com Plain:false Region:eu-west-1 CAFile: PathStyle:false}",
		"s3://spans/p?endpoint=http://127.0.0.1:7070&path_style=true": "{Folder: Name:spans Prefix:p Endpoint:127.0.0.1:7070 Plain:true Region: CAFile: PathStyle:true}",
		"s3://spans?endpoint=minio:9000&ca_file=/ca.pem":              "{Folder: Name:spans Prefix: Endpoint:minio:9000 Plain:false Region: CAFile:/ca.pem PathStyle:false}",
		"file:///mnt/spans/":          "{Folder:/mnt/spans Name: Prefix: Endpoint: Plain:false Region: CAFile: PathStyle:false}",
		"s3://key:secret@spans":       "credentials stand in the address",
		"s3:///p":                     "names no bucket",
		"gs://spans":                  "neither s3:// nor file://",
		"/mnt/spans":                  "neither s3:// nor file://",
		"file://host/mnt":             "names no folder",
		"file:///mnt?x=1":             "takes no options",
		"s3://spans?endpont=x":        `unknown option "endpont"`,
		"s3://spans?endpoint=ftp://x": "neither http:// nor https://",
		"s3://spans?endpoint=":        "is no host",
		"s3://spans?path_style=maybe": "path_style=maybe",
		"s3://%zz":                    "no URL",
	} {
		l, err := Parse(text)
		type fields Location // without its String
		got := fmt.Sprintf("%+v", fields(l))
		if err != nil {
			if p := problem.Of(err); p.Kind != problem.Invalid || p.Hint == "" || p.Field != "--bucket" {
				t.Errorf("%s: %#v", text, p)
			}
			got = err.Error()
		}
		if !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestWrong: what lasts until somebody changes something is told apart from a bad day, with the setting, its value and what to do.
func TestWrong(t *testing.T) {
	s := s3server.Start(t)
	check := func(what, url string, want error, text ...string) {
		t.Helper()
		b := open(t, url)
		_, err := b.List(t.Context(), "m/", "")
		if !errors.Is(err, want) {
			t.Errorf("%s: list: %v", what, err)
		}
		says(t, what, Problem(b, "list", err), append(text, b.String())...)
		if err := b.Create(t.Context(), "m/1", nil); !errors.Is(err, want) {
			t.Errorf("%s: create: %v", what, err)
		}
	}
	check("missing bucket", strings.Replace(s.URL("p"), s.Bucket, "nobody", 1), ErrNoBucket, "s3://nobody/p", "make the bucket first, or correct its name")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	check("wrong secret", s.URL("p"), ErrKeys, "AWS_SECRET_ACCESS_KEY")
	t.Setenv("AWS_ACCESS_KEY_ID", "nobody")
	check("unknown key", s.URL("p"), ErrKeys, "AWS_ACCESS_KEY_ID")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	check("no key", s.URL("p"), ErrKeys, "there are none", "AWS_ACCESS_KEY_ID")
	missing := t.TempDir() + "/missing"
	_, err := Open(t.Context(), Location{Folder: missing})
	if !errors.Is(err, ErrNoBucket) {
		t.Errorf("missing folder: %v", err)
	}
	says(t, "missing folder", problem.Of(err), "file://"+missing, "make the bucket first, or correct its name")
}

// says checks the words of a problem.
func says(t *testing.T, what string, p *problem.Problem, words ...string) {
	t.Helper()
	if strings.Contains(p.Error(), s3server.SecretKey) {
		t.Errorf("%s: the secret is told: %v", what, p)
	}
	for _, w := range append(words, "--bucket: ") {
		if !strings.Contains(p.Error(), w) {
			t.Errorf("%s: %q is not in %v", what, w, p)
		}
	}
}

// TestRights takes one right after the other away: the call that needs it says which one is missing, and the others work.
func TestRights(t *testing.T) {
	s := s3server.Start(t)
	all := []string{rightList, rightGet, rightPut, rightDelete}
	s.Account(t, "limited", all...)
	b := open(t, s.URL("p"))
	if err := b.Put(t.Context(), "x", strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	for _, taken := range all {
		s.Rights(t, "limited", slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == taken })...)
		for _, c := range []struct {
			right string
			call  func() error
		}{
			{rightList, func() error { _, err := b.List(t.Context(), "", ""); return err }},
			{rightGet, func() error { _, err := b.Read(t.Context(), "x", 0, 5); return err }},
			{rightPut, func() error { return b.Put(t.Context(), "x", strings.NewReader("hello")) }},
			{rightPut, func() error { return b.Create(t.Context(), "new "+taken, []byte("hello")) }},
			{rightDelete, func() error { return b.Remove(t.Context(), "nothing") }},
		} {
			err := c.call()
			if c.right != taken {
				if err != nil {
					t.Errorf("without %s, a call that needs %s: %v", taken, c.right, err)
				}
				continue
			}
			if !errors.Is(err, ErrDenied) {
				t.Errorf("without %s: %v", taken, err)
			}
			says(t, "without "+taken, Problem(b, "call", err), "give the right "+taken, "s3://spans/p")
		}
	}
}

func TestMain(m *testing.M) {
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	os.Exit(m.Run())
}
