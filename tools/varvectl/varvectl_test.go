package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/catalog"
	"github.com/varve-io/varve/pkg/tenant"
)

// model is what is said of series, by time.
type model map[string]map[int64]string

func (m model) add(ls labels.Labels, it chunkenc.Iterator, kind chunkenc.ValueType) {
	key := ls.String()
	if m[key] == nil {
		m[key] = map[int64]string{}
	}
	switch kind {
	case chunkenc.ValFloat:
		t, v := it.At()
		m[key][t] = fmt.Sprintf("%016x", math.Float64bits(v))
	default:
		t, h := it.AtFloatHistogram(nil)
		m[key][t] = h.Compact(0).String()
	}
}

func (m model) samples() (n int) {
	for _, s := range m {
		n += len(s)
	}
	return n
}

// cli runs the program and gives its exit status and output.
func cli(t *testing.T, environ []string, args ...string) (status int, out, notice string) {
	t.Helper()
	var o, n bytes.Buffer
	p := &program{environ: environ, out: &o, notice: &n}
	status = p.run(t.Context(), args)
	return status, o.String(), n.String()
}

// want runs the program and expects an exit status.
func want(t *testing.T, status int, args ...string) string {
	t.Helper()
	got, out, notice := cli(t, nil, args...)
	if got != status {
		t.Fatalf("%v: status %d, want %d\n%s%s", args, got, status, out, notice)
	}
	return out + notice
}

