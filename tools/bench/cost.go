package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/varve-io/varve/pkg/block"
	"github.com/varve-io/varve/pkg/bucket"
	"github.com/varve-io/varve/pkg/cost/cube"
	"github.com/varve-io/varve/pkg/tenant"
)

// costs is what suites of costs work on: a bucket in a directory, filled by clustergen, which processes of varve read one after the other.
type costs struct {
	*bench
	dir, bucket string
	stages      *table
}

// costTenant owns all clusters.
const costTenant = "load"

// costBegin is when simulated clusters begin: long enough ago that all hours are closed.
const costBegin = int64(1_735_689_600_000) // 2025-01-01

// stageColumns are what each process that a suite starts has used.
func stageColumns() []column {
	return []column{{"Seconds", "wall", 2}, {"CPU-s", "cpu", 2}, {"Peak memory", "peak", 0}}
}

const stageNote = "Each row is one process from its start on; of a report, the seconds are those of the request. Memory in MiB, resident."

// newCosts makes an empty bucket and a table of stages. Done removes the bucket.
func (b *bench) newCosts(ctx context.Context, title string) (c *costs, done func(), err error) {
	dir, err := b.fresh("costs")
	if err != nil {
		return nil, nil, err
	}
	c = &costs{b, dir, filepath.Join(dir, "bucket"), &table{Title: title, Note: stageNote, columns: stageColumns()}}
	return c, func() { _ = os.RemoveAll(dir) }, b.buildTool(ctx)
}

// buildTool builds clustergen, once.
func (b *bench) buildTool(ctx context.Context) error {
	b.clustergen = filepath.Join(b.dir, "clustergen")
	if _, err := os.Stat(b.clustergen); err == nil {
		return nil
	}
	out, err := exec.CommandContext(ctx, "go", "build", "-o", b.clustergen, "github.com/varve-io/varve/tools/clustergen").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build clustergen: %w: %s", err, out)
	}
	return nil
}

// spent is what a process has used.
func spent(wall, cpu time.Duration, peak int64) figures {
	return figures{"wall": wall.Seconds(), "cpu": cpu.Seconds(), "peak": mib(peak)}
}

// generate lets clustergen write blocks into the bucket, where the compactor finds them; or takes those that it wrote for the same arguments before.
func (c *costs) generate(ctx context.Context, args ...string) (*held, error) {
	to := filepath.Join(c.bucket, costTenant)
	if c.keep == "" {
		if err := c.write(ctx, to, args); err != nil {
			return nil, err
		}
		return c.held()
	}
	sum := sha256.Sum256([]byte(strings.Join(args, " ")))
	kept := filepath.Join(c.keep, fmt.Sprintf("blocks-%x", sum[:8]))
	if _, err := os.Stat(kept); err != nil {
		if err := c.writeWhole(ctx, kept, args); err != nil {
			return nil, err
		}
	}
	if err := link(kept, to); err != nil {
		return nil, err
	}
	return c.held()
}

// writeWhole is write, but for a directory that is there only if it is whole.
func (c *costs) writeWhole(ctx context.Context, dir string, args []string) error {
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil { // of a run that was stopped
		return err
	}
	if err := c.write(ctx, part, args); err != nil {
		return err
	}
	return os.Rename(part, dir)
}

// link makes a directory that has the files of another one. Blocks are never changed, so they may be shared.
func link(from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o750)
		}
		return os.Link(name, filepath.Join(to, rel))
	})
}

// write lets clustergen write blocks into a directory.
func (c *costs) write(ctx context.Context, dir string, args []string) error {
	args = append([]string{"blocks", "-dir=" + dir}, args...)
	c.say("  clustergen %s", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, c.clustergen, args...)
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("clustergen: %w: %s", err, out[max(0, len(out)-1000):])
	}
	wall, state := time.Since(begin), cmd.ProcessState
	peak := int64(0)
	if u, ok := state.SysUsage().(*syscall.Rusage); ok {
		peak = u.Maxrss << 10
	}
	c.add("generated", spent(wall, state.UserTime()+state.SystemTime(), peak))
	return nil
}

func (c *costs) add(stage string, f figures) {
	c.stages.add(stage, f)
	c.say("  %s: %s", stage, c.stages.summary(f))
}

// held is what the tenant's blocks have.
type held struct {
	blocks  int
	samples uint64
	series  uint64 // of the block that has most
	bytes   int64
}

func (c *costs) held() (*held, error) {
	h := &held{}
	metas, err := filepath.Glob(filepath.Join(c.bucket, costTenant, "*", block.MetaName))
	if err != nil {
		return nil, err
	}
	for _, name := range metas {
		m, err := block.ReadMeta(filepath.Dir(name))
		if err != nil {
			return nil, err
		}
		bytes, err := size(filepath.Dir(name))
		if err != nil {
			return nil, err
		}
		h.blocks, h.samples, h.series, h.bytes = h.blocks+1, h.samples+m.Stats.NumSamples, max(h.series, m.Stats.NumSeries), h.bytes+bytes
	}
	if h.blocks == 0 {
		return nil, errors.New("clustergen made no blocks")
	}
	return h, nil
}

// start starts varve with some components on the bucket.
func (c *costs) start(ctx context.Context, name string, flags ...string) (s *process, address, admin string, err error) {
	dir := filepath.Join(c.dir, name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, "", "", err
	}
	p, admin, address, err := c.varveAll(dir)
	if err != nil {
		return nil, "", "", err
	}
	p.name, p.args = name, append(append(p.args, "-bucket.dir="+c.bucket), flags...)
	s, err = start(ctx, p)
	return s, "http://" + address, "http://" + admin, err
}

// stored are the cube's bytes and rows, by level and table.
func (c *costs) stored(ctx context.Context) (bytes, rows map[string]float64, err error) {
	id, err := tenant.Parse(costTenant)
	if err != nil {
		return nil, nil, err
	}
	bkt, err := bucket.Open(bucket.Config{Type: bucket.TypeLocal, Dir: c.bucket}, "", slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, nil, err
	}
	m, err := cube.Load(ctx, bkt, id)
	if err = errors.Join(err, bkt.Close()); err != nil {
		return nil, nil, err
	}
	bytes, rows = map[string]float64{}, map[string]float64{}
	for _, o := range m.Objects {
		for _, key := range []string{"", string(o.Level), string(o.Level) + " " + string(o.Table)} {
			bytes[key] += float64(o.Size)
			rows[key] += float64(o.Rows)
		}
	}
	return bytes, rows, nil
}
