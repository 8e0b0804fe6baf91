package main

import (
	"context"
	"fmt"
	"time"
)

// at is a time after costBegin, as clustergen reads it.
func at(after time.Duration) string {
	return time.UnixMilli(costBegin).UTC().Add(after).Format(time.RFC3339)
}

// clustersSuite reports on many small clusters of one tenant: an hour from samples, a day from cubes.
func clustersSuite(ctx context.Context, b *bench) ([]*table, error) {
	clusters, nodes, pods, every := or(b.clusters, 1000), or(b.nodes, 2), or(b.pods, 10), b.scrapeOr(time.Minute)
	c, done, err := b.newCosts(ctx, fmt.Sprintf("%s clusters of %d nodes and %d pods, one tenant, a day, scraped every %s", thousands(clusters), nodes, pods, every))
	if err != nil {
		return nil, err
	}
	defer done()
	h, err := c.generate(ctx, fmt.Sprintf("-clusters=%d", clusters), fmt.Sprintf("-nodes=%d", nodes), fmt.Sprintf("-pods=%d", pods), "-interval="+every.String(),
		"-from="+at(0), "-to="+at(24*time.Hour), "-at-once=1")
	if err != nil {
		return nil, err
	}
	if _, _, err := c.compact(ctx, "merged", mergeOnly); err != nil {
		return nil, err
	}
	first := costBegin + 10*hourMillis
	if _, err := c.twice(ctx, "an hour by cluster, from samples", first, first+hourMillis, "&by=cluster"); err != nil {
		return nil, err
	}
	if _, _, err := c.compact(ctx, "counted", countOnly); err != nil {
		return nil, err
	}
	if _, err := c.twice(ctx, "the day by namespace and controller, from its cube", costBegin, costBegin+day, "&by=cluster,namespace,controller"); err != nil {
		return nil, err
	}
	facts, err := c.cubeTable(ctx, h)
	return []*table{c.stages, facts}, err
}

// hourSuite counts one hour of a large cluster, whose neighbours are there, too.
func hourSuite(ctx context.Context, b *bench) ([]*table, error) {
	nodes, pods, every := or(b.nodes, 10_000), or(b.pods, 100_000), b.scrapeOr(15*time.Second)
	c, done, err := b.newCosts(ctx, fmt.Sprintf("An hour of %s nodes and %s pods, scraped every %s", thousands(nodes), thousands(pods), every))
	if err != nil {
		return nil, err
	}
	defer done()
	h, err := c.generate(ctx, fmt.Sprintf("-nodes=%d", nodes), fmt.Sprintf("-pods=%d", pods), "-interval="+every.String(), "-from="+at(0), "-to="+at(3*time.Hour),
		"-width=4h", "-at-once=1")
	if err != nil {
		return nil, err
	}
	ticks, _, err := c.compact(ctx, "counted, with the rest of the day and its roll-up", countOnly)
	if err != nil {
		return nil, err
	}
	facts, err := c.cubeTable(ctx, h)
	return []*table{c.stages, c.hours(ticks, "the first, from the start of the process on", "the second", "the third"), facts}, err
}

// hours has a row for each hour that was counted and written, one after the other. Those that were written at once are one row.
func (c *costs) hours(ticks []tick, names ...string) *table {
	t := &table{
		Title: "By hour",
		Note: "Parts of the process that counted: three hours with samples, of which the second has both neighbours; then come hours without samples, and the roll-up. Memory in MiB, resident: at most until then, " +
			"and then.",
		columns: append(stageColumns(), column{"Memory at the end", "rss", 0}),
	}
	for i, name := range names {
		from, to := tickOf(ticks, float64(i)), tickOf(ticks, float64(i+1))
		if to.hours > from.hours {
			t.add(name, spent(to.at.Sub(from.at), to.cpu-from.cpu, to.peak).merge(figures{"rss": mib(to.rss)}))
		}
	}
	return t
}

// tickOf is when so many hours were counted.
func tickOf(ticks []tick, hours float64) tick {
	for _, t := range ticks {
		if t.hours >= hours {
			return t
		}
	}
	return tick{}
}
