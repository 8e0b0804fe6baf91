// Package buckettest owns what tests need of buckets: the acceptance suite that every kind passes, and a bucket
// that fails on demand.
package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/thanos-io/objstore"
)

// Acceptance checks what the rest of Varve relies on in a bucket. The bucket must be empty, and is empty afterwards.
func Acceptance(t *testing.T, bkt objstore.Bucket) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, objstore.Bucket)
	}{
		{"upload and get", testUpload},
		{"range", testRange},
		{"missing", testMissing},
		{"iter", testIter},
		{"torn upload", testTorn},
		{"hostile names", testNames},
		{"concurrent", testConcurrent},
		{"cancelled", testCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(t, bkt)
			if left := list(t, bkt, "", objstore.WithRecursiveIter()); len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func upload(t *testing.T, bkt objstore.Bucket, name, content string) {
	t.Helper()
	must(t, bkt.Upload(t.Context(), name, strings.NewReader(content)))
}

func remove(t *testing.T, bkt objstore.Bucket, names ...string) {
	t.Helper()
	for _, name := range names {
		must(t, bkt.Delete(t.Context(), name))
	}
}

func wantContent(t *testing.T, bkt objstore.Bucket, name, want string) {
	t.Helper()
	r, err := bkt.Get(t.Context(), name)
	must(t, err)
	got, err := io.ReadAll(r)
	must(t, errors.Join(err, r.Close()))
	if string(got) != want {
		t.Errorf("%s holds %.40q (%d bytes), want %.40q (%d bytes)", name, got, len(got), want, len(want))
	}
}

func list(t *testing.T, bkt objstore.Bucket, dir string, opts ...objstore.IterOption) []string {
	t.Helper()
	var names []string
	must(t, bkt.Iter(t.Context(), dir, func(name string) error {
		names = append(names, name)
		return nil
	}, opts...))
	slices.Sort(names) // providers order files and directories differently
	return names
}

func testUpload(t *testing.T, bkt objstore.Bucket) {
	before := time.Now().Add(-time.Hour)
	large := strings.Repeat("0123456789abcdef", 5<<16) // 5 MiB: more than one part for some clients
	for _, content := range []string{"one", "", "another, longer than the first", large, "x"} {
		upload(t, bkt, "a/b/object", content)
		wantContent(t, bkt, "a/b/object", content)
		attrs, err := bkt.Attributes(t.Context(), "a/b/object")
		must(t, err)
		if attrs.Size != int64(len(content)) || attrs.LastModified.Before(before) {
			t.Errorf("attributes %+v of an object of %d bytes", attrs, len(content))
		}
	}
	must(t, bkt.Upload(t.Context(), "a/b/stream", io.LimitReader(strings.NewReader("no seeking here"), 10)))
	wantContent(t, bkt, "a/b/stream", "no seeking")
	exists, err := bkt.Exists(t.Context(), "a/b/object")
	must(t, err)
	if !exists {
		t.Error("an uploaded object does not exist")
	}
	remove(t, bkt, "a/b/object", "a/b/stream")
}

func testRange(t *testing.T, bkt objstore.Bucket) {
	upload(t, bkt, "r", "0123456789")
	for _, c := range []struct {
		off, n int64
		want   string
	}{{0, 1, "0"}, {0, 10, "0123456789"}, {3, 4, "3456"}, {9, 1, "9"}, {8, 100, "89"}, {0, -1, "0123456789"}, {4, -1, "456789"}, {10, 5, ""}, {99, 5, ""}} {
		r, err := bkt.GetRange(t.Context(), "r", c.off, c.n)
		if err != nil {
			t.Errorf("range %d+%d: %v", c.off, c.n, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || string(got) != c.want {
			t.Errorf("range %d+%d is %q, %v; want %q", c.off, c.n, got, err, c.want)
		}
	}
	remove(t, bkt, "r")
}

func testMissing(t *testing.T, bkt objstore.Bucket) {
	upload(t, bkt, "dir/file", "x")
	for _, name := range []string{"none", "none/none", "dir", "dir/none", "dir/file/below"} {
		_, getErr := bkt.Get(t.Context(), name)
		_, rangeErr := bkt.GetRange(t.Context(), name, 0, 1)
		_, attrErr := bkt.Attributes(t.Context(), name)
		for op, err := range map[string]error{
			"get": getErr, "range": rangeErr, "attributes": attrErr, "delete": bkt.Delete(t.Context(), name),
		} {
			// Some stores answer a HEAD of a missing object without the code that tells it apart.
			if !bkt.IsObjNotFoundErr(err) {
				t.Errorf("%s of %s: %v, want not found", op, name, err)
			}
		}
		if exists, err := bkt.Exists(t.Context(), name); exists || err != nil {
			t.Errorf("%s exists: %v, %v", name, exists, err)
		}
	}
	if bkt.IsObjNotFoundErr(nil) || bkt.IsObjNotFoundErr(errors.New("other")) {
		t.Error("any error means not found")
	}
	remove(t, bkt, "dir/file")
}

func testIter(t *testing.T, bkt objstore.Bucket) {
	names := []string{"i/a", "i/b/c", "i/b/d", "i/b-", "i/e/f/g", "ij"}
	for n := range 120 {
		names = append(names, fmt.Sprintf("many/%03d", n))
	}
	for _, name := range names {
		upload(t, bkt, name, name)
	}
	for _, c := range []struct {
		dir  string
		want []string
	}{
		{"", []string{"i/", "ij", "many/"}}, {"i", []string{"i/a", "i/b-", "i/b/", "i/e/"}},
		{"i/", []string{"i/a", "i/b-", "i/b/", "i/e/"}}, {"i/b", []string{"i/b/c", "i/b/d"}}, {"none", nil}, {"many", names[6:]},
	} {
		if d := cmp.Diff(c.want, list(t, bkt, c.dir)); d != "" {
			t.Errorf("list of %q:\n%s", c.dir, d)
		}
	}
	all := slices.Sorted(slices.Values(names))
	if d := cmp.Diff(all, list(t, bkt, "", objstore.WithRecursiveIter())); d != "" {
		t.Errorf("recursive list:\n%s", d)
	}
	must(t, bkt.IterWithAttributes(t.Context(), "i", func(a objstore.IterObjectAttributes) error {
		if at, ok := a.LastModified(); !ok || time.Since(at) > time.Hour {
			t.Errorf("%s was modified at %v", a.Name, at)
		}
		return nil
	}, objstore.WithUpdatedAt(), objstore.WithRecursiveIter()))
	stop := errors.New("stop")
	calls := 0
	if err := bkt.Iter(t.Context(), "many", func(string) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("a callback's error: %v after %d calls", err, calls)
	}
	remove(t, bkt, names...)
}

var errTorn = errors.New("source broke")

// torn is a source that breaks half way.
type torn struct {
	*bytes.Reader
	left int
}

func (r *torn) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errTorn
	}
	n, err := r.Reader.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

func testTorn(t *testing.T, bkt objstore.Bucket) {
	content := bytes.Repeat([]byte("x"), 1<<20)
	for _, source := range []io.Reader{
		&torn{bytes.NewReader(content), 1 << 19},
		struct{ io.Reader }{&torn{bytes.NewReader(content), 1 << 19}},
	} {
		if err := bkt.Upload(t.Context(), "torn/object", source); !errors.Is(err, errTorn) {
			t.Errorf("upload of a source that breaks: %v", err)
		}
		if exists, err := bkt.Exists(t.Context(), "torn/object"); exists || err != nil {
			t.Errorf("after a torn upload the object exists: %v, %v", exists, err)
		}
	}
	upload(t, bkt, "torn/object", "whole")
	if err := bkt.Upload(t.Context(), "torn/object", &torn{bytes.NewReader(content), 10}); err == nil {
		t.Error("an upload of a source that breaks succeeded")
	}
	wantContent(t, bkt, "torn/object", "whole")
	remove(t, bkt, "torn/object")
}

func testNames(t *testing.T, bkt objstore.Bucket) {
	for _, name := range []string{
		"", ".", "..", "/", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a/..", `a\b`, `..\a`, "a\x00b", "a\nb", "\xff",
		".varve-tmp/a", strings.Repeat("x", 256), strings.Repeat("x/", 600) + "x",
	} {
		if err := bkt.Upload(t.Context(), name, strings.NewReader("x")); err == nil {
			t.Errorf("upload to %q succeeded", name)
		}
		if _, err := bkt.Get(t.Context(), name); err == nil {
			t.Errorf("get of %q succeeded", name)
		}
		if err := bkt.Delete(t.Context(), name); err == nil {
			t.Errorf("delete of %q succeeded", name)
		}
	}
	for _, name := range []string{"a b", "ü/ж", "a+b&c=%2F?#", "...", "a:b", strings.Repeat("x", 200)} {
		upload(t, bkt, name, name)
		wantContent(t, bkt, name, name)
		remove(t, bkt, name)
	}
}

func testConcurrent(t *testing.T, bkt objstore.Bucket) {
	const writers, rounds = 4, 12
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range rounds {
				own := fmt.Sprintf("c/%d/%d", w, n)
				content := strings.Repeat(string(rune('a'+w)), 1000)
				err := errors.Join(
					bkt.Upload(t.Context(), own, strings.NewReader(content)),
					bkt.Upload(t.Context(), "c/shared", strings.NewReader(content)),
				)
				r, getErr := bkt.Get(t.Context(), "c/shared")
				if err = errors.Join(err, getErr); err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(r)
				if len(got) != 1000 || strings.Count(string(got), string(got[0])) != 1000 {
					t.Errorf("a mixture of uploads: %.20q, %d bytes", got, len(got))
				}
				if err := errors.Join(err, r.Close(), bkt.Delete(t.Context(), own)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	remove(t, bkt, "c/shared")
}

func testCancelled(t *testing.T, bkt objstore.Bucket) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := bkt.Upload(ctx, "cancelled", strings.NewReader("x")); err == nil {
		// A store in memory may not look at the context; then the object is there, whole.
		remove(t, bkt, "cancelled")
	}
}