// bucketHas gives what the blocks of tenant "a" in a bucket's directory say.
func bucketHas(t *testing.T, dir string) (model, []catalog.Block) {
	t.Helper()
	cfg := bucket.Default()
	cfg.Dir = dir
	reg := prometheus.NewRegistry()
	bkt, err := bucket.Open(cfg, "", quiet(), reg)
	if err != nil {
		t.Fatal(err)
	}
	defer bkt.Close()
	store, err := catalog.New(bkt, time.Now, quiet(), reg)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := tenant.Parse("a")
	cat, err := store.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	r, err := bucket.NewReader(bkt, bucket.CacheConfig{}, quiet(), reg)
	if err != nil {
		t.Fatal(err)
	}
	m := model{}
	for _, b := range cat.Blocks {
		open, err := block.Open(t.Context(), b.OpenFiles(r, id), b.Meta())
		if err != nil {
			t.Fatal(err)
		}
		if _, isBuilt := open.Header(); isBuilt {
			t.Errorf("block %s has no sparse header", b.ID)
		}
		err = open.Samples(t.Context(), func(ls labels.Labels, it chunkenc.Iterator, kind chunkenc.ValueType) error {
			m.add(ls, it, kind)
			return nil
		})
		if err := errors.Join(err, open.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return m, cat.Blocks
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

const (
	hour  = int64(3600_000)
	start = 480_000 * hour
)

// dataDir makes a data directory by Prometheus' own database: blocks, deletions, and a log. It gives what the database
// says of it.
func dataDir(t *testing.T) (string, model) {
	t.Helper()
	dir := t.TempDir()
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = 0
	db, err := tsdb.Open(dir, quiet(), nil, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.DisableCompactions()
	for at := start; at < start+9*hour; at += hour / 60 {
		app := db.Appender(t.Context())
		for i := range 5 {
			if _, err := app.Append(0, labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)), at, float64(at%977)+float64(i)); err != nil {
				t.Fatal(err)
			}
		}
		h := tsdbutil.GenerateTestHistogram(at / hour)
		h.CounterResetHint = histogram.UnknownCounterReset
		if _, err := app.AppendHistogram(0, labels.FromStrings("__name__", "h"), at, h, nil); err != nil {
			t.Fatal(err)
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(db.Blocks()) < 2 {
		t.Fatalf("%d blocks", len(db.Blocks()))
	}
	err = db.Delete(t.Context(), start+hour, start+2*hour, labels.MustNewMatcher(labels.MatchEqual, "i", "3"))
	if err != nil {
		t.Fatal(err)
	}
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	m := said(t, q)
	if err := errors.Join(q.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func said(t *testing.T, q storage.Querier) model {
	t.Helper()
	m := model{}
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	for set.Next() {
		it := set.At().Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			m.add(set.At().Labels(), it, kind)
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return m
}

func TestImportOfADataDirectory(t *testing.T) {
	dir, wanted := dataDir(t)
	before := tree(t, dir)
	bkt := t.TempDir()
	out := want(t, 0, "tsdb", "import", "-bucket.dir="+bkt, "-tenant=a", dir)
	t.Log("\n" + out)
	got, blocks := bucketHas(t, bkt)
	if d := cmp.Diff(wanted, got); d != "" {
		t.Fatalf("%d samples, want %d:\n%.2000s", got.samples(), wanted.samples(), d)
	}
	if d := cmp.Diff(before, tree(t, dir)); d != "" {
		t.Errorf("the import changed the data directory:\n%s", d)
	}
	kept := 0
	for _, b := range blocks {
		if _, err := os.Stat(filepath.Join(dir, b.ID.String())); err == nil {
			kept++
		}
	}
	if kept == 0 {
		t.Error("no block kept its ID")
	}
	out = want(t, 0, "tsdb", "import", "-bucket.dir="+bkt, "-tenant=a", dir)
	if n := strings.Count(out, "there already"); n != kept {
		t.Errorf("a repeated import skipped %d blocks, want %d:\n%s", n, kept, out)
	}
	again, _ := bucketHas(t, bkt)
	if d := cmp.Diff(wanted, again); d != "" {
		t.Error("a repeated import changed what is there")
	}
	want(t, 0, "bucket", "verify", "-bucket.dir="+bkt, "-tenant=a")
}

// tree is the names and sizes of all files.
func tree(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		out[path] = info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func openMetrics(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "metrics.txt")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestImportOfText(t *testing.T) {
	var text strings.Builder
	wanted := model{}
	text.WriteString("# HELP requests Requests.\n# TYPE requests counter\n")
	for _, path := range []string{"/b", "/a"} {
		for at := start + 5*hour; at >= start; at -= hour / 4 { // backwards, too
			fmt.Fprintf(&text, "requests_total{path=%q,empty=\"\"} %d %d.5\n", path, at/hour, at/1000)
			key := labels.FromStrings("__name__", "requests_total", "path", path).String()
			if wanted[key] == nil {
				wanted[key] = map[int64]string{}
			}
			wanted[key][at+500] = fmt.Sprintf("%016x", math.Float64bits(float64(at/hour)))
		}
	}
	text.WriteString("# EOF\n")
	bkt := t.TempDir()
	out := want(t, 0, "tsdb", "import", "-bucket.dir="+bkt, "-tenant=a", openMetrics(t, text.String()))
	got, blocks := bucketHas(t, bkt)
	if d := cmp.Diff(wanted, got); d != "" {
		t.Errorf("%s\n%s", d, out)
	}
	for _, b := range blocks {
		if b.MaxTime-b.MinTime != 2*hour || b.MinTime%(2*hour) != 0 {
			t.Errorf("block [%d, %d) is not of two aligned hours", b.MinTime, b.MaxTime)
		}
	}
	if len(blocks) != 3 {
		t.Errorf("%d blocks", len(blocks))
	}
}

// TestImportOfALongHistory cuts several heads, and makes blocks of days.
func TestImportOfALongHistory(t *testing.T) {
	var text strings.Builder
	for day := range int64(10) {
		fmt.Fprintf(&text, "m %d %d\n", day, (start+day*24*hour)/1000)
	}
	text.WriteString("# EOF\n")
	bkt := t.TempDir()
	want(t, 0, "tsdb", "import", "-bucket.dir="+bkt, "-tenant=a", openMetrics(t, text.String()))
	got, blocks := bucketHas(t, bkt)
	if got.samples() != 10 || len(blocks) != 10 || blocks[0].MaxTime-blocks[0].MinTime != 24*hour {
		t.Errorf("%d samples in %d blocks", got.samples(), len(blocks))
	}
}

func TestFlushesKeepAllSamples(t *testing.T) {
	bkt := t.TempDir()
	p := &program{out: &bytes.Buffer{}, notice: &bytes.Buffer{}}
	err := p.with(t.Context(), []string{"-bucket.dir=" + bkt, "-tenant=a"}, func(ctx context.Context, s *session) error {
		im := &importer{session: s, scratch: t.TempDir(), results: newTable("B", "F", "T", "L", "S", "N", "Z", "R"), progress: newProgress(s.notice)}
		var err error
		if im.cat, err = s.store.Load(ctx, s.tenant); err != nil {
			return err
		}
		ti := textImport{importer: im, ctx: ctx, latest: math.MaxInt64, flushAt: 7}
		var text strings.Builder
		for i := range int64(100) {
			fmt.Fprintf(&text, "m{i=\"%d\"} 1 %d\n", i%3, (start+i*hour/30)/1000)
		}
		return ti.read([]byte(text.String() + "# EOF\n"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, blocks := bucketHas(t, bkt); got.samples() != 100 || len(blocks) < 14 {
		t.Errorf("%d samples in %d blocks", got.samples(), len(blocks))
	}
}

func TestImportRefuses(t *testing.T) {
	bkt := t.TempDir()
	for name, c := range map[string]struct{ path, want string }{
		"no end":       {openMetrics(t, "m 1 1\n"), "does not end with"},
		"no time":      {openMetrics(t, "m 1\n# EOF\n"), "a time in seconds is needed"},
		"milliseconds": {openMetrics(t, "m 1 1760000000000\n# EOF\n"), "a time in seconds is needed"},
		"twice":        {openMetrics(t, "m{a=\"1\",a=\"2\"} 1 1\n# EOF\n"), "label a is there twice"},
		"no text":      {openMetrics(t, "{{{\n# EOF\n"), "after 0 samples"},
		"empty":        {openMetrics(t, ""), "empty"},
		"no data":      {t.TempDir(), "no data directory of Prometheus"},
		"nothing":      {filepath.Join(bkt, "none"), "no such file"},
	} {
		if out := want(t, 2, "tsdb", "import", "-bucket.dir="+bkt, "-tenant=a", c.path); !strings.Contains(out, c.want) {
			t.Errorf("%s: %s, want %q", name, out, c.want)
		}
	}
	if _, blocks := bucketHas(t, bkt); len(blocks) > 0 {
		t.Errorf("%d blocks were imported", len(blocks))
	}
}

// TestDamagedBlock: one is not imported, nor does it hold up the others; one in the bucket is found.
func TestDamagedBlock(t *testing.T) {
	dir, _ := dataDir(t)
	var damaged string
	entries, _ := filepath.Glob(filepath.Join(dir, "*", "chunks", "000001"))
	for _, file := range entries {
		if m, err := block.ReadMeta(filepath.Dir(filepath.Dir(file))); err == nil && m.Stats.NumTombstones == 0 {
			damaged = m.ULID.String()
			flip(t, file)
			break
		}
	}
	bkt := t.TempDir()
	out := want(t, 1, "tsdb", "import", "-bucket.dir="+bkt, "-tenant=a", dir)
	if !regexp.MustCompile(damaged + ` .*NOT IMPORTED: corrupt block`).MatchString(out) {
		t.Errorf("block %s:\n%s", damaged, out)
	}
	_, blocks := bucketHas(t, bkt)
	if len(blocks) == 0 {
		t.Fatal("no block was imported")
	}
	b := blocks[0].ID.String()
	flip(t, filepath.Join(bkt, "a", b, "chunks", "000001"))
	out = want(t, 1, "bucket", "verify", "-bucket.dir="+bkt, "-tenant=a")
	if strings.Count(out, "DAMAGED") != 1 || !strings.Contains(out, b+"  DAMAGED") || strings.Count(out, "  ok ") != len(blocks)-1 {
		t.Error(out)
	}
	want(t, 1, "bucket", "verify", "-bucket.dir="+bkt, "-tenant=a", b)
}

func flip(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := errors.Join(os.Remove(file), os.WriteFile(file, data, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestListAndInspect(t *testing.T) {
	bkt := t.TempDir()
	file := openMetrics(t, "m{x=\"1\"} 1 1728000000\nm{x=\"2\"} 1 1728000000\n# EOF\n")
	want(t, 0, "tsdb", "import", "-bucket.dir="+bkt, "-tenant=a", file)
	_, blocks := bucketHas(t, bkt)
	b := blocks[0].ID.String()
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"tenants": {[]string{"ls"}, []string{"TENANT", `a +1  2024-10-04 00:00  2024-10-04 02:00 +2 `}},
		"blocks":  {[]string{"ls", "-tenant=a"}, []string{"BLOCK", b + `  2024-10-04 00:00  2024-10-04 02:00 +2h +1 +- +- +2 +2 .* ok\n`, "1 blocks, 2 samples"}},
		"catalog": {[]string{"inspect", "-tenant=a"}, []string{"generation  1", `2h +1  2024`, "0 removed blocks"}},
		"block":   {[]string{"inspect", "-tenant=a", b}, []string{"sparse.varve", `index +[0-9.]+ B|KiB +[0-9a-f]{8}`, `x +2\n`, `__name__ +1\n`}},
		"verify":  {[]string{"verify", "-tenant=a"}, []string{b + "  ok +2 samples", "1 blocks verified, 0 of them damaged"}},
	} {
		args := append([]string{"bucket", c.args[0], "-bucket.dir=" + bkt}, c.args[1:]...)
		out := want(t, 0, args...)
		for _, w := range c.want {
			if !regexp.MustCompile(w).MatchString(out) {
				t.Errorf("%s: no %q in\n%s", name, w, out)
			}
		}
	}
}

func TestRemove(t *testing.T) {
	bkt := t.TempDir()
	want(t, 0, "tsdb", "import", "-bucket.dir="+bkt, "-tenant=a", openMetrics(t, "m 1 1728000000\nm 2 1728007200\n# EOF\n"))
	_, blocks := bucketHas(t, bkt)
	want(t, 0, "bucket", "remove", "-bucket.dir="+bkt, "-tenant=a", blocks[0].ID.String())
	_, left := bucketHas(t, bkt)
	if len(blocks) != 2 || len(left) != 1 || left[0].ID != blocks[1].ID {
		t.Errorf("%d blocks of %d are left", len(left), len(blocks))
	}
	if _, err := os.Stat(filepath.Join(bkt, "a", blocks[0].ID.String(), block.MetaName)); err != nil {
		t.Error("the data is gone at once")
	}
	want(t, 2, "bucket", "remove", "-bucket.dir="+bkt, "-tenant=a", blocks[0].ID.String())
}

func TestCommandLine(t *testing.T) {
	bkt := t.TempDir()
	for _, c := range []struct {
		status int
		args   string
		want   string
	}{
		{2, "", "usage:"},
		{2, "bucket", "usage:"},
		{0, "help", "usage:"},
		{0, "config", "-config.check"},
		{0, "bucket ls -help", "-bucket.s3.endpoint"},
		{0, "bucket ls -config.print -bucket.dir=" + bkt, "dir: " + bkt},
		{2, "bucket ls -bucket.dir=" + bkt + "/none", "no such file"},
		{2, "bucket ls -bucket.dir=" + bkt + " x", "unexpected argument"},
		{2, "bucket inspect -bucket.dir=" + bkt, "-tenant"},
		{2, "bucket inspect -tenant=../x -bucket.dir=" + bkt, "invalid tenant"},
		{2, "bucket inspect -tenant=a -bucket.dir=" + bkt + " 01ARZ3NDEKTSV4RRFFQ69G5FAV", "not in the catalog"},
		{2, "bucket inspect -tenant=a -bucket.dir=" + bkt + " x", `block "x"`},
		{2, "bucket ls -bucket.dri=" + bkt, "unknown option"},
		{2, "bucket ls -bucket.s3.secret_key=x", "must not be on the command line"},
		{2, "bucket ls x -bucket.dir=" + bkt, "options come before arguments"},
		{2, "bucket remove -tenant=a -bucket.dir=" + bkt, "name the blocks"},
		{2, "certs -help", "host name or address"},
		{0, "certs " + filepath.Join(bkt, "certs") + " node-1", "node-1"},
		{2, "tsdb import -tenant=a -bucket.dir=" + bkt, "name one"},
		{2, "bucket ls -config.file", "needs a value"},
	} {
		if out := want(t, c.status, strings.Fields(c.args)...); !strings.Contains(out, c.want) {
			t.Errorf("%s: no %q in\n%s", c.args, c.want, out)
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(bkt + "/none")); slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "none" }) {
		t.Error("a look made the bucket")
	}
}

// TestServerFile: the server's own file and environment serve, whatever else is in them.
func TestServerFile(t *testing.T) {
	bkt := t.TempDir()
	file := filepath.Join(t.TempDir(), "varve.yaml")
	for _, text := range []string{
		"http:\n  address: 0.0.0.0:1\nbucket:\n  dir: " + bkt + "\n",
		"ingester.head_period: 2h\nbucket.dir: " + bkt + "\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"-config.file=" + file}, {"--config.file", file}} {
			if out := want(t, 0, append([]string{"bucket", "ls", "-config.print"}, args...)...); !strings.Contains(out, "dir: "+bkt) {
				t.Errorf("%v: %s", args, out)
			}
		}
	}
	environ := []string{"VARVE_CONFIG_FILE=" + file, "VARVE_HTTP_ADDRESS=x", "VARVE_BUCKET_PREFIX=p", "VARVE_BUCKET_S3_SECRET_KEY=hidden", "HOME=/"}
	status, out, notice := cli(t, environ, "bucket", "ls", "-config.print")
	if status != 0 || !strings.Contains(out, "prefix: p") || !strings.Contains(out, "dir: "+bkt) || strings.Contains(out, "hidden") {
		t.Errorf("%d: %s%s", status, out, notice)
	}
	if err := os.WriteFile(file, []byte("bucket:\n  drive: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := want(t, 2, "bucket", "ls", "-config.file="+file); !strings.Contains(out, `unknown option "bucket.drive"`) {
		t.Error(out)
	}
}

func TestWords(t *testing.T) {
	got := []string{number(0), number(999), number(1000), number(-1234567), size(0), size(1023), size(1 << 20), size(3 << 40), span(2 * hour), span(24 * hour), span(90 * 60_000), span(61_000)}
	wanted := []string{"0", "999", "1,000", "-1,234,567", "0 B", "1023 B", "1.0 MiB", "3.0 TiB", "2h", "1d", "1h30m", "1m1s"}
	if d := cmp.Diff(wanted, got); d != "" {
		t.Error(d)
	}
}
