package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-io/varve/pkg/block"
)

// buildingSuite compares what a cube costs with what compaction costs of the same blocks: a day of blocks of two hours.
func buildingSuite(ctx context.Context, b *bench) ([]*table, error) {
	nodes, pods, every := or(b.nodes, 30), or(b.pods, 300), b.scrapeOr(15*time.Second)
	t := &table{
		Title: fmt.Sprintf("Building cubes: a day of %s nodes and %s pods, scraped every %s", thousands(nodes), thousands(pods), every),
		Note: "Of each sample, nanoseconds of CPU of the whole process: one that merges blocks of two hours to a day in two steps, then one that counts the day and rolls it up. With three " +
			"replicas each sample is in three blocks, and is counted once here. Everything is what kube-state-metrics, cAdvisor and node-exporter write by themselves.",
		columns: []column{
			{"M samples", "samples", 0}, {"Series of a block", "series", 0}, {"Merging, ns", "merge", 1}, {"Counting, ns", "count", 1}, {"%", "percent", 0},
			{"Merging, peak memory", "merge peak", 0}, {"Counting, peak memory", "count peak", 0},
		},
	}
	cluster := []string{fmt.Sprintf("-nodes=%d", nodes), fmt.Sprintf("-pods=%d", pods), "-interval=" + every.String(), "-from=" + at(0), "-to=" + at(24*time.Hour)}
	all := append(slices.Clip(cluster), "-node-exporter", "-rest")
	for _, r := range []struct {
		name     string
		replicas int
		args     []string
	}{{"Everything, three replicas", 3, all}, {"Everything, one replica", 1, all}, {"Only what costs are counted from, one replica", 1, cluster}} {
		b.say("%s", r.name)
		f, err := b.buildingOnce(ctx, r.replicas, r.args)
		if err != nil {
			return nil, err
		}
		t.add(r.name, f)
		b.say("  %s", t.summary(f))
	}
	return []*table{t}, nil
}

func (b *bench) buildingOnce(ctx context.Context, replicas int, args []string) (figures, error) {
	c, done, err := b.newCosts(ctx, "")
	if err != nil {
		return nil, err
	}
	defer done()
	h, err := c.generate(ctx, args...)
	if err != nil {
		return nil, err
	}
	if err := c.replicate(replicas); err != nil {
		return nil, err
	}
	_, merge, err := c.compact(ctx, "merged", mergeOnly)
	if err != nil {
		return nil, err
	}
	_, count, err := c.compact(ctx, "counted", countOnly)
	if err != nil {
		return nil, err
	}
	return figures{
		"samples": float64(h.samples) / 1e6, "series": float64(h.series), "merge": merge["cpu"] * 1e9 / float64(h.samples), "count": count["cpu"] * 1e9 / float64(h.samples),
		"percent": 100 * count["cpu"] / merge["cpu"], "merge peak": merge["peak"], "count peak": count["peak"],
	}, nil
}

// replicate makes each block be there so many times, as ingesters of several zones ship it.
func (c *costs) replicate(replicas int) error {
	dirs, err := filepath.Glob(filepath.Join(c.bucket, costTenant, "*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		for n := 1; n < replicas; n++ {
			errs = append(errs, twin(dir, n))
		}
	}
	return errors.Join(errs...)
}

// twin links a block's files into another block, whose meta.json has its own ID.
func twin(dir string, n int) error {
	id, err := ulid.ParseStrict(filepath.Base(dir))
	if err != nil {
		return err
	}
	id[len(id)-1] += byte(n)
	to := filepath.Join(filepath.Dir(dir), id.String())
	if err := os.MkdirAll(filepath.Join(to, "chunks"), 0o750); err != nil {
		return err
	}
	segments, err := filepath.Glob(filepath.Join(dir, "chunks", "*"))
	if err != nil {
		return err
	}
	for _, from := range append(segments, filepath.Join(dir, block.IndexName)) {
		rel, err := filepath.Rel(dir, from)
		if err != nil {
			return err
		}
		if err := os.Link(from, filepath.Join(to, rel)); err != nil {
			return err
		}
	}
	m, err := block.ReadMeta(dir)
	if err != nil {
		return err
	}
	m.ULID, m.Compaction.Sources = id, []ulid.ULID{id}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, block.MetaName), text, 0o600)
}
